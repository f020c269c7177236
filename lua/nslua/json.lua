--- Plain data as JSON.
-- @module nslua.json
local names = require "nslua.names"

local M = {}

local function escape(c)
  if c == '"' or c == "\\" then return "\\" .. c end
  return ("\\u%04x"):format(c:byte())
end

--- Bytes that are no UTF-8 become the lone surrogates U+DC80 to U+DCFF: Python's "surrogateescape" gives them back.
local function string(s) return '"' .. names.utf8((s:gsub('[%c"\\\127]', escape)), "\\udc%02x") .. '"' end

--- A value as text. Numbers, strings, booleans; tables are lists when they have a first item or nothing at all.
-- @treturn string
function M.encode(value)
  if type(value) == "string" then return string(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  if #value > 0 or next(value) == nil then
    for i, item in ipairs(value) do parts[i] = M.encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for i, key in ipairs(names.sorted(value)) do parts[i] = string(tostring(key)) .. ":" .. M.encode(value[key]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

return M
