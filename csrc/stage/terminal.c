/* What a stage does for terminals: it passes the payload's to the maker, and restores the maker's own. */
#include "../kernel/syscall.h"
#include "message.h"
#include "stage.h"

#include <asm-generic/errno.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/termbits.h>

enum { MAKER = FIRST_FD + REGISTER_MAKER };
enum { SIGNAL_SET_SIZE = 8 };

/** Passes an fd to the maker as the payload's terminal, and waits until it has it. @see unix(7) */
long stage_hand_over(struct call *call) {
  struct record record = { .kind = RECORD_TERMINAL };
  long r = report_with(&record, ARG_FD(0));
  return r < 0 ? r : stage_await(call);
}

/* Whether a terminal is still in the raw mode that the maker has put it into. What others have set since,
   as the maker's shell, is theirs. */
static int is_still_raw(int terminal, const struct termios *raw) {
  struct termios now;
  return SYSCALL(ioctl, terminal, TCGETS, &now) >= 0 && now.c_iflag == raw->c_iflag &&
         now.c_oflag == raw->c_oflag && now.c_lflag == raw->c_lflag;
}

/** Waits for the maker's end, however it comes, and then takes its terminal out of raw mode. As all signals are
    blocked, it may do so in the background. */
long stage_restore_terminal(struct call *call) {
  struct pollfd watched[] = {
    { .fd = CONTROL, .events = POLLIN },
    { .fd = MAKER, .events = POLLIN },
  };
  long r;
  if (ARG_SIZE(1) != sizeof(struct termios) || ARG_SIZE(2) != sizeof(struct termios))
    return -EINVAL;
  do r = SYSCALL(ppoll, watched, 2, 0, 0, SIGNAL_SET_SIZE);
  while (r == -EINTR);
  if (is_still_raw(ARG_FD(0), (const struct termios *)ARG_STR(1)))
    SYSCALL(ioctl, ARG_FD(0), TCSETS, ARG_STR(2));
  leave(0);
}
