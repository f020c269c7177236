--- The system calls that a payload may make when nothing else is said: groups of names, each with its reason.
--
-- What no group names does not exist for the payload (ENOSYS), as on an older kernel: libraries then do
-- without. What is refused by name gives EPERM, as it would to an ordinary user. Names that an architecture
-- or a kernel does not have are no mistake.
-- @module nslua.profile
local allowed = {
  {
    name = "files", why = "open files and directories, read and change them: what may be reached is the tree's matter",
    calls = [[
      open openat openat2 creat close close_range access faccessat faccessat2 stat lstat fstat newfstatat fstatat64 stat64
      lstat64 fstat64 statx statfs fstatfs statfs64 fstatfs64 statmount listmount chmod fchmod fchmodat fchmodat2 chown
      fchown lchown fchownat link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir
      readlink readlinkat mknod mknodat truncate ftruncate truncate64 ftruncate64 fallocate utime utimes utimensat futimesat
      getdents getdents64 getcwd chdir fchdir umask flock fcntl fcntl64 dup dup2 dup3 name_to_handle_at getxattr lgetxattr
      fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr getxattrat
      setxattrat listxattrat removexattrat inotify_init inotify_init1 inotify_add_watch inotify_rm_watch memfd_create ]],
  },
  {
    name = "io", why = "bytes in and out, and waiting for them",
    calls = [[
      read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek sendfile sendfile64 splice tee
      vmsplice copy_file_range readahead fadvise64 fadvise64_64 sync_file_range sync_file_range2 sync syncfs fsync fdatasync
      pipe pipe2 poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl
      epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 io_setup io_submit io_getevents
      io_pgetevents io_cancel io_destroy cachestat ]],
  },
  {
    name = "memory", why = "a process' own memory",
    calls = [[
      brk mmap mmap2 munmap mprotect mremap remap_file_pages msync madvise mincore mlock mlock2 munlock mlockall munlockall
      membarrier pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack get_mempolicy set_mempolicy mbind
      set_mempolicy_home_node memfd_secret process_madvise ]],
  },
  {
    name = "processes", why = "start programs and threads, wait for them and signal them: the PID namespace bounds it",
    calls = [[
      fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill getpid getppid gettid getpgid
      setpgid getpgrp getsid setsid set_tid_address set_robust_list get_robust_list rseq arch_prctl prctl pidfd_open
      pidfd_send_signal process_mrelease set_thread_area get_thread_area capget capset seccomp landlock_create_ruleset
      landlock_add_rule landlock_restrict_self restart_syscall ]],
  },
  {
    name = "ids", why = "who one is; without capabilities and with one id mapped there is nobody else to become",
    calls = [[
      getuid geteuid getgid getegid getgroups getresuid getresgid setuid setgid setreuid setregid setresuid setresgid
      setgroups setfsuid setfsgid ]],
  },
  {
    name = "signals", why = "a process' own signals",
    calls = [[
      rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigtimedwait_time64 rt_sigqueueinfo
      rt_tgsigqueueinfo rt_sigsuspend sigaltstack pause signalfd signalfd4 ]],
  },
  {
    name = "time", why = "read the clocks, and sleep",
    calls = [[
      clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times alarm getitimer setitimer timer_create
      timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime ]],
  },
  {
    name = "scheduling", why = "give way, and ask for less; more needs capabilities",
    calls = [[
      sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
      sched_rr_get_interval sched_getattr getpriority ioprio_get getcpu ]],
  },
  {
    name = "limits", why = "what one uses and may use, and what machine this is",
    calls = "getrlimit setrlimit ugetrlimit getrusage sysinfo uname getrandom",
  },
  {
    name = "ipc", why = "between processes of the sandbox: the IPC namespace bounds it",
    calls = [[
      futex futex_time64 futex_waitv futex_wake futex_wait futex_requeue shmget shmat shmdt shmctl semget semop semtimedop
      semctl msgget msgsnd msgrcv msgctl ipc mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr ]],
  },
  {
    name = "network", why = "sockets, of the families below: the network namespace bounds it",
    calls = [[
      socketpair bind listen accept accept4 connect getsockname getpeername setsockopt getsockopt recvfrom recvmsg recvmmsg
      shutdown ]],
  },
}

local refused = {
  {
    name = "mounts", why = "the tree is what the recipe says", opened_by = { "sys_admin", "nesting" },
    calls = [[
      mount umount umount2 pivot_root open_tree open_tree_attr move_mount mount_setattr fsopen fsconfig fsmount fspick ]],
  },
  { name = "chroot", why = "the root is the recipe's", opened_by = { "sys_chroot", "nesting" }, calls = "chroot" },
  {
    name = "namespaces", why = "no sandbox in a sandbox, and none left: most ways out began here",
    opened_by = { "sys_admin", "nesting" },
    calls = "unshare setns",
  },
  {
    name = "names", why = "the host name is the recipe's",
    opened_by = { "sys_admin", "nesting" }, calls = "sethostname setdomainname",
  },
  {
    name = "programs in the kernel", why = "the largest surface that the kernel has",
    opened_by = { "bpf", "perfmon", "sys_admin" },
    calls = "bpf perf_event_open",
  },
  {
    name = "userfaultfd", why = "makes races in the kernel easy to win", opened_by = { "sys_ptrace" },
    calls = "userfaultfd",
  },
  { name = "io_uring", why = "does what calls do, without the calls", calls = "io_uring_setup io_uring_enter io_uring_register" },
  { name = "keys", why = "keyrings know no namespaces", calls = "add_key request_key keyctl" },
  {
    name = "other processes", why = "memory and descriptors of others", opened_by = { "sys_ptrace" },
    calls = "ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp move_pages migrate_pages",
  },
  { name = "modules", why = "code of the kernel", opened_by = { "sys_module" },
    calls = "init_module finit_module delete_module create_module query_module get_kernel_syms" },
  {
    name = "boot", why = "the machine is everybody's", opened_by = { "sys_boot" },
    calls = "reboot kexec_load kexec_file_load",
  },
  { name = "swap and accounting", why = "the machine is everybody's", opened_by = { "sys_admin", "sys_pacct" },
    calls = "swapon swapoff acct quotactl quotactl_fd" },
  { name = "clocks", why = "the time is everybody's", opened_by = { "sys_time" },
    calls = "settimeofday stime clock_settime clock_adjtime adjtimex" },
  { name = "log", why = "tells of the kernel's addresses", opened_by = { "syslog" }, calls = "syslog" },
  { name = "handles", why = "open any file of a file system, whatever the tree", opened_by = { "dac_read_search" },
    calls = "open_by_handle_at" },
  { name = "ports", why = "the hardware", opened_by = { "sys_rawio" }, calls = "iopl ioperm" },
  {
    name = "watching everything", why = "sees what others open", opened_by = { "sys_admin" },
    calls = "fanotify_init fanotify_mark",
  },
  { name = "terminals", why = "hangs up others", opened_by = { "sys_tty_config" }, calls = "vhangup" },
  { name = "obsolete", why = "nothing uses them but exploits",
    calls = "uselib ustat sysfs _sysctl nfsservctl lookup_dcookie modify_ldt vm86 vm86old" },
}

-- Argument checks. `mask` is what the kernel looks at: high bits that it ignores cannot hide a value. `also` is a check
-- of one more argument, for what passes the first; `with` are values that a capability adds.
local LOW <const> = 0xffffffff
local NEW_NAMESPACES <const> = 0x7e020000 -- CLONE_NEW…; the bit of a time namespace means something else to clone
local MSG_FASTOPEN <const> = 0x20000000
local FAST_OPEN <const> = "no TCP Fast Open: it connects, and no rule of Landlock about ports sees it"

local checked = {
  {
    name = "clone", why = "threads and processes, but no namespaces", opened_by = { "sys_admin", "nesting" },
    argument = 0, any = NEW_NAMESPACES, errno = "EPERM",
  },
  {
    name = "ioctl", why = "no input pushed into a terminal (TIOCSTI, TIOCLINUX)",
    argument = 1, mask = LOW, values = { 0x5412, 0x541c }, errno = "EPERM",
  },
  {
    name = "socket", why = "unix, inet, inet6 and netlink only: other families know no namespaces, or are hardly tested. Of "
      .. "their protocols those of IP, ICMP, TCP and UDP, and netlink's about interfaces and routes: others are hardly "
      .. "tested either, and whoever asks for one has its module loaded",
    argument = 0, mask = LOW, only = { 1, 2, 10, 16 }, with = { net_raw = { 17 } }, errno = "EAFNOSUPPORT",
    also = {
      -- SMC and MPTCP: TCP that no rule of Landlock about ports sees.
      argument = 2, mask = LOW, values = { 256, 262 }, errno = "EPROTONOSUPPORT",
      also = {
        argument = 2, mask = LOW, only = { 0, 1, 6, 17, 58 }, errno = "EPROTONOSUPPORT", opened_by = { "net_raw", "net_admin" },
      },
    },
  },
  { name = "sendto", why = FAST_OPEN, argument = 3, any = MSG_FASTOPEN, errno = "EOPNOTSUPP" },
  { name = "sendmsg", why = FAST_OPEN, argument = 2, any = MSG_FASTOPEN, errno = "EOPNOTSUPP" },
  { name = "sendmmsg", why = FAST_OPEN, argument = 3, any = MSG_FASTOPEN, errno = "EOPNOTSUPP" },
  {
    name = "prlimit64", why = "a process' own limits only: with 0 seconds of processor time it would end others, which no "
      .. "rule about signals sees",
    argument = 0, mask = LOW, only = { 0 }, errno = "EPERM",
  },
  {
    name = "personality", why = "other personalities loosen what maps may be: asking is all, and no other",
    argument = 0, mask = LOW, only = { 0, 0xffffffff }, errno = "EPERM",
  },
}

-- The reaper's priority is not the payload's to change: it would come too late to end what it has to. It is PID 1 and its
-- user is the payload's. Where the payload sees processes that are not the sandbox's, those of all others are not either.
local WHY <const> = "a process' own priority, and others' but the reaper's, which would come too late to end what it has to"

--- Checks of the calls that change priorities, when `which` says of the processes whose.
local function priorities(which)
  local function row(name, argument, kinds)
    local check = { argument = argument, mask = LOW, only = which.only, values = which.values, errno = "EPERM" }
    -- Of a kind: a process, a group, but not all of a user's.
    if kinds then check = { argument = 0, mask = LOW, only = kinds, errno = "EPERM", also = check } end
    check.name, check.why = name, WHY
    return check
  end
  return {
    row("sched_setaffinity", 0), row("sched_setattr", 0), row("sched_setparam", 0), row("sched_setscheduler", 0),
    row("setpriority", 1, { 0, 1 }), row("ioprio_set", 1, { 1, 2 }),
  }
end

for _, row in ipairs(priorities { values = { 1 } }) do checked[#checked + 1] = row end

return {
  allowed = allowed, refused = refused, checked = checked, shared_pids = priorities { only = { 0 } }, absent = { "clone3" },
}
