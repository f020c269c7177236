--- nslua run: a command in a sandbox, with our own streams and an exit status that says it all.
local signals = require "nslua.signals"
local sys = require "nslua.sys"

local FLAGS <const> = {
  ["--stats"] = { name = "stats", value = "text" }, ["--stats=json"] = { name = "stats", value = "json" },
  ["--tty"] = { name = "tty", value = true },
  ["--no-tty"] = { name = "tty", value = false }, ["--time-steps"] = { name = "time_steps", value = true },
}
--- Reasons that the exit status does not tell of.
local TOLD <const> = { timeout = true, oom = true }
local TIMED_OUT <const>, FAILED <const>, NOT_EXECUTABLE <const>, NOT_FOUND <const> = 124, 125, 126, 127

local function status_of(result)
  if result.reason == "timeout" then return TIMED_OUT end
  return result.code or 128 + result.signal
end

local function status_of_error(err)
  if type(err) == "string" or err.op ~= "execve" then return FAILED end
  return err.code == "ENOENT" and NOT_FOUND or NOT_EXECUTABLE
end

--- The options may be wrong where the recipe names no command: that is the caller's mistake, not a bug.
local function start(box, options)
  local ok, process, err = pcall(box.spawn, box, options)
  if ok then return process, err end
  return nil, process
end

local function words_of(refused)
  local words = {}
  for i, call in ipairs(refused) do words[i] = ("%s (%d)"):format(call.name, call.count) end
  return #words > 0 and table.concat(words, ", ") or "nothing"
end

-- -- signals --

--- What is passed on to the payload, and whether to its whole process group, as the terminal that the key was typed on
--- would do.
local PASSED <const> = { HUP = false, INT = true, QUIT = true, TERM = false, CONT = false, WINCH = false }

--- An fd to read the signals from that come to us instead of the payload; not those that we were told to ignore.
local function open_signals()
  local numbers, to_group, ignored = {}, {}, {}
  for _, number in ipairs(sys.ignored_signals()) do ignored[number] = true end
  for name, group in pairs(PASSED) do
    local number = signals[name]
    if not ignored[number] then numbers[#numbers + 1] = number end
    to_group[number] = group
  end
  local fd, message = sys.signalfd(numbers)
  return fd or error(message, 0), to_group
end

--- Waits for the end. After each signal the wait begins anew, and our terminal is raw again, whatever was done to it
--- while we were stopped.
local function wait(process)
  local fd, to_group = open_signals()
  while true do
    local result, err = process:wait(nil, fd)
    if result ~= false then return result, err end
    for number in sys.read_signal, fd do process:kill(number, to_group[number]) end
  end
end

-- -- the run --

--- On a terminal the payload gets one of its own, as a shell needs; of ours it gets nothing but, where its output goes
--- elsewhere, stdin.
local function streams(tty)
  if tty == nil then tty = sys.isatty(0) and sys.isatty(1) end
  if not tty then return { stdin = "inherit", stdout = "relay", stderr = "relay" } end
  return { tty = true, stderr = not sys.isatty(2) and "relay" or nil }
end

--- What there is to say of a result besides its status. What machines are told has the steps in it.
local function tell(result, stats)
  if TOLD[result.reason] then io.stderr:write("nslua: ", tostring(result), "\n") end
  if result.refused then io.stderr:write("nslua: seccomp would have refused: ", words_of(result.refused), "\n") end
  if result.steps and stats ~= "json" then io.stderr:write(require "nslua.cli.steps"(result.steps)) end
end

--- What of a running sandbox was not joined.
local function tell_missed(skipped)
  for _, words in ipairs(skipped) do io.stderr:write("nslua: not joined: ", sys.escape(words), "\n") end
end

local M = {}

--- Runs argv (or the recipe's command) in a box.
-- @tparam sandbox box
-- @tparam table argv
-- @tparam[opt] table flags stats: what it used goes to stderr at the end, as "text" or "json"; tty: whether the payload
--   gets a terminal, by default when our stdin and stdout are one; time_steps: how long the steps of the set-up took;
--   joins: say what of a running sandbox was not joined
-- @treturn integer the exit status
function M.in_box(box, argv, flags)
  flags = flags or {}
  local options = streams(flags.tty)
  options.time_steps = flags.time_steps
  local process <close>, err = start(box, table.move(argv, 1, #argv, 1, options))
  if process and flags.joins then tell_missed(process.enforced.skipped) end
  local result
  if process then result, err = wait(process) end
  if result then tell(result, flags.stats) else require "nslua.cli.say"(err) end
  if flags.stats then io.stderr:write(require "nslua.cli.stats"[flags.stats](result, err)) end
  return result and status_of(result) or status_of_error(err)
end

--- What comes before "--", and the command behind it.
function M.split(words)
  for i, word in ipairs(words) do
    if word == "--" then return { table.unpack(words, 1, i - 1) }, { table.unpack(words, i + 1) } end
  end
  return words, {}
end

--- Takes the options off the front of words.
-- @tparam string command for messages
-- @tparam table operands name of the flag by option, of those that another word belongs to
-- @treturn table flags
function M.read_flags(words, command, operands, usage_error)
  local flags = {}
  while words[1] and words[1]:sub(1, 1) == "-" do
    local option = table.remove(words, 1)
    local flag = FLAGS[option] or operands[option] and { name = operands[option], value = table.remove(words, 1) }
    if not flag then usage_error(command .. ": unrecognized option '" .. option .. "'") end
    if flag.value == nil then usage_error(command .. ": " .. option .. " needs an argument") end
    flags[flag.name] = flag.value
  end
  return flags
end

--- The sandbox of a recipe file, or the default one.
function M.load(path)
  local nslua = require "nslua"
  if not path then return nslua.sandbox {} end
  local box, message = nslua.load(path)
  return box or error(setmetatable({}, { __tostring = function() return message end }), 0)
end

return setmetatable(M, {
  __call = function(_, words, usage_error)
    local before, command = M.split(words)
    local flags = M.read_flags(before, "run", {}, usage_error)
    if #before > 1 then usage_error("run: one recipe, then -- and the command") end
    os.exit(M.in_box(M.load(before[1]), command, flags)) -- at once: nobody needs what is left of the state
  end,
})
