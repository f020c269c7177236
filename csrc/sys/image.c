/* The programs of the stage and of a worker, embedded, and their sealed memfds. */
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
EMBED(worker_image, "worker.bin");

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

/* A memfd is made once a process. A host that closes fds it does not know may have closed it and reused
   its number, so it is recognised by its inode before every use. */
struct image {
  const char *name, *bytes, *end;
  mode_t mode;
  int fd;
  dev_t device;
  ino_t inode;
};

static struct image images[] = {
  /* Unreadable, though executable: then the kernel counts the process that executes it as the host's, not
     the sandbox's, and no capability of the sandbox's gives access to it. */
  [IMAGE_STAGE] = { "nslua-stage", stage_image, stage_image_end, 0111, -1, 0, 0 },
  [IMAGE_WORKER] = { "nslua-worker", worker_image, worker_image_end, 0555, -1, 0, 0 },
};

static int make(const struct image *image) {
  int fd = memfd_create(image->name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
    fd = memfd_create(image->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  fd = above_stdio(fd);
  if (fd < 0) return -1;
  long r = fchmod(fd, image->mode) < 0 ? -errno : 0;
  if (r == 0) r = write_all(fd, image->bytes, (size_t)(image->end - image->bytes));
  if (r < 0) errno = (int)-r;
  if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int image_fd(enum image_kind kind) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  struct image *image = &images[kind];
  struct stat st;
  pthread_mutex_lock(&lock);
  if (image->fd < 0 || fstat(image->fd, &st) != 0 || st.st_dev != image->device ||
      st.st_ino != image->inode) {
    image->fd = make(image);
    if (image->fd >= 0 && fstat(image->fd, &st) == 0) {
      image->device = st.st_dev;
      image->inode = st.st_ino;
    }
  }
  int fd = image->fd;
  pthread_mutex_unlock(&lock);
  return fd;
}
