/* The Lua sources, embedded under their module names. Ends with a NULL name. */
#ifndef NSLUA_HOST_EMBEDDED_H
#define NSLUA_HOST_EMBEDDED_H

#include <stddef.h>

struct embedded {
  const char *module; /* "nslua.sandbox" */
  const char *chunk;  /* "@nslua/sandbox.lua" */
  const char *code;   /* precompiled by the Lua that nslua was built with */
  size_t size;
};

extern const struct embedded embedded[];

#endif
