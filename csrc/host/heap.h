/*
 * The memory of a Lua state: what a short run needs lies in one huge page, where there is one to be had. Page by page it
 * would cost more than all that Lua does with it.
 */
#ifndef NSLUA_HOST_HEAP_H
#define NSLUA_HOST_HEAP_H

#include <lua.h>

enum { HEAP_SIZE = 2 << 20, HEAP_UNIT = 16, HEAP_LARGEST = 1024 };

struct block {
  struct block *next;
};

/* It begins with this. */
struct heap {
  char *next, *end;
  struct block *returned[HEAP_LARGEST / HEAP_UNIT + 1]; /* by their size in units */
  int is_exceeded;                                      /* whether malloc had to help out */
  lua_State *state;                                     /* whose memory it is, in a snapshot */
};

/* Makes it, at this address or (NULL) anywhere. NULL: as with a low limit of data. */
struct heap *heap_make(void *address);

/* A lua_Alloc: from there as far as it goes, then from malloc. */
void *heap_allocate(void *unused, void *block, size_t old, size_t size);

#endif
