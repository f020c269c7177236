/* The program that runs functions in a sandbox: an interpreter that takes calls on one descriptor and gives their
   results on another. It is linked statically: the sandbox need not have anything of it. */
#include "embedded.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLS = 3, RESULTS = 4 }; /* lua/nslua/worker.lua passes them */

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
  if (!stream->f) return luaL_error(L, "not enough memory");
  stream->closef = close_file;
  return 1;
}

/* C modules would need shared libraries, which this program does without: their searchers are the last two. */
static void refuse_c_modules(lua_State *L) {
  lua_getglobal(L, "package");
  lua_pushnil(L);
  lua_setfield(L, -2, "loadlib");
  lua_getfield(L, -1, "searchers");
  for (lua_Integer i = 4; i > 2; i--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 2);
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
  lua_pushstring(L, "nslua.callee");
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
    fprintf(stderr, "nslua: function: %s\n", luaL_tolstring(L, -1, NULL));
    return EXIT_FAILURE;
  }
  lua_close(L);
  return EXIT_SUCCESS;
}
