--- nslua enter: a command in a sandbox that runs already.
local run = require "nslua.cli.run"

local OPERANDS <const> = { ["--caps"] = "caps", ["--recipe"] = "recipe" }

local function names_of(list)
  local names = {}
  for name in list:gmatch "[^,%s]+" do names[#names + 1] = name end
  return names
end

return function(words, usage_error)
  local before, command = run.split(words)
  local flags = run.read_flags(before, "enter", OPERANDS, usage_error)
  local pid = #before == 1 and math.tointeger(tonumber(before[1]))
  if not pid or pid < 1 then usage_error("enter: the pid of a sandbox, then -- and the command") end
  local base = run.load(flags.recipe)
  if flags.caps then base = base:with { caps = flags.caps == "all" and "all" or names_of(flags.caps) } end
  local box, err = require "nslua.ns".enter(pid, base)
  if not box then error(err, 0) end
  flags.joins = true
  os.exit(run.in_box(box, #command > 0 and command or { "sh" }, flags))
end
