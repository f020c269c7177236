#ifndef NSLUA_SYS_IMAGE_H
#define NSLUA_SYS_IMAGE_H

enum image_kind { IMAGE_STAGE, IMAGE_WORKER };

/* The sealed memfd that holds a program; it belongs to the process and stays open. -1 and errno. */
int image_fd(enum image_kind kind);

#endif
