/***
 * The handle of a stage: messages, signals, its end. The sandbox's own process object, with its
 * streams and timeouts, is made of it in Lua.
 * @classmod nslua.sys.stage
 */
#include "handle.h"

#include "../kernel/syscall.h"
#include "spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STOP_TRIES = 1000, STOP_INTERVAL_MS = 10 };

struct stage_handle *check_stage(lua_State *L) {
  return luaL_checkudata(L, 1, STAGE_TYPE);
}

/* -- messages -- */

/* A record is believed only when it is whole and its turn has come. */
static int in_turn(const struct stage_handle *stage, const struct record *record, ssize_t n) {
  if (n != sizeof *record) return 0; /* MSG_TRUNC gives the real size */
  if (stage->joining) return record->kind == RECORD_JOINED || record->kind == RECORD_FAILED;
  switch (record->kind) {
  case RECORD_TERMINAL: return stage->terminal;
  case RECORD_READY: return stage->mapped || (stage->announces && !stage->terminal);
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
  /* ECONNRESET is told once, before its last messages, when it ends without having read ours. */
  do n = recvmsg(stage->control, &message, flags | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == ECONNRESET);
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

/* The first stage has made another one in its place. Who lives where it has joined may have stopped it. */
static void forget_first(struct stage_handle *stage) {
  if (stage->pidfd < 0) return;
  kill_process(stage->pidfd);
  reap_process(stage->pidfd);
  close(stage->pidfd);
  stage->pid = 0;
}

/* A stage whose pidfd we have no number for is of no use. */
static int push_joined(lua_State *L, struct stage_handle *stage, struct record *record, int fd) {
  forget_first(stage);
  stage->joining--;
  stage->pidfd = fd;
  if (fd < 0) *record = (struct record){ .kind = RECORD_FAILED, .status = EMFILE };
  return push_record(L, record);
}

/* Where the fd that comes with the next message goes: into a handle on the stack if it is to be the caller's. */
static int *place_of_fd(lua_State *L, const struct stage_handle *stage, int *own) {
  *own = -1;
  return stage->terminal && !stage->joining ? push_fd(L) : own;
}

/***
 * The next message: "joined" when another stage has made this one; "terminal" with the master of the payload's, or
 * nil when there was no number for that fd; "ready" with the namespaces that it is in; "failed" with { operation,
 * errno, detail }; "started" with what the payload holds; "recorded" with { counts, incomplete }, of what its filter
 * would have stopped; "ended" with its usage and code or signal; "closed" when there is nothing more to come; "none"
 * when nothing has come yet.
 * @function stage:receive
 * @tparam[opt=false] boolean block wait for it
 */
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
  if (record.kind == RECORD_READY) *(stage->mapped ? &stage->mapped : &stage->announces) = 0;
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

/***
 * Lets a stage go on that waits after its message "terminal" or "ready".
 * @function stage:go
 */
static int stage_go(lua_State *L) {
  return send_command(L, check_stage(L), (struct command){ .kind = COMMAND_GO });
}

/***
 * Sends a signal to the payload.
 * @function stage:signal
 * @tparam integer signal
 * @tparam[opt=false] boolean group to its whole process group
 */
static int stage_signal(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  return send_command(L, stage,
                      (struct command){
                          .kind = lua_toboolean(L, 3) ? COMMAND_KILL_GROUP : COMMAND_KILL,
                          .signal = (int32_t)check_int(L, 2),
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

/***
 * Ends the whole sandbox.
 * @function stage:stop
 */
static int stage_stop(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  if (stage->pidfd >= 0 && !stage->reaped && stage->maker == getpid()) stop(stage);
  return 0;
}

/***
 * Ends a stage that has told its end, and waits for it: who lives with a further command's could have stopped it on its
 * last steps.
 * @function stage:reap
 * @treturn integer|nil its wait status, nil when it was taken by somebody else
 */
static int stage_reap(lua_State *L) {
  struct stage_handle *stage = check_stage(L);
  if (stage->reaped || stage->maker != getpid()) return 0;
  kill_process(stage->pidfd);
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

/***
 * When a stage that is timed began, and when each operation was done, by the clock of sys.now: a list, with 0 for what
 * was not.
 * @function stage:times
 * @treturn[1] table
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
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

/***
 * The control socket, readable when a message waits.
 * @function stage:fileno
 */
static int stage_fileno(lua_State *L) {
  lua_pushinteger(L, check_stage(L)->control);
  return 1;
}

/***
 * The stage's pidfd.
 * @function stage:pidfd
 */
static int stage_pidfd(lua_State *L) {
  lua_pushinteger(L, check_stage(L)->pidfd);
  return 1;
}

/***
 * The stage's pid; nil of one that another stage has made.
 * @function stage:pid
 */
static int stage_pid(lua_State *L) {
  const struct stage_handle *stage = check_stage(L);
  if (stage->pid) lua_pushinteger(L, stage->pid);
  else lua_pushnil(L);
  return 1;
}

static const luaL_Reg methods[] = {
  { "receive", stage_receive }, { "signal", stage_signal }, { "stop", stage_stop },
  { "reap", stage_reap },       { "close", stage_close },   { "fileno", stage_fileno },
  { "pidfd", stage_pidfd },     { "pid", stage_pid },       { "go", stage_go },
  { "exec", stage_exec },       { "times", stage_times },   { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", stage_close },
  { "__close", stage_close },
  { NULL, NULL },
};

void open_stage(lua_State *L) { new_type(L, STAGE_TYPE, methods, metamethods); }
