/*
 * The floor of box:run { "/bin/true" } on a recipe: a C loop that makes the same system calls and nothing else.
 * `floor COUNT [WARM_UP]` prints the microseconds of each run; a run that goes wrong ends it with status 1.
 */
#define FLOOR_MAKER
#include "../csrc/kernel/kernel.h"
#include "../csrc/kernel/syscall.h"
#include "../csrc/stage/wire.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { P_PIDFD_ = 3, WARM_UP = 5, STREAMS = 3, READ_SIZE = 65536, STACK_SIZE = 16384 };

static void fail(long r) {
  fprintf(stderr, "floor: %s\n", strerror((int)-r));
  exit(1);
}

static int registers[];
#define CALL(name) kernel_##name(&call)
#include OPERATIONS
static int registers[REGISTERS];

__asm__(".section .rodata\nimage: .incbin \"" STAGE "\"\nimage_end:\n.previous\n");
extern const char image[], image_end[];

/* The maker's ends, and the child that shares our memory until it executes the stage. */
static int control, pidfd, outputs[2] = { -1, -1 }, image_fd;

static void make_image(void) {
  image_fd = memfd_create("nslua-stage", MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x10 /* MFD_EXEC */);
  if (image_fd < 0 || write_all(image_fd, image, (size_t)(image_end - image)) < 0) exit(1);
  fcntl(image_fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

static void keep_capabilities(void) {
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct data[2];
  SYSCALL(capget, &header, data);
  data[0].inheritable = (uint32_t)(CAPABILITIES & data[0].permitted);
  data[1].inheritable = (uint32_t)(CAPABILITIES >> 32 & data[1].permitted);
  SYSCALL(capset, &header, data);
  for (long capability = 0; capability < 64; capability++)
    if (CAPABILITIES >> capability & 1)
      SYSCALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
}

static void run_child(void *unused) {
  char *argv[] = { "nslua", NULL }, *envp[] = { NULL };
  int end = FIRST_FD + REGISTERS;
  (void)unused;
  SYSCALL(dup3, image_fd, end, O_CLOEXEC);
  for (int i = 0; i < REGISTERS; i++)
    if (registers[i] >= 0) SYSCALL(dup3, registers[i], FIRST_FD + i, 0);
  SYSCALL(close_range, end + 1, ~0U, 0);
  SYSCALL(close_range, 0, FIRST_FD - 1, 0);
  keep_capabilities();
  SYSCALL(execveat, end, "", argv, envp, AT_EMPTY_PATH);
  for (;;) SYSCALL(exit_group, 125);
}

static int open_null(uint64_t access) {
  struct open_how { uint64_t flags, mode, resolve; } how = { .flags = access | O_CLOEXEC };
  return (int)SYSCALL(openat2, AT_FDCWD, "/dev/null", &how, sizeof how);
}

static void open_streams(void) {
  registers[STREAM] = open_null(O_RDONLY);
  for (int i = 1; i < STREAMS && !CAPTURED; i++) registers[STREAM + i] = open_null(O_WRONLY);
  for (int i = 0; i < 2 && CAPTURED; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) exit(1);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    outputs[i] = ends[0];
    registers[STREAM + 1 + i] = ends[1];
  }
}

static void open_channel(void) {
  static char plan[PLAN_SIZE];
  struct iovec part = { plan, sizeof plan };
  struct stat st;
  int pair[2];
  fstat(image_fd, &st);
  socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
  control = pair[0];
  registers[REGISTER_CONTROL] = pair[1];
  registers[REGISTER_MAKER] = (int)SYSCALL(pidfd_open, getpid(), 0);
  registers[REGISTER_PLAN] = memfd_create("nslua-plan", MFD_CLOEXEC);
  writev(registers[REGISTER_PLAN], &part, 1);
}

static long clone_stage(void) {
  static char stack[STACK_SIZE] __attribute__((aligned(16)));
  struct clone_args args = {
    .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | NAMESPACES,
    .pidfd = (uintptr_t)&pidfd,
  };
  uint64_t all = ~(uint64_t)0, old;
  SYSCALL(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all);
  long pid = clone_call(&args, stack + sizeof stack, run_child, NULL);
  SYSCALL(rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof old);
  if (pid < 0) fail(pid);
  return pid;
}

static void close_registers(int first, int last) {
  for (int i = first; i < last; i++)
    if (registers[i] >= 0) close(registers[i]);
}

/* One map of the child, as its privileged maker writes it. */
static void write_map(primitive *write_it, long pid, const char *map) {
  struct call call = { .arguments = { { pid, 0 }, { (long)map, strlen(map) } } };
  SYSCALL(pidfd_send_signal, pidfd, 0, 0, 0);
  long r = write_it(&call);
  if (r < 0) fail(r);
}

static void map_ids(long pid) {
  const char *uid_map = UID_MAP, *gid_map = GID_MAP;
  struct command go = { .kind = COMMAND_GO };
  if (!uid_map) return;
  write_map(kernel_gid_map, pid, gid_map);
  write_map(kernel_uid_map, pid, uid_map);
  send(control, &go, sizeof go, MSG_NOSIGNAL);
}

static void start(void) {
  memset(registers, -1, sizeof registers);
  open_streams();
  open_sources();
  open_channel();
  long pid = clone_stage();
  close_registers(0, REGISTER_FREE);
  map_ids(pid);
  getpid();
  close_registers(REGISTER_FREE, REGISTERS);
}

static void expect(uint32_t kind, int flags) {
  struct record record;
  if (recv(control, &record, sizeof record, flags) != sizeof record || record.kind != kind || record.status) {
    fprintf(stderr, "floor: the stage reports %u, status %d, for %u\n", record.kind, record.status, kind);
    exit(1);
  }
}

/* Relays until the payload has ended. */
static void relay(void) {
  static char data[READ_SIZE];
  struct pollfd watched[] = {
    { control, POLLIN, 0 }, { outputs[0], POLLIN, 0 }, { outputs[1], POLLIN, 0 }, { -1, POLLIN, 0 },
  };
  for (;;) {
    SYSCALL(ppoll, watched, 4, 0, 0, 8);
    for (int i = 1; i < 3; i++) {
      if (!watched[i].revents || read(watched[i].fd, data, sizeof data) != 0) continue;
      close(watched[i].fd);
      watched[i].fd = -1;
    }
    if (watched[0].revents) break;
  }
  expect(RECORD_ENDED, MSG_DONTWAIT);
  getpid();
  siginfo_t info;
  waitid((idtype_t)P_PIDFD_, (id_t)pidfd, &info, WEXITED | __WALL);
  for (int i = 1; i < 3; i++)
    if (watched[i].fd >= 0 && read(watched[i].fd, data, sizeof data) == 0) close(watched[i].fd);
}

static void run(void) {
  start();
  expect(RECORD_STARTED, 0);
  relay();
  close(control);
  close(pidfd);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 1, warm_up = argc > 2 ? atoi(argv[2]) : WARM_UP;
  make_image();
  for (int i = -warm_up; i < count; i++) {
    double began = now();
    run();
    if (i >= 0) printf("%.1f\n", now() - began);
  }
  return 0;
}
