/***
 * Signals as something to read, for a program that is its process's own master: no handler is installed.
 * @module nslua.sys
 */
#include "../kernel/syscall.h"
#include "sys.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void read_set(lua_State *L, sigset_t *set) {
  luaL_checktype(L, 1, LUA_TTABLE);
  sigemptyset(set);
  for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    lua_Integer signal = lua_tointeger(L, -1); /* 0 of what is none */
    int is_signal = signal > 0 && signal < NSIG && sigaddset(set, (int)signal) == 0;
    luaL_argcheck(L, is_signal, 1, "no such signal");
    lua_pop(L, 1);
  }
}

/***
 * Blocks signals in this thread; they are read from the fd, which does not block.
 * @function signalfd
 * @tparam table signals numbers
 * @treturn[1] fd
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see signalfd(2)
 */
static int signals_signalfd(lua_State *L) {
  sigset_t set;
  read_set(L, &set);
  int *fd = push_fd(L);
  *fd = above_stdio(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (*fd < 0) return push_failure(L, "signalfd", errno);
  sigprocmask(SIG_BLOCK, &set, NULL);
  return 1;
}

/***
 * The number of the next signal; nil when there is none.
 * @function read_signal
 * @tparam fd fd
 * @treturn ?integer
 */
static int signals_read_signal(lua_State *L) {
  struct signalfd_siginfo info;
  if (read(check_fd(L, 1), &info, sizeof info) != sizeof info) return 0;
  lua_pushinteger(L, info.ssi_signo);
  return 1;
}

/* A disposition as the kernel has it: libc hides the signals that it uses itself. */
struct disposition {
  void *handler;
  unsigned long flags;
  void *restorer;
  uint64_t mask;
};

/***
 * The signals that this process ignores, as behind nohup(1).
 * @function ignored_signals
 * @treturn table a list of numbers
 * @see sigaction(2)
 */
static int signals_ignored(lua_State *L) {
  lua_newtable(L);
  for (int signal = 1; signal < NSIG; signal++) {
    struct disposition action = { 0 };
    if (SYSCALL(rt_sigaction, signal, 0, &action, sizeof action.mask) < 0) continue;
    if (action.handler != (void *)SIG_IGN) continue;
    lua_pushinteger(L, signal);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  return 1;
}

static const luaL_Reg functions[] = {
  { "ignored_signals", signals_ignored },
  { "signalfd", signals_signalfd },
  { "read_signal", signals_read_signal },
  { NULL, NULL },
};

void open_signals(lua_State *L) { luaL_setfuncs(L, functions, 0); }
