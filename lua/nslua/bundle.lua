--- One self-contained program of this host and a script, whose code is appended to a copy of the host's file.
-- @module nslua.bundle
local Error = require "nslua.error"
local appended = require "nslua.appended"
local file = require "nslua.file"

local M = {}

--- Lua source as code, with its lines; nil and a message when it is none.
local function compile(path)
  local text, message = file.read(path)
  if not text then return nil, message end
  local chunk
  chunk, message = load((text:gsub("^#[^\n]*", "")), "@" .. path, "t")
  return chunk and string.dump(chunk), message
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

--- Makes a program of this host and a script.
-- @tparam string script its path; a sandbox that it returns runs the program's arguments
-- @tparam table modules name -> path of Lua modules that it requires, besides those of nslua
-- @tparam string program the path of what is made
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.make(script, modules, program)
  local content, message = content_of(script, modules)
  local host, made, ok
  if content then host, message = appended.host() end
  if host then made, message = appended.append(host, "bundle", content) end
  if made then ok, message = appended.write(program, made) end
  if ok then return true end
  return nil, Error.new { step = "bundle " .. program, reason = message }
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
