#include "sys.h"

#include <string.h>

void push_escaped(lua_State *L, const char *s, size_t n) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c >= 32 && c != 127) {
      luaL_addchar(&b, s[i]);
    } else {
      lua_pushfstring(L, "\\x%c%c", "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]);
      luaL_addvalue(&b);
    }
  }
  luaL_pushresult(&b);
}

int push_failure(lua_State *L, const char *what, int error) {
  const char *text = strerrordesc_np(error);
  const char *name = strerrorname_np(error);
  lua_pushnil(L);
  if (what) {
    push_escaped(L, what, strlen(what));
    lua_pushliteral(L, ": ");
  } else {
    lua_pushliteral(L, "");
    lua_pushliteral(L, "");
  }
  lua_pushfstring(L, "%s (%s)", text ? text : "unknown error", name ? name : "?");
  lua_concat(L, 3);
  lua_pushinteger(L, error);
  return 3;
}

void set_integer(lua_State *L, const char *key, uint64_t value) {
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, key);
}
