--- Functions that are called in a sandbox: a process with an interpreter of its own, what it is told and what it answers.
-- @module nslua.call
local Error = require "nslua.error"
local check = require "nslua.check"
local copy = require "nslua.copy"
local poller = require "nslua.poller"
local schema = require "nslua.schema"
local sys = require "nslua.sys"

local EINTR <const>, EAGAIN <const>, EPIPE <const>, ETIMEDOUT <const> = 4, 11, 32, 110
local CALLS <const>, RESULTS <const> = 3, 4 -- its descriptors (csrc/worker/main.c)
local NAME <const> = "nslua-function"
local LENGTH <const> = "<I8"
local HEAD <const> = #LENGTH:pack(0)
local FIRST_CHUNK <const>, CHUNK <const> = 1 << 10, 64 << 10 -- most answers are short: no buffer is made for them
local LIMIT <const> = 64 << 20 -- bytes of results, unless the call says result_limit

local M = {}

-- -- what a call says --

local function output(value)
  if value == "null" or value == "relay" or value == "inherit" then return value end
  if type(value) == "function" or io.type(value) == "file" then return value end
  return nil, "\"null\", \"relay\", \"inherit\", a function or a file"
end

local OUTPUTS <const> = '"relay" "null" "inherit", a function, a file'

--- As the options of a run: those of a call, and of the process that it is made in.
local OPTIONS <const> = {
  {
    name = "timeout", of = "call", type = check.seconds, default = "`limits.time`", values = "seconds",
    doc = "Its process ends then, and the call gives nil and an error with the code ETIMEDOUT.",
  },
  {
    name = "result_limit", of = "call", type = check.size, default = "64M", values = "a size",
    doc = "How large its results may be, as bytes on the way and as values here.",
  },
  { name = "stdout", of = "process", type = output, default = '"relay"', values = OUTPUTS, doc = "As of a run." },
  { name = "stderr", of = "process", type = output, default = '"relay"', values = OUTPUTS, doc = "The same." },
  {
    name = "env", of = "process", type = schema.by_name.env.type, default = "the recipe's", values = schema.by_name.env.values,
    doc = "Variables besides the recipe's, or in place of them.",
  },
  {
    name = "cwd", of = "process", type = schema.by_name.cwd.type, default = "the recipe's", values = schema.by_name.cwd.values,
    doc = "The working directory.",
  },
}

M.list = OPTIONS

--- What options may be said, name -> type: of a call, of a process, of both.
M.OF_CALL, M.OF_PROCESS, M.OF_BOTH = {}, {}, {}
for _, option in ipairs(OPTIONS) do
  local of = option.of == "call" and M.OF_CALL or M.OF_PROCESS
  of[option.name], M.OF_BOTH[option.name] = option.type, option.type
end

local function names_of(accepted)
  local names = {}
  for name in pairs(accepted) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Checks options, from a table that may begin with a function.
-- @tparam table accepted one of those above
-- @tparam table given
-- @treturn table options
-- @treturn ?table mistakes
function M.options(accepted, given)
  local options, mistakes = {}, nil
  for name, value in next, given do
    local accepts = accepted[name]
    if accepts then
      local good, expected = accepts(value)
      options[name] = good
      if expected then
        mistakes = check.add(mistakes, name .. " must be ", expected, (" (got %s)"):format(check.describe(value)))
      end
    elseif name ~= 1 then
      mistakes = check.add(mistakes, "", (check.unknown("option", name, names_of(accepted))))
    end
  end
  return options, mistakes
end

local function say_which(at) return at == 1 and "the function" or ("argument %d"):format(at - 1) end

--- A call as bytes; raises at the caller's caller.
-- @tparam table accepted options
-- @param f function, or { function, options… }
-- @param … arguments
-- @treturn string
-- @treturn table options
function M.read(accepted, f, ...)
  local options, mistakes = {}, nil
  if type(f) == "table" then
    options, mistakes = M.options(accepted, f)
    f = rawget(f, 1)
  end
  if mistakes then error(check.told(mistakes), 3) end
  if type(f) ~= "function" then error("call: a function expected, or { function, options… }, got " .. check.describe(f), 3) end
  local bytes, problem = copy.encode(table.pack(f, ...), say_which, true)
  if not bytes then error("call: " .. problem, 3) end
  return LENGTH:pack(#bytes) .. bytes, options
end

-- -- the process --

local Worker = {}
Worker.__index = Worker

--- The options of the run that makes a worker.
local function run_of(options, program, calls, results)
  return {
    NAME, program = program, fds = { [CALLS] = calls, [RESULTS] = results }, stdout = options.stdout, stderr = options.stderr,
    env = options.env, cwd = options.cwd, timeout = options.timeout,
  }
end

--- Starts a process that takes calls.
-- @tparam function spawn as box:spawn
-- @tparam table options
-- @treturn[1] worker
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.start(spawn, options)
  local program, step, errno = sys.worker_program()
  if not program then return nil, Error.new { step = step, errno = errno } end
  local calls, to, results, from
  calls, to, errno = sys.pipe(false, true)
  if calls then from, results, errno = sys.pipe(true) end
  if not results then
    if calls then calls:close(); to:close() end
    return nil, Error.new { step = "pipe", errno = errno }
  end
  local process, err = spawn(run_of(options, program, calls, results))
  calls:close()
  results:close()
  if not process then
    to:close()
    from:close()
    return nil, err
  end
  return setmetatable({ process = process, to = to, from = from, poller = poller.new() }, Worker)
end

--- Writes what is left of a call.
-- @treturn ?integer errno
local function give(self)
  local n, _, errno = sys.write(self.to, self.call, self.at)
  if not n then
    if errno == EPIPE then self.call = nil end -- its process is about to end, or does not want to know
    return errno ~= EPIPE and errno ~= EAGAIN and errno ~= EINTR and errno or nil
  end
  self.at = self.at + n
  if self.at > #self.call then self.call = nil end
end

--- Reads what has come of the answer, and little more than may be.
-- @treturn ?integer errno
local function take(self)
  while self.size <= self.limit + CHUNK do
    local wanted = self.size == 0 and FIRST_CHUNK or CHUNK
    local data, _, errno = sys.read(self.from, wanted)
    if not data then return errno ~= EINTR and errno ~= EAGAIN and errno or nil end
    if data == "" then
      self.is_over = true
      return nil
    end
    self.got[#self.got + 1] = data
    self.size = self.size + #data
    if #data < wanted then return nil end -- more would be seen by the next poll
  end
end

local function failed(reason, errno) return nil, Error.new { step = "call", reason = reason, errno = errno } end
local function no_result(what) return failed("what the sandbox has sent is no result: it is " .. what) end
local function is_late() return failed("the time limit passed before the function returned", ETIMEDOUT) end

--- The answer, when all of it has come.
-- @treturn[1] table { n=, true, … } or { n=, false, error }
-- @treturn[2] nil
-- @treturn[2] nslua.error when it is none, or too long
-- @treturn[3] nil when more is to come
local function answer(self)
  if self.size < HEAD then return nil end
  if not self.length then
    self.got = { table.concat(self.got) }
    self.length = LENGTH:unpack(self.got[1])
  end
  if self.length < 0 or self.length > self.limit then
    return failed(("the results are larger than result_limit, %d bytes"):format(self.limit))
  end
  if self.size < HEAD + self.length then return nil end
  if self.size > HEAD + self.length then return no_result "followed by more" end
  self.got = table.concat(self.got)
  local values, problem = copy.decode(self.got, self.limit, false, HEAD + 1)
  if not values then return no_result(problem) end
  if type(values[1]) ~= "boolean" then return no_result "malformed" end
  return values
end

--- Why there is no answer.
local function end_of(result)
  if result.reason == "timeout" then return is_late() end
  if result.reason == "oom" then return failed "limits.memory did not suffice" end
  return failed(("its process %s before the function returned"):format(
    result.signal and "was ended by signal " .. result.signal or "ended with status " .. result.code))
end

--- Begins a call.
-- @tparam string call of M.read
-- @tparam table options result_limit
-- @tparam[opt] number seconds that it may take
function Worker:begin(call, options, seconds)
  self.call, self.at, self.got, self.size, self.length = call, 1, {}, 0, nil
  self.limit, self.deadline = options.result_limit or LIMIT, seconds and sys.clock() + seconds
  give(self)
end

--- How long the call may still take.
function Worker:left() return self.deadline and math.max(self.deadline - sys.clock(), 0) end

--- How long nothing needs to be done.
function Worker:timeout()
  local ours, its = self:left(), self.process.pollfd and self.process:timeout()
  return self.process.result and 0 or ours and its and math.min(ours, its) or ours or its
end

--- Whether it waits for a call: it has not ended, and says nothing.
function Worker:is_idle()
  local result, err = self.process:wait(0, self.from)
  return result == nil and err.errno == ETIMEDOUT
end

--- What is to be polled, besides the process itself.
function Worker:polled()
  if not self.call and not self.is_over then return self.from end
  self.poller:watch(not self.is_over and self.from or false, "r", self.call and self.to or false, "w")
  return self.poller.fd
end

--- Moves what there is to move, after waiting for it.
-- @tparam[opt] number seconds at most
-- @treturn[1] table { n=, true, … } or { n=, false, error }
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @treturn[3] nil when more is to come
function Worker:progress(seconds)
  local result, err = self.process:wait(seconds, self:polled())
  if result == nil and err.errno ~= ETIMEDOUT then return nil, err end
  local errno = self.call and give(self) or take(self)
  if errno then return nil, Error.new { step = "call", errno = errno } end
  local values
  values, err = answer(self)
  if values or err then return values, err end
  if result then return end_of(result) end
  if self:left() == 0 then return is_late() end
end

--- Makes a call.
-- @param … as of begin
-- @treturn[1] table { n=, true, … } or { n=, false, error }
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Worker:make(...)
  self:begin(...)
  local values, err
  repeat values, err = self:progress(self:left()) until values or err
  return values, err
end

--- No more calls: its process ends, and what it has written is relayed until then.
function Worker:finish()
  self.to:close()
  return self.process:wait()
end

function Worker:close()
  self.to:close()
  self.from:close()
  self.poller:close()
  self.process:close()
end
Worker.__close = Worker.close

--- Results as a call gives them.
function M.unpack(values, err)
  if not values then return nil, err end
  return table.unpack(values, 1, values.n)
end

--- One call in a process of its own.
-- @tparam function spawn as box:spawn
-- @tparam string call
-- @tparam table options
-- @treturn[1] true @return[1] … what the function gave
-- @treturn[2] false @return[2] its error
-- @treturn[3] nil
-- @treturn[3] nslua.error
function M.once(spawn, call, options)
  local worker <close>, err = M.start(spawn, options)
  if not worker then return nil, err end
  local values
  values, err = worker:make(call, options)
  if not values then return nil, err end
  local ended
  ended, err = worker:finish()
  return M.unpack(ended and values, err)
end

return M
