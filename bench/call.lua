--- Calls of a function that adds two numbers: nslua call.lua COUNT HOW. Prints the microseconds of each. HOW is "call", in a
-- sandbox each, or "pool", in one that stays.
local nslua = require "nslua"
local clock = nslua.sys.clock
local WARM_UP <const> = 5

local count, how = tonumber(arg[1]), arg[2]
local box = nslua.sandbox {}
local pool <close> = how == "pool" and assert(box:pool(1)) or nil
local caller = pool or box

local function sum(a, b) return a + b end

local times = {}
for i = 1 - WARM_UP, count do
  local began = clock()
  local ok, result = caller:call(sum, 1, 2)
  if i > 0 then times[i] = ("%.1f"):format((clock() - began) * 1e6) end
  assert(ok and result == 3)
end
print(table.concat(times, "\n"))
