--- Programs of the system that do what only they may: by absolute path, with nothing of ours but the words they are given.
-- @module nslua.helper
local Error = require "nslua.error"
local sys = require "nslua.sys"

local M = {}

local DIRECTORIES <const> = { "/usr/bin/", "/bin/", "/usr/local/bin/" }
local TIME <const> = 30 -- seconds

--- Where a program is, or nil.
function M.find(name)
  for _, directory in ipairs(DIRECTORIES) do
    if sys.stat(directory .. name) then return directory .. name end
  end
end

--- Runs one, as it wants to be: with its privileges, outside of any namespace of ours.
-- @tparam string name
-- @tparam table words
-- @tparam ?table env variables that it gets
-- @tparam string what_for what it does, and where it comes from, for the hint
-- @treturn[1] result
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.run(name, words, env, what_for)
  local program = M.find(name)
  if not program then return nil, Error.new { step = name, reason = "it is not installed", hint = what_for } end
  local box = require "nslua.sandbox".sandbox {
    namespaces = {}, no_new_privs = false, seccomp = false, landlock = false, cwd = "/", env = env,
  }
  return box:run { program, stdout = "null", stderr = "capture", timeout = TIME, table.unpack(words) }
end

return M
