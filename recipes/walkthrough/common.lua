--- What the steps of the walk-through share. On a terminal a step gives you a shell to look around in;
-- without one it looks itself, from inside and from outside, and says whether the two differ as they should.
local M = {}
local sys = require "nslua.sys"

local root = sys.identity().uid == 0

--- Root may make any namespace. An ordinary user may when a user namespace comes with it.
function M.namespaces(names)
  if not root then names[#names + 1] = "user" end
  return names
end

--- Who you are in that user namespace: its root.
M.user = not root and "root" or nil

local function trim(text) return (text:gsub("%s+$", "")) end

--- Types a command into the sandbox's shell; what it prints.
local function inside(process, command)
  process.stdin:write(command, "\necho END\n")
  process.stdin:flush()
  local lines = {}
  for line in process.stdout:lines() do
    if line == "END" then break end
    lines[#lines + 1] = line
  end
  return trim(table.concat(lines, "\n"))
end

--- The same in a shell of the host, where $PID is the sandbox's shell.
local function outside(process, command)
  local pipe <close> = assert(io.popen(("PID=%d; %s"):format(process.pid, command)))
  return trim(pipe:read "a")
end

local function show(where, command, output)
  print(where .. "$ " .. command)
  local count = 0
  for line in output:gmatch "[^\n]+" do
    count = count + 1
    if count <= 8 then print("  " .. line) end
  end
  if count > 8 then print(("  … and %d lines more"):format(count - 8)) end
end

local function check(step)
  local process <close> = assert(step.box:spawn { "sh", stdin = "pipe", stdout = "pipe", stderr = "inherit" })
  local seen_inside = inside(process, step.inside)
  local seen_outside = outside(process, step.outside)
  show("inside", step.inside, seen_inside)
  show("outside", step.outside, seen_outside)
  local ok = step.holds(seen_inside, seen_outside, process.pid)
  print(step.box.name .. ": " .. (ok and "ok, " or "NOT ok: expected ") .. step.says)
  return ok and 0 or 1
end

--- Whether the step is the script that nslua was called with; else it is loaded, for its sandbox.
local function is_script(step)
  return arg and arg[0] and arg[0]:match "([^/]+)%.lua$" == step.box.name
end

--- What a step's script returns: the sandbox, for nslua to run; or the exit status of the check.
-- @tparam table step box, try (what to type), inside and outside (commands), holds (of what they
-- print and of the shell's pid outside), says (the observation)
function M.step(step)
  if not is_script(step) then return step.box end
  if not sys.isatty(0) then return check(step) end
  print(step.box.name .. ": " .. step.says .. ".\nA shell in the sandbox; try:\n\n" .. step.try .. "\nexit ends it.\n")
  return step.box
end

return M
