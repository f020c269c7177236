--- A spool: what a payload writes, in a file without a name, for more than fits into memory.
-- @module nslua.spool
local Error = require "nslua.error"
local sys = require "nslua.sys"

local Spool = {}
Spool.__index = Spool

local M = {}

--- A new one, in the directory that TMPDIR names, or /tmp.
-- @treturn[1] spool
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.open()
  local directory = os.getenv "TMPDIR" or "/tmp"
  local fd, _, errno = sys.open(nil, directory, { "tmpfile", "read_write", "exclusive" })
  if fd then return setmetatable({ fd = fd }, Spool) end
  return nil, Error.new {
    op = "open", step = "spool file in " .. directory, path = directory, errno = errno,
    hint = "TMPDIR names another directory; it has to be writable, on a file system that knows O_TMPFILE",
  }
end

--- Moves what is in a pipe into the file, once.
function Spool:read(pipe, most) return sys.splice(pipe, self.fd, most) end

--- The file, to be read from its beginning; it closes and vanishes as any Lua file.
function Spool:content()
  local file = self.fd:file "r+"
  file:seek "set"
  return file
end

return M
