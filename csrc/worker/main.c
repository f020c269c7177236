/* The program of a worker: an interpreter in a sandbox that takes calls on one descriptor and gives their results on
   another. It is linked statically: the sandbox need not have anything of it. */
#include "../host/embedded.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLS = 3, RESULTS = 4 }; /* lua/nslua/call.lua passes them */

static int close_file(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  return luaL_fileresult(L, fclose(stream->f) == 0, NULL);
}

/* Pushes a descriptor as a Lua file. What the function starts does not get it. */
static int push_file(lua_State *L, int fd, const char *mode) {
  luaL_Stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
  stream->closef = NULL;
  luaL_setmetatable(L, LUA_FILEHANDLE);
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return luaL_error(L, "descriptor %d is not there", fd);
  stream->f = fdopen(fd, mode);
  stream->closef = close_file;
  return stream->f ? 1 : luaL_error(L, "out of memory");
}

/* C modules would need shared libraries, which this program does without. */
static void refuse_c_modules(lua_State *L) {
  lua_getglobal(L, "package");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "cpath");
  lua_pop(L, 1);
}

static int work(lua_State *L) {
  luaL_openlibs(L);
  refuse_c_modules(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (const struct embedded *e = embedded; e->module; e++) {
    if (luaL_loadbufferx(L, e->code, e->size, e->chunk, "b") != LUA_OK) return lua_error(L);
    lua_setfield(L, -2, e->module);
  }
  lua_getglobal(L, "require");
  lua_pushstring(L, "nslua.worker");
  lua_call(L, 1, 1);
  push_file(L, CALLS, "rb");
  push_file(L, RESULTS, "wb");
  lua_call(L, 2, 0);
  return 0;
}

int main(void) {
  lua_State *L = luaL_newstate();
  if (!L) return EXIT_FAILURE;
  lua_pushcfunction(L, work);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
    fprintf(stderr, "nslua: worker: %s\n", luaL_tolstring(L, -1, NULL));
    return EXIT_FAILURE;
  }
  lua_close(L);
  return EXIT_SUCCESS;
}
