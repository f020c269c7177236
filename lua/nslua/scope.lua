--- A control group asked of the user's systemd, where no other is the user's to change: a transient scope for one sandbox,
-- delegated, in which we make the sandbox's own. systemd takes it away when nothing lives in it any more.
-- @module nslua.scope
local Error = require "nslua.error"
local helper = require "nslua.helper"
local hierarchy = require "nslua.hierarchy"
local sys = require "nslua.sys"

local M = {}

local PROGRAM <const> = "busctl"
local MANAGER <const> = "org.freedesktop.systemd1"
local WAIT <const>, PAUSE <const> = 10, 0.002 -- seconds until systemd has moved a process, and between looks

local function runtime_directory() return os.getenv "XDG_RUNTIME_DIR" or ("/run/user/%d"):format(sys.identity().uid) end

--- The controllers that the user's systemd can pass on; nil when the user has none.
-- @tparam string mount of cgroup v2
function M.controllers(mount)
  if not sys.stat(runtime_directory() .. "/bus") or not helper.find(PROGRAM) then return nil end
  local uid = sys.identity().uid
  local own = ("%s/user.slice/user-%d.slice/user@%d.service"):format(mount, uid, uid)
  return sys.stat(own) and hierarchy.words(own .. "/cgroup.controllers")
end

--- Asks for a scope with this process in it.
local function ask(name, pid)
  local words = {
    "--user", "--quiet", "call", MANAGER, "/org/freedesktop/systemd1", MANAGER .. ".Manager", "StartTransientUnit",
    "ssa(sv)a(sa(sv))", name, "fail",
    "4", "Description", "s", "a sandbox of nslua", "PIDs", "au", "1", ("%d"):format(pid), "Delegate", "b", "true",
    "CollectMode", "s", "inactive-or-failed", "0",
  }
  local env = { XDG_RUNTIME_DIR = runtime_directory(), DBUS_SESSION_BUS_ADDRESS = os.getenv "DBUS_SESSION_BUS_ADDRESS" }
  return helper.run(PROGRAM, words, env, "it asks systemd for a control group (Debian: systemd)")
end

local asked = 0

--- Makes a scope around a process.
-- @tparam integer pid that is our child
-- @treturn[1] string the directory of its control group
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.new(pid)
  asked = asked + 1
  local name = ("nslua-%d-%d.scope"):format(sys.getpid(), asked)
  local result, err = ask(name, pid)
  if not result then return nil, err end
  local step = "scope of systemd " .. name
  if not result.ok then return nil, Error.new { step = step, reason = (result.stderr:gsub("%s+$", "")) } end
  local limit = sys.clock() + WAIT
  repeat
    local directory = hierarchy.group_of(pid)
    if directory and directory:sub(-#name) == name then return directory end
    sys.poll(PAUSE)
  until sys.clock() > limit
  return nil, Error.new { step = step, reason = ("systemd has not moved process %d into it within %d s"):format(pid, WAIT) }
end

return M
