--- Files as text.
-- @module nslua.file
local M = {}

--- All that a file has.
-- @tparam string path
-- @tparam[opt] integer most bytes, where somebody else may have made it as long as he likes
-- @treturn[1] string; nil at once with `most` of an empty file
-- @treturn[2] nil
-- @treturn[2] string
-- @treturn[2] integer errno
function M.read(path, most)
  local file <close>, message, errno = io.open(path)
  if not file then return nil, message, errno end
  return file:read(most or "a")
end

return M
