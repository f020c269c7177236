/***
 * The buffer: what is read into it becomes one Lua string at the end. Little stays in the handle; much lies in
 * memory that grows without being copied, in huge pages where the system lets whoever asks have them: to fill
 * it page by page would take longer than all the copying, above all in a virtual machine.
 * @module nslua.sys
 */
#include "sys.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFER_TYPE "nslua.buffer"

/* Huge pages waste less than they give only from here on. */
enum { LITTLE = 16 * 1024, FIRST_MAPPED = 128 * 1024, PAGE = 4096, LARGE = 4 << 20 };

struct buffer {
  char *bytes; /* mapped, or `little` */
  size_t size, capacity;
  char little[LITTLE];
};

static struct buffer *check_buffer(lua_State *L) { return luaL_checkudata(L, 1, BUFFER_TYPE); }

static void empty(struct buffer *buffer) {
  if (buffer->bytes != buffer->little) munmap(buffer->bytes, buffer->capacity);
  buffer->bytes = buffer->little;
  buffer->size = 0;
  buffer->capacity = sizeof buffer->little;
}

/* Room for at least one byte more; 0, or an errno. */
static int grow(struct buffer *buffer) {
  if (buffer->size < buffer->capacity) return 0;
  int first = buffer->bytes == buffer->little;
  size_t capacity = first ? FIRST_MAPPED : buffer->capacity * 2;
  char *larger =
      first ? mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            : mremap(buffer->bytes, buffer->capacity, capacity, MREMAP_MAYMOVE);
  if (larger == MAP_FAILED) return errno;
  if (capacity >= LARGE) madvise(larger, capacity, MADV_HUGEPAGE);
  if (first) memcpy(larger, buffer->little, buffer->size);
  buffer->bytes = larger;
  buffer->capacity = capacity;
  return 0;
}

/* -- the string -- */

struct allocator {
  lua_Alloc allocate;
  void *data;
};

/* The same in huge pages. */
static void *allocate_huge(void *data, void *block, size_t old_size, size_t new_size) {
  const struct allocator *own = data;
  void *memory = own->allocate(own->data, block, old_size, new_size);
  uintptr_t first = ((uintptr_t)memory + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
  uintptr_t end = ((uintptr_t)memory + new_size) & ~(uintptr_t)(PAGE - 1);
  if (memory && !block && new_size >= LARGE) madvise((void *)first, end - first, MADV_HUGEPAGE);
  return memory;
}

static int push_bytes(lua_State *L) {
  lua_pushlstring(L, lua_touserdata(L, 1), (size_t)lua_tointeger(L, 2));
  return 1;
}

/* A string, whose memory the state's own allocator gives as always. */
static int push_string(lua_State *L, const char *bytes, size_t size) {
  struct allocator own;
  own.allocate = lua_getallocf(L, &own.data);
  lua_pushcfunction(L, push_bytes);
  lua_pushlightuserdata(L, (void *)(uintptr_t)bytes);
  lua_pushinteger(L, (lua_Integer)size);
  lua_setallocf(L, allocate_huge, &own);
  int r = lua_pcall(L, 2, 1, 0);
  lua_setallocf(L, own.allocate, own.data);
  return r;
}

/* -- the handle -- */

static int buffer_gc(lua_State *L) {
  empty(check_buffer(L));
  return 0;
}

/***
 * One read(2) to the end of the buffer.
 * @function buffer:read
 * @tparam fd fd
 * @tparam integer most bytes at most
 * @treturn[1] integer bytes read, 0 at the end
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
static int buffer_read(lua_State *L) {
  struct buffer *buffer = check_buffer(L);
  int fd = check_fd(L, 2);
  lua_Integer most = luaL_checkinteger(L, 3);
  luaL_argcheck(L, most > 0, 3, "out of range");
  int error = grow(buffer);
  if (error) return push_failure(L, "read", error);
  size_t room = buffer->capacity - buffer->size;
  ssize_t n = read(fd, buffer->bytes + buffer->size, (size_t)most < room ? (size_t)most : room);
  if (n < 0) return push_failure(L, "read", errno);
  buffer->size += (size_t)n;
  lua_pushinteger(L, n);
  return 1;
}

/***
 * What has been read; the buffer is empty then.
 * @function buffer:content
 * @treturn string
 */
static int buffer_content(lua_State *L) {
  struct buffer *buffer = check_buffer(L);
  int r = push_string(L, buffer->bytes, buffer->size);
  empty(buffer);
  return r == LUA_OK ? 1 : lua_error(L);
}

/***
 * An empty buffer.
 * @function buffer
 * @treturn buffer
 */
static int new_buffer(lua_State *L) {
  struct buffer *buffer = lua_newuserdatauv(L, sizeof *buffer, 0);
  buffer->bytes = buffer->little;
  empty(buffer);
  luaL_setmetatable(L, BUFFER_TYPE);
  return 1;
}

static const luaL_Reg methods[] = {
  { "read", buffer_read },
  { "content", buffer_content },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = { { "__gc", buffer_gc }, { NULL, NULL } };

void open_buffer(lua_State *L) {
  new_type(L, BUFFER_TYPE, methods, metamethods);
  lua_pushcfunction(L, new_buffer);
  lua_setfield(L, -2, "buffer");
}
