/* The table of primitives as Lua sees it: names, parameters, the names of flags. */
#ifndef NSLUA_SYS_ROW_H
#define NSLUA_SYS_ROW_H

#include "../kernel/kernel.h"

enum result { RESULT_DONE, RESULT_FD, RESULT_NUMBER };

enum parameter_kind {
  KIND_STR = 1,
  KIND_BYTES,
  KIND_LIST,
  KIND_INT,
  KIND_LONG,
  KIND_SHORT,
  KIND_INTS,
  KIND_MODE,
  KIND_FD,
  KIND_FLAGS,
  KIND_OR_NONE = 16,
  KIND_LIST_OR_NONE = KIND_LIST | KIND_OR_NONE,
  KIND_BYTES_OR_NONE = KIND_BYTES | KIND_OR_NONE,
  KIND_STR_OR_NONE = KIND_STR | KIND_OR_NONE,
  KIND_INT_OR_NONE = KIND_INT | KIND_OR_NONE,
  KIND_MODE_OR_NONE = KIND_MODE | KIND_OR_NONE,
  KIND_FD_OR_NONE = KIND_FD | KIND_OR_NONE,
};

/* A set of flags ends with a NULL name: its value are the bits that an integer may have besides those of the names. */
struct flag {
  const char *name;
  long value;
};

struct parameter {
  int kind;
  const char *name;
  const struct flag *flags;
};

struct row {
  const char *name;
  primitive *function; /* NULL: it can only be recorded */
  enum result result;
  const struct parameter *parameters; /* ends with kind 0 */
};

extern const struct row rows[];
extern const int row_count;

int parameter_count(const struct row *row);

/* The set of flags with this name; NULL when there is none. */
const struct flag *flag_set(const char *name);

#endif
