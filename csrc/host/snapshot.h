/*
 * A snapshot: the memory of a Lua state as it was when modules had been loaded, appended to a program whose functions are
 * at the same addresses at each start. Loading takes longer than the rest of a short run. The price: program and heap lie
 * where everybody knows, strings are hashed with a known seed, and warn() is silent. So it is not for nslua itself.
 */
#ifndef NSLUA_HOST_SNAPSHOT_H
#define NSLUA_HOST_SNAPSHOT_H

#include <lua.h>

/* The state of this program's snapshot; NULL when there is none, or no memory for it at its place. */
lua_State *snapshot_open(void);

/* Whether this program could have one, and has none yet. */
int snapshot_is_possible(void);

/* Writes the snapshot of the state that a function has made ready, which is called with the argument as light userdata.
   Returns NULL, or why it has not. */
const char *snapshot_write(const char *path, lua_CFunction prepare, void *argument);

#endif
