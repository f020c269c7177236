/*
 * A system call filter with one purpose: no set-user-id or set-group-id file is made, and none with
 * capabilities (an extended attribute, and as such behind a pointer: so none is set at all). Root's
 * binds are idmapped, so what the payload makes there belongs to the owner of the tree, who may be
 * root; a program with these would give any other user of the host that owner's rights.
 */
#include "kernel.h"
#include "syscall.h"

#include <asm-generic/errno.h>
#include <linux/audit.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#else
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

enum { SETID_BITS = 06000, X32_BIT = 0x40000000, CREATING = O_CREAT | __O_TMPFILE };
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif
#ifndef __NR_setxattrat
#define __NR_setxattrat 463
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* The low half of an argument: all that the kernel looks at in a mode or in open's flags. */
#define LOAD_ARGUMENT(n)                                                                           \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * (n))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
/* Skips `n` instructions unless the accumulator is (has one of the bits of) `k`. */
#define UNLESS_EQUAL_SKIP(k, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, (n))
#define UNLESS_ANY_SKIP(k, n) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (k), 0, (n))
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))

/* A call whose argument `n` is a mode. */
#define MODE_CALL(name, n)                                                                         \
  UNLESS_EQUAL_SKIP(__NR_##name, 4), LOAD_ARGUMENT(n), UNLESS_ANY_SKIP(SETID_BITS, 1),             \
      REFUSE(EPERM), RETURN(SECCOMP_RET_ALLOW)
/* A call whose argument `n` are the flags of open, and the next a mode if they create. */
#define OPEN_CALL(name, n)                                                                         \
  UNLESS_EQUAL_SKIP(__NR_##name, 6), LOAD_ARGUMENT(n), UNLESS_ANY_SKIP(CREATING, 3),               \
      LOAD_ARGUMENT((n) + 1), UNLESS_ANY_SKIP(SETID_BITS, 1), REFUSE(EPERM),                       \
      RETURN(SECCOMP_RET_ALLOW)
#define ABSENT_CALL(name) UNLESS_EQUAL_SKIP(__NR_##name, 1), REFUSE(ENOSYS)
#define ATTRIBUTE_CALL(name) UNLESS_EQUAL_SKIP(__NR_##name, 1), REFUSE(EOPNOTSUPP)

static const struct sock_filter no_setid_files[] = {
  LOAD(arch),
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
  RETURN(SECCOMP_RET_KILL_PROCESS),
  LOAD(nr),
#if defined(__x86_64__)
  BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
  REFUSE(ENOSYS),
  MODE_CALL(chmod, 1),
  MODE_CALL(creat, 1),
  MODE_CALL(mknod, 1),
  OPEN_CALL(open, 1),
#endif
  MODE_CALL(fchmod, 1),
  MODE_CALL(fchmodat, 2),
  MODE_CALL(fchmodat2, 2),
  MODE_CALL(mknodat, 2),
  OPEN_CALL(openat, 2),
  OPEN_CALL(mq_open, 1), /* an overlay, where it may mount one, copies the file up with its mode */
  ATTRIBUTE_CALL(setxattr),
  ATTRIBUTE_CALL(lsetxattr),
  ATTRIBUTE_CALL(fsetxattr),
  ATTRIBUTE_CALL(setxattrat),
  ABSENT_CALL(openat2),        /* its mode is behind a pointer */
  ABSENT_CALL(io_uring_setup), /* and can open files */
  RETURN(SECCOMP_RET_ALLOW),
};

static long install(const void *filter, size_t size, uint32_t flags) {
  struct sock_fprog program = {
    .len = (unsigned short)(size / sizeof(struct sock_filter)),
    .filter = (struct sock_filter *)(uintptr_t)filter,
  };
  if (size % sizeof(struct sock_filter)) return -EINVAL;
  if (size > BPF_MAXINSNS * sizeof(struct sock_filter)) return -E2BIG;
  return SYSCALL(seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/** Installs a filter, an array of struct sock_filter. Needs no_new_privs or CAP_SYS_ADMIN.
    @see seccomp(2) */
long kernel_seccomp(struct call *call) {
  return install(ARG_STR(0), ARG_SIZE(0), (uint32_t)ARG_INT(1));
}

/* A filter that notifies gives an fd. Who waits to serve it shares our fds: it must see the number only when the fd
   is there. */
static long install_listened(const struct filter *filter, int *listener) {
  if (!listener) return -EINVAL;
  long fd = install(filter->program, filter->size, filter->flags);
  if (fd >= 0) __atomic_store_n(listener, (int)fd, __ATOMIC_RELEASE);
  return fd;
}

long install_filters(const struct call *call, int n, unsigned *number) {
  const char *at = ARG_STR(n), *end = at + ARG_SIZE(n);
  for (*number = 1; at < end; ++*number) {
    const struct filter *filter = (const void *)at;
    size_t left = (size_t)(end - at);
    if (left < sizeof *filter || filter->size > left - sizeof *filter) return -EINVAL;
    long r = filter->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER
                 ? install_listened(filter, call->listener)
                 : install(filter->program, filter->size, filter->flags);
    if (r < 0) return r;
    at = filter->program + filter->size;
  }
  return 0;
}

/** No file with a set-id bit or capabilities can be made from here on. Needs no_new_privs. @see seccomp(2) */
long kernel_refuse_setid_files(struct call *call) {
  (void)call;
  return install(no_setid_files, sizeof no_setid_files, 0);
}
