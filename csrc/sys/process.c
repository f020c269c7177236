/***
 * Starting stages: what Lua says of one, and the handle that comes of it.
 * @module nslua.sys
 */
#include "handle.h"

#include "spawn.h"

#include <errno.h>
#include <unistd.h>

enum { MAX_TIMES = 1 << 22 };

/* The table register → name at the field; its names stay alive in it. */
static void read_proc_files(lua_State *L, struct spawn *request) {
  lua_getfield(L, 1, "proc_files");
  if (lua_istable(L, -1)) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      lua_Integer number = luaL_checkinteger(L, -2);
      int known = request->proc_file_count < MAX_PROC_FILES && number >= REGISTER_FREE;
      luaL_argcheck(L, known && (size_t)number < request->fd_count, 1, "bad files of /proc");
      request->fds[number] = FD_OF_CHILD;
      request->proc_files[request->proc_file_count++] = (struct proc_file){
        .fd_register = (int)number,
        .name = check_text(L, lua_gettop(L)),
      };
    }
  }
  lua_pop(L, 1);
}

/* The list at the field; its handles stay alive in it. */
static void read_joins(lua_State *L, struct spawn *request) {
  lua_getfield(L, 1, "joins");
  lua_Integer count = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
  luaL_argcheck(L, count <= MAX_JOINS, 1, "too many namespaces to join");
  for (; request->join_count < count; request->join_count++) {
    lua_rawgeti(L, -1, request->join_count + 1);
    request->joins[request->join_count] = check_fd(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static const char *text_option(lua_State *L, const char *key) {
  lua_getfield(L, 1, key);
  return luaL_opt(L, check_text, lua_gettop(L), NULL); /* stays on the stack */
}

static lua_Integer integer_option(lua_State *L, int at, const char *key) {
  lua_getfield(L, at, key);
  lua_Integer n = luaL_optinteger(L, -1, 0);
  lua_pop(L, 1);
  return n;
}

static int fd_option(lua_State *L, int at, const char *key) {
  lua_getfield(L, at, key);
  return lua_isnil(L, -1) ? -1 : check_fd(L, lua_gettop(L)); /* stays on the stack */
}

static int boolean_option(lua_State *L, int at, const char *key) {
  lua_getfield(L, at, key);
  int b = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return b;
}

int *read_fds(lua_State *L, size_t count) {
  int *fds = lua_newuserdatauv(L, count * sizeof *fds, 0);
  for (size_t i = 0; i < count; i++) fds[i] = -1;
  lua_insert(L, -2);
  if (lua_istable(L, -1)) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      lua_Integer number = luaL_checkinteger(L, -2);
      luaL_argcheck(L, number >= REGISTER_FREE && (size_t)number < count, 1, "no such register");
      fds[number] = check_fd(L, lua_gettop(L));
    }
  }
  lua_pop(L, 1);
  return fds;
}

/* What the table of options at index `at` says of a plan; its strings stay on the stack. */
static void read_plan(lua_State *L, int at, struct spawn *request) {
  lua_getfield(L, at, "operations");
  request->operations = luaL_checklstring(L, -1, &request->operations_size);
  lua_getfield(L, at, "payload");
  request->payload = luaL_optlstring(L, -1, "", &request->payload_size);
  lua_Integer registers = integer_option(L, at, "registers");
  luaL_argcheck(L, registers >= REGISTER_FREE && registers <= 30000, at, "bad count of registers");
  request->fd_count = (size_t)registers;
  lua_Integer times = integer_option(L, at, "times");
  luaL_argcheck(L, times >= 0 && times <= MAX_TIMES, at, "bad count of times");
  request->times = (uint64_t)times;
  lua_getfield(L, at, "fds");
  request->fds = read_fds(L, request->fd_count);
}

static struct stage_handle *push_stage(lua_State *L, int at) {
  struct stage_handle *stage = lua_newuserdatauv(L, sizeof *stage, 0);
  *stage = (struct stage_handle){ .pidfd = -1, .control = -1, .plan = -1 };
  luaL_setmetatable(L, STAGE_TYPE);
  stage->maker = getpid();
  stage->detached = boolean_option(L, at, "detached");
  stage->own_pids = boolean_option(L, at, "own_pids");
  stage->terminal = boolean_option(L, at, "terminal");
  stage->mapped = boolean_option(L, at, "mapped");
  stage->announces = boolean_option(L, at, "announces");
  stage->joining = (int)integer_option(L, at, "remade");
  return stage;
}

/* What came of a request is the handle's. */
static void take(struct stage_handle *stage, const struct spawn *request) {
  stage->pid = request->pid;
  stage->pidfd = request->pidfd;
  stage->control = request->control;
  stage->plan = request->plan;
  stage->times = (size_t)request->times;
}

static int push_spawn_failure(lua_State *L, const struct spawn *request, int error) {
  lua_pushnil(L);
  lua_pushstring(L, request->step);
  lua_pushinteger(L, error);
  return 3;
}

/***
 * Starts a stage with a plan.
 * @function spawn
 * @tparam table options operations and payload (bytes of plans, run in this order), registers (how many), fds
 * (register → fd), proc_files (register → name of a file of its own /proc/self), namespaces (flags), joins (list of
 * fds of namespaces that are joined first), cgroup (fd of the directory of a control group that it is made in),
 * capabilities (mask that the stage keeps), uid_map and gid_map (written by the caller; the plan must await them),
 * times (how many the stage is to note: one more than there are operations, or 0), detached, own_pids (its end ends
 * all in it), terminal (the plan has hand_over), mapped (it announces first that it awaits its ids), announces
 * (that all is set up), remade (how many remake it has), name (that others see of it)
 * @treturn[1] stage
 * @treturn[2] nil
 * @treturn[2] string what was tried
 * @treturn[2] integer errno
 */
static int spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  struct spawn request = { 0 };
  read_plan(L, 1, &request);
  lua_getfield(L, 1, "namespaces");
  request.namespaces = (uint64_t)check_flags(L, lua_gettop(L), flag_set("namespaces"));
  read_joins(L, &request);
  request.cgroup = fd_option(L, 1, "cgroup");
  request.capabilities = (uint64_t)integer_option(L, 1, "capabilities");
  read_proc_files(L, &request);
  request.uid_map = text_option(L, "uid_map");
  request.gid_map = text_option(L, "gid_map");
  luaL_argcheck(L, !request.uid_map == !request.gid_map, 1, "uid_map and gid_map go together");
  request.name = text_option(L, "name");

  struct stage_handle *stage = push_stage(L, 1);
  int error = spawn_stage(&request);
  if (error) return push_spawn_failure(L, &request, error);
  take(stage, &request);
  return 1;
}

/***
 * Starts another stage, made by this one inside of all that it is in: namespaces, root, control group, ids, Landlock. Its
 * first message is "joined", or "failed" when it could not be made.
 * @function stage:exec
 * @tparam table options operations, payload, registers, fds, detached, terminal, as of spawn
 * @treturn[1] stage
 * @treturn[2] nil
 * @treturn[2] string what was tried
 * @treturn[2] integer errno
 */
int stage_exec(lua_State *L) {
  const struct stage_handle *maker = check_stage(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  struct spawn request = { 0 };
  read_plan(L, 2, &request);
  struct stage_handle *stage = push_stage(L, 2);
  request.step = "message to the stage";
  int error = ESRCH;
  if (maker->maker != getpid()) error = EPERM;
  else if (maker->control >= 0) error = join_stage(&request, maker->control);
  if (error) return push_spawn_failure(L, &request, error);
  take(stage, &request);
  stage->joining = 1;
  return 1;
}

static const luaL_Reg functions[] = { { "spawn", spawn }, { NULL, NULL } };

void open_process(lua_State *L) { luaL_setfuncs(L, functions, 0); }
