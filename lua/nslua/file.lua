--- Files as text.
-- @module nslua.file
local M = {}

--- All that a file has.
-- @tparam string path
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string
-- @treturn[2] integer errno
function M.read(path)
  local file <close>, message, errno = io.open(path)
  if not file then return nil, message, errno end
  return file:read "a"
end

return M
