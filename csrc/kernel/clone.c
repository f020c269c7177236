/* A new process that runs a function on a stack of its own: it may share the caller's memory. */
#include "kernel.h"
#include "syscall.h"

#include <asm-generic/errno.h>
#include <linux/sched.h>

/* The system call with these five arguments; where it returns 0 we are the new process, already on
   the new stack: run child(data), which never returns. */
static long clone_syscall(long n, long a, long b, long c, long d, long e, void (*child)(void *),
                          void *data) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register void (*r12)(void *) __asm__("r12") = child;
  register void *r13 __asm__("r13") = data;
  long result;
  __asm__ volatile("syscall\n\t"
                   "test %%rax, %%rax\n\t"
                   "jnz 1f\n\t"
                   "xor %%ebp, %%ebp\n\t"
                   "mov %%r13, %%rdi\n\t"
                   "call *%%r12\n\t"
                   "ud2\n"
                   "1:"
                   : "=a"(result)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r12), "r"(r13)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register void (*x10)(void *) __asm__("x10") = child;
  register void *x11 __asm__("x11") = data;
  __asm__ volatile("svc #0\n\t"
                   "cbnz x0, 1f\n\t"
                   "mov x29, xzr\n\t"
                   "mov x0, x11\n\t"
                   "blr x10\n\t"
                   "brk #1\n"
                   "1:"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x10), "r"(x11)
                   : "memory", "x30");
  return x0;
#endif
}

/* clone(2), for a kernel or a filter without clone3. */
static long old_clone(struct clone_args *args, void *stack_top, void (*child)(void *), void *data) {
  if (args->flags & (CLONE_INTO_CGROUP | CLONE_NEWTIME)) return -ENOSYS;
  long flags = (long)((args->flags & ~CLONE_CLEAR_SIGHAND) | args->exit_signal);
  return clone_syscall(__NR_clone, flags, (long)stack_top, (long)args->pidfd, 0, 0, child, data);
}

long clone_call(struct clone_args *args, void *stack_top, void (*child)(void *), void *data) {
  uintptr_t top = (uintptr_t)stack_top & ~(uintptr_t)15;
  /* clone3 takes the low end and the size; only their sum counts. */
  args->stack = top - 4096;
  args->stack_size = 4096;
  long r = clone_syscall(__NR_clone3, (long)args, sizeof *args, 0, 0, 0, child, data);
  if (r != -ENOSYS) return r;
  return old_clone(args, (void *)top, child, data);
}
