--- The standard streams of a run: what the payload gets, and what we do with the other end.
-- @module nslua.streams
local Error = require "nslua.error"
local sys = require "nslua.sys"

local CAPTURE_LIMIT <const> = 64 << 20
local EINTR <const>, EAGAIN <const> = 4, 11
local PIPE_BUF <const> = 4096

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

--- A descriptor of the caller's. A directory, or a bare path, would lead out of the sandbox.
local function given(kind, value)
  local status, _, errno = sys.fstat(value)
  if not status then return nil, Error.new { step = kind, errno = errno } end
  if status.type == "directory" or status.path_only then
    return nil, Error.new { step = kind, reason = "a directory or O_PATH descriptor is not passed to a payload" }
  end
  return new { kind = kind, theirs = value }
end

--- stdin: "null", "inherit", "pipe", a file or fd, any other string (or { data = string }) as content.
local function input(value)
  if value == nil or value == "null" then return null "read" end
  if value == "inherit" then return given("inherit", 0) end
  if value == "pipe" then return pipe("pipe", true, {}) end
  if type(value) == "string" then return pipe("data", true, { data = value, at = 1 }) end
  if type(value) == "table" then return pipe("data", true, { data = value.data, at = 1 }) end
  return given("file", value)
end

--- stdout and stderr: "null", "relay", "capture", "pipe", "inherit", a file or fd.
local function output(value, number)
  if value == "null" then return null "write" end
  if value == "inherit" then return given("inherit", number) end
  if type(value) == "string" then return pipe(value, false, { sink = number, chunks = {}, size = 0 }) end
  return given("file", value)
end

--- What to poll, and what for: bytes that we have to move while the payload runs. What is relayed waits
--- for our own stream to take it, so that nobody who does not read can hold us up. A pipe is moved by
--- its user.
function Stream:polled()
  if not self.fd or self.kind == "pipe" then return false, "r" end
  if self.pending then return self.sink, "w" end
  return self.fd, self.data and "w" or "r"
end

--- Does what was polled for.
function Stream:move()
  if self.data then return self:give() end
  if self.pending then return self:forward() end
  return self:take()
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
  local file = self.fd:file(self.data == nil and self.sink and "r" or "w")
  self.fd = nil
  return file
end

--- Moves what has come; a read of a non-blocking pipe. False when nothing was there.
function Stream:take()
  local data, _, errno = sys.read(self.fd, 65536)
  if not data then
    if errno ~= EAGAIN and errno ~= EINTR then self:close() end
    return false
  end
  if data == "" then
    self:close()
  elseif self.kind == "relay" then
    self.pending, self.at = data, 1
  else
    self:keep(data)
  end
  return true
end

--- A piece of what is pending, small enough for a pipe that is ready to take it whole; when nobody reads
--- our stream any more, the payload is told in the usual way.
function Stream:forward()
  local n, _, errno = sys.write(self.sink, self.pending:sub(self.at, self.at + PIPE_BUF - 1))
  if n then self.at = self.at + n
  elseif errno ~= EAGAIN and errno ~= EINTR then return self:close() end
  if self.at > #self.pending then self.pending = nil end
end

function Stream:keep(data)
  local room = CAPTURE_LIMIT - self.size
  if #data > room then
    self.truncated = true
    data = data:sub(1, room)
  end
  self.chunks[#self.chunks + 1] = data
  self.size = self.size + #data
end

--- Gives what goes into the payload's stdin at once.
function Stream:give()
  local n, _, errno = sys.write(self.fd, self.data, self.at)
  if n then self.at = self.at + n
  elseif errno ~= EAGAIN and errno ~= EINTR then return self:close() end
  if self.at > #self.data then self:close() end
end

--- What was captured, or nil.
function Stream:content()
  if self.kind == "capture" then return table.concat(self.chunks) end
end

-- -- the three --

local Streams = {}
Streams.__index = Streams

local M = {}

--- Makes the pipes the payload's own: another user's it could not open again, as by /dev/stdout.
local function give(self, identity)
  if not (identity.new and identity.privileged) then return self end
  for _, stream in pairs(self) do
    if stream.is_pipe then
      local ok, _, errno = sys.fchown(stream.theirs, identity.host_uid, identity.host_gid)
      if not ok then return nil, Error.new { step = "fchown of a pipe", errno = errno } end
    end
  end
  return self
end

--- Opens the streams of a run.
-- @tparam table options stdin, stdout, stderr
-- @tparam nslua.identity identity of the payload
-- @tparam[opt] nslua.terminal terminal that the payload gets in their place, but for a stderr that is said
-- @treturn[1] streams stdin, stdout, stderr
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.open(options, identity, terminal)
  local self = setmetatable({}, Streams)
  local owned, err
  if terminal then
    self.stdin, self.stdout, err = terminal:streams(new, options)
  else
    self.stdin, err = input(options.stdin)
    if self.stdin then self.stdout, err = output(options.stdout or "relay", 1) end
  end
  if self.stdout and terminal and not options.stderr then self.stderr = new { kind = "terminal" }
  elseif self.stdout then self.stderr, err = output(options.stderr or "relay", 2) end
  if self.stderr then owned, err = give(self, identity) end
  if owned then return self end
  for _, stream in pairs(self) do
    stream:handed_over()
    stream:close()
  end
  return nil, err
end

function Streams:handed_over()
  for _, stream in pairs(self) do stream:handed_over() end
end

function Streams:close()
  for _, stream in pairs(self) do stream:close() end
end

--- What is still in a pipe at the end. In haste, what our own stream does not take at once is dropped.
local function drain(stream, haste)
  while stream:polled() do
    if not stream.pending then
      if not stream:take() then return end
    elseif sys.poll(haste and 0 or nil, stream:polled()) then
      stream:forward()
    elseif haste then
      return
    end
  end
end

--- The end: nobody is left who could add anything.
function Streams:drain(haste)
  drain(self.stdout, haste)
  drain(self.stderr, haste)
  self:close()
end

return M
