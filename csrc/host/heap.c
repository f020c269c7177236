/* Blocks come one behind the other, and one that is given back waits for the next of its size; a large one is lost. */
#include "heap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { AT_ONCE = 512 << 10 };

static struct heap *heap;

/* A module's threads may take this allocator for states of theirs: malloc serves those. */
static _Thread_local int is_owner;

static size_t rounded(size_t size) { return (size + HEAP_UNIT - 1) & ~(size_t)(HEAP_UNIT - 1); }

static int is_ours(const void *block) {
  return (const char *)block >= (const char *)heap && (const char *)block < heap->end;
}

static int has_room(size_t size) { return is_owner && size <= (size_t)(heap->end - heap->next); }

static void *take(size_t size) {
  if (!is_owner) return malloc(size);
  struct block **returned = size <= HEAP_LARGEST ? &heap->returned[size / HEAP_UNIT] : NULL;
  if (returned && *returned) {
    struct block *block = *returned;
    *returned = block->next;
    return block;
  }
  if (!has_room(size)) return heap->is_exceeded = 1, malloc(size);
  heap->next += size;
  return heap->next - size;
}

static void give_back(void *memory, size_t size) {
  if (!is_owner || size > HEAP_LARGEST) return;
  struct block *block = memory;
  block->next = heap->returned[size / HEAP_UNIT];
  heap->returned[size / HEAP_UNIT] = block;
}

void *heap_allocate(void *unused, void *block, size_t old, size_t size) {
  (void)unused;
  if (size > PTRDIFF_MAX) return NULL; /* rounding it up would overflow */
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

/* A huge page can only lie at a multiple of its size. */
static char *map(void *address) {
  size_t size = address ? HEAP_SIZE : 2 * HEAP_SIZE;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | (address ? MAP_FIXED_NOREPLACE : 0);
  char *place = mmap(address, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (place == MAP_FAILED || (address && place != address)) return NULL;
  return place + (-(uintptr_t)place & (HEAP_SIZE - 1));
}

struct heap *heap_make(void *address) {
#ifdef __SANITIZE_ADDRESS__ /* it knows of malloc's blocks only */
  return (void)address, (void)map, NULL;
#endif
  char *place = map(address);
  if (!place) return NULL;
  madvise(place, HEAP_SIZE, MADV_HUGEPAGE);
  madvise(place, AT_ONCE, MADV_POPULATE_WRITE); /* since Linux 5.14 */
  is_owner = 1;
  heap = (struct heap *)place;
  heap->next = place + rounded(sizeof *heap);
  heap->end = place + HEAP_SIZE;
  return heap;
}
