/***
 * The kernel's primitives, one to one. Each function of the table runs now; each is also a method
 * of a plan, which records it for a child.
 * @module nslua.sys
 */
#include "sys.h"

__attribute__((visibility("default"))) int luaopen_nslua_sys(lua_State *L) {
  lua_newtable(L);
  open_fd(L);
  open_now(L);
  open_plan(L);
  open_io(L);
  open_buffer(L);
  open_terminal(L);
  open_signals(L);
  open_system(L);
  open_process(L);
  open_clone(L);
  open_capability(L);
  open_new_namespaces(L);
  open_syscalls(L);
  return 1;
}
