-- luacheck: no max line length
--- The rules of security.md, each by what can be seen of it; files, identity and recipes have specs of
--- their own.
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys
local USERS <const> = { "self", "root" }
local BODY <const> = 'dofile "spec/support/setup.lua"\nlocal nslua = require "nslua"\nlocal sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys\n'

--- Output of another Lua process that runs this code, started by a command line with "@" for it.
local function elsewhere(command, code)
  local directory = probe.directory()
  probe.write(directory .. "/case.lua", BODY .. code)
  local output = probe.shell((command:gsub("@", "timeout 10 lua5.4 " .. directory .. "/case.lua")))
  probe.remove(directory)
  return output
end

--- What comes on a terminal of its own where this code runs; "typed" is typed there after a second.
local function on_terminal(code)
  local directory = probe.directory()
  probe.write(directory .. "/case.lua", BODY .. code)
  probe.write(directory .. "/terminal.py", ([[
import os, pty, time
pid, fd = pty.fork()
if pid == 0: os.execvp("lua5.4", ["lua5.4", "%s/case.lua"])
time.sleep(0.7)
os.write(fd, b"typed\n")
out = b""
while True:
  try: data = os.read(fd, 4096)
  except OSError: break
  if not data: break
  out += data
os.waitpid(pid, 0)
print(out.decode(errors="replace"))
]]):format(directory))
  local output = probe.shell("timeout 20 python3 " .. directory .. "/terminal.py")
  probe.remove(directory)
  return output
end

local function alive(pid) return sys.stat(("/proc/%d"):format(pid)) ~= nil end

local function becomes(condition) return watch.within(2, condition) end

describe("rule 1: status and usage", function()
  it("are right in a host that ignores SIGCHLD", function()
    assert.equal("7\tnil\tnil\t9\n", elsewhere([[python3 -c 'import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp("timeout", "@".split())']],
      [[local a = sandbox {}:run { "sh", "-c", "exit 7" }
        local b = sandbox {}:run { "sh", "-c", "kill -9 $$" }
        print(a.code, a.signal, b.code, b.signal)]]))
  end)
end)

describe("rule 4: a report", function()
  it("cannot be forged: the payload has nothing but 0, 1 and 2", function()
    for _, init in ipairs { true, false } do
      local seen = inside.python(sandbox { init = init }, [[
import os
def is_open(n):
  try: os.fstat(n); return True
  except OSError: return False
print([n for n in range(70000) if is_open(n)])
]])
      assert.equal("[0, 1, 2]\n", seen)
    end
  end)
end)

describe("rule 5: the sandbox ends", function()
  local function payload_of_maker(fields)
    local directory = probe.directory()
    probe.write(directory .. "/case.lua", BODY .. ([[
      local p = assert(sandbox(%s):spawn { "sh", "-c", "setsid sleep 60 & exec sleep 60", stdout = "null", stderr = "null" })
      local file = io.open("%s/pids", "w")
      file:write(sys.getpid(), " ", p.pid, "\n")
      file:close()
      p:wait()]]):format(fields, directory))
    probe.shell(("lua5.4 %s/case.lua >/dev/null 2>&1 & true"):format(directory))
    local maker, payload
    watch.within(20, function()
      maker, payload = (probe.read(directory .. "/pids") or ""):match "(%d+) (%d+)\n"
      return payload
    end)
    probe.remove(directory)
    return tonumber(maker), tonumber(payload)
  end

  it("with its maker, with and without a PID namespace", function()
    for _, fields in ipairs { "{}", "{ init = false }", '{ namespaces = { "user" } }' } do
      local maker, payload = payload_of_maker(fields)
      assert.is_true(alive(payload))
      probe.shell("kill -9 " .. maker)
      assert.is_true(becomes(function() return not alive(payload) end), fields)
    end
  end)

  it("with its payload, whoever is left", function()
    for _, fields in ipairs { {}, { init = false }, { namespaces = { "user" } } } do
      local seen = inside.sh(sandbox(fields), "setsid sleep 60 >/dev/null 2>&1 & readlink /proc/self/ns/pid; exit 3")
      local left = probe.shell(("for p in /proc/[0-9]*; do case \"$(readlink $p/ns/pid) $(tr '\\0' ' ' < $p/cmdline)\" in "
        .. "'%s sleep 60 ') echo LEFT $p;; esac; done"):format(seen:gsub("%s", "")))
      assert.is_nil(left:match "LEFT [^\n]*")
    end
  end)

  it("when its payload kills the reaper that it can see", function()
    local directory = probe.directory()
    local box = sandbox { namespaces = { "user" }, landlock = false }
    inside.run(box, { "sh", "-c", ("echo $$ > %s/pid; kill -9 $PPID; exec sleep 20"):format(directory), timeout = 5, stdout = "null", stderr = "null" })
    local pid = (probe.read(directory .. "/pid") or ""):match "%d+"
    probe.remove(directory)
    if not pid then return end -- root's payload may not write there: nothing to see
    local survives = not becomes(function() return not alive(pid) end)
    if survives then probe.shell("kill -9 " .. pid) end
    assert.is_false(survives, "the payload outlives its sandbox")
  end)
end)

describe("rule 6: PID 1", function()
  it("is not ended or stopped from inside", function()
    for _, user in ipairs(USERS) do
      local seen = inside.sh(sandbox { user = user }, "for s in 1 2 3 9 11 15 17 19 20; do kill -$s 1; done 2>&1; sleep 0.1; echo alive")
      assert.equal("alive\n", seen)
    end
  end)
end)

describe("rule 8: a host without stdio", function()
  it("gets right results, and its payload proper streams", function()
    local directory = probe.directory()
    local code = ([[local r, e = sandbox {}:run { "sh", "-c", "cat; echo out; echo err >&2", stdin = { data = "in\n" }, stdout = "capture", stderr = "capture" }
      local file = io.open("%s/result", "w")
      file:write(r and r.stdout .. r.stderr or tostring(e))
      file:close()]]):format(directory)
    elsewhere("sh -c '@ <&- >&- 2>&-'", code)
    local seen = probe.read(directory .. "/result")
    probe.remove(directory)
    assert.equal("in\nout\nerr\n", seen)
  end)
end)

describe("rule 9: descriptors", function()
  it("of the host do not pass", function()
    assert.equal("0\n1\n2\n3\n", elsewhere("sh -c 'exec 5</ 7</etc/passwd 9</dev/null; @'",
      [[io.write(sandbox {}:run { "ls", "/proc/self/fd", stdout = "capture" }.stdout)]]))
  end)

  it("that are directories are refused as streams", function()
    local directory = assert(sys.open(nil, "/", "directory"))
    for _, stream in ipairs { "stdin", "stdout", "stderr" } do
      local ok, result = pcall(inside.run, sandbox {}, { "true", [stream] = directory })
      assert.is_true(not ok or result == nil, stream .. " is a directory of the host")
    end
  end)

  it("that are directories are not inherited as stdin", function()
    assert.not_matches("etc", elsewhere("sh -c '@ </'",
      [[io.write((sandbox {}:run { "ls", "/proc/self/fd/0/", stdin = "inherit", stdout = "capture", stderr = "null" } or { stdout = "" }).stdout)]]))
  end)
end)

describe("rule 10: the working directory and the command", function()
  it("are not reached through descriptors of a process", function()
    for _, path in ipairs { "/proc/self/fd/64", "/proc/self/root", "/proc/thread-self/cwd", "/dev/fd/3",
      "/proc/1/root" } do
      local result, message = inside.run(sandbox { cwd = path }, { "true" })
      assert.is_nil(result, path)
      assert.matches("^spec/security_spec.lua:%d+: cwd ", message)
    end
    for _, path in ipairs { "/proc/self/exe", "/proc/self/fd/64", "/proc/thread-self/exe", "/proc/1/exe" } do
      local result, message = inside.run(sandbox {}, { path })
      assert.is_nil(result, path)
      assert.matches("^command ", message)
    end
  end)

  it("as an interpreter is only the sealed stage, which does nothing", function()
    local box = sandbox { fs = { fs.os(), fs.file("/script", "#!/proc/self/exe\n", { mode = 493 }) } }
    local result = inside.run(box, { "/script" })
    assert.is_true(result == nil or not result.ok)
  end)

  it("may be a name that only looks like one", function()
    assert.equal("/tmp\n", (inside.sh(sandbox { cwd = "/var/tmp" }, "pwd -P")))
  end)
end)

describe("rules 11 and 12: the caller's terminal", function()
  local ATTACK <const> = [==[{ "python3", "-c", [[
import fcntl, os, termios
for fd in (0, 1, 2):
  for name, value in (("TIOCSTI", b"x"), ("TIOCSCTTY", 1)):
    try: fcntl.ioctl(fd, getattr(termios, name), value); print("DID", name)
    except OSError as e: print("no")
try: os.open("/dev/tty", os.O_RDWR); print("DID open /dev/tty")
except OSError: print("no")
]], %s }]==]

  it("does not take input from the payload, not even when it is inherited", function()
    for _, streams in ipairs { "", 'stdin = "inherit"', 'stdin = "inherit", stdout = "inherit", stderr = "inherit"' } do
      local seen = on_terminal("print(sandbox {}:run" .. ATTACK:format(streams) .. ")")
      assert.matches("exited with 0", seen)
      assert.equal(7, select(2, seen:gsub("no\r", "")), seen)
      assert.not_matches("DID", seen)
    end
  end)

  it("is not the payload's when nothing is said: run", function()
    local seen = on_terminal [[print(sandbox {}:run { "sh", "-c", "for f in 0 1 2; do test -t $f && echo TERMINAL; done; echo done" })]]
    assert.matches("done", seen)
    assert.not_matches("TERMINAL", seen)
  end)

  it("is not the payload's when nothing is said: spawn", function()
    local seen = on_terminal [[print(sandbox {}:spawn { "python3", "-c", "import os; print('GOT', os.read(1, 100))" }:wait(3))]]
    assert.not_matches("GOT b'typed", seen)
  end)

  it("and process group are not hit by kill(0) and kill(-1)", function()
    for _, namespaces in ipairs { false, { "user", "mount", "pid" } } do
      local result = inside.run(sandbox { namespaces = namespaces or nil }, { "sh", "-c", "kill -TERM 0; kill -TERM -1; sleep 5" })
      assert.equal(15, result.signal)
    end
    assert.is_true(alive(sys.getpid()))
  end)

  it("is of another session than the reaper's and the payload's", function()
    local sid, own, parent = (inside.python(sandbox {}, "import os; print(os.getsid(0), os.getpid(), os.getsid(1))")):match "(%d+) (%d+) (%d+)"
    assert.equal(own, sid)
    assert.not_equal(sid, parent)
  end)
end)

describe("rule 13: the payload starts", function()
  it("with four variables and what the recipe names", function()
    assert.equal("HOME LANG PATH TERM\n", (inside.python(sandbox {}, "import os; print(*sorted(k for k in os.environ if k != 'LC_CTYPE'))")))
    local box = sandbox { env = { A = "1", TERM = false, inherit = { "NSLUA_NO_SUCH" } } }
    assert.equal("A HOME LANG PATH\n", (inside.python(box, "import os; print(*sorted(k for k in os.environ if k != 'LC_CTYPE'))")))
  end)

  it("with default signals, none blocked, umask 022", function()
    local seen = elsewhere([[python3 -c 'import os, signal; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 13, 15)]; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 30)); os.umask(0o77); os.execvp("timeout", "@".split())']],
      [[io.write(sandbox {}:run { "sed", "-n", "/Sig[IBC][gl][nkt]:/p;/Umask/p", "/proc/self/status", stdout = "capture" }.stdout)]])
    assert.equal("Umask:\t0022\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n", seen)
  end)
end)

describe("rule 14: the session keyring", function()
  it("is new: nothing of the caller's is in it or can be found", function()
    local KEYCTL <const> = { x86_64 = 250, aarch64 = 219 }
    local number = KEYCTL[probe.shell "uname -m":match "%S+"]
    if not number then return pending "the number of keyctl is not known for this machine" end
    local code = ([[
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
ring = libc.syscall(%d, 0, -3, 0)
buffer = ctypes.create_string_buffer(512)
print(ring, libc.syscall(%d, 11, -3, buffer, 512))
]]):format(number, number)
    local seen, host = inside.python(sandbox { seccomp = false }, code), probe.shell(("python3 -c '%s'"):format(code))
    assert.not_equal(host:match "^%S+", seen:match "^%S+")
    assert.matches(" 0\n$", seen)
    assert.equal("-1 -1\n", (inside.python(sandbox {}, code)))
  end)
end)

describe("rules 15 and 20: the stage", function()
  local LOOK <const> = [[
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name in ("mem", "environ", "exe", "fd", "cmdline", "maps", "root", "cwd", "task/1/mem", "map_files", "auxv", "stack", "pagemap"):
  path = "/proc/1/" + name
  for look in (os.listdir, os.readlink, lambda p: open(p, "rb").read(64)):
    try: print("GOT", name, look(path))
    except OSError: pass
print("ptrace", libc.ptrace(16, 1, 0, 0), libc.ptrace(0x4206, 1, 0, 0))
fd = os.pidfd_open(1)
print("pidfd_getfd", [n for n in range(200) if libc.syscall(438, fd, n, 0) >= 0])
local = ctypes.create_string_buffer(8)
vec = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
print("vm_readv", [a for a in range(0x400000, 0x410000, 0x1000) if libc.process_vm_readv(1, vec, 1, (ctypes.c_void_p * 2)(a, 8), 1, 0) > 0])
]]

  it("gives the payload nothing", function()
    for _, user in ipairs(USERS) do
      assert.equal("ptrace -1 -1\npidfd_getfd []\nvm_readv []\n", (inside.python(sandbox { user = user }, LOOK)))
    end
  end)

  it("that can be looked into from outside gives the payload no more than its recipe's name and the numbers of its fds", function()
    for _, user in ipairs(USERS) do
      for _, caps in ipairs { {}, { "sys_admin", "dac_override", "dac_read_search" } } do
        local box = sandbox { init = "visible", user = user, caps = caps, seccomp = false, landlock = false, nesting = true,
          fs = { fs.os(), fs.proc("/proc", { hidepid = "off" }) } }
        assert.matches("^GOT fd %[[%d', ]+%]\nGOT cmdline b'nslua\\x00sandbox<>\\x00'\nptrace %-1 %-1\npidfd_getfd %[%]\nvm_readv %[%]\n$", (inside.python(box, LOOK)))
      end
    end
    for _, fields in ipairs { { caps = { "sys_ptrace" } }, { caps = "all" }, { seccomp = { mode = "log" } } } do
      fields.init = "visible"
      assert.is_false(pcall(sandbox(fields).run, sandbox(fields), { "true" }))
    end
  end)

  it("is seen from outside then, but not that of a further command", function()
    local process <close> = assert(sandbox { init = "visible" }:spawn { "sleep", "9" })
    local command <close> = assert(process:exec { "sleep", "9" })
    local function stage_of(running)
      return (probe.shell("ps -o ppid= -p " .. running:payload_pid()):match "%d+")
    end
    local function joinable(pid) return sys.readlink(("/proc/%s/ns/pid"):format(pid)) ~= nil end
    assert.is_true(joinable(stage_of(process)))
    assert.equal(probe.is_root, joinable(stage_of(command)))
  end)

  it("gives nothing even with capabilities over the sandbox", function()
    local seen = inside.python(sandbox { user = "root", caps = { "sys_ptrace", "dac_override", "dac_read_search" },
      fs = { fs.os(), fs.proc("/proc", { hidepid = "off" }) } }, LOOK, { env = { SECRET = "hunter2" }, timeout = 5 })
    assert.is_nil(seen:find("hunter2", 1, true))
    assert.not_matches("GOT mem", seen)
    assert.not_matches("GOT environ b'[^']", seen)
    assert.not_matches("GOT root", seen)
    assert.matches("ptrace %-1 %-1\npidfd_getfd %[%]\nvm_readv %[%]\n$", seen)
  end)

  it("shows no argument and no variable in /proc, but its recipe's name, to the host either", function()
    local process <close> = assert(sandbox "named" { env = { SECRET = "hunter2" } }:spawn { "sleep", "20", stdout = "null", stderr = "null" })
    local stage = process.stage:pid()
    assert.equal("nslua\0sandbox<named>\0", probe.read(("/proc/%d/cmdline"):format(stage)))
    assert.equal("", probe.read(("/proc/%d/environ"):format(stage)) or "")
  end)

  it("is a sealed memfd, holds no capability and cannot gain any", function()
    local process <close> = assert(sandbox {}:spawn { "sleep", "20", stdout = "null", stderr = "null" })
    local status = probe.read(("/proc/%d/status"):format(process.stage:pid()))
    assert.matches("CapPrm:\t0+\nCapEff:\t0+\n", status)
    assert.matches("NoNewPrivs:\t1\n", status)
    if probe.is_root then
      local exe = ("/proc/%d/exe"):format(process.stage:pid())
      assert.matches("memfd:", sys.readlink(exe))
      assert.matches("Text file busy", (probe.shell(("python3 -c 'open(\"%s\", \"r+b\")'"):format(exe))))
    end
  end)
end)

describe("rule 16: the kernel's settings", function()
  local COUNT <const> = [[
import os
n = 0
for directory, _, names in os.walk("/proc/sys"):
  for name in names:
    try: os.close(os.open(os.path.join(directory, name), os.O_WRONLY | os.O_NONBLOCK)); n += 1
    except OSError: pass
print(n)
]]

  it("do not open for writing, whoever the user is inside", function()
    for _, user in ipairs(USERS) do
      assert.equal("0\n", (inside.python(sandbox { user = user }, COUNT)))
    end
  end)

  it("of the machine do not even with /proc in full and every capability", function()
    local seen = inside.python(sandbox { user = "root", caps = "all", fs = { fs.os(), fs.proc("/proc", { full = true }) } }, [[
import os
for name in ("kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "fs/suid_dumpable", "kernel/sysrq"):
  try: os.close(os.open("/proc/sys/" + name, os.O_WRONLY)); print("OPEN", name)
  except OSError: pass
]])
    assert.equal("", seen)
  end)
end)

describe("rule 21: set-user-id", function()
  it("nslua refuses to run", function()
    if not probe.is_root then return pending "only root makes a program of another user" end
    local directory = probe.directory()
    local copy = directory .. "/nslua"
    probe.shell(("cp %s %s && chmod 4755 %s"):format(probe.nslua, copy, copy))
    local output, status = probe.shell(("setpriv --reuid nobody --clear-groups %s -e 'print(1)'"):format(copy))
    probe.remove(directory)
    assert.equal("nslua: refuses to run with privileges it was not called with (set-user-id)\n", output)
    assert.equal(125, status)
  end)
end)

describe("rules 22, 23 and 31: a hostile tree", function()
  local tree, victim

  before_each(function()
    tree, victim = probe.directory(), probe.directory()
    probe.shell("chmod 777 " .. victim)
  end)
  after_each(function()
    probe.remove(tree)
    probe.remove(victim)
  end)

  --- The host is as it was: nothing in the victim, nothing mounted on it.
  local function assert_untouched()
    assert.equal("", probe.shell("ls -A " .. victim))
    assert.is_nil(probe.read "/proc/self/mountinfo":find(victim, 1, true))
  end

  local function try(entry, root)
    return inside.run(sandbox { fs = { root or fs.image(tree), entry } }, { "/bin/true" })
  end

  it("whose mount points are links leads nowhere", function()
    probe.shell(("cd %s && ln -s ../../etc proc && ln -s /dev dev && ln -s %s tmp && ln -s ../../../../../../..%s up && ln -s loop loop")
      :format(tree, victim, victim))
    for _, root in ipairs { false, fs.rw(tree, "/") } do
      for _, entry in ipairs { fs.proc(), fs.dev(), fs.tmpfs "/tmp", fs.tmpfs("/up", { create = true }),
        fs.file("/tmp/f", "x", { create = true }), fs.dir("/up/d", { create = true }), fs.tmpfs("/loop/x", { create = true }),
        fs.symlink("x", "/tmp/l", { create = true }), fs.mask "/up", fs.ro("/usr", "/tmp/usr", { create = true }) } do
        local result, message, err = try(entry, root or nil)
        assert.is_nil(result, tostring(entry))
        assert.equal("ELOOP", err.code, message)
        assert.matches("is a symbolic link", message)
      end
    end
    assert_untouched()
  end)

  it("with magic links below a proc of ours leads nowhere", function()
    for _, path in ipairs { "/proc/self/root/x", "/proc/self/cwd/x", "/proc/self/fd/64/x", "/proc/1/root" .. victim .. "/x" } do
      for _, entry in ipairs { fs.tmpfs(path, { create = true }), fs.file(path, "x", { create = true }), fs.dir(path, { create = true }),
        fs.symlink("x", path, { create = true }) } do
        assert.is_nil((inside.run(sandbox { fs = { fs.os(), entry } }, { "true" })), path)
      end
    end
    assert_untouched()
  end)

  it("with FIFOs, sockets and devices is no hang and no opening", function()
    probe.shell(("cd %s && mkfifo fifo && mkdir bin && mkfifo bin/true && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'")
      :format(tree))
    if probe.is_root then probe.shell(("mknod -m 666 %s/disk b 7 0"):format(tree)) end
    for _, name in ipairs { "fifo", "sock", "disk" } do
      if sys.lstat(tree .. "/" .. name) then
        for _, entry in ipairs { fs.tmpfs("/" .. name), fs.mask("/" .. name), fs.ro(tree .. "/" .. name, "/x/y", { create = true }) } do
          assert.is_nil((try(entry)), name)
        end
      end
    end
    local box = sandbox { fs = { fs.os(), fs.rw(tree, "/src") } }
    local seen = inside.sh(box, "head -c 1 /src/disk; timeout 0.2 head -c 1 /src/fifo; echo $?")
    assert.matches("124\n", seen)
    if probe.is_root then assert.matches("Permission denied", seen) end
  end)

  it("that is the image executes nothing of its own before the payload", function()
    probe.shell(("mkdir -p %s/etc %s/lib %s/bin && echo %s/evil.so > %s/etc/ld.so.preload && printf '#!/bin/evil\\n' > %s/bin/true && chmod 755 %s/bin/true")
      :format(tree, tree, tree, tree, tree, tree, tree))
    local result, message = inside.run(sandbox { fs = { fs.image(tree) } }, { "/bin/true" })
    assert.is_nil(result)
    assert.matches("its interpreter", message)
  end)

  it("that is renamed all the time never gets a write or a mount outside", function()
    probe.shell(("mkdir -p %s/a/m && chmod -R 777 %s && ln -s %s %s/b"):format(tree, tree, victim, tree))
    probe.write(tree .. "/race.py", [[
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
end = time.time() + 70
while time.time() < end:
  for _ in range(1000): libc.renameat2(-100, b"a", -100, b"b", 2)
]])
    local race = tonumber((probe.shell(("python3 %s/race.py %s >/dev/null 2>&1 & echo $!"):format(tree, tree))))
    local boxes = {}
    for i, entry in ipairs { fs.dir("/src/a/made", { create = true }), fs.file("/src/a/m/f", "x", { create = true }),
      fs.tmpfs("/src/a/m/t", { create = true }), fs.symlink("x", "/src/a/made-link", { create = true }), fs.mask "/src/a/m" } do
      boxes[i] = sandbox { fs = { fs.ro "/usr", fs.symlink("usr/bin", "/bin"), fs.symlink("usr/lib", "/lib"),
        fs.symlink("usr/lib64", "/lib64"), fs.rw(tree, "/src"), entry } }
    end
    local runs, refused, started = 0, 0, sys.clock()
    local function is_seen() return runs > 20 and refused > 0 and refused < runs end
    while sys.clock() < started + (is_seen() and 3.5 or 60) do
      for _, box in ipairs(boxes) do
        runs = runs + 1
        if not inside.run(box, { "true" }) then refused = refused + 1 end
      end
    end
    probe.shell("kill " .. race)
    watch.within(2, function() return not alive(race) end)
    assert_untouched()
    assert.is_true(is_seen(), ("%d of %d refused"):format(refused, runs))
  end)
end)

describe("rule 26: what the kernel holds", function()
  it("is nosuid everywhere, and nodev but for the devices and ptys", function()
    for _, user in ipairs(USERS) do
      for line in (inside.sh(sandbox { user = user }, "cat /proc/self/mountinfo")):gmatch "[^\n]+" do
        local at, options = line:match "^%d+ %d+ %S+ %S+ (%S+) (%S+)"
        assert.matches("nosuid", options, 1, false, at)
        if not at:find "^/dev/" or at == "/dev/shm" then assert.matches("nodev", options, 1, false, at) end
      end
    end
  end)
end)

describe("rule 27: /proc", function()
  it("masks what concerns the whole machine", function()
    for _, user in ipairs(USERS) do
      local seen = inside.sh(sandbox { user = user }, [[
        for f in kcore kmsg keys kallsyms timer_list iomem ioports config.gz latency_stats sched_debug; do
          test -e /proc/$f && test -s /proc/$f && echo SIZE $f
          head -c 1 /proc/$f 2>/dev/null | grep -q . && echo READ $f
        done
        ls /proc/acpi /proc/scsi /proc/firmware 2>/dev/null | grep -v ^/proc | grep .
        for d in sys irq bus fs; do grep -q " /proc/$d ro," /proc/self/mountinfo || echo $d; done; true]])
      assert.equal("", seen)
    end
  end)

  it("cannot be uncovered, nor mounted afresh, in a nested user namespace", function()
    for _, user in ipairs(USERS) do
      local seen = inside.sh(sandbox { user = user }, [[unshare -Urpfm sh -c '
        umount /proc/kallsyms && echo DID; umount -l /proc && echo DID; mkdir /tmp/p; mount -t proc p /tmp/p && echo DID
        mount -o remount,rw,bind /proc/sys && echo DID; mount -o remount,rw,bind /usr && echo DID
        mount -o remount,bind,rw / && echo DID; mount --bind /proc /tmp/p && head -c 1 /tmp/p/kallsyms | grep -q . && echo DID' 2>/dev/null; true]])
      assert.not_matches("DID", seen)
    end
  end)

  it("with subset = pid cannot be mounted in full in a nested user namespace", function()
    local box = sandbox { fs = { fs.os(), fs.proc("/proc", { subset = "pid" }) } }
    assert.not_matches("kallsyms", (inside.sh(box, "ls /proc; mkdir /tmp/p; unshare -Urpfm sh -c 'mount -t proc p /tmp/p && ls /tmp/p' 2>/dev/null")))
  end)

  it("has nothing that concerns the whole machine and opens for writing", function()
    assert.equal("", (inside.sh(sandbox {}, "find /proc -xdev -type f -writable -not -path '/proc/[0-9]*' 2>/dev/null")))
  end)
end)

describe("rule 39: what is enforced", function()
  it("is told as it is, and as it was read back", function()
    local enforced = inside.run(sandbox { user = "root", caps = { "chown" } }, { "true" }).enforced
    assert.equal(0, enforced.uid)
    assert.equal(0, enforced.gid)
    assert.is_true(enforced.no_new_privs)
    assert.same({ "chown" }, enforced.capabilities)
    assert.same({ "cgroup", "ipc", "mount", "net", "pid", "user", "uts" }, require "nslua.names".sorted(enforced.namespaces))
    assert.matches("^0 %d+ 1$", enforced.uid_map)
  end)

  it("is enforced after all: a step that takes it away again is noticed", function()
    local box = sandbox { steps = { function(plan) plan:setresgid(-1, -1, -1) end }, no_new_privs = true }
    assert.is_true(inside.run(box, { "true" }).enforced.no_new_privs)
  end)
end)

describe("rule 40: require", function()
  it("opens nothing, starts nothing, reads no variable", function()
    local seen = elsewhere("@", [[
      local function fds()
        local n = 0
        for number = 0, 200 do n = n + (sys.readlink("/proc/self/fd/" .. number) and 1 or 0) end
        return n
      end
      local function handlers()
        local file <close> = io.open "/proc/self/status"
        return file:read "a":gsub("SigQ:[^\n]*\n", ""):match "Threads.-CapInh" -- what of the user is queued is others', too
      end
      local before, caught = fds(), handlers()
      local _ = nslua.sandbox, nslua.fs
      require "nslua.compile" require "nslua.process" require "nslua.explain"
      local file <close> = io.open("/proc/self/task/" .. sys.getpid() .. "/children")
      print(fds() - before - 1, #file:read "a", caught == handlers())]])
    assert.equal("0\t0\ttrue\n", seen)
  end)
end)

describe("rule 41: nslua", function()
  it("ignores LUA_INIT", function()
    for _, name in ipairs { "LUA_INIT", "LUA_INIT_5_4" } do
      assert.equal("1\n", (probe.shell(("%s='print(666)' %s -e 'print(1)'"):format(name, probe.nslua))))
    end
  end)

  it("has no relative directory in its module paths", function()
    local directory = probe.directory()
    probe.write(directory .. "/evil.lua", "print 'evil'")
    local nslua_path = sys.readlink "/proc/self/cwd" .. "/" .. probe.nslua
    local seen = probe.shell(("cd %s && LUA_PATH='./?.lua;;' %s -e 'print(pcall(require, \"evil\")) print(package.path) print(package.cpath)'")
      :format(directory, nslua_path))
    probe.remove(directory)
    assert.matches("^false", seen)
    for entry in seen:match "\n(/[^\n]*\n[^\n]*)\n$":gmatch "[^;\n]+" do assert.matches("^/", entry) end
  end)
end)

describe("rule 44: runtime state", function()
  it("is none: no file is left anywhere", function()
    local function files() return probe.shell "ls -A /tmp /run /dev/shm 2>/dev/null | grep -i nslua | grep -v nslua-spec" end
    local before = files()
    for _ = 1, 5 do inside.run(sandbox {}, { "true" }) end
    assert.equal(before, files())
  end)
end)
