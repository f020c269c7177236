/* The primitives, run now. */
#include "sys.h"

#include <errno.h>
#include <string.h>

/* The C array of a list of strings, in a userdata that stays on the stack. */
static char **string_array(lua_State *L, const struct value *value) {
  char **array = lua_newuserdatauv(L, (value->size + 1) * sizeof *array, 0);
  for (size_t i = 0; i < value->size; i++) {
    lua_rawgeti(L, value->index, (lua_Integer)i + 1);
    array[i] = (char *)(uintptr_t)lua_tostring(L, -1); /* kept alive by the list */
    lua_pop(L, 1);
  }
  array[value->size] = NULL;
  return array;
}

static void load_call(lua_State *L, const struct value *values, int n, struct call *call) {
  for (int i = 0; i < n; i++) {
    struct argument *argument = &call->arguments[i];
    argument->size = values[i].size;
    switch (values[i].kind) {
    case VALUE_BYTES: argument->value = (long)(uintptr_t)values[i].bytes; break;
    case VALUE_LIST: argument->value = (long)(uintptr_t)string_array(L, &values[i]); break;
    default: argument->value = values[i].integer;
    }
  }
}

/* The words of a failure: the primitive and the path-like arguments it was called with. */
static int push_call_failure(lua_State *L, const struct row *row, const struct value *values, int n,
                             long r) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, row->name);
  for (int i = 0; i < n; i++) {
    if ((row->parameters[i].kind & ~KIND_OR_NONE) != KIND_STR || values[i].kind != VALUE_BYTES)
      continue;
    luaL_addchar(&b, ' ');
    luaL_addlstring(&b, values[i].bytes, values[i].size);
  }
  luaL_pushresult(&b);
  return push_failure(L, lua_tostring(L, -1), (int)-r);
}

static int run_now(lua_State *L) {
  const struct row *row = lua_touserdata(L, lua_upvalueindex(1));
  struct value values[MAX_ARGUMENTS];
  struct call call = { .detail = 0 };
  int n = read_arguments(L, row, 1, 0, values);
  load_call(L, values, n, &call);
  int *handle = row->result == RESULT_FD ? push_fd(L) : NULL;
  long r = row->function(&call);
  if (r < 0) return push_call_failure(L, row, values, n, r);
  if (handle) *handle = above_stdio((int)r);
  else if (row->result == RESULT_NUMBER) lua_pushinteger(L, r);
  else lua_pushboolean(L, 1);
  return 1;
}

void open_now(lua_State *L) {
  for (int i = 0; i < row_count; i++) {
    if (!rows[i].function) continue;
    lua_pushlightuserdata(L, (void *)(uintptr_t)&rows[i]);
    lua_pushcclosure(L, run_now, 1);
    lua_setfield(L, -2, rows[i].name);
  }
}
