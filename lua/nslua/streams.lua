--- The standard streams of a run: what the payload gets, and what we do with the other end.
-- @module nslua.streams
local Error = require "nslua.error"
local sys = require "nslua.sys"

local CAPTURE_LIMIT <const> = 64 << 20

local M = {}

local Stream = {}
Stream.__index = Stream

local function is_handle(value) return io.type(value) == "file" or type(value) == "userdata" end

local function misuse(name, expected) error(("%s must be %s"):format(name, expected), 0) end

--- A pipe from the payload to us, or from us to the payload.
local function reader(kind, sink)
  local ours, theirs, errno = sys.pipe(true, false)
  if not ours then return nil, Error.new { step = "pipe", errno = errno } end
  return setmetatable({ kind = kind, fd = ours, theirs = theirs, sink = sink, chunks = {}, size = 0 }, Stream)
end

local function writer(kind, data)
  local theirs, ours, errno = sys.pipe(false, true)
  if not theirs then return nil, Error.new { step = "pipe", errno = errno } end
  return setmetatable({ kind = kind, fd = ours, theirs = theirs, data = data, at = 1 }, Stream)
end

local function opened(path, mode)
  local fd, message, errno = sys.open(nil, path, mode)
  if not fd then return nil, Error.new { step = path, errno = errno, reason = not errno and message or nil } end
  return setmetatable({ kind = "file", theirs = fd }, Stream)
end

local function given(value) return setmetatable({ kind = "file", theirs = value }, Stream) end

--- stdin: "null", "inherit", "pipe", a file or fd, any other string (or { data = string }) as content.
function M.input(value)
  if value == nil or value == "null" then return opened("/dev/null", "read") end
  if value == "inherit" then return given(0) end
  if value == "pipe" then
    local stream, err = writer("pipe")
    return stream, err
  end
  if is_handle(value) then return given(value) end
  if type(value) == "table" then value = rawget(value, "data") end
  if type(value) ~= "string" then misuse("stdin", "\"null\", \"inherit\", \"pipe\", a file or content") end
  return writer("data", value)
end

--- stdout and stderr: "null", "relay", "capture", "pipe", "inherit", a file or fd.
function M.output(name, number, value)
  if value == "null" then return opened("/dev/null", "write") end
  if value == "inherit" then return given(number) end
  if value == "relay" then return reader("relay", number) end
  if value == "capture" or value == "pipe" then return reader(value) end
  if is_handle(value) then return given(value) end
  misuse(name, "\"null\", \"relay\", \"capture\", \"pipe\", \"inherit\" or a file")
end

--- Whether we have to move bytes while the payload runs.
function Stream:active() return self.fd and self.kind ~= "pipe" end

--- The payload has its end now.
function Stream:started()
  if self.fd then self.theirs:close() elseif self.kind == "file" and type(self.theirs) ~= "number"
    and io.type(self.theirs) == nil and not self.borrowed then self.theirs = nil end
end

function Stream:close()
  if self.fd then self.fd:close() end
  self.fd = nil
end

--- Moves what has come; a read of a non-blocking pipe. False when nothing was there.
function Stream:take()
  local data, _, errno = sys.read(self.fd, 65536)
  if not data then
    if errno ~= 11 then self:close() end -- EAGAIN
    return false
  end
  if data == "" then
    self:close()
  elseif self.kind == "relay" then
    self:forward(data)
  else
    self:keep(data)
  end
  return true
end

--- To our own stream; when nobody reads that any more, the payload is told in the usual way.
function Stream:forward(data)
  local at = 1
  while at <= #data do
    local n, _, errno = sys.write(self.sink, data, at)
    if n then at = at + n
    elseif errno == 11 then sys.poll(nil, self.sink, "w") -- EAGAIN
    elseif errno ~= 4 then return self:close() end -- EINTR
  end
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
  elseif errno ~= 11 and errno ~= 4 then return self:close() end
  if self.at > #self.data then self:close() end
end

--- What was captured, or nil.
function Stream:content()
  if self.kind == "capture" then return table.concat(self.chunks) end
end

return M
