--- A terminal of the payload's own, a pty whose master we have: what is typed there and what comes out of it, its size.
--
-- What comes on our stdin is typed there, and what it shows goes to our stdout, while process:wait() waits; then a
-- terminal of ours is in raw mode. The options stdin and stdout of a run may say otherwise; with "pipe" for both,
-- process.terminal is to be read and written.
-- @classmod nslua.terminal
local Error = require "nslua.error"
local sys = require "nslua.sys"

local EINTR <const>, EIO <const>, EAGAIN <const>, EMFILE <const> = 4, 5, 11, 24
local ROWS <const>, COLUMNS <const> = 24, 80
local END_OF_FILE <const> = "\4" -- ^D, as every terminal has it until somebody changes that

local Terminal = { __name = "nslua.terminal" }
Terminal.__index = Terminal

--- The terminal of ours that the payload's is like.
local function own_terminal() return sys.isatty(0) and 0 or sys.isatty(1) and 1 or nil end

--- Prepares a terminal; there is none yet.
-- @tparam table options tty, stdin, stdout of a run
-- @treturn[1] nslua.terminal
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Terminal.new(options)
  local tty, own = options.tty, own_terminal()
  local self = setmetatable({ rows = tty.rows, columns = tty.columns }, Terminal)
  self.follows = not (tty.rows or tty.columns) and own
  self:measure()
  if options.stdin == nil and own == 0 then
    local err
    self.raw, err = require("nslua.raw").of(0)
    if not self.raw then return nil, err end
  end
  return self
end

--- Whether our own terminal has another size by now.
function Terminal:measure()
  local rows, columns
  if self.follows then rows, columns = sys.get_window_size(self.follows) end
  if not columns or rows == 0 or columns == 0 then rows, columns = self.rows or ROWS, self.columns or COLUMNS end
  local changed = rows ~= self.rows or columns ~= self.columns
  self.rows, self.columns = rows, columns
  return changed
end

-- -- the streams --

--- The sign that nothing more is typed; behind an unfinished line a first one only hands that over.
local function end_after(data)
  return (data == "" or data:sub(-1) == "\n") and END_OF_FILE or END_OF_FILE .. END_OF_FILE
end

--- At the end of what we are given to type, the terminal's own sign of it is typed.
local function take_typed(stream, once)
  local data, _, errno = sys.read(stream.fd, 4096)
  if data and data ~= "" then
    stream.pending, stream.at, stream.last = data, 1, data:sub(-1)
  elseif data or errno ~= EAGAIN and errno ~= EINTR then
    stream.fd:close()
    stream.fd, stream.source = sys.duplicate(stream.sink), once(end_after(stream.last))
  end
end

--- What is typed, by the option stdin: without it, what comes on ours.
local function typed(makers, value)
  local new, once = makers.new, makers.once
  if value == "null" or value == "pipe" then return new { kind = "terminal" } end
  local data = type(value) == "table" and value.data or value
  if data then return new { kind = "data", source = once(data .. end_after(data)) } end
  local fd, _, errno = sys.duplicate(0)
  if not fd then return nil, Error.new { step = "stdin", errno = errno } end
  return new { kind = "relay", fd = fd, last = "", take = function(stream) return take_typed(stream, once) end }
end

--- The streams on the master, when it is there.
-- @tparam table makers new and once of nslua.streams, and room, the bytes that are kept of what is captured
-- @tparam table options stdin, stdout
-- @treturn[1] stream what is typed
-- @treturn[1] stream what is shown
-- @return[2] nil, nil and an nslua.error
function Terminal:streams(makers, options)
  local err
  self.typed, err = typed(makers, options.stdin)
  if not self.typed then return nil, nil, err end
  self.is_driven = options.stdout == "pipe"
  self.shown = makers.new {
    kind = self.is_driven and "terminal" or options.stdout or "relay", is_terminal = true, sink = 1,
    store = options.stdout == "capture" and sys.buffer() or nil, room = makers.room,
  }
  return self.typed, self.shown
end

-- -- the pty --

--- Records a new terminal of a devpts, whose master goes to the maker: the payload never has it.
-- @param section of a plan
-- @param dirfd of the devpts, or nil
-- @tparam string path of its ptmx
-- @return a register of the slave
function Terminal.record_new(section, dirfd, path)
  local master = section:open(dirfd, path, { "read_write", "nonblock", "noctty" })
  section:expect_device(master, "char", 5, 2)
  local slave = section:pty_slave(master)
  section:hand_over(master)
  section:close(master)
  return slave
end

--- What the payload does with it, in its new session.
function Terminal:record(section, slave)
  section:controlling_terminal(slave)
  section:set_window_size(slave, self.rows, self.columns)
  if self.raw then section:tcsetattr(slave, self.raw.before) end
end

local function failed(errno) return nil, Error.new { step = "terminal", errno = errno } end

--- We have the master: what is typed and shown goes through it. As long as we have the slave, too, a payload that
-- lets go of its terminal for a moment does not lose it; who drives the terminal wants to see that it is let go.
-- @tparam ?fd master nil: there was no number free for it
function Terminal:connect(master)
  if not master then return failed(EMFILE) end
  self.master = master
  if self.is_driven then return true end
  local _, errno
  if not self.slave then
    self.slave, _, errno = sys.pty_slave(master)
    if not self.slave then return failed(errno) end
  end
  self.shown.fd, _, errno = sys.duplicate(master)
  if not self.shown.fd then return failed(errno) end
  if self.typed.kind == "relay" then self.typed.sink = master end
  if self.typed.kind ~= "data" then return true end
  self.typed.fd, _, errno = sys.duplicate(master)
  if not self.typed.fd then return failed(errno) end
  return true
end

--- A pty of the host's, for a sandbox that has no devpts of its own. As a pipe, it is made the payload's.
function Terminal:open(identity)
  local master, _, errno = sys.open(nil, "/dev/ptmx", { "read_write", "nonblock", "noctty" })
  if not master then return failed(errno) end
  self.slave, _, errno = sys.pty_slave(master)
  if not self.slave then return failed(errno) end
  if identity.host_uid and identity.privileged then
    local ok
    ok, _, errno = sys.fchown(self.slave, identity.host_uid, identity.host_gid)
    if not ok then return failed(errno) end
  end
  return self:connect(master)
end

-- -- while the payload runs --

--- Raw mode, until what is returned is closed; nil where it is not ours to take.
function Terminal:enter()
  self:follow()
  return self.raw and self.raw:enter()
end

--- The payload's terminal becomes as large as ours; and hangs up when nobody takes any more what it shows.
function Terminal:follow()
  if self.follows and self:measure() then self:resize(self.rows, self.columns) end
  if not (self.is_driven or self.shown.fd) then
    self.typed:close()
    self:close()
  end
end

function Terminal:resize(rows, columns)
  if not self.master then return failed(EIO) end
  local ok, _, errno = sys.set_window_size(self.master, rows, columns)
  if not ok then return failed(errno) end
  return true
end

--- The payload has its side of a terminal that is driven: from now on its letting go of it is seen.
function Terminal:handed_over()
  if not (self.is_driven and self.slave) then return end
  self.slave:close()
  self.slave = nil
end

--- The payload has ended. What is left in a terminal that is driven can still be read.
function Terminal:finish()
  if not self.is_driven then self:close() end
end

function Terminal:close()
  for _, name in ipairs { "master", "slave", "raw" } do
    if self[name] then self[name]:close() end
    self[name] = nil
  end
end

-- -- driving it --

--- What the terminal shows next.
-- @tparam[opt] number seconds to wait for it at most
-- @treturn[1] string
-- @treturn[2] nil when the payload has let go of it, or it is closed
-- @treturn[3] false after the time
function Terminal:read(seconds)
  if not self.master then return nil end
  if not sys.poll(seconds, self.master, "r") then return false end
  return (sys.read(self.master))
end

--- Types.
-- @tparam string data
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Terminal:write(data)
  if not self.master then return failed(EIO) end
  local at = 1
  while at <= #data do
    sys.poll(nil, self.master, "w")
    local n, _, errno = sys.write(self.master, data, at)
    if not n and errno ~= EAGAIN and errno ~= EINTR then return failed(errno) end
    at = at + (n or 0)
  end
  return true
end

return Terminal
