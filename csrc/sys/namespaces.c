/***
 * Namespaces as handles: made ahead, joined or used for idmapped mounts later.
 * @module nslua.sys
 */
#include "../kernel/syscall.h"
#include "row.h"
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

static long clone_holder(char *stack, uint64_t namespaces, int *maker, int *pidfd) {
  uint64_t all = ~(uint64_t)0, old;
  struct clone_args args = {
    .flags = CLONE_VM | CLONE_PIDFD | namespaces,
    .pidfd = (uintptr_t)pidfd,
  };
  int held_back = SYSCALL(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all) == 0;
  long pid = clone_call(&args, stack + HOLDER_STACK_SIZE, hold, maker);
  if (held_back) SYSCALL(rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof old);
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

/* The holder shares our memory, so it has only made the time namespace, and is not in it. */
static const char *file_of(const char *kind) {
  return strcmp(kind, "mount") == 0  ? "mnt"
         : strcmp(kind, "time") == 0 ? "time_for_children"
                                     : kind;
}

static long open_namespace(long pid, const char *kind) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/ns/%s", pid, file_of(kind));
  int fd = above_stdio(open(path, O_RDONLY | O_CLOEXEC));
  return fd < 0 ? -errno : fd;
}

/* Opens the kinds of the holder's namespaces into the table on the top of the stack. */
static long open_namespaces(lua_State *L, long pid, long kinds) {
  for (const struct flag *kind = flag_set("namespaces"); kind->name; kind++) {
    if (!(kinds & kind->value)) continue;
    int *handle = push_fd(L);
    long fd = open_namespace(pid, kind->name);
    if (fd < 0) return fd;
    *handle = (int)fd;
    lua_setfield(L, -2, kind->name);
  }
  return 0;
}

/* The maps of the holder: texts at 2 and 3, or a function at 2 that writes them; nothing without either. On
   refusal by the function its two results are left on the stack; -ECANCELED tells, or an error of Lua's is raised
   by the caller. */
static long map_holder(lua_State *L, long pid, int pidfd, int *status) {
  if (lua_isnil(L, 2)) return 0;
  if (!lua_isfunction(L, 2)) return write_maps(pid, pidfd, lua_tostring(L, 2), lua_tostring(L, 3));
  lua_pushvalue(L, 2);
  lua_pushinteger(L, pid);
  *status = lua_pcall(L, 1, 2, 0);
  if (*status != LUA_OK) return -ECANCELED;
  if (!lua_toboolean(L, -2)) return -ECANCELED;
  lua_pop(L, 2);
  return 0;
}

/***
 * New namespaces, which no process lives in.
 * @function new_namespaces
 * @tparam string|table|integer kinds flags of the set namespaces; not pid, which lives as long as its first process
 * @tparam[opt] string|function uid_map for a user namespace: lines "inside outside count"; or what writes both maps: it
 * is called with the pid of a process in it, and what it returns instead of true is returned in turn
 * @tparam[opt] string gid_map
 * @treturn[1] table kind → fd
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see namespaces(7)
 */
static int new_namespaces(lua_State *L) {
  long kinds = check_flags(L, 1, flag_set("namespaces"));
  luaL_argcheck(L, kinds && !(kinds & CLONE_NEWPID), 1, "some kinds, but not pid");
  lua_settop(L, 3);
  if (!lua_isnil(L, 2) && !lua_isfunction(L, 2)) {
    check_text(L, 2);
    check_text(L, 3);
  }
  char *stack = lua_newuserdatauv(L, HOLDER_STACK_SIZE, 0);
  lua_newtable(L);
  int pidfd = -1, status = LUA_OK, maker = (int)SYSCALL(pidfd_open, getpid(), 0);
  if (maker < 0) return push_failure(L, "pidfd_open", -maker);
  long pid = clone_holder(stack, (uint64_t)kinds, &maker, &pidfd);
  if (pid < 0) {
    close(maker);
    return push_failure(L, "clone3", (int)-pid);
  }
  long r = map_holder(L, pid, pidfd, &status);
  if (r >= 0) r = open_namespaces(L, pid, kinds);
  kill_process(pidfd);
  reap_process(pidfd);
  close(pidfd);
  close(maker);
  if (status != LUA_OK) return lua_error(L);
  if (r == -ECANCELED) return 2;
  return r < 0 ? push_failure(L, "new_namespaces", (int)-r) : 1;
}

void open_new_namespaces(lua_State *L) {
  lua_pushcfunction(L, new_namespaces);
  lua_setfield(L, -2, "new_namespaces");
}
