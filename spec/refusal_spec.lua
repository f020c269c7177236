-- luacheck: no max line length
--- What the default recipe refuses: each attempt, made from inside, with the error that it meets; by a payload that is an
-- ordinary user there, and by one that is uid 0. What takes a set-up of its own is elsewhere: inherited descriptors, the
-- caller's terminal and environment (security_spec), each call by its number and the 32-bit gate (seccomp_spec).
local inside = require "inside"
local landlock = require "nslua.landlock"
local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"

local sandbox, fs = nslua.sandbox, nslua.fs
local USERS <const> = { "self", "root" }
local HOST_PID <const> = sys.getpid()

-- What attempts are written in: expressions of Python that raise OSError when they are refused.
local PREAMBLE <const> = [[
import ctypes, errno, fcntl, os, pty, resource, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
  ctypes.set_errno(0)
  number = NUMBERS[name] if isinstance(name, str) else name
  if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args]) < 0:
    raise OSError(ctypes.get_errno(), name)
def opened(path, flags=os.O_RDONLY): os.close(os.open(path, flags | os.O_NONBLOCK))
def read(path): open(path, "rb").read(16)
def made(family, kind, protocol=0): socket.socket(family, kind, protocol)
def attempt(code):
  try: eval(code); return "done"
  except OSError as e: return errno.errorcode[e.errno]
terminal, slave = pty.openpty()
memory = ctypes.create_string_buffer(256)
capability_header = struct.pack("Ii", 0x20080522, 0)
def capability_sets(mask): return struct.pack("6I", mask & 0xffffffff, mask & 0xffffffff, 0, mask >> 32, mask >> 32, 0)
]]

local numbers = {}
for _, name in ipairs(sys.syscall_names()) do numbers[#numbers + 1] = ("%q: %d"):format(name, sys.syscall_number(name)) end

--- Makes attempts in a box; those that met something else than they should, as text.
local function surprises(box, cases, is_uid_0)
  local list, unexpected = {}, {}
  for i, case in ipairs(cases) do list[i] = ("%q"):format(case[1]) end
  local seen, result = inside.python(box, ("NUMBERS = {%s}\n%sfor code in (%s,): print(attempt(code))\n"):format(
    table.concat(numbers, ", "), PREAMBLE, table.concat(list, ", ")))
  assert(result.ok, seen)
  local i = 0
  for outcome in seen:gmatch "[^\n]+" do
    i = i + 1
    local wanted = is_uid_0 and cases[i][3] or cases[i][2]
    if not (" " .. wanted .. " "):find(" " .. outcome .. " ", 1, true) then
      unexpected[#unexpected + 1] = ("%s: %s, not %s"):format(cases[i][1], outcome, wanted)
    end
  end
  assert.equal(#cases, i, seen)
  return table.concat(unexpected, "\n")
end

-- -- the attempts: what is tried; what it meets, alternatives for other kernels; and what uid 0 meets if not the same --

local CASES <const> = {}

--- Adds one attempt for each value.
local function each(cases, values, code, ...)
  for _, value in ipairs(values) do cases[#cases + 1] = { code:format(value), ... } end
end

local processes = {
  { "call('ptrace', 16, 1, 0, 0)", "EPERM" }, { "call('ptrace', 0x4206, 1, 0, 0)", "EPERM" }, -- ATTACH, SEIZE
  { "call('ptrace', 16, os.getppid(), 0, 0)", "EPERM" }, { "call('ptrace', 0, 0, 0, 0)", "EPERM" }, -- TRACEME
  { "call('process_vm_readv', 1, memory, 1, memory, 1, 0)", "EPERM" },
  { "call('process_vm_writev', 1, memory, 1, memory, 1, 0)", "EPERM" },
  { "call('pidfd_getfd', os.pidfd_open(1), 64, 0)", "EPERM" }, { "call('kcmp', 1, os.getpid(), 0, 0, 0)", "EPERM" },
  { "call('process_madvise', os.pidfd_open(1), memory, 1, 20, 0)", "EACCES EPERM EINVAL" },
  { "call('get_robust_list', 1, memory, memory)", "EPERM" }, { "call('move_pages', 1, 0, 0, 0, 0, 0)", "EPERM" },
  { "resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))", "EPERM" }, { "resource.prlimit(os.getppid(), resource.RLIMIT_CPU)", "EPERM" },
}
each(processes, { "mem", "environ", "maps", "smaps", "auxv", "stack", "pagemap", "syscall", "personality", "io", "timers" },
  "read('/proc/1/%s')", "ENOENT EACCES EPERM")
for _, code in ipairs { "os.readlink('/proc/1/%s')", "opened('/proc/1/%s')" } do
  each(processes, { "exe", "root", "cwd", "fd/64", "ns/user", "ns/mnt", "ns/pid", "ns/net" }, code, "ENOENT EACCES EPERM")
end
each(processes, { "fd", "fdinfo", "map_files" }, "os.listdir('/proc/1/%s')", "ENOENT EACCES EPERM")
each(processes, { HOST_PID }, "os.kill(%d, 0)", "ESRCH")
each(processes, { HOST_PID }, "os.kill(%d, 9)", "ESRCH")
each(processes, { HOST_PID }, "os.pidfd_open(%d)", "ESRCH EINVAL")
each(processes, { HOST_PID }, "read('/proc/%d/mem')", "ENOENT")
CASES["other processes"] = processes

local privileges = {
  { "call('prctl', 28, 0, 0, 0, 0)", "EPERM" }, -- PR_SET_SECUREBITS
  { "call('prctl', 8, 1, 0, 0, 0)", "EPERM" }, -- PR_SET_KEEPCAPS
  { "call('prctl', 38, 0, 0, 0, 0)", "EINVAL" }, -- PR_SET_NO_NEW_PRIVS, back to 0
  { "call('prctl', 35, 1, 0x10000, 0, 0)", "EPERM EINVAL" }, -- PR_SET_MM
  { "os.setuid(0)", "EINVAL", "done" }, { "os.setresgid(0, 0, 0)", "EINVAL", "done" },
  { "os.setuid(4242)", "EINVAL" }, { "os.setresuid(-1, 4242, -1)", "EINVAL" }, { "os.setresgid(4242, 4242, 4242)", "EINVAL" },
  { "os.setgroups([0])", "EPERM" }, { "os.setgroups([])", "EPERM" }, { "os.chown('/tmp', 4242, -1)", "EINVAL EPERM" },
  { "os.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))", "EPERM" }, { "os.nice(-1)", "EPERM EACCES" },
  { "os.sched_setscheduler(0, 1, os.sched_param(1))", "EPERM" }, { "os.setxattr('/tmp', 'security.capability', struct.pack('<5I', 0x02000001, 1, 0, 0, 0))", "EPERM EOPNOTSUPP" },
  { "os.setxattr('/tmp', 'trusted.x', b'')", "EPERM" }, { "opened('/proc/self/uid_map', os.O_WRONLY) or os.write(os.open('/proc/self/uid_map', 1), b'0 0 1')", "EPERM" },
}
local capabilities = {}
for capability = 0, sys.capability_count() - 1 do capabilities[#capabilities + 1] = capability end
each(privileges, capabilities, "call('capset', capability_header, capability_sets(1 << %d))", "EPERM")
each(privileges, capabilities, "call('prctl', 47, 2, %d, 0, 0)", "EPERM") -- PR_CAP_AMBIENT_RAISE
CASES["capabilities and ids"] = privileges

local KINDS <const> = { mnt = 0x20000, cgroup = 0x2000000, uts = 0x4000000, ipc = 0x8000000, user = 0x10000000, pid = 0x20000000, net = 0x40000000 }
local namespaces = {
  { "call('clone3', memory, 88)", "ENOSYS" }, { "call('unshare', 0x80)", "EPERM" }, -- a time namespace
  { "call('setns', os.pidfd_open(1), 0x20000)", "EPERM" }, { "call('mount', b't', b'/tmp', b'tmpfs', 0, 0)", "EPERM" },
  { "call('umount2', b'/proc', 2)", "EPERM" }, { "call('pivot_root', b'.', b'.')", "EPERM" }, { "os.chroot('/tmp')", "EPERM" },
  { "call('open_tree', -100, b'/', 1)", "EPERM" }, { "call('move_mount', 0, b'', -100, b'/', 4)", "EPERM" },
  { "call('mount_setattr', -100, b'/', 0, memory, 32)", "EPERM" }, { "call('fsopen', b'tmpfs', 0)", "EPERM" },
  { "call('fspick', -100, b'/', 0)", "EPERM" }, { "call('fsmount', 0, 0, 0)", "EPERM" }, { "call('open_by_handle_at', -100, memory, 0)", "EPERM" },
  { "socket.sethostname('x')", "EPERM" },
}
for name, flag in pairs(KINDS) do
  each(namespaces, { flag }, "call('unshare', %d)", "EPERM")
  each(namespaces, { flag | 17 }, "call('clone', %d, 0, 0, 0, 0)", "EPERM")
  each(namespaces, { name }, "call('setns', os.open('/proc/self/ns/%s', 0), 0)", "EPERM")
end
CASES["namespaces and mounts"] = namespaces

CASES["keys"] = {
  { "call('add_key', b'user', b'name', b'x', 1, -3)", "EPERM" }, { "call('request_key', b'user', b'name', 0, 0)", "EPERM" },
  { "call('keyctl', 0, -4, 0)", "EPERM" }, { "call('keyctl', 1, 0)", "EPERM" }, { "read('/proc/keys')", "EACCES ENOENT" },
}

local kernel = {
  { "fcntl.ioctl(slave, 0x5412, b'x')", "EPERM" }, { "fcntl.ioctl(terminal, 0x541c, b'x')", "EPERM" }, -- TIOCSTI, TIOCLINUX
  { "fcntl.ioctl(terminal, 0x5412, b'x')", "EPERM" }, { "fcntl.ioctl(slave, 0x541c, b'x')", "EPERM" },
  { "call('io_uring_setup', 8, memory)", "EPERM" }, { "call('userfaultfd', 0)", "EPERM" }, { "call('bpf', 0, memory, 128)", "EPERM" },
  { "call('perf_event_open', memory, 0, -1, -1, 0)", "EPERM" }, { "call('syslog', 3, memory, 16)", "EPERM" },
  { "call('reboot', 0, 0, 0, 0)", "EPERM" }, { "call('kexec_load', 0, 0, 0, 0)", "EPERM" }, { "call('init_module', 0, 0, b'')", "EPERM" },
  { "call('swapon', b'/tmp', 0)", "EPERM" }, { "call('acct', 0)", "EPERM" }, { "call('settimeofday', memory, 0)", "EPERM" },
  { "call('fanotify_init', 0, 0)", "EPERM" }, { "call('vhangup')", "EPERM" }, { "call('personality', 0x0400000)", "EPERM" },
  { "os.listdir('/sys')", "ENOENT" }, { "os.listdir('/boot')", "ENOENT" }, { "read('/etc/shadow')", "ENOENT" }, { "opened('/dev/tty')", "ENXIO" },
}
each(kernel, { "mem", "kmsg", "port", "kvm", "fuse", "loop-control", "net/tun", "vhost-vsock", "sda", "vda", "console" }, "opened('/dev/%s')", "ENOENT")
each(kernel, { "kcore", "kmsg", "kallsyms", "timer_list", "iomem", "ioports", "sched_debug", "config.gz", "latency_stats", "vmallocinfo",
  "slabinfo", "pagetypeinfo", "kpagecount", "vmcore" }, "read('/proc/%s')", "EACCES ENOENT")
each(kernel, { "sysrq-trigger", "sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/sysrq", "sys/kernel/hostname",
  "sys/kernel/ns_last_pid", "sys/kernel/shmmax", "sys/kernel/yama/ptrace_scope", "sys/vm/overcommit_memory", "sys/vm/drop_caches",
  "sys/fs/suid_dumpable", "sys/fs/binfmt_misc/register", "sys/fs/mqueue/msg_max", "sys/net/ipv4/ip_forward",
  "sys/user/max_user_namespaces", "mtrr", "irq/0/smp_affinity", "bus/pci/00/00.0" }, "opened('/proc/%s', os.O_WRONLY)", "EACCES EROFS ENOENT")
if sys.audit_arch() == 0xc000003e then -- x32: getpid, ptrace by both of its numbers, rt_sigaction
  each(kernel, { 0x40000000 | 39, 0x40000000 | 101, 0x40000000 | 521, 512 }, "call(%d, 0, 0, 0, 0)", "ENOSYS")
end
CASES["the kernel"] = kernel

--- What changes the priorities of a process: by the expression of its pid.
local function each_priority(list, pid, outcome)
  each(list, { pid }, "os.sched_setaffinity(%s, {0})", outcome)
  each(list, { pid }, "os.sched_setscheduler(%s, os.SCHED_IDLE, os.sched_param(0))", outcome)
  each(list, { pid }, "os.setpriority(os.PRIO_PROCESS, %s, 19)", outcome)
  each(list, { pid }, "call('ioprio_set', 1, %s, 0x6000)", outcome)
end

local users = {}
each(users, { "os.setpriority(os.PRIO_USER, 0, 19)", "call('ioprio_set', 3, 0, 0x6000)" }, "%s", "EPERM")

local priorities = table.move(users, 1, #users, 1, {})
each_priority(priorities, "1", "EPERM")
each_priority(priorities, "os.getpid()", "done 0")
each(priorities, { "os.setpriority(os.PRIO_PGRP, 1, 19)", "call('ioprio_set', 2, 1, 0x6000)" }, "%s", "EPERM")
CASES["the reaper's priority"] = priorities

local sockets = {}
each(sockets, { "2, 3, 1", "2, 3, 6", "10, 3, 58", "10, 3, 17" }, "made(%s)", "EPERM")
-- RAW, UDP-Lite, SCTP, DCCP, L2TP, GRE, MPTCP; then netlink's: SOCK_DIAG, AUDIT, CONNECTOR, NETFILTER, events, GENERIC, RDMA, CRYPTO
each(sockets, { "2, 3, 255", "2, 2, 136", "2, 1, 132", "2, 6, 33", "2, 2, 115", "2, 3, 47", "2, 1, 262", "10, 1, 132", "16, 3, 4",
  "16, 3, 9", "16, 3, 11", "16, 3, 12", "16, 3, 15", "16, 3, 16", "16, 3, 20", "16, 3, 21" }, "made(%s)", "EPROTONOSUPPORT")
for family = 3, 50 do -- PACKET 17, TIPC 30, BLUETOOTH 31, ALG 38, VSOCK 40, XDP 44; KEY 15, CAN 29, RXRPC 33, …
  if family ~= 10 and family ~= 16 then each(sockets, { family }, "made(%d, 3)", "EAFNOSUPPORT") end
end
CASES["raw and exotic sockets"] = sockets

for _, user in ipairs(USERS) do
  describe("the default recipe with user = " .. user .. " refuses", function()
    for name, cases in pairs(CASES) do
      it(name, function() assert.equal("", surprises(sandbox { user = user }, cases, user == "root")) end)
    end
  end)
end

describe("a sandbox without a PID namespace", function()
  local box = sandbox { namespaces = { "user" } }

  it("does not let its payload end the reaper or the caller by a limit, nor make them wait for a processor", function()
    local cases = {}
    for _, pid in ipairs { ("%d"):format(HOST_PID), "os.getppid()" } do
      each(cases, { pid }, "resource.prlimit(%s, resource.RLIMIT_CPU, (0, 0))", "EPERM")
      each_priority(cases, pid, "EPERM")
    end
    table.move(users, 1, #users, #cases + 1, cases)
    each(cases, { "os.setpriority(os.PRIO_PROCESS, 0, 5)", "os.sched_setaffinity(0, os.sched_getaffinity(0))" }, "%s", "done")
    assert.equal("", surprises(box, cases))
  end)

  it("ends with all its processes, however fast they fork", function()
    if landlock.abi() < 6 then return pending "without Landlock's scopes the reaper runs after them" end
    local directory, marker = probe.directory(), watch.marker()
    probe.program(directory, "hop", [[
      #include <stdlib.h>
      #include <unistd.h>
      int main(int argc, char **argv) {
        for (int i = atoi(argv[1]); i > 0; i--)
          if (fork() == 0) for (setsid();;) if (fork() > 0) _exit(0);
        sleep(60);
        return argc;
      } ]])
    local result = box:run { directory .. "/hop", "300", marker, timeout = 1 }
    probe.remove(directory)
    assert.equal("timeout", result.reason)
    assert.is_true(watch.vanish(marker, 0))
  end)
end)

describe("programs that would give a privilege", function()
  local NONE <const> = ("0"):rep(16)

  it("give none: each set-user-id and set-group-id program that there is", function()
    local paths = {}
    for line in probe.shell "find /usr -type f -perm /6000":gmatch "[^\n]+" do
      if line:sub(1, 1) == "/" then paths[#paths + 1] = ("%q,"):format(line) end
    end
    if #paths == 0 then return pending "there is none" end
    for _, fields in ipairs { {}, { no_new_privs = false }, { user = "root", no_new_privs = false } } do
      local seen = inside.python(sandbox(fields), ([[
import os, subprocess
own, looked = os.getresuid() + os.getresgid(), 0
for path in [%s]:
  try: p = subprocess.Popen([path, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  except PermissionError: continue # a group's only
  try: fields = dict(line.split(":", 1) for line in open("/proc/%%d/status" %% p.pid))
  except OSError: continue # one that may not be read is not to be looked at
  finally: p.kill()
  looked += 1
  if tuple(map(int, fields["Uid"].split()[:3] + fields["Gid"].split()[:3])) != own: print("ids", path)
  if int(fields["CapPrm"], 16): print("capabilities", path)
print(looked > 0)
]]):format(table.concat(paths)))
      assert.equal("True\n", seen)
    end
  end)

  it("give none: a copy with a set-user-id bit and one with capabilities", function()
    local directory = probe.directory()
    probe.shell(("cd %s && cp /usr/bin/grep suid && chmod 6755 suid && cp /usr/bin/grep caps"):format(directory))
    if probe.is_root then -- every capability, permitted and effective
      probe.shell(("python3 -c 'import os, struct; os.setxattr(\"%s/caps\", \"security.capability\", struct.pack(\"<5I\", 0x02000001, 0xffffffff, 0, 0x1ff, 0))'"):format(directory))
    end
    local seen = {}
    for _, user in ipairs(USERS) do
      for _, no_new_privs in ipairs { true, false } do
        local box = sandbox { user = user, no_new_privs = no_new_privs, fs = { fs.os(), fs.ro(directory, "/x") } }
        seen[#seen + 1] = inside.sh(box, "id -u; for p in suid caps; do /x/$p -E '^(Uid|CapPrm|CapEff)' /proc/self/status; done")
      end
    end
    probe.remove(directory)
    for _, text in ipairs(seen) do
      local uid = text:match "^%d+"
      assert.equal(uid .. "\n" .. (("Uid:\t%s\t%s\t%s\t%s\nCapPrm:\t%s\nCapEff:\t%s\n"):format(uid, uid, uid, uid, NONE, NONE)):rep(2), text)
    end
  end)
end)
