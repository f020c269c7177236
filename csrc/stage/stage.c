/*
 * The stage: a program without libc that the child of a spawn executes. It reads the plan, executes
 * it, starts the payload as its own child and stays as its reaper. It shares no memory with the
 * host application, and nobody can look into it.
 */
#include "stage.h"

#include "../kernel/syscall.h"

#include <asm-generic/errno.h>
#include <linux/mman.h>
#include <asm/signal.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>

enum { PLAN = FIRST_FD + REGISTER_PLAN };
enum { MSG_NOSIGNAL_ = 0x4000, SEEK_END_ = 2, STACK_SIZE = 32 * 1024, PLAN_ALIGNMENT = 1 << 20 };

struct stage stage = { .control = CONTROL };

void leave(int status) {
  for (;;) SYSCALL(exit_group, status);
}

long report(struct record *record) {
  return SYSCALL(sendto, stage.control, record, sizeof *record, MSG_NOSIGNAL_, 0, 0);
}

void report_failure(long failure) {
  struct record record = {
    .kind = RECORD_FAILED,
    .status = (int32_t)-failure,
    .operation = stage.machine.index,
    .detail = stage.machine.detail,
  };
  text_append(record.found, stage.machine.found);
  report(&record);
  stage.failed = 1;
  leave(125);
}

/* Waits until the maker has mapped our ids. Its end is ours. */
long stage_await(struct call *call) {
  (void)call;
  struct command command = { 0 };
  long n;
  do n = SYSCALL(recvfrom, CONTROL, &command, sizeof command, 0, 0, 0);
  while (n == -EINTR);
  if (n == 0) leave(125);
  return n < 0 ? n : command.kind == COMMAND_GO ? 0 : -EPROTO;
}

/** The reaper awaits leave to end, until its maker has read what the control group counted: a group that
    systemd has made goes with its last process. */
long stage_await_leave(struct call *call) {
  (void)call;
  stage.awaits_leave = 1;
  return 0;
}

/* The way to report gets another number, for the payload to have its own. */
long stage_move_control(struct call *call) {
  long r = SYSCALL(dup3, CONTROL, ARG_INT(0), O_CLOEXEC);
  if (r >= 0) stage.control = (int)r;
  return r < 0 ? r : 0;
}

/* Tells the maker that all is set up, and waits until it lets the payload begin. */
long stage_announce(struct call *call) {
  struct record record = { .kind = RECORD_READY, .held = stage.held };
  long r = report(&record);
  return r < 0 ? r : stage_await(call);
}

static uint64_t capability_set(long (*has)(long capability)) {
  uint64_t set = 0;
  for (long capability = 0; capability < 64; capability++) {
    long r = has(capability);
    if (r < 0) break;
    if (r > 0) set |= (uint64_t)1 << capability;
  }
  return set;
}

static long in_bounding(long capability) { return SYSCALL(prctl, PR_CAPBSET_READ, capability); }

static long in_ambient(long capability) {
  return SYSCALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0);
}

static long note_namespaces(int directory) {
  static const char *const names[NAMESPACE_KINDS] = {
    "cgroup", "ipc", "mnt", "net", "pid_for_children", "time", "user", "uts",
  };
  long r = 0;
  for (int kind = 0; kind < NAMESPACE_KINDS && r >= 0; kind++) {
    struct statx status;
    r = SYSCALL(statx, directory, names[kind], 0, STATX_INO, &status);
    if (r >= 0) stage.held.namespaces[kind] = (uint32_t)status.stx_ino;
    if (r == -ENOENT) r = 0; /* a kernel without that kind */
  }
  return r;
}

/** Notes which namespaces the payload is going to be in, while the old root's /proc can still be reached; or in this
    directory of it, opened before the root was another one. */
long stage_note_namespaces(struct call *call) {
  if (ARG_FD(0) >= 0) return note_namespaces(ARG_FD(0));
  long directory =
      SYSCALL(openat, AT_FDCWD, "/proc/thread-self/ns", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return directory;
  long r = note_namespaces((int)directory);
  SYSCALL(close, directory);
  return r;
}

/* Reads back what the payload is going to hold, for the maker to compare. */
long stage_hold(struct call *call) {
  (void)call;
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct data[2];
  uint32_t real, effective, saved;
  long r = SYSCALL(capget, &header, data);
  if (r < 0) return r;
  struct held *held = &stage.held;
  held->effective = data[0].effective | (uint64_t)data[1].effective << 32;
  held->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
  held->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
  held->bounding = capability_set(in_bounding);
  held->ambient = held->permitted ? capability_set(in_ambient) : 0; /* a part of permitted */
  r = SYSCALL(getresuid, &real, &effective, &saved);
  if (r < 0) return r;
  if (real != effective || effective != saved) return -EPERM;
  held->uid = real;
  r = SYSCALL(getresgid, &real, &effective, &saved);
  if (r < 0) return r;
  if (real != effective || effective != saved) return -EPERM;
  held->gid = real;
  held->groups = (uint32_t)SYSCALL(getgroups, 0, 0);
  r = SYSCALL(prctl, PR_GET_SECUREBITS);
  if (r < 0) return r; /* it would read as all bits */
  held->securebits = (uint32_t)r;
  r = SYSCALL(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  if (r < 0) return r;
  held->no_new_privs = (uint32_t)r;
  return 0;
}

/* Keeps an fd open as long as there is a sandbox: its end can be seen by that. */
long stage_keep(struct call *call) {
  if (stage.kept_count == MAX_KEPT) return -EMFILE;
  stage.kept[stage.kept_count++] = ARG_FD(0);
  return 0;
}

/* Closes every fd but these, in whatever order they are; -1 is none. */
static long close_all_but(const int *kept, int count) {
  long first = 0, r = 0;
  while (r >= 0) {
    long next = -1;
    for (int i = 0; i < count; i++)
      if (kept[i] >= first && (next < 0 || kept[i] < next)) next = kept[i];
    if (next < 0) return SYSCALL(close_range, first, ~0U, 0);
    if (next > first) r = SYSCALL(close_range, first, next - 1, 0);
    first = next + 1;
  }
  return r;
}

/* Lets go of what the stage needs no more once the payload has started: the plan, and every fd but its
   control socket, the sight of its maker and its children, and what it is to keep; and capabilities but those that it
   can pass on to another payload. A stage that can be looked into keeps the guard, too, without which nobody inside
   may. */
static long let_go(struct watch *watch, long capabilities, long guard) {
  enum { OWN = 3 };
  int kept[OWN + MAX_KEPT] = { CONTROL, FIRST_FD + REGISTER_MAKER, watch->children };
  struct call none = { 0 };
  struct call held = { .arguments = { { 0 }, { capabilities | guard }, { capabilities } } };
  for (int i = 0; i < stage.kept_count; i++) kept[OWN + i] = stage.kept[i];
  long r = close_all_but(kept, OWN + stage.kept_count);
  if (r >= 0) r = SYSCALL(munmap, stage.plan, stage.plan_size);
  if (r >= 0) r = kernel_capset(&held);
  if (r >= 0) r = kernel_no_new_privs(&none);
  if (r >= 0) r = watch->signals = (int)open_child_signals();
  return r;
}

/* Of a maker with our uid this is Landlock's doing: the proof, before a signal is sent to everybody. */
static int cannot_signal_maker(void) {
  return SYSCALL(pidfd_send_signal, FIRST_FD + REGISTER_MAKER, 0, 0, 0) == -EPERM;
}

/* In the child: the fork is done. */
static _Noreturn void continue_forked(void *unused) {
  finish_operation(&stage.machine);
  continue_plan(unused);
}

/*
 * Splits the stage: the child goes on with the plan, as PID 1 where `kinds` has a new PID namespace,
 * and becomes the payload; the parent stays as the reaper. The child shares our memory and runs
 * alone until it executes its program or ends (vfork), so success is known without a message.
 */
long stage_fork(struct call *call) {
  char stack[STACK_SIZE] __attribute__((aligned(16)));
  struct clone_args args = {
    .flags = CLONE_VM | CLONE_VFORK | (uint64_t)ARG_INT(0),
    .exit_signal = SIGCHLD,
  };
  unsigned index = stage.machine.index;
  stage.pid = SYSCALL(getpid, 0);
  long payload = clone_call(&args, stack + sizeof stack, continue_forked, 0);
  stage.control = CONTROL; /* the child's fds are its own */
  if (payload < 0) return payload;
  if (stage.failed) leave(125);
  struct watch watch = {
    .payload = payload,
    .detached = ARG_INT(1) != 0,
    .lingers = ARG_INT(1) == LINGERING,
    .children = ARG_FD(2) >= 0 ? ARG_FD(2) : -1,
    .confined = ARG_INT(3) && cannot_signal_maker(),
  };
  long r = let_go(&watch, ARG_INT(4), ARG_INT(5));
  if (r < 0) {
    SYSCALL(kill, payload, SIGKILL);
    stage.machine.index = index;
    report_failure(r);
  }
  struct record started = { .kind = RECORD_STARTED };
  started.held = stage.held;
  started.held.skipped_count = stage.machine.skipped_count;
  for (int i = 0; i < MAX_SKIPPED; i++) started.held.skipped[i] = stage.machine.skipped[i];
  reap(&watch, &started);
}

long end_with(long parent) {
  long r = SYSCALL(prctl, PR_SET_PDEATHSIG, SIGKILL);
  if (r < 0) return r;
  long now = SYSCALL(getppid, 0);
  return now == parent || now == 0 ? 0 : -ESRCH;
}

/* The payload's process does not outlive the stage that it was split from. */
long stage_end_with_parent(struct call *call) {
  (void)call;
  return end_with(stage.pid);
}

void continue_plan(void *unused) {
  (void)unused;
  long r = execute_operations(&stage.machine);
  report_failure(r < 0 ? r : -ENOEXEC); /* a plan ends with execve, which does not return */
}

/* Maps the plan, which nobody else has any more: no copy is made of its pages. It comes next to the
   program, into the same page tables. */
static struct plan_header *map_plan(void) {
  long end = SYSCALL(lseek, PLAN, 0, SEEK_END_);
  if (end < (long)sizeof(struct plan_header)) report_failure(end < 0 ? end : -EPROTO);
  uintptr_t near = ((uintptr_t)&stage + PLAN_ALIGNMENT) & ~((uintptr_t)PLAN_ALIGNMENT - 1);
  long plan = SYSCALL(mmap, near, end, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, PLAN, 0);
  if (plan < 0 && plan > -4096) report_failure(plan);
  SYSCALL(close, PLAN);
  stage.plan = (struct plan_header *)plan;
  stage.plan_size = (size_t)end;
  return stage.plan;
}

void run_plan(void) {
  struct plan_header *header = map_plan();
  if (header->magic != PLAN_MAGIC || header->version != PLAN_VERSION) report_failure(-EPROTO);
  stage.machine.registers = (int32_t *)(header + 1);
  stage.machine.next = (char *)(header + 1) + (header->registers * sizeof(int32_t) + 7) / 8 * 8;
  stage.machine.times = (plan_time *)((char *)header + stage.plan_size) - header->times;
  stage.machine.time_count = header->times;
  stage.machine.end = (char *)stage.machine.times;
  note_time(&stage.machine, 0);
  continue_plan(0);
}

_Noreturn __attribute__((used)) void stage_main(void);
void stage_main(void) {
  struct call none = { 0 };
  long r = kernel_default_signals(&none); /* with SIGCHLD ignored nothing could be waited for */
  if (r < 0) report_failure(r);
  SYSCALL(umask, 0); /* the modes in the plan are meant as they are */
  run_plan();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall stage_main\n\tud2\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tbl stage_main\n\tbrk #1\n");
#endif
