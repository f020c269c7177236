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

--- Whether a path says nothing twice, as most do; not of each that does not.
function M.is_tidy(path) return not path:find "/[/.]" and not path:find "/$" end

--- A path without what it says twice: "/a//./b/" is "/a/b".
function M.tidy(path)
  if M.is_tidy(path) then return path end
  local short = path:gsub("/%.%f[/\0]", ""):gsub("/+", "/"):gsub("(.)/$", "%1")
  return short == "" and "/" or short
end

return M
