local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"

local DIRECTORY <const> = "recipes/walkthrough/"
local STEPS <const> = { "1-uts", "2-ipc", "3-pid", "4-mount", "5-user", "6-net" }

local function nslua_with(arguments, input)
  return probe.shell(("timeout 60 %s %s < %s"):format(probe.nslua, arguments, input or "/dev/null"))
end

local function load(step) return assert(nslua.load(DIRECTORY .. step .. ".lua")) end

--- A step's sandbox with a program that stays, to look at from the host.
local function staying(step) return assert(load(step):spawn { "sleep", "60" }) end

local function output_of(step, command)
  return assert(load(step):run { "sh", "-c", command, stdout = "capture", stderr = "capture" }):check().stdout
end

local function namespace(pid, kind) return probe.shell(("readlink /proc/%s/ns/%s"):format(pid, kind)) end

local function lines_with(text, pattern)
  local count = 0
  for line in text:gmatch "[^\n]+" do
    if line:find(pattern) then count = count + 1 end
  end
  return count
end

describe("the walk-through", function()
  for _, step in ipairs(STEPS) do
    it("step " .. step .. ", with no terminal, shows inside and outside, and finds what it says", function()
      local output, status = nslua_with(DIRECTORY .. step .. ".lua")
      assert.equal(0, status, output)
      assert.truthy(output:find "inside%$ " and output:find "outside%$ ")
      assert.truthy(output:match "[^\n]*\n$":find(step .. ": ok, ", 1, true), output)
    end)
  end

  it("fails when the observation does not hold", function()
    local directory = probe.directory()
    local copy = probe.read(DIRECTORY .. "1-uts.lua"):gsub("hostname changed; hostname", "hostname")
    probe.write(directory .. "/1-uts.lua", copy, "644")
    probe.write(directory .. "/common.lua", probe.read(DIRECTORY .. "common.lua"), "644")
    local output, status = nslua_with(directory .. "/1-uts.lua")
    probe.remove(directory)
    assert.equal(1, status)
    assert.truthy(output:find "NOT ok")
  end)

  it("each step has the new namespaces of the one before and one more", function()
    local names = { "uts", "ipc", "pid", "mnt", "user", "net" }
    for last, step in ipairs(STEPS) do
      local process <close> = staying(step)
      for i, name in ipairs(names) do
        local new = i <= last or name == "user" and not probe.is_root
        assert.equal(new, namespace(process.pid, name) ~= namespace("self", name), step .. " " .. name)
      end
    end
  end)

  it("each step's sandbox ends with its handle", function()
    for _, step in ipairs(STEPS) do
      local process = staying(step)
      local pid = process.pid
      process:close()
      assert.equal("", (probe.shell("ps -o stat=,args= -p " .. pid)), step)
    end
  end)

  it("gives a shell on a terminal, and its exit status", function()
    local typed = probe.directory()
    probe.write(typed .. "/input", "hostname typed; echo \"name: $(hostname)\"\nexit 7\n")
    local output, status = probe.shell(("timeout 60 script -qec '%s %s1-uts.lua' /dev/null < %s/input"):format(
      probe.nslua, DIRECTORY, typed))
    probe.remove(typed)
    assert.truthy(output:find "hostname changed", output)
    assert.truthy(output:find "name: typed", output)
    assert.equal(7, status)
  end)
end)

describe("the walk-through's observations", function()
  it("uts: the host keeps its name", function()
    local before = probe.shell "hostname"
    assert.equal("elsewhere\n", output_of("1-uts", "hostname elsewhere; hostname"))
    assert.equal(before, probe.shell "hostname")
  end)

  it("ipc: a queue of the host is not seen inside, one made inside not by the host", function()
    local id = probe.shell "ipcmk -Q":match "%d+"
    local before = probe.shell "ipcs -q"
    finally(function() probe.shell("ipcrm -q " .. id) end)
    assert.equal(0, lines_with(output_of("2-ipc", "ipcs -q"), "^0x"))
    local inside = output_of("2-ipc", "ipcmk -Q >/dev/null; ipcs -q")
    assert.equal(1, lines_with(inside, "^0x"))
    assert.equal(before, probe.shell "ipcs -q")
    assert.is_nil(before:find(inside:match "0x%x+", 1, true))
  end)

  it("pid: PID 1 inside is another one for the host; ps shows the host's processes, this one too", function()
    assert.equal("1\n", output_of("3-pid", "echo $$"))
    local process <close> = staying "3-pid"
    assert.truthy(process.pid > 1)
    assert.equal("sleep 60\n", probe.shell("ps -o args= -p " .. process.pid))
    assert.truthy(probe.shell(("grep NSpid /proc/%d/status"):format(process.pid)):find(process.pid .. "\t1\n"))
    assert.equal(1, lines_with(output_of("3-pid", "ps -eo pid"), ("^%%s*%d$"):format(sys.getpid())))
  end)

  it("mount: with the own /proc ps shows the own processes only; the host's mounts stay", function()
    local before = probe.read "/proc/self/mountinfo"
    local processes = output_of("4-mount", "ps -elf; true")
    assert.equal(3, lines_with(processes, "."), processes)
    assert.equal(1, lines_with(processes, "^%d %S %S+ +1 .* sh %-c"))
    local process <close> = staying "4-mount"
    assert.equal(before, probe.read "/proc/self/mountinfo")
    local inside = probe.read(("/proc/%d/mountinfo"):format(process.pid))
    assert.truthy(inside:match "[^\n]* /proc [^\n]*%- proc")
    assert.not_equal(before, inside)
  end)

  it("user: root inside, an id without privileges for the host", function()
    assert.equal("0 0\n", output_of("5-user", "echo $(id -u) $(id -g)"))
    local process <close> = staying "5-user"
    local uid = tonumber(probe.read(("/proc/%d/status"):format(process.pid)):match "Uid:%s+(%d+)")
    local own = sys.identity().uid
    if probe.is_root then assert.not_equal(0, uid) else assert.equal(own, uid) end
    assert.equal(1, lines_with(probe.read(("/proc/%d/uid_map"):format(process.pid)), ("^%%s+0%%s+%d%%s+1$"):format(uid)))
  end)

  it("net: a loopback of its own and no other interface; the host's addresses are out of reach", function()
    local before = probe.shell "ip -o link"
    local process <close> = staying "6-net"
    local devices = probe.read(("/proc/%d/net/dev"):format(process.pid))
    assert.equal(1, lines_with(devices, "^%s*[%w_-]+:"), devices)
    assert.equal(1, lines_with(devices, "^%s*lo:"))
    assert.equal(before, probe.shell "ip -o link")
    local address = probe.shell "ip -4 -o addr show scope global":match "inet ([%d.]+)" or "192.0.2.1"
    assert.truthy(output_of("6-net", "ip route get " .. address .. " 2>&1; true"):find "unreachable")
  end)
end)
