/*
 * Spawning a stage, as section 3 of the design: the child shares our memory and our stack's thread
 * waits (vfork) until it executes the stage, so between clone and exec it makes raw system calls
 * only, with all signals blocked.
 */
#include "spawn.h"

#include "../kernel/kernel.h"
#include "../kernel/syscall.h"
#include "../stage/wire.h"
#include "image.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum { CHILD_STACK_SIZE = 16 * 1024 };

/* -- the child, until it executes the stage -- */

struct child {
  const struct spawn *spawn;
  int image;
  long error; /* written by the child, read by the parent after the vfork */
  const char *step;
};

/* Makes the fds FIRST_FD + register, and leaves nothing else open but the image behind them (clear_numbers has
   made way). */
static long place_all(const struct spawn *spawn, int image) {
  int end = FIRST_FD + (int)spawn->fd_count;
  long r = SYSCALL(dup3, image, end, O_CLOEXEC);
  if (r >= 0) r = place_fds(spawn->fds, spawn->fd_count, FIRST_FD);
  if (r >= 0) r = close_others(FIRST_FD, spawn->fd_count + 1);
  return r < 0 ? r : end;
}

static long open_proc_files(const struct spawn *spawn) {
  for (int i = 0; i < spawn->proc_file_count; i++) {
    long fd = open_proc(0, spawn->proc_files[i].name);
    long r = fd < 0 ? fd : SYSCALL(dup3, fd, FIRST_FD + spawn->proc_files[i].fd_register, 0);
    if (r < 0) return r;
    SYSCALL(close, fd);
  }
  return 0;
}

__attribute__((no_sanitize("address", "undefined"))) static void run_child(void *data) {
  static char name[] = "nslua";
  struct child *child = data;
  char *argv[] = { name, (char *)(uintptr_t)child->spawn->name, NULL }, *envp[] = { NULL };
  child->step = "fds of the stage";
  /* A plan with many registers may need more open files than the soft limit allows; the payload gets that
     back in its own operations. */
  long r = raise_open_files(FIRST_FD + child->spawn->fd_count + SPARE_FDS);
  if (r >= 0) r = place_all(child->spawn, child->image);
  int image = (int)r;
  if (r >= 0) {
    child->step = "own files of /proc";
    r = open_proc_files(child->spawn);
  }
  if (r >= 0 && child->spawn->capabilities) {
    /* Those of the new user namespace would be lost by the exec, as no id is 0 there. */
    child->step = "capabilities of the stage";
    r = raise_ambient(child->spawn->capabilities);
  }
  if (r >= 0) {
    child->step = "execveat of the stage";
    r = SYSCALL(execveat, image, "", argv, envp, AT_EMPTY_PATH);
  }
  child->error = -r;
  for (;;) SYSCALL(exit_group, 125);
}

/* An fd among the numbers that the child is going to use, at or above its own, could be overwritten before its
   turn: those get out of the way first, as copies. */
static int clear_numbers(struct spawn *spawn, int *image, int *copies, size_t *copied) {
  int end = FIRST_FD + (int)spawn->fd_count;
  for (size_t i = 0; i <= spawn->fd_count; i++) {
    int *fd = i < spawn->fd_count ? &spawn->fds[i] : image;
    int own = i < spawn->fd_count ? FIRST_FD + (int)i : FIRST_FD;
    if (*fd < own || *fd > end) continue;
    int copy = fcntl(*fd, F_DUPFD_CLOEXEC, end + 1);
    if (copy < 0) return errno == EINVAL ? EMFILE : errno; /* the limit lies below these numbers */
    copies[(*copied)++] = *fd = copy;
  }
  return 0;
}

/* A process of ours that joins namespaces and makes the child from in there, in our place. What is new then belongs to
   the user namespace among them. */
struct joiner {
  const struct spawn *spawn;
  struct clone_args *args;
  char *stack_top;
  struct child *child;
  long pid;
};

__attribute__((no_sanitize("address", "undefined"))) static void join_and_clone(void *data) {
  struct joiner *joiner = data;
  const struct spawn *spawn = joiner->spawn;
  joiner->child->step = "setns";
  for (int i = 0; joiner->pid >= 0 && i < spawn->join_count; i++)
    joiner->pid = SYSCALL(setns, spawn->joins[i], 0);
  if (joiner->pid >= 0) {
    joiner->child->step = "clone3";
    joiner->pid = clone_call(joiner->args, joiner->stack_top, run_child, joiner->child);
  }
  for (;;) SYSCALL(exit_group, 0);
}

/* It shares our table of fds, so that the pidfd of the child is ours. */
static long clone_joined(const struct spawn *spawn, struct clone_args *args, char *stack_top,
                         struct child *child) {
  _Alignas(16) char stack[CHILD_STACK_SIZE];
  int pidfd = -1;
  struct joiner joiner = { spawn, args, stack_top, child, 0 };
  struct clone_args own = {
    .flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PIDFD,
    .pidfd = (uintptr_t)&pidfd,
  };
  args->flags |= CLONE_PARENT;
  long r = clone_call(&own, stack + sizeof stack, join_and_clone, &joiner);
  if (r < 0) return r;
  reap_process(pidfd);
  close(pidfd);
  return joiner.pid;
}

static long clone_child(struct spawn *spawn, int image, const char **step) {
  _Alignas(16) char stack[CHILD_STACK_SIZE];
  struct child child = { .spawn = spawn, .image = image, .error = 0, .step = "clone3" };
  struct clone_args args = {
    .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | spawn->namespaces,
    .pidfd = (uintptr_t)&spawn->pidfd,
  };
  if (spawn->cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (unsigned)spawn->cgroup;
  }
  uint64_t all = ~(uint64_t)0, old;
  int held_back = SYSCALL(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all) == 0;
  long pid = spawn->join_count == 0 ? clone_call(&args, stack + sizeof stack, run_child, &child)
                                    : clone_joined(spawn, &args, stack + sizeof stack, &child);
  if (held_back) SYSCALL(rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof old);
  *step = child.step;
  if (pid < 0) return pid;
  if (child.error) {
    reap_process(spawn->pidfd);
    close(spawn->pidfd);
    return -child.error;
  }
  return pid;
}

/* -- the maker's side -- */

int send_failure(int error) { return error == EPIPE || error == ECONNRESET ? ESRCH : error; }

long kill_process(int pidfd) { return SYSCALL(pidfd_send_signal, pidfd, SIGKILL, 0, 0); }

int reap_process(int pidfd) {
  siginfo_t info = { 0 };
  int r;
  do r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL);
  while (r < 0 && errno == EINTR);
  if (r == 0) return info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
  struct pollfd end = { .fd = pidfd, .events = POLLIN };
  while (poll(&end, 1, -1) < 0 && errno == EINTR) continue;
  return -1;
}

/* Puts the plan into a memfd: what the stage reads is nobody's memory but its own. */
static int write_plan(const struct spawn *spawn) {
  static const char padding[8];
  struct plan_header header = {
    .magic = PLAN_MAGIC,
    .version = PLAN_VERSION,
    .registers = (uint16_t)spawn->fd_count,
    .times = spawn->times,
  };
  size_t size = spawn->fd_count * sizeof(int32_t);
  int32_t small[64];
  int32_t *registers = spawn->fd_count <= 64 ? small : malloc(size);
  if (!registers) return -1;
  int32_t sent = 0;
  for (size_t i = 0; i < spawn->fd_count; i++) {
    int32_t number = spawn->is_sent ? sent : (int32_t)i;
    registers[i] = spawn->fds[i] == FD_NONE ? REGISTER_ABSENT : FIRST_FD + number;
    sent += spawn->fds[i] != FD_NONE;
  }
  struct iovec parts[] = {
    { &header, sizeof header },
    { registers, size },
    { (char *)(uintptr_t)padding, -size % 8 },
    { (char *)(uintptr_t)spawn->operations, spawn->operations_size },
    { (char *)(uintptr_t)spawn->payload, spawn->payload_size },
  };
  int fd = above_stdio(memfd_create("nslua-plan", MFD_CLOEXEC));
  enum { PARTS = sizeof parts / sizeof *parts };
  size_t total = 0;
  for (int i = 0; i < PARTS; i++) total += parts[i].iov_len;
  off_t end = (off_t)(total + spawn->times * sizeof(plan_time));
  if (fd >= 0 &&
      (writev(fd, parts, PARTS) != (ssize_t)total || (spawn->times && ftruncate(fd, end) < 0))) {
    close(fd);
    errno = ENOSPC;
    fd = -1;
  }
  if (registers != small) free(registers);
  return fd;
}

/* The ids of the child, by us who may. The pidfd tells that the number is still our child's. */
static int map_ids(struct spawn *spawn) {
  const struct {
    primitive *write;
    const char *map, *step;
  } maps[] = {
    { kernel_gid_map, spawn->gid_map, "gid_map" },
    { kernel_uid_map, spawn->uid_map, "uid_map" },
  };
  for (int i = 0; i < 2; i++) {
    struct call call = { .arguments = {
                             { .value = spawn->pid },
                             { .value = (long)(uintptr_t)maps[i].map, .size = strlen(maps[i].map) },
                         } };
    spawn->step = maps[i].step;
    if (SYSCALL(pidfd_send_signal, spawn->pidfd, 0, 0, 0) < 0) return ESRCH;
    long r = maps[i].write(&call);
    if (r < 0) return (int)-r;
  }
  struct command go = { .kind = COMMAND_GO };
  spawn->step = "start of the stage";
  return send(spawn->control, &go, sizeof go, MSG_NOSIGNAL) < 0 ? errno : 0;
}

static int start(struct spawn *spawn, int image) {
  int *copies = calloc(spawn->fd_count + 1, sizeof *copies);
  size_t copied = 0;
  if (!copies) return ENOMEM;
  spawn->step = "fds of the stage";
  int error = clear_numbers(spawn, &image, copies, &copied);
  if (!error) {
    long pid = clone_child(spawn, image, &spawn->step);
    if (pid < 0) error = (int)-pid;
    else spawn->pid = (pid_t)pid;
  }
  while (copied > 0) close(copies[--copied]);
  free(copies);
  return error;
}

static int open_channel(struct spawn *spawn, int own[REGISTER_FREE]) {
  int pair[2];
  spawn->step = "socketpair";
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return errno;
  spawn->control = above_stdio(pair[0]);
  own[REGISTER_CONTROL] = above_stdio(pair[1]);
  if (spawn->control < 0 || own[REGISTER_CONTROL] < 0) return errno;
  spawn->step = "pidfd_open";
  long maker = SYSCALL(pidfd_open, getpid(), 0);
  if (maker < 0) return (int)-maker;
  own[REGISTER_MAKER] = above_stdio((int)maker);
  if (own[REGISTER_MAKER] < 0) return errno;
  spawn->step = "memfd_create of the plan";
  own[REGISTER_PLAN] = write_plan(spawn);
  return own[REGISTER_PLAN] < 0 ? errno : 0;
}

/* A timed plan is to be read when it has run. */
static void keep_plan(struct spawn *spawn, int own[REGISTER_FREE]) {
  spawn->plan = own[REGISTER_PLAN];
  own[REGISTER_PLAN] = -1;
}

static void close_all(const int *fds, int count) {
  for (int i = 0; i < count; i++)
    if (fds[i] >= 0) close(fds[i]);
}

int spawn_stage(struct spawn *spawn) {
  int own[REGISTER_FREE] = { -1, -1, -1 };
  spawn->control = spawn->pidfd = spawn->plan = -1;
  spawn->step = "memfd_create of the stage";
  int image = stage_fd();
  if (image < 0) return errno;
  for (int i = 0; i < REGISTER_FREE; i++) spawn->fds[i] = 0; /* present, in the plan's header */
  int error = open_channel(spawn, own);
  if (!error) {
    memcpy(spawn->fds, own, sizeof own);
    error = start(spawn, image);
  }
  if (!error && spawn->times) keep_plan(spawn, own);
  close_all(own, REGISTER_FREE);
  if (!error && spawn->uid_map) {
    error = map_ids(spawn);
    if (error) {
      kill_process(spawn->pidfd);
      reap_process(spawn->pidfd);
      close(spawn->pidfd);
    }
  }
  if (error && spawn->control >= 0) close(spawn->control);
  if (error && spawn->plan >= 0) close(spawn->plan);
  return error;
}

/* -- another stage, made by one that runs -- */

/* In one message, which the stage never makes us wait for. */
static int send_exec(int control, const int *fds, size_t count) {
  struct command command = { .kind = COMMAND_EXEC };
  struct iovec part = { &command, sizeof command };
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(MAX_SENT * sizeof *fds)];
  } rights = { 0 };
  struct msghdr message = {
    .msg_iov = &part,
    .msg_iovlen = 1,
    .msg_control = &rights,
    .msg_controllen = CMSG_SPACE(count * sizeof *fds),
  };
  rights.header.cmsg_level = SOL_SOCKET;
  rights.header.cmsg_type = SCM_RIGHTS;
  rights.header.cmsg_len = CMSG_LEN(count * sizeof *fds);
  memcpy(CMSG_DATA(&rights.header), fds, count * sizeof *fds);
  if (sendmsg(control, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 0;
  return send_failure(errno);
}

static int send_fds(const struct spawn *spawn, int control) {
  int fds[MAX_SENT];
  size_t count = 0;
  for (size_t i = 0; i < spawn->fd_count; i++) {
    if (spawn->fds[i] < 0) continue;
    if (count == MAX_SENT) return E2BIG;
    fds[count++] = spawn->fds[i];
  }
  return send_exec(control, fds, count);
}

int join_stage(struct spawn *spawn, int control) {
  int own[REGISTER_FREE] = { -1, -1, -1 };
  spawn->control = spawn->pidfd = spawn->plan = -1;
  spawn->is_sent = 1;
  for (int i = 0; i < REGISTER_FREE; i++) spawn->fds[i] = 0; /* present, in the plan's header */
  int error = open_channel(spawn, own);
  if (!error) {
    memcpy(spawn->fds, own, sizeof own);
    spawn->step = "message to the stage";
    error = send_fds(spawn, control);
  }
  if (!error && spawn->times) keep_plan(spawn, own);
  close_all(own, REGISTER_FREE);
  if (error && spawn->control >= 0) close(spawn->control);
  return error;
}
