/***
 * Bytes in and out: what a relay loop needs, without stdio and without touching SIGPIPE.
 * @module nslua.sys
 */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/***
 * A pipe; both ends are close-on-exec.
 * @function pipe
 * @tparam[opt=false] boolean reader_nonblocking
 * @tparam[opt=false] boolean writer_nonblocking
 * @treturn fd the end to read from
 * @treturn fd the end to write to
 */
static int io_pipe(lua_State *L) {
  int ends[2];
  int reader_nonblocking = lua_toboolean(L, 1), writer_nonblocking = lua_toboolean(L, 2);
  int *reader = push_fd(L), *writer = push_fd(L);
  if (pipe2(ends, O_CLOEXEC) < 0) return push_failure(L, "pipe2", errno);
  *reader = above_stdio(ends[0]);
  *writer = above_stdio(ends[1]);
  if (*reader < 0 || *writer < 0) return push_failure(L, "pipe2", errno);
  if ((reader_nonblocking && fcntl(*reader, F_SETFL, O_NONBLOCK) < 0) ||
      (writer_nonblocking && fcntl(*writer, F_SETFL, O_NONBLOCK) < 0))
    return push_failure(L, "fcntl", errno);
  return 2;
}

/***
 * @function read
 * @tparam fd fd
 * @tparam[opt=65536] integer size
 * @treturn[1] string "" at the end
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
static int io_read(lua_State *L) {
  int fd = check_fd(L, 1);
  size_t size = (size_t)luaL_optinteger(L, 2, 65536);
  luaL_argcheck(L, size > 0 && size <= 16 << 20, 2, "out of range");
  luaL_Buffer b;
  char *p = luaL_buffinitsize(L, &b, size);
  ssize_t n = read(fd, p, size);
  if (n < 0) return push_failure(L, "read", errno);
  luaL_pushresultsize(&b, (size_t)n);
  return 1;
}

/***
 * Moves what a pipe holds to the end of a file, in the kernel.
 * @function splice
 * @tparam fd pipe
 * @tparam fd file
 * @tparam integer most bytes at most
 * @treturn[1] integer bytes moved, 0 at the end
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
static int io_splice(lua_State *L) {
  int pipe = check_fd(L, 1), file = check_fd(L, 2);
  lua_Integer most = luaL_checkinteger(L, 3);
  luaL_argcheck(L, most > 0, 3, "out of range");
  ssize_t n;
  do n = splice(pipe, NULL, file, NULL, (size_t)most, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0) return push_failure(L, "splice", errno);
  lua_pushinteger(L, n);
  return 1;
}

/***
 * How many bytes a pipe may hold, from here on.
 * @function pipe_size
 * @tparam fd pipe
 * @tparam integer size
 * @treturn[1] integer size
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see fcntl(2) F_SETPIPE_SZ
 */
static int io_pipe_size(lua_State *L) {
  int size = fcntl(check_fd(L, 1), F_SETPIPE_SZ, (int)check_int(L, 2));
  if (size < 0) return push_failure(L, "pipe_size", errno);
  lua_pushinteger(L, size);
  return 1;
}

/* write(2) without the SIGPIPE: blocked in this thread for the time, and taken back if it came. */
static ssize_t write_quietly(int fd, const char *s, size_t n) {
  sigset_t pipe_signal, old, pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  int was_pending = sigismember(&pending, SIGPIPE);
  int is_blocked = pthread_sigmask(SIG_BLOCK, &pipe_signal, &old) == 0;
  ssize_t r = write(fd, s, n);
  int error = errno;
  if (r < 0 && error == EPIPE && is_blocked && !was_pending)
    while (sigtimedwait(&pipe_signal, NULL, &(struct timespec){ 0 }) < 0 && errno == EINTR)
      continue;
  if (is_blocked) pthread_sigmask(SIG_SETMASK, &old, NULL);
  errno = error;
  return r;
}

/***
 * Writes what goes in at once; SIGPIPE is never raised.
 * @function write
 * @tparam fd fd
 * @tparam string data
 * @tparam[opt=1] integer first byte to write
 * @treturn[1] integer bytes written
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
static int io_write(lua_State *L) {
  size_t size;
  int fd = check_fd(L, 1);
  const char *s = luaL_checklstring(L, 2, &size);
  lua_Integer first = luaL_optinteger(L, 3, 1);
  luaL_argcheck(L, first >= 1 && (size_t)first <= size + 1, 3, "out of range");
  ssize_t n = write_quietly(fd, s + first - 1, size - (size_t)first + 1);
  if (n < 0) return push_failure(L, "write", errno);
  lua_pushinteger(L, n);
  return 1;
}

/***
 * Waits until one of some fds is ready.
 * @function poll
 * @tparam[opt] number seconds at most; nil: for ever
 * @param ... pairs: an fd (or false) and what for, "r" or "w"
 * @treturn[1] boolean… per pair, whether it is ready; all false after the time or a signal
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
static int io_poll(lua_State *L) {
  int pairs = lua_gettop(L) / 2;
  double seconds = luaL_optnumber(L, 1, -1);
  struct pollfd *fds = lua_newuserdatauv(L, (size_t)pairs * sizeof *fds, 0);
  for (int i = 0; i < pairs; i++) {
    int at = 2 + 2 * i;
    fds[i].fd = lua_toboolean(L, at) ? check_fd(L, at) : -1;
    fds[i].events = check_text(L, at + 1)[0] == 'w' ? POLLOUT : POLLIN;
    fds[i].revents = 0;
  }
  if (seconds > 1e9) seconds = 1e9;
  struct timespec time = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
  if (ppoll(fds, (nfds_t)pairs, seconds < 0 ? NULL : &time, NULL) < 0) {
    if (errno != EINTR) return push_failure(L, "poll", errno);
    for (int i = 0; i < pairs; i++) fds[i].revents = 0;
  }
  luaL_checkstack(L, pairs, NULL);
  for (int i = 0; i < pairs; i++) lua_pushboolean(L, fds[i].revents != 0);
  return pairs;
}

/***
 * An fd that is readable when one of those that epoll_watch has given it is ready.
 * @function epoll
 * @treturn[1] fd
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see epoll(7)
 */
static int io_epoll(lua_State *L) {
  int *fd = push_fd(L);
  *fd = above_stdio(epoll_create1(EPOLL_CLOEXEC));
  if (*fd < 0) return push_failure(L, "epoll_create1", errno);
  return 1;
}

/***
 * Adds an fd to an epoll, or takes it out of it.
 * @function epoll_watch
 * @tparam fd epoll
 * @tparam fd fd
 * @tparam[opt] string what for, "r" or "w"; nil: no more
 * @treturn[1] true
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see epoll_ctl(2)
 */
static int io_epoll_watch(lua_State *L) {
  int epoll = check_fd(L, 1), fd = check_fd(L, 2);
  const char *what = luaL_opt(L, check_text, 3, NULL);
  struct epoll_event event = { .events = what && what[0] == 'w' ? EPOLLOUT : EPOLLIN };
  if (epoll_ctl(epoll, what ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event) < 0)
    return push_failure(L, "epoll_ctl", errno);
  lua_pushboolean(L, 1);
  return 1;
}

/***
 * @function isatty
 * @tparam fd fd
 * @treturn boolean
 */
static int io_isatty(lua_State *L) {
  lua_pushboolean(L, isatty(check_fd(L, 1)));
  return 1;
}

static const luaL_Reg functions[] = {
  { "pipe", io_pipe },   { "pipe_size", io_pipe_size },     { "read", io_read },
  { "write", io_write }, { "splice", io_splice },           { "poll", io_poll },
  { "epoll", io_epoll }, { "epoll_watch", io_epoll_watch }, { "isatty", io_isatty },
  { NULL, NULL },
};

void open_io(lua_State *L) { luaL_setfuncs(L, functions, 0); }
