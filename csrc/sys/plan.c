/***
 * The plan: records primitives as operations of the wire format. Plans that are sections of one
 * another share their registers. Knows nothing of recipes.
 * @module nslua.sys
 */
#include "../stage/wire.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

#define PLAN_TYPE "nslua.plan"
#define REGISTER_TYPE "nslua.register"

/* What every function here has as upvalues: the metatables of plans and registers; and `record` its row. */
enum { PLANS = 1, REGISTERS, TYPES = REGISTERS, ROW };

/* User values of a plan: the registers it shares with its sections (struct registers), and the host's
   fds by register. */
enum { UV_REGISTERS = 1, UV_PASSED, USER_VALUES = UV_PASSED };

struct registers {
  int next;
  uint16_t note; /* for the operations to come */
};

struct plan {
  struct registers *registers; /* the user value */
  char *bytes;
  size_t size, capacity;
  int operations;
  int tolerated_count;
  uint8_t tolerated[MAX_TOLERATED]; /* for the next operation */
  uint8_t flags;
};

enum { MAX_REGISTERS = 30000, MAX_PLAN = 256 << 20 };

static struct plan *check_plan_at(lua_State *L, int index) {
  struct plan *plan = test_type(L, index, lua_upvalueindex(PLANS));
  if (!plan) luaL_typeerror(L, index, PLAN_TYPE);
  return plan;
}

static struct plan *check_plan(lua_State *L) { return check_plan_at(L, 1); }

/* Gives the userdata on the stack top its type. */
static void set_type(lua_State *L, int type) {
  lua_pushvalue(L, lua_upvalueindex(type));
  lua_setmetatable(L, -2);
}

static struct plan *push_plan(lua_State *L) {
  struct plan *plan = lua_newuserdatauv(L, sizeof *plan, USER_VALUES);
  *plan = (struct plan){ 0 };
  set_type(L, PLANS);
  return plan;
}

/* The bytes lie in the state's memory; a size of 0 frees them. */
static char *resize(lua_State *L, struct plan *plan, size_t capacity) {
  void *data;
  lua_Alloc allocate = lua_getallocf(L, &data);
  return allocate(data, plan->bytes, plan->capacity, capacity);
}

/* Room for n more bytes at the end of the plan. */
static char *reserve(lua_State *L, struct plan *plan, size_t n) {
  if (n > MAX_PLAN - plan->size) luaL_error(L, "the plan is too large");
  if (plan->size + n > plan->capacity) {
    size_t capacity = plan->capacity ? plan->capacity : 1024;
    while (capacity < plan->size + n) capacity *= 2;
    char *larger = resize(L, plan, capacity);
    if (!larger) luaL_error(L, "not enough memory");
    plan->bytes = larger;
    plan->capacity = capacity;
  }
  return plan->bytes + plan->size;
}

static int plan_gc(lua_State *L) {
  struct plan *plan = check_plan(L);
  if (plan->bytes) resize(L, plan, 0);
  *plan = (struct plan){ .registers = plan->registers };
  return 0;
}

static void push_register(lua_State *L, int number) {
  int *r = lua_newuserdatauv(L, sizeof *r, 0);
  *r = number;
  set_type(L, REGISTERS);
}

static int new_register(lua_State *L, const struct plan *plan) {
  struct registers *registers = plan->registers;
  if (registers->next >= MAX_REGISTERS) luaL_error(L, "the plan uses too many fds");
  return registers->next++;
}

/* A register that will hold the host's fd at `index`. */
static int pass_fd(lua_State *L, const struct plan *plan, int index) {
  int number = new_register(L, plan);
  lua_getiuservalue(L, 1, UV_PASSED);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, number);
  lua_pop(L, 1);
  return number;
}

static size_t padded(size_t n) { return (n + 7) & ~(size_t)7; }

/* The bytes that the data of a value takes behind the arguments. */
static size_t data_size(lua_State *L, const struct value *value) {
  if (value->kind == VALUE_BYTES) return padded(value->size + 1);
  if (value->kind != VALUE_LIST) return 0;
  size_t size = (value->size + 1) * sizeof(int64_t);
  for (size_t i = 1; i <= value->size; i++) {
    lua_rawgeti(L, value->index, (lua_Integer)i);
    size += padded(lua_rawlen(L, -1) + 1);
    lua_pop(L, 1);
  }
  return size;
}

/* Offsets of the strings (the list ends with 0), then the strings. */
static void encode_list(lua_State *L, const struct value *value, char *operation, size_t at) {
  int64_t *offsets = (int64_t *)(operation + at);
  at += (value->size + 1) * sizeof *offsets;
  for (size_t i = 0; i < value->size; i++) {
    size_t n;
    lua_rawgeti(L, value->index, (lua_Integer)i + 1);
    const char *s = lua_tolstring(L, -1, &n);
    memcpy(operation + at, s, n);
    offsets[i] = (int64_t)at;
    at += padded(n + 1);
    lua_pop(L, 1);
  }
}

static void encode_value(lua_State *L, struct value *value, char *operation, size_t at,
                         struct wire_argument *wire) {
  wire->size = (uint32_t)value->size;
  wire->value = value->integer;
  switch (value->kind) {
  case VALUE_ABSENT: wire->kind = WIRE_ABSENT; break;
  case VALUE_INTEGER: wire->kind = WIRE_INTEGER; break;
  case VALUE_FD:
  case VALUE_REGISTER: wire->kind = WIRE_REGISTER; break;
  case VALUE_BYTES:
    wire->kind = WIRE_DATA;
    wire->value = (int64_t)at;
    memcpy(operation + at, value->bytes, value->size);
    break;
  case VALUE_LIST:
    wire->kind = WIRE_LIST;
    wire->value = (int64_t)at;
    encode_list(L, value, operation, at);
    break;
  }
}

static void encode(lua_State *L, struct plan *plan, const struct row *row, struct value *values,
                   int n, int result) {
  size_t at = sizeof(struct operation) + (size_t)n * sizeof(struct wire_argument);
  size_t size = at;
  for (int i = 0; i < n; i++) size += data_size(L, &values[i]);
  struct operation *op = memset(reserve(L, plan, size), 0, size);
  op->primitive = (uint16_t)(row - rows);
  op->arguments = (uint8_t)n;
  op->flags = plan->flags;
  op->note = plan->registers->note;
  op->size = (uint32_t)size;
  op->result = (int16_t)result;
  memcpy(op->tolerated, plan->tolerated, sizeof op->tolerated);
  for (int i = 0; i < n; i++) {
    encode_value(L, &values[i], (char *)op, at, &op->argument[i]);
    at += data_size(L, &values[i]);
  }
  plan->size += size;
  plan->operations++;
  plan->tolerated_count = 0;
  plan->flags = 0;
  memset(plan->tolerated, 0, sizeof plan->tolerated);
}

/* plan:PRIMITIVE(…): a register where it would return an fd, else the plan. */
static int record(lua_State *L) {
  const struct row *row = lua_touserdata(L, lua_upvalueindex(ROW));
  struct value values[MAX_ARGUMENTS];
  struct plan *plan = check_plan(L);
  int n = read_arguments(L, row, 2, lua_upvalueindex(REGISTERS), values);
  for (int i = 0; i < n; i++)
    if (values[i].kind == VALUE_FD) values[i].integer = pass_fd(L, plan, values[i].index);
  int result = row->result == RESULT_FD ? new_register(L, plan) : REGISTER_ABSENT;
  encode(L, plan, row, values, n, result);
  if (result >= 0) push_register(L, result);
  else lua_pushvalue(L, 1);
  return 1;
}

static int errno_of(const char *name) {
  static const struct {
    const char *name;
    int value;
  } known[] = {
    { "ENOENT", ENOENT },   { "EEXIST", EEXIST }, { "EINVAL", EINVAL },
    { "EPERM", EPERM },     { "EACCES", EACCES }, { "ENOSYS", ENOSYS },
    { "ENOTDIR", ENOTDIR }, { "ENODEV", ENODEV }, { "EOPNOTSUPP", EOPNOTSUPP },
    { "EBADFD", EBADFD },   { "EBUSY", EBUSY },   { "ELOOP", ELOOP },
    { "ENXIO", ENXIO },     { "ESTALE", ESTALE }, { "EROFS", EROFS },
    { "EDQUOT", EDQUOT },
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].name, name) == 0) return known[i].value;
  return 0;
}

static int tolerate(lua_State *L, uint8_t flags) {
  struct plan *plan = check_plan(L);
  int n = lua_gettop(L) - 1;
  luaL_argcheck(L, n <= MAX_TOLERATED, 2, "too many errnos");
  for (int i = 0; i < n; i++) {
    int error = errno_of(check_text(L, i + 2));
    luaL_argcheck(L, error, i + 2, "unknown errno name");
    plan->tolerated[i] = (uint8_t)error;
  }
  plan->flags = flags;
  lua_settop(L, 1);
  return 1;
}

/***
 * The next operation may fail with these errnos ("ENOENT", …): then it is skipped, and so is what
 * uses its register; the result says so.
 * @function plan:optional
 * @treturn plan
 */
static int plan_optional(lua_State *L) { return tolerate(L, OPERATION_NOTED); }

/***
 * The same without a word: for what not every kernel has.
 * @function plan:tolerate
 * @treturn plan
 */
static int plan_tolerate(lua_State *L) { return tolerate(L, 0); }

/***
 * A plan that shares this one's registers.
 * @function plan:section
 * @treturn plan
 */
static int plan_section(lua_State *L) {
  const struct plan *plan = check_plan(L);
  push_plan(L)->registers = plan->registers;
  for (int i = UV_REGISTERS; i <= UV_PASSED; i++) {
    lua_getiuservalue(L, 1, i);
    lua_setiuservalue(L, -2, i);
  }
  return 1;
}

/***
 * A register that holds an fd of the host.
 * @function plan:pass
 * @treturn register
 */
static int plan_pass(lua_State *L) {
  const struct plan *plan = check_plan(L);
  check_fd(L, 2);
  push_register(L, pass_fd(L, plan, 2));
  return 1;
}

/***
 * A register that is given its fd when a process is started.
 * @function plan:register
 */
static int plan_register(lua_State *L) {
  push_register(L, new_register(L, check_plan(L)));
  return 1;
}

/***
 * How many registers there are.
 * @function plan:registers
 * @treturn integer
 */
static int plan_registers(lua_State *L) {
  lua_pushinteger(L, check_plan(L)->registers->next);
  return 1;
}

/***
 * Marks the operations to come, of this plan and its sections, with a number, which decode gives
 * back.
 * @function plan:note
 * @tparam integer note
 */
static int plan_note(lua_State *L) {
  const struct plan *plan = check_plan(L);
  lua_Integer note = luaL_checkinteger(L, 2);
  luaL_argcheck(L, note >= 0 && note <= UINT16_MAX, 2, "out of range");
  plan->registers->note = (uint16_t)note;
  return 0;
}

/***
 * The host's fds by register number.
 * @function plan:passed
 * @treturn table
 */
static int plan_passed(lua_State *L) {
  check_plan(L);
  lua_getiuservalue(L, 1, UV_PASSED);
  return 1;
}

/***
 * The recorded operations, followed by those of the sections given.
 * @function plan:bytes
 * @param[opt] ... plans
 * @treturn string
 */
static int plan_bytes(lua_State *L) {
  luaL_Buffer b;
  int n = lua_gettop(L);
  size_t size = 0;
  for (int i = 1; i <= n; i++) size += check_plan_at(L, i)->size;
  char *to = luaL_buffinitsize(L, &b, size);
  for (int i = 1; i <= n; i++) {
    const struct plan *plan = lua_touserdata(L, i);
    if (plan->size) memcpy(to, plan->bytes, plan->size);
    to += plan->size;
  }
  luaL_pushresultsize(&b, size);
  return 1;
}

static int plan_length(lua_State *L) {
  lua_pushinteger(L, check_plan(L)->operations);
  return 1;
}

static int plan_tostring(lua_State *L) {
  lua_pushfstring(L, "plan (%d operations)", check_plan(L)->operations);
  return 1;
}

static int check_register(lua_State *L) {
  const int *number = test_type(L, 1, lua_upvalueindex(REGISTERS));
  return number ? *number : luaL_typeerror(L, 1, REGISTER_TYPE);
}

static int register_number(lua_State *L) {
  lua_pushinteger(L, check_register(L));
  return 1;
}

static int register_tostring(lua_State *L) {
  lua_pushfstring(L, "register %d", check_register(L));
  return 1;
}

/***
 * An empty plan.
 * @function plan
 * @tparam[opt] integer registers how many exist already
 * @treturn plan
 */
static int new_plan(lua_State *L) {
  lua_Integer first = luaL_optinteger(L, 1, REGISTER_FREE);
  luaL_argcheck(L, first >= REGISTER_FREE && first < MAX_REGISTERS, 1, "out of range");
  struct plan *plan = push_plan(L);
  struct registers *registers = plan->registers = lua_newuserdatauv(L, sizeof *registers, 0);
  *registers = (struct registers){ .next = (int)first };
  lua_setiuservalue(L, -2, UV_REGISTERS);
  lua_newtable(L);
  lua_setiuservalue(L, -2, UV_PASSED);
  return 1;
}

/* -- reading plans back: the bytes may be anybody's -- */

/* How an argument travels that is not absent. */
static const uint8_t wire_kinds[] = {
  [KIND_STR] = WIRE_DATA,      [KIND_BYTES] = WIRE_DATA,    [KIND_INTS] = WIRE_DATA,
  [KIND_LIST] = WIRE_LIST,     [KIND_FD] = WIRE_REGISTER,   [KIND_INT] = WIRE_INTEGER,
  [KIND_LONG] = WIRE_INTEGER,  [KIND_SHORT] = WIRE_INTEGER, [KIND_MODE] = WIRE_INTEGER,
  [KIND_FLAGS] = WIRE_INTEGER,
};

static const void *data_of(const struct operation *op, const struct wire_argument *wire) {
  return (const char *)op + wire->value;
}

/* Whether an operation has so many bytes at the offset. */
static int has_bytes(const struct operation *op, int64_t at, size_t n) {
  return at >= 0 && at <= op->size && n <= op->size - (size_t)at;
}

/* Whether a string begins there that ends with NUL. */
static int has_string(const struct operation *op, int64_t at) {
  return has_bytes(op, at, 1) && memchr((const char *)op + at, 0, op->size - (size_t)at);
}

static int has_list(const struct operation *op, const struct wire_argument *wire) {
  const int64_t *offsets;
  if (wire->value % (int64_t)sizeof *offsets) return 0;
  if (!has_bytes(op, wire->value, ((size_t)wire->size + 1) * sizeof *offsets)) return 0;
  offsets = data_of(op, wire);
  for (uint32_t i = 0; i < wire->size; i++)
    if (!has_string(op, offsets[i])) return 0;
  return 1;
}

static int is_argument(const struct operation *op, int i) {
  const struct wire_argument *wire = &op->argument[i];
  int kind = rows[op->primitive].parameters[i].kind;
  if (wire->kind == WIRE_ABSENT) return kind & KIND_OR_NONE;
  if (wire->kind != wire_kinds[kind & ~KIND_OR_NONE]) return 0;
  switch ((enum wire_kind)wire->kind) {
  case WIRE_REGISTER: return wire->value >= 0 && wire->value < MAX_REGISTERS;
  case WIRE_DATA: return has_bytes(op, wire->value, (size_t)wire->size + 1);
  case WIRE_LIST: return has_list(op, wire);
  default: return 1;
  }
}

/* Whether an operation begins there, all of it within `size` bytes, that a plan could have recorded. */
static int is_operation(const struct operation *op, size_t size) {
  if (size < sizeof *op || op->size > size || op->size % 8) return 0;
  if (op->primitive >= row_count) return 0;
  if (op->arguments != parameter_count(&rows[op->primitive])) return 0;
  if (op->size < sizeof *op + op->arguments * sizeof *op->argument) return 0;
  for (int i = 0; i < op->arguments; i++)
    if (!is_argument(op, i)) return 0;
  return op->result < MAX_REGISTERS;
}

static void push_flags(lua_State *L, const struct flag *flags, int64_t bits) {
  luaL_Buffer b;
  const char *separator = "";
  luaL_buffinit(L, &b);
  for (const struct flag *f = flags; f->name; f++) {
    if (!f->value || (bits & f->value) != f->value) continue;
    luaL_addstring(&b, separator);
    luaL_addstring(&b, f->name);
    separator = ",";
    bits &= ~(int64_t)f->value;
  }
  if (bits) {
    lua_pushfstring(L, "%s%I", separator, (LUAI_UACINT)bits);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
}

static void push_list(lua_State *L, const struct operation *op, const struct wire_argument *wire) {
  const int64_t *offsets = data_of(op, wire);
  lua_createtable(L, (int)wire->size, 0);
  for (uint32_t i = 0; i < wire->size; i++) {
    lua_pushstring(L, (const char *)op + offsets[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_argument(lua_State *L, const struct operation *op, int i) {
  const struct wire_argument *wire = &op->argument[i];
  const struct parameter *parameter = &rows[op->primitive].parameters[i];
  switch ((enum wire_kind)wire->kind) {
  case WIRE_ABSENT: lua_pushboolean(L, 0); break;
  case WIRE_INTEGER:
    if (parameter->flags) push_flags(L, parameter->flags, wire->value);
    else lua_pushinteger(L, wire->value);
    break;
  case WIRE_REGISTER: push_register(L, (int)wire->value); break;
  case WIRE_DATA: lua_pushlstring(L, data_of(op, wire), wire->size); break;
  case WIRE_LIST: push_list(L, op, wire);
  }
}

static void push_operation(lua_State *L, const struct operation *op) {
  lua_createtable(L, op->arguments, 3);
  lua_pushstring(L, rows[op->primitive].name);
  lua_setfield(L, -2, "name");
  lua_pushinteger(L, op->note);
  lua_setfield(L, -2, "note");
  for (int i = 0; i < op->arguments; i++) {
    push_argument(L, op, i);
    lua_rawseti(L, -2, i + 1);
  }
  if (op->result >= 0) {
    push_register(L, op->result);
    lua_setfield(L, -2, "result");
  }
}

static const struct operation *operation_at(lua_State *L, const char *bytes, size_t size) {
  const struct operation *op = (const struct operation *)bytes;
  luaL_argcheck(L, is_operation(op, size), 1, "not the bytes of a plan");
  return op;
}

/***
 * The operations of a plan's bytes, to look at: a list of { name=, note=, arguments…, result= }; an
 * absent argument is false.
 * @function decode
 * @tparam string bytes
 * @treturn table
 */
static int decode(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  lua_newtable(L);
  lua_Integer n = 0;
  for (size_t at = 0; at < size;) {
    const struct operation *op = operation_at(L, bytes + at, size - at);
    push_operation(L, op);
    lua_rawseti(L, -2, ++n);
    at += op->size;
  }
  return 1;
}

/***
 * One of them.
 * @function operation
 * @tparam string bytes
 * @tparam integer index from 1
 * @treturn ?table nil when there are not so many
 */
static int one_operation(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  lua_Integer left = luaL_checkinteger(L, 2);
  for (size_t at = 0; at < size;) {
    const struct operation *op = operation_at(L, bytes + at, size - at);
    if (--left == 0) return push_operation(L, op), 1;
    at += op->size;
  }
  lua_pushnil(L);
  return 1;
}

static const luaL_Reg methods[] = {
  { "section", plan_section },   { "optional", plan_optional },
  { "tolerate", plan_tolerate }, { "pass", plan_pass },
  { "register", plan_register }, { "registers", plan_registers },
  { "passed", plan_passed },     { "bytes", plan_bytes },
  { "note", plan_note },         { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", plan_gc },
  { "__len", plan_length },
  { "__tostring", plan_tostring },
  { NULL, NULL },
};

static const luaL_Reg register_methods[] = { { "number", register_number }, { NULL, NULL } };

static const luaL_Reg register_metamethods[] = { { "__tostring", register_tostring },
                                                 { NULL, NULL } };

static const luaL_Reg functions[] = {
  { "plan", new_plan },
  { "decode", decode },
  { "operation", one_operation },
  { NULL, NULL },
};

/* Adds functions to the table on the stack top. The metatables lie at `types`, one behind the other. */
static void add(lua_State *L, int types, const luaL_Reg *list) {
  for (int i = 0; i < TYPES; i++) lua_pushvalue(L, types + i);
  luaL_setfuncs(L, list, TYPES);
}

static void add_primitives(lua_State *L, int types) {
  for (int i = 0; i < row_count; i++) {
    for (int type = 0; type < TYPES; type++) lua_pushvalue(L, types + type);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&rows[i]);
    lua_pushcclosure(L, record, ROW);
    lua_setfield(L, -2, rows[i].name);
  }
}

void open_plan(lua_State *L) {
  int types = lua_gettop(L) + 1;
  luaL_newmetatable(L, PLAN_TYPE);
  luaL_newmetatable(L, REGISTER_TYPE);
  add(L, types, register_metamethods);
  lua_newtable(L);
  add(L, types, register_methods);
  lua_setfield(L, -2, "__index");
  lua_pushvalue(L, types);
  add(L, types, metamethods);
  lua_createtable(L, 0, row_count + (int)(sizeof methods / sizeof *methods));
  add(L, types, methods);
  add_primitives(L, types);
  lua_setfield(L, types, "__index");
  lua_pushvalue(L, types - 1);
  add(L, types, functions);
  lua_settop(L, types - 1);
}
