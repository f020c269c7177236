local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, sys = nslua.sandbox, nslua.sys

--- /proc/self/limits inside: name -> { soft, hard }.
local function limits(recipe)
  local found = {}
  for line in inside.sh(sandbox(recipe), "cat /proc/self/limits"):gmatch "[^\n]+" do
    local name, soft, hard = line:match "^Max (.-)%s%s+(%S+)%s+(%S+)"
    if name then found[name] = soft == hard and soft or soft .. " " .. hard end
  end
  return found
end

local function mistake(value) return inside.mistake(sandbox, { limits = value }) end

describe("limits", function()
  it("are few and small when nothing is said", function()
    local found = limits {}
    assert.equal("1", found["core file size"])
    assert.equal("0", found["nice priority"])
    assert.equal("0", found["realtime priority"])
    assert.is_true(tonumber(found["locked memory"]) <= 1 << 20)
  end)

  it("are what the recipe says: one number, or soft and hard", function()
    local found = limits { limits = { nofile = 100, fsize = "1M", stack = { soft = "4M", hard = "unlimited" }, core = 0 } }
    assert.same({ "100", "1048576", "0" }, { found["open files"], found["file size"], found["core file size"] })
    assert.matches("^4194304", found["stack size"])
  end)

  it("are otherwise the caller's", function()
    local soft, hard = sys.getrlimit "nofile"
    assert.equal(soft == hard and tostring(soft) or soft .. " " .. hard, limits {}["open files"])
  end)

  it("are told in the result, with what holds them", function()
    local held = inside.run(sandbox { limits = { time = 9, nofile = 100 } }, { "true" }).enforced.limits
    assert.same({ soft = 100, hard = 100, by = "setrlimit" }, held.nofile)
    assert.same({ seconds = 9, by = "timer" }, held.time)
    assert.same({ soft = 1, hard = 1, by = "setrlimit" }, held.core)
  end)

  it("bite", function()
    local result = inside.run(sandbox { limits = { fsize = "1M" } }, { "sh", "-c", "head -c 2M /dev/zero > /tmp/x" })
    assert.is_false(result.ok)
    local seen = inside.python(sandbox { limits = { as = "512M" } }, "x = bytearray(1 << 30)")
    assert.matches("MemoryError", seen)
    seen = inside.python(sandbox { limits = { nofile = 20 } }, "import os\nfor i in range(30): os.open('/', 0)")
    assert.matches("Too many open files", seen)
  end)

  it("above the caller's own are root's to give: the error says so", function()
    if probe.is_root then return pending "root may raise them, or not: that is its capabilities' matter" end
    local host = "ulimit -n 256; exec lua5.4 %s"
    local directory = probe.directory()
    probe.write(directory .. "/case.lua", [[
      dofile "spec/support/setup.lua"
      local ok, err = require "nslua".sandbox { limits = { nofile = 300 } }:run { "true" }
      print(ok, err)
    ]])
    local output = probe.shell(("sh -c '%s'"):format(host:format(directory .. "/case.lua")))
    probe.remove(directory)
    assert.matches("^nil.*EPERM.*a limit above the caller's own hard one", output)
  end)

  it("merge by name", function()
    local box = sandbox { limits = { nofile = 100, time = 5 } }:with { limits = { fsize = "1M" } }
    assert.matches("├─ fsize 1048576\n│  ├─ nofile 100\n│  └─ time 5s", box:explain())
  end)

  it("mean something", function()
    assert.matches("did you mean 'cpu_time'%?", mistake { cpu_tim = 1 })
    for _, bad in ipairs { -1, 1.5, "x", "1.5G", {}, { soft = 2, hard = 1 }, { soft = "unlimited", hard = 1 } } do
      assert.matches("a table where nofile is", mistake { nofile = bad }, 1, false)
    end
  end)
end)
