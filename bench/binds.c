/*
 * The floor of a recipe of many binds: binds COUNT RUNS DIRECTORY makes a mount namespace with a new root and
 * COUNT read-only binds of a directory in it, by the same primitives, and ends. Prints the microseconds of each
 * run.
 */
#include "../csrc/kernel/kernel.h"
#include "../csrc/kernel/syscall.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 1, DIRECTORY_MODE = 0755, MOST = 4096 };

static long must(long r) {
  if (r < 0) {
    fprintf(stderr, "binds: %s\n", strerror((int)-r));
    _exit(1);
  }
  return r;
}

#define WORD(text) { (long)(text), strlen(text) }
#define CALL(name, ...) must(kernel_##name(&(struct call){ .arguments = { __VA_ARGS__ } }))

static void write_map(const char *name, unsigned id) {
  char map[64];
  snprintf(map, sizeof map, "%u %u 1", id, id);
  long fd = must(open_proc(0, name));
  must(write_once((int)fd, map, strlen(map)));
  close((int)fd);
}

static void enter_namespaces(void) {
  unsigned uid = geteuid(), gid = getegid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) must(-1);
  CALL(deny_setgroups, { 0, 0 });
  write_map("gid_map", gid);
  write_map("uid_map", uid);
}

static long new_root(void) {
  long context = CALL(fsopen, WORD("tmpfs"));
  CALL(fsconfig, { context, 0 }, { 0, 0 }, { 0, 0 });
  return CALL(fsmount, { context, 0 }, { MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0 });
}

/* As nslua does it: all sources first, then the new root is entered, then all are attached. */
static void bind_all(long root, int count, const char *directory) {
  static long trees[MOST];
  const long attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  for (int i = 0; i < count; i++) {
    trees[i] = CALL(open_tree, { AT_FDCWD, 0 }, WORD(directory), { OPEN_TREE_CLONE | AT_RECURSIVE, 0 });
    CALL(mount_setattr, { trees[i], 0 }, { 0, 0 }, { attributes, 0 }, { 0, 0 }, { MS_PRIVATE, 0 }, { AT_RECURSIVE, 0 },
         { -1, 0 });
    CALL(expect_mount, { trees[i], 0 }, { attributes, 0 });
  }
  CALL(mount_setattr, { AT_FDCWD, 0 }, WORD("/"), { 0, 0 }, { 0, 0 }, { MS_PRIVATE, 0 }, { AT_RECURSIVE, 0 }, { -1, 0 });
  CALL(move_mount, { root, 0 }, { AT_FDCWD, 0 }, WORD("/"));
  CALL(fchdir, { root, 0 });
  CALL(pivot_root, WORD("."), WORD("."));
  for (int i = 0; i < count; i++) {
    char target[32];
    snprintf(target, sizeof target, "/b/%d", i + 1);
    CALL(attach, { trees[i], 0 }, { root, 0 }, WORD(target), { DIRECTORY_MODE, 0 }, { -1, 0 });
  }
  CALL(fchdir, { root, 0 });
  CALL(umount, WORD("."), { MNT_DETACH, 0 });
}

static void run(int count, const char *directory) {
  pid_t pid = fork();
  if (pid == 0) {
    enter_namespaces();
    bind_all(new_root(), count, directory);
    _exit(0);
  }
  int status;
  if (pid < 0 || waitpid(pid, &status, 0) < 0 || status) exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  if (argc < 4 || atoi(argv[1]) > MOST) return 2;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  for (int i = -WARM_UP; i < atoi(argv[2]); i++) {
    double began = now();
    run(atoi(argv[1]), argv[3]);
    if (i >= 0) printf("%.1f\n", now() - began);
  }
  return 0;
}
