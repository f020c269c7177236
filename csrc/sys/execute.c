/***
 * A plan's operations, run in this process.
 * @module nslua.sys
 */
#include "handle.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* What acts on the stage itself is nothing for us. */
#define PRIMITIVE(name, ...)                                                                       \
  long stage_##name(struct call *call) {                                                           \
    (void)call;                                                                                    \
    return -ENOSYS;                                                                                \
  }
#include "../stage/primitives.def"
#undef PRIMITIVE

/* Takes the fds that operations opened into handles: register → fd, in the table on the top. */
static void collect_fds(lua_State *L, const struct machine *machine, const int *given,
                        size_t count) {
  for (size_t i = REGISTER_FREE; i < count; i++) {
    if (machine->registers[i] < 0 || given[i] >= 0) continue;
    *push_fd(L) = machine->registers[i];
    lua_rawseti(L, -2, (lua_Integer)i);
  }
}

/* Where they failed, nobody is to have what they had opened: the next step may want the numbers. */
static void close_fds(const struct machine *machine, const int *given, size_t count) {
  for (size_t i = REGISTER_FREE; i < count; i++)
    if (machine->registers[i] >= 0 && given[i] < 0) close(machine->registers[i]);
}

/***
 * Runs operations here and now, for what only the caller may open and a child is to inherit.
 * @function execute
 * @tparam string operations
 * @tparam integer registers how many there are
 * @tparam[opt] table fds register → fd, for those that hold one already
 * @treturn[1] table register → fd
 * @treturn[1] table the operations that were skipped, by index
 * @treturn[2] nil
 * @treturn[2] table { operation, errno, detail }
 */
static int execute(lua_State *L) {
  size_t size;
  const char *operations = luaL_checklstring(L, 1, &size);
  lua_Integer count = luaL_checkinteger(L, 2);
  luaL_argcheck(L, count >= REGISTER_FREE && count <= 30000, 2, "bad count of registers");
  lua_settop(L, 3);
  int *given = read_fds(L, (size_t)count);
  int32_t *registers = lua_newuserdatauv(L, (size_t)count * sizeof *registers, 0);
  memcpy(registers, given, (size_t)count * sizeof *registers);
  char *copy = lua_newuserdatauv(L, size + 1, 0);
  memcpy(copy, operations, size);
  lua_createtable(L, 0, (int)count);
  struct machine machine = { .next = copy, .end = copy + size, .registers = registers };
  long r = execute_operations(&machine);
  if (r >= 0) {
    collect_fds(L, &machine, given, (size_t)count);
    lua_newtable(L);
    for (uint32_t i = 0; i < machine.skipped_count && i < MAX_SKIPPED; i++) {
      lua_pushinteger(L, machine.skipped[i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
  }
  close_fds(&machine, given, (size_t)count);
  lua_pushnil(L);
  lua_createtable(L, 0, 3);
  set_integer(L, "operation", machine.index);
  set_integer(L, "errno", (uint64_t)-r);
  set_integer(L, "detail", machine.detail);
  return 2;
}

static const luaL_Reg functions[] = { { "execute", execute }, { NULL, NULL } };

void open_execute(lua_State *L) { luaL_setfuncs(L, functions, 0); }
