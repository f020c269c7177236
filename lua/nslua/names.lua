--- Names in order, for people and machines to read.
-- @module nslua.names
local sys = require "nslua.sys"

local M = {}

--- The keys of a table, sorted.
function M.sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

--- The capabilities of a mask.
function M.capabilities(mask)
  local list = {}
  for number = 0, 62 do
    if mask >> number & 1 == 1 then list[#list + 1] = sys.capability_name(number) end
  end
  return list
end

--- System calls by what was counted of each number, sorted.
-- @tparam table counts number -> count
-- @treturn table a list of { name=, count= }
function M.system_calls(counts)
  local list = {}
  for number, count in pairs(counts) do
    list[#list + 1] = { name = sys.syscall_name(number) or "syscall " .. number, count = count }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

return M
