/* File descriptors. */
#include "kernel.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <asm-generic/errno.h>
#include <linux/resource.h>

/* Writes everything or fails. */
long write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    long n = SYSCALL(write, fd, data, size);
    if (n == -EINTR) continue;
    if (n < 0) return n;
    data += n;
    size -= (size_t)n;
  }
  return 0;
}

long write_once(int fd, const char *data, size_t size) {
  long n = SYSCALL(write, fd, data, size);
  return n < 0 ? n : (size_t)n == size ? 0 : -EIO;
}

long raise_open_files(uint64_t needed) {
  struct rlimit64 limits;
  long r = SYSCALL(prlimit64, 0, RLIMIT_NOFILE, 0, &limits);
  if (r < 0 || limits.rlim_cur >= needed) return r;
  limits.rlim_cur = needed < limits.rlim_max ? needed : limits.rlim_max;
  return SYSCALL(prlimit64, 0, RLIMIT_NOFILE, &limits, 0);
}

long place_fds(const int *fds, size_t count, int first) {
  long r = 0;
  for (size_t i = count; r >= 0 && i-- > 0;)
    if (fds[i] >= 0) r = SYSCALL(dup3, fds[i], first + (int)i, 0);
  return r;
}

long close_others(int first, size_t count) {
  long r = SYSCALL(close_range, first + (int)count, ~0U, 0);
  return r < 0 ? r : SYSCALL(close_range, 0, first - 1, 0);
}

/** All of it in one call, as the files of /proc want it. @see write(2) */
long kernel_write(struct call *call) { return write_once(ARG_FD(0), ARG_STR(1), ARG_SIZE(1)); }

/** @see close_range(2) */
long kernel_close_range(struct call *call) {
  return SYSCALL(close_range, (unsigned)ARG_INT(0), (unsigned)ARG_INT(1), ARG_INT(2));
}

/** @see close(2) */
long kernel_close(struct call *call) { return SYSCALL(close, ARG_FD(0)); }

/** @see flock(2) */
long kernel_flock(struct call *call) { return SYSCALL(flock, ARG_FD(0), ARG_INT(1)); }

/** @see fchown(2) */
long kernel_fchown(struct call *call) { return SYSCALL(fchown, ARG_FD(0), ARG_INT(1), ARG_INT(2)); }

/** Makes `number` a copy of the fd, open across execve. @see dup3(2) */
long kernel_dup(struct call *call) {
  if (ARG_FD(0) == (int)ARG_INT(1)) return SYSCALL(fcntl, ARG_FD(0), F_SETFD, 0);
  long r = SYSCALL(dup3, ARG_FD(0), ARG_INT(1), 0);
  return r < 0 ? r : 0;
}

/** A copy of the fd, with the first free number from `minimum` on. @see F_DUPFD_CLOEXEC(2const) */
long kernel_dup_above(struct call *call) {
  return SYSCALL(fcntl, ARG_FD(0), F_DUPFD_CLOEXEC, ARG_INT(1));
}

/** Locks a file against writers, who ask for that with fcntl(2), as long as this fd or a copy of it is open.
    @see F_OFD_SETLK(2const) */
long kernel_read_lock(struct call *call) {
  struct flock whole = { .l_type = F_RDLCK };
  return SYSCALL(fcntl, ARG_FD(0), F_OFD_SETLK, &whole);
}
