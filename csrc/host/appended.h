/* What is appended to the program's own file. */
#ifndef NSLUA_HOST_APPENDED_H
#define NSLUA_HOST_APPENDED_H

#include <stdint.h>

/* Where it is: written into the program's file by nslua.appended, who finds the place by the first bytes. */
struct place {
  char magic[16];
  uint64_t offset, size, checksum; /* size 0: there is none */
};

/* Reads all of it; 0 when the file has not that much. */
int appended_read(const volatile struct place *place, char *data);

/* Whether it is what was appended. */
int appended_is_whole(const volatile struct place *place, const char *data);

#endif
