/* The state of the stage: one process, one sandbox. */
#ifndef NSLUA_STAGE_STAGE_H
#define NSLUA_STAGE_STAGE_H

#include "execute.h"

struct stage {
  struct machine machine;
  struct held held;
  int failed; /* set in the payload's process, which shares this memory until it executes */
};

extern struct stage stage;

/* Sends a record to the maker; if nobody is there any more, that is noticed elsewhere. */
void report(struct record *record);
_Noreturn void report_failure(long failure);

/* Runs what is left of the plan; its last operation is the payload's execve. */
_Noreturn void continue_plan(void *unused);

/* Waits for the payload, reaps orphans, obeys the maker, and ends the sandbox. `children` is an fd
   of /proc/thread-self/children where there is no PID namespace, else -1. */
_Noreturn void reap(long payload, int detached, int children);

_Noreturn void leave(int status);

#endif
