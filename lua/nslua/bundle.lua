--- One self-contained program of this host and a script: the sources are appended to a copy of the host's file, and where
--- they are is written into a place in it that the host looks at (csrc/host/bundle.c).
-- @module nslua.bundle
local Error = require "nslua.error"
local sys = require "nslua.sys"

local M = {}

local MAGIC <const> = table.concat { "nslua-bundle", "-at\0" } -- in two parts: as one it would stand here, too
local PLACE <const> = "=I8I8I8" -- offset, size, checksum
local MODE <const> = tonumber("755", 8)

--- FNV-1a.
local function checksum(data)
  local sum = 0xcbf29ce484222325
  for i = 1, #data do sum = (sum ~ data:byte(i)) * 0x100000001b3 end
  return sum
end

--- Lua source as code, with its lines; nil and a message when it is none.
local function compile(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read "a":gsub("^#[^\n]*", "")
  file:close()
  local chunk
  chunk, message = load(text, "@" .. path, "t")
  return chunk and string.dump(chunk), message
end

--- The host as it was before anything was appended to it.
local function read_host()
  local file, message = io.open("/proc/self/exe", "rb")
  if not file then return nil, message end
  local host = file:read "a"
  file:close()
  local at = host:find(MAGIC, 1, true)
  if not at or host:find(MAGIC, at + 1, true) then return nil, "this program has no place for a bundle" end
  return host, at + #MAGIC
end

local function content_of(script, modules)
  local lines = {}
  local code, message = compile(script)
  if not code then return nil, message end
  lines[1] = ("return { name = %q, code = %q, modules = {"):format("@" .. script, code)
  for name, path in pairs(modules) do
    code, message = compile(path)
    if not code then return nil, message end
    lines[#lines + 1] = ("[%q] = { name = %q, code = %q },"):format(name, "@" .. path, code)
  end
  lines[#lines + 1] = "} }"
  return table.concat(lines, "\n")
end

--- All of it, or nil and a message.
local function write_all(file, data)
  local at = 1
  while at <= #data do
    local n, message = sys.write(file, data, at)
    if not n then return nil, message end
    at = at + n
  end
  return true
end

--- The new file bears a name that nothing bears yet: in a directory that others may write, too, that would not be ours to
--- write to.
local function write_program(path, parts)
  local temporary = ("%s.%d"):format(path, sys.getpid())
  local file, message = sys.open(nil, temporary, { "write", "create", "exclusive" })
  if not file then return nil, message end
  local ok
  ok, message = write_all(file, table.concat(parts))
  file:close()
  if ok then ok, message = sys.chmod(nil, temporary, MODE) end
  if ok then ok, message = os.rename(temporary, path) end
  if ok then return true end
  os.remove(temporary)
  return nil, message
end

--- Makes a program of this host and a script.
-- @tparam string script its path; a sandbox that it returns runs the program's arguments
-- @tparam table modules name -> path of Lua modules that it requires, besides those of nslua
-- @tparam string program the path of what is made
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.make(script, modules, program)
  local host, place = read_host()
  local content, message = content_of(script, modules)
  local ok = false
  if host and content then
    local filled = PLACE:pack(#host, #content, checksum(content))
    ok, message = write_program(program, { host:sub(1, place - 1), filled, host:sub(place + #filled), content })
  end
  if ok then return true end
  return nil, Error.new { step = "bundle " .. program, reason = not host and place or message }
end

--- What a bundle holds: its script, with its modules ready to be required.
-- @tparam string content
-- @treturn function
function M.open(content)
  local bundle = assert(load(content, "=bundle", "t", {}))()
  for name, module in pairs(bundle.modules) do package.preload[name] = assert(load(module.code, module.name, "b")) end
  return assert(load(bundle.code, bundle.name, "b"))
end

return M
