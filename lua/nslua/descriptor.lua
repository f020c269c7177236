--- The caller's descriptors that a payload is given.
-- @module nslua.descriptor
local Error = require "nslua.error"
local sys = require "nslua.sys"

local M = {}

--- A directory, or a bare path, would lead out of the sandbox: it is passed only when that is asked for.
-- @tparam string step for the error
-- @param fd
-- @tparam[opt] boolean directory whether it may be one, or a bare path
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.check(step, fd, directory)
  local status, _, errno = sys.fstat(fd)
  if not status then return nil, Error.new { step = step, errno = errno } end
  if not directory and (status.type == "directory" or status.path_only) then
    return nil, Error.new { step = step, reason = "a directory or O_PATH descriptor is not passed to a payload" }
  end
  return true
end

return M
