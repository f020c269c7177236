local nslua = require "nslua"
local sys = require "nslua.sys"

local sandbox, fs = nslua.sandbox, nslua.fs

local function run(box, options)
  options = options or { "true" }
  options.time_steps, options.timeout = true, 30
  return assert(box:run(options))
end

--- The places in the list of the first step that each name stands for.
local function places(steps, ...)
  local found = {}
  for i, name in ipairs { ... } do
    for place, one in ipairs(steps) do
      if not found[i] and one.step:find(name, 1, true) then found[i] = place end
    end
    assert.truthy(found[i], name)
  end
  return found
end

--- How long a step took at best: what the machine does besides only adds to that.
local function least(box, name)
  local least_of_all = math.huge
  for _ = 1, 10 do
    local steps = run(box).steps
    least_of_all = math.min(least_of_all, steps[places(steps, name)[1]].seconds)
  end
  return least_of_all
end

describe("time_steps", function()
  local box = sandbox "timed" {
    fs = { fs.os(), fs.tmpfs "/scratch" },
  }

  it("tells what each step took, in the order in which they were done", function()
    local steps = run(box).steps
    local found = places(steps, "compile", "streams", "stage", "session", "tmpfs on /scratch", "privileges", "reaper",
      "payload", "command true")
    for i = 2, #found do assert.is_true(found[i - 1] < found[i], i) end
    assert.equal(#steps, found[#found])
    assert.equal("execve", steps[#steps].op)
    assert.matches("steps_spec.lua:%d+$", steps[found[5]].at)
    for i = 2, #steps do assert.is_false(steps[i].step == steps[i - 1].step and steps[i].at == steps[i - 1].at) end
  end)

  it("adds up to the time until the payload runs, and is not compiled again", function()
    local first = sandbox { fs = { fs.os() } }
    local began = sys.clock()
    local process <close> = assert(first:spawn { "true", time_steps = true })
    local took, sum = sys.clock() - began, 0
    for _, one in ipairs(process.steps) do
      assert.is_true(one.seconds >= 0)
      sum = sum + one.seconds
    end
    assert.is_true(sum > took / 4 and sum <= took, sum .. " of " .. took)
    assert.is_true(process:wait().steps == process.steps)
    assert.is_true(least(first, "compile") < process.steps[1].seconds / 2)
  end)

  it("sees which step is slow, in every process of the set-up", function()
    local slow = sandbox { init = false, steps = { function(plan) for _ = 1, 3000 do plan:umask(18) end end } }
    local steps = run(slow).steps
    assert.equal("umask", steps[places(steps, "step 1")[1]].op)
    assert.is_true(least(slow, "step 1") > least(slow, "session"))
    assert.is_true(steps[places(steps, "PID namespace")[1]].seconds > 0)
  end)

  it("is right in a time namespace with another clock", function()
    local sum = 0
    for _, one in ipairs(run(sandbox { clock = { monotonic = 1000, boottime = 1000 } }).steps) do sum = sum + one.seconds end
    assert.is_true(sum > 0 and sum < 10, sum)
  end)

  it("is not there unasked", function()
    assert.is_nil(assert(box:run { "true" }).steps)
    assert.is_nil(assert(box:run { "true", time_steps = false }).steps)
    assert.has_error(function() box:run { "true", time_steps = 1 } end)
  end)

  it("escapes what the recipe's names have in them", function()
    local steps = run(sandbox { fs = { fs.os(), fs.tmpfs "/a\27[31m" } }).steps
    assert.equal("tmpfs on /a\\x1b[31m", steps[places(steps, "tmpfs on /a")[1]].step)
  end)
end)

describe("a stage that is not timed", function()
  it("has no times to tell", function()
    local plan = sys.plan()
    local stage <close> = assert(sys.spawn {
      operations = plan:bytes(), registers = plan:registers(), fds = {}, namespaces = {},
    })
    assert.matches("EBADF", (select(2, stage:times())))
  end)

  it("notes times only where there is room for them", function()
    local plan = sys.plan()
    for _ = 1, 10 do plan:umask(18) end
    local stage <close> = assert(sys.spawn {
      operations = plan:bytes(), registers = plan:registers(), fds = {}, namespaces = {}, times = 3,
    })
    assert.equal("failed", (stage:receive(true)))
    local times = stage:times()
    assert.equal(3, #times)
    assert.is_true(times[1] <= times[2] and times[2] <= times[3] and times[3] <= sys.now() and times[1] > 0)
    assert.has_error(function() sys.spawn { operations = "", registers = 3, namespaces = {}, times = -1 } end)
  end)
end)
