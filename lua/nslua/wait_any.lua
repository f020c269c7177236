--- Many at once: the first of several processes to end.
-- @module nslua.wait_any
local Error = require "nslua.error"
local check = require "nslua.check"
local sys = require "nslua.sys"

local ECHILD <const>, ETIMEDOUT <const> = 10, 110

--- How long to poll at most, and what: the pollfd of each. One without has nothing to wait for.
local function polled(list, left)
  local watched = {}
  for i, process in ipairs(list) do
    local fd, time = process.pollfd, 0
    if fd then time = process:timeout() end
    if time and (not left or time < left) then left = time end
    watched[2 * i - 1], watched[2 * i] = fd or false, "r"
  end
  return left, watched
end

--- Lets those go on that are ready or late; the first that is at its end, if any.
local function advance(list, ready)
  for i, process in ipairs(list) do
    if ready[i] or not process.pollfd or process:timeout() == 0 then
      local result, err = process:wait(0)
      if result or err.errno ~= ETIMEDOUT then return process, result, err end
    end
  end
end

--- Waits until one of several processes has ended, and moves the streams of all of them meanwhile.
-- @function nslua.wait_any
-- @tparam table list processes; those that have ended already count
-- @tparam[opt] number seconds at most
-- @treturn[1] nslua.process the one that has ended
-- @treturn[1] result
-- @treturn[2] nslua.process the one that cannot be waited for
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @treturn[3] nil after the time, or when the list is empty
-- @treturn[3] nslua.error ETIMEDOUT, ECHILD
-- @raise as process:wait
local function wait_any(list, seconds)
  if type(list) ~= "table" then error("wait_any: a list of processes expected, got " .. check.describe(list), 2) end
  if seconds and type(seconds) ~= "number" then error("wait_any: seconds expected, got " .. check.describe(seconds), 2) end
  if #list == 0 then return nil, Error.new { step = "wait_any", errno = ECHILD } end
  local until_time = seconds and sys.clock() + seconds
  repeat
    local left, watched = polled(list, until_time and math.max(0, until_time - sys.clock()))
    local ready = table.pack(sys.poll(left, table.unpack(watched)))
    if ready[1] == nil then return nil, Error.new { step = "wait_any", errno = ready[3] } end
    local process, result, err = advance(list, ready)
    if process then return process, result, err end
  until until_time and sys.clock() >= until_time
  return nil, Error.new { step = "wait_any", errno = ETIMEDOUT }
end

return { wait_any = wait_any }
