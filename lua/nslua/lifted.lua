--- What would let a payload lift the limits of its own control group: the files are its user's, as they are the caller's.
--
-- Mounted with nsdelegate, cgroup v2 lets nobody change a group's own limits who has that group as the root of its cgroup
-- namespace. Otherwise the payload must not get to see a hierarchy that it can write.
-- @module nslua.lifted
local within = require "nslua.path".within
local sys = require "nslua.sys"

local M = {}

--- Where what an entry shares is on the host.
local function source_of(item)
  local fd = item.options and item.options.from_fd
  if fd then return sys.readlink(("/proc/self/fd/%d"):format(type(fd) == "number" and fd or fd:fileno())) end
  return type(item.source) == "string" and item.source or item.verb.name == "host" and "/" or nil
end

local function is_writable(item, plan)
  return item.verb.name == "host" or (item:flags_in(plan) or ""):find "^rw" ~= nil
end

--- Whether one of the trees that a recipe shares is, has, or is part of a hierarchy.
local function shares(plan, mount)
  for _, item in ipairs(plan.entries) do
    local source = item.verb.bind and is_writable(item, plan) and source_of(item)
    if source and (within(mount, source) or within(source, mount)) then return true end
  end
end

--- Why the limits of its groups would not hold a payload, or nil.
-- @param plan with its files recorded
-- @tparam table groups of nslua.group_limits
-- @tparam boolean may_mount whether the payload may mount
-- @treturn ?string
function M.problem(plan, groups, may_mount)
  local identity = plan.identity
  if identity.new and not identity.map and identity.host_uid ~= identity.caller.uid then return nil end
  for _, place in ipairs(groups.places) do
    local protected = place.nsdelegate and plan.new.cgroup
    if not protected then
      if not plan.new.mount then return "the payload sees the control groups of its user as the caller does" end
      if may_mount and place.version == 2 then return "the payload may mount cgroup2, which is without nsdelegate here" end
      if shares(plan, place.mount) then return "a tree that is shared writable has the control groups of the payload's user" end
    end
  end
end

return M
