--- A running sandbox, and the result of one.
-- @classmod nslua.process
local Error = require "nslua.error"
local check = require "nslua.check"
local names = require "nslua.names"
local start = require "nslua.start"
local streams = require "nslua.streams"
local sys = require "nslua.sys"
local Result = require "nslua.result"
local signals = require "nslua.signals"

local ESRCH <const>, ECHILD <const>, ETIMEDOUT <const> = 3, 10, 110

-- -- the handle --

local Process = { __name = "nslua.process" }

--- What each was started from, { ready=, payload=, further= }: out of reach, for it is the sandbox's, which is immutable.
--- Weak: it goes with the process.
local origins = setmetatable({}, { __mode = "k" })

--- What wait() polls: the stage, and what has to be moved.
local function polled(self) return self.stage:fileno(), "r", self.streams:polled() end

--- One fd for all that; nil at the end.
local function pollfd(self)
  if self.result or self.closed then return nil end
  if not self.poller then
    self.poller = require "nslua.poller".new()
    self.poller:watch(polled(self))
  end
  return self.poller:fileno()
end

Process.__index = function(self, key)
  if Process[key] ~= nil then return Process[key] end
  if key == "pid" then return Process.payload_pid(self) end
  if key == "pollfd" then return pollfd(self) end
end

function Process:__tostring()
  return ("process (%s)"):format(self.result and "ended" or self.closed and "closed" or "running")
end

--- The payload's pid as the host sees it; nil when it has ended.
function Process:payload_pid()
  if self.result or self.closed then return nil end
  return start.payload_pid(self.stage)
end

--- A namespace that the payload is in, as a handle: it can be looked at, kept, and joined by other recipes.
-- @tparam string kind as "net"
-- @treturn[1] nslua.namespace
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Process:ns(kind)
  local pid = self.pid
  if pid then return require "nslua.ns".open(pid, kind) end
  return nil, Error.new { step = "namespace " .. tostring(kind), errno = ESRCH }
end

--- For event loops: `pollfd` (nil at the end), as cqueues wants it with events() and timeout(), or fileno() for others.
-- When it is readable, or the time is over, wait(0) does what there is to do: it moves the streams and gives the result.
-- An event loop has to be told that the fd is gone before it calls that.
function Process.events() return "r" end
function Process:fileno() return self.pollfd or -1 end

--- How long a poller may sleep before it must call wait(0): the time limit, in seconds.
function Process:timeout()
  return self.deadline and math.max(0, self.deadline - sys.clock()) or nil
end

--- Sends a signal to the payload: a number, or a name as "TERM".
-- @param[opt="TERM"] signal
-- @tparam[opt=false] boolean group to its whole process group, as a terminal does for a key
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Process:kill(signal, group)
  local number = signal == nil and signals.TERM or math.type(signal) == "integer" and signal
    or signals[tostring(signal):gsub("^SIG", "")]
  if not number or number < 0 or number > 64 then error("kill: no signal " .. tostring(signal), 2) end
  if self.result then return nil, Error.new { step = "kill", errno = ESRCH } end
  local ok, _, errno = self.stage:signal(number, group)
  if not ok then return nil, Error.new { step = "kill", errno = errno } end
  return true
end

--- Says how large the payload's terminal is (tty = true); it learns it by SIGWINCH.
-- @tparam integer rows
-- @tparam integer columns
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Process:resize(rows, columns)
  for _, value in ipairs { rows, columns } do
    if math.type(value) ~= "integer" or value < 1 or value > 0xffff then error("resize: rows and columns expected", 2) end
  end
  if self.result or not self.terminal then return nil, Error.new { step = "resize", reason = "it has no terminal" } end
  return self.terminal:resize(rows, columns)
end

--- Ends the whole sandbox, whatever it does; of a further command, its process group.
function Process:stop()
  self.stopped = true
  if self.result then return end
  if self.group and not self.recorded then self.group:kill() end
  self.stage:stop()
end

--- What the recorder has told.
local function refused_of(recorded)
  local refused = names.system_calls(recorded.counts)
  refused.incomplete = recorded.incomplete or nil
  return refused
end

--- Who goes on without its payload, or without us, still needs its control group.
local function leave_group(self, goes_on)
  if not self.group then return end
  if goes_on then self.group:release() else self.group:remove() end
end

--- What the payload has used, and its group.
local function usage_of(self, ended, group)
  return {
    wall = sys.clock() - self.started_at, user = ended.user or 0, system = ended.system or 0,
    maxrss = ended.maxrss or 0, minor_faults = ended.minor_faults, major_faults = ended.major_faults,
    voluntary_switches = ended.voluntary_switches, involuntary_switches = ended.involuntary_switches, group = group,
  }
end

--- Reads what a group has counted that is gone with its reaper, and lets that go.
local function read_early(self)
  if not (self.group and self.group.late) then return nil end
  local usage = self.group:usage()
  self.stage:go()
  return usage
end

--- Why it ended.
local function reason_of(self, signal, group)
  if self.reason then return self.reason end
  if not signal then return "exit" end
  local starved = signal == signals.KILL and not self.stopped and group and (group.oom_kills or 0) > 0
  return starved and "oom" or "signal"
end

--- The end: everything in the sandbox is gone when this returns, unless it lingers.
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error when the reaper has given up, so that nobody knows how the payload ended
local function finish(self, ended)
  local signal = ended.signal or not ended.code and signals.KILL or nil
  local group = read_early(self)
  local status = not self.lingers and self.stage:reap()
  local was_killed = not status or status & 0x7f ~= 0
  if not was_killed and not ended.code and not ended.signal and not self.stopped then
    return nil, Error.new { step = "reaper", reason = "it has ended the sandbox without telling how the payload ended" }
  end
  local drained, err = self.streams:drain(self.reason == "timeout" and 0 or self.deadline)
  if not drained then return nil, err end
  if self.terminal then self.terminal:finish() end
  local out, errors = self.streams.stdout, self.streams.stderr
  group = group or self.group and self.group:usage() or nil
  local reason = reason_of(self, signal, group)
  self.result = setmetatable({
    ok = ended.code == 0 and reason == "exit", code = ended.code, signal = signal,
    reason = reason, stdout = out:content(), stderr = errors:content(), truncated = out.truncated or errors.truncated,
    refused = self.recorded and refused_of(self.recorded), enforced = self.enforced, command = self.command,
    steps = self.steps, usage = usage_of(self, ended, group),
  }, Result)
  self.stage:close() -- its fds; an event loop learns it by pollfd being nil
  leave_group(self, self.lingers)
  if self.poller then self.poller:close() end
  return true
end

--- A part of what the recorder has counted.
local function note_recorded(recorded, part)
  recorded.incomplete = part.incomplete
  for number, count in pairs(part.counts) do recorded.counts[number] = count end
  return true
end

--- One look at everything that can happen, waiting at most `seconds` for it; and whether it was on the fd of the
--- caller's. nil and an error when even that is impossible, or what the payload writes cannot be kept.
local function step(self, seconds, fd)
  local message, also, out, err, input = sys.poll(seconds, self.stage:fileno(), "r", fd or false, "r", self.streams:polled())
  if message == nil then return nil, Error.new { step = "poll", errno = out } end
  local moved, problem = self.streams:move(out, err, input)
  if not moved then return nil, problem end
  if self.result or self.closed then return true end -- a function of the user's may wait and close, too
  if self.poller then self.poller:watch(polled(self)) end
  if self.terminal then self.terminal:follow() end
  if not message then return true, also end
  local kind, record = self.stage:receive()
  if kind == "none" then return true, also end
  if kind == "recorded" then return note_recorded(self.recorded, record) end
  return finish(self, kind == "ended" and record or {})
end

--- The time is over: the end, or where the run grants it a chance to end itself before that.
local function expire(self)
  self.reason = "timeout"
  local grace = self.grace
  self.grace, self.deadline = nil, nil
  if grace and self.stage:signal(signals.TERM) then self.deadline = sys.clock() + grace
  else self:stop() end
end

--- Waits for the end, moving the streams meanwhile. With a terminal of the payload's, ours is in raw mode as long.
-- @tparam[opt] number seconds at most
-- @param[opt] fd of the caller's, whose becoming readable ends the wait, too
-- @treturn[1] result
-- @treturn[2] nil after the time
-- @treturn[2] nslua.error ETIMEDOUT
-- @treturn[3] false when there is something to read on `fd`
-- @raise what a function raises that is stdin, stdout or stderr; the sandbox has ended then
function Process:wait(seconds, fd)
  if seconds and (type(seconds) ~= "number" or seconds ~= seconds) then
    error("wait: seconds expected, got " .. check.describe(seconds), 2)
  end
  if fd and math.type(fd) ~= "integer" and type(fd) ~= "userdata" then
    error("wait: an fd or file expected, got " .. check.describe(fd), 2)
  end
  local until_time = seconds and sys.clock() + seconds
  if self.closed and not self.result then return nil, Error.new { step = "wait", errno = ECHILD } end
  local raw <close> = self.terminal and not self.result and self.terminal:enter() or nil -- luacheck: ignore raw
  while not self.result do
    if self.closed then return nil, Error.new { step = "wait", errno = ECHILD } end
    local now = (until_time or self.deadline) and sys.clock()
    if self.deadline and now >= self.deadline then expire(self) end
    local left = until_time and until_time - now
    if self.deadline and (not left or self.deadline - now < left) then left = self.deadline - now end
    local unbroken, ok, err = pcall(step, self, left and math.max(left, 0), fd)
    if not (unbroken and ok) then
      self:close()
      if not unbroken then error(ok, 0) end
      return nil, err
    end
    if err and not self.result then return false end
    if until_time and not self.result and sys.clock() >= until_time then
      return nil, Error.new { step = "wait", errno = ETIMEDOUT }
    end
  end
  return self.result
end

--- Moves what the payload has written so far.
-- @tparam[opt] number deadline of the monotonic clock, for what our own streams do not take at once
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @raise as wait
function Process:catch_up(deadline) return self.streams:catch_up(deadline) end

--- Kills and reaps, unless the sandbox is detached.
function Process:close()
  self.closed = true
  self.stage:close()
  leave_group(self, self.detached)
  if self.poller then self.poller:close() end
  self.streams:close()
  if self.terminal then self.terminal:close() end
end
Process.__close = Process.close
Process.__gc = Process.close

-- -- spawn --

local M = {}

--- Lua files for the ends of pipes that are ours.
local function take_pipes(process)
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    local stream = process.streams[name]
    if stream.kind == "pipe" then process[name] = stream:file() end
  end
end

--- Opens what a run says of its streams and its terminal, starts it with them, and gives the handle.
-- @tparam table ready of nslua.compile
-- @tparam table options of nslua.options
-- @tparam table argv
-- @tparam ?number limit seconds
-- @tparam function start called with the fds of the payload, the deadline and the terminal; as nslua.start
-- @treturn[1] nslua.process
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function launch(ready, options, argv, limit, start_with)
  local started_at = sys.clock()
  if options.time_steps then options.time_steps:mark "compile" end
  local terminal, opened, err
  if options.tty then
    terminal, err = require("nslua.terminal").new(options)
    if not terminal then return nil, err end
  end
  opened, err = streams.open(options, ready.identity, terminal)
  if not opened then
    if terminal then terminal:close() end
    return nil, err
  end
  io.stdout:flush()
  local deadline = limit and started_at + limit or nil
  local stage, enforced, payload, group = start_with(
    { opened.stdin.theirs, opened.stdout.theirs, opened.stderr.theirs }, deadline, terminal)
  opened:handed_over()
  if terminal then terminal:handed_over() end
  if not stage then
    opened:close()
    if terminal then terminal:close() end
    return nil, enforced
  end
  local process = setmetatable({
    stage = stage, streams = opened, started_at = started_at, command = argv, enforced = enforced,
    deadline = deadline, grace = options.grace, terminal = terminal, group = group,
    lingers = ready.recipe.lifetime == "last",
    detached = ready.plan.detached ~= 0,
    steps = options.time_steps and options.time_steps.list,
    recorded = enforced.seccomp and enforced.seccomp.mode and { counts = {}, incomplete = true } or nil,
  }, Process)
  origins[process] = { ready = ready, payload = payload }
  take_pipes(process)
  return process
end

--- Starts a compiled recipe.
-- @tparam table ready of nslua.compile
-- @tparam table options of nslua.options
-- @tparam table argv
-- @treturn[1] nslua.process
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.spawn(ready, options, argv)
  local limit = options.timeout or ready.recipe.limits and ready.recipe.limits.time
  return launch(ready, options, argv, limit, function(...) return start.start(ready, options, argv, ...) end)
end

-- -- further commands --

--- Why there can be no further command in a sandbox, or nil.
local function exec_refusal(sandbox)
  if sandbox.result or sandbox.closed then
    return Error.new { step = "exec", errno = ESRCH, reason = "the sandbox has ended, or its handle is closed" }
  end
  if origins[sandbox].ready.plan.payload_is_init then
    return Error.new {
      step = "exec", reason = "the payload is PID 1 (init = false): nobody of ours is in there to start another command",
      hint = "leave init out of the recipe: then a reaper is PID 1",
    }
  end
end

--- What a further command may take, at most until the sandbox's own time is over.
local function time_left(sandbox, timeout)
  local left = sandbox.deadline and sandbox:timeout()
  return timeout and left and math.min(timeout, left) or timeout or left
end

--- What a further command needs of a sandbox; kept, but with a terminal.
local function further_of(origin, tty)
  local kept = not tty and origin.further
  local further = kept or require("nslua.payload").further(origin.ready, origin.payload, tty)
  if not tty then origin.further = further end
  return further
end

--- Starts a further command in the running sandbox: in its namespaces, root and control group, with the payload's ids,
-- capabilities, filter, limits and Landlock; it gets no new privileges, whatever the recipe says of that. It is a process of
-- its own, to wait for, kill and close, and ends with the sandbox at the latest. Killed, closed or timed out it ends as a
-- process group; what it has put into another one, or leaves at its end, goes on as the sandbox's, without its streams.
-- @tparam[opt] table options argv (else the recipe's command), and the options of a run
-- @treturn[1] nslua.process
-- @treturn[2] nil
-- @treturn[2] nslua.error ESRCH when the sandbox has ended
-- @raise for a wrong option
-- @usage local process <close> = assert(sandbox {}:spawn { "sleep", "9" })
-- print(assert(process:exec { "hostname", stdout = "capture" }):wait().stdout)
function Process:exec(options)
  local sandbox = self.sandbox or self
  local origin = origins[sandbox]
  local checked, argv = require("nslua.options").read(options or {}, origin.ready.recipe.command)
  local refusal = exec_refusal(sandbox)
  if refusal then return nil, refusal end
  local process, err = launch(origin.ready, checked, argv, time_left(sandbox, checked.timeout), function(...)
    return start.further(further_of(origin, checked.tty), sandbox.stage, checked, argv, ...)
  end)
  if process then process.sandbox = sandbox end
  return process, err
end

return M
