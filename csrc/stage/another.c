/*
 * Another stage. For a further command in the sandbox it is a child of this one, which is inside of everything already,
 * with a plan and a control socket of its own. In place of this one it is its sibling, and goes on with the same plan.
 * Either holds what this one does: it is a copy of it, beyond the payload's sight.
 */
#include "../kernel/syscall.h"
#include "message.h"
#include "stage.h"

#include <asm-generic/errno.h>
#include <asm/signal.h>
#include <linux/sched.h>

enum { MSG_DONTWAIT_ = 0x40, MSG_NOSIGNAL_ = 0x4000, STACK_SIZE = 16 * 1024 };

/* Tells the maker, on the socket of the stage that is not going to be, why not. */
static void refuse(int control, long failure) {
  struct record record = { .kind = RECORD_FAILED, .status = (int32_t)-failure };
  SYSCALL(sendto, control, &record, sizeof record, MSG_DONTWAIT_ | MSG_NOSIGNAL_, 0, 0);
}

static long place(const int *fds, size_t count) {
  long r = raise_open_files(FIRST_FD + count + SPARE_FDS);
  if (r >= 0) r = place_fds(fds, count, FIRST_FD);
  return r < 0 ? r : close_others(FIRST_FD, count);
}

/* By its pidfd the maker can end the other stage, and see its end. */
static long tell_joined(long pidfd) {
  struct record record = { .kind = RECORD_JOINED };
  if (pidfd < 0) return pidfd;
  long r = report_with(&record, (int)pidfd);
  SYSCALL(close, pidfd);
  return r;
}

/* What is known of the namespaces stays: they are the same. What this one keeps open is not the other's to keep. */
static _Noreturn void become_another(long parent, const int *fds, size_t count) {
  stage.machine = (struct machine){ 0 };
  stage.recorder = 0;
  stage.awaits_leave = 0;
  stage.kept_count = 0;
  struct call hidden = { .arguments = { { 0 } } };
  long r = kernel_dumpable(&hidden); /* a copy of a stage that may be visible is not, with a plan */
  if (r >= 0) r = place(fds, count);
  if (r < 0) {
    refuse(fds[0], r);
    leave(125);
  }
  r = end_with(parent);
  if (r >= 0) r = tell_joined(SYSCALL(pidfd_open, SYSCALL(getpid, 0), 0));
  if (r < 0) report_failure(r);
  run_plan();
}

void start_another(const int *fds, size_t count) {
  if (count < REGISTER_FREE) {
    if (count > 0) refuse(fds[0], -EPROTO);
    return;
  }
  long self = SYSCALL(getpid, 0);
  long pid = SYSCALL(clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) become_another(self, fds, count);
  if (pid < 0) refuse(fds[0], pid);
}

/* -- in our place -- */

/* Nothing runs that the maker does not know: it may have given up meanwhile. */
static _Noreturn void go_on(void *unused) {
  struct call none = { 0 };
  finish_operation(&stage.machine);
  long r = stage_await(&none);
  if (r < 0) report_failure(r);
  continue_plan(unused);
}

/** The stage goes on as a child of its maker's, in new namespaces of these kinds: who has joined a user namespace
    cannot become PID 1 of a new PID namespace in it otherwise. Here it ends, and not before it has told: who lives
    where the other one is may stop that before it could. */
long stage_remake(struct call *call) {
  char stack[STACK_SIZE] __attribute__((aligned(16)));
  int pidfd = -1;
  struct clone_args args = {
    .flags = CLONE_PARENT | CLONE_PIDFD | (uint64_t)ARG_INT(0),
    .pidfd = (uintptr_t)&pidfd,
  };
  long pid = clone_call(&args, stack + sizeof stack, go_on, 0);
  if (pid < 0) return pid;
  leave(tell_joined(pidfd) < 0);
}
