/* The executor of operations: in the stage, and in the maker for what must be opened before. */
#ifndef NSLUA_STAGE_EXECUTE_H
#define NSLUA_STAGE_EXECUTE_H

#include "../kernel/kernel.h"
#include "wire.h"

struct machine {
  char *next, *end; /* the operations still to run */
  int32_t *registers;
  unsigned index;        /* of the operation that runs */
  unsigned detail;       /* of the one that failed */
  char found[MAX_FOUND]; /* by it, likewise */
  int *listener;         /* see struct call */
  uint32_t skipped_count;
  uint16_t skipped[MAX_SKIPPED];
  plan_time *times; /* of a plan that is timed */
  uint64_t time_count;
};

/* Notes when the machine began (0), or the operation before `slot` was done, where the plan is timed. */
void note_time(struct machine *machine, unsigned slot);

/* The operation that runs is done. */
void finish_operation(struct machine *machine);

/* Runs operations until the end (0) or the first failure (-errno; index and detail tell which). */
long execute_operations(struct machine *machine);

#define PRIMITIVE(name, result, parameters) primitive stage_##name;
#include "primitives.def"
#undef PRIMITIVE

#endif
