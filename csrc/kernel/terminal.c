/* Terminals: the two sides of a pty, whose it is, its size and settings. */
#include "kernel.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <asm-generic/errno.h>
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <asm/termios.h>

/** The slave of a pty, by its master; unlocked, and nobody's controlling terminal.
    @see TIOCGPTPEER(2const) */
long kernel_pty_slave(struct call *call) {
  int locked = 0;
  long r = SYSCALL(ioctl, ARG_FD(0), TIOCSPTLCK, &locked);
  if (r < 0) return r;
  return SYSCALL(ioctl, ARG_FD(0), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/** Makes a terminal the controlling one of the caller's new session. @see TIOCSCTTY(2const) */
long kernel_controlling_terminal(struct call *call) {
  return SYSCALL(ioctl, ARG_FD(0), TIOCSCTTY, 0);
}

/** Says how large a terminal is; its foreground processes get SIGWINCH. @see TIOCSWINSZ(2const) */
long kernel_set_window_size(struct call *call) {
  struct winsize size = { .ws_row = (unsigned short)ARG_INT(1),
                          .ws_col = (unsigned short)ARG_INT(2) };
  return SYSCALL(ioctl, ARG_FD(0), TIOCSWINSZ, &size);
}

/** Changes the settings of a terminal to what tcgetattr gave; with `flush` what was typed and not read
    is dropped. @see TCSETS(2const) */
long kernel_tcsetattr(struct call *call) {
  if (ARG_SIZE(1) != sizeof(struct termios)) return -EINVAL;
  return SYSCALL(ioctl, ARG_FD(0), ARG_INT(2) ? TCSETSF : TCSETS, ARG_STR(1));
}
