--- When and where the payload runs: what a recipe may say of it, and how it is recorded.
-- @module nslua.scheduling
local check = require "nslua.check"

local M = {}

-- What ionice(1) takes when no level is said. The class idle has none.
local DEFAULT_LEVEL <const> = 4
local CLASSES <const> = { "idle", "best-effort", "realtime" }

-- Processors that sched_setaffinity of csrc/kernel/scheduling.c knows.
local MAX_CPUS <const> = 4096

local class = check.one_of(CLASSES)
local class_and_level = check.record { class = class, level = check.integer(0, 7) }

local function ionice(value)
  local good, problem
  if type(value) == "table" then
    good, problem = class_and_level(value)
    if not good then return nil, problem end
    if not good.class or good.class == "idle" and good.level then
      return nil, "{ class =, level = }, the level with 'best-effort' and 'realtime' only"
    end
  else
    good, problem = class(value)
    if not good then return nil, problem .. ", or { class =, level = }" end
    good = { class = good }
  end
  if good.class ~= "idle" then good.level = good.level or DEFAULT_LEVEL end
  return good
end

local cpu_list = check.list_of(check.integer(0, MAX_CPUS - 1))

--- Numbers of CPUs, at least one.
function M.cpus(value)
  local good, problem = cpu_list(value)
  if not good then return nil, problem end
  if #good == 0 then return nil, "a list of at least one CPU's number" end
  return good
end

--- The type of the field.
M.type = check.record {
  nice = check.integer(-20, 19), ionice = ionice, oom_score_adj = check.integer(-1000, 1000), affinity = M.cpus,
  core = check.boolean,
}

--- The field with an affinity that the recipe does not name itself.
function M.with(wanted, affinity)
  if not affinity or wanted and wanted.affinity then return wanted end
  local copy = { affinity = affinity }
  for name, value in pairs(wanted or {}) do copy[name] = value end
  return copy
end

--- Records the set-up's part. What the stage is for the OOM killer, the payload inherits: the file is of /proc, where
--- only the stage has its own at hand. Being much smaller, the stage is not killed before its payload.
-- @param plan of nslua.plan
-- @tparam ?table wanted the field
function M.record_setup(plan, wanted)
  if not wanted or not wanted.oom_score_adj then return end
  plan:owner "oom_score_adj"
  plan.setup:write(plan:proc_file "oom_score_adj", ("%d"):format(wanted.oom_score_adj))
end

--- Records the payload's part, which the reaper has none of. While the capabilities of a caller without a new user
--- namespace and its limit on nice are still there: raising a priority needs one of them.
-- @param section of a plan
-- @tparam ?table wanted the field
function M.record(section, wanted)
  wanted = wanted or {}
  if wanted.nice then section:setpriority(wanted.nice) end
  if wanted.ionice then section:ioprio_set(wanted.ionice.class, wanted.ionice.level) end
  if wanted.affinity then section:sched_setaffinity(wanted.affinity) end
  -- ENODEV: a core has one hardware thread, so nobody shares it at a time.
  if wanted.core then section:tolerate("ENODEV"):core_scheduling() end
end

return M
