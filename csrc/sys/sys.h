/* What the files of nslua.sys share: handles, argument reading, results. */
#ifndef NSLUA_SYS_SYS_H
#define NSLUA_SYS_SYS_H

#include "row.h"

#include <lauxlib.h>
#include <lua.h>

/* -- results (result.c) -- */

/* Pushes nil, "what: reason (ENAME)", errno; `what` may be NULL. */
int push_failure(lua_State *L, const char *what, int error);
/* Pushes a string with control characters and what is no UTF-8 escaped, so that a hostile name cannot act on a terminal. */
void push_escaped(lua_State *L, const char *s, size_t n);
/* Sets a field of the table on the stack top. */
void set_integer(lua_State *L, const char *key, uint64_t value);

/* -- types (sys.c) -- */

/* Makes the metatable of a userdata type: its methods, and its metamethods. */
void new_type(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods);
/* luaL_testudata of a type whose metatable is at an index already: looking it up by name takes longer than what most
   methods do. */
void *test_type(lua_State *L, int index, int metatable);

/* -- fds (fd.c) -- */

#define FD_TYPE "nslua.fd"
/* Creates a closed handle on the stack top; store the fd when it exists. */
int *push_fd(lua_State *L);
/* The fd of an integer, a handle or a Lua file; raises otherwise, or when it is closed. */
int check_fd(lua_State *L, int index);
/* Moves a new fd above 2, where a host's closed stdio might have put it; -1 stays -1. */
int above_stdio(int fd);

/* -- arguments (arguments.c) -- */

enum value_kind { VALUE_ABSENT, VALUE_INTEGER, VALUE_FD, VALUE_REGISTER, VALUE_BYTES, VALUE_LIST };

/* An argument as read from Lua. Strings and lists stay on the Lua stack while it is in use. */
struct value {
  enum value_kind kind;
  long integer;      /* INTEGER, FD, REGISTER, and the value of ABSENT */
  const char *bytes; /* BYTES */
  size_t size;       /* BYTES: bytes; LIST: entries */
  int index;         /* LIST, FD: where on the Lua stack */
};

/* Reads the arguments of a row from the Lua stack, the first one at `first`; raises on misuse.
   Registers are accepted only when recording: by the index of their metatable, or 0. */
int read_arguments(lua_State *L, const struct row *row, int first, int registers,
                   struct value *values);
long check_flags(lua_State *L, int index, const struct flag *flags);
/* A string without NUL, where C would end it. */
const char *check_text(lua_State *L, int index);
/* An integer of 32 bits, signed or not. */
long check_int(lua_State *L, int index);

/* -- libraries: each pushes nothing and adds its functions to the table on the stack top -- */
void open_now(lua_State *L);            /* now.c: the primitives, run now */
void open_plan(lua_State *L);           /* plan.c: the primitives, recorded */
void open_fd(lua_State *L);             /* fd.c */
void open_io(lua_State *L);             /* io.c */
void open_image(lua_State *L);          /* image.c */
void open_buffer(lua_State *L);         /* buffer.c */
void open_terminal(lua_State *L);       /* terminal.c */
void open_signals(lua_State *L);        /* signals.c */
void open_system(lua_State *L);         /* system.c */
void open_stage(lua_State *L);          /* stage.c */
void open_process(lua_State *L);        /* process.c */
void open_execute(lua_State *L);        /* execute.c */
void open_clone(lua_State *L);          /* clone.c */
void open_capability(lua_State *L);     /* capability.c */
void open_new_namespaces(lua_State *L); /* namespaces.c */
void open_syscalls(lua_State *L);       /* syscalls.c */

int luaopen_nslua_sys(lua_State *L);

#endif
