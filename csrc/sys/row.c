#include "row.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/ioprio.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

/* sys/mount.h and linux/mount.h do not go together everywhere: these are the latter's. */
enum { MNT_FORCE = 1, MNT_DETACH = 2, MNT_EXPIRE = 4, UMOUNT_NOFOLLOW = 8 };
#ifndef MS_NOSYMFOLLOW
enum { MS_NOSYMFOLLOW = 256 };
#endif

#define FLAG_SET(set) static const struct flag flags_##set[] = {
#define FLAG(name, value) { name, (long)(value) },
#define END_SET(others)                                                                            \
  { NULL, (long)(others) }                                                                         \
  }                                                                                                \
  ;
#include "../kernel/flags.def"
#undef FLAG_SET
#undef FLAG
#undef END_SET

static const struct {
  const char *name;
  const struct flag *flags;
} sets[] = {
#define FLAG_SET(set) { #set, flags_##set },
#define FLAG(name, value)
#define END_SET(others)
#include "../kernel/flags.def"
#undef FLAG_SET
#undef FLAG
#undef END_SET
};

#define P(kind, name) { KIND_##kind, #name, NULL },
#define FLAGS(set, name) { KIND_FLAGS, #name, flags_##set },

const struct row rows[] = {
#define PRIMITIVE(name, result, parameters)                                                        \
  { #name, kernel_##name, RESULT_##result,                                                         \
    (const struct parameter[]){ parameters{ 0, NULL, NULL } } },
#include "../kernel/primitives.def"
#undef PRIMITIVE
#define PRIMITIVE(name, result, parameters)                                                        \
  { #name, NULL, RESULT_##result, (const struct parameter[]){ parameters{ 0, NULL, NULL } } },
#include "../stage/primitives.def"
#undef PRIMITIVE
};

const int row_count = sizeof rows / sizeof *rows;

int parameter_count(const struct row *row) {
  int n = 0;
  while (row->parameters[n].kind) n++;
  return n;
}

const struct flag *flag_set(const char *name) {
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if (strcmp(sets[i].name, name) == 0) return sets[i].flags;
  return NULL;
}
