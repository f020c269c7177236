--- Which of a recipe's limits control groups hold, and where; and what stands in for those that none can hold here.
-- @module nslua.group_limits
local Error = require "nslua.error"
local controllers = require "nslua.controllers"

local M = {}

--- The rows that a recipe wants, and their controllers, once each.
local function wanted(limits)
  local rows, names, seen = {}, {}, {}
  for _, row in ipairs(controllers.rows) do
    if limits[row.name] ~= nil then
      rows[#rows + 1] = row
      if not seen[row.controller] then names[#names + 1] = row.controller end
      seen[row.controller] = true
    end
  end
  return rows, names
end

local function refused(row, reason, hint)
  return nil, Error.new { step = "limits." .. row.name, reason = reason, hint = hint }
end

local WEAK_HINT <const> = "so it could lift the limit: a tree without them, and no nesting or sys_admin; or cgroup2 mounted with "
  .. "nsdelegate and a\n  new cgroup namespace; limits.best_effort = true does with what there is"

local Plan = {}
Plan.__index = Plan

local function new_plan(places, own_processes)
  local self = { own_processes = own_processes, places = places, registers = {}, held = {}, resources = {}, by_controller = {} }
  for _, place in ipairs(places) do
    place.writes = {}
    self.late = self.late or place.scope
    for _, name in ipairs(place.controllers) do self.by_controller[name] = place end
  end
  return setmetatable(self, Plan)
end

--- A limit that a group holds. The processes of ours in the group are not the payload's.
function Plan:add(place, row, value, limits)
  local writes, problem = row["v" .. place.version](row.name == "pids" and value + self.own_processes or value, limits)
  if not writes then return refused(row, problem) end
  for _, write in ipairs(writes) do
    write.name = row.name
    table.insert(place.writes, write)
  end
  self.held[row.name] = { value = value, by = "cgroup v" .. place.version }
  return true
end

--- Memory that is limited is not to go into swap instead, where the recipe says nothing and the kernel counts it.
function Plan:forbid_swap(row, limits)
  local place = self.by_controller[row.controller]
  if not place or not limits.memory or limits.swap then return end
  local write = row["v" .. place.version](0, limits)[1]
  write.name, write.optional = row.name, true
  table.insert(place.writes, write)
end

--- The payload can lift what its groups hold: an error, or with best_effort said in the result.
-- @tparam string why
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Plan:weaken(why, best_effort)
  for name, held in pairs(self.held) do
    local row = controllers.by_name[name]
    if self.by_controller[row.controller] then
      if not best_effort then return refused(row, why, WEAK_HINT) end
      held.by, held.reason = held.by .. ", as long as the payload leaves it", why
    end
  end
  return true
end

--- A limit without a group: what stands in for it, if something does.
function Plan:stand_in(row, value, reason)
  local without = row.without or {}
  local held = { value = value, by = "nothing", reason = reason }
  if without.resource then
    self.resources[without.resource] = { soft = value, hard = value }
    held.by = "setrlimit of " .. without.resource
  elseif without.affinity then
    self.affinity = value
    held.by = "sched_setaffinity"
  end
  self.held[row.name] = held
end

--- Decides.
-- @tparam table limits the field
-- @tparam integer own_processes how many of ours are in the group
-- @treturn[1] table places { version=, directory=, controllers=, writes= }, registers (empty), held (for the result),
--   resources of setrlimit(2) and affinity that stand in, late (the stage must wait for its group); or false when the
--   recipe wants no group
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.resolve(limits, own_processes)
  local rows, names = wanted(limits)
  if #rows == 0 then return false end
  local places, missing = require "nslua.hierarchy".places(names)
  local plan = new_plan(places, own_processes)
  for _, row in ipairs(rows) do
    local place, lack, value = plan.by_controller[row.controller], missing[row.controller], limits[row.name]
    local ok, err = true, nil
    if place then ok, err = plan:add(place, row, value, limits)
    elseif limits.best_effort then plan:stand_in(row, value, lack.reason)
    else ok, err = refused(row, lack.reason, lack.hint .. ";\n  limits.best_effort = true does without") end
    if not ok then return nil, err end
  end
  plan:forbid_swap(controllers.by_name.swap, limits)
  return plan
end

return M
