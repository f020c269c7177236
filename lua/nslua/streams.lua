--- The standard streams of a run: what the payload gets, and what we do with the other end.
-- @module nslua.streams
local Error = require "nslua.error"
local descriptor = require "nslua.descriptor"
local sys = require "nslua.sys"

local EINTR <const>, EIO <const>, EAGAIN <const>, EPIPE <const> = 4, 5, 11, 32
local PIPE_BUF <const> = 4096
local CHUNK <const> = 64 << 10    -- as much as a new pipe holds
local LARGE_PIPE <const> = 1 << 20
local KEPT <const> = { capture = 64 << 20, spool = 1 << 30 } -- bytes, unless the run says capture_limit

-- -- one stream --

local Stream = {}
Stream.__index = Stream

local function new(fields) return setmetatable(fields, Stream) end

--- A pipe of which the payload gets one end. Ours does not block when we move the bytes ourselves.
local function pipe(kind, writing, fields)
  local moved = kind ~= "pipe"
  local reader, writer, errno = sys.pipe(moved and not writing, moved and writing)
  if not reader then return nil, Error.new { step = "pipe", errno = errno } end
  fields.kind, fields.own, fields.is_pipe = kind, true, true
  fields.fd, fields.theirs = writing and writer or reader, writing and reader or writer
  return new(fields)
end

local function null(mode)
  local fd, _, errno = sys.open(nil, "/dev/null", mode)
  if not fd then return nil, Error.new { step = "open /dev/null", errno = errno } end
  return new { kind = "null", theirs = fd, own = true }
end

--- A descriptor of the caller's.
local function given(kind, value)
  local ok, err = descriptor.check(kind, value)
  if not ok then return nil, err end
  return new { kind = kind, theirs = value }
end

--- A source that gives its content, and then nothing.
local function once(content)
  return function()
    local all = content
    content = nil
    return all
  end
end

--- stdin: "null", "inherit", "pipe", a file or fd, a function, any other string (or { data = string }) as content.
local function input(value)
  if value == nil or value == "null" then return null "read" end
  if value == "inherit" then return given("inherit", 0) end
  if value == "pipe" then return pipe("pipe", true, {}) end
  if type(value) == "function" then return pipe("function", true, { source = value }) end
  if type(value) == "string" then return pipe("data", true, { source = once(value) }) end
  if type(value) == "table" then return pipe("data", true, { source = once(value.data) }) end
  return given("file", value)
end

--- A pipe whose bytes go into a store, up to a limit.
local function kept(kind, store, limit)
  return pipe(kind, false, { store = store, room = limit or KEPT[kind] })
end

--- stdout and stderr: "null", "relay", "capture", "spool", "pipe", "inherit", a function, a file or fd.
local function output(value, number, limit)
  if value == "null" then return null "write" end
  if value == "inherit" then return given("inherit", number) end
  if value == "capture" then return kept("capture", sys.buffer(), limit) end
  if value == "spool" then
    local store, err = require "nslua.spool".open()
    if not store then return nil, err end
    return kept("spool", store, limit)
  end
  if type(value) == "function" then return pipe("function", false, { sink = value }) end
  if type(value) == "string" then return pipe(value, false, { sink = number }) end
  return given("file", value)
end

--- What to poll, and what for: bytes that we have to move while the payload runs. What is relayed waits
--- for our own stream to take it, so that nobody who does not read can hold us up. A pipe is moved by
--- its user.
function Stream:polled()
  if not self.fd or self.kind == "pipe" then return false, "r" end
  if self.pending then return self.sink, "w" end
  return self.fd, self.source and "w" or "r"
end

--- Does what was polled for; an error when what has come cannot be kept.
-- @treturn[1] boolean whether there was something
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Stream:move()
  if self.source then return self:give() end
  if not self.pending then return self:take() end
  local ok, _, errno = self:forward()
  if ok then return true end
  return self:fail(errno)
end

local NAMES <const> = { [1] = "stdout", [2] = "stderr" }

--- What has come cannot be kept: the end of the stream, and an error.
function Stream:fail(errno)
  self:close()
  return nil, Error.new { step = self.kind .. " of " .. (NAMES[self.sink] or "a stream"), errno = errno }
end

function Stream:close()
  if self.fd then self.fd:close() end
  self.fd = nil
end

--- The payload has its end now.
function Stream:handed_over()
  if self.own then self.theirs:close() end
  self.theirs = nil
end

--- Our end of a pipe as a Lua file.
function Stream:file()
  local file = self.fd:file(self.sink and "r" or "w")
  self.fd = nil
  return file
end

-- -- from the payload --

--- What is done with what has come: each reads once, and gives the number of bytes.
local TAKES <const> = {}

TAKES["function"] = function(self)
  local data, message, errno = sys.read(self.fd, CHUNK)
  if not data then return nil, message, errno end
  if data ~= "" then self.sink(data) end
  return #data
end

function TAKES.relay(self)
  local data, message, errno = sys.read(self.fd, CHUNK)
  if not data then return nil, message, errno end
  if data ~= "" then self.pending, self.at = data, 1 end
  while self.pending and sys.poll(0, self.sink, "w") do
    local ok
    ok, message, errno = self:forward()
    if not ok then return nil, message, errno end
  end
  return #data
end

--- What has no room any more is read nevertheless: the payload must not wait for us.
function TAKES.capture(self)
  if self.room > 0 then
    local n, message, errno = self.store:read(self.fd, math.min(self.room, LARGE_PIPE))
    if n then self.room = self.room - n end
    return n, message, errno
  end
  local data, message, errno = sys.read(self.fd, CHUNK)
  if data and data ~= "" then self.truncated = true end
  return data and #data, message, errno
end
TAKES.spool = TAKES.capture

--- Moves what has come; a read of a non-blocking pipe. Returns as move.
function Stream:take()
  local n, _, errno = TAKES[self.kind](self)
  if errno == EIO and self.is_terminal then n = 0 end -- nobody has its other side any more
  if not n then
    if errno == EAGAIN or errno == EINTR then return false end
    return self:fail(errno)
  end
  if n == 0 then self:close() end
  if n >= CHUNK and self.fd and not self.large then -- there is much: larger steps, where the system allows that
    self.large = true
    sys.pipe_size(self.fd, LARGE_PIPE)
  end
  return true
end

--- A piece of what is pending, small enough for a pipe that is ready to take it whole; when nobody reads
--- our stream any more, the payload is told in the usual way.
-- @treturn[1] true
-- @treturn[2] nil when it cannot be written
-- @treturn[2] string
-- @treturn[2] integer errno
function Stream:forward()
  local n, message, errno = sys.write(self.sink, self.pending:sub(self.at, self.at + PIPE_BUF - 1))
  if not n and (errno == EAGAIN or errno == EINTR) then return true end
  self.at = self.at + (n or 0)
  if not n or self.at > #self.pending then self.pending = nil end
  if n then return true end
  self:close()
  local is_gone = errno == EPIPE or errno == EIO and self.is_terminal
  return is_gone or nil, message, errno
end

--- What was captured, or nil: text, or a file.
function Stream:content()
  if self.store then return self.store:content() end
end

-- -- to the payload --

--- Asks the source for more, when there is nothing left; closes at its end.
function Stream:refill()
  self.data, self.at = self.source(), 1
  if self.data == nil then self:close()
  elseif type(self.data) ~= "string" then error("stdin: the function gave a " .. type(self.data) .. ", not a string", 0) end
end

--- Gives what goes into the payload's stdin at once.
function Stream:give()
  if not self.data then self:refill() end
  if not self.fd then return true end
  local n, _, errno = sys.write(self.fd, self.data, self.at)
  if n then self.at = self.at + n
  elseif errno ~= EAGAIN and errno ~= EINTR then self:close() end
  if self.at > #self.data then self.data = nil end
  return true
end

-- -- the three --

local Streams = {}
Streams.__index = Streams

local M = {}

--- Makes the pipes the payload's own: another user's it could not open again, as by /dev/stdout.
local function give(self, identity)
  if not (identity.host_uid and identity.privileged) then return self end
  for _, stream in pairs(self) do
    if stream.is_pipe then
      local ok, _, errno = sys.fchown(stream.theirs, identity.host_uid, identity.host_gid)
      if not ok then return nil, Error.new { step = "fchown of a pipe", errno = errno } end
    end
  end
  return self
end

--- Opens the streams of a run.
-- @tparam table options stdin, stdout, stderr, capture_limit
-- @tparam nslua.identity identity of the payload
-- @tparam[opt] nslua.terminal terminal that the payload gets in their place, but for a stderr that is said
-- @treturn[1] streams stdin, stdout, stderr
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.open(options, identity, terminal)
  local self = setmetatable({}, Streams)
  local owned, err
  if terminal then
    local makers = { new = new, once = once, room = options.capture_limit or KEPT.capture }
    self.stdin, self.stdout, err = terminal:streams(makers, options)
  else
    self.stdin, err = input(options.stdin)
    if self.stdin then self.stdout, err = output(options.stdout or "relay", 1, options.capture_limit) end
  end
  if self.stdout then
    if terminal and (not options.stderr or options.stderr == "stdout") then self.stderr = new { kind = "terminal" }
    elseif options.stderr == "stdout" then self.stderr = new { kind = "stdout", theirs = self.stdout.theirs }
    else self.stderr, err = output(options.stderr or "relay", 2, options.capture_limit) end
  end
  if self.stderr then owned, err = give(self, identity) end
  if owned then return self end
  for _, stream in pairs(self) do
    stream:handed_over()
    stream:close()
  end
  return nil, err
end

--- What to poll of the three, and what for.
function Streams:polled()
  local out_fd, out_for = self.stdout:polled()
  local err_fd, err_for = self.stderr:polled()
  return out_fd, out_for, err_fd, err_for, self.stdin:polled()
end

--- Moves those that are ready.
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Streams:move(stdout, stderr, stdin)
  local problem, _
  if stdout then _, problem = self.stdout:move() end
  if stderr and not problem then _, problem = self.stderr:move() end
  if stdin and not problem then _, problem = self.stdin:move() end
  return not problem, problem
end

function Streams:handed_over()
  for _, stream in pairs(self) do stream:handed_over() end
end

function Streams:close()
  for _, stream in pairs(self) do stream:close() end
end

--- What is still in a pipe, and no more than it holds: who is left may go on writing. What our own stream does not take
--- until some time is dropped.
local function drain(stream, deadline)
  local takes = LARGE_PIPE // CHUNK + 1
  while stream:polled() do
    local left = deadline and math.max(deadline - sys.clock(), 0)
    if not stream.pending then
      takes = takes - 1
      if takes < 0 then break end
      local taken, err = stream:take()
      if not taken then return not err, err end
    elseif sys.poll(left, stream:polled()) then
      local moved, err = stream:move()
      if not moved then return nil, err end
    elseif left == 0 then
      stream.truncated = true
      break
    end
  end
  return true
end

--- Moves what has been written so far.
-- @tparam[opt] number deadline of the monotonic clock
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Streams:catch_up(deadline)
  local out, errors = self.stdout, self.stderr
  local out_fd, out_for = out:polled()
  local is_ready, also = sys.poll(0, out_fd, out_for, errors:polled())
  if not (is_ready or also or out.pending or errors.pending) then return true end -- the buffer for a read is large
  local ok, err = drain(out, deadline)
  if ok then ok, err = drain(errors, deadline) end
  return ok, err
end

--- The end: what is written from now on nobody wants.
-- @tparam[opt] number deadline
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Streams:drain(deadline)
  local ok, err = self:catch_up(deadline)
  self:close()
  return ok, err
end

return M
