/* The memory of a Lua state. */
#ifndef NSLUA_HOST_HEAP_H
#define NSLUA_HOST_HEAP_H

#include <lua.h>

/* From here on the state's memory comes from a piece of its own, as far as that goes. */
void heap_prepare(lua_State *L);

#endif
