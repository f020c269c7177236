--- Looking at processes from the host's side, and small host programs run apart from this one.
local probe = require "probe"
local sys = require "nslua.sys"

local M = { full = os.getenv "NSLUA_SPEC_FULL" == "1" }
local markers, programs = 0, 0

--- An argument of sleep that only one test uses; its processes are found by it.
function M.marker()
  markers = markers + 1
  return ("98765.%d%03d"):format(sys.getpid(), markers)
end

local names = {}
for i = 1, 190 do names[i] = "l" .. i end
local scrub = load("local " .. table.concat(names, ",") .. " = nil")

--- The footprint, without what unused slots of Lua's stack still keep alive. The fds are looked at one by
--- one: a program that lists them may still see the pipe to itself. Fewer than `before` is as good as the same.
function M.footprint(before)
  for _ = 1, 3 do
    scrub()
    collectgarbage()
  end
  local footprint = probe.footprint()
  footprint.fds = 0
  for fd = 0, 1023 do
    if sys.fstat(fd) then footprint.fds = footprint.fds + 1 end
  end
  if before and footprint.fds < before.fds then footprint.fds = before.fds end
  return footprint
end

--- The pids of all processes that have this text in their argv.
function M.processes(marker)
  local pids = {}
  for pid in probe.shell "ls /proc":gmatch "%f[^\n\0](%d+)" do
    local argv = probe.read("/proc/" .. pid .. "/cmdline")
    if argv and argv:find(marker, 1, true) then pids[#pids + 1] = math.tointeger(pid) end
  end
  return pids
end

--- Whether something becomes true within so many seconds.
function M.within(seconds, condition)
  local limit = sys.clock() + seconds
  repeat
    if condition() then return true end
    sys.poll(0.01)
  until sys.clock() > limit
  return condition()
end

--- Whether processes with this marker appear, or are all gone, within so many seconds. What is left is
--- killed, so that one failure does not become many.
function M.appear(marker, count) return M.within(5, function() return #M.processes(marker) >= (count or 1) end) end

function M.vanish(marker, seconds)
  local gone = M.within(seconds or 1, function() return #M.processes(marker) == 0 end)
  for _, pid in ipairs(M.processes(marker)) do probe.shell("kill -9 " .. pid) end
  return gone
end

local PREAMBLE <const> = [[
package.path = "%s/lua/?.lua;%s/lua/?/init.lua;" .. package.path
package.cpath = "%s/%s/lib/?.so;" .. package.cpath
local nslua <const> = require "nslua"
local sandbox <const>, sys <const> = nslua.sandbox, nslua.sys
local light <const> = sandbox { namespaces = { "user", "pid" } }
]]

--- Writes a host program: Lua that has nslua, sandbox, sys and the cheap sandbox `light`.
function M.program(directory, code)
  local here = sys.getcwd()
  programs = programs + 1
  local path = ("%s/program%d.lua"):format(directory, programs)
  probe.write(path, PREAMBLE:format(here, here, here, probe.build) .. code)
  return path
end

--- Code of a host program for with_few_fds(step, use): calls a function with 0, step, … numbers left for files. It has to
--- give something, or nil and an error with EMFILE: with enough the former, with none the latter.
M.WITH_FEW_FDS = [[
  local function with_few_fds(step, use)
    local enough
    assert(use()) -- what it requires is loaded then
    for free = 0, 40, step do
      sys.setrlimit("nofile", 128, 256)
      local fds, fd = {}, nil
      repeat
        fd = sys.duplicate(0)
        fds[#fds + 1] = fd
      until not fd
      for _ = 1, free do table.remove(fds):close() end
      local result, err = use()
      assert(result or err.code == "EMFILE", tostring(err))
      enough = enough or result and free
      for _, each in ipairs(fds) do each:close() end
    end
    assert(enough > 0)
  end
]]

--- Code of a host program that makes the kernel answer a prctl(2) with an errno, or with 0 as if it had done it.
function M.answer_prctl(option, errno)
  return ([[
    do
      local LOAD <const>, EQUAL <const>, RETURN <const>, ALLOW <const>, ERRNO <const> = 0x20, 0x15, 0x06, 0x7fff0000, 0x50000
      local function line(...) return string.pack("=I2I1I1I4", ...) end
      assert(sys.no_new_privs())
      assert(sys.seccomp(line(LOAD, 0, 0, 0) .. line(EQUAL, 0, 3, sys.syscall_number "prctl") .. line(LOAD, 0, 0, 16)
        .. line(EQUAL, 0, 1, %d) .. line(RETURN, 0, 0, ERRNO | %d) .. line(RETURN, 0, 0, ALLOW)))
    end
  ]]):format(option, errno)
end

--- Runs a host program apart.
-- @param options around: the shell's words, "%s" is where the program stands; through: a command that
--   executes it, as env; seconds after which it counts as hung
-- @return its output with the errors, and its exit status: 137 when it hung
function M.host(code, options)
  options = options or {}
  local directory = probe.directory()
  local command = ("timeout -s KILL %d %s lua5.4 %s"):format(options.seconds or 60, options.through or "",
    M.program(directory, code))
  local around = options.around or "%s"
  local output, status = probe.shell("{ " .. around:gsub("%%s", (command:gsub("%%", "%%%%"))) .. "; }")
  probe.remove(directory)
  return output, status
end

return M
