#ifndef NSLUA_SYS_IMAGE_H
#define NSLUA_SYS_IMAGE_H

/* The sealed memfd that holds the stage; it belongs to the process and stays open. -1 and errno. */
int stage_fd(void);

#endif
