--- Recipe files: Lua that sees nslua's names without `require`, and returns a sandbox.
-- @module nslua.load
local M = {}

local NAMES <const> = { sandbox = true, fs = true, sys = true, ns = true, unset = true, nslua = true }

--- Makes nslua's names globals of an environment, looked up when they are first used.
function M.add_names(env)
  local meta = getmetatable(env) or {}
  local outer = meta.__index
  meta.__index = function(t, key)
    if NAMES[key] then
      local nslua = require "nslua"
      return key == "nslua" and nslua or nslua[key]
    end
    if type(outer) == "function" then return outer(t, key) end
    return outer and outer[key]
  end
  return setmetatable(env, meta)
end

--- Compiles a file to a function. A to-be-closed local in front keeps `return sandbox{ … }` from being
-- a tail call, which would lose the line it stands on.
-- @treturn[1] function
-- @treturn[2] nil
-- @treturn[2] string
function M.chunk(path, env)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local code = file:read "a"
  file:close()
  if not code then return nil, path .. ": cannot be read" end
  if code:sub(1, 1) == "#" then code = "--" .. code end
  if code:sub(1, 1) == "\27" then return nil, path .. ": is precompiled, not Lua source" end
  return load("local _ <close> = nil; " .. code, "@" .. path, "t", env)
end

--- What an untrusted recipe may use of Lua: it can compute, and describe a sandbox.
local function restricted()
  local env = { sandbox = true, fs = true, unset = true }
  for name in pairs(env) do env[name] = require("nslua")[name] end
  for _, name in ipairs { "assert", "error", "ipairs", "next", "pairs", "select", "tonumber", "tostring", "type" } do
    env[name] = _G[name]
  end
  for _, library in ipairs { "math", "string", "table", "utf8" } do
    env[library] = {}
    for name, value in pairs(_G[library]) do env[library][name] = value end
  end
  return env
end

--- Loads a recipe file.
-- @tparam string path
-- @tparam[opt] table options untrusted = true: the recipe sees no io, os, require, sys; what it describes
--   is still the sandbox that its author wants: look at explain() before running it
-- @treturn[1] sandbox
-- @treturn[2] nil
-- @treturn[2] string
function M.load(path, options)
  local env = options and options.untrusted and restricted() or M.add_names(setmetatable({}, { __index = _G }))
  local chunk, message = M.chunk(path, env)
  if not chunk then return nil, message end
  local box = chunk()
  if not require("nslua.sandbox").is(box) then return nil, path .. ": does not return a sandbox" end
  return box
end

return M
