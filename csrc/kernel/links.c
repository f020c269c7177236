/*
 * Symbolic links below a root, followed by ourselves: one component at a time, each opened from the root on by a
 * path that has no links so far. RESOLVE_IN_ROOT of openat2(2) would not do: ".." in the root leads onto what is
 * mounted over it, which is the old root until that is gone (see expect_root).
 */
#include "kernel.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <asm-generic/errno.h>
#include <linux/openat2.h>
#include <linux/stat.h>

enum { PATH_MAX_ = 4096, MAX_LINKS = 40 };

/* How far we are. What is still to walk lies at the end of its room: a link's text comes before it. */
struct way {
  int root, links;
  char *done;
  size_t length, size;
  char *next, *own; /* from `own` on it is what was asked for, before that the text of links */
  char rest[2 * PATH_MAX_];
};

static void back(struct way *way) {
  while (way->length > 0 && way->done[--way->length] != '/') continue;
  way->done[way->length] = '\0';
}

static long append(struct way *way, const char *name, size_t n) {
  if (way->length + n + 2 > way->size) return -ENAMETOOLONG;
  if (way->length > 0) way->done[way->length++] = '/';
  for (size_t i = 0; i < n; i++) way->done[way->length++] = name[i];
  way->done[way->length] = '\0';
  return 0;
}

/* Opens what we have come to, itself also where it is a link. */
static long open_done(const struct way *way) {
  return open_at(way->root, way->done, O_PATH | O_NOFOLLOW, 0,
                 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

/* Whether the link that we have come to has no path behind it, but an object. The kernel says ELOOP also of too many
   links, which are none to follow either. */
static int is_magic(const struct way *way) {
  long fd = open_at(way->root, way->done, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
  close_unless(fd, -1);
  return fd == -ELOOP;
}

/* Goes on where a link leads to. */
static long turn(struct way *way, int link) {
  char text[PATH_MAX_];
  long n = SYSCALL(readlinkat, link, "", text, sizeof text);
  if (n < 0) return n;
  if (n == sizeof text || n > way->next - way->rest) return -ENAMETOOLONG;
  if (++way->links > MAX_LINKS || is_magic(way)) return -ELOOP;
  if (way->next > way->own) way->own = way->next;
  way->next -= n;
  for (long i = 0; i < n; i++) way->next[i] = text[i];
  if (text[0] == '/') way->done[way->length = 0] = '\0';
  else back(way);
  return 0;
}

/* Enters the directory, or follows the link, whose name was appended. */
static long enter(struct way *way) {
  long fd = open_done(way);
  if (fd < 0) return fd;
  long type = file_type((int)fd);
  long r = type < 0 ? type : type == S_IFLNK ? turn(way, (int)fd) : type == S_IFDIR ? 0 : -ENOTDIR;
  SYSCALL(close, fd);
  return r;
}

/* One component. What is missing of the path itself is left as it is, to be made. */
static long step(struct way *way) {
  const char *name = way->next;
  int asked_for = name >= way->own;
  while (*way->next && *way->next != '/') way->next++;
  size_t n = (size_t)(way->next - name);
  if (n == 1 && name[0] == '.') return 0;
  if (n == 2 && name[0] == '.' && name[1] == '.') {
    back(way);
    return 0;
  }
  long r = append(way, name, n);
  if (r >= 0) r = enter(way);
  if (r != -ENOENT || !asked_for) return r;
  r = append(way, way->next, text_length(way->next));
  way->next += text_length(way->next);
  return r;
}

long follow_links(int root, const char *path, size_t length, char *result, size_t size) {
  struct way way = { .root = root, .done = result, .size = size };
  if (length >= PATH_MAX_) return -ENAMETOOLONG;
  way.next = way.own = way.rest + sizeof way.rest - length - 1;
  for (size_t i = 0; i < length; i++) way.next[i] = path[i];
  way.next[length] = '\0';
  result[0] = '\0';
  long r = 0;
  while (r >= 0) {
    while (*way.next == '/') way.next++;
    if (!*way.next) break;
    r = step(&way);
  }
  return r < 0 || way.length > 0 ? r : append(&way, ".", 1);
}
