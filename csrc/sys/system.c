/***
 * What a recipe has to know of the system it is compiled on. Reads only.
 * @module nslua.sys
 */
#include "sys.h"

#include "../kernel/syscall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static uint64_t effective_capabilities(void) {
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
  struct __user_cap_data_struct data[2] = { 0 };
  SYSCALL(capget, &header, data);
  return data[0].effective | (uint64_t)data[1].effective << 32;
}

/***
 * Who the caller is: uid, gid (effective), groups (list), capabilities (mask), pid.
 * @function identity
 * @treturn table
 */
static int identity(lua_State *L) {
  gid_t groups[NGROUPS_MAX > 1024 ? 1024 : NGROUPS_MAX];
  int n = getgroups(sizeof groups / sizeof *groups, groups);
  lua_createtable(L, 0, 5);
  set_integer(L, "uid", geteuid());
  set_integer(L, "gid", getegid());
  set_integer(L, "pid", (uint64_t)getpid());
  set_integer(L, "capabilities", (uint64_t)effective_capabilities());
  lua_createtable(L, n > 0 ? n : 0, 0);
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, groups[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "groups");
  return 1;
}

/***
 * The name of a user, as the system's databases have it.
 * @function user_name
 * @tparam integer uid
 * @treturn ?string
 * @see getpwuid(3)
 */
static int user_name(lua_State *L) {
  const struct passwd *entry = getpwuid((uid_t)check_int(L, 1));
  if (!entry) return 0;
  lua_pushstring(L, entry->pw_name);
  return 1;
}

static const char *type_name(mode_t mode) {
  switch (mode & S_IFMT) {
  case S_IFREG: return "file";
  case S_IFDIR: return "directory";
  case S_IFLNK: return "link";
  case S_IFCHR: return "char";
  case S_IFBLK: return "block";
  case S_IFIFO: return "fifo";
  case S_IFSOCK: return "socket";
  default: return "unknown";
  }
}

static int push_status(lua_State *L, const struct stat *st) {
  lua_createtable(L, 0, 12);
  lua_pushstring(L, type_name(st->st_mode));
  lua_setfield(L, -2, "type");
  set_integer(L, "mode", st->st_mode & 07777);
  set_integer(L, "uid", st->st_uid);
  set_integer(L, "gid", st->st_gid);
  set_integer(L, "size", (uint64_t)st->st_size);
  set_integer(L, "inode", st->st_ino);
  set_integer(L, "device", st->st_dev);
  set_integer(L, "device_major", major(st->st_dev));
  set_integer(L, "device_minor", minor(st->st_dev));
  set_integer(L, "major", major(st->st_rdev));
  set_integer(L, "minor", minor(st->st_rdev));
  return 1;
}

/***
 * type, mode, uid, gid, size, inode, device, device_major, device_minor (that it lies on), major, minor (that it is) of a
 * path, its last link followed.
 * @function stat
 * @tparam string path
 * @treturn[1] table
 * @treturn[2] nil
 * @treturn[2] string
 */
static int system_stat(lua_State *L) {
  struct stat st;
  const char *path = check_text(L, 1);
  if (stat(path, &st) != 0) return push_failure(L, path, errno);
  return push_status(L, &st);
}

/***
 * The same, its last link not followed.
 * @function lstat
 */
static int system_lstat(lua_State *L) {
  struct stat st;
  const char *path = check_text(L, 1);
  if (lstat(path, &st) != 0) return push_failure(L, path, errno);
  return push_status(L, &st);
}

/***
 * The same of an fd; and path_only: it was opened with O_PATH.
 * @function fstat
 */
static int system_fstat(lua_State *L) {
  struct stat st;
  int fd = check_fd(L, 1);
  if (fstat(fd, &st) != 0) return push_failure(L, "fstat", errno);
  push_status(L, &st);
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return push_failure(L, "fcntl", errno);
  lua_pushboolean(L, flags & O_PATH);
  lua_setfield(L, -2, "path_only");
  return 1;
}

/***
 * The names in a directory, but for "." and "..", in its own order.
 * @function list_directory
 * @tparam string path
 * @treturn[1] table
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see readdir(3)
 */
static int list_directory(lua_State *L) {
  const char *path = check_text(L, 1);
  lua_newtable(L);
  DIR *directory = opendir(path);
  if (!directory) return push_failure(L, path, errno);
  lua_Integer n = 0;
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    lua_pushstring(L, entry->d_name);
    lua_rawseti(L, -2, ++n);
  }
  closedir(directory);
  return 1;
}

/***
 * The environment, as strings "NAME=value".
 * @function environment
 * @treturn table
 * @see environ(7)
 */
static int environment(lua_State *L) {
  lua_newtable(L);
  for (lua_Integer i = 0; environ && environ[i]; i++) {
    lua_pushstring(L, environ[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/***
 * The open fds from 3 on that an execve(2) would leave open, in order.
 * @function inheritable_fds
 * @treturn[1] table
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 */
static int inheritable_fds(lua_State *L) {
  lua_newtable(L);
  DIR *directory = opendir("/proc/self/fd");
  if (!directory) return push_failure(L, "/proc/self/fd", errno);
  lua_Integer n = 0;
  for (struct dirent *entry; (entry = readdir(directory));) {
    int fd = atoi(entry->d_name); /* 0 for "." and ".." */
    if (fd < 3 || fcntl(fd, F_GETFD) != 0) continue;
    lua_pushinteger(L, fd);
    lua_rawseti(L, -2, ++n);
  }
  closedir(directory);
  return 1;
}

/***
 * @function readlink
 * @tparam string path
 * @treturn string
 */
static int system_readlink(lua_State *L) {
  char target[PATH_MAX];
  const char *path = check_text(L, 1);
  ssize_t n = readlink(path, target, sizeof target);
  if (n < 0) return push_failure(L, path, errno);
  lua_pushlstring(L, target, (size_t)n);
  return 1;
}

/***
 * @function getcwd
 * @treturn string
 */
static int system_getcwd(lua_State *L) {
  char path[PATH_MAX];
  if (!getcwd(path, sizeof path)) return push_failure(L, "getcwd", errno);
  lua_pushstring(L, path);
  return 1;
}

/***
 * The caller's limits, soft and hard; -1 is none.
 * @function getrlimit
 * @tparam string resource as of setrlimit
 * @treturn integer
 * @treturn integer
 * @see getrlimit(2)
 */
static int system_getrlimit(lua_State *L) {
  struct rlimit limits = { 0 };
  getrlimit((int)check_flags(L, 1, flag_set("resources")), &limits);
  lua_pushinteger(L, (lua_Integer)limits.rlim_cur);
  lua_pushinteger(L, (lua_Integer)limits.rlim_max);
  return 2;
}

/***
 * Seconds of the monotonic clock.
 * @function clock
 * @treturn number
 */
static int system_clock(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
  return 1;
}

/***
 * Nanoseconds of the clock that is the same in all time namespaces.
 * @function now
 * @treturn integer
 */
static int system_now(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  lua_pushinteger(L, (lua_Integer)now.tv_sec * 1000000000 + now.tv_nsec);
  return 1;
}

/***
 * @function getpid
 * @treturn integer
 */
static int system_getpid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

/***
 * The kernel's release, such as "6.1.0".
 * @function release
 * @treturn string
 */
static int system_release(lua_State *L) {
  struct utsname names;
  uname(&names);
  lua_pushstring(L, names.release);
  return 1;
}

/***
 * The text and the name of an errno.
 * @function strerror
 * @tparam integer errno
 * @treturn string
 * @treturn string
 */
static int system_strerror(lua_State *L) {
  int error = (int)check_int(L, 1);
  const char *text = strerrordesc_np(error), *name = strerrorname_np(error);
  lua_pushstring(L, text ? text : "unknown error");
  lua_pushstring(L, name ? name : "?");
  return 2;
}

/***
 * A string with its control characters, and what is no UTF-8, escaped.
 * @function escape
 * @treturn string
 */
static int system_escape(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  push_escaped(L, s, n);
  return 1;
}

/***
 * The names of the flags in an integer: those all of whose bits are there, as the table of flags has them.
 * @function flag_names
 * @tparam string set of flags, as "securebits"
 * @tparam integer bits
 * @treturn table
 */
static int system_flag_names(lua_State *L) {
  const struct flag *flag = flag_set(check_text(L, 1));
  long bits = (long)luaL_checkinteger(L, 2);
  luaL_argcheck(L, flag, 1, "no such set of flags");
  lua_newtable(L);
  for (lua_Integer n = 0; flag->name; flag++) {
    if ((bits & flag->value) != flag->value) continue;
    lua_pushstring(L, flag->name);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/***
 * The flags of a set as an integer, from a list of names.
 * @function flags
 * @tparam string set
 * @tparam table names
 * @treturn integer
 */
static int system_flags(lua_State *L) {
  const struct flag *set = flag_set(check_text(L, 1));
  luaL_argcheck(L, set, 1, "no such set of flags");
  lua_pushinteger(L, check_flags(L, 2, set));
  return 1;
}

static const luaL_Reg functions[] = {
  { "identity", identity },          { "user_name", user_name },
  { "stat", system_stat },           { "lstat", system_lstat },
  { "fstat", system_fstat },         { "list_directory", list_directory },
  { "environment", environment },    { "inheritable_fds", inheritable_fds },
  { "readlink", system_readlink },   { "getcwd", system_getcwd },
  { "clock", system_clock },         { "now", system_now },
  { "getpid", system_getpid },       { "release", system_release },
  { "strerror", system_strerror },   { "escape", system_escape },
  { "getrlimit", system_getrlimit }, { "flag_names", system_flag_names },
  { "flags", system_flags },         { NULL, NULL },
};

void open_system(lua_State *L) { luaL_setfuncs(L, functions, 0); }
