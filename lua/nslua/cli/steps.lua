--- nslua run --time-steps: a line for each step, in the order in which they were done.

--- @tparam table steps of a result
-- @treturn string
return function(steps)
  local total, lines = 0, {}
  for _, one in ipairs(steps) do total = total + one.seconds end
  local function add(seconds, words)
    lines[#lines + 1] = ("nslua: %9.0f µs %5.1f %%  %s\n"):format(seconds * 1e6, seconds / total * 100, words)
  end
  for _, one in ipairs(steps) do
    add(one.seconds, one.step .. (one.op and " (" .. one.op .. ")" or "") .. (one.at and ", " .. one.at or ""))
  end
  add(total, "in all, until the program runs")
  return table.concat(lines)
end
