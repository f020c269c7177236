/* Raw system calls: no libc, no errno. Every call returns >= 0 or -errno. */
#ifndef NSLUA_KERNEL_SYSCALL_H
#define NSLUA_KERNEL_SYSCALL_H

#include <asm/unistd.h>

#if defined(__x86_64__)

static inline long raw_syscall(long n, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

static inline long raw_syscall(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}

#else
#error "nslua has system call stubs for x86-64 and aarch64 only"
#endif

/* SYSCALL(name, arguments…): one to six arguments; the missing ones are zero. */
#define SYSCALL_PADDED(n, a, b, c, d, e, f, ...)                                                   \
  raw_syscall((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYSCALL(name, ...) SYSCALL_PADDED(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)

#endif
