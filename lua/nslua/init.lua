--- Linux namespace isolation, programmable.
-- @module nslua
local M = { _VERSION = "nslua scm-1" }

local lazy = {
  sandbox = function() return require("nslua.sandbox").sandbox end,
  unset = function() return require("nslua.sandbox").unset end,
  fs = function() return require "nslua.fs" end,
  sys = function() return require "nslua.sys" end,
  ns = function() return require "nslua.ns" end,
  wait_any = function() return require("nslua.wait_any").wait_any end,
  load = function() return require("nslua.load").load end,
}

--- The parts are loaded when they are first asked for; `require` alone does nothing.
return setmetatable(M, {
  __index = function(_, key)
    local get = lazy[key]
    if not get then return nil end
    M[key] = get()
    return M[key]
  end,
})
