-- luacheck: no max line length
local bpf = require "bpf"
local filter = require "nslua.filter"
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local profile = require "nslua.profile"

local sandbox, sys = nslua.sandbox, nslua.sys

local ALLOW <const>, KILL <const>, EPERM <const>, ENOSYS <const>, EPROTONOSUPPORT <const>, EAFNOSUPPORT <const> =
  0x7fff0000, 0x80000000, 0x50001, 0x50026, 0x5005d, 0x50061
local HIGH <const> = 1 << 32

local FILTER <const> = sys.default_filter()

--- What the default filter says of a call of this machine.
local function says(name, ...)
  return bpf.run(FILTER, { arch = sys.audit_arch(), nr = assert(sys.syscall_number(name), name), args = { ... } })
end

local function each(groups, f)
  for _, group in ipairs(groups) do
    for name in group.calls:gmatch "%S+" do f(name, group) end
  end
end

--- Makes calls by number inside, each with six zeros, and prints "name errno" of each.
local function call_inside(box, names)
  local list = {}
  for _, name in ipairs(names) do list[#list + 1] = ("(%q, %d)"):format(name, sys.syscall_number(name)) end
  return inside.python(box, ([[
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, number in [%s]:
  ctypes.set_errno(0)
  r = libc.syscall(number, 0, 0, 0, 0, 0, 0)
  print(name, "-" if r >= 0 else ctypes.get_errno())
]]):format(table.concat(list, ",")))
end

describe("the profile", function()
  it("has a reason for each group, and no call in two", function()
    local seen = {}
    for _, groups in ipairs { profile.allowed, profile.refused } do
      for _, group in ipairs(groups) do assert.is_true(#group.why > 10, group.name) end
      each(groups, function(name, group)
        assert.is_nil(seen[name], name)
        seen[name] = group.name
      end)
    end
    for _, one in ipairs(profile.checked) do
      assert.is_nil(seen[one.name], one.name)
      assert.is_true(#one.why > 10)
    end
  end)

  it("says something of every call that this machine has, but for what it leaves out on purpose", function()
    local named = { clone3 = true }
    each(profile.allowed, function(name) named[name] = true end)
    each(profile.refused, function(name) named[name] = true end)
    for _, one in ipairs(profile.checked) do named[one.name] = true end
    local unnamed = {}
    for _, name in ipairs(sys.syscall_names()) do
      if not named[name] then unnamed[#unnamed + 1] = name end
    end
    -- The kernel has no code for these, or nobody calls them.
    local left_out = { afs_syscall = true, getpmsg = true, putpmsg = true, security = true, tuxcall = true, vserver = true,
      lsm_get_self_attr = true, lsm_set_self_attr = true, lsm_list_modules = true, syscalls = true, arch_specific_syscall = true }
    for _, name in ipairs(unnamed) do assert.is_true(left_out[name] or false, name) end
  end)
end)

describe("the default filter, in an interpreter of BPF", function()
  it("allows what is allowed, refuses what is refused, and has nothing else", function()
    local expected = {}
    each(profile.allowed, function(name) expected[name] = ALLOW end)
    each(profile.refused, function(name) expected[name] = EPERM end)
    local checked = {}
    for _, one in ipairs(profile.checked) do checked[one.name] = true end
    local by_number = {}
    for _, name in ipairs(sys.syscall_names()) do
      if not checked[name] then by_number[sys.syscall_number(name)] = expected[name] or ENOSYS end
    end
    for number = 0, 1200 do
      local want = by_number[number] or ENOSYS
      local got = bpf.run(FILTER, { arch = sys.audit_arch(), nr = number })
      local is_checked = false
      for name in pairs(checked) do is_checked = is_checked or sys.syscall_number(name) == number end
      if not is_checked then assert.equal(want, got, tostring(number)) end
    end
    assert.equal(ENOSYS, says "clone3")
  end)

  it("kills on every other architecture", function()
    for _, arch in ipairs { 0x40000003, 0xc000003e, 0xc00000b7, 0x40000028, 0x80000016, 0 } do
      if arch ~= sys.audit_arch() then
        for _, number in ipairs { 0, 1, 59, 120, 400 } do assert.equal(KILL, bpf.run(FILTER, { arch = arch, nr = number })) end
      end
    end
  end)

  it("has no call with the bit of x32, nor any beyond", function()
    for _, number in ipairs { 0, 1, 59, 512, 547 } do
      assert.equal(ENOSYS, bpf.run(FILTER, { arch = sys.audit_arch(), nr = number | 0x40000000 }))
      assert.equal(ENOSYS, bpf.run(FILTER, { arch = sys.audit_arch(), nr = number | 0x80000000 }))
    end
    assert.equal(ENOSYS, bpf.run(FILTER, { arch = sys.audit_arch(), nr = -1 }))
  end)

  it("lets clone make threads and processes, and no namespace of any kind", function()
    assert.equal(ALLOW, says("clone", 0x003d0f00))
    assert.equal(ALLOW, says("clone", 17))
    for _, flag in ipairs { 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000 } do
      assert.equal(EPERM, says("clone", flag | 17))
      assert.equal(EPERM, says("clone", flag | 0x100 | HIGH))
    end
  end)

  it("closes TIOCSTI and TIOCLINUX, whatever the high bits are", function()
    for _, request in ipairs { 0x5412, 0x541c } do
      for _, high in ipairs { 0, HIGH, -HIGH, 0x7fffffff << 32 } do assert.equal(EPERM, says("ioctl", 0, request | high)) end
    end
    for _, request in ipairs { 0x5401, 0x5411, 0x5413, 0x541b, 0x541d, 0x5421 } do assert.equal(ALLOW, says("ioctl", 0, request)) end
  end)

  it("knows unix, inet, inet6 and netlink sockets, and no others", function()
    for _, family in ipairs { 1, 2, 10, 16 } do assert.equal(ALLOW, says("socket", family)) end
    for family = 0, 60 do
      if not ({ [1] = 1, [2] = 1, [10] = 1, [16] = 1 })[family] then
        assert.equal(EAFNOSUPPORT, says("socket", family), tostring(family))
        assert.equal(EAFNOSUPPORT, says("socket", family | HIGH), tostring(family))
      end
    end
  end)

  it("knows IP, ICMP, TCP and UDP, and netlink's routes; a capability over the network opens the others", function()
    local usual = { [0] = 1, [1] = 1, [6] = 1, [17] = 1, [58] = 1 }
    for protocol = 0, 300 do
      for _, family in ipairs { 1, 2, 10, 16 } do
        for _, high in ipairs { 0, HIGH } do
          assert.equal(usual[protocol] and ALLOW or EPROTONOSUPPORT, says("socket", family, 3, protocol | high), protocol)
        end
      end
    end
    local number, arch = sys.syscall_number "socket", sys.audit_arch()
    local function with(capability, ...)
      local program = filter.program(sys.syscall_number, arch, nil, { [capability] = true })
      return bpf.run(program, { arch = arch, nr = number, args = { ... } })
    end
    for _, capability in ipairs { "net_raw", "net_admin" } do
      assert.equal(ALLOW, with(capability, 16, 3, 12))
      for _, protocol in ipairs { 256, 262 } do assert.equal(EPROTONOSUPPORT, with(capability, 2, 1, protocol)) end
      for _, family in ipairs { 29, 38, 40, 44 } do assert.equal(EAFNOSUPPORT, with(capability, family, 3, 0)) end
    end
    assert.equal(ALLOW, with("net_raw", 17, 3, 0x300))
    assert.equal(EAFNOSUPPORT, with("net_admin", 17, 3, 0x300))
  end)

  it("sends, but not by TCP Fast Open", function()
    for name, argument in pairs { sendto = 4, sendmsg = 3, sendmmsg = 4 } do
      local arguments = { 3, 0, 0, 0, 0, 0 }
      for _, flags in ipairs { 0, 0x4040, 0x40000000 } do
        arguments[argument] = flags
        assert.equal(ALLOW, says(name, table.unpack(arguments)))
        arguments[argument] = flags | 0x20000000 | HIGH
        assert.equal(0x5005f, says(name, table.unpack(arguments)))
      end
    end
  end)

  it("lets limits of the caller be set, and of nobody else", function()
    assert.equal(ALLOW, says("prlimit64", 0, 7))
    for _, pid in ipairs { 1, 1 | HIGH, -1 } do assert.equal(EPERM, says("prlimit64", pid, 7)) end
  end)

  it("lets personality be asked for", function()
    assert.equal(ALLOW, says("personality", 0xffffffff))
    assert.equal(ALLOW, says("personality", 0))
    for _, value in ipairs { 8, 0x0040000, 0x0400000, 0x20000 } do assert.equal(EPERM, says("personality", value)) end
  end)

  it("is short", function() assert.is_true(#FILTER // 8 < 256) end)
end)

describe("from inside, the default recipe", function()
  it("refuses each refused call, and has no other, by number", function()
    local names = {}
    each(profile.refused, function(name)
      if sys.syscall_number(name) then names[#names + 1] = name end
    end)
    assert.is_true(#names > 50)
    local seen = call_inside(sandbox {}, names)
    for _, name in ipairs(names) do assert.truthy(("\n" .. seen):find("\n" .. name .. " 1\n", 1, true), name) end
    assert.equal("clone3 38\n", call_inside(sandbox {}, { "clone3" }))
  end)

  it("makes no namespace: unshare, clone and a sandbox in the sandbox", function()
    local seen = inside.sh(sandbox {}, "unshare -U true; unshare -n true; unshare -m true; nsenter -t $$ -n true; true")
    assert.equal(3, select(2, seen:gsub("unshare failed: Operation not permitted", "")))
  end)

  it("kills what calls by the 32-bit gate", function()
    if sys.audit_arch() ~= 0xc000003e then return pending "only x86-64 has such a gate" end
    local directory = probe.directory()
    probe.write(directory .. "/gate.c", [[
      void _start(void) { __asm__ volatile("mov $20, %eax; int $0x80; mov $60, %eax; mov $7, %edi; syscall"); }
    ]])
    local output, status = probe.shell(("cc -nostdlib -static -o %s/gate %s/gate.c"):format(directory, directory))
    assert.equal(0, status, output)
    local files = { nslua.fs.os(), nslua.fs.ro(directory .. "/gate", "/gate") }
    local result = assert(inside.run(sandbox { fs = files }, { "/gate" }))
    local without = assert(inside.run(sandbox { fs = files, seccomp = false }, { "/gate" }))
    probe.remove(directory)
    -- A kernel without the gate kills by itself, with another signal.
    assert.same({ "signal", without.code == 7 and 31 or without.signal }, { result.reason, result.signal })
  end)

  it("gives raw and exotic sockets sane errors", function()
    local seen = inside.python(sandbox {}, [[
import socket
for family, kind, protocol in ((2, 3, 1), (17, 3, 0), (40, 1, 0), (38, 5, 0), (29, 3, 0), (44, 3, 0)):
  try: socket.socket(family, kind, protocol); print("made", family)
  except OSError as e: print(family, e.errno)
socket.socket(socket.AF_UNIX); socket.socket(socket.AF_INET); socket.socket(socket.AF_INET6); socket.socket(16, socket.SOCK_RAW, 0)
print("usual")
]])
    assert.equal("2 1\n17 97\n40 97\n38 97\n29 97\n44 97\nusual\n", seen)
  end)

  it("pushes nothing into a terminal, with high bits either", function()
    local seen = inside.python(sandbox {}, [[
import ctypes, os, pty
a, b = pty.openpty()
libc = ctypes.CDLL(None, use_errno=True)
for high in (0, 1 << 32, 1 << 63):
  ctypes.set_errno(0)
  print(libc.syscall(ctypes.c_long(]] .. sys.syscall_number "ioctl" .. [[), b, ctypes.c_ulong(0x5412 | high), b"x"), ctypes.get_errno())
]])
    assert.equal("-1 1\n-1 1\n-1 1\n", seen)
  end)

  it("runs real programs", function()
    local seen, result = inside.sh(sandbox {}, [[
      set -e
      bash -c 'echo bash ${BASH_VERSINFO[0]} | tee /tmp/x | wc -l'
      python3 -c 'import threading, subprocess, asyncio, multiprocessing as m
t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()
print(subprocess.run(["echo", "child"], capture_output=True, text=True).stdout.strip())
async def f(): await asyncio.sleep(0); print("loop")
asyncio.run(f())'
      cd /tmp && printf '#include <stdio.h>\nint main(void) { puts("compiled"); }\n' > h.c && gcc -o h h.c && ./h
      git init -q r && cd r && git -c user.name=n -c user.email=e commit -q --allow-empty -m first && git log --oneline | wc -l
      python3 -m http.server 8000 --bind 127.0.0.1 > /dev/null 2>&1 &
      for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; curl -s http://127.0.0.1:8000/ > /tmp/page && break; done
      grep -c Directory /tmp/page | head -1
      kill $!
      apt-get --version | head -1 | cut -d' ' -f1
      seq 1000 | sort -R | sort -n | tail -1; tar c /usr/share/doc/bash 2>/dev/null | gzip | wc -c | grep -c . ]], { timeout = 120 })
    assert.is_true(result.ok, seen)
    assert.matches("^1\nthread\nchild\nloop\ncompiled\n1\n2\napt\n1000\n1\n$", seen)
  end)

  for _, program in ipairs { { "node", "-e", "console.log(6 * 7)", says = "42" }, { "java", "-version", says = "version" } } do
    it("runs " .. program[1], function()
      local box = sandbox {}
      local found = inside.run(box, { "sh", "-c", "command -v " .. program[1] })
      if not found.ok then return pending(program[1] .. " is not below /usr here") end
      local result = inside.run(box, { table.unpack(program) })
      assert.is_true(result.ok, result.stderr)
      assert.truthy((result.stdout .. result.stderr):find(program.says))
    end)
  end
end)

describe("a recipe's seccomp", function()
  local function mistake(value) return inside.mistake(sandbox, { seccomp = value }) end

  it("denies more", function()
    local box = sandbox { seccomp = { deny = { "socket", "@time" } } }
    assert.equal("socket 1\nclock_gettime 1\ngetpid -\n", (call_inside(box, { "socket", "clock_gettime", "getpid" })))
  end)

  it("allows more, by name and by group", function()
    assert.equal("unshare -\n", (call_inside(sandbox { seccomp = { allow = { "unshare" } } }, { "unshare" })))
    assert.not_equal("kcmp 1\n", (call_inside(sandbox { seccomp = { allow = { "@other-processes" } } }, { "kcmp" })))
  end)

  it("allows or denies some values of an argument", function()
    local box = sandbox { seccomp = { deny = { { "kill", argument = 1, values = { 10, 12 } } } } }
    assert.equal("0\n1\n1\n0\n", (inside.sh(box, "for s in 0 10 12 28; do kill -$s $$ 2>/dev/null; echo $?; done")))
  end)

  it("says what a call meets that nobody names", function()
    local number = 499 -- not in any kernel
    local function errno_of(default)
      return inside.python(sandbox { seccomp = { default = default } }, ([[
import ctypes
libc = ctypes.CDLL(None, use_errno=True); libc.syscall(%d); print(ctypes.get_errno())]]):format(number))
    end
    assert.equal("38\n", (errno_of "enosys"))
    assert.equal("1\n", (errno_of "errno"))
    local result = inside.run(sandbox { seccomp = { default = "kill" } }, { "python3", "-c",
      ("import ctypes; ctypes.CDLL(None).syscall(%d)"):format(number) })
    assert.equal(31, result.signal)
  end)

  it("is none with false", function()
    assert.matches("Seccomp:%s+0\n", (inside.sh(sandbox { seccomp = false }, "grep Seccomp: /proc/self/status")))
    assert.matches("Seccomp:%s+2\n", (inside.sh(sandbox {}, "grep Seccomp: /proc/self/status")))
  end)

  it("opens what a capability is for", function()
    assert.equal("mounted\n", (inside.sh(sandbox { user = "root", caps = { "sys_admin" } }, "mount -t tmpfs none /tmp && echo mounted")))
    local seen = call_inside(sandbox { caps = { "sys_chroot" } }, { "mount" })
    assert.equal("mount 1\n", seen)
  end)

  it("holds without no_new_privs too", function()
    local seen = inside.sh(sandbox { no_new_privs = false }, "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; unshare -U true")
    assert.matches("NoNewPrivs:%s+0\nSeccomp:%s+2\n.*Operation not permitted", seen)
  end)

  describe("has further programs, which", function()
    local compiler = require "nslua.bpf"

    --- A program that refuses some calls with an errno, and allows the others.
    local function refusing(errno, ...)
      local rules = {}
      for _, name in ipairs { ... } do rules[sys.syscall_number(name)] = compiler.ERRNO | errno end
      return (compiler.program(sys.audit_arch(), rules, ALLOW))
    end

    it("hold besides the profile", function()
      local box = sandbox { seccomp = { programs = { refusing(11, "getppid"), refusing(12, "getpgid", "mount") } } }
      local seen, result = call_inside(box, { "getppid", "getpgid", "mount", "getpid" })
      assert.equal("getppid 11\ngetpgid 12\nmount 12\ngetpid -\n", seen)
      assert.same({ profile = "default", instructions = #FILTER // 8, programs = 2 }, result.enforced.seccomp)
      assert.matches("seccomp +default profile, %d+ instructions; 2 more of the recipe", box:explain())
    end)

    it("hold without no_new_privs, and where none can make set-id files", function()
      local program = refusing(11, "getppid")
      local box = sandbox { no_new_privs = false, seccomp = { programs = { program } } }
      assert.equal("getppid 11\nmount 1\n", (call_inside(box, { "getppid", "mount" })))
      local directory = probe.directory()
      box = sandbox { fs = { nslua.fs.os(), nslua.fs.rw(directory, "/work") }, seccomp = { programs = { program } } }
      assert.equal("getppid 11\nmount 1\n", (call_inside(box, { "getppid", "mount" })))
      probe.remove(directory)
    end)

    it("may forbid all that the start takes, but the exec", function()
      local box = sandbox { seccomp = { programs = { refusing(11, "openat2", "seccomp", "prctl", "dup3", "close_range", "chdir") } } }
      assert.equal("openat2 11\nseccomp 11\n", (call_inside(box, { "openat2", "seccomp" })))
    end)

    it("stay the same for a command that is only found at the second place", function()
      local files = { nslua.fs.os(), nslua.fs.file("/first/here", "", { mode = 420 }),
        nslua.fs.file("/second/here", "#!/bin/sh\ngrep Seccomp_filters: /proc/self/status", { mode = 493 }) }
      local box = sandbox { fs = files, env = { PATH = "/first:/second:/usr/bin" }, seccomp = { programs = { refusing(11, "getppid") } } }
      assert.equal("Seccomp_filters:\t2\n", inside.run(box, { "here" }).stdout)
    end)

    it("are strings of whole instructions", function()
      local expected = "1 to 4096 instructions of BPF, 8 bytes each"
      for _, wrong in ipairs { "", "1234567", ("x"):rep(4097 * 8), 7, true, {} } do
        assert.truthy(mistake { programs = { wrong } }:find(expected, 1, true))
      end
      assert.truthy(mistake { programs = "12345678" })
      assert.is_nil(mistake { programs = { ("x"):rep(4096 * 8) } })
    end)

    it("are told of by number when the kernel does not accept them", function()
      for _, privileges in ipairs { true, false } do
        local _, message, err = inside.run(sandbox { no_new_privs = privileges, seccomp = { programs = { refusing(1, "mount"), "12345678" } } },
          { "true" })
        assert.equal("seccomp", err.op)
        assert.matches("^spec/seccomp_spec.lua:%d+: " .. (privileges and "program 2 of " or "") .. "seccomp: Invalid argument %(EINVAL%);\n  the kernel does not take it",
          message)
      end
    end)
  end)

  it("has its refusals logged by the kernel", function()
    local entries = ("dmesg | grep -c 'type=1326 .* syscall=%d .* code=0x50000'"):format(sys.syscall_number "getppid")
    local before = probe.shell(entries)
    assert.equal("getppid 1\n", (call_inside(sandbox { seccomp = { log = true, deny = { "getppid" } } }, { "getppid" })))
    if not probe.is_root then return pending "only root reads the kernel's log" end
    local after = probe.shell(entries)
    assert.equal("getppid 1\n", (call_inside(sandbox { seccomp = { deny = { "getppid" } } }, { "getppid" })))
    if after == "0\n" then return pending "this kernel has no audit log, or somebody else reads it" end
    assert.not_equal(before, after)
  end)

  it("knows its names", function()
    assert.matches("a system call or a group %(did you mean 'socket'%?%)", mistake { deny = { "sokcet" } })
    assert.matches("did you mean '@mounts'%?", mistake { allow = { "@mountss" } })
    assert.matches("did you mean 'allow'%?", mistake { alow = {} })
    assert.matches("argument = 0 to 5", mistake { deny = { { "socket", argument = 6, values = { 1 } } } })
    assert.matches("argument = 0 to 5", mistake { deny = { { "socket" } } })
    assert.matches("'enosys', 'errno' or 'kill'", mistake { default = "allow" })
    assert.matches("seccomp must be 'default' or 'false'", mistake(true))
  end)

  it("is told: in the result and by explain", function()
    local result = inside.run(sandbox {}, { "true" })
    assert.same({ profile = "default", instructions = #FILTER // 8 }, result.enforced.seccomp)
    assert.is_nil(inside.run(sandbox { seccomp = false }, { "true" }).enforced.seccomp)
    assert.matches("seccomp +default profile, %d+ instructions", sandbox {}:explain())
    assert.matches("seccomp +no filter", sandbox { seccomp = false }:explain())
    assert.matches("seccomp +changed profile", sandbox { seccomp = { deny = { "socket" } } }:explain())
  end)
end)
