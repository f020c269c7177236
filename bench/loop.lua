--- box:run { "/bin/true" } in a loop: nslua loop.lua COUNT [MIB [RECIPE]]. Prints the microseconds of each
-- run. MIB of memory are touched before; RECIPE is "default", "unfiltered" (without seccomp and Landlock), "namespaces" (those
-- of the Go program, no files), "mount" (with a mount namespace, the host's tree in it), or "exec": each run is a further command
-- in one sandbox.
local nslua = require "nslua"
local clock = nslua.sys.clock
local WARM_UP <const> = 5

local count, size, kind = tonumber(arg[1]), tonumber(arg[2] or 0), arg[3] or "default"

local KINDS <const> = { "user", "uts", "ipc", "pid", "net", "cgroup" }
local RECIPES <const> = {
  default = {}, exec = {}, unfiltered = { seccomp = false, landlock = false },
  namespaces = { namespaces = KINDS, net = "none" },
  mount = { namespaces = { "mount", table.unpack(KINDS) }, net = "none", fs = { nslua.fs.host() } },
}

local touched = {}
for i = 1, size do touched[i] = ("x"):rep((1 << 20) - i) end

local box = nslua.sandbox(RECIPES[kind])
local argv = { "/bin/true" }
if RECIPES[kind].namespaces then argv.stdout, argv.stderr = "null", "null" end -- as exec.Cmd

local process <close> = kind == "exec" and assert(box:spawn { "sleep", "9999", stdin = "null" }) or nil

local function further()
  local command <close> = assert(process:exec(argv))
  return command:wait()
end

local function run() return process and further() or box:run(argv) end

local times = {}
for i = 1 - WARM_UP, count do
  local began = clock()
  assert(run()):check()
  if i > 0 then times[i] = ("%.1f"):format((clock() - began) * 1e6) end
end
assert(#touched == size)
print(table.concat(times, "\n"))
