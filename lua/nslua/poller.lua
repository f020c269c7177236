--- What an event loop polls of a process: one fd that is readable when there is something for wait() to do. It is an
-- epoll(7) set of what wait() itself would poll.
-- @module nslua.poller
local Error = require "nslua.error"
local sys = require "nslua.sys"

local Poller = {}
Poller.__index = Poller

local M = {}

--- @treturn poller @raise nslua.error when there is no fd for it
function M.new()
  local fd, _, errno = sys.epoll()
  if not fd then error(Error.new { step = "epoll_create", errno = errno }, 0) end
  return setmetatable({ fd = fd, watched = {} }, Poller)
end

function Poller:fileno() return self.fd:fileno() end
function Poller:close() self.fd:close() end

local function number_of(fd) return math.type(fd) and fd or fd and fd:fileno() end

--- Watches these, in the place of those before: pairs as sys.poll takes, each kind always at the same place.
-- What was closed has left the set by itself.
function Poller:watch(...)
  for i = 1, select("#", ...), 2 do
    local fd, what = select(i, ...)
    local before, now = self.watched[i], number_of(fd)
    if before ~= now then
      if before then sys.epoll_watch(self.fd, before) end
      if now then sys.epoll_watch(self.fd, now, what) end
      self.watched[i] = now
    end
  end
end

return M
