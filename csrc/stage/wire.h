/*
 * What travels between the maker of a sandbox and its stage: the plan on its way in, records on
 * their way out, commands to the reaper. Everything is position-independent.
 *
 * A plan is a header, the registers, operations, and the times at its end. An operation is a header, its
 * arguments, and their data; offsets count from the operation's start, so operations can be
 * concatenated freely.
 */
#ifndef NSLUA_STAGE_WIRE_H
#define NSLUA_STAGE_WIRE_H

#include "../kernel/kernel.h"

#include <stdint.h>

enum { PLAN_MAGIC = 0x706c736e, PLAN_VERSION = 1 };

/* The stage gets register i as fd FIRST_FD + i and nothing else open. */
enum { FIRST_FD = 64, REGISTER_ABSENT = -1 };

/* Of fork's argument `detached`: 1, the stage goes on without its maker; this, also without the payload. */
enum { LINGERING = 2 };

/* Open files that it may have besides. */
enum { SPARE_FDS = 64 };

/* The registers that every plan starts with. */
enum { REGISTER_CONTROL, REGISTER_MAKER, REGISTER_PLAN, REGISTER_FREE };

struct plan_header {
  uint32_t magic;
  uint16_t version;
  uint16_t registers; /* how many; they follow as int32_t, padded to a multiple of 8 bytes */
  uint64_t times;     /* how many; see below */
};

/* What a stage notes at the end of a timed plan, of which its maker keeps sight: when it began, and then, by the index
   of the operation, when each one was done. Nanoseconds of CLOCK_REALTIME, the same in all time namespaces. */
typedef uint64_t plan_time;

enum wire_kind { WIRE_ABSENT, WIRE_INTEGER, WIRE_REGISTER, WIRE_DATA, WIRE_LIST };

struct wire_argument {
  uint32_t kind;
  uint32_t size; /* of data in bytes, of a list in entries */
  int64_t value; /* integer, register number, or the offset of the data */
};

enum { MAX_TOLERATED = 4 };

/* Flags of an operation. */
enum {
  OPERATION_NOTED = 1, /* when it is skipped, say so in the record of what is held */
};

struct operation {
  uint16_t primitive;
  uint8_t arguments;
  uint8_t flags;
  uint32_t size;                    /* of the whole operation, a multiple of 8 */
  int16_t result;                   /* the register of the fd it returns, or REGISTER_ABSENT */
  uint16_t note;                    /* the maker's own: what the operation belongs to */
  uint8_t tolerated[MAX_TOLERATED]; /* errnos that are no failure: the operation is skipped */
  struct wire_argument argument[];
};

enum record_kind {
  RECORD_FAILED = 1,
  RECORD_STARTED,
  RECORD_RECORDED,
  RECORD_ENDED,
  RECORD_TERMINAL,
  RECORD_READY,
  RECORD_JOINED
};

enum { MAX_SKIPPED = 256, NAMESPACE_KINDS = 8, MAX_RECORDED = 64 };

/* System calls with numbers below this are recorded. No kernel has any above, whatever a filter says. */
enum { RECORDED_CALLS = 1024 };

/* What the payload held just before its program started. */
struct held {
  uint64_t effective, permitted, inheritable, bounding, ambient;
  uint32_t uid, gid, groups, securebits;
  uint32_t no_new_privs;
  uint32_t namespaces[NAMESPACE_KINDS]; /* inodes, as the flag set is ordered; 0: unknown */
  uint32_t skipped_count;
  uint16_t skipped[MAX_SKIPPED]; /* operations that were skipped, by index */
};

struct usage {
  uint64_t user_us, system_us;
  uint64_t maxrss_kib;
  uint64_t minor_faults, major_faults;
  uint64_t voluntary_switches, involuntary_switches;
};

/* How often a filter would have stopped which system call. */
struct recorded {
  uint32_t count;
  struct recorded_call {
    uint32_t number, count;
  } calls[MAX_RECORDED];
};

/* One message on the control socket, in the order: JOINED, with the stage's pidfd, of one that another stage has made,
   as often as it makes itself once more (or FAILED); READY, where its ids are mapped by others; TERMINAL, with an fd,
   where one is made; READY, where the maker wants to know; then FAILED, or STARTED, RECORDED (none, or as many as it
   takes) and ENDED. */
struct record {
  uint32_t kind;
  int32_t status;     /* FAILED: errno. RECORDED: whether there may be more. ENDED: wait status. */
  uint32_t operation; /* FAILED: its index in the plan */
  uint32_t detail;    /* FAILED: see struct call */
  union {
    struct held held;         /* STARTED; READY: its namespaces */
    struct recorded recorded; /* RECORDED */
    struct usage usage;       /* ENDED */
    char found[MAX_FOUND];    /* FAILED: see struct call */
  };
};

/* A message to the stage: GO once its ids are mapped, once it is known where it has made itself once more, once we have
   the terminal, and as an answer to READY; then signals for the payload, or for its process group; END of the payload
   and the stage; EXEC, with the fds of another stage, which its plan counts from FIRST_FD on: it is made as a child of
   this one, inside of everything that the payload is in. */
enum command_kind { COMMAND_GO = 1, COMMAND_KILL, COMMAND_KILL_GROUP, COMMAND_END, COMMAND_EXEC };

/* As many fds as one message carries. */
enum { MAX_SENT = 253 };

struct command {
  uint32_t kind;
  int32_t signal;
};

#endif
