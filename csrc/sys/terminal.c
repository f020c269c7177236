/***
 * What a relay has to know of its own terminal: its settings, also as raw ones, and its size.
 * @module nslua.sys
 */
#include "sys.h"

#include "../kernel/syscall.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <string.h>
#include <sys/ioctl.h>

/***
 * The settings of a terminal, as tcsetattr takes them.
 * @function tcgetattr
 * @tparam fd fd
 * @treturn[1] string
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see TCGETS(2const)
 */
static int terminal_tcgetattr(lua_State *L) {
  struct termios settings;
  long r = SYSCALL(ioctl, check_fd(L, 1), TCGETS, &settings);
  if (r < 0) return push_failure(L, "tcgetattr", (int)-r);
  lua_pushlstring(L, (const char *)&settings, sizeof settings);
  return 1;
}

/***
 * The same settings, in raw mode: every byte comes at once, and none means anything.
 * @function raw_settings
 * @tparam string settings
 * @treturn string
 * @see cfmakeraw(3)
 */
static int terminal_raw_settings(lua_State *L) {
  size_t size;
  struct termios raw;
  const char *settings = luaL_checklstring(L, 1, &size);
  luaL_argcheck(L, size == sizeof raw, 1, "settings of a terminal expected");
  memcpy(&raw, settings, size);
  raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  raw.c_oflag &= ~(tcflag_t)OPOST;
  raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
  raw.c_cflag = (raw.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  lua_pushlstring(L, (const char *)&raw, sizeof raw);
  return 1;
}

/***
 * How large a terminal is.
 * @function get_window_size
 * @tparam fd fd
 * @treturn[1] integer rows
 * @treturn[1] integer columns
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see TIOCGWINSZ(2const)
 */
static int terminal_get_window_size(lua_State *L) {
  struct winsize size;
  long r = SYSCALL(ioctl, check_fd(L, 1), TIOCGWINSZ, &size);
  if (r < 0) return push_failure(L, "get_window_size", (int)-r);
  lua_pushinteger(L, size.ws_row);
  lua_pushinteger(L, size.ws_col);
  return 2;
}

static const luaL_Reg functions[] = {
  { "tcgetattr", terminal_tcgetattr },
  { "raw_settings", terminal_raw_settings },
  { "get_window_size", terminal_get_window_size },
  { NULL, NULL },
};

void open_terminal(lua_State *L) { luaL_setfuncs(L, functions, 0); }
