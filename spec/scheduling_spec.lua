local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, sys, unset = nslua.sandbox, nslua.sys, nslua.unset

--- Where a process' nice value, I/O priority, OOM score and CPUs can be read, as one line.
local SEEN <const> = [[p=$(exec sh -c 'echo $PPID')
  echo $(awk '{print $19}' /proc/$p/stat), $(ionice -p $p), $(cat /proc/$p/oom_score_adj), \
    $(awk '/Cpus_allowed_list/ {print $2}' /proc/$p/status)]]

local function seen(recipe)
  return (inside.sh(sandbox(recipe), SEEN):gsub("\n$", ""))
end

local function of_host() return (probe.shell(SEEN):gsub("\n$", "")) end

local function mistake(value) return inside.mistake(sandbox, { scheduling = value }) end

local HERE <const> = "^spec/scheduling_spec.lua:%d+: "

local function error_of(scheduling) return select(2, inside.run(sandbox { scheduling = scheduling }, { "true" })) end

--- The numbers of the CPUs that we may use.
local function own_cpus()
  local cpus = {}
  for first, last in probe.read "/proc/self/status":match "Cpus_allowed_list:%s*(%S+)":gmatch "(%d+)%-?(%d*)" do
    for cpu = tonumber(first), tonumber(last) or tonumber(first) do cpus[#cpus + 1] = math.tointeger(cpu) end
  end
  return cpus
end

local LAST_CPU <const> = own_cpus()[#own_cpus()]

describe("scheduling", function()
  it("is the caller's when nothing is said", function() assert.equal(of_host(), seen {}) end)

  it("is what the recipe says, and the caller's own stays as it is", function()
    local before = of_host()
    assert.equal(("17, best-effort: prio 6, 1000, %d"):format(LAST_CPU), seen { scheduling = {
      nice = 17, ionice = { class = "best-effort", level = 6 }, oom_score_adj = 1000, affinity = { LAST_CPU } } })
    assert.equal(before, of_host())
  end)

  it("is so with other namespaces, and with the payload as PID 1", function()
    local scheduling = { nice = 17, ionice = "idle", oom_score_adj = 1000, affinity = { LAST_CPU } }
    for _, recipe in ipairs {
      { namespaces = { "user" } }, { init = false }, { session = false }, { clock = { boottime = 1 } },
    } do
      recipe.scheduling = scheduling
      assert.equal(("17, idle, 1000, %d"):format(LAST_CPU), seen(recipe))
    end
  end)

  it("takes an I/O class by its name, with the level that ionice(1) would take", function()
    assert.equal("idle\n", (inside.sh(sandbox { scheduling = { ionice = "idle" } }, "ionice")))
    assert.equal("best-effort: prio 4\n", (inside.sh(sandbox { scheduling = { ionice = "best-effort" } }, "ionice")))
  end)

  it("takes several CPUs", function()
    local cpus = own_cpus()
    assert.equal(#cpus .. "\n", (inside.sh(sandbox { scheduling = { affinity = cpus } }, "nproc")))
    local box = sandbox { scheduling = { affinity = { LAST_CPU } } }
    assert.matches("list: " .. LAST_CPU .. "\n", (inside.sh(box, "taskset -cp $$")))
  end)

  it("is the payload's, not the reaper's: but the OOM score is both's", function()
    local box = sandbox { scheduling = { nice = 17, ionice = "idle", oom_score_adj = 1000, affinity = { LAST_CPU } } }
    local process <close> = assert(box:spawn { "sleep", "30" })
    local function of(pid)
      return (probe.shell(SEEN:gsub("^.-\n", "p=" .. math.tointeger(pid) .. "\n")):gsub("\n$", ""))
    end
    local reaper = probe.read(("/proc/%d/stat"):format(process.pid)):match "%) %S+ (%d+)"
    assert.equal(("17, idle, 1000, %d"):format(LAST_CPU), of(process.pid))
    assert.equal((of_host():gsub(", %-?%d+, ", ", 1000, ")), of(reaper))
  end)

  it("is told in the result and by explain, where the recipe has it", function()
    local scheduling = { nice = 17, ionice = "best-effort", affinity = { LAST_CPU }, oom_score_adj = 1000 }
    local box = sandbox { scheduling = scheduling }
    scheduling.ionice = { class = "best-effort", level = 4 }
    local enforced = inside.run(box, { "true" }).enforced
    assert.same(scheduling, enforced.scheduling)
    enforced.scheduling.ionice.class = "changed"
    assert.same(scheduling, inside.run(box, { "true" }).enforced.scheduling)
    local tree = ("\n├─ scheduling  CPU %d, I/O best-effort 4, nice 17, OOM score +1000\n"):format(LAST_CPU)
    assert.matches(tree, box:explain(), 1, true)
    local json = ('"scheduling":{"affinity":[%d],"ionice":{"class":"best-effort","level":4},"nice":17,"oom_score_adj":1000}')
    assert.matches(json:format(LAST_CPU), box:explain { json = true }, 1, true)
    assert.is_nil(inside.run(sandbox {}, { "true" }).enforced.scheduling)
    assert.not_matches(" scheduling ", sandbox {}:explain())
  end)

  it("is warned of where nice does not weigh against the host's processes", function()
    local grouped = (probe.read "/proc/sys/kernel/sched_autogroup_enabled" or "0"):find "1" and 1 or 0
    local warnings = sandbox { scheduling = { nice = 17 } }:lint()
    assert.equal(grouped, #warnings)
    if grouped == 1 then assert.matches("^scheduling: nice counts among the sandbox's own", tostring(warnings[1])) end
    assert.equal(0, #sandbox { scheduling = { ionice = "idle" } }:lint())
  end)

  it("merges by name", function()
    local box = sandbox { scheduling = { nice = 17, ionice = "idle", oom_score_adj = 1000 } }
      :with { scheduling = { nice = 18, oom_score_adj = unset } }
    assert.matches("scheduling  I/O idle, nice 18\n", box:explain(), 1, true)
    assert.same({ nice = 18, ionice = { class = "idle" } }, inside.run(box, { "true" }).enforced.scheduling)
  end)

  it("means something", function()
    assert.matches("did you mean 'nice'%?", mistake { nise = 1 })
    for name, bad in pairs {
      nice = { -21, 20, 1.5, "7", true }, oom_score_adj = { -1001, 1001, "0" }, core = { 1, "yes" },
      affinity = { {}, 0, { -1 }, { 4096 }, { 0.5 }, { "0" }, { cpu = 0 } },
      ionice = { "rt", 2, {}, { level = 4 }, { class = "idle", level = 4 }, { class = "best-effort", level = 8 },
        { class = "realtime", level = -1 }, { class = "none" } },
    } do
      for _, value in ipairs(bad) do
        assert.matches("scheduling must be a table where " .. name .. " is ", mistake { [name] = value })
      end
    end
    assert.matches("nice is an integer from %-20 to 19 %(not 20%)", mistake { nice = 20 })
    assert.matches("ionice is 'idle', 'best%-effort' or 'realtime', or { class =, level = } %(not 'rt'%)",
      mistake { ionice = "rt" })
    assert.matches("a list of at least one CPU's number", mistake { affinity = {} })
  end)
end)

describe("a priority above the caller's own", function()
  it("is not to be had in a new user namespace: the error says so", function()
    for _, case in ipairs {
      { { nice = -20 }, HERE .. "scheduling: Permission denied %(EACCES%);\n  a nice value below the caller's own is root's" },
      { { ionice = "realtime" }, HERE .. "scheduling: Operation not permitted %(EPERM%);\n  the class realtime is root's" },
      { { oom_score_adj = -1000 }, HERE .. "oom_score_adj: Permission denied %(EACCES%);\n  a value below" },
    } do assert.matches(case[2], error_of(case[1])) end
  end)

  it("is root's to give without one", function()
    if not probe.is_root then return pending "only root makes the other namespaces without it" end
    assert.equal("-5, realtime: prio 2, 0, " .. of_host():match "%S+$", seen {
      namespaces = { "uts", "pid", "mount" }, scheduling = { nice = -5, ionice = { class = "realtime", level = 2 } } })
  end)

  it("is to be had within the caller's limit, and the payload has no more of that limit", function()
    local _, status = probe.shell "prlimit --nice=30 true"
    if status ~= 0 then return pending "that limit cannot be raised here" end
    local nice = watch.host([[
      local box = sandbox { scheduling = { nice = -5 } }
      io.write(box:run { "sh", "-c", "nice; nice -n -1 nice", stdout = "capture", stderr = "null" }.stdout)
    ]], { through = "prlimit --nice=30" })
    assert.equal("-5\n-5\n", nice)
  end)
end)

describe("the CPUs of a recipe", function()
  it("are all there, or it is an error", function()
    for _, affinity in ipairs { { LAST_CPU, 4095 }, { 4095 } } do
      assert.matches(HERE .. "scheduling: Invalid argument %(EINVAL%);\n  a CPU is not there", error_of { affinity = affinity })
    end
  end)
end)

describe("core scheduling", function()
  local PR_SCHED_CORE <const> = 62

  --- With a kernel that answers so: there are machines with it and without.
  local function with_answer(errno, code) return watch.host(watch.answer_prctl(PR_SCHED_CORE, errno) .. code) end
  local RUN <const> = [[
    local result, err = sandbox { scheduling = { core = true } }:run { "true" }
    print(result, err, result and result.enforced.scheduling.core)]]

  it("is asked for in the payload", function()
    assert.equal("exited with 0\tnil\ttrue\n", (with_answer(0, RUN)))
    assert.equal("exited with 0\tnil\tfalse\n", (with_answer(22, RUN:gsub("core = true", "core = false"))))
    assert.matches("scheduling  shares no core\n", sandbox { scheduling = { core = true } }:explain(), 1, true)
  end)

  it("has nothing to do where a core has one hardware thread", function()
    assert.equal("exited with 0\tnil\ttrue\n", (with_answer(19, RUN)))
  end)

  it("is an error where the kernel lacks it", function()
    assert.matches("^nil\t[^\n]*.lua:%d+: scheduling: Invalid argument %(EINVAL%);\n  this kernel is older than Linux 5",
      (with_answer(22, RUN)))
  end)

  it("is done, or the kernel says why not", function()
    local result, message = inside.run(sandbox { scheduling = { core = true } }, { "true" })
    assert.is_true(result and result.ok or message:find "this kernel is older than Linux 5" ~= nil, message)
  end)
end)

describe("nslua.sys", function()
  --- Runs a function in a child.
  local function child(body)
    local process <close> = assert(sys.clone({}, function()
      body()
      return 0
    end))
    assert.equal(0, (process:wait()))
  end

  it("sets what the recipes set, now and for the caller", function()
    local before = of_host()
    child(function()
      assert(sys.setpriority(19))
      assert(sys.ioprio_set("best-effort", 3))
      assert(sys.sched_setaffinity { LAST_CPU })
      assert(of_host():find(("19, best%%-effort: prio 3, %%-?%%d+, %d$"):format(LAST_CPU)))
      assert(sys.ioprio_set "idle")
      assert(of_host():find "^19, idle")
    end)
    assert.equal(before, of_host())
  end)

  it("gives an errno for what is out of range", function()
    child(function()
      for _, r in ipairs {
        { sys.ioprio_set("best-effort", 8) }, { sys.ioprio_set("best-effort", -1) }, { sys.ioprio_set(7) },
        { sys.sched_setaffinity {} }, { sys.sched_setaffinity { 4096 } }, { sys.sched_setaffinity { LAST_CPU, 4095 } },
      } do assert(r[1] == nil and r[3] == 22, r[2]) end
    end)
    assert.has_error(function() sys.ioprio_set "worst-effort" end)
    assert.has_error(function() sys.sched_setaffinity { -1 } end)
  end)

  it("knows whether there is core scheduling", function()
    child(function()
      local ok, _, errno = sys.core_scheduling()
      assert(ok or errno == 22 or errno == 19)
    end)
  end)
end)
