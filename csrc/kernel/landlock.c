/* Landlock: rules of what a process may reach, which it and all its children can only tighten. */
#include "kernel.h"
#include "syscall.h"

#include <asm-generic/errno.h>
#include <linux/fcntl.h>
#include <linux/landlock.h>
#include <linux/stat.h>

/* All of struct landlock_ruleset_attr that is used here; older headers have less of it. The kernel takes
   more than it knows as long as that is zero. */
struct ruleset {
  uint64_t files, ports, scopes;
};

/* Of linux/landlock.h, which has them only when it is new enough. */
enum {
  EXECUTE = 1 << 0,
  WRITE_FILE = 1 << 1,
  READ_FILE = 1 << 2,
  TRUNCATE = 1 << 14,
  IOCTL_DEV = 1 << 15,
  RIGHTS_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV,
  RULE_NET_PORT = 2,
};

/** The version of Landlock's interface. ENOSYS or EOPNOTSUPP where there is none.
    @see landlock_create_ruleset(2) */
long kernel_landlock_abi(struct call *call) {
  (void)call;
  return SYSCALL(landlock_create_ruleset, 0, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/** A ruleset: rights over files and ports that are refused where no rule allows them, and what is kept within
    the domain. @see landlock_create_ruleset(2) */
long kernel_landlock_ruleset(struct call *call) {
  struct ruleset ruleset = {
    .files = (uint64_t)ARG_INT(0),
    .ports = (uint64_t)ARG_INT(1),
    .scopes = (uint64_t)ARG_INT(2),
  };
  return SYSCALL(landlock_create_ruleset, &ruleset, sizeof ruleset, 0);
}

static long allow_file(int ruleset, int fd, uint64_t rights) {
  struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };
  return rights ? SYSCALL(landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) : 0;
}

/** Allows rights over what an fd refers to, and over all beneath it if that is a directory; over a file, those
    of them that files have. @see landlock_add_rule(2) */
long kernel_landlock_beneath(struct call *call) {
  uint64_t rights = (uint64_t)ARG_INT(2);
  long type = file_type(ARG_FD(1));
  if (type < 0) return type;
  return allow_file(ARG_FD(0), ARG_FD(1), type == S_IFDIR ? rights : rights & RIGHTS_OF_FILES);
}

/** Allows to open again what is open already, for what it is open for, as by /dev/stdout: a file or a device.
    `handled` are the rights that the ruleset has. @see landlock_add_rule(2) */
long kernel_landlock_opened(struct call *call) {
  long flags = SYSCALL(fcntl, ARG_FD(1), F_GETFL, 0);
  if (flags < 0) return flags;
  if (flags & O_PATH) return 0;
  uint64_t rights = IOCTL_DEV;
  if ((flags & O_ACCMODE) != O_WRONLY) rights |= READ_FILE;
  if ((flags & O_ACCMODE) != O_RDONLY) rights |= WRITE_FILE | TRUNCATE;
  /* Pipes and sockets are not in a tree: nothing keeps them from being opened. */
  long r = allow_file(ARG_FD(0), ARG_FD(1), rights & (uint64_t)ARG_INT(2));
  return r == -EBADFD ? 0 : r;
}

/** Allows a TCP port. @see landlock_add_rule(2) */
long kernel_landlock_port(struct call *call) {
  struct {
    uint64_t allowed, port;
  } rule = { .allowed = (uint64_t)ARG_INT(2), .port = (uint64_t)ARG_INT(1) };
  return SYSCALL(landlock_add_rule, ARG_FD(0), RULE_NET_PORT, &rule, 0);
}

/** Restricts the caller to what a ruleset allows. Needs no_new_privs or CAP_SYS_ADMIN.
    @see landlock_restrict_self(2) */
long kernel_landlock_restrict(struct call *call) {
  return SYSCALL(landlock_restrict_self, ARG_FD(0), 0);
}
