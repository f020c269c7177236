#include "bundle.h"
#include "appended.h"

#include <lauxlib.h>

static const volatile struct place place = { .magic = "nslua-bundle-at" };

int has_bundle(void) { return place.size != 0; }

void push_bundle(lua_State *L) {
  luaL_Buffer buffer;
  char *data = luaL_buffinitsize(L, &buffer, (size_t)place.size);
  if (!appended_read(&place, data) || !appended_is_whole(&place, data))
    luaL_error(L, "/proc/self/exe: the bundle cannot be read, or is damaged");
  luaL_pushresultsize(&buffer, (size_t)place.size);
}
