/*
 * nslua: the Lua interpreter with nslua inside. This file makes the state; what a command line
 * means is decided in Lua (nslua.cli).
 */
#include "bundle.h"
#include "embedded.h"
#include "heap.h"
#include "snapshot.h"

#include "../sys/sys.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

enum { FAILED = 125, UNKNOWN = -1 };

/* -- modules -- */

#ifdef NSLUA_SOURCES
static int load_from_disk(lua_State *L, const struct embedded *module) {
  lua_pushfstring(L, NSLUA_SOURCES "/%s", module->chunk + 1);
  FILE *file = fopen(lua_tostring(L, -1), "r");
  if (!file) return LUA_ERRFILE;
  fclose(file);
  return luaL_loadfile(L, lua_tostring(L, -1));
}
#else
static int load_from_disk(lua_State *L, const struct embedded *module) {
  (void)L, (void)module;
  return LUA_ERRFILE;
}
#endif

/* The searcher of embedded modules. */
static int search_embedded(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  for (const struct embedded *m = embedded; m->module; m++) {
    if (strcmp(m->module, name) != 0) continue;
    int r = load_from_disk(L, m);
    if (r == LUA_ERRFILE) r = luaL_loadbufferx(L, m->code, m->size, m->chunk, "b");
    if (r != LUA_OK) return lua_error(L);
    lua_pushstring(L, m->chunk + 1);
    return 2;
  }
  lua_pushfstring(L, "no embedded module '%s'", name);
  return 1;
}

/* Before the searchers of files, so that nothing on a path can stand in for a part of nslua. */
static void add_searcher(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, search_embedded);
  lua_rawseti(L, -2, 2);
  lua_pop(L, 2);
}

/* The current directory is nobody's library. */
static void drop_current_directory(lua_State *L, const char *field) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, field);
  luaL_Buffer b;
  const char *path = lua_tostring(L, -1);
  const char *separator = "";
  luaL_buffinit(L, &b);
  while (*path) {
    size_t n = strcspn(path, ";");
    if (n > 0 && path[0] == '/') {
      luaL_addstring(&b, separator);
      luaL_addlstring(&b, path, n);
      separator = ";";
    }
    path += n + (path[n] == ';');
  }
  luaL_pushresult(&b);
  lua_setfield(L, -3, field);
  lua_pop(L, 2);
}

/* -- the state -- */

/* Whether -E is among the options before the script: the environment is read with the libraries. */
static int ignores_environment(char **argv) {
  for (int i = 1; argv[i] && argv[i][0] == '-'; i++) {
    if (strcmp(argv[i], "-E") == 0) return 1;
    if (strcmp(argv[i], "--") == 0) return 0;
    if ((strcmp(argv[i], "-e") == 0 || strcmp(argv[i], "-l") == 0) && !argv[++i]) return 0;
  }
  return 0;
}

/* arg[0] is the program, arg[1]… the words behind it. */
static void push_arguments(lua_State *L, int argc, char **argv) {
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
}

static void ignore_environment(lua_State *L) {
  lua_pushboolean(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
}

static void add_libraries(lua_State *L) {
  lua_gc(L, LUA_GCSTEP, -(HEAP_SIZE >> 10)); /* no collection before that much is in use */
  luaL_openlibs(L);
  drop_current_directory(L, "path");
  drop_current_directory(L, "cpath");
  add_searcher(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_nslua_sys);
  lua_setfield(L, -2, "nslua.sys");
  lua_pop(L, 1);
}

static void push_module(lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
}

static int leave(lua_State *L) {
  int status = *(int *)lua_touserdata(L, 1);
  if (status != UNKNOWN) exit(status); /* else a script calls os.exit, or there was an error */
  return 0;
}

/* The exit status. It is the first object with a finalizer (but for a snapshot's), so its turn comes after all others':
   what memory there is then is the system's to free, which takes it no time. */
static int *push_status(lua_State *L) {
  int *status = lua_newuserdatauv(L, sizeof *status, 0);
  *status = UNKNOWN;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, leave);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return status;
}

static int run(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  int is_ready = lua_toboolean(L, 3);
  int *status = push_status(L);
  if (!is_ready) {
    if (has_bundle() || ignores_environment(argv)) ignore_environment(L);
    add_libraries(L);
  }
  push_module(L, "nslua.cli");
  push_arguments(L, argc, argv);
  if (has_bundle()) push_bundle(L);
  else lua_pushnil(L);
  lua_call(L, 2, 1);
  *status = (int)lua_tointeger(L, -1);
  return 0;
}

/* For the bundles that are made of this program. */
static int load_modules(lua_State *L) {
  ignore_environment(L);
  add_libraries(L);
  for (char **names = lua_touserdata(L, 1); *names; names++) push_module(L, *names);
  return 0;
}

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  if (L && heap_make(NULL)) lua_setallocf(L, heap_allocate, NULL);
  return L;
}

static int fail(const char *why) {
  fprintf(stderr, "nslua: %s\n", why);
  return FAILED;
}

int main(int argc, char **argv) {
  if (getauxval(AT_SECURE))
    return fail("refuses to run with privileges it was not called with (set-user-id)");
  if (argc > 2 && snapshot_is_possible() && strcmp(argv[1], "--snapshot") == 0) {
    const char *problem = snapshot_write(argv[2], load_modules, argv + 3);
    return problem ? fail(problem) : 0;
  }
  lua_State *ready = has_bundle() ? snapshot_open() : NULL, *L = ready ? ready : new_state();
  if (!L) return fail("not enough memory");
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  lua_pushboolean(L, ready != NULL);
  if (lua_pcall(L, 3, 0, 0) != LUA_OK) fail(luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return FAILED;
}
