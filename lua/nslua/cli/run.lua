--- nslua run: a command in a sandbox, with our own streams and an exit status that says it all.
local sys = require "nslua.sys"

local FLAGS <const> = { ["--stats"] = "stats" }
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

local M = {}

--- Runs argv (or the recipe's command) in a box. On a terminal the payload gets it, as a shell needs;
-- it has a session of its own, so it cannot push input into it. Otherwise its output is relayed.
-- @tparam table box
-- @tparam table argv
-- @tparam[opt] table flags stats: what it used goes to stderr at the end
-- @treturn integer the exit status
function M.in_box(box, argv, flags)
  local options = table.move(argv, 1, #argv, 1, {})
  local output = sys.isatty(0) and "inherit" or "relay"
  options.stdin, options.stdout, options.stderr = "inherit", output, output
  local process <close>, err = start(box, options)
  collectgarbage "restart"
  local result
  if process then result, err = process:wait() end
  if not result then
    io.stderr:write("nslua: ", tostring(err), "\n")
    return status_of_error(err)
  end
  if result.reason == "timeout" then io.stderr:write("nslua: timed out\n") end
  if result.refused then io.stderr:write("nslua: seccomp would have refused: ", words_of(result.refused), "\n") end
  if flags and flags.stats then io.stderr:write(require "nslua.cli.stats"(result.usage)) end
  return status_of(result)
end

local function split(words)
  for i, word in ipairs(words) do
    if word == "--" then return { table.unpack(words, 1, i - 1) }, { table.unpack(words, i + 1) } end
  end
  return words, {}
end

return setmetatable(M, {
  __call = function(_, words, usage_error)
    local before, command = split(words)
    local flags = {}
    while before[1] and before[1]:sub(1, 1) == "-" do
      local flag = FLAGS[before[1]] or usage_error("run: unrecognized option '" .. before[1] .. "'")
      flags[flag] = true
      table.remove(before, 1)
    end
    if #before > 1 then usage_error("run: one recipe, then -- and the command") end
    local nslua = require "nslua"
    local box
    if before[1] then
      local message
      box, message = nslua.load(before[1])
      if not box then error(setmetatable({}, { __tostring = function() return message end }), 0) end
    else
      box = nslua.sandbox {}
    end
    os.exit(M.in_box(box, command, flags)) -- at once: nobody needs what is left of the state
  end,
})
