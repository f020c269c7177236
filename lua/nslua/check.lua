--- Types of the schema: each is a function value -> normalised value, or nil and what is expected: words, or of a table a
-- list of words, one for each of its mistakes, in any order.
-- Tables are read raw and copied, so no metamethod of a recipe ever runs.
-- @module nslua.check
local is_tidy = require("nslua.path").is_tidy
local sorted = require("nslua.names").sorted
local sys = require "nslua.sys"

local M = {}

local MAX_LIST <const> = 20000

--- More mistakes of one table than these are not told.
M.MAX_TOLD = 100

local function expected(what) return nil, what end

--- A plain table with the plain tables in it, copied; anything else as it is.
function M.copy(value)
  if type(value) ~= "table" or getmetatable(value) ~= nil then return value end
  local copy = {}
  for key, item in next, value do copy[key] = M.copy(item) end
  return copy
end

--- Adds to the mistakes of a whole those of a part, in the words of the whole.
-- @tparam ?table mistakes a list of words
-- @tparam string before
-- @param what is expected of the part
-- @tparam[opt=""] string after
-- @treturn table the list
function M.add(mistakes, before, what, after)
  mistakes = mistakes or {}
  for _, words in ipairs(type(what) == "table" and what or { what }) do
    if #mistakes < M.MAX_TOLD then mistakes[#mistakes + 1] = before .. words .. (after or "") end
  end
  return mistakes
end

--- Mistakes as text, in one order.
function M.told(mistakes)
  table.sort(mistakes)
  return table.concat(mistakes, "\n")
end

--- "'a', 'b' or 'c'"
function M.alternatives(names)
  local quoted = {}
  for i, name in ipairs(names) do quoted[i] = "'" .. tostring(name) .. "'" end
  if #quoted < 2 then return quoted[1] or "" end
  return table.concat(quoted, ", ", 1, #quoted - 1) .. " or " .. quoted[#quoted]
end

--- Describes a value for "got …".
function M.describe(value)
  if type(value) == "string" then
    return "'" .. sys.escape(#value > 40 and value:sub(1, 40) .. "…" or value) .. "'"
  end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  return "a " .. type(value)
end

--- The name nearest to a misspelt one, or nil when none is near.
function M.nearest(name, names)
  local function distance(a, b)
    local row = {}
    for j = 0, #b do row[j] = j end
    for i = 1, #a do
      local diagonal = row[0]
      row[0] = i
      for j = 1, #b do
        local cost = a:byte(i) == b:byte(j) and 0 or 1
        diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      end
    end
    return row[#b]
  end
  local best, best_distance
  if type(name) ~= "string" or #name > 40 then return nil end
  for _, candidate in ipairs(names) do
    local d = distance(name:lower(), candidate)
    if not best or d < best_distance then best, best_distance = candidate, d end
  end
  return best and best_distance <= math.max(1, #name // 3) and best or nil
end

--- "unknown field 'hostnam' (did you mean 'hostname'?)", and that name.
function M.unknown(what, name, names)
  local near = M.nearest(name, names)
  return ("unknown %s %s%s"):format(what, M.describe(name), near and (" (did you mean '%s'?)"):format(near) or ""), near
end

local function text_of(most)
  return function(value)
    if type(value) ~= "string" then return expected "a string" end
    if value:find("\0", 1, true) then return expected "a string without NUL bytes" end
    if #value > most then return expected(("a string of at most %d bytes"):format(most)) end
    return value
  end
end

M.text = text_of(65536)
M.word = text_of(131071) -- of a command: as much as execve(2) takes

function M.boolean(value)
  if type(value) ~= "boolean" then return expected "true or false" end
  return value
end

function M.id(value)
  if math.type(value) ~= "integer" or value < 0 or value >= 0xffffffff then
    return expected "an id, from 0 to 4294967294"
  end
  return value
end

function M.mode(value)
  if math.type(value) ~= "integer" or value < 0 or value > 4095 then
    return expected "permission bits, as tonumber('755', 8)"
  end
  return value
end

function M.count(value)
  if math.type(value) ~= "integer" or value < 0 then return expected "an integer that is not negative" end
  return value
end

function M.integer(first, last)
  return function(value)
    if math.type(value) ~= "integer" or value < first or value > last then
      return expected(("an integer from %d to %d"):format(first, last))
    end
    return value
  end
end

function M.seconds(value)
  if type(value) ~= "number" or value ~= value or value <= 0 or value > 1e9 then
    return expected "a number of seconds above 0"
  end
  return value
end

--- Exact whole seconds, of either sign.
function M.offset(value)
  if math.type(value) ~= "integer" or value > 1e10 or value < -1e10 then
    return expected "whole seconds"
  end
  return value
end

local UNITS <const> = { [""] = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30, T = 1 << 40 }

--- Bytes: an integer, or digits with K, M, G or T.
function M.size(value)
  if math.type(value) == "integer" and value > 0 then return value end
  local digits, unit = tostring(value):match "^(%d+)([KMGT]?)$"
  local number = type(value) == "string" and digits and #digits < 16 and math.tointeger(digits)
  if not number or number == 0 or number > math.maxinteger // UNITS[unit] then
    return expected "a size above 0, as 4096, \"64K\", \"256M\" or \"1G\""
  end
  return number * UNITS[unit]
end

function M.callable(value)
  if type(value) == "function" then return value end
  return expected "a function"
end

--- A path that the kernel looks for in the finished sandbox.
function M.inside(value)
  local path, problem = M.text(value)
  if not path then return nil, problem end
  if path:sub(1, 1) ~= "/" then return expected "an absolute path" end
  if #path > 4000 then return expected "a path of at most 4000 bytes" end
  return path
end

--- A path below the sandbox's root, normalised.
function M.target(value)
  local path, problem = M.inside(value)
  if not path then return nil, problem end
  if #path < 256 and is_tidy(path) then return path end -- as most are
  local components = {}
  for component in path:gmatch "[^/]+" do
    if component == ".." then return expected "a path without '..'" end
    if #component > 255 then return expected "a path with components of at most 255 bytes" end
    if component ~= "." then components[#components + 1] = component end
  end
  return "/" .. table.concat(components, "/")
end

--- A path of the host.
function M.source(value)
  local path, problem = M.text(value)
  if not path then return nil, problem end
  if path == "" then return expected "a path that is not empty" end
  if #path > 4000 then return expected "a path of at most 4000 bytes" end
  return path
end

local function hostname_like(what, limit)
  return function(value)
    local text, problem = M.text(value)
    if not text then return nil, problem end
    if #text == 0 or #text > limit then return expected(("%s of 1 to %d bytes"):format(what, limit)) end
    return text
  end
end
M.hostname = hostname_like("a name", 64)

function M.one_of(names)
  return function(value)
    for _, name in ipairs(names) do
      if value == name then return value end
    end
    return expected(M.alternatives(names))
  end
end

--- The first type that accepts the value.
function M.any_of(...)
  local types = { ... }
  return function(value)
    local wanted, meant
    for _, accepts in ipairs(types) do
      local result, what = accepts(value)
      if result ~= nil then return result end
      if type(what) == "table" and what[2] then meant = what end -- a table for this one: no other has more to say of it
      what = type(what) == "table" and what[1] or what
      wanted = wanted and wanted .. ", or " .. what or what
    end
    return expected(meant or wanted)
  end
end

function M.list_of(accepts)
  return function(value)
    if type(value) ~= "table" then return expected "a list" end
    local n = rawlen(value)
    if n > MAX_LIST then return expected(("a list of at most %d entries"):format(MAX_LIST)) end
    local copy, mistakes = {}, nil
    for i = 1, n do
      local item, what = accepts(rawget(value, i))
      if item == nil then
        mistakes = M.add(mistakes, "a list of ", what, (" (entry %d is %s)"):format(i, M.describe(rawget(value, i))))
      end
      copy[i] = item
    end
    for key in next, value do
      if math.type(key) ~= "integer" or key < 1 or key > n then
        mistakes = M.add(mistakes, "", ("a list (it has the key %s)"):format(M.describe(key)))
      end
    end
    if mistakes then return nil, mistakes end
    return copy
  end
end

--- The mistakes of a table, with those of what is at a key.
local function add_at(mistakes, key, what, item)
  return M.add(mistakes, ("a table where %s is "):format(sys.escape(tostring(key))), what, (" (not %s)"):format(M.describe(item)))
end

function M.map_of(accepts_key, accepts)
  return function(value)
    if type(value) ~= "table" then return expected "a table" end
    local copy, n, mistakes = {}, 0, nil
    for key, item in next, value do
      n = n + 1
      if n > MAX_LIST then return expected(("a table of at most %d entries"):format(MAX_LIST)) end
      local good_key, key_problem = accepts_key(key)
      if good_key == nil then
        mistakes = M.add(mistakes, "a table whose keys are each ", key_problem, (" (not %s)"):format(M.describe(key)))
      else
        local good, problem = accepts(item)
        if good == nil then mistakes = add_at(mistakes, key, problem, item) end
        copy[good_key] = good
      end
    end
    if mistakes then return nil, mistakes end
    return copy
  end
end

--- A copy of a table whose first entry, written without a key, has a name: { "/lib", optional = true }.
function M.first_named(value, name)
  local copy = {}
  for key, item in next, value do copy[key == 1 and name or key] = item end
  return copy
end

--- A table with known keys.
function M.record(fields)
  local function words() return "a table of " .. table.concat(sorted(fields), ", ") end
  local function unknown(key)
    local near = M.nearest(key, sorted(fields))
    return ("%s (not %s%s)"):format(words(), M.describe(key), near and ("; did you mean '%s'?"):format(near) or "")
  end
  return function(value)
    if type(value) ~= "table" then return expected(words()) end
    local copy, mistakes = {}, nil
    for key, item in next, value do
      local accepts = fields[key]
      if accepts then
        local good, problem = accepts(item)
        if good == nil then mistakes = add_at(mistakes, key, problem, item) end
        copy[key] = good
      else
        mistakes = M.add(mistakes, "", unknown(key))
        if #mistakes == M.MAX_TOLD then break end
      end
    end
    if mistakes then return nil, mistakes end
    return copy
  end
end

return M
