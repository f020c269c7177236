/* The executor of operations: in the stage, and in the maker for what must be opened before. */
#ifndef NSLUA_STAGE_EXECUTE_H
#define NSLUA_STAGE_EXECUTE_H

#include "../kernel/kernel.h"
#include "wire.h"

struct machine {
  char *next, *end; /* the operations still to run */
  int32_t *registers;
  unsigned index;  /* of the operation that runs */
  unsigned detail; /* of the one that failed */
  int *listener;   /* see struct call */
  uint32_t skipped_count;
  uint16_t skipped[MAX_SKIPPED];
};

/* Runs operations until the end (0) or the first failure (-errno; index and detail tell which). */
long execute_operations(struct machine *machine);

#define PRIMITIVE(name, result, parameters) primitive stage_##name;
#include "primitives.def"
#undef PRIMITIVE

#endif
