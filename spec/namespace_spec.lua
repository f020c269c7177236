local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys
-- Names below /proc/PID/ns.
local LINKS <const> = { cgroup = "cgroup", ipc = "ipc", mount = "mnt", net = "net", pid = "pid", time = "time",
  user = "user", uts = "uts" }
local LOOK <const> = "for n in cgroup ipc mnt net pid time user uts; do echo $n $(readlink /proc/self/ns/$n); done"

local function parse(text)
  local links = {}
  for name, link in text:gmatch "(%w+) (%w+:%[%d+%])" do links[name] = link end
  return links
end

local function here()
  local links = {}
  for _, name in pairs(LINKS) do links[name] = sys.readlink("/proc/self/ns/" .. name) end
  return links
end

--- The kinds that are new in a box, by what the payload sees of itself.
local function new_kinds(box)
  local own, seen, kinds = here(), parse((inside.sh(box, LOOK))), {}
  for kind, name in pairs(LINKS) do
    assert.is_string(seen[name], kind)
    if seen[name] ~= own[name] then kinds[#kinds + 1] = kind end
  end
  table.sort(kinds)
  return kinds
end

--- A recipe with the caller's files: /proc is the caller's too, where no PID namespace is new.
local function bare(fields) return sandbox(fields) end

describe("namespaces", function()
  it("are all new, but for time, when nothing is said", function()
    assert.same({ "cgroup", "ipc", "mount", "net", "pid", "user", "uts" }, new_kinds(sandbox {}))
  end)

  it("are new as the host sees them too", function()
    local process <close> = assert(sandbox {}:spawn { "sleep", "20", stdout = "null", stderr = "null" })
    local own = here()
    for kind, name in pairs(LINKS) do
      local link
      assert.is_true(watch.within(5, function() -- in the middle of execve(2) nobody may look at it
        link = sys.readlink(("/proc/%d/ns/%s"):format(process.pid, name))
        return link
      end))
      if kind == "time" then assert.equal(own[name], link) else assert.not_equal(own[name], link, kind) end
    end
  end)

  it("are all eight with a clock", function()
    assert.equal(8, #new_kinds(sandbox { clock = { boottime = 0 } }))
    assert.equal(8, #new_kinds(sandbox { namespaces = { time = true } }))
  end)

  for kind in pairs(LINKS) do
    it("are exactly the listed ones: " .. kind, function()
      local list = kind == "user" and { "user" } or { "user", kind }
      if kind == "mount" or kind == "pid" then list[#list + 1] = kind == "mount" and "pid" or "mount" end
      table.sort(list)
      assert.same(list, new_kinds(bare { namespaces = list }))
    end)

    it("are all but the one that is refused: " .. kind, function()
      if kind == "user" and not probe.is_root then return pending "an ordinary user needs a user namespace" end
      local want = { "cgroup", "ipc", "mount", "net", "pid", "user", "uts" }
      for i, name in ipairs(want) do
        if name == kind then table.remove(want, i) break end
      end
      local list = kind == "pid" and { fs.ro "/usr", fs.symlink("usr/bin", "/bin"), fs.symlink("usr/lib", "/lib"),
        fs.symlink("usr/lib64", "/lib64"), fs.ro "/proc" } or nil
      assert.same(want, new_kinds(sandbox { namespaces = { [kind] = false }, fs = list }))
    end)
  end

  it("without a user namespace are for root alone", function()
    local result, message = inside.run(bare { namespaces = { "uts" } }, { "true" })
    if probe.is_root then return assert.is_true(result.ok) end
    assert.is_nil(result)
    assert.matches("clone3: Operation not permitted %(EPERM%);.*needs a user namespace with them", message)
  end)

  it("that are new are told in result.enforced", function()
    for _, fields in ipairs { { namespaces = { "user", "uts" } }, { clock = { boottime = 1 } }, { init = false } } do
      local result = inside.run(sandbox(fields), { "sh", "-c", "readlink /proc/self/ns/*" })
      for kind, inode in pairs(result.enforced.namespaces) do
        local name = kind == "mount" and "mnt" or kind
        assert.matches(("\n%s:[%d]\n"):format(name, inode), "\n" .. result.stdout, 1, true)
      end
      local kinds = {}
      for kind in pairs(result.enforced.namespaces) do kinds[#kinds + 1] = kind end
      assert.equal(fields.namespaces and 2 or fields.clock and 8 or 7, #kinds)
    end
  end)
end)

describe("a UTS namespace", function()
  it("has the names of the recipe, and the host keeps its own", function()
    local before = probe.shell "uname -n"
    assert.equal("sandbox\n", (inside.sh(sandbox {}, "uname -n")))
    assert.equal("builder\n", (inside.sh(sandbox { hostname = "builder" }, "uname -n")))
    assert.equal("domain\n", (inside.sh(sandbox { domainname = "domain" }, "cat /proc/sys/kernel/domainname")))
    assert.equal(before, probe.shell "uname -n")
  end)
end)

describe("an IPC namespace", function()
  it("does not share queues", function()
    local host = probe.shell "ipcs -q | wc -l"
    local seen = inside.sh(sandbox {}, "ipcmk -Q >/dev/null; ipcs -q | grep -c 0x")
    assert.equal("1\n", seen)
    assert.equal(host, probe.shell "ipcs -q | wc -l")
  end)
end)

describe("a PID namespace", function()
  it("holds the reaper and what the payload starts", function()
    local seen = inside.sh(sandbox {}, "ls /proc | grep -c '^[0-9]'; echo $PPID")
    assert.is_true(tonumber(seen:match "^(%d+)") <= 4)
    assert.matches("\n1\n$", seen)
  end)

  it("has the payload as PID 1 with init = false", function()
    assert.equal("1\n", (inside.sh(sandbox { init = false }, "echo $$")))
  end)
end)

describe("a network namespace", function()
  local function state(net, namespaces)
    return (inside.python(sandbox { net = net, namespaces = namespaces }, [[
import socket
print(sorted(name for _, name in socket.if_nameindex()))
try:
  with socket.socket() as s: s.bind(("127.0.0.1", 0)); s.listen(); socket.create_connection(s.getsockname()); print("up")
except OSError as e: print("down")
]]))
  end

  it("has a loopback interface of its own that is up", function()
    assert.equal("['lo']\nup\n", state(nil))
    assert.equal("['lo']\nup\n", state "loopback")
  end)

  it("has one that is down with net = none", function() assert.equal("['lo']\ndown\n", state "none") end)

  it("is the caller's with net = host, or net = false", function()
    local own = probe.shell [[python3 -c 'import socket; print(sorted(name for _, name in socket.if_nameindex()))']]
    assert.equal(own, state("host"):match "^[^\n]*\n")
    assert.equal(own, state(nil, { net = false }):match "^[^\n]*\n")
  end)

  it("does not reach abstract sockets of the host", function()
    local seen = inside.python(sandbox {}, [[
import socket
print([line.split()[-1] for line in open("/proc/net/unix") if "@" in line])
]])
    assert.equal("[]\n", seen)
  end)
end)

describe("a time namespace", function()
  local NOW <const> = [[import time
print(time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME))]]

  local function clocks(box)
    local monotonic, boottime = (inside.python(box, NOW)):match "^(%S+) (%S+)\n"
    return tonumber(monotonic), tonumber(boottime)
  end

  it("has the offsets of the recipe", function()
    local base_monotonic, base_boottime = clocks(sandbox {})
    local monotonic, boottime = clocks(sandbox { clock = { monotonic = 1000000, boottime = 5000 } })
    assert.is_true(math.abs(monotonic - base_monotonic - 1000000) < 20)
    assert.is_true(math.abs(boottime - base_boottime - 5000) < 20)
  end)

  it("may go back, but not before the start of the clock", function()
    local _, base = clocks(sandbox {})
    local back = math.min(60, math.floor(base) // 2) -- the machine may have been started just now
    local _, boottime = clocks(sandbox { clock = { boottime = -back } })
    assert.is_true(math.abs(boottime - base + back) < 5)
    local result, message = inside.run(sandbox { clock = { boottime = -10000000000 } }, { "true" })
    assert.is_nil(result)
    assert.matches("clock: .*%(ERANGE%)", message)
  end)

  it("shows in /proc/uptime", function()
    local uptime = tonumber((inside.sh(sandbox { clock = { boottime = 1000000 } }, "cut -d. -f1 /proc/uptime")))
    assert.is_true(math.abs(uptime - 1000000 - tonumber(probe.read "/proc/uptime":match "^%d+")) < 20)
  end)
end)

describe("joining", function()
  --- A sandbox that waits, and the paths of its namespaces.
  local function target(fields)
    local process = assert(sandbox(fields or {}):spawn { "sleep", "30", stdout = "null", stderr = "null" })
    return process, function(kind) return ("/proc/%d/ns/%s"):format(process.pid, LINKS[kind]) end
  end

  it("by path gives the very namespace", function()
    if not probe.is_root then return pending "an ordinary user has no right over another user namespace's namespaces" end
    local _target <close>, path = target()
    for _, kind in ipairs { "uts", "ipc", "net", "cgroup" } do
      local seen = parse((inside.sh(sandbox { namespaces = { "mount", "pid", [kind] = path(kind) } }, LOOK)))
      assert.equal(sys.readlink(path(kind)), seen[LINKS[kind]], kind)
      assert.not_equal(here()[LINKS[kind]], seen[LINKS[kind]])
    end
  end)

  it("from inside a new user namespace is refused before anything happens", function()
    local ok, err = pcall(sandbox, { namespaces = { mount = "/proc/self/ns/mnt" } })
    assert.is_false(ok)
    assert.matches("cannot be joined from inside a new user namespace", tostring(err))
  end)

  it("a user namespace, and what belongs to it, gives the very namespaces", function()
    local _target <close>, path = target()
    local own = sys.identity()
    local id = probe.is_root and 1000 or own.uid
    local box = sandbox { user = { uid = id, gid = probe.is_root and 1000 or own.gid }, init = false,
      namespaces = { user = path "user", net = path "net", uts = path "uts" } }
    local links = parse((inside.sh(box, LOOK)))
    for _, name in ipairs { "user", "net", "uts" } do assert.equal(sys.readlink(path(name)), links[name]) end
  end)

  --- Fields that live in a target's user namespace, with everything else new.
  local function living_in(path)
    local own = sys.identity()
    local fields = { user = { uid = probe.is_root and 1000 or own.uid, gid = probe.is_root and 1000 or own.gid },
      namespaces = { user = path "user" } }
    for _, kind in ipairs { "cgroup", "ipc", "mount", "net", "pid", "uts" } do fields.namespaces[kind] = true end
    return fields
  end

  it("a user namespace goes with PIDs of one's own: the reaper is PID 1", function()
    local _target <close>, path = target()
    local box = sandbox(living_in(path)):with { clock = { boottime = 1000000 }, scheduling = { oom_score_adj = 700 } }
    local seen, result = inside.sh(box, "echo $$ $PPID; cat /proc/self/oom_score_adj; cut -d. -f1 /proc/uptime; " .. LOOK,
      { time_steps = true })
    assert.matches("^2 1\n700\n", seen)
    assert.is_true(tonumber(seen:match "^2 1\n700\n(%d+)") > 1000000)
    local links, own = parse(seen), here()
    for kind, name in pairs(LINKS) do
      assert.not_equal(own[name], links[name], kind)
      assert.equal(name == "user", sys.readlink(path(kind)) == links[name], kind)
      assert.equal(links[name], ("%s:[%d]"):format(name, result.enforced.namespaces[kind]))
    end
    local steps = {}
    for _, step in ipairs(result.steps) do steps[step.op or ""] = step.seconds end
    assert.is_true(steps.remake >= 0 and steps.execve >= 0)
  end)

  it("a user namespace with PIDs of one's own goes with further commands, news of the start, signals and time limits", function()
    local _target <close>, path = target()
    local news
    local box <const> = sandbox(living_in(path))
    local process <close> = assert(box:spawn { "sleep", "30", ready = function(told) news = told end })
    assert.equal(sys.readlink(path "user"), ("user:[%d]"):format(news.namespaces.user))
    local pid = assert(nslua.ns.open(process.pid, "pid")):inode() -- once its program is executed
    assert.equal(pid, news.namespaces.pid)
    local further = assert(process:exec { "sh", "-c", LOOK, stdout = "capture" }):wait()
    assert.equal(sys.readlink(path "user"), parse(further.stdout).user)
    assert.equal(("pid:[%d]"):format(pid), parse(further.stdout).pid)
    process:kill "TERM"
    assert.equal(15, process:wait(10).signal)
    assert.equal("timeout", inside.run(box, { "sh", "-c", "trap '' TERM; sleep 30 & wait", timeout = 2 }).reason)
    local result, message = inside.run(box, { "nosuch" })
    assert.is_nil(result)
    assert.matches("nosuch: No such file", message)
  end)

  it("a user namespace with PIDs of one's own goes with limits of a control group, where there are any", function()
    local _target <close>, path = target()
    local fields = living_in(path)
    fields.limits = { pids = 5, best_effort = true }
    local result = inside.run(sandbox(fields), { "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait" })
    if result.enforced.limits.pids.by == "setrlimit" then return pending "no control group to make here" end
    assert.matches("fork", result.stderr)
  end)

  it("a user namespace does not let its root look into the maker, or its stages", function()
    local all = { user = "root", caps = "all", seccomp = false, landlock = false, namespaces = { "user" } }
    local attacker <close> = assert(sandbox(all):spawn { "python3", "-c", ([[
import ctypes, os, time
libc, found, tried, end = ctypes.CDLL(None), set(), 0, time.time() + 60
def name_of(pid):
  try: return open("/proc/%s/cmdline" % pid, "rb").read()
  except OSError: return b""
print("begun", flush=True)
while tried < 40 and time.time() < end:
  for pid in filter(str.isdigit, os.listdir("/proc")):
    name = name_of(pid)
    if not name.startswith(b"nslua") and int(pid) != MAKER: continue
    tried += int(pid) != MAKER
    try: # it may have become its program since its name was read
      os.close(os.open("/proc/%s/mem" % pid, os.O_RDONLY))
      if name_of(pid) == name: found.add("mem of %s" % name)
    except OSError: pass
    if libc.ptrace(0x4206, int(pid), 0, 0) == 0:
      if name_of(pid) == name: found.add("ptrace of %s" % name)
      libc.ptrace(17, int(pid), 0, 0)
    if int(pid) == MAKER and ROOT:
      try: os.kill(int(pid), 0); found.add("kill")
      except OSError: pass
print(tried >= 40, sorted(found))
]]):gsub("MAKER", ("%d"):format(sys.getpid())):gsub("ROOT", probe.is_root and "True" or "False"), stdout = "pipe",
      stderr = "inherit" })
    assert.equal("begun", attacker.stdout:read "l")
    local box = sandbox { user = { uid = 0, gid = 0 }, fs = { fs.os() }, namespaces = { user = assert(attacker:ns "user"),
      mount = true, pid = true, uts = true } }
    repeat assert.is_true(inside.run(box, { "sleep", "0.02" }).ok) until attacker:wait(0)
    assert.equal("True []", attacker.stdout:read "l")
  end)

  it("a user namespace leaves nothing when the maker is killed, at whatever moment", function()
    local _target <close>, path = target()
    local directory = probe.directory()
    local id = ("{ uid = %d, gid = %d }"):format(probe.is_root and 1000 or sys.identity().uid,
      probe.is_root and 1000 or sys.identity().gid)
    probe.write(directory .. "/maker.lua", ([[
local sys = require "nslua.sys"
os.execute("(sleep 0.0" .. arg[1] .. "; kill -9 " .. sys.getpid() .. ") &")
local box = sandbox "left" { user = %s, lifetime = "detached", namespaces = { user = "%s", pid = true, mount = true } }
while true do box:spawn({ "sleep", "0.01", stdout = "null", stderr = "null" }):wait() end
]]):format(id, path "user"))
    for moment = 10, 60 do probe.shell(("%s %s/maker.lua %d"):format(probe.nslua, directory, moment)) end
    sys.poll(0.5)
    probe.remove(directory)
    assert.equal("", (probe.shell "pgrep -af '^nslua sandbox<left>'"))
  end)

  --- What becomes of a join by path, in the way that this user may join at all.
  local function joined(path)
    local own = sys.identity()
    local recipe = probe.is_root and { namespaces = { "mount", "pid", net = path } }
      or { init = false, user = { uid = own.uid, gid = own.gid }, namespaces = { uts = path, user = path } }
    return inside.run(sandbox(recipe), { "true" })
  end

  it("by a path that is not there says which", function()
    local result, message = joined "/no/such"
    assert.is_nil(result)
    assert.matches("/no/such: No such file or directory %(ENOENT%)", message)
  end)

  it("one of another kind is an error, by whatever way it is said", function()
    local uts = "/proc/self/ns/uts"
    local file <close> = assert(io.open(uts))
    for _, wrong in ipairs { uts, file, assert(nslua.ns.open(uts)) } do
      for _, box in ipairs { sandbox { namespaces = { net = wrong } }, sandbox { namespaces = { "mount", net = wrong } } } do
        local result, err = box:run { "true" }
        assert.is_nil(result)
        assert.matches("namespace net.*: it is a uts namespace, not net %(EINVAL%)", tostring(err))
      end
    end
  end)

  it("by a path that is none is an error, not a weaker sandbox", function()
    for _, path in ipairs { "/dev/null", "/etc/passwd", "/proc/self/ns/uts", "/" } do
      assert.is_nil((joined(path)), path)
    end
  end)
end)

describe("the caller's namespaces", function()
  it("are the same afterwards", function()
    local before = here()
    for _, fields in ipairs { {}, { clock = { boottime = 7 } }, { namespaces = { "user", "uts" } } } do
      inside.run(sandbox(fields), { "true" })
      inside.run(sandbox(fields), { "nosuch" })
    end
    assert.same(before, here())
  end)
end)
