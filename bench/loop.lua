--- box:run{"/bin/true"} in a loop: nslua loop.lua COUNT [MIB [NAME]]. Prints the microseconds of each run. MIB of memory are
-- touched before; NAME is one of recipes.lua.
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path

local nslua = require "nslua"
local recipes = require "recipes"
local clock = nslua.sys.clock
local WARM_UP <const> = 5

local count, size, kind = tonumber(arg[1]), tonumber(arg[2] or 0), recipes[arg[3] or "default"]

local touched = {}
for i = 1, size do touched[i] = ("x"):rep((1 << 20) - i) end

local box = nslua.sandbox(kind.recipe)
local process <close> = kind.further and assert(box:spawn { "sleep", "9999", stdin = "null" }) or nil

local function further()
  local command <close> = assert(process:exec(kind.argv))
  return command:wait()
end

local function run() return process and further() or box:run(kind.argv) end

local times = {}
for i = 1 - WARM_UP, count do
  local began = clock()
  assert(run()):check()
  if i > 0 then times[i] = ("%.1f"):format((clock() - began) * 1e6) end
end
assert(#touched == size)
print(table.concat(times, "\n"))
