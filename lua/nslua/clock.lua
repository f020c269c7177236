--- Offsets of the clocks in a new time namespace.
-- @module nslua.clock
local M = {}

--- Records them.
-- @tparam nslua.plan plan
-- @tparam ?table offsets clock → seconds
function M.record(plan, offsets)
  if not plan.new.time then return end
  plan:owner "clock"
  plan.setup:unshare "time"
  local lines = {}
  for clock, seconds in pairs(offsets or {}) do lines[#lines + 1] = ("%s %d 0\n"):format(clock, seconds) end
  if #lines > 0 then plan.setup:write(plan:proc_file "timens_offsets", table.concat(lines)) end
  -- Entered at once: before Linux 6.3 a vfork into another time namespace is refused.
  plan.setup:setns(plan.setup:open(nil, "/proc/self/ns/time_for_children", "read"), "time")
end

return M
