/***
 * sys.clone: a fork-like clone that runs a Lua function in the child, for experiments.
 * @module nslua.sys
 */
#include "../kernel/syscall.h"
#include "spawn.h"
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_TYPE "nslua.child"

struct child_handle {
  pid_t pid, maker;
  int pidfd;
};

/* How many threads this process has; 0 when /proc does not tell. */
static int thread_count(void) {
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return 0;
  int n = 0;
  for (struct dirent *entry; (entry = readdir(tasks));) n += entry->d_name[0] != '.';
  closedir(tasks);
  return n;
}

/* A thread that has been joined is one of ours for a moment longer. */
static int has_other_threads(void) {
  for (int tries = 0; thread_count() > 1; tries++) {
    if (tries == 100) return 1;
    usleep(1000);
  }
  return 0;
}

/* The child: the function under pcall, then the end, without the host's exit handlers. */
static _Noreturn void run_function(lua_State *L) {
  int status = 0;
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "nslua: clone: %s\n", message ? message : "error object is no string");
    status = 1;
  } else if (lua_isinteger(L, -1)) {
    status = (int)(lua_tointeger(L, -1) & 0xff);
  } else if (lua_isboolean(L, -1)) {
    status = !lua_toboolean(L, -1);
  }
  fflush(NULL);
  _exit(status);
}

/***
 * Runs a function in a child that starts as a copy of this process, in new namespaces.
 * What the function returns is the exit status: an integer, or a boolean; an error gives 1.
 * @function clone
 * @param namespaces as of unshare
 * @tparam function f
 * @tparam[opt] table options threads = true: even though this process has other threads, of which
 * the copy has none, whatever locks they hold
 * @treturn[1] child with pid, wait() → code, signal; kill([signal]); closing it kills and reaps
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see clone(2)
 */
static int system_clone(lua_State *L) {
  struct clone_args args = { .exit_signal = SIGCHLD };
  args.flags = CLONE_PIDFD | (uint64_t)check_flags(L, 1, flag_set("namespaces"));
  luaL_checktype(L, 2, LUA_TFUNCTION);
  int threads_allowed = 0;
  if (lua_istable(L, 3)) {
    lua_getfield(L, 3, "threads");
    threads_allowed = lua_toboolean(L, -1);
  }
  if (!threads_allowed && has_other_threads())
    return luaL_error(L,
                      "clone: this process has several threads; the copy would have only one, and"
                      " the locks of the others for ever (use a sandbox, or { threads = true })");
  lua_settop(L, 2);
  struct child_handle *child = lua_newuserdatauv(L, sizeof *child, 0);
  *child = (struct child_handle){ .pidfd = -1, .maker = getpid() };
  luaL_setmetatable(L, CHILD_TYPE);
  int pidfd = -1;
  args.pidfd = (uintptr_t)&pidfd;
  fflush(NULL);
  long pid = SYSCALL(clone3, &args, sizeof args);
  if (pid == 0) {
    lua_settop(L, 2);
    run_function(L);
  }
  if (pid < 0) return push_failure(L, "clone3", (int)-pid);
  child->pid = (pid_t)pid;
  child->pidfd = above_stdio(pidfd);
  return 1;
}

static struct child_handle *check_child(lua_State *L) { return luaL_checkudata(L, 1, CHILD_TYPE); }

static void end_child(struct child_handle *child) {
  if (child->pidfd < 0) return;
  close(child->pidfd);
  child->pidfd = -1;
}

/***
 * @function child:wait
 * @treturn integer|nil exit code
 * @treturn integer|nil signal
 */
static int child_wait(lua_State *L) {
  struct child_handle *child = check_child(L);
  if (child->pidfd < 0) return push_failure(L, "wait", ECHILD);
  int status = reap_process(child->pidfd);
  end_child(child);
  if (status < 0) return push_failure(L, "wait", ECHILD);
  if (WIFEXITED(status)) lua_pushinteger(L, WEXITSTATUS(status));
  else lua_pushnil(L);
  if (!WIFSIGNALED(status)) return 1;
  lua_pushinteger(L, WTERMSIG(status));
  return 2;
}

/***
 * @function child:kill
 * @tparam[opt=15] integer signal
 */
static int child_kill(lua_State *L) {
  struct child_handle *child = check_child(L);
  if (child->pidfd < 0) return push_failure(L, "kill", ESRCH);
  long r = SYSCALL(pidfd_send_signal, child->pidfd, luaL_opt(L, check_int, 2, SIGTERM), 0, 0);
  if (r < 0) return push_failure(L, "kill", (int)-r);
  lua_pushboolean(L, 1);
  return 1;
}

static int child_close(lua_State *L) {
  struct child_handle *child = check_child(L);
  if (child->pidfd >= 0 && child->maker == getpid()) {
    kill_process(child->pidfd);
    reap_process(child->pidfd);
  }
  end_child(child);
  return 0;
}

static int child_index(lua_State *L) {
  struct child_handle *child = check_child(L);
  const char *key = luaL_checkstring(L, 2);
  if (strcmp(key, "pid") == 0) lua_pushinteger(L, child->pid);
  else lua_getfield(L, lua_upvalueindex(1), key);
  return 1;
}

static const luaL_Reg methods[] = {
  { "wait", child_wait },
  { "kill", child_kill },
  { "close", child_close },
  { NULL, NULL },
};

void open_clone(lua_State *L) {
  luaL_newmetatable(L, CHILD_TYPE);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, child_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, child_close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, child_close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
  lua_pushcfunction(L, system_clone);
  lua_setfield(L, -2, "clone");
}
