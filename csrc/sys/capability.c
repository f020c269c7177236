/***
 * The names of capabilities and the text of their sets, by libcap.
 * @module nslua.sys
 */
#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>

/***
 * The number of a capability, with or without "cap_", in any case.
 * @function capability
 * @tparam string name
 * @treturn[1] integer
 * @treturn[2] nil
 */
static int capability_number(lua_State *L) {
  char name[64];
  cap_value_t value;
  const char *given = check_text(L, 1);
  const char *prefix = strncasecmp(given, "cap_", 4) == 0 ? "" : "cap_";
  if (snprintf(name, sizeof name, "%s%s", prefix, given) >= (int)sizeof name) return 0;
  if (cap_from_name(name, &value) != 0) return 0;
  lua_pushinteger(L, value);
  return 1;
}

/***
 * The name of a capability, without "cap_".
 * @function capability_name
 * @tparam integer number
 * @treturn string
 */
static int capability_name(lua_State *L) {
  char *name = cap_to_name((cap_value_t)check_int(L, 1));
  if (!name) return 0;
  lua_pushstring(L, strncmp(name, "cap_", 4) == 0 ? name + 4 : name);
  cap_free(name);
  return 1;
}

/***
 * How many capabilities the kernel has.
 * @function capability_count
 * @treturn integer
 */
static int capability_count(lua_State *L) {
  lua_pushinteger(L, cap_max_bits());
  return 1;
}

static lua_Integer mask_of(cap_t sets, cap_flag_t set) {
  lua_Unsigned mask = 0;
  for (cap_value_t capability = 0; capability < cap_max_bits(); capability++) {
    cap_flag_value_t value = CAP_CLEAR;
    cap_get_flag(sets, capability, set, &value);
    if (value == CAP_SET) mask |= (lua_Unsigned)1 << capability;
  }
  return (lua_Integer)mask;
}

/***
 * The masks of the effective, permitted and inheritable sets in text as "cap_net_raw=ep".
 * @function capabilities_from_text
 * @tparam string text
 * @treturn[1] integer
 * @treturn[1] integer
 * @treturn[1] integer
 * @treturn[2] nil
 * @treturn[2] string
 * @see cap_from_text(3)
 */
static int capabilities_from_text(lua_State *L) {
  const char *text = check_text(L, 1);
  cap_t sets = cap_from_text(text);
  if (!sets) return push_failure(L, text, errno);
  lua_pushinteger(L, mask_of(sets, CAP_EFFECTIVE));
  lua_pushinteger(L, mask_of(sets, CAP_PERMITTED));
  lua_pushinteger(L, mask_of(sets, CAP_INHERITABLE));
  cap_free(sets);
  return 3;
}

static const luaL_Reg functions[] = {
  { "capability", capability_number },
  { "capability_name", capability_name },
  { "capability_count", capability_count },
  { "capabilities_from_text", capabilities_from_text },
  { NULL, NULL },
};

void open_capability(lua_State *L) { luaL_setfuncs(L, functions, 0); }
