--- nslua run --stats: what a run has used, one line an item.
local ITEMS <const> = {
  { "wall", "%.3f s", "wall" },
  { "user", "%.3f s", "user" },
  { "system", "%.3f s", "system" },
  { "memory", "%d KiB at most", "maxrss" },
  { "page faults", "%d minor, %d major", "minor_faults", "major_faults" },
  { "context switches", "%d voluntary, %d involuntary", "voluntary_switches", "involuntary_switches" },
}

--- The lines of a result's usage.
-- @tparam table usage
-- @treturn string
return function(usage)
  local shown = { maxrss = usage.maxrss // 1024 }
  local lines = {}
  for i, item in ipairs(ITEMS) do
    local values = {}
    for n = 3, #item do values[n - 2] = shown[item[n]] or usage[item[n]] or 0 end
    lines[i] = ("nslua: %-18s"):format(item[1]) .. item[2]:format(table.unpack(values)) .. "\n"
  end
  return table.concat(lines)
end
