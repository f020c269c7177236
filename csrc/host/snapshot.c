#include "snapshot.h"
#include "appended.h"
#include "heap.h"

#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#define ADDRESS ((void *)0x1000000000) /* far from everything, on every machine of 64 bits */

static const volatile struct place place = { .magic = "nslua-memory-at" };

extern const ElfW(Ehdr) __ehdr_start; /* the linker's */

int snapshot_is_possible(void) {
  return __ehdr_start.e_type == ET_EXEC && getauxval(AT_BASE) == 0 && !place.size;
}

static size_t size_of(const struct heap *heap) { return (size_t)(heap->next - (const char *)heap); }

/* That it is whole is seen by its size only, as with the program's own code before it: looking at all of it would take
   noticeably long. */
lua_State *snapshot_open(void) {
  if (!place.size) return NULL;
  struct heap *heap = heap_make(ADDRESS);
  int is_read = heap && appended_read(&place, (char *)heap) && size_of(heap) == place.size;
  return is_read ? heap->state : NULL;
}

static int write_heap(const struct heap *heap, const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) return 0;
  size_t size = size_of(heap);
  size_t written = fwrite(heap, 1, size, file);
  return (fclose(file) == 0) & (written == size);
}

const char *snapshot_write(const char *path, lua_CFunction prepare, void *argument) {
  struct heap *heap = heap_make(ADDRESS);
  lua_State *L = heap ? lua_newstate(heap_allocate, NULL) : NULL;
  if (!L) return "not enough memory";
  lua_pushcfunction(L, prepare);
  lua_pushlightuserdata(L, argument);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) return lua_tostring(L, -1);
  lua_gc(L, LUA_GCCOLLECT);
  heap->state = L;
  if (heap->is_exceeded) return "too large for a snapshot";
  return write_heap(heap, path) ? NULL : strerror(errno);
}
