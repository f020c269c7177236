/*
 * The recorder: a process that is notified of every call that a filter stops, lets it go on as if there were no
 * filter, and counts it. Nobody is kept from anything by that: the memory that a call points to may change after it
 * was looked at.
 *
 * It shares the reaper's memory, where the counts are; the payload left that with its exec. It is started by the
 * payload's process before the filter is there, and shares its fds until it has the one that listens. The reaper
 * cannot do its work: it stands still until the payload's program has begun, and execve may be among the calls.
 */
#include "stage.h"

#include "../kernel/syscall.h"

#include <asm-generic/errno.h>
#include <asm/ioctl.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <linux/close_range.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/time_types.h>

enum { STACK_SIZE = 8192, PAUSE_NS = 20000, SIGNAL_SET_SIZE = 8 };

struct recorder {
  long pid, parent;
  int ready;    /* 0 until it may be notified: then 1, or -errno */
  int listener; /* 0 until the filter is there: then the fd */
  int ended;    /* before the payload did */
  uint32_t counts[RECORDED_CALLS];
  char stack[STACK_SIZE] __attribute__((aligned(16)));
};

/* Waits until a word is not 0 any more. Not with a futex: that may be among the calls. */
static int await_word(const int *word) {
  struct __kernel_timespec pause = { .tv_nsec = PAUSE_NS };
  int value;
  while (!(value = __atomic_load_n(word, __ATOMIC_ACQUIRE))) SYSCALL(nanosleep, &pause, 0);
  return value;
}

/* It holds nothing that the payload could want, is out of reach of signals to the payload's process group, and ends
   with its parent. */
static long prepare(const struct recorder *recorder) {
  struct call none = { 0 };
  long r = kernel_capset(&none);
  if (r >= 0) r = kernel_no_new_privs(&none);
  if (r >= 0) r = SYSCALL(setsid, 0);
  if (r >= 0) r = SYSCALL(prctl, PR_SET_PDEATHSIG, SIGKILL);
  return r < 0 ? r : SYSCALL(getppid, 0) == recorder->parent ? 1 : -ESRCH;
}

/* A table of its own, so that the payload's process has its fds to itself, with nothing in it but the listener. */
static long keep_only(int listener) {
  long r = SYSCALL(close_range, listener + 1, ~0U, CLOSE_RANGE_UNSHARE);
  return r < 0 ? r : SYSCALL(close_range, 0, listener - 1, 0);
}

/* Lets one call go on; -ENOENT when who made it has ended meanwhile. */
static long answer(struct recorder *recorder, int listener) {
  struct seccomp_notif notified = { 0 };
  long r = SYSCALL(ioctl, listener, SECCOMP_IOCTL_NOTIF_RECV, &notified);
  if (r < 0) return r;
  uint32_t number = (uint32_t)notified.data.nr;
  if (number < RECORDED_CALLS && recorder->counts[number] < UINT32_MAX) recorder->counts[number]++;
  struct seccomp_notif_resp response = {
    .id = notified.id,
    .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE,
  };
  return SYSCALL(ioctl, listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* Serves until nobody has the filter any more. */
static long serve(struct recorder *recorder, int listener) {
  struct pollfd watched = { .fd = listener, .events = POLLIN };
  long r;
  do {
    r = SYSCALL(ppoll, &watched, 1, 0, 0, SIGNAL_SET_SIZE);
    if (r >= 0 && !(watched.revents & POLLIN)) return 0;
    if (r >= 0) r = answer(recorder, listener);
  } while (r >= 0 || r == -ENOENT || r == -EINTR);
  return r;
}

static void run(void *data) {
  struct recorder *recorder = data;
  long r = prepare(recorder);
  __atomic_store_n(&recorder->ready, (int)r, __ATOMIC_RELEASE);
  if (r < 0) leave(1);
  int listener = await_word(&recorder->listener);
  r = keep_only(listener);
  if (r >= 0) r = serve(recorder, listener);
  leave(r < 0);
}

/* It becomes a child of the reaper, as the payload is. Not where the payload is PID 1: that has no siblings. There it
   is the payload's child, one that wait(2) does not see (its end sends no signal), and goes with it. */
long stage_record(struct call *call) {
  (void)call;
  int of_init = SYSCALL(getpid, 0) == 1;
  long at = SYSCALL(mmap, 0, sizeof(struct recorder), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at < 0 && at > -4096) return at;
  struct recorder *recorder = (struct recorder *)at;
  recorder->parent = of_init ? 1 : SYSCALL(getppid, 0);
  struct clone_args args = { .flags = CLONE_VM | CLONE_FILES | (of_init ? 0 : CLONE_PARENT) };
  recorder->pid = clone_call(&args, recorder->stack + STACK_SIZE, run, recorder);
  if (recorder->pid < 0) return recorder->pid;
  stage.recorder = recorder;
  stage.machine.listener = &recorder->listener;
  return await_word(&recorder->ready);
}

void note_end(long pid, int status) {
  if (stage.recorder && pid == stage.recorder->pid && status) stage.recorder->ended = 1;
}

void report_recorded(void) {
  if (!stage.recorder) return;
  struct record record = { .kind = RECORD_RECORDED, .status = stage.recorder->ended };
  struct recorded *recorded = &record.recorded;
  for (uint32_t number = 0; number < RECORDED_CALLS; number++) {
    uint32_t count = stage.recorder->counts[number];
    if (!count) continue;
    if (recorded->count == MAX_RECORDED) {
      report(&record);
      recorded->count = 0;
    }
    recorded->calls[recorded->count++] = (struct recorded_call){ number, count };
  }
  report(&record);
}
