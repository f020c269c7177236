/*
 * The primitives: one function a row of primitives.def. A primitive runs now, in the process that
 * calls it, or in the child, as an operation of a plan; it cannot tell which.
 *
 * Nothing here allocates, uses libc or knows Lua. A primitive returns >= 0 or -errno.
 */
#ifndef NSLUA_KERNEL_KERNEL_H
#define NSLUA_KERNEL_KERNEL_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_ARGUMENTS = 8, MAX_FOUND = 512 };

/* An argument as a primitive sees it: an integer, an fd, or a pointer with a size (bytes of a
   string without its NUL, or entries of a list). An absent optional argument is 0 / NULL / -1. */
struct argument {
  long value;
  unsigned long size;
};

/* One call: its arguments; on failure where in its path argument the trouble is (the offset just behind
   the component, 0 when unknown), and room for what was found there, or NULL; where somebody waits for the fd of a
   filter that notifies, or NULL. */
struct call {
  struct argument arguments[MAX_ARGUMENTS];
  unsigned detail;
  char *found; /* MAX_FOUND bytes, ends with NUL */
  int *listener;
};

typedef long primitive(struct call *);

#define ARG_INT(n) (call->arguments[n].value)
#define ARG_FD(n) ((int)call->arguments[n].value)
#define ARG_STR(n) ((const char *)call->arguments[n].value)
#define ARG_SIZE(n) (call->arguments[n].size)
#define ARG_LIST(n) ((char **)call->arguments[n].value)

#define PRIMITIVE(name, result, parameters) primitive kernel_##name;
#include "primitives.def"
#undef PRIMITIVE

/* Strings (text.c). */
size_t text_length(const char *s);
int text_equal(const char *a, const char *b);
char *text_append(char *to, const char *from);
char *text_append_number(char *to, unsigned long n);

/* A whole buffer to an fd, or all of it in one write(2) (fds.c). */
long write_all(int fd, const char *data, size_t size);
long write_once(int fd, const char *data, size_t size);

/* Makes the inheritable set this mask, and raises the ambient set to it: execve keeps that (ids.c). */
long raise_ambient(uint64_t capabilities);

/* Room for so many open files, as far as the hard limit allows it (fds.c). */
long raise_open_files(uint64_t needed);

/* Makes fds the numbers first, first + 1, …, but for those that are negative. From the last to the first: none may lie
   above its own new number, so that none is overwritten before its turn. Then all but them can be closed (fds.c). */
long place_fds(const int *fds, size_t count, int first);
long close_others(int first, size_t count);

/* openat2(2), CLOEXEC; the type bits of what an fd refers to, or -errno; closes an fd, if it is one and another than
   `kept` (paths.c). */
long open_at(int dirfd, const char *path, unsigned long flags, unsigned long mode,
             unsigned long resolve);
long file_type(int fd);
void close_unless(long fd, int kept);

/* Makes of the first `length` bytes of a path to a directory below `root` one without symbolic links, as far as it
   exists: into `result`, which has room for `size` bytes. Links lead from the root on, and "..", never out of it; a
   magic link is refused (ELOOP), and one that leads to nothing is ENOENT (links.c). */
long follow_links(int root, const char *path, size_t length, char *result, size_t size);

/* A file of /proc/PID (0: of the caller) for writing, if it really is on procfs: a map written
   elsewhere would be believed in vain, CVE-2019-16884 (ids.c). */
long open_proc(long pid, const char *name);

/* How execve goes about it. */
enum { REFUSE_SETID_FILES = 1, EXECUTE_SCRIPTS = 2 };

/* One of the filters of execve, which follow one another: flags as of the primitive seccomp, and the
   program, an array of struct sock_filter. */
struct filter {
  uint32_t flags;
  uint32_t size; /* in bytes */
  char program[];
};

/* Installs those that are argument `n`, one after the other; on failure `number` says which one it was (filter.c). */
long install_filters(const struct call *call, int n, unsigned *number);

/* Runs child(data) in a new process on the stack that ends at `stack_top` (clone.c). `args` is a
   struct clone_args; the new process never returns. Falls back to clone(2) without clone3. */
struct clone_args;
long clone_call(struct clone_args *args, void *stack_top, void (*child)(void *), void *data);

#endif
