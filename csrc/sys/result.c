#include "sys.h"

#include <string.h>

/* The bytes of the character at s, in UTF-8, that a terminal only shows; 0 when it is another one, or none. */
static size_t shown(const unsigned char *s, size_t n) {
  if (*s < 0x80) return *s >= 32 && *s != 127;
  size_t length = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
  if (*s < 0xc2 || *s > 0xf4 || length > n) return 0;
  for (size_t i = 1; i < length; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  int is_control = *s == 0xc2 && s[1] < 0xa0; /* as in ISO 8859 */
  return is_control ? 0 : length;
}

void push_escaped(lua_State *L, const char *s, size_t n) {
  static const char digits[] = "0123456789abcdef";
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < n;) {
    unsigned char c = (unsigned char)s[i];
    size_t length = shown((const unsigned char *)s + i, n - i);
    if (length) {
      luaL_addlstring(&b, s + i, length);
      i += length;
    } else {
      char escaped[] = { '\\', 'x', digits[c >> 4], digits[c & 15] };
      luaL_addlstring(&b, escaped, sizeof escaped);
      i++;
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
