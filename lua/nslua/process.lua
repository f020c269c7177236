--- A running sandbox, and the result of one.
-- @classmod nslua.process
local Error = require "nslua.error"
local names = require "nslua.names"
local poller = require "nslua.poller"
local start = require "nslua.start"
local streams = require "nslua.streams"
local sys = require "nslua.sys"
local Result = require "nslua.result"

local ECHILD <const>, ETIMEDOUT <const> = 10, 110
local SIGNALS <const> = {
  HUP = 1, INT = 2, QUIT = 3, ILL = 4, TRAP = 5, ABRT = 6, BUS = 7, FPE = 8, KILL = 9, USR1 = 10, SEGV = 11,
  USR2 = 12, PIPE = 13, ALRM = 14, TERM = 15, CHLD = 17, CONT = 18, STOP = 19, TSTP = 20, TTIN = 21, TTOU = 22,
  WINCH = 28, SYS = 31,
}
-- -- the handle --

local Process = { __name = "nslua.process" }

--- What wait() polls: the stage, and what has to be moved.
local function polled(self) return self.stage:fileno(), "r", self.streams:polled() end

--- One fd for all that; nil at the end.
local function pollfd(self)
  if self.result or self.closed then return nil end
  if not self.poller then
    self.poller = poller.new()
    self.poller:watch(polled(self))
  end
  return self.poller:fileno()
end

Process.__index = function(self, key)
  if Process[key] ~= nil then return Process[key] end
  if key == "pid" then return Process.payload_pid(self) end
  if key == "pollfd" then return pollfd(self) end
end

function Process:__tostring() return ("process (%s)"):format(self.result and "ended" or "running") end

--- The payload's pid as the host sees it; nil when it has ended.
function Process:payload_pid()
  if self.result then return nil end
  local pid = self.stage:pid()
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  if not file then return nil end
  local child = file:read "n"
  file:close()
  return child
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
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Process:kill(signal)
  local number = signal == nil and SIGNALS.TERM or math.type(signal) == "integer" and signal
    or SIGNALS[tostring(signal):gsub("^SIG", "")]
  if not number or number < 0 or number > 64 then error("kill: no signal " .. tostring(signal), 2) end
  if self.result then return nil, Error.new { step = "kill", errno = 3 } end
  local ok, _, errno = self.stage:signal(number)
  if not ok then return nil, Error.new { step = "kill", errno = errno } end
  return true
end

--- Ends the whole sandbox, whatever it does.
function Process:stop()
  self.stopped = true
  if not self.result then self.stage:stop() end
end

--- What the recorder has told.
local function refused_of(recorded)
  local refused = names.system_calls(recorded.counts)
  refused.incomplete = recorded.incomplete or nil
  return refused
end

--- The end: everything in the sandbox is gone when this returns.
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error when the reaper has given up, so that nobody knows how the payload ended
local function finish(self, ended)
  local signal = ended.signal or not ended.code and SIGNALS.KILL or nil
  local status = self.stage:reap()
  local was_killed = not status or status & 0x7f ~= 0
  if not was_killed and not ended.code and not ended.signal and not self.stopped then
    return nil, Error.new { step = "reaper", reason = "it has ended the sandbox without telling how the payload ended" }
  end
  local drained, err = self.streams:drain(self.reason == "timeout")
  if not drained then return nil, err end
  local out, errors = self.streams.stdout, self.streams.stderr
  self.result = setmetatable({
    ok = ended.code == 0 and not self.reason, code = ended.code, signal = signal,
    reason = self.reason or (signal and "signal" or "exit"),
    stdout = out:content(), stderr = errors:content(), truncated = out.truncated or errors.truncated,
    refused = self.recorded and refused_of(self.recorded), enforced = self.enforced, command = self.command,
    usage = {
      wall = sys.clock() - self.started_at, user = ended.user or 0, system = ended.system or 0,
      maxrss = ended.maxrss or 0, minor_faults = ended.minor_faults, major_faults = ended.major_faults,
      voluntary_switches = ended.voluntary_switches, involuntary_switches = ended.involuntary_switches,
    },
  }, Result)
  self.stage:close() -- its fds; an event loop learns it by pollfd being nil
  if self.poller then self.poller:close() end
  return true
end

--- A part of what the recorder has counted.
local function note_recorded(recorded, part)
  recorded.incomplete = part.incomplete
  for number, count in pairs(part.counts) do recorded.counts[number] = count end
  return true
end

--- One look at everything that can happen, waiting at most `seconds` for it. nil and an error when even
--- that is impossible, or what the payload writes cannot be kept.
local function step(self, seconds)
  local message, out, err, input = sys.poll(seconds, polled(self))
  if message == nil then return nil, Error.new { step = "poll", errno = err } end
  local moved, problem = self.streams:move(out, err, input)
  if not moved then return nil, problem end
  if self.result or self.closed then return true end -- a function of the user's may wait and close, too
  if self.poller then self.poller:watch(polled(self)) end
  if not message then return true end
  local kind, record = self.stage:receive()
  if kind == "none" then return true end
  if kind == "recorded" then return note_recorded(self.recorded, record) end
  return finish(self, kind == "ended" and record or {})
end

--- The time is over: the end, or where the run grants it a chance to end itself before that.
local function expire(self)
  self.reason = "timeout"
  local grace = self.grace
  self.grace, self.deadline = nil, nil
  if grace and self.stage:signal(SIGNALS.TERM) then self.deadline = sys.clock() + grace
  else self:stop() end
end

--- Waits for the end, moving the streams meanwhile.
-- @tparam[opt] number seconds at most
-- @treturn[1] result
-- @treturn[2] nil after the time
-- @treturn[2] nslua.error ETIMEDOUT
-- @raise what a function raises that is stdin, stdout or stderr; the sandbox has ended then
function Process:wait(seconds)
  local until_time = seconds and sys.clock() + seconds
  while not self.result do
    if self.closed then return nil, Error.new { step = "wait", errno = ECHILD } end
    local now = (until_time or self.deadline) and sys.clock()
    if self.deadline and now >= self.deadline then expire(self) end
    local left = until_time and until_time - now
    if self.deadline and (not left or self.deadline - now < left) then left = self.deadline - now end
    local unbroken, ok, err = pcall(step, self, left and math.max(left, 0))
    if not (unbroken and ok) then
      self:close()
      if not unbroken then error(ok, 0) end
      return nil, err
    end
    if until_time and not self.result and sys.clock() >= until_time then
      return nil, Error.new { step = "wait", errno = ETIMEDOUT }
    end
  end
  return self.result
end

--- Kills and reaps, unless the sandbox is detached.
function Process:close()
  self.closed = true
  self.stage:close()
  if self.poller then self.poller:close() end
  self.streams:close()
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

--- Starts a compiled recipe.
-- @tparam table ready of nslua.compile
-- @tparam table options of nslua.options
-- @tparam table argv
-- @treturn[1] nslua.process
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.spawn(ready, options, argv)
  local started_at = sys.clock()
  local opened, err = streams.open(options, ready.identity)
  if not opened then return nil, err end
  io.stdout:flush()
  local limit = options.timeout or ready.recipe.limits and ready.recipe.limits.time
  local deadline = limit and started_at + limit or nil
  local stage, enforced = start.start(ready, options, argv,
    { opened.stdin.theirs, opened.stdout.theirs, opened.stderr.theirs }, deadline)
  opened:handed_over()
  if not stage then
    opened:close()
    return nil, enforced
  end
  local process = setmetatable({
    stage = stage, streams = opened, started_at = started_at, command = argv, enforced = enforced,
    deadline = deadline, grace = options.grace,
    recorded = enforced.seccomp and enforced.seccomp.mode and { counts = {}, incomplete = true } or nil,
  }, Process)
  take_pipes(process)
  return process
end

return M
