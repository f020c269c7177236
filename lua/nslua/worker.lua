--- A process in a sandbox that runs functions, as its maker sees it: what it is told, what it answers. What it answers may be
-- anybody's words.
-- @module nslua.worker
local Error = require "nslua.error"
local copy = require "nslua.copy"
local poller = require "nslua.poller"
local sys = require "nslua.sys"

local ESRCH <const>, EINTR <const>, EAGAIN <const>, ENOMEM <const>, EPIPE <const> = 3, 4, 11, 12, 32
local EBADMSG <const>, EMSGSIZE <const>, ETIMEDOUT <const> = 74, 90, 110
local CALLS <const>, RESULTS <const> = 3, 4 -- its descriptors (csrc/callee/main.c)
local NAME <const> = "nslua-function"
local LENGTH <const> = copy.LENGTH
local HEAD <const> = #LENGTH:pack(0)
local LIMIT <const> = 64 << 20 -- bytes of results, unless the call says result_limit
local READS <const> = 64 -- between two looks at the time, and at others: there may be no end of single bytes

local Worker = {}
Worker.__index = Worker

local M = {}

-- -- its start --

--- A pipe to it and one from it.
-- @treturn[1] table calls, to, from, results: fds
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function open_pipes()
  local calls, to, first_errno = sys.pipe(false, true)
  if not calls then return nil, Error.new { step = "pipe", errno = first_errno } end
  local from, results, errno = sys.pipe(true)
  if from then return { calls = calls, to = to, from = from, results = results } end
  calls:close()
  to:close()
  return nil, Error.new { step = "pipe", errno = errno }
end

--- Starts a process that takes calls.
-- @tparam function spawn as box:spawn
-- @tparam table options of nslua.call
-- @tparam[opt] number seconds that it may take at most, with all its calls
-- @treturn[1] worker
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.start(spawn, options, seconds)
  local program <close>, _, errno = sys.callee_program()
  if not program then return nil, Error.new { step = "memfd_create of the interpreter", errno = errno } end
  local ends, err = open_pipes()
  if not ends then return nil, err end
  local process
  process, err = spawn {
    NAME, program = program, fds = { [CALLS] = ends.calls, [RESULTS] = ends.results }, timeout = seconds,
    stdout = options.stdout, stderr = options.stderr, env = options.env, cwd = options.cwd,
  }
  ends.calls:close()
  ends.results:close()
  if process then return setmetatable({ process = process, to = ends.to, from = ends.from, body = sys.buffer() }, Worker) end
  ends.to:close()
  ends.from:close()
  return nil, err
end

-- -- what it says --

local function failed(reason, errno, result)
  return nil, Error.new { step = "call", reason = reason, errno = errno, result = result }
end

local function is_late() return failed("the time limit passed before the function returned", ETIMEDOUT) end
local function is_no_result() return failed("what the sandbox has sent is no result", EBADMSG) end

local function is_too_large(self)
  return failed(("the results are larger than result_limit, %d bytes"):format(self.limit), EMSGSIZE)
end

--- Why there is no answer.
local function end_of(result)
  if result.reason == "timeout" then return is_late() end
  if result.reason == "oom" then return failed("limits.memory did not suffice", ENOMEM, result) end
  return failed(("its process %s before the function returned"):format(
    result.signal and "was ended by signal " .. result.signal or "ended with status " .. result.code), ESRCH, result)
end

--- How an error of a pipe counts: not when there is only nothing to do just now.
local function counted(errno)
  if errno == EAGAIN or errno == EINTR then return nil end
  return Error.new { step = "call", errno = errno }
end

--- Writes what is left of a call.
-- @treturn ?nslua.error
local function give(self)
  local n, _, errno = sys.write(self.to, self.call, self.at)
  if not n then
    if errno ~= EPIPE then return counted(errno) end
    self.call = nil -- its process is about to end, or does not want to know
    return nil
  end
  self.at = self.at + n
  if self.at > #self.call then self.call = nil end
end

--- Notes whether a read has come to the end of what is there just now, or for ever.
local function note(self, size)
  self.is_over = size == 0
  self.is_dry = not size or self.is_over
end

--- Reads how long the answer is.
-- @treturn ?nslua.error
local function take_length(self)
  local data, _, errno = sys.read(self.from, HEAD - #self.head)
  note(self, data and #data)
  if not data then return counted(errno) end
  self.head = self.head .. data
  if #self.head < HEAD then return nil end
  self.length = LENGTH:unpack(self.head)
  if self.length < 0 or self.length > self.limit then return select(2, is_too_large(self)) end
end

--- Reads more of the answer, and nothing behind it.
-- @treturn ?nslua.error
local function take(self)
  local err = not self.length and take_length(self) or nil
  if err or not self.length then return err end
  for _ = 1, READS do
    if self.size == self.length then break end
    local n, _, errno = self.body:read(self.from, self.length - self.size)
    note(self, n)
    if not n then return counted(errno) end
    if n == 0 then break end
    self.size = self.size + n
  end
end

--- The answer, when all of it has come.
-- @treturn[1] table { n=, true, … } or { n=, false, error }
-- @treturn[2] nil
-- @treturn[2] nslua.error when it is none, or too large
-- @treturn[3] nil when more is to come
local function answer(self)
  if not self.length or self.size < self.length then return nil end
  local deadline = self:deadline()
  local values, problem = copy.decode(self.body:content(), self.limit, false,
    deadline and function() return sys.clock() > deadline end)
  if values and type(values[1]) == "boolean" then return values end
  if problem == copy.TOO_LARGE then return is_too_large(self) end
  if problem == copy.LATE then return is_late() end
  return is_no_result()
end

-- -- a call --

--- When the call, or its process, has to have ended, by the monotonic clock.
function Worker:deadline()
  local ours, its = self.until_time, self.process.deadline
  return ours and its and math.min(ours, its) or ours or its
end

--- How long nothing needs to be done, in seconds.
function Worker:timeout()
  local deadline = self:deadline()
  return self.process.result and 0 or deadline and math.max(deadline - sys.clock(), 0)
end

--- Whether it waits for a call: it has not ended, has read the one before, and says nothing.
function Worker:is_idle()
  local result, err = self.process:wait(0, self.from)
  return not self.call and result == nil and err.errno == ETIMEDOUT
end

--- Begins a call.
-- @tparam string call
-- @tparam table options result_limit
-- @tparam[opt] number until_time of the monotonic clock
function Worker:begin(call, options, until_time)
  self.call, self.at = LENGTH:pack(#call) .. call, 1
  self.head, self.length, self.size = "", nil, 0
  self.limit, self.until_time = options.result_limit or LIMIT, until_time
  return give(self)
end

--- What is to be polled, besides the process itself.
-- @treturn[1] fd
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Worker:polled()
  if not self.call and not self.is_over then return self.from end
  if not self.poller then
    local ok, made = pcall(poller.new)
    if not ok then return nil, made end
    self.poller = made
  end
  self.poller:watch(not self.is_over and self.from or false, "r", self.call and self.to or false, "w")
  return self.poller.fd
end

--- Moves what there is to move, after waiting for it; what the function has written comes before its results.
-- @tparam[opt] number seconds at most
-- @treturn[1] table { n=, true, … } or { n=, false, error }
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @treturn[3] nil when more is to come
function Worker:progress(seconds)
  local fd, err = self:polled()
  if not fd then return nil, err end
  local result
  result, err = self.process:wait(seconds, fd)
  if result == nil and err.errno ~= ETIMEDOUT then return nil, err end
  err = self.call and give(self) or take(self)
  if err then return nil, err end
  local values
  values, err = answer(self)
  if values then
    local ok
    ok, err = self.process:catch_up(self:deadline())
    return ok and values, err
  end
  if err then return nil, err end
  if result and self.is_dry then return end_of(result) end
  if self:timeout() == 0 then return is_late() end
end

--- Makes a call.
-- @param … as of begin
-- @treturn[1] table { n=, true, … } or { n=, false, error }
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Worker:make(...)
  local values
  local err = self:begin(...)
  while not values and not err do values, err = self:progress(self:timeout()) end
  return values, err
end

--- No more calls: its process ends, and what it has written is relayed until then.
function Worker:finish()
  self.to:close()
  return self.process:wait()
end

function Worker:close()
  self.process:close()
  self.to:close()
  self.from:close()
  if self.poller then self.poller:close() end
end
Worker.__close = Worker.close

return M
