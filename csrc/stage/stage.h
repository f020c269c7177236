/* The state of the stage: one process, one sandbox. */
#ifndef NSLUA_STAGE_STAGE_H
#define NSLUA_STAGE_STAGE_H

#include "execute.h"

enum { MAX_KEPT = 64, CONTROL = FIRST_FD + REGISTER_CONTROL };

struct stage {
  struct plan_header *plan;
  size_t plan_size;
  struct machine machine;
  struct held held;
  long pid;         /* of the one that has split */
  int control;      /* the way to report */
  int awaits_leave; /* it ends when its maker has read what its group counted */
  int failed;       /* set in the payload's process, which shares this memory until it executes */
  struct recorder *recorder; /* NULL without one */
  int kept[MAX_KEPT];        /* fds that stay open as long as the sandbox */
  int kept_count;
};

extern struct stage stage;

/* Sends a record to the maker. */
long report(struct record *record);
_Noreturn void report_failure(long failure);

/* Reads the plan and runs it. */
_Noreturn void run_plan(void);

/* The caller ends with its parent, which must be this process, or one that it cannot see. */
long end_with(long parent);

/* Makes a child that becomes a stage with these fds (another.c). */
void start_another(const int *fds, size_t count);

/* Runs what is left of the plan; its last operation is the payload's execve. */
_Noreturn void continue_plan(void *unused);

/* What the recorder (recorder.c) has counted, for the maker; and that a child has ended, which may be it. */
void report_recorded(void);
void note_end(long pid, int status);

/* What the reaper watches over. */
struct watch {
  long payload;
  int detached; /* goes on without the maker */
  int lingers;  /* and without the payload, until nobody is left */
  int children; /* an fd of /proc/thread-self/children where there is no PID namespace, else -1 */
  int confined; /* whether Landlock lets our signals reach nobody but the sandbox */
  int signals;  /* a signalfd of SIGCHLD */
};

/* The signalfd, or -errno. */
long open_child_signals(void);

/* Tells of the start, waits for the payload, reaps orphans, obeys the maker, and ends the sandbox. */
_Noreturn void reap(struct watch *watch, struct record *started);

_Noreturn void leave(int status);

#endif
