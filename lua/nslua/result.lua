--- The result of a run.
-- @classmod nslua.result
-- @field ok whether it exited with 0 in time
-- @field code exit status, or nil
-- @field signal number of the signal that ended it, or nil
-- @field reason "exit", "signal", "timeout", "oom" (it was killed for want of memory, within limits.memory)
-- @field stdout what was captured, as text; what was spooled, as a Lua file; or nil
-- @field stderr the same
-- @field truncated whether there was more of either than capture_limit, or than our own streams took within the time limit
-- @field usage wall, user, system (seconds), maxrss (bytes), faults and context switches; with limits of a control group
-- `group`: of the whole sandbox memory_peak, swap_peak, read, written (bytes), pids_peak, user, system, throttled (seconds),
-- memory_reached (how often the limit was), oom_kills, as far as the kernel counts them
-- @field refused with mode = "log" of seccomp: a list of { name=, count= }, the system calls that the filter would have
-- refused; `incomplete` is set in it when the process that counts has not lived to the end
-- @field steps with time_steps: a list of { step=, op=, at=, seconds= }, what the set-up did, in order
-- @field enforced what was really in force
local Error = require "nslua.error"

local Result = { __name = "nslua.result" }
Result.__index = Result

function Result:__tostring()
  if self.reason == "timeout" then return "timed out" end
  if self.reason == "oom" then return "killed for want of memory" end
  return self.signal and "killed by signal " .. self.signal or "exited with " .. self.code
end

--- Raises unless ok; returns the result.
function Result:check()
  if self.ok then return self end
  error(Error.new { step = "command " .. tostring(self.command[1]), reason = tostring(self) }, 2)
end

return Result
