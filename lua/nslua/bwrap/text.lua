--- Lua's words for values: as a person would lay them out.
-- @module nslua.bwrap.text
local names = require "nslua.names"

local M = {}

--- As long as a line may become.
M.WIDTH = 110

--- Text of several lines, as it is laid out.
local function in_lines(text)
  local ends = (text .. "]"):find("]]", 1, true)
  return text:find "\n." and not text:find "[^\t\n\32-\126]" and not ends and "[[\n" .. text .. "]]"
end

function M.quoted(text) return in_lines(text) or (("%q"):format(text):gsub("\\\n", "\\n"):gsub("\r", "\\r")) end
local quoted = M.quoted

function M.octal(mode) return ('tonumber("%o", 8)'):format(mode) end

--- Parts as lines, as many in each as it has room for. `apart(a, b)`: whether the second begins a line.
-- @tparam {string,...} parts
-- @tparam string indent before each line
-- @tparam ?function apart
-- @treturn string
function M.filled(parts, indent, apart)
  local lines = {}
  for i, part in ipairs(parts) do
    local last = lines[#lines]
    local fits = last and #last + #part < M.WIDTH and not (apart and apart(i - 1, i))
    if fits then lines[#lines] = last .. " " .. part .. ","
    else lines[#lines + 1] = indent .. part .. "," end
  end
  return table.concat(lines, "\n")
end

--- A table of parts: in one line, or in several where that grows too long.
function M.braced(parts)
  local line = #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
  if #line < M.WIDTH or line:find "\n" then return line end
  return "{\n" .. M.filled(parts, "    ") .. "\n  }"
end

function M.list(words, quote)
  local parts = {}
  for i, word in ipairs(words) do parts[i] = (quote or quoted)(word) end
  return M.braced(parts)
end

local function name_of(key) return key:find "^[%a_][%w_]*$" and key or "[" .. quoted(key) .. "]" end

--- A table of what is named, in the order of the names; nil when nothing is.
function M.record(values)
  local parts = {}
  for i, key in ipairs(names.sorted(values)) do parts[i] = name_of(key) .. " = " .. values[key] end
  return #parts > 0 and M.braced(parts) or nil
end

function M.call(verb, arguments)
  if #arguments == 1 and arguments[1]:sub(1, 1) == '"' then return "fs." .. verb .. " " .. arguments[1] end
  return "fs." .. verb .. "(" .. table.concat(arguments, ", ") .. ")"
end

return M
