/* Lua arguments -> values, by the parameters of a row. All checks of all primitives are here. */
#include "sys.h"

#include <fcntl.h>
#include <string.h>

static int add_names(lua_State *L, const struct flag *flags) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (const struct flag *f = flags; f->name; f++) {
    if (f != flags) luaL_addstring(&b, ", ");
    luaL_addstring(&b, f->name);
  }
  luaL_pushresult(&b);
  return 1;
}

/* All bits that an integer may have. */
static long bits_of(const struct flag *flags) {
  long bits = 0;
  for (; flags->name; flags++) bits |= flags->value;
  return bits | flags->value;
}

static int no_flag(lua_State *L, int argument, int index, const struct flag *flags) {
  size_t n;
  const char *given = luaL_tolstring(L, index, &n);
  push_escaped(L, given, n);
  add_names(L, flags);
  return luaL_argerror(
      L, argument,
      lua_pushfstring(L, "no flag '%s' (valid: %s)", lua_tostring(L, -2), lua_tostring(L, -1)));
}

/* What is of a wrong type may be an element of the argument. */
static int wrong_type(lua_State *L, int argument, int index, const char *expected) {
  if (index == argument) return luaL_typeerror(L, argument, expected);
  const char *got = luaL_typename(L, index);
  return luaL_argerror(L, argument,
                       lua_pushfstring(L, "%s expected, got %s in the list", expected, got));
}

static const char *text_at(lua_State *L, int argument, int index, const char *expected,
                           size_t *size) {
  if (lua_type(L, index) != LUA_TSTRING) wrong_type(L, argument, index, expected);
  const char *s = lua_tolstring(L, index, size);
  if (strlen(s) != *size) luaL_argerror(L, argument, "the string contains a NUL byte");
  return s;
}

const char *check_text(lua_State *L, int index) {
  size_t size;
  return text_at(L, index, index, "string", &size);
}

static long one_flag(lua_State *L, int argument, int index, const struct flag *flags) {
  if (lua_isinteger(L, index)) {
    long bits = (long)lua_tointeger(L, index);
    return bits & ~bits_of(flags) ? no_flag(L, argument, index, flags) : bits;
  }
  size_t size;
  const char *name = text_at(L, argument, index, "flag", &size);
  for (const struct flag *f = flags; f->name; f++)
    if (strcmp(f->name, name) == 0) return f->value;
  return no_flag(L, argument, index, flags);
}

/* A list of names and integers, one of them, or nothing. */
long check_flags(lua_State *L, int index, const struct flag *flags) {
  if (lua_isnoneornil(L, index)) return 0;
  if (!lua_istable(L, index)) return one_flag(L, index, index, flags);
  long bits = 0;
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, index, i);
    bits |= one_flag(L, index, lua_gettop(L), flags);
    lua_pop(L, 1);
  }
  return bits;
}

static void check_list(lua_State *L, int index, struct value *value) {
  luaL_checktype(L, index, LUA_TTABLE);
  value->size = lua_rawlen(L, index);
  for (size_t i = 1; i <= value->size; i++) {
    size_t size;
    lua_rawgeti(L, index, (lua_Integer)i);
    text_at(L, index, lua_gettop(L), "string", &size);
    lua_pop(L, 1);
  }
  value->kind = VALUE_LIST;
  value->index = index;
}

/* A list of integers becomes bytes: an array of uint32_t in a userdata that replaces the list. */
static void check_integers(lua_State *L, int index, struct value *value) {
  luaL_checktype(L, index, LUA_TTABLE);
  size_t n = lua_rawlen(L, index);
  uint32_t *numbers = lua_newuserdatauv(L, n * sizeof *numbers + 1, 0);
  for (size_t i = 0; i < n; i++) {
    int is_integer;
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    lua_Integer number = lua_tointegerx(L, -1, &is_integer);
    luaL_argcheck(L, is_integer && number >= 0 && number < 0xffffffff, index,
                  "its integers are from 0 to 2^32-2");
    numbers[i] = (uint32_t)number;
    lua_pop(L, 1);
  }
  lua_replace(L, index);
  *value =
      (struct value){ .kind = VALUE_BYTES, .bytes = (char *)numbers, .size = n * sizeof *numbers };
}

static void check_descriptor(lua_State *L, int index, int registers, struct value *value) {
  const int *number = registers ? test_type(L, index, registers) : NULL;
  value->kind = number ? VALUE_REGISTER : VALUE_FD;
  value->integer = number ? *number : check_fd(L, index);
  value->index = index;
}

/* The integers of a kind, and what is said of any other: it would reach the kernel cut. */
static const struct {
  lua_Integer first, last;
  const char *problem;
} ranges[] = {
  [KIND_INT] = { INT32_MIN, UINT32_MAX, "out of range" },
  [KIND_LONG] = { LUA_MININTEGER, LUA_MAXINTEGER, "out of range" },
  [KIND_SHORT] = { 0, UINT16_MAX, "out of range" },
  [KIND_MODE] = { 0, 07777, "a mode is from 0 to 07777 (octal)" },
};

static long check_range(lua_State *L, int index, int kind) {
  lua_Integer n = luaL_checkinteger(L, index);
  luaL_argcheck(L, n >= ranges[kind].first && n <= ranges[kind].last, index, ranges[kind].problem);
  return (long)n;
}

long check_int(lua_State *L, int index) { return check_range(L, index, KIND_INT); }

static void read_absent(int kind, struct value *value) {
  value->kind = VALUE_ABSENT;
  if ((kind & ~KIND_OR_NONE) == KIND_FD) value->integer = AT_FDCWD;
  if ((kind & ~KIND_OR_NONE) == KIND_MODE) value->integer = -1;
}

static void read_argument(lua_State *L, const struct parameter *p, int index, int registers,
                          struct value *value) {
  if (p->kind == KIND_FLAGS) {
    *value = (struct value){ .kind = VALUE_INTEGER, .integer = check_flags(L, index, p->flags) };
    return;
  }
  if (p->kind & KIND_OR_NONE && lua_isnoneornil(L, index)) {
    read_absent(p->kind, value);
    return;
  }
  switch (p->kind & ~KIND_OR_NONE) {
  case KIND_STR:
    value->kind = VALUE_BYTES;
    value->bytes = text_at(L, index, index, "string", &value->size);
    break;
  case KIND_BYTES:
    value->kind = VALUE_BYTES;
    if (lua_type(L, index) != LUA_TSTRING) luaL_typeerror(L, index, "string");
    value->bytes = lua_tolstring(L, index, &value->size);
    break;
  case KIND_LIST: check_list(L, index, value); break;
  case KIND_INTS: check_integers(L, index, value); break;
  case KIND_FD: check_descriptor(L, index, registers, value); break;
  default:
    value->kind = VALUE_INTEGER;
    value->integer = check_range(L, index, p->kind & ~KIND_OR_NONE);
  }
}

int read_arguments(lua_State *L, const struct row *row, int first, int registers,
                   struct value *values) {
  int n = parameter_count(row);
  if (lua_gettop(L) >= first + n)
    luaL_error(L, "%s: too many arguments (it takes %d)", row->name, n);
  lua_settop(L, first + n - 1);
  for (int i = 0; i < n; i++) {
    values[i] = (struct value){ 0 };
    read_argument(L, &row->parameters[i], first + i, registers, &values[i]);
  }
  return n;
}
