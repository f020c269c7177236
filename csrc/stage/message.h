/* Messages on the control socket that carry fds. */
#ifndef NSLUA_STAGE_MESSAGE_H
#define NSLUA_STAGE_MESSAGE_H

#include "wire.h"

#include <stddef.h>

/* Sends a record with an fd to the maker. */
long report_with(struct record *record, int fd);

struct sent_fds {
  int fds[MAX_SENT];
  size_t count;
};

/* Takes one command of the maker, if there is one, and the fds that came with it: the caller closes them. Returns its
   size, 0 at the maker's end, or -errno. */
long take_command(struct command *command, struct sent_fds *sent);

#endif
