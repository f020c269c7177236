/* Mounts: the mount API by fd (Linux 5.2) and the old one by path. */
#include "kernel.h"
#include "syscall.h"

#include <asm-generic/errno.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/mount.h>

/** @see mount(2) */
long kernel_mount(struct call *call) {
  return SYSCALL(mount, ARG_STR(0), ARG_STR(1), ARG_STR(2), ARG_INT(3), ARG_STR(4));
}

/** @see umount2(2) */
long kernel_umount(struct call *call) { return SYSCALL(umount2, ARG_STR(0), ARG_INT(1)); }

/** @see pivot_root(2) */
long kernel_pivot_root(struct call *call) { return SYSCALL(pivot_root, ARG_STR(0), ARG_STR(1)); }

/** An fd for the mount at a path; with "clone" a detached copy of it. Without a path: of dirfd.
    @see open_tree(2) */
long kernel_open_tree(struct call *call) {
  const char *path = ARG_STR(1);
  unsigned long empty = path ? 0 : AT_EMPTY_PATH;
  return SYSCALL(open_tree, ARG_FD(0), path ? path : "",
                 (unsigned long)ARG_INT(2) | empty | OPEN_TREE_CLOEXEC);
}

/** Moves the mount that an fd refers to; without a path onto dirfd itself. @see move_mount(2) */
long kernel_move_mount(struct call *call) {
  const char *path = ARG_STR(2);
  return SYSCALL(move_mount, ARG_FD(0), "", ARG_FD(1), path ? path : "",
                 MOVE_MOUNT_F_EMPTY_PATH | (path ? 0 : MOVE_MOUNT_T_EMPTY_PATH));
}

/** Changes the attributes of a mount, or with "recursive" of a tree of mounts at once.
    @see mount_setattr(2) */
long kernel_mount_setattr(struct call *call) {
  const char *path = ARG_STR(1);
  struct mount_attr attributes = {
    .attr_set = (uint64_t)ARG_INT(2),
    .attr_clr = (uint64_t)ARG_INT(3),
    .propagation = (uint64_t)ARG_INT(4),
    .userns_fd = (__u64)(ARG_FD(6) < 0 ? 0 : ARG_FD(6)),
  };
  return SYSCALL(mount_setattr, ARG_FD(0), path ? path : "",
                 (unsigned long)ARG_INT(5) | (path ? 0 : AT_EMPTY_PATH), &attributes,
                 sizeof attributes);
}

/** Fails with EPERM unless the mount really has these of ro, nosuid, nodev and noexec, and with EROFS
    when it has one of those that it is to be without. @see statfs(2) */
long kernel_expect_mount(struct call *call) {
  /* ST_RDONLY and its like have the values of their MOUNT_ATTR_ counterparts. */
  const long shown = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  struct statfs fs;
  long r = SYSCALL(fstatfs, ARG_FD(0), &fs);
  if (r < 0) return r;
  long wanted = ARG_INT(1) & shown;
  if (fs.f_flags & ARG_INT(2) & shown) return -EROFS;
  return (fs.f_flags & wanted) == wanted ? 0 : -EPERM;
}

/** @see fsopen(2) */
long kernel_fsopen(struct call *call) { return SYSCALL(fsopen, ARG_STR(0), FSOPEN_CLOEXEC); }

/** Sets a parameter (key and value), a flag (key only), or creates the superblock (neither).
    @see fsconfig(2) */
long kernel_fsconfig(struct call *call) {
  const char *key = ARG_STR(1);
  const char *value = ARG_STR(2);
  unsigned command = !key ? FSCONFIG_CMD_CREATE : value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
  return SYSCALL(fsconfig, ARG_FD(0), command, key, value, 0);
}

/** @see fsmount(2) */
long kernel_fsmount(struct call *call) {
  return SYSCALL(fsmount, ARG_FD(0), FSMOUNT_CLOEXEC, ARG_INT(1));
}
