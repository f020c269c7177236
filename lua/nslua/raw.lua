--- Our own terminal while a payload has another one: raw, so that every key gets there, and afterwards as it was,
--- whatever becomes of us.
-- @classmod nslua.raw
local Error = require "nslua.error"
local sys = require "nslua.sys"

local FLUSH <const> = 1

local Raw = { __name = "nslua.raw" }
Raw.__index = Raw

--- A stage without a sandbox, in a session of its own: when we end without having restored the terminal, it does.
local function spawn_guard(fd, raw, before)
  local plan = sys.plan()
  local terminal = plan:register()
  plan:dumpable(0)
  plan:setsid()
  plan:restore_terminal(terminal, raw, before)
  local guard, step, errno = sys.spawn {
    operations = plan:bytes(), registers = plan:registers(), fds = { [terminal:number()] = fd }, namespaces = {},
  }
  if not guard then return nil, Error.new { step = "guard of the terminal: " .. step, errno = errno } end
  return guard
end

--- Raw mode, not yet entered.
-- @param fd of the terminal
-- @treturn[1] nslua.raw
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Raw.of(fd)
  local before, _, errno = sys.tcgetattr(fd)
  if not before then return nil, Error.new { step = "settings of the terminal", errno = errno } end
  local self = setmetatable({ fd = fd, before = before, raw = sys.raw_settings(before), maker = sys.getpid() }, Raw)
  local err
  self.guard, err = spawn_guard(fd, self.raw, before)
  if not self.guard then return nil, err end
  return self
end

--- Until what is returned is closed, the terminal is raw.
function Raw:enter()
  self.entered = sys.tcsetattr(self.fd, self.raw)
  return self
end

function Raw:__close() sys.tcsetattr(self.fd, self.before) end

--- The end: an answer of the terminal to what the payload has written must not become what our shell reads next.
function Raw:close()
  if not self.guard then return end
  if self.entered and self.maker == sys.getpid() then sys.tcsetattr(self.fd, self.before, FLUSH) end
  self.guard:close()
  self.guard = nil
end

return Raw
