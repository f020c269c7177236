/***
 * The fd handle: owns one file descriptor, closes it when collected, by <close>, or by close().
 * @module nslua.sys
 */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int *push_fd(lua_State *L) {
  int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
  *fd = -1;
  luaL_setmetatable(L, FD_TYPE);
  return fd;
}

int above_stdio(int fd) {
  if (fd < 0 || fd > 2) return fd;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, 64);
  int error = errno;
  close(fd);
  errno = error;
  return moved;
}

int check_fd(lua_State *L, int index) {
  int *handle = luaL_testudata(L, index, FD_TYPE);
  if (handle) {
    luaL_argcheck(L, *handle >= 0, index, "closed fd");
    return *handle;
  }
  luaL_Stream *stream = luaL_testudata(L, index, LUA_FILEHANDLE);
  if (stream) {
    luaL_argcheck(L, stream->closef, index, "closed file");
    return fileno(stream->f);
  }
  if (lua_isinteger(L, index)) {
    lua_Integer n = lua_tointeger(L, index);
    luaL_argcheck(L, n >= 0 && n <= 0x7fffffff, index, "an fd is not negative");
    return (int)n;
  }
  return luaL_typeerror(L, index, "fd");
}

/***
 * Closes; again is no error.
 * @function fd:close
 */
static int fd_close(lua_State *L) {
  int *fd = luaL_checkudata(L, 1, FD_TYPE);
  if (*fd >= 0) close(*fd);
  *fd = -1;
  return 0;
}

/***
 * The number.
 * @function fd:fileno
 * @treturn integer
 * @raise when closed
 */
static int fd_fileno(lua_State *L) {
  lua_pushinteger(L, check_fd(L, (luaL_checkudata(L, 1, FD_TYPE), 1)));
  return 1;
}

static int fd_tostring(lua_State *L) {
  int *fd = luaL_checkudata(L, 1, FD_TYPE);
  if (*fd < 0) lua_pushliteral(L, "fd (closed)");
  else lua_pushfstring(L, "fd (%d)", *fd);
  return 1;
}

static int close_stream(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  return luaL_fileresult(L, fclose(stream->f) == 0, NULL);
}

/***
 * A Lua file that takes over the descriptor; the handle is closed afterwards.
 * @function fd:file
 * @tparam[opt="r"] string mode as of io.open
 * @treturn file
 * @raise when closed
 */
static int fd_file(lua_State *L) {
  int *fd = luaL_checkudata(L, 1, FD_TYPE);
  const char *mode = luaL_opt(L, check_text, 2, "r");
  check_fd(L, 1);
  luaL_Stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
  stream->closef = NULL;
  luaL_setmetatable(L, LUA_FILEHANDLE);
  stream->f = fdopen(*fd, mode);
  if (!stream->f) return push_failure(L, "fdopen", errno);
  stream->closef = close_stream;
  *fd = -1;
  return 1;
}

static const luaL_Reg methods[] = {
  { "close", fd_close },
  { "fileno", fd_fileno },
  { "file", fd_file },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", fd_close },
  { "__close", fd_close },
  { "__tostring", fd_tostring },
  { NULL, NULL },
};

/***
 * A copy of a descriptor, as a handle of its own.
 * @function duplicate
 * @tparam fd fd
 * @treturn[1] fd
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
static int duplicate(lua_State *L) {
  int fd = check_fd(L, 1);
  int *copy = push_fd(L);
  *copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (*copy < 0) return push_failure(L, "duplicate", errno);
  return 1;
}

void open_fd(lua_State *L) {
  lua_pushcfunction(L, duplicate);
  lua_setfield(L, -2, "duplicate");
  new_type(L, FD_TYPE, methods, metamethods);
}
