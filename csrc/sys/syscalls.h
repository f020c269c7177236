/* What is generated when nslua is built: the machine's system calls, and the default filter. */
#ifndef NSLUA_SYS_SYSCALLS_H
#define NSLUA_SYS_SYSCALLS_H

#include <stddef.h>
#include <stdint.h>

struct syscall {
  const char *name;
  int number;
};

extern const struct syscall syscalls[]; /* sorted; ends with a NULL name */
extern const uint32_t audit_arch;
extern const uint64_t default_filter[]; /* struct sock_filter */
extern const size_t default_filter_size;

#endif
