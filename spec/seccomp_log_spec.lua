-- luacheck: no max line length
--- The mode "log" of seccomp: nothing is refused, and the result says what would have been.
local bpf = require "bpf"
local filter = require "nslua.filter"
local inside = require "inside"
local kernel = require "nslua.kernel"
local nslua = require "nslua"
local probe = require "probe"
local profile = require "nslua.profile"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys

local ALLOW <const>, KILL <const>, USER_NOTIF <const>, ENOSYS <const> = 0x7fff0000, 0x80000000, 0x7fc00000, 0x50026

local box = sandbox { seccomp = { mode = "log" } }

--- A box that would refuse some calls that programs make seldom.
local function refusing(...) return sandbox { seccomp = { mode = "log", deny = { ... } } } end

--- What was recorded: name -> count.
local function counts(result)
  local by_name = {}
  for _, call in ipairs(result.refused) do by_name[call.name] = call.count end
  return by_name
end

local function count(result, name) return counts(result)[name] or 0 end

local PREAMBLE <const> = [[
import ctypes, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
  ctypes.set_errno(0)
  r = libc.syscall(ctypes.c_long(number), *arguments)
  return ctypes.get_errno() if r < 0 else 0
]]

--- Python inside, with `call`, which makes a call by number and gives the errno, and the numbers of some calls.
local function python(a_box, code, options)
  local numbers = ("getpgid = %d; getppid = %d; unshare = %d\n"):format(sys.syscall_number "getpgid", sys.syscall_number "getppid",
    sys.syscall_number "unshare")
  return inside.python(a_box, PREAMBLE .. numbers .. code, options)
end

describe("the filter of the mode log, in an interpreter of BPF", function()
  local program = filter.program(sys.syscall_number, sys.audit_arch(), { mode = "log", deny = { "getppid" }, default = "kill" })
  local function says(name, ...)
    return bpf.run(program, { arch = sys.audit_arch(), nr = assert(sys.syscall_number(name), name), args = { ... } })
  end

  it("notifies of all that would be refused, and allows the rest", function()
    for _, group in ipairs(profile.refused) do
      for name in group.calls:gmatch "%S+" do
        if sys.syscall_number(name) then assert.equal(USER_NOTIF, says(name), name) end
      end
    end
    for _, name in ipairs { "clone3", "getppid" } do assert.equal(USER_NOTIF, says(name)) end
    assert.equal(USER_NOTIF, bpf.run(program, { arch = sys.audit_arch(), nr = 499 }))
    assert.equal(ALLOW, says "read")
    assert.equal(ALLOW, says("socket", 1))
    assert.equal(USER_NOTIF, says("socket", 40))
    assert.equal(USER_NOTIF, says("clone", 0x20000))
    assert.equal(USER_NOTIF, says("ioctl", 0, 0x5412))
  end)

  it("kills on every other architecture, and has no x32", function()
    assert.equal(KILL, bpf.run(program, { arch = 0x40000003, nr = 1 }))
    assert.equal(ENOSYS, bpf.run(program, { arch = sys.audit_arch(), nr = 0x40000001 }))
  end)
end)

describe("the mode log of seccomp", function()
  local before
  setup(function() assert(box:run { "true" }) end) -- the stage's image is made once
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  it("lets everything happen, and records what would have been refused", function()
    local seen, result = inside.sh(box, [[
      unshare -U id -u
      python3 -c 'import socket; socket.socket(socket.AF_VSOCK)' 2>/dev/null
      mount -t tmpfs none /tmp || mount -t tmpfs none /tmp]])
    assert.matches("^65534\n", seen) -- the user namespace was made: no id is mapped there
    local recorded = counts(result)
    assert.equal(1, recorded.unshare)
    assert.equal(1, recorded.socket)
    assert.is_true((recorded.mount or recorded.fsopen) >= 2)
    assert.is_nil(result.refused.incomplete)
  end)

  it("lists them by name, and numbers without one", function()
    local _, result = python(box, "call(499); call(unshare, 0); call(499); call(1023); call(1024); call(1 << 29)")
    assert.same({ { name = "syscall 1023", count = 1 }, { name = "syscall 499", count = 2 }, { name = "unshare", count = 1 } }, result.refused)
  end)

  it("records as many different ones as there are", function()
    local _, result = python(box, "for number in range(500, 1024): call(number)")
    assert.equal(524, #result.refused)
  end)

  it("has an empty list when there was nothing, and none in another mode", function()
    assert.same({}, inside.run(box, { "true" }).refused)
    assert.is_nil(inside.run(sandbox {}, { "true" }).refused)
    assert.is_nil(inside.run(sandbox { seccomp = false }, { "true" }).refused)
  end)

  it("does not record what the start of the payload calls", function()
    assert.same({}, inside.run(refusing("openat2", "seccomp", "dup3", "setsid", "umask", "chdir", "capset", "close_range"), { "true" }).refused)
  end)

  it("records the exec of the payload itself", function()
    assert.same({ execve = 1 }, counts(inside.run(refusing "execve", { "true" })))
    assert.same({ execve = 3 }, counts(inside.run(refusing "execve", { "sh", "-c", "/bin/true; /bin/true; exit" })))
    local _, _, err = inside.run(refusing "execve", { "no-such-command" })
    assert.equal("ENOENT", err.code)
    _, _, err = inside.run(refusing "execve", { "/etc/passwd" })
    assert.equal("EACCES", err.code)
  end)

  it("counts the calls of threads", function()
    local _, result = python(refusing "getppid", [[
def many():
  for _ in range(100): call(getppid)
threads = [threading.Thread(target=many) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()]])
    assert.equal(800, count(result, "getppid"))
  end)

  it("counts the calls of 200 children", function()
    local _, result = python(refusing "getppid", [[
for _ in range(200):
  if os.fork() == 0:
    call(getppid)
    os._exit(0)
for _ in range(200): os.wait()]])
    assert.equal(200, count(result, "getppid"))
  end)

  it("counts a call once, whatever signals come meanwhile, or a signal has kept it from happening", function()
    local seen, result = python(refusing "getppid", [[
interrupted = 0
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
for _ in range(3000): interrupted += call(getppid) == 4 # EINTR
signal.setitimer(signal.ITIMER_REAL, 0)
print(interrupted)]])
    if not kernel.at_least(5, 19) then return pending "this kernel counts what a signal keeps from happening" end
    assert.equal(3000, count(result, "getppid") + tonumber(seen))
  end)

  it("goes on when who waits for an answer is killed", function()
    local seen, result = python(refusing "getppid", [[
for _ in range(100):
  child = os.fork()
  if child == 0:
    while True: call(getppid)
  time.sleep(0.0005)
  os.kill(child, 9)
  os.wait()
print(call(getppid))]])
    assert.equal("0\n", seen)
    assert.is_true(count(result, "getppid") >= 1)
  end)

  it("tells what was recorded until the sandbox was stopped, and leaves nothing", function()
    for _, more in ipairs { {}, { init = false }, { namespaces = { "user" } }, { namespaces = {} } } do
      local marker = watch.marker()
      local process <close> = assert(box:with(more):spawn { "sh", "-c", "unshare -U true; sleep $M & exec sleep $M", env = { M = marker } })
      assert.is_true(watch.appear(marker, 2)) -- the shell's own words have it not
      process:stop()
      local result = assert(process:wait(10))
      assert.equal(9, result.signal)
      assert.same({ unshare = 1 }, counts(result))
      assert.is_nil(result.refused.incomplete)
      assert.is_true(watch.vanish(marker))
    end
  end)

  it("tells what was recorded until a time limit", function()
    local result = inside.run(box, { "sh", "-c", "unshare -U true; sleep 100", timeout = 3 })
    assert.equal("timeout", result.reason)
    assert.same({ unshare = 1 }, counts(result))
  end)

  it("leaves nothing of what the payload has put into the background", function()
    for _, more in ipairs { {}, { init = false }, { namespaces = { "user" } }, { namespaces = {} } } do
      local marker = watch.marker()
      local seen, result = inside.sh(box:with(more), ("setsid sleep %s > /dev/null 2>&1 & unshare -U true; echo $?"):format(marker))
      assert.equal("0\n", seen)
      assert.equal(1, count(result, "unshare"))
      assert.is_true(watch.vanish(marker))
    end
  end)

  it("shows a payload that is PID 1 no child that it could wait for", function()
    local seen, result = python(refusing("getppid"):with { init = false }, [[
try: os.wait()
except ChildProcessError: print("none")
if os.fork() == 0: os._exit(call(getppid))
print(os.wait()[1], call(getppid))]])
    assert.equal("none\n0 0\n", seen)
    assert.same({ getppid = 2 }, counts(result))
  end)

  it("lives beside filters of the payload's own", function()
    local seen, result = python(refusing("getppid", "getpgid"), ([[
program = bytes.fromhex("%s")
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
print(libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, program)))) # PR_SET_SECCOMP
print(call(getppid), call(getpgid, 0))
print(call(%d, 1, 8, ctypes.byref(Program(len(program) // 8, program)))) # a listener]]):format(
      require "nslua.bpf".program(sys.audit_arch(), { [sys.syscall_number "getppid"] = 0x5000b }, ALLOW):gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end), sys.syscall_number "seccomp"))
    assert.equal("0\n11 0\n16\n", seen)
    assert.same({ getpgid = 1 }, counts(result))
  end)

  it("lets further programs hold", function()
    local program = require "nslua.bpf".program(sys.audit_arch(), { [sys.syscall_number "getppid"] = 0x5000b }, ALLOW)
    local seen, result = python(sandbox { seccomp = { mode = "log", deny = { "getpgid" }, programs = { program } } },
      "print(call(getppid), call(getpgid, 0))")
    assert.equal("11 0\n", seen)
    assert.same({ getpgid = 1 }, counts(result))
  end)

  it("does not let the payload at the process that records", function()
    local seen = python(box, [[
for name in ("mem", "environ", "exe", "fd", "maps", "root", "fdinfo"):
  path = "/proc/3/" + name
  for opened in (lambda: os.listdir(path), lambda: os.readlink(path), lambda: open(path, "rb").read(1)):
    try: print(name, opened())
    except OSError: pass
print(libc.ptrace(16, 3, 0, 0))]]) -- PTRACE_ATTACH; it is allowed by the filter
    assert.equal("-1\n", seen)
  end)

  it("has a recorder without capabilities, in a session of its own, with one fd", function()
    for _, more in ipairs { {}, { user = "root", caps = "all" }, { namespaces = {} } } do
      local process <close> = assert(box:with(more):spawn { "sleep", "100" })
      local stage = process.stage:pid()
      local payload, recorder = probe.read(("/proc/%d/task/%d/children"):format(stage, stage)):match "(%d+) (%d+)"
      assert.equal(tostring(process.pid), payload)
      local status
      assert.is_true(watch.within(5, function()
        status = probe.read("/proc/" .. recorder .. "/status")
        return status:find "Seccomp:%s+0" and probe.read("/proc/" .. payload .. "/status"):find "Seccomp:%s+2" and true
      end))
      assert.matches("CapPrm:%s+0+\nCapEff:%s+0+\n", status)
      assert.matches("NoNewPrivs:%s+1\n", status)
      local session = probe.shell("ps -o sid= -p " .. recorder):match "%d+"
      assert.equal(recorder, session)
      if probe.is_root then
        assert.is_true(watch.within(5, function() return probe.shell(("ls /proc/%s/fd | wc -l"):format(recorder)) == "1\n" end))
      end
    end
  end)

  it("says when the recorder has not lived to the end", function()
    local seen, result = python(refusing "getppid", "print(call(getppid)); os.kill(3, 9); time.sleep(0.2); print(call(getppid))")
    assert.equal("0\n38\n", seen)
    assert.is_true(result.refused.incomplete)
    assert.same({ getppid = 1 }, counts(result))
  end)

  it("goes with limits, streams and trees of the host", function()
    local directory = probe.directory()
    local bigger = box:with { limits = { nofile = 16, cpu_time = 5 }, fs = { fs.os(), fs.rw(directory, "/work") } }
    local result = inside.run(bigger, { "sh", "-c", "cat > /work/f; unshare -U true; cat /work/f; chmod 4755 /work/f", stdin = "text" })
    probe.remove(directory)
    assert.equal("text", result.stdout)
    assert.equal(1, count(result, "unshare"))
    if probe.is_root then assert.matches("Operation not permitted", result.stderr) end -- no set-id files in idmapped trees
  end)

  it("works a hundred times at once and in a row", function()
    local processes = {}
    for i = 1, 50 do processes[i] = assert(box:spawn { "unshare", "-U", "true", stdout = "null", stderr = "null" }) end
    for _, process in ipairs(processes) do assert.same({ unshare = 1 }, counts(assert(process:wait(60)))) end
    for _ = 1, 50 do assert.same({ unshare = 1 }, counts(inside.run(box, { "unshare", "-U", "true" }))) end
  end)

  it("is told: in the result, by explain and by the command", function()
    local result = inside.run(refusing "getppid", { "true" })
    assert.equal("log", result.enforced.seccomp.mode)
    assert.equal("changed", result.enforced.seccomp.profile)
    assert.equal("default", inside.run(box, { "true" }).enforced.seccomp.profile)
    assert.matches("seccomp +default profile, %d+ instructions; it only logs: the payload is not contained by it", box:explain())
    local directory = probe.directory()
    probe.write(directory .. "/log.lua", 'return sandbox { seccomp = { mode = "log" } }')
    assert.equal("nslua: seccomp would have refused: unshare (1)\n",
      (probe.shell(("%s run %s/log.lua -- unshare -U true"):format(probe.nslua, directory))))
    assert.equal("nslua: seccomp would have refused: nothing\n",
      (probe.shell(("%s run %s/log.lua -- true"):format(probe.nslua, directory))))
    probe.remove(directory)
  end)

  it("is refused at once where it cannot be", function()
    assert.matches("needs no_new_privs", inside.mistake(sandbox, { no_new_privs = false, seccomp = { mode = "log" } }))
    assert.matches("mode is 'log'", inside.mistake(sandbox, { seccomp = { mode = "warn" } }))
  end)

  it("is not to be had twice, one in the other", function()
    local directory = probe.directory()
    local outer = box:with { namespaces = { "user" }, user = "root", caps = "all", env = { inherit = { "LD_PRELOAD", "ASAN_OPTIONS" } } }
    local program = watch.program(directory, [[
      local box = sandbox { namespaces = {}, seccomp = { mode = "log" } }
      print(select(2, box:run { "true" }))]])
    local result = inside.run(outer, { "lua5.4", program, cwd = sys.getcwd() })
    probe.remove(directory)
    assert.matches("seccomp: Device or resource busy %(EBUSY%);\n  who runs nslua has a filter with a listener", result.stdout .. result.stderr)
  end)
end)
