--- What is said of the call of a function in a sandbox: the function, its arguments, its options; and one such call.
-- @module nslua.call
local check = require "nslua.check"
local copy = require "nslua.copy"
local options_of = require "nslua.options"
local worker = require "nslua.worker"

local M = {}

-- -- options --

local KEPT <const> = { capture = true, spool = true, pipe = true }

--- A stream of a run whose result nobody would get to see is none of a call.
local function shown(name)
  return function(value)
    if not KEPT[value] then return options_of.by_name[name].type(value) end
    return nil, "\"relay\", \"null\", \"inherit\", a file, or a function that collects it"
  end
end

--- An option of the process that is that of a run.
local function of_run(name)
  local option = { of = "process" }
  for key, value in pairs(options_of.by_name[name]) do option[key] = value end
  return option
end

local OUTPUTS <const> = '"relay" "null" "inherit", a function, a file'

--- As the options of a run: those of a call, and those of the process that it is made in.
local OPTIONS <const> = {
  {
    name = "timeout", of = "call", type = check.seconds, default = "`limits.time`", values = "seconds",
    doc = "When the function has not returned by then, its process ends, and the call gives nil and an error with the code "
      .. "ETIMEDOUT.",
  },
  {
    name = "result_limit", of = "call", type = check.size, default = "64M", values = "a size",
    doc = "How large its results may be, as bytes on the way, and as values here.",
  },
  { name = "stdout", of = "process", type = shown "stdout", default = '"relay"', values = OUTPUTS, doc = "As of a run." },
  {
    name = "stderr", of = "process", type = shown "stderr", default = '"relay"', values = OUTPUTS .. ', "stdout"',
    doc = "The same.",
  },
  of_run "env",
  of_run "cwd",
}

M.list = OPTIONS

--- The types of the options of a call, of a process, of both.
M.OF_CALL, M.OF_PROCESS, M.OF_BOTH = {}, {}, {}
for _, option in ipairs(OPTIONS) do
  local of = option.of == "call" and M.OF_CALL or M.OF_PROCESS
  of[option.name], M.OF_BOTH[option.name] = option.type, option.type
end

-- -- the call --

--- The function and its options; raises at the caller of the `level`.
-- @tparam string verb for the error
-- @tparam table types of options
-- @param f function, or { function, options… }
-- @tparam integer level
-- @treturn function
-- @treturn table options
function M.read(verb, types, f, level)
  if type(f) == "function" then return f, {} end
  local named = type(f) == "table" and debug.getmetatable(f) == nil and type(rawget(f, 1)) == "function" and rawlen(f) == 1
  if not named then
    error(("%s: a function expected, or { function, options… }, got %s"):format(verb, check.describe(f)), level + 1)
  end
  local options, mistakes = options_of.read_named(f, types)
  if mistakes then error(check.told(mistakes), level + 1) end
  return rawget(f, 1), options
end

--- What to do about what cannot be copied.
local function hint_for(problem)
  return problem:find ", whose upvalue " and "; what a module has, require in the function, from a file of the sandbox" or ""
end

--- Encodes a part of a call; raises at the caller of the `level`.
-- @tparam string verb
-- @tparam table values { n=, … }
-- @tparam function say_which as of nslua.copy
-- @tparam[opt] table before the part before it
-- @tparam integer level
-- @treturn table of nslua.copy
function M.encode(verb, values, say_which, before, level)
  local encoded, problem = copy.encode(values, say_which, true, before)
  return encoded or error(("%s: %s%s"):format(verb, problem, hint_for(problem)), level + 1)
end

local function say_which(at) return at == 1 and "the function" or ("argument %d"):format(at - 1) end

--- Reads and encodes a call.
-- @tparam table types of options
-- @tparam integer level whose caller made it
-- @param f
-- @param … arguments
-- @treturn string bytes
-- @treturn table options
function M.prepare(types, level, f, ...)
  local options
  f, options = M.read("call", types, f, level + 1)
  return copy.bytes_of(M.encode("call", table.pack(f, ...), say_which, nil, level + 1)), options
end

--- Results as a call gives them.
function M.unpack(values, err)
  if not values then return nil, err end
  return table.unpack(values, 1, values.n)
end

--- One call in a process of its own.
-- @tparam function spawn as box:spawn
-- @tparam string call
-- @tparam table options
-- @treturn[1] true
-- @return[1] … what the function gave
-- @treturn[2] false
-- @return[2] its error
-- @treturn[3] nil
-- @treturn[3] nslua.error
function M.once(spawn, call, options)
  local process <close>, err = worker.start(spawn, options, options.timeout)
  if not process then return nil, err end
  local values
  values, err = process:make(call, options)
  if not values then return nil, err end
  local ended
  ended, err = process:finish()
  return M.unpack(ended and values, err)
end

return M
