/* The names of capabilities, by libcap. */
#include "sys.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>

/*** The number of a capability, with or without "cap_", in any case.
 * @function capability @tparam string name @treturn[1] integer @treturn[2] nil */
static int capability_number(lua_State *L) {
  char name[64];
  cap_value_t value;
  const char *given = luaL_checkstring(L, 1);
  const char *prefix = strncasecmp(given, "cap_", 4) == 0 ? "" : "cap_";
  if (snprintf(name, sizeof name, "%s%s", prefix, given) >= (int)sizeof name) return 0;
  if (cap_from_name(name, &value) != 0) return 0;
  lua_pushinteger(L, value);
  return 1;
}

/*** The name of a capability, without "cap_". @function capability_name @tparam integer number
 * @treturn string */
static int capability_name(lua_State *L) {
  char *name = cap_to_name((cap_value_t)luaL_checkinteger(L, 1));
  if (!name) return 0;
  lua_pushstring(L, strncmp(name, "cap_", 4) == 0 ? name + 4 : name);
  cap_free(name);
  return 1;
}

/*** How many capabilities the kernel has. @function capability_count @treturn integer */
static int capability_count(lua_State *L) {
  lua_pushinteger(L, cap_max_bits());
  return 1;
}

static const luaL_Reg functions[] = {
  { "capability", capability_number },
  { "capability_name", capability_name },
  { "capability_count", capability_count },
  { NULL, NULL },
};

void open_capability(lua_State *L) { luaL_setfuncs(L, functions, 0); }
