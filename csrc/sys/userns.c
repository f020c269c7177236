/* User namespaces as handles: made ahead, joined or used for idmapped mounts later. */
#include "../kernel/syscall.h"
#include "spawn.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HOLDER_STACK_SIZE = 4096 };

/* The process in which the namespace is made; it shares our memory and only waits to be killed. */
static void hold(void *unused) {
  (void)unused;
  for (;;) SYSCALL(ppoll, 0, 0, 0, 0, 8);
}

static long clone_holder(char *stack, int *pidfd) {
  uint64_t all = ~(uint64_t)0, old;
  struct clone_args args = {
    .flags = CLONE_VM | CLONE_PIDFD | CLONE_NEWUSER,
    .pidfd = (uintptr_t)pidfd,
  };
  SYSCALL(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all);
  long pid = clone_call(&args, stack + HOLDER_STACK_SIZE, hold, NULL);
  SYSCALL(rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof old);
  return pid;
}

static long write_map(primitive *write, long pid, const char *map) {
  struct call call = { .arguments = {
                           { .value = pid },
                           { .value = (long)(uintptr_t)map, .size = strlen(map) },
                       } };
  return write(&call);
}

/* The namespace of the holder, mapped; the pidfd tells that the pid is still its own. */
static long open_mapped(long pid, int pidfd, const char *uid_map, const char *gid_map) {
  char path[64];
  long r = SYSCALL(pidfd_send_signal, pidfd, 0, 0, 0);
  if (r >= 0) r = write_map(kernel_gid_map, pid, gid_map);
  if (r >= 0) r = write_map(kernel_uid_map, pid, uid_map);
  if (r < 0) return r;
  snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
  int fd = above_stdio(open(path, O_RDONLY | O_CLOEXEC));
  return fd < 0 ? -errno : fd;
}

/***
 * A user namespace with these maps, which no process lives in.
 * @function user_namespace
 * @tparam string uid_map lines "inside outside count"
 * @tparam string gid_map
 * @treturn[1] fd
 * @treturn[2] nil @treturn[2] string @treturn[2] integer errno
 * @see user_namespaces(7)
 */
static int user_namespace(lua_State *L) {
  const char *uid_map = luaL_checkstring(L, 1), *gid_map = luaL_checkstring(L, 2);
  char *stack = lua_newuserdatauv(L, HOLDER_STACK_SIZE, 0);
  int *handle = push_fd(L);
  int pidfd = -1;
  long pid = clone_holder(stack, &pidfd);
  if (pid < 0) return push_failure(L, "clone3", (int)-pid);
  long fd = open_mapped(pid, pidfd, uid_map, gid_map);
  kill_process(pidfd);
  reap_process(pidfd);
  close(pidfd);
  if (fd < 0) return push_failure(L, "user_namespace", (int)-fd);
  *handle = (int)fd;
  return 1;
}

void open_userns(lua_State *L) {
  lua_pushcfunction(L, user_namespace);
  lua_setfield(L, -2, "user_namespace");
}
