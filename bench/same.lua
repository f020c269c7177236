--- Whether the floor makes the same system calls as nslua: the counts of one run of each, side by side.
--   nslua same.lua OUT [NAME]
local OUT <const>, NAME <const> = arg[1], arg[2] or "default"
local RUNS <const> = 10

local function counts(command)
  local log = OUT .. "/strace"
  assert(os.execute(("strace -f -c -o %s %s > %s.out"):format(log, command, log)))
  local found = {}
  for line in io.lines(log) do
    local calls, rest = line:match "^%s*[%d.]+%s+[%d.]+%s+%d+%s+(%d+)%s+(.*)$"
    local name = rest and rest:match "([%w_]+)$"
    if name and name ~= "total" then found[name] = tonumber(calls) end
  end
  return found
end

--- Per run: what RUNS of them add to none.
local function per_run(format)
  local none, some = counts(format:format(0)), counts(format:format(RUNS))
  for name, calls in pairs(some) do some[name] = (calls - (none[name] or 0)) / RUNS end
  return some
end

local floor = per_run(OUT .. "/floor-" .. NAME .. " %d")
local nslua = per_run("../build/nslua-installed loop.lua %d 0 " .. NAME)
local names, totals, differing = {}, { 0, 0 }, 0
for name in pairs(nslua) do names[name] = true end
for name in pairs(floor) do names[name] = true end
print(("%-20s %10s %10s"):format("system calls a run", "floor", "nslua"))
for name in pairs(names) do
  local a, b = floor[name] or 0, nslua[name] or 0
  totals[1], totals[2] = totals[1] + a, totals[2] + b
  if a ~= b then
    differing = differing + 1
    print(("%-20s %10.1f %10.1f"):format(name, a, b))
  end
end
print(("%-20s %10.1f %10.1f   (%d names differ, shown)"):format("all", totals[1], totals[2], differing))
