--- What a run may say besides its argv: one table, as the schema of recipes. An option has `type`, and for people
-- `values`, `default` and `doc`.
-- @module nslua.options
local check = require "nslua.check"
local names = require "nslua.names"
local schema = require "nslua.schema"

local LAST_PASSED <const> = (1 << 20) - 1
local FIRST_OWN <const> = 64 -- of the stage's own numbers (csrc/stage/wire.h)

local MODES <const> = { ["null"] = true, relay = true, capture = true, spool = true, pipe = true, inherit = true }
local INPUT_MODES <const> = { ["null"] = true, pipe = true, inherit = true }

local function is_file(value) return type(value) == "userdata" and io.type(value) ~= "closed file" end
local function is_function(value) return type(value) == "function" end

local function held(value)
  if is_file(value) or math.type(value) == "integer" and value >= 0 then return value end
  return nil, "a file or fd"
end

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

--- A descriptor to pass, or { descriptor, directory = true }: as { fd =, directory = }.
local function passed(value)
  local item = { directory = false }
  for key, part in next, type(value) == "table" and value or { value } do item[key] = part end
  local fd, directory = item[1], item.directory
  item[1], item.directory = nil, nil
  local is_fd = is_file(fd) or math.type(fd) == "integer" and fd >= 0
  if is_fd and type(directory) == "boolean" and next(item) == nil then return { fd = fd, directory = directory } end
  return nil, "a file or fd, or { directory, directory = true }"
end

local numbered = check.map_of(check.integer(3, LAST_PASSED), passed)

local MOST_PASSED <const> = 58 -- with numbers among the stage's own: then each needs one of the others for a moment

--- The descriptors that a run passes.
local function passed_list(value)
  local good, problem = numbered(value)
  if not good then return nil, problem end
  local count, high = 0, false
  for item in pairs(good) do count, high = count + 1, high or item >= FIRST_OWN end
  if high and count > MOST_PASSED then return nil, ("at most %d, where one is above %d"):format(MOST_PASSED, FIRST_OWN - 1) end
  return good
end

local size = check.record { rows = check.integer(1, 0xffff), columns = check.integer(1, 0xffff) }

local function terminal(value)
  if value == true then return {} end
  if value == false then return value end
  local good = size(value)
  return good, not good and "true, false, or a table of rows, columns" or nil
end

local OUTPUTS <const> = '"relay" "capture" "spool" "pipe" "null" "inherit", a function, a file'

local OPTIONS <const> = {
  {
    name = "stdin", type = input, default = '"null"',
    values = '"null" "pipe" "inherit", a function, a file, text, { data = text }',
    doc = "Text is what it reads (in a table: also when it is one of the names). A function is called for the next chunk when "
      .. "the one before has been taken, until it gives nil. With pipe, `process.stdin` is a Lua file.",
  },
  {
    name = "stdout", type = output, default = '"relay"', values = OUTPUTS,
    doc = "relay: copied to ours. capture: text in the result. spool: a Lua file in the result, for much; it lies in TMPDIR "
      .. "(or /tmp), without a name. A function is called with each chunk, in order, by `process:wait`; what it raises ends the "
      .. "sandbox and comes out of wait. With pipe, `process.stdout` is a Lua file. inherit and a file: the payload gets that "
      .. "descriptor.",
  },
  {
    name = "stderr", type = error_output, default = '"relay"', values = OUTPUTS .. ', "stdout"',
    doc = "The same; \"stdout\": into what stdout is, in the order of writing.",
  },
  {
    name = "capture_limit", type = check.size, default = "64M; of a spool 1G", values = "a size",
    doc = "How much of a captured or spooled stream is kept. The rest is read and dropped; `truncated` in the result says so.",
  },
  {
    name = "fds", type = passed_list, default = "none",
    values = "{ [3] = file, … }",
    doc = "More descriptors (Lua files, handles, integers) under these numbers; all others are closed. One of a directory, or of "
      .. "a bare path (O_PATH), is passed only as { directory, directory = true }: it gives what is beneath it, and without "
      .. "Landlock also what is above.",
  },
  {
    name = "env", type = schema.by_name.env.type, default = "the recipe's",
    values = schema.by_name.env.values,
    doc = "Variables besides the recipe's, or in place of them.",
  },
  {
    name = "cwd", type = schema.by_name.cwd.type, default = "the recipe's", values = schema.by_name.cwd.values,
    doc = "The working directory.",
  },
  {
    name = "argv0", type = check.text, default = "the command", values = "text",
    doc = "What the program finds as its own name, in place of the first word of the command.",
  },
  {
    name = "program", type = held, default = "the command's file", values = "a file or fd",
    doc = "What is executed, whatever the command's first word is: a program of the host that is open, which need not be "
      .. "in the sandbox. It is not passed on; the payload gets at it as /proc/self/exe, and can change it where it may write "
      .. "it. No script: its interpreter would not get at it. Of `exec` the sandbox's Landlock has to allow it already.",
  },
  {
    name = "scripts", type = check.inside, default = "none", values = "absolute path",
    doc = "What a command's file is given to that is neither a program nor has a #! line: \"/bin/sh\" for what "
      .. "execvp(3) does. Without it such a file is an error (ENOEXEC).",
  },
  {
    name = "hold", type = check.list_of(held), default = "none", values = "a list of files or fds",
    doc = "Descriptors that are kept open until nothing of the sandbox is left, out of the payload's reach: what is at their "
      .. "other end sees that. Not with `init = false`.",
  },
  {
    name = "ready", type = check.callable, default = "none", values = "a function",
    doc = "Called when all is set up, with a table of `payload` and `reaper`, their pids, and `namespaces`, the inodes of "
      .. "those that are not the caller's; only when it has returned, the program is executed.",
  },
  {
    name = "timeout", type = check.seconds, default = "`limits.time`", values = "seconds",
    doc = "The sandbox, or of `exec` the command, ends then, and `reason` in the result is \"timeout\".",
  },
  {
    name = "grace", type = check.seconds, default = "none", values = "seconds",
    doc = "When the time is over, the payload gets SIGTERM first, and this long to end by itself; `reason` is \"timeout\" all "
      .. "the same.",
  },
  {
    name = "tty", type = terminal, default = "false", values = "true, { rows =, columns = }, false",
    doc = "A terminal of the payload's own, of the sandbox's devpts: ours is raw while `process:wait` waits, what is typed goes "
      .. "there and what it shows to our stdout. `process:resize` sets its size. stdin may then be \"null\" or text, stdout "
      .. "\"capture\"; with \"pipe\" for both, `process.terminal` is to be read and written. A stderr that is said is apart.",
  },
  {
    name = "time_steps", type = check.boolean, default = "false", values = "boolean",
    doc = "How long each step of the set-up took is in `steps` of the process and of the result: a list of { step =, op =, "
      .. "at =, seconds = }, in order, as an error names them.",
  },
}

local BY_NAME <const>, TYPES <const> = {}, {}
for _, option in ipairs(OPTIONS) do BY_NAME[option.name], TYPES[option.name] = option, option.type end

--- With a terminal for the payload, stdin and stdout say what we do with the other side of it.
local WITH_TERMINAL <const> = {
  stdin = { value = function(value) return type(value) ~= "userdata" and type(value) ~= "function" and value ~= "inherit" end,
    expected = "\"pipe\", \"null\", or any other string (or { data = string }) as content" },
  stdout = { value = function(value) return value == "relay" or value == "capture" or value == "pipe" end,
    expected = "\"relay\", \"capture\" or \"pipe\"" },
}

--- Adds the mistakes that a terminal makes of what is said of the streams, as far as that is good by itself.
local function check_terminal(options, wrong, mistakes)
  local one_pipe = (options.stdin == "pipe") ~= (options.stdout == "pipe")
  if one_pipe and not (wrong.stdin or wrong.stdout) then
    mistakes = check.add(mistakes, "", "with tty, stdin and stdout are both \"pipe\", or none is: process.terminal is both")
  end
  for name, accepts in pairs(WITH_TERMINAL) do
    local value = options[name]
    if value ~= nil and not accepts.value(value) then
      mistakes = check.add(mistakes, ("with tty, %s must be "):format(name), accepts.expected,
        (" (got %s)"):format(check.describe(value)))
    end
  end
  return mistakes
end

--- The words of a command, or those of another one when there are none.
local function read_words(given, command)
  local n = rawlen(given)
  if n == 0 and command and #command > 0 then return table.move(command, 1, #command, 1, {}) end
  if n == 0 then return nil, { "no command: neither the call nor the recipe names one" } end
  local argv, mistakes = {}, nil
  for i = 1, n do
    local word, problem = check.word(rawget(given, i))
    if not word then mistakes = check.add(mistakes, ("word %d of the command must be "):format(i), problem) end
    argv[i] = word
  end
  return argv, mistakes
end

local M = { list = OPTIONS, by_name = BY_NAME }

--- The named options.
-- @tparam table given
-- @tparam table types by name
-- @tparam[opt] table mistakes
-- @treturn table those that are good
-- @treturn ?table the mistakes of the others, too
-- @treturn table the names of those, as a set
function M.read_named(given, types, mistakes)
  local options, wrong = {}, {}
  for key, value in next, given do
    local accepts = types[key]
    if accepts then
      local good, expected = accepts(value)
      if good == nil then
        mistakes = check.add(mistakes, key .. " must be ", expected, (" (got %s)"):format(check.describe(value)))
        wrong[key] = true
      end
      options[key] = good
    elseif math.type(key) ~= "integer" then
      mistakes = check.add(mistakes, "", (check.unknown("option", key, names.sorted(types))))
      if #mistakes == check.MAX_TOLD then break end
    end
  end
  return options, mistakes, wrong
end

--- Checks and copies the table of a run; raises at the caller's caller, with all mistakes.
-- @treturn table the options
-- @treturn table argv, the caller's own
function M.read(given, command)
  if type(given) ~= "table" then error("run: a table of words and options expected, got " .. check.describe(given), 3) end
  local argv, mistakes = read_words(given, command)
  local options, wrong
  options, mistakes, wrong = M.read_named(given, TYPES, mistakes)
  if options.tty then mistakes = check_terminal(options, wrong, mistakes) end
  if mistakes then error(check.told(mistakes), 3) end
  options.time_steps = options.time_steps and require "nslua.steps".new() or nil
  return options, argv
end

return M
