--- nslua run --stats: what a run has used, one line an item; or, with its end, as JSON.
local json = require "nslua.json"

--- Lines: a name, the words, the fields of the usage.
local ITEMS <const> = {
  { "wall", "%.3f s", "wall" },
  { "user", "%.3f s", "user" },
  { "system", "%.3f s", "system" },
  { "memory", "%d KiB at most", "maxrss" },
  { "page faults", "%d minor, %d major", "minor_faults", "major_faults" },
  { "context switches", "%d voluntary, %d involuntary", "voluntary_switches", "involuntary_switches" },
}

--- Of the sandbox's control group, as far as the kernel counts it.
local GROUP_ITEMS <const> = {
  { "all: memory", "%d KiB at most", "memory_peak" }, { "all: swap", "%d KiB at most", "swap_peak" },
  { "all: processes", "%d at most", "pids_peak" }, { "all: user", "%.3f s", "user" }, { "all: system", "%.3f s", "system" },
  { "all: throttled", "%.3f s", "throttled" }, { "all: read", "%d KiB", "read" }, { "all: written", "%d KiB", "written" },
  { "all: OOM", "%d killed", "oom_kills" },
}

--- Fields that are bytes.
local BYTES <const> = { maxrss = true, memory_peak = true, swap_peak = true, read = true, written = true }

local function line_of(item, usage)
  local values = {}
  for n = 3, #item do
    local value = usage[item[n]] or 0
    values[n - 2] = BYTES[item[n]] and value // 1024 or value
  end
  return ("nslua: %-18s"):format(item[1]) .. item[2]:format(table.unpack(values)) .. "\n"
end

local M = {}

--- The lines of a result's usage.
-- @tparam ?nslua.result result
-- @treturn string nothing where there is no result
function M.text(result)
  if not result then return "" end
  local usage, lines = result.usage, {}
  for i, item in ipairs(ITEMS) do lines[i] = line_of(item, usage) end
  for _, item in ipairs(usage.group and GROUP_ITEMS or {}) do
    if usage.group[item[3]] then lines[#lines + 1] = line_of(item, usage.group) end
  end
  return table.concat(lines)
end

--- One object, also of a run that came to no result.
-- @tparam ?nslua.result result
-- @tparam ?nslua.error err
-- @treturn string
function M.json(result, err)
  if not result then return json.encode { ok = false, reason = "error", error = tostring(err) } .. "\n" end
  return json.encode {
    ok = result.ok, code = result.code, signal = result.signal, reason = result.reason, usage = result.usage,
    steps = result.steps,
  } .. "\n"
end

return M
