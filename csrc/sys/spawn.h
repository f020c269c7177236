/* Spawning a stage. Pure C: knows no Lua. */
#ifndef NSLUA_SYS_SPAWN_H
#define NSLUA_SYS_SPAWN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A file of the child's own /proc/self that it opens for writing before its exec, into a register:
   afterwards, being beyond everybody's reach, it could not. */
struct proc_file {
  int fd_register;
  const char *name;
};

enum { MAX_PROC_FILES = 8, MAX_JOINS = 8 };

/* In the table of fds: there is none, or the child opens it. */
enum { FD_NONE = -1, FD_OF_CHILD = -2 };

struct spawn {
  /* what is wanted */
  uint64_t namespaces;    /* CLONE_NEW… flags */
  int joins[MAX_JOINS];   /* namespaces to join before they are made, */
  int join_count;         /* a user namespace first */
  int cgroup;             /* the directory of a control group (v2) that it is made in, or -1 */
  uint64_t capabilities;  /* that the stage keeps across its exec, in the new user namespace */
  const char *operations; /* of the recipe, */
  size_t operations_size;
  const char *payload; /* then of the run */
  size_t payload_size;
  int *fds; /* by register, or FD_NONE or FD_OF_CHILD; the first ones are filled in here */
  size_t fd_count;
  struct proc_file proc_files[MAX_PROC_FILES];
  int proc_file_count;
  const char *uid_map; /* written by us, the maker, when not NULL: the plan awaits it */
  const char *gid_map;
  int is_sent; /* the fds are sent: their numbers in the stage leave no gap where there is none */
  const char *name; /* what /proc shows of the stage besides "nslua", or NULL */
  uint64_t times;   /* that the stage is to note, or 0 */

  /* what came of it */
  pid_t pid;
  int pidfd;
  int control;
  int plan;         /* where it notes times, else -1 */
  const char *step; /* on failure: what was tried */
};

/* Returns 0, or an errno with `step` set; then nothing is left behind. */
int spawn_stage(struct spawn *spawn);

/* Asks the stage behind a control socket for another one, inside of all that it is in. Operations, payload and fds are
   used, and control is set; the pidfd comes as its first record. Returns as spawn_stage. */
int join_stage(struct spawn *spawn, int control);

/* What the errno of a send to a stage means: ESRCH when it has ended. */
int send_failure(int error);

/* Sends SIGKILL by pidfd; 0 or -errno. */
long kill_process(int pidfd);

/* Waits for the end of a process and takes its zombie if it is still ours to take. Returns the wait
   status, or -1 when somebody else (SIGCHLD ignored, a waitpid(-1) loop) took it. */
int reap_process(int pidfd);

#endif
