--- The limits of control groups: what a recipe may say of them, into which files of which version that goes, what takes
-- their place without a group, and what a group tells of its use.
-- @module nslua.controllers
local check = require "nslua.check"
local scheduling = require "nslua.scheduling"
local sys = require "nslua.sys"

local M = {}

local PERIOD <const> = 100000 -- µs, in which a group may use so many of processor time

-- -- the types --

local function processors(value)
  if type(value) == "number" and value >= 0.01 and value <= 4096 then return value end
  return nil, "a number of processors, from 0.01, as 0.5 or 2"
end

local DEVICE_LIMITS <const> = { "rbps", "wbps", "riops", "wiops" }
local device_limit = check.record { rbps = check.size, wbps = check.size, riops = check.size, wiops = check.size }

local function limits_of_device(value)
  local good, problem = device_limit(value)
  if good and next(good) == nil then return nil, "{ rbps =, wbps =, riops =, wiops = }, at least one of them" end
  return good, problem
end

--- The size of a page as the kernel's files name it: "2MB".
local function page_size(value)
  local digits, unit = tostring(value):match "^(%d+)([KMG])B?$"
  if not digits then return nil, "a size of pages, as \"2M\" or \"1G\"" end
  return digits .. unit .. "B"
end

--- The stage is made in the group while it still shares the memory of its maker: were it killed then for want of
--- memory, so would its maker. Up to its exec it needs some 100 KiB at most.
local LEAST_MEMORY <const> = 1 << 20

local function memory(value)
  local good, problem = check.size(value)
  if good and good < LEAST_MEMORY then return nil, "a size of at least 1M" end
  return good, problem
end

--- A limit that may be 0.
local function size_or_none(value)
  if value == 0 then return 0 end
  local good, problem = check.size(value)
  return good, problem and "0, or " .. problem
end

-- -- devices --

--- The number of the disk that a path is, or that its file system lies on: "8:0".
local function disk_of(path)
  local status, message = sys.stat(path)
  if not status then return nil, message end
  local major, minor = status.device_major, status.device_minor
  if status.type == "block" then major, minor = status.major, status.minor end
  local directory = ("/sys/dev/block/%d:%d/"):format(major, minor)
  if not sys.stat(directory) then return nil, path .. " lies on no disk" end
  local whole = sys.stat(directory .. "partition") and directory .. "../dev" or directory .. "dev"
  local file <close> = io.open(whole)
  return file and file:read "l", path .. ": no number of a disk"
end

--- A write for each device, or nil and a problem.
local function each_device(devices, lines)
  local writes = {}
  for path, limit in pairs(devices) do
    local disk, problem = disk_of(path)
    if not disk then return nil, problem end
    for _, name in ipairs(DEVICE_LIMITS) do
      if limit[name] then writes[#writes + 1] = lines(disk, name, limit[name]) end
    end
  end
  return writes
end

local V1_DEVICE_FILES <const> = {
  rbps = "read_bps_device", wbps = "write_bps_device", riops = "read_iops_device", wiops = "write_iops_device",
}

-- -- the limits --

local function one(file) return function(value) return { { file, ("%d"):format(value) } } end end

local function each_page(file)
  return function(pages)
    local writes = {}
    for page, most in pairs(pages) do writes[#writes + 1] = { file:format(page), ("%d"):format(most) } end
    return writes
  end
end

local function quota(value) return ("%d"):format(math.max(1000, math.floor(value * PERIOD + 0.5))) end

--- Rows: the name, its controller and type; v2 and v1: a value (and all limits) → writes { file, text, or inherited = true:
--- the text of the group above }, or nil and a problem. `without`: what stands in for it where no group can hold it.
M.rows = {
  {
    name = "memory", controller = "memory", type = memory, v2 = one "memory.max",
    v1 = one "memory.limit_in_bytes", without = { resource = "as" },
  },
  {
    -- v1 counts both in one.
    name = "swap", controller = "memory", type = size_or_none, v2 = one "memory.swap.max",
    v1 = function(value, limits)
      if not limits.memory then return nil, "cgroup v1 limits it together with memory: say that, too" end
      return one "memory.memsw.limit_in_bytes"(value + limits.memory)
    end,
  },
  {
    name = "pids", controller = "pids", type = check.integer(1, 1 << 22), v2 = one "pids.max", v1 = one "pids.max",
    without = { resource = "nproc" },
  },
  {
    name = "cpu", controller = "cpu", type = processors,
    v2 = function(value) return { { "cpu.max", quota(value) .. " " .. PERIOD } } end,
    v1 = function(value)
      return { { "cpu.cfs_period_us", ("%d"):format(PERIOD) }, { "cpu.cfs_quota_us", quota(value) } }
    end,
  },
  {
    name = "cpus", controller = "cpuset", type = scheduling.cpus,
    v2 = function(value) return { { "cpuset.cpus", table.concat(value, ",") } } end,
    v1 = function(value)
      return { { "cpuset.mems", inherited = true }, { "cpuset.cpus", table.concat(value, ",") } }
    end,
    without = { affinity = true },
  },
  {
    name = "io", controller = "io", type = check.map_of(check.source, limits_of_device),
    v2 = function(value)
      return each_device(value, function(disk, name, n) return { "io.max", ("%s %s=%d"):format(disk, name, n) } end)
    end,
    v1 = function(value)
      return each_device(value, function(disk, name, n)
        return { "blkio.throttle." .. V1_DEVICE_FILES[name], ("%s %d"):format(disk, n) }
      end)
    end,
  },
  {
    name = "hugetlb", controller = "hugetlb", type = check.map_of(page_size, size_or_none),
    v2 = each_page "hugetlb.%s.max", v1 = each_page "hugetlb.%s.limit_in_bytes",
  },
}

--- The types of the limits, for the schema.
M.types, M.by_name = {}, {}
for _, row in ipairs(M.rows) do M.types[row.name], M.by_name[row.name] = row.type, row end

-- -- what a group tells --

--- Rows: the name in usage.cgroup, and of each version the file, the pattern of the numbers that are added, and a factor.
M.counters = {
  { name = "memory_peak", v2 = { "memory.peak", "(%d+)" }, v1 = { "memory.max_usage_in_bytes", "(%d+)" } },
  { name = "swap_peak", v2 = { "memory.swap.peak", "(%d+)" } },
  { name = "pids_peak", v2 = { "pids.peak", "(%d+)" } },
  { name = "user", v2 = { "cpu.stat", "user_usec (%d+)", 1e-6 } },
  { name = "system", v2 = { "cpu.stat", "system_usec (%d+)", 1e-6 } },
  { name = "throttled", v2 = { "cpu.stat", "throttled_usec (%d+)", 1e-6 }, v1 = { "cpu.stat", "throttled_time (%d+)", 1e-9 } },
  { name = "read", v2 = { "io.stat", "rbytes=(%d+)" }, v1 = { "blkio.throttle.io_service_bytes", "Read (%d+)" } },
  { name = "written", v2 = { "io.stat", "wbytes=(%d+)" }, v1 = { "blkio.throttle.io_service_bytes", "Write (%d+)" } },
  { name = "memory_reached", v2 = { "memory.events", "max (%d+)" }, v1 = { "memory.failcnt", "(%d+)" } },
  { name = "oom_kills", v2 = { "memory.events", "oom_kill (%d+)" }, v1 = { "memory.oom_control", "oom_kill (%d+)" } },
}

return M
