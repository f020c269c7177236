/* The functions that a compiler may call on its own, for a program without libc. */
#include <stddef.h>

void *memset(void *to, int c, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);

void *memset(void *to, int c, size_t n) {
  for (char *p = to; n--;) *p++ = (char)c;
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  char *p = to;
  for (const char *q = from; n--;) *p++ = *q++;
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  char *p = to;
  const char *q = from;
  if (p < q)
    while (n--) *p++ = *q++;
  else
    while (n--) p[n] = q[n];
  return to;
}
