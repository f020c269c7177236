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
    lines[i] = ("nslua: %-18s"):format(item[1]) .. item[2]:format(table.unpack(values)) .. "\n"
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
