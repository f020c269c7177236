--- Namespaces that a recipe joins, and what is new in them.
-- @module nslua.joins
local clock = require "nslua.clock"
local scheduling = require "nslua.scheduling"

local M = {}

--- How often the stage makes itself once more: to live in a PID namespace that it joins, as it does in a sandbox that is
--- entered only by its child; and as PID 1 of a new one there.
function M.times_remade(recipe, new, joined, target)
  if target or new.user then return 0 end
  return (joined.pid and 1 or 0) + (new.pid and (joined.user or joined.pid) and recipe.init ~= false and 1 or 0)
end

--- The fd of a namespace that a recipe joins. The kernel is not told its kind everywhere, and would join another.
local function handle_of(kind, wanted)
  local ns, step = require "nslua.ns", "namespace " .. kind
  if type(wanted) == "string" then
    local handle, err = ns.at(wanted, step .. " " .. wanted, kind)
    return handle and handle.fd, err
  end
  local actual, err = ns.kind_of(wanted, step, kind)
  return actual and wanted, err
end

--- Joins those of these kinds. A new user namespace has no say over what is joined: that comes before it, by a process of
--- ours that makes the stage.
local function record_joins_of(plan, joined, kinds)
  for _, kind in ipairs(kinds) do
    if joined[kind] then
      plan:owner("join namespace " .. kind)
      local handle, err = handle_of(kind, joined[kind])
      if not handle then return nil, err end
      plan.joined[kind] = handle
      if plan.new.user then table.insert(plan.joins, handle) else plan.setup:setns(handle, kind) end
    end
  end
  return true
end

--- What is new in a joined namespace is made from inside: its PID 1 by making the stage once more. What the stage does by
--- files of its own /proc comes before, and is inherited.
local function record_new_in_joined(plan, recipe, joined)
  if plan.remade > 0 then
    clock.record(plan, recipe.clock)
    scheduling.record_setup(plan, recipe.scheduling)
  end
  plan:owner "new namespaces"
  if joined.user then plan.setup:unshare(plan.unshared) end
  plan:owner "PID namespace"
  if joined.pid and plan.remade > 0 then plan.setup:remake {} end
  if plan.new.pid and plan.remade > 0 and not plan.payload_is_init then plan.setup:remake "pid" end
end

--- A file of the stage's own, from a /proc of the PID namespace that it has come to live in: it has other numbers there.
local function open_in_own_proc(setup, name)
  local here = setup:open(nil, ".", { "path", "directory" })
  local context = setup:fsopen "proc"
  setup:fsconfig(context)
  setup:fchdir(setup:fsmount(context))
  local file = setup:open(nil, name, "read")
  setup:fchdir(here)
  return file
end

--- The file of the stage's children, where there is no new PID namespace.
local function record_children(plan)
  if plan.new.pid or plan.lingers then return end
  plan:owner "reaper"
  plan.children = plan.remade > 0 and open_in_own_proc(plan.setup, "thread-self/children")
    or plan.setup:open(nil, "/proc/thread-self/children", "read")
end

--- Records what comes of the namespaces that are joined. Nobody who lives there may look into the stage; what is /proc there
--- is somebody else's.
-- @tparam nslua.plan plan
-- @tparam table recipe its fields
-- @tparam table joined kind → fd or path
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.record(plan, recipe, joined)
  plan:owner "user"
  if joined.user or plan.remade > 0 then plan.setup:dumpable(0) end
  local ok, err = record_joins_of(plan, joined, { "user", "cgroup", "ipc", "uts", "net", "pid" })
  if not ok then return nil, err end
  record_new_in_joined(plan, recipe, joined)
  record_children(plan)
  if joined.mount then
    plan:owner "namespaces"
    plan.own_namespaces = plan.setup:open(nil, "/proc/thread-self/ns", { "path", "directory" })
  end
  return record_joins_of(plan, joined, { "mount", "time" })
end

return M
