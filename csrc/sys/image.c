/* The stage's program, embedded, and its sealed memfd. */
#include "image.h"

#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

__asm__(".section .rodata\n"
        ".balign 16\n"
        "stage_image: .incbin \"stage.bin\"\n"
        "stage_image_end:\n"
        ".previous\n");
extern const char stage_image[] __attribute__((visibility("hidden")));
extern const char stage_image_end[] __attribute__((visibility("hidden")));

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int make_image(void) {
  int fd = memfd_create("nslua-stage", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
    fd = memfd_create("nslua-stage", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  fd = above_stdio(fd);
  if (fd < 0) return -1;
  /* Unreadable, though executable: then the kernel counts the process that executes it as the host's,
     not the sandbox's, and no capability of the sandbox's gives access to it. */
  long r = fchmod(fd, 0111) < 0 ? -errno : 0;
  if (r == 0) r = write_all(fd, stage_image, (size_t)(stage_image_end - stage_image));
  if (r < 0) errno = (int)-r;
  if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

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
    image = make_image();
    if (image >= 0 && fstat(image, &st) == 0) {
      device = st.st_dev;
      inode = st.st_ino;
    }
  }
  int fd = image;
  pthread_mutex_unlock(&lock);
  return fd;
}
