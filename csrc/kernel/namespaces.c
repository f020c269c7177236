/* Namespaces and what a new one starts with: names, clocks, the loopback interface. */
#include "kernel.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <asm-generic/errno.h>
#include <asm/signal.h>
#include <asm/socket.h>
#include <linux/if.h>
#include <linux/in.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <linux/sockios.h>

enum { AF_INET_ = 2, SOCK_DGRAM_ = 2, SOCK_CLOEXEC_ = O_CLOEXEC };

/** @see unshare(2) */
long kernel_unshare(struct call *call) { return SYSCALL(unshare, ARG_INT(0)); }

/** A pidfd, for setns into several namespaces of a process at once. @see pidfd_open(2) */
long kernel_pidfd_open(struct call *call) { return SYSCALL(pidfd_open, ARG_INT(0), 0); }

/** Joins the namespace(s) of a namespace fd or a pidfd. @see setns(2) */
long kernel_setns(struct call *call) { return SYSCALL(setns, ARG_FD(0), ARG_INT(1)); }

/** Its CLONE_NEW… flag. @see NS_GET_NSTYPE(2const) */
long kernel_namespace_type(struct call *call) { return SYSCALL(ioctl, ARG_FD(0), NS_GET_NSTYPE); }

/** The user namespace that owns it. EPERM when that is beyond the caller's own. @see NS_GET_USERNS(2const) */
long kernel_namespace_owner(struct call *call) { return SYSCALL(ioctl, ARG_FD(0), NS_GET_USERNS); }

/** The one around it, of a user or PID namespace. EPERM when that is beyond the caller's own.
    @see NS_GET_PARENT(2const) */
long kernel_namespace_parent(struct call *call) { return SYSCALL(ioctl, ARG_FD(0), NS_GET_PARENT); }

/** Who made a user namespace. @see NS_GET_OWNER_UID(2const) */
long kernel_namespace_owner_uid(struct call *call) {
  uint32_t uid = 0;
  long r = SYSCALL(ioctl, ARG_FD(0), NS_GET_OWNER_UID, &uid);
  return r < 0 ? r : (long)uid;
}

/** Fails with EEXIST when the caller can make a user namespace, which a child of its tries. */
long kernel_expect_no_user_namespaces(struct call *call) {
  (void)call;
  long pid = SYSCALL(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  while (pid == 0) SYSCALL(exit_group, 0);
  if (pid == -EAGAIN || pid == -ENOMEM) return pid;
  if (pid < 0) return 0;
  long r;
  do r = SYSCALL(wait4, pid, 0, 0, 0);
  while (r == -EINTR);
  return r < 0 ? r : -EEXIST;
}

/** @see sethostname(2) */
long kernel_sethostname(struct call *call) { return SYSCALL(sethostname, ARG_STR(0), ARG_SIZE(0)); }

/** @see setdomainname(2) */
long kernel_setdomainname(struct call *call) {
  return SYSCALL(setdomainname, ARG_STR(0), ARG_SIZE(0));
}

/** Offset of a clock in the time namespace of the caller's children. @see time_namespaces(7) */
long kernel_timens_offset(struct call *call) {
  char line[96];
  char *end = text_append_number(line, (unsigned long)ARG_INT(0));
  long seconds = ARG_INT(1);
  end = text_append(end, seconds < 0 ? " -" : " ");
  end = text_append_number(end, (unsigned long)(seconds < 0 ? -seconds : seconds));
  end = text_append(end, " ");
  end = text_append_number(end, (unsigned long)ARG_INT(2));
  end = text_append(end, "\n");
  long fd = SYSCALL(openat, AT_FDCWD, "/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  long r = write_all((int)fd, line, (size_t)(end - line));
  SYSCALL(close, fd);
  return r;
}

/** Sets IFF_UP on an interface of the current network namespace. @see netdevice(7) */
long kernel_interface_up(struct call *call) {
  struct ifreq request = { 0 };
  if (ARG_SIZE(0) >= sizeof request.ifr_name) return -19; /* ENODEV: no interface has that name */
  text_append(request.ifr_name, ARG_STR(0));
  long fd = SYSCALL(socket, AF_INET_, SOCK_DGRAM_ | SOCK_CLOEXEC_, 0);
  if (fd < 0) return fd;
  long r = SYSCALL(ioctl, fd, SIOCGIFFLAGS, &request);
  if (r >= 0) {
    request.ifr_flags |= IFF_UP;
    r = SYSCALL(ioctl, fd, SIOCSIFFLAGS, &request);
  }
  SYSCALL(close, fd);
  return r;
}
