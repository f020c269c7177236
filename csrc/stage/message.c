/* Messages on the control socket that carry fds: struct msghdr and struct cmsghdr of the kernel, which has no header for
   them. */
#include "message.h"

#include "../kernel/syscall.h"

#include <asm-generic/socket.h>
#include <linux/socket.h>
#include <linux/uio.h>

enum { CONTROL = FIRST_FD + REGISTER_CONTROL };
enum { MSG_DONTWAIT_ = 0x40, MSG_NOSIGNAL_ = 0x4000, MSG_CMSG_CLOEXEC_ = 0x40000000 };
enum { SCM_RIGHTS_ = 1 };

struct message {
  void *name;
  int name_size;
  struct iovec *parts;
  size_t part_count;
  void *control;
  size_t control_size;
  unsigned flags;
};

struct rights {
  size_t size;
  int level, type;
  int fds[MAX_SENT];
};

enum { RIGHTS_HEADER = offsetof(struct rights, fds) };

long report_with(struct record *record, int fd) {
  struct iovec part = { record, sizeof *record };
  struct {
    size_t size;
    int level, type, fd;
  } rights = { RIGHTS_HEADER + sizeof fd, SOL_SOCKET, SCM_RIGHTS_, fd };
  struct message message = {
    .parts = &part,
    .part_count = 1,
    .control = &rights,
    .control_size = sizeof rights,
  };
  return SYSCALL(sendmsg, CONTROL, &message, MSG_NOSIGNAL_);
}

long take_command(struct command *command, struct sent_fds *sent) {
  struct rights rights;
  struct iovec part = { command, sizeof *command };
  struct message message = {
    .parts = &part,
    .part_count = 1,
    .control = &rights,
    .control_size = sizeof rights,
  };
  long n = SYSCALL(recvmsg, CONTROL, &message, MSG_DONTWAIT_ | MSG_CMSG_CLOEXEC_);
  sent->count = 0;
  if (n < 0 || message.control_size < RIGHTS_HEADER) return n;
  if (rights.level != SOL_SOCKET || rights.type != SCM_RIGHTS_) return n;
  sent->count = (rights.size - RIGHTS_HEADER) / sizeof *sent->fds;
  for (size_t i = 0; i < sent->count; i++) sent->fds[i] = rights.fds[i];
  return n;
}
