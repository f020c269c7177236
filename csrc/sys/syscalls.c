/***
 * The machine's system calls by name, and the filter that is compiled in.
 * @module nslua.sys
 */
#include "syscalls.h"

#include "sys.h"

#include <string.h>

/***
 * The number of a system call on this machine, or nil.
 * @function syscall_number
 * @tparam string name
 * @treturn ?integer
 * @see syscalls(2)
 */
static int syscall_number(lua_State *L) {
  const char *name = check_text(L, 1);
  for (const struct syscall *s = syscalls; s->name; s++) {
    if (strcmp(s->name, name) != 0) continue;
    lua_pushinteger(L, s->number);
    return 1;
  }
  return 0;
}

/***
 * The name of the system call with a number on this machine, or nil.
 * @function syscall_name
 * @tparam integer number
 * @treturn ?string
 * @see syscalls(2)
 */
static int syscall_name(lua_State *L) {
  lua_Integer number = luaL_checkinteger(L, 1);
  for (const struct syscall *s = syscalls; s->name; s++) {
    if (s->number != number) continue;
    lua_pushstring(L, s->name);
    return 1;
  }
  return 0;
}

/***
 * The names of all system calls that are known, sorted.
 * @function syscall_names
 * @treturn table
 */
static int syscall_names(lua_State *L) {
  lua_newtable(L);
  for (lua_Integer i = 0; syscalls[i].name; i++) {
    lua_pushstring(L, syscalls[i].name);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/***
 * AUDIT_ARCH_… of this machine.
 * @function audit_arch
 * @treturn integer
 * @see seccomp(2)
 */
static int get_audit_arch(lua_State *L) {
  lua_pushinteger(L, audit_arch);
  return 1;
}

/***
 * The default filter: an array of struct sock_filter.
 * @function default_filter
 * @treturn string
 */
static int get_default_filter(lua_State *L) {
  lua_pushlstring(L, (const char *)default_filter, default_filter_size);
  return 1;
}

static const luaL_Reg functions[] = {
  { "syscall_number", syscall_number },     { "syscall_name", syscall_name },
  { "syscall_names", syscall_names },       { "audit_arch", get_audit_arch },
  { "default_filter", get_default_filter }, { NULL, NULL },
};

void open_syscalls(lua_State *L) { luaL_setfuncs(L, functions, 0); }
