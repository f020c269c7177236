/*
 * Paths below a root. A hostile tree may hold any link and may change while we walk, so whatever is
 * given a dirfd is resolved below it by the kernel (openat2), without any symbolic or magic link,
 * and things are created one component at a time on the fd of their parent. A symbolic link is
 * never followed: not as the last component either (O_PATH without O_NOFOLLOW refuses it). Where links on the
 * way are to be followed, the path is first made one without (links.c).
 */
#include "kernel.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <asm-generic/errno.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

enum { PATH_MAX_ = 4096 };

long open_at(int dirfd, const char *path, unsigned long flags, unsigned long mode,
             unsigned long resolve) {
  struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
  return SYSCALL(openat2, dirfd, path, &how, sizeof how);
}

static unsigned long resolution(int dirfd) {
  return dirfd == AT_FDCWD ? 0 : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
}

/* Below a dirfd "/a" means "a" and "/" means the directory itself. */
static const char *below(int dirfd, const char *path) {
  if (dirfd == AT_FDCWD) return path;
  while (*path == '/') path++;
  return *path ? path : ".";
}

void close_unless(long fd, int kept) {
  if (fd >= 0 && (int)fd != kept) SYSCALL(close, fd);
}

long file_type(int fd) {
  struct statx st;
  long r = SYSCALL(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st);
  return r < 0 ? r : st.stx_mode & S_IFMT;
}

/* One step of a walk: the directory `name` in `dirfd`, made first when `create_mode` is set. */
static long step_into(int dirfd, const char *name, long create_mode) {
  long fd = open_at(dirfd, name, O_PATH | O_DIRECTORY, 0, resolution(dirfd));
  if (fd != -ENOENT || create_mode < 0) return fd;
  long r = SYSCALL(mkdirat, dirfd, name, create_mode);
  if (r < 0 && r != -EEXIST) return r;
  return open_at(dirfd, name, O_PATH | O_DIRECTORY, 0, resolution(dirfd));
}

/* Walks the directories named in `path` (which it cuts apart), a component at a time; call->detail
   is where it stopped. */
static long walk(struct call *call, int root, char *path, long create_mode) {
  long at = root;
  char *p = path;
  if (*p == '/') at = open_at(root, "/", O_PATH | O_DIRECTORY, 0, 0);
  while (at >= 0 || at == AT_FDCWD) {
    while (*p == '/') *p++ = '\0';
    if (!*p) break;
    char *name = p;
    while (*p && *p != '/') p++;
    char separator = *p;
    *p = '\0';
    call->detail = (unsigned)(p - path);
    long next = step_into((int)at, name, create_mode);
    close_unless(at, root);
    *p = separator;
    at = next;
  }
  return at;
}

/* Directories below `root`, which it may cut apart, as an O_PATH fd. Missing ones are created with `create_mode`,
   or are an error when it is -1; call->detail is where it stopped. */
static long open_directories(struct call *call, int root, char *directories, long create_mode) {
  long fd = open_at(root, directories, O_PATH | O_DIRECTORY, 0, resolution(root));
  if (fd >= 0) return fd;
  /* Only what is missing is made; any other failure is walked to, to say where it is. */
  long failure = fd == -ENOENT && create_mode >= 0 ? 0 : fd;
  fd = walk(call, root, directories, failure ? -1 : create_mode);
  if (fd < 0 || !failure) return fd;
  close_unless(fd, root);
  return failure;
}

/*
 * The directory below `root` that holds the last component of `path`, as an O_PATH fd (which may be
 * `root` itself), and where that component starts. Missing directories are created with
 * `create_mode`, or are an error when it is -1. With `links` symbolic links on the way are followed, below
 * `root`; the trouble behind one of them is with all of the directories.
 */
static long open_parent(struct call *call, int root, const char *path, long create_mode, long links,
                        const char **last) {
  char directories[PATH_MAX_];
  const char *relative = below(root, path);
  size_t skipped = (size_t)(relative - path);
  size_t length = text_length(relative);
  if (length >= sizeof directories) return -ENAMETOOLONG;
  while (length > 1 && relative[length - 1] == '/') length--;
  size_t split = length;
  while (split > 0 && relative[split - 1] != '/') split--;
  *last = relative + split;
  if (split == 0) return root;
  for (size_t i = 0; i < split; i++) directories[i] = relative[i];
  directories[split] = '\0';
  long fd = open_directories(call, root, directories, create_mode);
  if (fd == -ELOOP && links) {
    fd = follow_links(root, relative, split, directories, sizeof directories);
    if (fd >= 0) fd = open_directories(call, root, directories, create_mode);
    call->detail = (unsigned)split - 1;
  }
  call->detail += fd < 0 ? (unsigned)skipped : 0;
  return fd;
}

/* The last component of a path, on the fd of its parent. Never a link. */
static long open_last(int parent, const char *last, unsigned long flags) {
  return open_at(parent, last, flags, 0,
                 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

/* A failure that concerns the last component, so the whole path. */
static long at_last(struct call *call, const char *path, long r) {
  if (r < 0) call->detail = (unsigned)text_length(path);
  return r;
}

/* What is at a path, in one step where no link is on the way. */
static long open_found(struct call *call, int dirfd, const char *path, unsigned long flags,
                       long links) {
  unsigned long mode = flags & (O_CREAT | __O_TMPFILE) ? 0600 : 0;
  long fd = open_at(dirfd, below(dirfd, path), flags, mode, resolution(dirfd));
  if (fd != -ELOOP || !links) return at_last(call, path, fd);
  const char *last;
  long parent = open_parent(call, dirfd, path, -1, links, &last);
  if (parent < 0 && parent != AT_FDCWD) return parent;
  fd = open_at((int)parent, last, flags, mode, resolution((int)parent));
  close_unless(parent, dirfd);
  return at_last(call, path, fd);
}

/** @see openat2(2) */
long kernel_open(struct call *call) {
  return open_found(call, ARG_FD(0), ARG_STR(1), (unsigned long)ARG_INT(2), ARG_INT(3));
}

/** Opens a path for looking only (O_PATH), symbolic links followed, but those of /proc to what a process has open
    or is in. @see openat2(2) */
long kernel_look_up(struct call *call) {
  return at_last(call, ARG_STR(0), open_at(AT_FDCWD, ARG_STR(0), O_PATH, 0, RESOLVE_NO_MAGICLINKS));
}

/** What an fd refers to, opened anew (O_PATH) by its path: in a new mount namespace that gives the same
    thing in the caller's own mounts. ESTALE when something else is there by now. */
long kernel_reopen(struct call *call) {
  char link[64], path[PATH_MAX_];
  struct statx given, found;
  text_append_number(text_append(link, "/proc/thread-self/fd/"), (unsigned long)ARG_FD(0));
  long n = SYSCALL(readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  if (n < 0) return n;
  path[n] = '\0';
  long fd = open_at(AT_FDCWD, path, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_MAGICLINKS);
  if (fd < 0) return fd == -ENOENT ? -ESTALE : fd;
  long r = SYSCALL(statx, ARG_FD(0), "", AT_EMPTY_PATH, STATX_INO, &given);
  if (r >= 0) r = SYSCALL(statx, fd, "", AT_EMPTY_PATH, STATX_INO, &found);
  if (r >= 0 && (given.stx_ino != found.stx_ino || given.stx_dev_major != found.stx_dev_major ||
                 given.stx_dev_minor != found.stx_dev_minor))
    r = -ESTALE;
  if (r >= 0) return fd;
  SYSCALL(close, fd);
  return r;
}

/** Gives what is at a path to other ids; -1 leaves one as it is. @see fchownat(2) */
long kernel_chown(struct call *call) {
  long fd = open_found(call, ARG_FD(0), ARG_STR(1), O_PATH | O_NOFOLLOW, ARG_INT(4));
  if (fd < 0) return fd;
  long r = SYSCALL(fchownat, fd, "", ARG_INT(2), ARG_INT(3), AT_EMPTY_PATH);
  SYSCALL(close, fd);
  return at_last(call, ARG_STR(1), r);
}

/* Before Linux 6.6 the mode of what an O_PATH fd refers to cannot be changed. */
static long change_mode(struct call *call, int dirfd, const char *path, long mode, long links) {
  long fd = open_found(call, dirfd, path, O_PATH | O_NOFOLLOW, links);
  if (fd < 0) return fd;
  long r = SYSCALL(fchmodat2, fd, "", mode, AT_EMPTY_PATH);
  SYSCALL(close, fd);
  if (r != -ENOSYS) return at_last(call, path, r);
  fd = open_found(call, dirfd, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, links);
  if (fd < 0) return fd;
  r = SYSCALL(fchmod, fd, mode);
  SYSCALL(close, fd);
  return at_last(call, path, r);
}

/** Gives what is at a path these permissions. @see fchmodat(2) */
long kernel_chmod(struct call *call) {
  return change_mode(call, ARG_FD(0), ARG_STR(1), ARG_INT(2), ARG_INT(3));
}

/** @see mkdirat(2) */
long kernel_mkdir(struct call *call) {
  const char *last;
  long parent = open_parent(call, ARG_FD(0), ARG_STR(1), ARG_INT(3), ARG_INT(4), &last);
  if (parent < 0 && parent != AT_FDCWD) return parent;
  long r = at_last(call, ARG_STR(1), SYSCALL(mkdirat, parent, last, ARG_INT(2)));
  close_unless(parent, ARG_FD(0));
  return r;
}

/* A directory that is there already: it gets the mode, when there is one. */
static long adopt_directory(long parent, const char *last, long mode) {
  long fd = open_last((int)parent, last, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  long r = mode < 0 ? 0 : SYSCALL(fchmod, fd, mode);
  SYSCALL(close, fd);
  return r;
}

/** A directory of this mode; without a mode one of 0755, or what is there already. Something else that is
    there is an error. @see mkdirat(2) */
long kernel_directory(struct call *call) {
  enum { USUAL_MODE = 0755 };
  const char *last;
  long mode = ARG_INT(2);
  long parent = open_parent(call, ARG_FD(0), ARG_STR(1), ARG_INT(3), ARG_INT(4), &last);
  if (parent < 0 && parent != AT_FDCWD) return parent;
  long r = SYSCALL(mkdirat, parent, last, mode < 0 ? USUAL_MODE : mode);
  if (r == -EEXIST) r = adopt_directory(parent, last, mode);
  close_unless(parent, ARG_FD(0));
  return at_last(call, ARG_STR(1), r);
}

static unsigned long device_number(unsigned long major, unsigned long minor) {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xffUL) << 12);
}

/** @see mknodat(2) */
long kernel_mknod(struct call *call) {
  const char *last;
  unsigned long major = (unsigned long)ARG_INT(4), minor = (unsigned long)ARG_INT(5);
  if (major >> 12 || minor >> 20) return -EINVAL; /* each would run into the other's bits */
  long parent = open_parent(call, ARG_FD(0), ARG_STR(1), ARG_INT(6), 0, &last);
  if (parent < 0 && parent != AT_FDCWD) return parent;
  unsigned long device = device_number(major, minor);
  long r =
      at_last(call, ARG_STR(1), SYSCALL(mknodat, parent, last, ARG_INT(2) | ARG_INT(3), device));
  close_unless(parent, ARG_FD(0));
  return r;
}

/* A link that is there already, and leads to the same. Where another one leads to is said. */
static long adopt_link(struct call *call, long parent, const char *last, const char *target) {
  char there[PATH_MAX_];
  long n = SYSCALL(readlinkat, parent, last, there, sizeof there - 1);
  if (n < 0) return -EEXIST;
  there[n] = '\0';
  if (text_equal(there, target)) return 0;
  if (n >= MAX_FOUND) there[MAX_FOUND - 1] = '\0';
  if (call->found) text_append(call->found, there);
  return -EEXIST;
}

/** A link, or what is there already; something else that is there is an error. @see symlinkat(2) */
long kernel_symlink(struct call *call) {
  const char *last;
  long parent = open_parent(call, ARG_FD(1), ARG_STR(2), ARG_INT(3), ARG_INT(4), &last);
  if (parent < 0 && parent != AT_FDCWD) return parent;
  long r = SYSCALL(symlinkat, ARG_STR(0), parent, last);
  if (r == -EEXIST) r = adopt_link(call, parent, last, ARG_STR(0));
  close_unless(parent, ARG_FD(1));
  return at_last(call, ARG_STR(2), r);
}

/** A new file with this content; an existing one is an error (EEXIST), or with `over` gets it. @see open(2) */
long kernel_write_file(struct call *call) {
  const char *last;
  long parent = open_parent(call, ARG_FD(0), ARG_STR(1), ARG_INT(4), ARG_INT(5), &last);
  if (parent < 0 && parent != AT_FDCWD) return parent;
  long existing = ARG_INT(6) ? O_TRUNC | O_NONBLOCK : O_EXCL;
  long fd = SYSCALL(openat, parent, last, O_WRONLY | O_CREAT | existing | O_NOFOLLOW | O_CLOEXEC,
                    ARG_INT(3));
  close_unless(parent, ARG_FD(0));
  if (fd < 0) return at_last(call, ARG_STR(1), fd);
  long r = write_all((int)fd, ARG_STR(2), ARG_SIZE(2));
  SYSCALL(close, fd);
  return r;
}

/* What is at a path below a root, in one step; only a failure is looked into more closely. */
static long open_existing(struct call *call, int root, const char *path, long links) {
  const char *last;
  long fd = open_at(root, below(root, path), O_PATH, 0, resolution(root));
  if (fd >= 0) return fd;
  long parent = open_parent(call, root, path, -1, links, &last);
  if (parent < 0) return parent;
  if (links) fd = open_last((int)parent, last, O_PATH);
  close_unless(parent, root);
  return at_last(call, path, fd);
}

/* What is at a path below a root, and if that is nothing, an empty directory or file of mode `mode` for
   a mount of the given type to cover, in directories that are made too. */
static long open_or_make(struct call *call, int root, const char *path, long type, long create_mode,
                         long mode, long links) {
  const char *last;
  long parent = open_parent(call, root, path, create_mode, links, &last);
  if (parent < 0) return parent;
  long r = type == S_IFDIR ? SYSCALL(mkdirat, parent, last, mode)
                           : SYSCALL(mknodat, parent, last, S_IFREG | mode, 0);
  if (r >= 0 || r == -EEXIST) r = open_last((int)parent, last, O_PATH);
  close_unless(parent, root);
  return at_last(call, path, r);
}

static long move_onto(long mount, long target) {
  return SYSCALL(move_mount, mount, "", target, "",
                 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/** Mounts a detached mount on a path below a root. Missing directories are made with mode `parents`, or
    are an error without it; so is the mount point, with `mode` (without: a directory with 0755, a file with
    0444). @see move_mount(2) */
long kernel_attach(struct call *call) {
  int mount = ARG_FD(0), root = ARG_FD(1);
  long target, type, mode = ARG_INT(4);
  if (ARG_INT(3) < 0) {
    target = open_existing(call, root, ARG_STR(2), ARG_INT(5));
  } else {
    type = file_type(mount);
    if (type < 0) return type;
    if (mode < 0) mode = type == S_IFDIR ? 0755 : 0444;
    target = open_or_make(call, root, ARG_STR(2), type, ARG_INT(3), mode, ARG_INT(5));
  }
  if (target < 0) return target;
  long r = move_onto(mount, target);
  SYSCALL(close, target);
  return at_last(call, ARG_STR(2), r);
}

/** Covers what is at a path with the empty "file" or "directory" of the mount `masks`. */
long kernel_mask(struct call *call) {
  long target = open_existing(call, ARG_FD(1), ARG_STR(2), ARG_INT(3));
  if (target < 0) return target;
  long r = file_type((int)target);
  if (r >= 0) {
    long cover = SYSCALL(open_tree, ARG_FD(0), r == S_IFDIR ? "directory" : "file",
                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    r = cover < 0 ? cover : move_onto(cover, target);
    close_unless(cover, -1);
  }
  SYSCALL(close, target);
  return at_last(call, ARG_STR(2), r);
}

/** Fails with EBUSY when another mount lies on the root: "/.." would lead there, as after
    pivot_root(2) it leads to the old root until that is unmounted. */
long kernel_expect_root(struct call *call) {
  (void)call;
  struct statx root, above;
  long r = SYSCALL(statx, AT_FDCWD, "/", 0, STATX_MNT_ID, &root);
  if (r >= 0) r = SYSCALL(statx, AT_FDCWD, "/..", 0, STATX_MNT_ID, &above);
  return r < 0 ? r : root.stx_mnt_id == above.stx_mnt_id ? 0 : -EBUSY;
}

/** Fails with ENODEV unless the fd is this device (any of the type when no number is given). */
long kernel_expect_device(struct call *call) {
  struct statx st;
  long r = SYSCALL(statx, ARG_FD(0), "", AT_EMPTY_PATH, STATX_TYPE, &st);
  if (r < 0) return r;
  long type = st.stx_mode & S_IFMT;
  if (type != ARG_INT(1) && (ARG_INT(1) || (type != S_IFCHR && type != S_IFBLK))) return -ENODEV;
  if (!ARG_INT(2)) return 0;
  return st.stx_rdev_major == ARG_INT(2) && st.stx_rdev_minor == ARG_INT(3) ? 0 : -ENODEV;
}
