--- Paths as text: nothing is looked up.
-- @module nslua.path
local sys = require "nslua.sys"

local M = {}

--- Whether a path is another one, or lies below it.
function M.within(path, directory)
  return directory == "/" or path == directory or path:sub(1, #directory + 1) == directory .. "/"
end

--- A path from the root on; a relative one is meant from our own directory.
function M.absolute(path) return path:sub(1, 1) == "/" and path or sys.getcwd() .. "/" .. path end

return M
