/* User namespaces as handles: made ahead, joined or used for idmapped mounts later. */
#include "../kernel/syscall.h"
#include "spawn.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HOLDER_STACK_SIZE = 4096, SIGNAL_SET_SIZE = 8 };

/* The process in which the namespace is made; it shares our memory, but no fd, and only waits to be killed, or for
   our own end. */
__attribute__((no_sanitize("address", "undefined"))) static void hold(void *data) {
  struct pollfd maker = { .fd = 0, .events = POLLIN };
  long r = SYSCALL(dup3, *(int *)data, maker.fd, O_CLOEXEC);
  if (r == -EINVAL) r = 0; /* it is that number already */
  if (r >= 0) r = SYSCALL(close_range, maker.fd + 1, ~0U, 0);
  if (r >= 0) SYSCALL(ppoll, &maker, 1, 0, 0, SIGNAL_SET_SIZE);
  for (;;) SYSCALL(exit_group, 0);
}

static long clone_holder(char *stack, int *maker, int *pidfd) {
  uint64_t all = ~(uint64_t)0, old;
  struct clone_args args = {
    .flags = CLONE_VM | CLONE_PIDFD | CLONE_NEWUSER,
    .pidfd = (uintptr_t)pidfd,
  };
  SYSCALL(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all);
  long pid = clone_call(&args, stack + HOLDER_STACK_SIZE, hold, maker);
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

/* The pidfd tells that the pid is still the holder's. */
static long write_maps(long pid, int pidfd, const char *uid_map, const char *gid_map) {
  long r = SYSCALL(pidfd_send_signal, pidfd, 0, 0, 0);
  if (r >= 0) r = write_map(kernel_gid_map, pid, gid_map);
  if (r >= 0) r = write_map(kernel_uid_map, pid, uid_map);
  return r;
}

static long open_namespace(long pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
  int fd = above_stdio(open(path, O_RDONLY | O_CLOEXEC));
  return fd < 0 ? -errno : fd;
}

/***
 * A user namespace with these maps, which no process lives in.
 * @function user_namespace
 * @tparam string|function uid_map lines "inside outside count"; or what writes both maps: it is called with the pid of
 *   a process in the namespace, and what it returns instead of true is returned in turn
 * @tparam[opt] string gid_map
 * @treturn[1] fd
 * @treturn[2] nil @treturn[2] string @treturn[2] integer errno
 * @see user_namespaces(7)
 */
static int user_namespace(lua_State *L) {
  int by_function = lua_isfunction(L, 1);
  const char *uid_map = by_function ? NULL : luaL_checkstring(L, 1);
  const char *gid_map = by_function ? NULL : luaL_checkstring(L, 2);
  lua_settop(L, 2);
  char *stack = lua_newuserdatauv(L, HOLDER_STACK_SIZE, 0);
  int *handle = push_fd(L);
  int pidfd = -1, status = LUA_OK, maker = (int)SYSCALL(pidfd_open, getpid(), 0);
  if (maker < 0) return push_failure(L, "pidfd_open", -maker);
  long fd = 0, pid = clone_holder(stack, &maker, &pidfd);
  if (pid < 0) {
    close(maker);
    return push_failure(L, "clone3", (int)-pid);
  }
  if (by_function) {
    lua_pushvalue(L, 1);
    lua_pushinteger(L, pid);
    status = lua_pcall(L, 1, 2, 0);
  } else {
    fd = write_maps(pid, pidfd, uid_map, gid_map);
  }
  int refused = status != LUA_OK || (by_function && !lua_toboolean(L, -2));
  if (fd >= 0 && !refused) fd = open_namespace(pid);
  kill_process(pidfd);
  reap_process(pidfd);
  close(pidfd);
  close(maker);
  if (status != LUA_OK) return lua_error(L);
  if (refused) return 2;
  if (fd < 0) return push_failure(L, "user_namespace", (int)-fd);
  *handle = (int)fd;
  lua_settop(L, 4);
  return 1;
}

void open_userns(lua_State *L) {
  lua_pushcfunction(L, user_namespace);
  lua_setfield(L, -2, "user_namespace");
}
