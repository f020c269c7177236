--- What a run may say besides its argv: one table, as the schema of recipes.
-- @module nslua.options
local check = require "nslua.check"
local schema = require "nslua.schema"

local MODES <const> = { ["null"] = true, relay = true, capture = true, pipe = true, inherit = true }

local function is_file(value) return io.type(value) == "file" or type(value) == "userdata" end

local function input(value)
  if is_file(value) or type(value) == "string" and value ~= "relay" and value ~= "capture" then return value end
  if type(value) == "table" and type(rawget(value, "data")) == "string" then return { data = rawget(value, "data") } end
  return nil, "\"null\", \"inherit\", \"pipe\", a file, or any other string (or { data = string }) as content"
end

local function output(value)
  if is_file(value) or type(value) == "string" and MODES[value] then return value end
  return nil, "\"null\", \"relay\", \"capture\", \"pipe\", \"inherit\" or a file"
end

local size = check.record { rows = check.integer(1, 0xffff), columns = check.integer(1, 0xffff) }

local function terminal(value)
  if value == true then return {} end
  if value == false then return value end
  local good = size(value)
  return good, not good and "true, false, or a table of rows, columns" or nil
end

local TYPES <const> = {
  stdin = input, stdout = output, stderr = output, env = schema.by_name.env.type, cwd = check.target,
  timeout = check.seconds, tty = terminal,
}

local NAMES <const> = {}
for name in pairs(TYPES) do NAMES[#NAMES + 1] = name end

--- With a terminal for the payload, stdin and stdout say what we do with the other side of it.
local WITH_TERMINAL <const> = {
  stdin = { value = function(value) return type(value) ~= "userdata" and value ~= "inherit" end,
    expected = "\"pipe\", \"null\", or any other string (or { data = string }) as content" },
  stdout = { value = function(value) return value == "relay" or value == "capture" or value == "pipe" end,
    expected = "\"relay\", \"capture\" or \"pipe\"" },
}

local function check_terminal(options)
  if not options.tty then return end
  if (options.stdin == "pipe") ~= (options.stdout == "pipe") then
    error("with tty, stdin and stdout are both \"pipe\", or none is: process.terminal is both", 4)
  end
  for name, accepts in pairs(WITH_TERMINAL) do
    local value = options[name]
    if value ~= nil and not accepts.value(value) then
      error(("with tty, %s must be %s (got %s)"):format(name, accepts.expected, check.describe(value)), 4)
    end
  end
end

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
  check_terminal(options)
  if #argv == 0 then argv = command end
  if not argv or #argv == 0 then error("no command: neither the call nor the recipe names one", 3) end
  return options, argv
end

return M
