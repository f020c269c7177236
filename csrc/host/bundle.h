/* A bundle: this program with Lua sources appended to its file, which is run in place of the command line. */
#ifndef NSLUA_HOST_BUNDLE_H
#define NSLUA_HOST_BUNDLE_H

#include <lua.h>

/* Whether there is one. */
int has_bundle(void);

/* Pushes its content, a string; raises when the file does not have what was appended to it. */
void push_bundle(lua_State *L);

#endif
