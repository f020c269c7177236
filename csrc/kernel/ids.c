/* Identity: id maps, user and group ids, capabilities. */
#include "kernel.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <asm-generic/errno.h>
#include <asm/statfs.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/prctl.h>

long open_proc(long pid, const char *name) {
  char path[64];
  char *end = text_append(path, "/proc/");
  end = pid > 0 ? text_append_number(end, (unsigned long)pid) : text_append(end, "self");
  text_append(text_append(end, "/"), name);
  long fd = SYSCALL(openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return fd;
  struct statfs fs;
  long r = SYSCALL(fstatfs, fd, &fs);
  if (r >= 0 && fs.f_type != PROC_SUPER_MAGIC) r = -ENOSYS;
  if (r >= 0) return fd;
  SYSCALL(close, fd);
  return r;
}

static long write_proc(long pid, const char *name, const char *text, size_t size) {
  long fd = open_proc(pid, name);
  if (fd < 0) return fd;
  long r = write_once((int)fd, text, size);
  SYSCALL(close, fd);
  return r;
}

/** Must come before gid_map where the caller is unprivileged. @see user_namespaces(7) */
long kernel_deny_setgroups(struct call *call) {
  return write_proc(ARG_INT(0), "setgroups", "deny", 4);
}

/** @see user_namespaces(7) */
long kernel_gid_map(struct call *call) {
  return write_proc(ARG_INT(0), "gid_map", ARG_STR(1), ARG_SIZE(1));
}

/** @see user_namespaces(7) */
long kernel_uid_map(struct call *call) {
  return write_proc(ARG_INT(0), "uid_map", ARG_STR(1), ARG_SIZE(1));
}

/** @see setresuid(2) */
long kernel_setresuid(struct call *call) {
  return SYSCALL(setresuid, ARG_INT(0), ARG_INT(1), ARG_INT(2));
}

/** @see setresgid(2) */
long kernel_setresgid(struct call *call) {
  return SYSCALL(setresgid, ARG_INT(0), ARG_INT(1), ARG_INT(2));
}

/** The supplementary groups. @see setgroups(2) */
long kernel_setgroups(struct call *call) {
  return SYSCALL(setgroups, ARG_SIZE(0) / sizeof(uint32_t), ARG_STR(0));
}

/** Takes from the bounding set whatever is not in the mask. @see capabilities(7) */
long kernel_bounding(struct call *call) {
  for (long capability = 0; capability < 64; capability++) {
    if ((unsigned long)ARG_INT(0) >> capability & 1) continue;
    long r = SYSCALL(prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (r == -EINVAL) break; /* past the kernel's last capability */
    if (r < 0) return r;
  }
  return 0;
}

/** The effective, permitted and inheritable sets, as masks. @see capset(2) */
long kernel_capset(struct call *call) {
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct data[2];
  for (int half = 0; half < 2; half++) {
    data[half].effective = (uint32_t)((unsigned long)ARG_INT(0) >> (32 * half));
    data[half].permitted = (uint32_t)((unsigned long)ARG_INT(1) >> (32 * half));
    data[half].inheritable = (uint32_t)((unsigned long)ARG_INT(2) >> (32 * half));
  }
  return SYSCALL(capset, &header, data);
}

long raise_ambient(uint64_t capabilities) {
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct data[2];
  long r = SYSCALL(capget, &header, data);
  if (r < 0) return r;
  data[0].inheritable = (uint32_t)capabilities;
  data[1].inheritable = (uint32_t)(capabilities >> 32);
  r = SYSCALL(capset, &header, data);
  for (long capability = 0; r >= 0 && capability < 64; capability++)
    if (capabilities >> capability & 1)
      r = SYSCALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  return r;
}

/** Makes the inheritable and the ambient set this mask. @see PR_CAP_AMBIENT(2const) */
long kernel_ambient(struct call *call) {
  long r = SYSCALL(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return r < 0 ? r : raise_ambient((uint64_t)ARG_INT(0));
}

/** @see PR_SET_SECUREBITS(2const) */
long kernel_securebits(struct call *call) {
  return SYSCALL(prctl, PR_SET_SECUREBITS, ARG_INT(0), 0, 0, 0);
}
