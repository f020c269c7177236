/* What a process has of its own: directory, session, signals, attributes, its program. */
#include "kernel.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <asm-generic/errno.h>
#include <asm/signal.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/resource.h>

enum { PATH_MAX_ = 4096, SIG_SETMASK_ = 2, SIGNAL_SET_SIZE = 8, LAST_SIGNAL = 64 };

/* Opens a path for looking only, refusing magic links: /proc/self/exe, /proc/self/fd/3, /dev/fd/3
   lead out of the root that the path is meant in (CVE-2024-21626). */
static long look_up(const char *path, unsigned long flags) {
  struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_NO_MAGICLINKS };
  return SYSCALL(openat2, AT_FDCWD, path, &how, sizeof how);
}

/* A directory outside the root has a path that does not begin with "/". */
static long check_inside(void) {
  char path[PATH_MAX_];
  long r = SYSCALL(getcwd, path, sizeof path);
  return r < 0 ? r : path[0] == '/' ? 0 : -ENOENT;
}

static long change_directory(const char *path) {
  long fd = look_up(path, O_DIRECTORY);
  if (fd < 0) return fd;
  long r = SYSCALL(fchdir, fd);
  SYSCALL(close, fd);
  return r < 0 ? r : check_inside();
}

/** @see chdir(2) */
long kernel_chdir(struct call *call) { return change_directory(ARG_STR(0)); }

/** @see fchdir(2) */
long kernel_fchdir(struct call *call) { return SYSCALL(fchdir, ARG_FD(0)); }

/** @see chroot(2) */
long kernel_chroot(struct call *call) { return SYSCALL(chroot, ARG_STR(0)); }

/** Returns the former mask. @see umask(2) */
long kernel_umask(struct call *call) { return SYSCALL(umask, ARG_INT(0)); }

/** @see setsid(2) */
long kernel_setsid(struct call *call) {
  (void)call;
  return SYSCALL(setsid, 0);
}

/* The number in hexadecimal digits behind a name in the text of a file of /proc; 0 when it is not there. */
static uint64_t field_of(const char *text, long size, const char *name) {
  long length = (long)text_length(name);
  for (long at = 0; at + length <= size; at++) {
    long i = 0;
    while (i < length && text[at + i] == name[i]) i++;
    if (i < length) continue;
    uint64_t number = 0;
    for (at += length; at < size && text[at] > ' '; at++)
      number = number << 4 | (uint64_t)(text[at] <= '9' ? text[at] - '0' : text[at] - 'a' + 10);
    return number;
  }
  return 0;
}

/* The signals that are ignored or caught, bit n-1 for signal n; all when proc(5) does not tell. One
   file is faster to read than 62 dispositions. */
static uint64_t changed_signals(void) {
  char text[4096];
  long fd = SYSCALL(openat, AT_FDCWD, "/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ~(uint64_t)0;
  long n = SYSCALL(read, fd, text, sizeof text);
  SYSCALL(close, fd);
  if (n < 0 || n == sizeof text) return ~(uint64_t)0;
  return field_of(text, n, "SigIgn:\t") | field_of(text, n, "SigCgt:\t");
}

/** Gives every signal its default disposition: an ignored one stays so across execve, even with
    CLONE_CLEAR_SIGHAND. @see sigaction(2) */
long kernel_default_signals(struct call *call) {
  (void)call;
  struct sigaction default_action = { 0 };
  uint64_t changed = changed_signals();
  for (long signal = 1; signal <= LAST_SIGNAL; signal++) {
    if (!(changed >> (signal - 1) & 1) || signal == SIGKILL || signal == SIGSTOP) continue;
    long r = SYSCALL(rt_sigaction, signal, &default_action, 0, SIGNAL_SET_SIZE);
    if (r < 0) return r;
  }
  return 0;
}

/** @see sigaction(2) */
long kernel_ignore_signal(struct call *call) {
  struct sigaction ignored = { .sa_handler = SIG_IGN };
  return SYSCALL(rt_sigaction, ARG_INT(0), &ignored, 0, SIGNAL_SET_SIZE);
}

/** Blocks no signal. @see sigprocmask(2) */
long kernel_unblock_signals(struct call *call) {
  (void)call;
  uint64_t none = 0;
  return SYSCALL(rt_sigprocmask, SIG_SETMASK_, &none, 0, SIGNAL_SET_SIZE);
}

/** @see PR_SET_NO_NEW_PRIVS(2const) */
long kernel_no_new_privs(struct call *call) {
  (void)call;
  return SYSCALL(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/** @see PR_SET_DUMPABLE(2const) */
long kernel_dumpable(struct call *call) { return SYSCALL(prctl, PR_SET_DUMPABLE, ARG_INT(0)); }

/** @see PR_SET_CHILD_SUBREAPER(2const) */
long kernel_child_subreaper(struct call *call) {
  return SYSCALL(prctl, PR_SET_CHILD_SUBREAPER, ARG_INT(0));
}

/** @see PR_SET_PDEATHSIG(2const) */
long kernel_parent_death_signal(struct call *call) {
  return SYSCALL(prctl, PR_SET_PDEATHSIG, ARG_INT(0));
}

/** A new anonymous session keyring. @see keyctl(2) */
long kernel_session_keyring(struct call *call) {
  (void)call;
  return SYSCALL(keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
}

/** Limits of the caller; -1 is no limit. @see setrlimit(2) */
long kernel_setrlimit(struct call *call) {
  struct rlimit64 limits = { .rlim_cur = (uint64_t)ARG_INT(1), .rlim_max = (uint64_t)ARG_INT(2) };
  return SYSCALL(prlimit64, 0, ARG_INT(0), &limits, 0);
}

/* The filters come last, as they may take away what looking up needs; our own first, as they may take away
   seccomp. They are installed once: a further candidate runs under the same. */
static long install_all_filters(struct call *call) {
  unsigned number;
  long r = ARG_INT(4) & REFUSE_SETID_FILES ? kernel_refuse_setid_files(call) : 0;
  if (r < 0) return r;
  r = install_filters(call, 5, &number);
  if (r < 0) call->detail = 1 + number;
  else call->arguments[5] = (struct argument){ 0 };
  ARG_INT(4) &= ~REFUSE_SETID_FILES;
  return r;
}

/* A script that does not say what it is one for is given to the first word, which the others then come behind. */
static long execute_file(struct call *call, char *file) {
  char **words = ARG_LIST(1);
  if (!(ARG_INT(4) & EXECUTE_SCRIPTS)) return SYSCALL(execve, file, words, ARG_LIST(2));
  long r = SYSCALL(execve, file, words + 1, ARG_LIST(2));
  if (r != -ENOEXEC) return r;
  words[1] = file;
  return SYSCALL(execve, words[0], words, ARG_LIST(2));
}

/* Executes one candidate. ENOENT although the file is there means that its interpreter is not. */
static long execute(struct call *call, char *file) {
  long fd = look_up(file, 0);
  if (fd < 0) return fd;
  SYSCALL(close, fd);
  long r = install_all_filters(call);
  if (r < 0) return r;
  r = execute_file(call, file);
  call->detail = r == -ENOENT;
  return r;
}

/* Executes what an fd refers to, wherever that is. */
static long execute_program(struct call *call) {
  char **words = ARG_LIST(1) + (ARG_INT(4) & EXECUTE_SCRIPTS ? 1 : 0);
  long r = install_all_filters(call);
  return r < 0 ? r : SYSCALL(execveat, ARG_FD(7), "", words, ARG_LIST(2), AT_EMPTY_PATH);
}

/* The first of the directories, each "PWD=…", that can be entered; it is what the environment begins with. */
static long enter_first(char **directories, char **env) {
  enum { NAME_LENGTH = sizeof "PWD=" - 1 };
  long r = -ENOENT;
  for (; r < 0 && *directories; directories++) {
    r = change_directory(*directories + NAME_LENGTH);
    if (r >= 0) env[0] = *directories;
  }
  return r;
}

/** Replaces the program. A name without "/" is searched for in the list of directories `path`. With the flag
    `refuse_setid_files` the new program cannot make any (see there); with `scripts` the first word of `argv` is none for
    it, but the program for a file that the kernel cannot execute (ENOEXEC), as of execvp(3). `filters` are installed
    just before: each is its flags (as of seccomp) and its size as uint32_t, and the program. On ENOENT, detail 1 says
    that the file exists and its interpreter is missing; with any errno, 1 + n that filter n was not accepted. With
    `directories`, each "PWD=…", the first that can be entered becomes the working directory, and the first variable.
    With `program` that is executed in place of the file; a script cannot be: its interpreter would not get at it.
    @see execve(2) */
long kernel_execve(struct call *call) {
  char *file = (char *)ARG_INT(0);
  const char *path = ARG_STR(3);
  long entered = ARG_LIST(6) ? enter_first(ARG_LIST(6), ARG_LIST(2)) : 0;
  if (entered < 0) return entered;
  if (ARG_FD(7) >= 0) return execute_program(call);
  for (size_t i = 0; file[i]; i++)
    if (file[i] == '/') return execute(call, file);
  char candidate[PATH_MAX_];
  long failure = -ENOENT;
  while (path && *path && *file) {
    size_t n = 0;
    while (path[n] && path[n] != ':') n++;
    if (n > 0 && n + 1 + ARG_SIZE(0) < sizeof candidate) {
      for (size_t i = 0; i < n; i++) candidate[i] = path[i];
      candidate[n] = '/';
      text_append(candidate + n + 1, file);
      long r = execute(call, candidate);
      if (r == -EACCES && !call->detail) failure = r;
      else if ((r != -ENOENT && r != -ENOTDIR) || call->detail) return r;
    }
    path += n + (path[n] == ':');
  }
  return failure;
}
