--- What is appended to a copy of the host's file, and found by it through a place in the program that is written to, too
-- (csrc/host/appended.h).
-- @module nslua.appended
local file = require "nslua.file"
local sys = require "nslua.sys"

local M = {}

local MAGIC <const> = "nslua-%s-at\0" -- nowhere else in a host is there one with a name in it
local PLACE <const> = "=I8I8I8" -- offset, size, checksum
local WORD <const> = 8
local MODE <const> = tonumber("755", 8)

--- Fletcher's, of words of 64 bits, the last one (which may be none) filled up with zeros.
local function checksum(data)
  local sum, sums = 1, 0
  data = data .. ("\0"):rep(WORD - #data % WORD)
  for at = 1, #data, WORD do
    sum = sum + string.unpack("=I8", data, at)
    sums = sums + sum
  end
  return sum ~ sums << 1
end

--- The host's file.
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string why not
function M.host() return file.read "/proc/self/exe" end

--- A program with something appended.
-- @tparam string program its file
-- @tparam string name of the place
-- @tparam string content
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string why not
function M.append(program, name, content)
  local magic = MAGIC:format(name)
  local at = program:find(magic, 1, true)
  if not at or program:find(magic, at + 1, true) then return nil, "this program has no place for a " .. name end
  local filled = magic .. PLACE:pack(#program, #content, checksum(content))
  return table.concat { program:sub(1, at - 1), filled, program:sub(at + #filled), content }
end

--- All of it, or nil and a message.
local function write_all(to, data)
  local at = 1
  while at <= #data do
    local n, message = sys.write(to, data, at)
    if not n then return nil, message end
    at = at + n
  end
  return true
end

--- Writes a program. The new file bears a name that nothing bears yet: in a directory that others may write, too, that
-- would not be ours to write to.
-- @tparam string path
-- @tparam string program
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] string why not
function M.write(path, program)
  local temporary = ("%s.%d"):format(path, sys.getpid())
  local to, message = sys.open(nil, temporary, { "write", "create", "exclusive" })
  if not to then return nil, message end
  local ok
  ok, message = write_all(to, program)
  to:close()
  if ok then ok, message = sys.chmod(nil, temporary, MODE) end
  if ok then ok, message = os.rename(temporary, path) end
  if ok then return true end
  os.remove(temporary)
  return nil, message
end

return M
