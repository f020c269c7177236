--- Limits of setrlimit(2): what a recipe may say of them, and what holds when it says nothing.
-- @module nslua.limits
local check = require "nslua.check"
local names = require "nslua.names"
local sys = require "nslua.sys"

local M = {}

local function or_none(accepts, what)
  return function(value)
    if value == "unlimited" then return -1 end
    if value == 0 then return 0 end
    local good = accepts(value)
    if good then return good end
    return nil, what .. " or \"unlimited\""
  end
end

local bytes = or_none(check.size, "a size in bytes, as 0, 4096 or \"64M\",")
local count = or_none(check.count, "an integer that is not negative")

--- The resources: their units.
local RESOURCES <const> = {
  as = bytes, core = bytes, data = bytes, fsize = bytes, memlock = bytes, msgqueue = bytes, rss = bytes, stack = bytes,
  cpu_time = count, locks = count, nice = count, nofile = count, nproc = count, rtprio = count, rttime = count,
  sigpending = count,
}

--- What the kernel calls otherwise: its `cpu` is the seconds of one process; in a recipe that is processors of a group.
local KERNEL_NAMES <const> = { cpu_time = "cpu" }

-- A core of 0 does not keep a piped core handler of the host from being started; 1 does.
local DEFAULTS <const> = { { "core", 1 }, { "memlock", 1 << 20 }, { "nice", 0 }, { "rtprio", 0 } }

--- One value for soft and hard, or both.
local function limit(accepts)
  local both = check.record { soft = accepts, hard = accepts }
  return function(value)
    if type(value) ~= "table" then
      local good, problem = accepts(value)
      if good == nil then return nil, problem .. ", or { soft =, hard = }" end
      return { soft = good, hard = good }
    end
    local good, problem = both(value)
    if not good then return nil, problem end
    local soft, hard = good.soft, good.hard
    if not soft or not hard or hard >= 0 and (soft > hard or soft < 0) then
      return nil, "{ soft =, hard = }, the former not above the latter"
    end
    return good
  end
end

--- The types of the resources, for the schema.
M.types = {}
for name, accepts in pairs(RESOURCES) do M.types[name] = limit(accepts) end

M.names = names.sorted(RESOURCES)

--- A default is never more than the caller has itself.
local function capped(value, hard) return hard >= 0 and hard < value and hard or value end

--- The limits that a payload gets: those of the recipe, and the defaults.
-- @tparam ?table wanted the field
-- @tparam ?table groups of nslua.group_limits: what it holds, and what stands in for a group
-- @tparam ?boolean inherited the caller's own are left as they are
-- @treturn table name -> { soft=, hard=, by = "setrlimit" } or { value=, by= }
function M.of(wanted, groups, inherited)
  local limits = {}
  for _, default in ipairs(inherited and {} or DEFAULTS) do
    local most = capped(default[2], select(2, sys.getrlimit(default[1])))
    limits[default[1]] = { soft = most, hard = most, by = "setrlimit" }
  end
  for name, of in pairs(wanted or {}) do
    if RESOURCES[name] then limits[name] = { soft = of.soft, hard = of.hard, by = "setrlimit" } end
  end
  for name, of in pairs(groups and groups.resources or {}) do
    limits[name] = limits[name] or { soft = of.soft, hard = of.hard, by = "setrlimit" }
  end
  for name, of in pairs(groups and groups.held or {}) do limits[name] = of end
  return limits
end

--- Records limits.
-- @param section of a plan
-- @tparam table limits as of M.of
function M.record(section, limits)
  for _, name in ipairs(M.names) do
    local of = limits[name]
    if of then section:setrlimit(KERNEL_NAMES[name] or name, of.soft, of.hard) end
  end
end

return M
