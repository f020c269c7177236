--- nslua run --stats: what a run has used, one line an item; or, with its end, as JSON.
local json = require "nslua.json"

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
  { "all: memory", "%d KiB at most", "memory_peak", 1 / 1024 }, { "all: swap", "%d KiB at most", "swap_peak", 1 / 1024 },
  { "all: processes", "%d at most", "pids_peak", 1 }, { "all: user", "%.3f s", "user", 1 },
  { "all: system", "%.3f s", "system", 1 }, { "all: throttled", "%.3f s", "throttled", 1 },
  { "all: read", "%d KiB", "read", 1 / 1024 }, { "all: written", "%d KiB", "written", 1 / 1024 },
  { "all: OOM", "%d killed", "oom_kills", 1 },
}

local function line(name, words, ...) return ("nslua: %-18s"):format(name) .. words:format(...) .. "\n" end

local function group_lines(lines, usage)
  for _, item in ipairs(GROUP_ITEMS) do
    local value = usage[item[3]]
    if value then
      value = value * item[4]
      lines[#lines + 1] = line(item[1], item[2], item[2]:find "%%d" and math.floor(value) or value)
    end
  end
end

local M = {}

--- The lines of a result's usage.
-- @tparam ?nslua.result result
-- @treturn string nothing where there is no result
function M.text(result)
  if not result then return "" end
  local usage = result.usage
  local shown = { maxrss = usage.maxrss // 1024 }
  local lines = {}
  for i, item in ipairs(ITEMS) do
    local values = {}
    for n = 3, #item do values[n - 2] = shown[item[n]] or usage[item[n]] or 0 end
    lines[i] = line(item[1], item[2], table.unpack(values))
  end
  if usage.group then group_lines(lines, usage.group) end
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
