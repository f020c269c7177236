/*
 * The memory of a Lua state: what a short run needs lies in one huge page, where there is one to be had. Page by page it
 * would cost more than all that Lua does with it. Blocks come from there one behind the other, and one that is given back
 * waits for the next of its size; a large one is lost. What no longer fits comes from malloc.
 */
#include "heap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { SIZE = 2 << 20, AT_ONCE = 512 << 10, UNIT = 16, LARGEST = 1024 };

struct block {
  struct block *next;
};

static struct {
  char *start, *next, *end;
  struct block *returned[LARGEST / UNIT + 1]; /* by their size in units */
} heap;

static size_t rounded(size_t size) { return (size + UNIT - 1) & ~(size_t)(UNIT - 1); }

static int is_ours(const void *block) {
  return (const char *)block >= heap.start && (const char *)block < heap.end;
}

static int has_room(size_t size) { return size <= (size_t)(heap.end - heap.next); }

static void *take(size_t size) {
  struct block **returned = size <= LARGEST ? &heap.returned[size / UNIT] : NULL;
  if (returned && *returned) {
    struct block *block = *returned;
    *returned = block->next;
    return block;
  }
  if (!has_room(size)) return malloc(size);
  heap.next += size;
  return heap.next - size;
}

static void give_back(void *memory, size_t size) {
  if (size > LARGEST) return;
  struct block *block = memory;
  block->next = heap.returned[size / UNIT];
  heap.returned[size / UNIT] = block;
}

static void *allocate(void *unused, void *block, size_t old, size_t size) {
  (void)unused;
  if (!block) return size ? take(rounded(size)) : NULL;
  int ours = is_ours(block);
  if (ours && rounded(old) == rounded(size)) return block;
  if (!ours && !has_room(size)) return realloc(block, size);
  void *moved = size ? take(rounded(size)) : NULL;
  if (!moved && size > old) return NULL;
  if (!moved && size) return block; /* Lua counts on it that a block can shrink */
  if (moved) memcpy(moved, block, old < size ? old : size);
  if (ours) give_back(block, rounded(old));
  else free(block);
  return moved;
}

void heap_prepare(lua_State *L) {
#ifndef __SANITIZE_ADDRESS__ /* which knows of malloc's blocks */
  char *place = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) return; /* as with a low limit of data */
  heap.start = heap.next = place + (-(uintptr_t)place & (SIZE - 1));
  heap.end = heap.start + SIZE;
  madvise(heap.start, SIZE, MADV_HUGEPAGE);
  madvise(heap.start, AT_ONCE, MADV_POPULATE_WRITE); /* since Linux 5.14 */
  lua_setallocf(L, allocate, NULL);
#else
  (void)L;
#endif
}
