/*
 * The reaper: the payload's parent, and PID 1 of its PID namespace unless the payload is that
 * itself. It never touches a signal disposition: SIGCHLD arrives as an fd, as do the maker's
 * commands and the maker's end.
 */
#include "../kernel/syscall.h"
#include "message.h"
#include "stage.h"

#include <asm-generic/errno.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <linux/fcntl.h>
#include <linux/resource.h>
#include <linux/time.h>
#include <linux/wait.h>

enum { MAKER = FIRST_FD + REGISTER_MAKER };
enum { SIGNAL_SET_SIZE = 8, SIGNALFD_INFO_SIZE = 128, SFD_CLOEXEC_ = O_CLOEXEC };
enum { MSG_DONTWAIT_ = 0x40 };
enum { REAPED_AT_ONCE = 64, NOBODY = 0 };
enum { WATCH_CONTROL, WATCH_MAKER, WATCH_CHILDREN, WATCHED };

static uint64_t microseconds(const struct __kernel_old_timeval *t) {
  return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

static void report_end(int status, const struct rusage *used) {
  struct record record = { .kind = RECORD_ENDED, .status = status };
  record.usage = (struct usage){
    .user_us = microseconds((const void *)&used->ru_utime),
    .system_us = microseconds((const void *)&used->ru_stime),
    .maxrss_kib = (uint64_t)used->ru_maxrss,
    .minor_faults = (uint64_t)used->ru_minflt,
    .major_faults = (uint64_t)used->ru_majflt,
    .voluntary_switches = (uint64_t)used->ru_nvcsw,
    .involuntary_switches = (uint64_t)used->ru_nivcsw,
  };
  report(&record);
}

/* Sends SIGKILL to every process listed in a children file; 0 when there is none. */
static long kill_listed(int children) {
  char text[4096];
  long n = SYSCALL(pread64, children, text, sizeof text - 1, 0);
  long found = n < 0 ? n : 0;
  long pid = 0;
  for (long i = 0; i < n; i++) {
    if (text[i] >= '0' && text[i] <= '9') {
      pid = pid * 10 + (text[i] - '0');
    } else if (pid) {
      SYSCALL(kill, pid, SIGKILL);
      found = 1;
      pid = 0;
    }
  }
  return found;
}

static void kill_at_once(const struct watch *watch) {
  if (watch->children >= 0 && watch->confined) SYSCALL(kill, -1, SIGKILL);
}

/*
 * Ends every process of the sandbox. As PID 1 our own end does it, and the end of a payload that
 * is PID 1 did it. Otherwise all orphans come to us (child_subreaper): kill and reap our children
 * until none is left. Who forks faster than that is ended at once with all others, where we can reach
 * nobody else.
 */
static long end_all(const struct watch *watch) {
  long found = 0;
  kill_at_once(watch);
  while (watch->children >= 0 && (found = kill_listed(watch->children)) > 0) {
    long pid;
    do pid = SYSCALL(wait4, -1, 0, __WALL, 0);
    while (pid == -EINTR);
    if (pid < 0) break;
  }
  return found < 0 ? found : 0;
}

/* Nobody wants the sandbox any more. Our own end must not come before that of a payload that is PID 1
   and takes the others with it. */
static _Noreturn void abandon(const struct watch *watch) {
  long r;
  if (watch->payload == NOBODY) leave(125);
  kill_at_once(watch); /* before the first wait: among many we may not run again soon */
  SYSCALL(kill, -watch->payload, SIGKILL);
  SYSCALL(kill, watch->payload, SIGKILL);
  do r = SYSCALL(wait4, watch->payload, 0, __WALL, 0);
  while (r == -EINTR);
  end_all(watch);
  report_recorded();
  leave(125);
}

/* Our group goes with us, and the maker wants to read what it says: it gives us leave, or is gone itself. */
static void await_leave(void) {
  struct pollfd maker[] = { { .fd = CONTROL, .events = POLLIN },
                            { .fd = MAKER, .events = POLLIN } };
  while (SYSCALL(ppoll, maker, 2, 0, 0, SIGNAL_SET_SIZE) == -EINTR) continue;
}

/* The payload has ended, and with it the sandbox, unless that is to go on for those who are left. */
static void end_payload(struct watch *watch, int status, const struct rusage *used) {
  watch->payload = NOBODY;
  if (!watch->lingers && end_all(watch) < 0) leave(125); /* nobody knows who is left */
  report_recorded();
  report_end(status, used);
  if (watch->lingers) return;
  if (stage.awaits_leave) await_leave();
  leave(0);
}

/* Reaps some of those who have ended, and tells whether there may be more: who forks fast must not keep us from
   hearing our maker. Does not return when the payload is among them and the sandbox ends with it. */
static int reap_ended(struct watch *watch) {
  for (int i = 0; i < REAPED_AT_ONCE; i++) {
    int status;
    struct rusage used;
    long pid = SYSCALL(wait4, -1, &status, WNOHANG | __WALL, &used);
    if (pid == 0) return 0;
    if (pid < 0 && watch->payload == NOBODY) leave(0); /* the last one has ended */
    if (pid < 0) abandon(watch); /* the payload is our child until we say that it has ended */
    note_end(pid, status);
    if (pid == watch->payload) end_payload(watch, status, &used);
  }
  return 1;
}

static void carry_out(const struct watch *watch, const struct command *command,
                      const struct sent_fds *sent) {
  switch (command->kind) {
  case COMMAND_KILL_GROUP: /* without a session of its own the payload leads none */
    if (SYSCALL(kill, -watch->payload, command->signal) != -ESRCH) break;
    /* fall through */
  case COMMAND_KILL: SYSCALL(kill, watch->payload, command->signal); break;
  case COMMAND_END: abandon(watch);
  case COMMAND_EXEC: start_another(sent->fds, sent->count); break;
  default: break;
  }
}

/* One message of the maker; false at its end. */
static int obey(const struct watch *watch) {
  struct command command;
  struct sent_fds sent;
  long n = take_command(&command, &sent);
  if (n == -EAGAIN || n == -EINTR) return 1;
  if (n == sizeof command && watch->payload != NOBODY) carry_out(watch, &command, &sent);
  for (size_t i = 0; i < sent.count; i++) SYSCALL(close, sent.fds[i]);
  return n > 0;
}

long open_child_signals(void) {
  uint64_t set = (uint64_t)1 << (SIGCHLD - 1);
  return SYSCALL(signalfd4, -1, &set, SIGNAL_SET_SIZE, SFD_CLOEXEC_);
}

void reap(struct watch *watch, struct record *started) {
  if (report(started) < 0 && !watch->detached) abandon(watch);
  struct pollfd watched[WATCHED] = {
    [WATCH_CONTROL] = { .fd = CONTROL, .events = POLLIN },
    [WATCH_MAKER] = { .fd = watch->detached ? -1 : MAKER, .events = POLLIN },
    [WATCH_CHILDREN] = { .fd = watch->signals, .events = POLLIN },
  };
  int more = 0;
  for (;;) {
    /* A child that ended before the signalfd was there left SIGCHLD pending: it is readable. */
    struct __kernel_timespec at_once = { 0 };
    long r = SYSCALL(ppoll, watched, WATCHED, more ? &at_once : 0, 0, SIGNAL_SET_SIZE);
    if (r < 0 && r != -EINTR) abandon(watch);
    if (watched[WATCH_CHILDREN].revents) {
      char info[SIGNALFD_INFO_SIZE];
      SYSCALL(read, watch->signals, info, sizeof info);
      more = 1;
    }
    if (more) more = reap_ended(watch);
    if (watched[WATCH_CONTROL].revents && !obey(watch)) {
      if (!watch->detached) abandon(watch);
      watched[WATCH_CONTROL].fd = -1;
    }
    if (watched[WATCH_MAKER].revents) abandon(watch);
  }
}
