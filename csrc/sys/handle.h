/* What the files about stages share: the handle of one, and what Lua says of a plan's fds. */
#ifndef NSLUA_SYS_HANDLE_H
#define NSLUA_SYS_HANDLE_H

#include "../stage/execute.h"
#include "sys.h"

#include <sys/types.h>

#define STAGE_TYPE "nslua.stage"

struct stage_handle {
  pid_t pid;
  pid_t maker; /* a forked copy of the host neither kills nor reaps */
  int pidfd;
  int control;
  int plan; /* of a timed one, else -1 */
  size_t times;
  int detached; /* goes on without its maker */
  int own_pids; /* its end is the end of everything in it */
  int joining; /* so many next messages are its pidfd: it is made by another stage, or once more by itself */
  int terminal;  /* the one behind that is the payload's terminal */
  int mapped;    /* a message tells when its ids can be mapped */
  int announces; /* one tells when all is set up */
  int started;
  int reaped;
};

/* The handle at index 1 (stage.c). */
struct stage_handle *check_stage(lua_State *L);

/* Pushes the name of a record, and what it tells; returns how many values (record.c). */
int push_record(lua_State *L, const struct record *record);

/* The fds of the table on the stack top, by register, in a userdata that replaces it (process.c). */
int *read_fds(lua_State *L, size_t count);

/* The method stage:exec (process.c). */
int stage_exec(lua_State *L);

#endif
