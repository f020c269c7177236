/* The few string functions that primitives need to write a /proc path or a map line. */
#include "kernel.h"

size_t text_length(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}

int text_equal(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

/* Copies `from` to `to`; returns where its NUL landed, so calls can be chained. */
char *text_append(char *to, const char *from) {
  while ((*to = *from++)) to++;
  return to;
}

char *text_append_number(char *to, unsigned long n) {
  char digits[24];
  char *p = digits + sizeof digits;
  *--p = '\0';
  do *--p = (char)('0' + n % 10);
  while (n /= 10);
  return text_append(to, p);
}
