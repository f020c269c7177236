local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys

--- The groups that are ours by name: of this process, or of all.
local function groups(pid)
  return probe.shell(("find /sys/fs/cgroup -xdev -name 'nslua-%s-*' -type d 2>/dev/null; "
    .. "for d in /sys/fs/cgroup/*/; do find $d -xdev -name 'nslua-%s-*' -type d 2>/dev/null; done | sort -u"):format(
    pid or sys.getpid(), pid or sys.getpid()))
end

--- What keeps this process from each limit, if anything does.
local problems = {}
for name, value in pairs { memory = "64M", pids = 9, cpu = 1, cpus = { 0 }, hugetlb = { ["2M"] = 0 } } do
  local result, err = sandbox { limits = { [name] = value } }:run { "true" }
  problems[name] = not result and err or nil
end
local possible = not problems.memory
local DISK <const> = sys.stat "/scratch" and "/scratch" -- of the virtual machine
problems.io = not DISK and "no disk of the virtual machine here"
  or select(2, sandbox { limits = { io = { [DISK] = { wbps = "1G" } } } }:run { "true" })

--- Specs that need groups which this process can make, of such a limit.
local function limited(limit, name, body)
  it(name, function()
    if problems[limit] then return pending(tostring(problems[limit]):match "[^;]*") end
    body()
    assert.is_true(watch.within(5, function() return groups() == "" end)) -- systemd takes its own away in its time
  end)
end

describe("control groups", function()
  it("are said in the error when there are none to be had: which, where, and what gives them", function()
    if possible then return pending "they are to be had" end
    assert.matches("^spec/cgroup_spec.lua:%d+: limits%.memory: .*cgroup", tostring(problems.memory))
    assert.matches("root", tostring(problems.memory))
    assert.matches("best_effort = true", problems.memory.hint)
  end)

  it("are done without by best_effort, and the result says so", function()
    local limits = { memory = "512M", pids = 64, cpus = { 0 }, cpu = 0.5, best_effort = true }
    local box = sandbox { limits = limits }
    local result = inside.run(box, { "sh", "-c", "nproc; ulimit -v" })
    local held = result.enforced.limits
    assert.same({ 0 }, held.cpus.value)
    assert.equal("1", result.stdout:match "^%d+")
    if possible then
      for name in pairs(limits) do
        if name ~= "best_effort" and not problems[name] then assert.matches("^cgroup v[12]$", held[name].by) end
      end
      return
    end
    assert.same({ "setrlimit of as", "setrlimit of nproc", "sched_setaffinity", "nothing" },
      { held.memory.by, held.pids.by, held.cpus.by, held.cpu.by })
    assert.matches("cgroup", held.cpu.reason)
    assert.equal("524288", result.stdout:match "\n(%d+)")
    assert.matches("cpu 0%.5 %(nothing: ", box:explain())
    local own = sandbox { limits = { memory = "512M", as = "1G", best_effort = true } }
    assert.equal("1048576\n", inside.sh(own, "ulimit -v"))
  end)

  it("mean something", function()
    local function mistake(limits) return inside.mistake(sandbox, { limits = limits }) end
    assert.matches("memory is a size above 0", mistake { memory = 0 })
    assert.matches("memory is a size of at least 1M", mistake { memory = 4096 })
    assert.matches("pids is an integer from 1", mistake { pids = 0 })
    assert.matches("cpu is a number of processors", mistake { cpu = 0 })
    assert.matches("cpus is a list", mistake { cpus = {} })
    assert.matches("rbps =, wbps =, riops =, wiops =", mistake { io = { ["/"] = {} } })
    assert.matches("a size of pages", mistake { hugetlb = { x = 1 } })
    assert.matches("did you mean 'memory'", mistake { memry = 1 })
    assert.is_nil(mistake {
      memory = "1G", swap = 0, pids = 1, cpu = 1.5, cpus = { 0, 1 }, hugetlb = { ["2M"] = 0, ["1GB"] = "1G" },
    })
  end)
end)

if not possible then
  it("limits hold sandboxes", function() pending(tostring(problems.memory):match "[^;]*") end)
  return
end

describe("a limit of a control group", function()
  limited("memory", "of memory bites: the payload is killed, and the reason is oom", function()
    local box = sandbox { limits = { memory = "64M" } }
    local result = inside.run(box, { "python3", "-c", "x = bytearray(200 << 20)" })
    assert.same({ false, "oom", 9 }, { result.ok, result.reason, result.signal })
    assert.equal("killed for want of memory", tostring(result))
    assert.is_true(result.usage.group.oom_kills > 0)
    assert.is_true(result.usage.group.memory_peak == nil or result.usage.group.memory_peak <= 64 << 20)
    result = inside.run(box, { "python3", "-c", "x = bytearray(10 << 20)" })
    assert.is_true(result.ok)
    assert.same({ value = 64 << 20, by = result.enforced.limits.memory.by }, result.enforced.limits.memory)
  end)

  limited("memory", "of memory is told by nslua run, and what the sandbox has used", function()
    local directory = probe.directory()
    probe.write(directory .. "/recipe.lua", "return sandbox { limits = { memory = '64M' } }\n")
    local output, status = probe.shell(("%s run --stats %s/recipe.lua -- python3 -c 'x = bytearray(200 << 20)'"):format(
      probe.nslua, directory))
    probe.remove(directory)
    assert.equal(137, status)
    assert.matches("nslua: killed for want of memory\n", output)
    assert.matches("nslua: all: OOM +1 killed\n", output)
  end)

  limited("memory", "of memory is not what killed a payload that was killed otherwise", function()
    local box = sandbox { limits = { memory = "64M" } }
    local result = inside.run(box, { "sh", "-c", "kill -9 $$" })
    assert.same({ "signal", 9, 0 }, { result.reason, result.signal, result.usage.group.oom_kills })
    result = inside.run(box, { "sleep", "100", timeout = 3 })
    assert.equal("timeout", result.reason)
    local process <close> = assert(box:spawn { "sleep", "100" })
    process:stop()
    assert.equal("signal", process:wait(5).reason)
  end)

  limited("memory", "of memory that killed another process of the sandbox shows in usage", function()
    local result = inside.run(sandbox { limits = { memory = "64M" } },
      { "sh", "-c", "python3 -c 'x = bytearray(200 << 20)'; echo $?; exit 3" })
    assert.same({ "exit", 3, "137" }, { result.reason, result.code, result.stdout:match "%d+" })
    assert.is_true(result.usage.group.oom_kills > 0)
  end)

  limited("memory", "of memory holds for /dev/shm and what is swapped, too", function()
    local result = inside.run(sandbox { limits = { memory = "64M" } }, { "sh", "-c", "head -c 100M /dev/zero > /dev/shm/x" })
    assert.is_false(result.ok)
    local swapping = sandbox { limits = { memory = "64M", swap = "1G" } }
    local held = inside.run(swapping, { "true" })
    assert.is_true(held and held.ok)
    assert.equal(1 << 30, held.enforced.limits.swap.value)
  end)

  limited("pids", "of pids bites, exactly", function()
    local code = "import os, time\nn = 1\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(100)\n    n += 1\n"
      .. "except BlockingIOError: print(n)"
    for _, recipe in ipairs { { limits = { pids = 7 } }, { limits = { pids = 7 }, seccomp = { mode = "log" } } } do
      assert.equal("7\n", inside.python(sandbox(recipe), code))
    end
  end)

  limited("cpu", "of cpu throttles", function()
    local result = inside.run(sandbox { limits = { cpu = 0.2 } },
      { "python3", "-c", "import time\nwhile time.process_time() < 0.4: pass" })
    assert.is_true(result.usage.group.throttled > 0)
    assert.is_true(result.usage.wall > 2 * (result.usage.user + result.usage.system))
  end)

  limited("cpus", "of cpus says which processors there are", function()
    assert.equal("1\n", inside.sh(sandbox { limits = { cpus = { 0 } } }, "nproc"))
    local result, message = inside.run(sandbox { limits = { cpus = { 4000 } } }, { "true" })
    assert.is_nil(result)
    assert.matches("limits%.cpus: cpuset%.cpus = 4000: .*%(E", message)
  end)

  limited("hugetlb", "of huge pages is set", function()
    local held = inside.run(sandbox { limits = { hugetlb = { ["2M"] = 0 } } }, { "true" })
    assert.same({ ["2MB"] = 0 }, held.enforced.limits.hugetlb.value)
    local result, message = inside.run(sandbox { limits = { hugetlb = { ["3M"] = 0 } } }, { "true" })
    assert.is_nil(result)
    assert.matches("hugetlb%.3MB.*ENOENT", message)
  end)

  limited("io", "of a disk bites", function()
    local box = sandbox { fs = { fs.os(), fs.rw(DISK .. "/vartmp", "/w") }, limits = { io = { [DISK] = { wbps = "1M" } } } }
    local result = inside.run(box, { "dd", "if=/dev/zero", "of=/w/x", "bs=1M", "count=2", "oflag=direct" })
    os.remove(DISK .. "/vartmp/x")
    assert.is_true(result.ok)
    assert.is_true(result.usage.wall > 1.5)
    assert.is_true(result.usage.group.written >= 2 << 20)
  end)

  limited("io", "of no disk is an error", function()
    local result, message = inside.run(sandbox { limits = { io = { ["/proc"] = { rbps = 1 } } } }, { "true" })
    assert.is_nil(result)
    assert.matches("limits%.io: /proc lies on no disk", message)
  end)

  limited("memory", "of the least memory leaves the maker alive", function()
    for _ = 1, 20 do
      local result, message = inside.run(sandbox { limits = { memory = "1M" } }, { "sh", "-c", "head -c 4M /dev/zero > /tmp/x" })
      if result then assert.is_false(result.ok) else assert.matches("limits%.memory may be too low", message) end
    end
  end)
end)

describe("what a payload could lift", function()
  limited("pids", "is an error, or said in the result", function()
    if probe.is_root then return pending "root's payload is another user" end
    for _, recipe in ipairs {
      { namespaces = { "user" } }, { namespaces = { cgroup = false }, fs = { fs.host() } },
      { namespaces = { cgroup = false }, fs = { fs.os(), fs.rw("/sys/fs", "/sys/fs") } },
    } do
      recipe.limits = { pids = 9 }
      local result, message = inside.run(sandbox(recipe), { "true" })
      assert.is_nil(result)
      assert.matches("limits%.pids: .*control groups.*it could lift the limit", message)
      recipe.limits.best_effort = true
      local held = inside.run(sandbox(recipe), { "true" }).enforced.limits.pids
      assert.matches("^cgroup v%d, as long as the payload leaves it$", held.by)
    end
  end)

  limited("pids", "it cannot, where it sees the groups in a namespace of its own", function()
    local code = [[
for d in $(find /sys/fs/cgroup -name "nslua-$0-*" ! -name "*.scope" -type d); do
  echo max > $d/pids.max && echo lifted
  echo $$ > $d/../cgroup.procs && echo out
done 2>/dev/null
echo done]]
    local box = sandbox { fs = { fs.host() }, limits = { pids = 9 } }
    local result, message = inside.run(box, { "sh", "-c", code, tostring(sys.getpid()) })
    if not result then return assert.matches("it could lift the limit", message) end
    assert.equal("done\n", result.stdout)
  end)
end)

describe("the group of a sandbox", function()
  limited("memory", "is what the payload sees as the root, and shows no name", function()
    for line in inside.sh(sandbox { limits = { memory = "64M", pids = 9 } }, "cat /proc/self/cgroup"):gmatch "[^\n]+" do
      assert.matches(":/$", line)
    end
  end)

  limited("memory", "goes with every kind of recipe", function()
    for name, recipe in pairs {
      root = { user = "root" }, auto = { user = "auto" }, init = { init = false }, log = { seccomp = { mode = "log" } },
      bare = { namespaces = { "user", "cgroup" } }, shared = { namespaces = { cgroup = false } },
      clock = { clock = { monotonic = 5 } },
    } do
      recipe.limits = { memory = "64M", pids = 9 }
      local result, message = inside.run(sandbox(recipe), { "sh", "-c", "echo hello" })
      assert.equal("hello\n", result and result.stdout or name .. ": " .. message)
    end
    local result = inside.run(sandbox { limits = { pids = 9 } }, { "tty", tty = true })
    assert.matches("^/dev/pts/", result.stdout)
  end)

  limited("memory", "is gone when the sandbox cannot start, ends, is closed, or is collected", function()
    local box = sandbox { limits = { memory = "64M", pids = 9 } }
    assert.is_nil((inside.run(box, { "no such command" })))
    assert.equal("", groups())
    do
      local process <close> = assert(box:spawn { "sleep", "100" })
      assert.not_equal("", groups())
      assert.is_not_nil(process.pid)
    end
    assert.equal("", groups())
    box:spawn { "sleep", "100" }
    collectgarbage()
    collectgarbage()
  end)

  limited("memory", "is made all the same, and no other is left, when somebody locks what we make before we do", function()
    local flock, taken = sys.flock, {}
    sys.flock = function(fd, operation)
      if #taken < 3 then
        taken[#taken + 1] = sys.open(nil, sys.readlink("/proc/self/fd/" .. fd:fileno()), { "read", "directory" })
        flock(taken[#taken], "exclusive")
      end
      return flock(fd, operation)
    end
    local result = inside.run(sandbox { limits = { memory = "64M" } }, { "true" })
    sys.flock = flock
    assert.is_true(result and result.ok)
    assert.equal("", groups())
    for _, fd in ipairs(taken) do fd:close() end
    assert.equal(3, #taken)
  end)

  limited("memory", "ends at once with all in it, without a PID namespace as well", function()
    local marker = watch.marker()
    local box = sandbox { namespaces = { "user", "cgroup" }, limits = { pids = 20 } }
    local process <close> = assert(box:spawn {
      "sh", "-c", ("setsid sleep %s & sleep %s & exec sleep %s"):format(marker, marker, marker) })
    assert.is_true(watch.appear(marker, 3))
    process:stop()
    assert.equal(9, process:wait(5).signal)
    assert.is_true(watch.vanish(marker, 0))
  end)

  limited("memory", "leaves no fd, process or group in many runs, one after the other and at once", function()
    local box = sandbox { limits = { memory = "64M", pids = 9 } }
    assert(box:run { "true" })
    local before = watch.footprint()
    for _ = 1, watch.full and 10000 or 100 do assert(box:run { "true" }) end
    local processes = {}
    for i = 1, 20 do processes[i] = assert(box:spawn { "sh", "-c", "echo $$", stdout = "capture" }) end
    for _, process in ipairs(processes) do assert.is_true(process:wait(30).ok) end
    processes = nil -- luacheck: ignore processes
    assert.same(before, watch.footprint(before))
  end)

  limited("memory", "stays with a detached sandbox, and is swept after it by the next maker", function()
    local marker = watch.marker()
    local output = watch.host(([[
      local box = sandbox { lifetime = "detached", namespaces = { "user", "pid", "cgroup" }, limits = { pids = 9 } }
      local process = assert(box:spawn { "sleep", "%s", stdout = "null", stderr = "null" })
      print(sys.getpid())
    ]]):format(marker))
    local pid = output:match "^%d+"
    assert.is_true(watch.appear(marker))
    local SWEEP <const> = [[assert(sandbox { limits = { pids = 9 } }:run { "true" })]]
    assert.equal("", (watch.host(SWEEP)))
    assert.not_equal("", groups(pid))
    for _, found in ipairs(watch.processes(marker)) do probe.shell("kill -9 " .. found) end
    assert.is_true(watch.vanish(marker))
    assert.is_true(watch.within(5, function() return watch.host(SWEEP) == "" and groups(pid) == "" end))
  end)

  limited("memory", "is swept after a maker that was killed: at 50 moments of 500 runs", function()
    local marker = watch.marker()
    local directory = probe.directory()
    local maker = watch.program(directory, ([[
      local box = sandbox { limits = { memory = "64M", pids = 9 }, namespaces = { "user", "pid", "cgroup" } }
      box:plan()
      io.write "x" io.flush()
      for _ = 1, 10 do assert(box:run { "sleep", "0.01" }) end
      box:run { "sleep", "%s" }
    ]]):format(marker))
    probe.write(directory .. "/killer.py", [=[
import os, random, subprocess, sys, time, signal
random.seed(os.getpid())
for _ in range(50):
    maker = subprocess.Popen(["lua5.4", sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    maker.stdout.read(1)
    time.sleep(random.random() * 0.2)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    print(maker.pid)
]=])
    local output, status = probe.shell(("timeout -s KILL 300 python3 %s/killer.py %s"):format(directory, maker))
    assert.equal(0, status)
    probe.remove(directory)
    assert.is_true(watch.vanish(marker, 2))
    assert.equal("", (watch.host [[assert(sandbox { limits = { pids = 9, memory = "64M" } }:run { "true" })]]))
    local left = {}
    for pid in output:gmatch "%d+" do left[#left + 1] = groups(pid) end
    assert.equal("", table.concat(left))
  end)
end)
