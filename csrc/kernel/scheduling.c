/* When and where the caller runs: its priorities, its processors. */
#include "kernel.h"
#include "syscall.h"

#include <asm-generic/errno.h>
#include <linux/ioprio.h>
#include <linux/prctl.h>
#include <linux/resource.h>

enum { MAX_CPUS = 4096, WORD_BITS = 8 * sizeof(unsigned long), WORDS = MAX_CPUS / WORD_BITS };

/** The nice value, from 19 down to -20, the highest priority. @see setpriority(2) */
long kernel_setpriority(struct call *call) {
  return SYSCALL(setpriority, PRIO_PROCESS, 0, ARG_INT(0));
}

/** The class, and in it the level: 0 is served first, 7 last. @see ioprio_set(2) */
long kernel_ioprio_set(struct call *call) {
  long level = ARG_INT(1);
  if (level < 0 || level >= IOPRIO_NR_LEVELS) return -EINVAL; /* higher bits are the class's */
  return SYSCALL(ioprio_set, IOPRIO_WHO_PROCESS, 0, ARG_INT(0) << IOPRIO_CLASS_SHIFT | level);
}

/** The processors that the caller may run on, all of them: the kernel leaves out what is absent or outside the
    cpuset without a word, this is EINVAL. @see sched_setaffinity(2) */
long kernel_sched_setaffinity(struct call *call) {
  const uint32_t *cpus = (const uint32_t *)ARG_STR(0);
  unsigned long wanted[WORDS] = { 0 }, given[WORDS] = { 0 };
  for (size_t i = 0; i < ARG_SIZE(0) / sizeof *cpus; i++) {
    if (cpus[i] >= MAX_CPUS) return -EINVAL;
    wanted[cpus[i] / WORD_BITS] |= 1UL << cpus[i] % WORD_BITS;
  }
  long r = SYSCALL(sched_setaffinity, 0, sizeof wanted, wanted);
  if (r >= 0) r = SYSCALL(sched_getaffinity, 0, sizeof given, given);
  for (int i = 0; r >= 0 && i < WORDS; i++)
    if (given[i] != wanted[i]) r = -EINVAL;
  return r;
}

/** Gives the caller's threads and what it forks from here on a cookie of their own: no other process runs on the
    other hardware threads of a core while they do. @see PR_SCHED_CORE(2const) */
long kernel_core_scheduling(struct call *call) {
  (void)call;
  return SYSCALL(prctl, PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP,
                 0);
}
