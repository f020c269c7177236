/***
 * The handle of a stage: messages, signals, its end. The sandbox's own process object, with its
 * streams and timeouts, is made of it in Lua.
 * @classmod nslua.sys.stage
 */
#include "../kernel/syscall.h"
#include "../stage/execute.h"
#include "spawn.h"
#include "sys.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STAGE_TYPE "nslua.stage"

enum { MAX_TIMES = 1 << 22 };
enum { STOP_TRIES = 1000, STOP_INTERVAL_MS = 10 };

struct stage_handle {
  pid_t pid;
  pid_t maker; /* a forked copy of the host neither kills nor reaps */
  int pidfd;
  int control;
  int plan; /* of a timed one, else -1 */
  size_t times;
  int detached;  /* goes on without its maker */
  int own_pids;  /* its end is the end of everything in it */
  int joining;   /* its next message is its pidfd: it is made by another stage */
  int terminal;  /* the one behind that is the payload's terminal */
  int announces; /* a message tells when all is set up */
  int started;
  int reaped;
};

static struct stage_handle *check_stage(lua_State *L) { return luaL_checkudata(L, 1, STAGE_TYPE); }

/* -- messages -- */

static void set_integer(lua_State *L, const char *key, uint64_t value) {
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, key);
}

static void push_namespaces(lua_State *L, const uint32_t *inodes) {
  const struct flag *kind = flag_set("namespaces");
  lua_createtable(L, 0, NAMESPACE_KINDS);
  for (int i = 0; i < NAMESPACE_KINDS && kind[i].name; i++)
    if (inodes[i]) set_integer(L, kind[i].name, inodes[i]);
}

static void push_held(lua_State *L, const struct held *held) {
  lua_createtable(L, 0, 12);
  push_namespaces(L, held->namespaces);
  lua_setfield(L, -2, "namespaces");
  set_integer(L, "effective", held->effective);
  set_integer(L, "permitted", held->permitted);
  set_integer(L, "inheritable", held->inheritable);
  set_integer(L, "bounding", held->bounding);
  set_integer(L, "ambient", held->ambient);
  set_integer(L, "uid", held->uid);
  set_integer(L, "gid", held->gid);
  set_integer(L, "groups", held->groups);
  set_integer(L, "securebits", held->securebits);
  lua_pushboolean(L, held->no_new_privs != 0);
  lua_setfield(L, -2, "no_new_privs");
  lua_newtable(L);
  for (uint32_t i = 0; i < held->skipped_count && i < MAX_SKIPPED; i++) {
    lua_pushinteger(L, held->skipped[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "skipped");
}

static void push_usage(lua_State *L, const struct usage *usage) {
  lua_createtable(L, 0, 8);
  set_number(L, "user", (double)usage->user_us / 1e6);
  set_number(L, "system", (double)usage->system_us / 1e6);
  set_integer(L, "maxrss", usage->maxrss_kib * 1024);
  set_integer(L, "minor_faults", usage->minor_faults);
  set_integer(L, "major_faults", usage->major_faults);
  set_integer(L, "voluntary_switches", usage->voluntary_switches);
  set_integer(L, "involuntary_switches", usage->involuntary_switches);
}

/* How often which number was called; not all of it may be there. */
static void push_recorded(lua_State *L, const struct record *record) {
  const struct recorded *recorded = &record->recorded;
  lua_createtable(L, 0, 2);
  lua_createtable(L, 0, MAX_RECORDED);
  for (uint32_t i = 0; i < recorded->count && i < MAX_RECORDED; i++) {
    if (recorded->calls[i].number >= RECORDED_CALLS) continue;
    lua_pushinteger(L, recorded->calls[i].count);
    lua_rawseti(L, -2, recorded->calls[i].number);
  }
  lua_setfield(L, -2, "counts");
  lua_pushboolean(L, record->status != 0);
  lua_setfield(L, -2, "incomplete");
}

static int push_record(lua_State *L, const struct record *record) {
  static const char *const names[] = {
    [RECORD_FAILED] = "failed", [RECORD_STARTED] = "started", [RECORD_RECORDED] = "recorded",
    [RECORD_ENDED] = "ended",   [RECORD_JOINED] = "joined",   [RECORD_READY] = "ready",
  };
  lua_pushstring(L, names[record->kind]);
  switch (record->kind) {
  case RECORD_JOINED: return 1;
  case RECORD_READY:
  case RECORD_STARTED: push_held(L, &record->held); return 2;
  case RECORD_RECORDED: push_recorded(L, record); return 2;
  case RECORD_ENDED:
    push_usage(L, &record->usage);
    if (WIFSIGNALED(record->status)) set_integer(L, "signal", (uint64_t)WTERMSIG(record->status));
    else set_integer(L, "code", (uint64_t)WEXITSTATUS(record->status));
    return 2;
  default:
    lua_createtable(L, 0, 3);
    set_integer(L, "operation", record->operation);
    set_integer(L, "errno", (uint64_t)record->status);
    set_integer(L, "detail", record->detail);
    return 2;
  }
}

/* A record is believed only when it is whole and its turn has come. */
static int in_turn(const struct stage_handle *stage, const struct record *record, ssize_t n) {
  if (n != sizeof *record) return 0; /* MSG_TRUNC gives the real size */
  if (stage->joining) return record->kind == RECORD_JOINED || record->kind == RECORD_FAILED;
  switch (record->kind) {
  case RECORD_TERMINAL: return stage->terminal;
  case RECORD_READY: return stage->announces && !stage->terminal;
  case RECORD_STARTED: return !stage->started && !stage->terminal && !stage->announces;
  case RECORD_FAILED: return !stage->started;
  case RECORD_RECORDED:
  case RECORD_ENDED: return stage->started;
  default: return 0;
  }
}

/* The next record, and in *fd what came with it, or -1. Where none is awaited the kernel drops it. */
static ssize_t receive_record(const struct stage_handle *stage, int flags, struct record *record,
                              int *fd) {
  struct iovec part = { record, sizeof *record };
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof *fd)];
  } control;
  struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
  if (stage->terminal || stage->joining) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(sizeof *fd);
  }
  ssize_t n;
  do n = recvmsg(stage->control, &message, flags | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  while (
      n < 0 &&
      errno ==
          ECONNRESET); /* told once, before its last messages, when it ends without having read ours */
  int error = errno;
  const struct cmsghdr *header = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
  *fd = -1;
  if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof *fd))
    memcpy(fd, CMSG_DATA(header), sizeof *fd);
  *fd = above_stdio(*fd);
  errno = error;
  return n;
}

/* The terminal goes into a handle; without a free number for it there is none. */
static int push_terminal(lua_State *L, struct stage_handle *stage, const int *fd) {
  stage->terminal = 0;
  lua_pushliteral(L, "terminal");
  if (*fd < 0) lua_pushnil(L);
  else lua_pushvalue(L, -2);
  return 2;
}

/* A stage whose pidfd we have no number for is of no use. */
static int push_joined(lua_State *L, struct stage_handle *stage, struct record *record, int fd) {
  stage->joining = 0;
  stage->pidfd = fd;
  if (fd < 0) *record = (struct record){ .kind = RECORD_FAILED, .status = EMFILE };
  return push_record(L, record);
}

/* Where the fd that comes with the next message goes: into a handle on the stack if it is to be the caller's. */
static int *place_of_fd(lua_State *L, const struct stage_handle *stage, int *own) {
  *own = -1;
  return stage->terminal && !stage->joining ? push_fd(L) : own;
}

/*** The next message: "joined" when another stage has made this one; "terminal" with the master of the payload's, or nil when there was no number for that fd;
 * "ready" with the namespaces that it is in; "failed" with { operation, errno, detail }; "started" with what the payload holds; "recorded" with { counts,
 * incomplete }, of what its filter would have stopped; "ended" with its usage and code or signal; "closed" when there is nothing more to come; "none" when nothing has come yet.
 * @function stage:receive @tparam[opt=false] boolean block wait for it */
static int stage_receive(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  struct record record;
  ssize_t n = -1;
  int own, *fd = place_of_fd(L, stage, &own);
  if (stage->control >= 0)
    n = receive_record(stage, lua_toboolean(L, 2) ? 0 : MSG_DONTWAIT, &record, fd);
  if (n < 0 && stage->control >= 0 && (errno == EAGAIN || errno == EINTR)) {
    lua_pushliteral(L, "none");
    return 1;
  }
  if (n <= 0 || !in_turn(stage, &record, n)) {
    if (own >= 0) close(own);
    lua_pushliteral(L, "closed");
    return 1;
  }
  if (record.kind == RECORD_JOINED) return push_joined(L, stage, &record, own);
  if (record.kind == RECORD_TERMINAL) return push_terminal(L, stage, fd);
  if (record.kind == RECORD_READY) stage->announces = 0;
  if (record.kind == RECORD_STARTED) stage->started = 1;
  return push_record(L, &record);
}

/* -- commands and the end -- */

static int send_command(lua_State *L, const struct stage_handle *stage, struct command command) {
  if (stage->control < 0) return push_failure(L, "kill", ESRCH);
  if (send(stage->control, &command, sizeof command, MSG_NOSIGNAL) < 0)
    return push_failure(L, "kill", send_failure(errno));
  lua_pushboolean(L, 1);
  return 1;
}

/*** Lets a stage go on that waits after its message "terminal" or "ready". @function stage:go */
static int stage_go(lua_State *L) {
  return send_command(L, check_stage(L), (struct command){ .kind = COMMAND_GO });
}

/*** Sends a signal to the payload. @function stage:signal @tparam integer signal
 * @tparam[opt=false] boolean group to its whole process group */
static int stage_signal(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  return send_command(L, stage,
                      (struct command){
                          .kind = lua_toboolean(L, 3) ? COMMAND_KILL_GROUP : COMMAND_KILL,
                          .signal = (int32_t)luaL_checkinteger(L, 2),
                      });
}

/* Whether the stage has ended within these milliseconds. */
static int has_ended(const struct stage_handle *stage, int milliseconds) {
  struct pollfd end = { .fd = stage->pidfd, .events = POLLIN };
  return poll(&end, 1, milliseconds) > 0;
}

/* A stage without its maker looks for the first, any other one for the second. */
static void ask_to_end(const struct stage_handle *stage) {
  struct command end = { .kind = COMMAND_END };
  send(stage->control, &end, sizeof end, MSG_NOSIGNAL | MSG_DONTWAIT);
  shutdown(stage->control, SHUT_WR);
}

/* With a PID namespace of its own, or while nothing of the payload runs, the stage's end is
   everybody's. Otherwise, and where another stage has made it, the stage ends the others first: we ask it to. A
   payload with our uid can stop it meanwhile, but not for long. */
static void stop(const struct stage_handle *stage) {
  if (!stage->own_pids && (stage->started || !stage->pid)) {
    ask_to_end(stage);
    for (int tries = 0; tries < STOP_TRIES; tries++) {
      SYSCALL(pidfd_send_signal, stage->pidfd, SIGCONT, 0, 0);
      if (has_ended(stage, STOP_INTERVAL_MS)) return;
    }
  }
  if (kill_process(stage->pidfd) < 0) ask_to_end(stage);
}

/*** Ends the whole sandbox. @function stage:stop */
static int stage_stop(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  if (stage->pidfd >= 0 && !stage->reaped && stage->maker == getpid()) stop(stage);
  return 0;
}

/*** Waits for the end of the stage and with it of the sandbox.
 * @function stage:reap @treturn integer|nil its wait status, nil when it was taken by somebody else
 */
static int stage_reap(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  if (stage->reaped || stage->maker != getpid()) return 0;
  int status = reap_process(stage->pidfd);
  stage->reaped = 1;
  if (status < 0) return 0;
  lua_pushinteger(L, status);
  return 1;
}

static void drop(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void end(struct stage_handle *stage) {
  if (stage->pidfd >= 0) {
    stop(stage);
    reap_process(stage->pidfd);
    stage->reaped = 1;
  } else if (stage->control >= 0) {
    ask_to_end(stage);
  }
}

/* A detached sandbox that has started is let go, any other one ends here. */
static int stage_close(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  int let_go = stage->detached && stage->started;
  if (!stage->reaped && !let_go && stage->maker == getpid()) end(stage);
  drop(&stage->control);
  drop(&stage->pidfd);
  drop(&stage->plan);
  return 0;
}

/*** When a stage that is timed began, and when each operation was done, by the clock of sys.now: a list, with 0 for what
 * was not. @function stage:times @treturn[1] table @treturn[2] nil @treturn[2] string @treturn[2] integer errno */
static int stage_times(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  size_t size = stage->times * sizeof(plan_time);
  plan_time *times = lua_newuserdatauv(L, size, 0);
  struct stat status;
  if (stage->plan < 0 || fstat(stage->plan, &status) < 0 ||
      pread(stage->plan, times, size, status.st_size - (off_t)size) != (ssize_t)size)
    return push_failure(L, "times", EBADF);
  lua_createtable(L, (int)stage->times, 0);
  for (size_t i = 0; i < stage->times; i++) {
    lua_pushinteger(L, (lua_Integer)times[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/*** The control socket, readable when a message waits. @function stage:fileno */
static int stage_fileno(lua_State *L) {
  lua_pushinteger(L, check_stage(L)->control);
  return 1;
}

/*** The stage's pidfd. @function stage:pidfd */
static int stage_pidfd(lua_State *L) {
  lua_pushinteger(L, check_stage(L)->pidfd);
  return 1;
}

/*** The stage's pid; nil of one that another stage has made. @function stage:pid */
static int stage_pid(lua_State *L) {
  const struct stage_handle *stage = check_stage(L);
  if (stage->pid) lua_pushinteger(L, stage->pid);
  else lua_pushnil(L);
  return 1;
}

/* -- spawn -- */

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
        .name = luaL_checkstring(L, -1),
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
  return luaL_optstring(L, -1, NULL); /* stays on the stack */
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

/* The fds of the table on the stack top, by register, in a userdata that replaces it. */
static int *read_fds(lua_State *L, size_t count) {
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
  stage->announces = boolean_option(L, at, "announces");
  return stage;
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
 * @tparam table options operations and payload (bytes of plans, run in this order), registers (how
 *   many), fds (register → fd), proc_files (register → name of a file of its own /proc/self), namespaces
 *   (flags), joins (list of fds of namespaces that are joined first), cgroup (fd of the directory of a control group that it
 *   is made in), capabilities (mask that the stage keeps), uid_map and gid_map (written by the caller; the
 *   plan must await them), times (how many the stage is to note: one more than there
 *   are operations, or 0), detached, own_pids (its end ends all in it), terminal (the plan has hand_over), announces (it has announce), name (that
 *   others see of it)
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
  stage->pid = request.pid;
  stage->pidfd = request.pidfd;
  stage->control = request.control;
  stage->plan = request.plan;
  stage->times = (size_t)request.times;
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
static int stage_exec(lua_State *L) {
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
  stage->control = request.control;
  stage->plan = request.plan;
  stage->times = (size_t)request.times;
  stage->joining = 1;
  return 1;
}

/* -- a plan's operations in this process -- */

static int bad_in_parent(struct call *call) {
  (void)call;
  return -ENOSYS;
}
long stage_await(struct call *call) { return bad_in_parent(call); }
long stage_announce(struct call *call) { return bad_in_parent(call); }
long stage_fork(struct call *call) { return bad_in_parent(call); }
long stage_await_leave(struct call *call) { return bad_in_parent(call); }
long stage_end_with_parent(struct call *call) { return bad_in_parent(call); }
long stage_note_namespaces(struct call *call) { return bad_in_parent(call); }
long stage_keep(struct call *call) { return bad_in_parent(call); }
long stage_hold(struct call *call) { return bad_in_parent(call); }
long stage_record(struct call *call) { return bad_in_parent(call); }
long stage_hand_over(struct call *call) { return bad_in_parent(call); }
long stage_restore_terminal(struct call *call) { return bad_in_parent(call); }

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

static const luaL_Reg methods[] = {
  { "receive", stage_receive }, { "signal", stage_signal }, { "stop", stage_stop },
  { "reap", stage_reap },       { "close", stage_close },   { "fileno", stage_fileno },
  { "pidfd", stage_pidfd },     { "pid", stage_pid },       { "go", stage_go },
  { "exec", stage_exec },       { "times", stage_times },   { NULL, NULL },
};

static const luaL_Reg functions[] = { { "spawn", spawn }, { "execute", execute }, { NULL, NULL } };

static const luaL_Reg metamethods[] = {
  { "__gc", stage_close },
  { "__close", stage_close },
  { NULL, NULL },
};

void open_process(lua_State *L) {
  new_type(L, STAGE_TYPE, methods, metamethods);
  luaL_setfuncs(L, functions, 0);
}
