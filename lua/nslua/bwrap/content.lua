--- What an fd of the command line has given, as a recipe names it.
-- @module nslua.bwrap.content
local die = require "nslua.bwrap.options".die
local quoted = require "nslua.bwrap.text".quoted
local sys = require "nslua.sys"

local SHORT <const> = 2000

local M = {}

--- The file that an fd has been opened as, where it still has that name.
-- @tparam integer fd
-- @treturn string|nil
function M.file_of(fd)
  local path = sys.readlink("/proc/self/fd/" .. fd)
  local named, open = path and path:sub(1, 1) == "/" and sys.stat(path), sys.fstat(fd)
  return named and open and named.inode == open.inode and named.device == open.device and path or nil
end

local function is_short_text(content) return #content <= SHORT and not content:find "[^\t\n\r\32-\126]" end

--- Its content: as text, or read from the file.
-- @tparam integer fd
-- @tparam string content
-- @treturn string Lua's words
-- @raise what options.die raises
function M.of(fd, content)
  if is_short_text(content) then return quoted(content) end
  local path = M.file_of(fd) or die("what fd %d gives is no short text: let it be a file that has a name", fd)
  return "read " .. quoted(path)
end

return M
