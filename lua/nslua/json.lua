--- Plain data as JSON.
-- @module nslua.json
local names = require "nslua.names"

local M = {}

--- Bytes that are no UTF-8 become the lone surrogates U+DC80 to U+DCFF: Python's "surrogateescape" gives them back.
local function valid(text)
  local parts, at = {}, 1
  while true do
    local good, bad = utf8.len(text, at)
    parts[#parts + 1] = text:sub(at, good and -1 or bad - 1)
    if good then return table.concat(parts) end
    parts[#parts + 1] = ("\\udc%02x"):format(text:byte(bad))
    at = bad + 1
  end
end

local function escape(c)
  if c == '"' or c == "\\" then return "\\" .. c end
  return ("\\u%04x"):format(c:byte())
end

local function string(s) return '"' .. valid((s:gsub('[%c"\\\127]', escape))) .. '"' end

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
