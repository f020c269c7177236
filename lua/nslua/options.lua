--- What a run may say besides its argv: one table, as the schema of recipes.
-- @module nslua.options
local check = require "nslua.check"
local schema = require "nslua.schema"

local MODES <const> = { ["null"] = true, relay = true, capture = true, spool = true, pipe = true, inherit = true }
local INPUT_MODES <const> = { ["null"] = true, pipe = true, inherit = true }

local function is_file(value) return io.type(value) == "file" or type(value) == "userdata" end
local function is_function(value) return type(value) == "function" end

local function input(value)
  if is_file(value) or is_function(value) then return value end
  if type(value) == "string" and (INPUT_MODES[value] or not MODES[value]) then return value end
  if type(value) == "table" and type(rawget(value, "data")) == "string" then return { data = rawget(value, "data") } end
  return nil, "\"null\", \"inherit\", \"pipe\", a file, a function, or any other string (or { data = string }) as content"
end

local function output(value)
  if is_file(value) or is_function(value) or type(value) == "string" and MODES[value] then return value end
  return nil, "\"null\", \"relay\", \"capture\", \"spool\", \"pipe\", \"inherit\", a function or a file"
end

--- As stdout; or "stdout", for both in one.
local function error_output(value)
  if value == "stdout" then return value end
  local good, expected = output(value)
  return good, expected and "\"stdout\", " .. expected
end

local TYPES <const> = {
  stdin = input, stdout = output, stderr = error_output, env = schema.by_name.env.type, cwd = check.target,
  timeout = check.seconds, capture_limit = check.size,
}

local NAMES <const> = {}
for name in pairs(TYPES) do NAMES[#NAMES + 1] = name end

local M = {}

--- Checks and copies the table of a run; raises at the caller's caller.
-- @treturn table the options
-- @treturn table argv
function M.read(given, command)
  if type(given) ~= "table" then error("run: a table of words and options expected, got " .. check.describe(given), 3) end
  local options, argv = {}, {}
  for i = 1, rawlen(given) do
    local word, problem = check.text(rawget(given, i))
    if not word then error(("word %d of the command must be %s"):format(i, problem), 3) end
    argv[i] = word
  end
  for key, value in next, given do
    if math.type(key) ~= "integer" then
      local accepts = TYPES[key]
      if not accepts then
        local near = type(key) == "string" and check.nearest(key, NAMES)
        error(("unknown option %s%s"):format(check.describe(key), near and (" (did you mean '%s'?)"):format(near) or ""), 3)
      end
      local good, expected = accepts(value)
      if good == nil then error(("%s must be %s (got %s)"):format(key, expected, check.describe(value)), 3) end
      options[key] = good
    end
  end
  if #argv == 0 then argv = command end
  if not argv or #argv == 0 then error("no command: neither the call nor the recipe names one", 3) end
  return options, argv
end

return M
