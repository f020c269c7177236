/***
 * The programs of the stage and of functions in a sandbox, embedded, and their sealed memfds.
 * @module nslua.sys
 */
#include "image.h"

#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EMBED(name, file)                                                                          \
  __asm__(".section .rodata\n.balign 16\n" #name ": .incbin \"" file "\"\n" #name                  \
          "_end:\n.previous\n");                                                                   \
  extern const char name[] __attribute__((visibility("hidden")));                                  \
  extern const char name##_end[] __attribute__((visibility("hidden")))

EMBED(stage_image, "stage.bin");
EMBED(callee_image, "callee.bin");

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int make(const char *name, const char *bytes, const char *end, mode_t mode) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  fd = above_stdio(fd);
  if (fd < 0) return -1;
  long r = fchmod(fd, mode) < 0 ? -errno : 0;
  if (r == 0) r = write_all(fd, bytes, (size_t)(end - bytes));
  if (r < 0) errno = (int)-r;
  if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

/* -- the stage's -- */

/* Unreadable, though executable: then the kernel counts the process that executes it as the host's, not the
   sandbox's, and no capability of the sandbox's gives access to it. */
enum { STAGE_MODE = 0111 };

/* The image is made once a process. A host that closes fds it does not know may have closed it and
   reused its number, so it is recognised by its inode before every use. */
int stage_fd(void) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static int image = -1;
  static dev_t device;
  static ino_t inode;
  struct stat st;
  pthread_mutex_lock(&lock);
  if (image < 0 || fstat(image, &st) != 0 || st.st_dev != device || st.st_ino != inode) {
    image = make("nslua-stage", stage_image, stage_image_end, STAGE_MODE);
    if (image >= 0 && fstat(image, &st) == 0) {
      device = st.st_dev;
      inode = st.st_ino;
    }
  }
  int fd = image;
  pthread_mutex_unlock(&lock);
  return fd;
}

/* -- that of functions in a sandbox -- */

enum { CALLEE_MODE = 0555 };

/***
 * The program that runs functions in a sandbox (csrc/callee), another one each time: whoever executes it may be its
 * owner, who can change its mode, its attributes and leases.
 * @function callee_program
 * @treturn[1] fd
 * @treturn[2] nil
 * @treturn[2] string
 * @treturn[2] integer errno
 * @see memfd_create(2)
 */
static int callee_program(lua_State *L) {
  int *fd = push_fd(L);
  *fd = make("nslua-function", callee_image, callee_image_end, CALLEE_MODE);
  return *fd < 0 ? push_failure(L, "memfd_create of the interpreter", errno) : 1;
}

void open_image(lua_State *L) {
  lua_pushcfunction(L, callee_program);
  lua_setfield(L, -2, "callee_program");
}
