/***
 * The kernel's primitives, one to one. Each function of the table runs now; each is also a method
 * of a plan, which records it for a child.
 * @module nslua.sys
 */
#include "sys.h"

void new_type(lua_State *L, const char *name, const luaL_Reg *methods,
              const luaL_Reg *metamethods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, metamethods, 0);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void *test_type(lua_State *L, int index, int metatable) {
  if (!lua_getmetatable(L, index)) return NULL;
  int is_one = lua_rawequal(L, -1, metatable);
  lua_pop(L, 1);
  return is_one ? lua_touserdata(L, index) : NULL;
}

enum { FUNCTIONS = 135 }; /* about as many */

__attribute__((visibility("default"))) int luaopen_nslua_sys(lua_State *L) {
  lua_createtable(L, 0, FUNCTIONS);
  open_fd(L);
  open_now(L);
  open_plan(L);
  open_io(L);
  open_image(L);
  open_buffer(L);
  open_terminal(L);
  open_signals(L);
  open_system(L);
  open_stage(L);
  open_process(L);
  open_execute(L);
  open_clone(L);
  open_capability(L);
  open_new_namespaces(L);
  open_syscalls(L);
  return 1;
}
