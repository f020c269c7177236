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

--- Text with each byte that is no UTF-8 in a form of its own.
-- @tparam string text
-- @tparam string form as of string.format, with a place for the byte
-- @treturn string
function M.utf8(text, form)
  local parts, at = {}, 1
  while true do
    local good, bad = utf8.len(text, at)
    parts[#parts + 1] = text:sub(at, good and -1 or bad - 1)
    if good then return table.concat(parts) end
    parts[#parts + 1] = form:format(text:byte(bad))
    at = bad + 1
  end
end

return M
