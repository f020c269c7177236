--- Processes in sandboxes of their own that are kept for calls of functions: a call takes microseconds then. A process keeps
-- what functions leave behind in it, as globals; functions that must not see each other's take a sandbox each (box:call).
-- @classmod nslua.pool
local Error = require "nslua.error"
local call = require "nslua.call"
local check = require "nslua.check"
local sys = require "nslua.sys"

local Pool = { __name = "nslua.pool" }
Pool.__index = Pool

--- What is behind a pool: { spawn=, options=, size=, idle = { worker… } }.
local state = setmetatable({}, { __mode = "k" })

local function state_of(pool, level)
  return state[pool] or error("not a pool, or closed: call its methods with ':'", level + 1)
end

function Pool:__tostring()
  local own = state[self]
  return own and ("pool (%d)"):format(own.size) or "pool (closed)"
end

--- A worker that has nothing to do; one that has ended meanwhile is none.
local function take(own)
  while true do
    local worker = table.remove(own.idle)
    if not worker then return call.start(own.spawn, own.options) end
    if worker:is_idle() then return worker end
    worker:close()
  end
end

--- Back to the others, or away when it has not answered as it should.
local function give_back(own, worker, is_good)
  if is_good and not own.closed then own.idle[#own.idle + 1] = worker else worker:close() end
end

--- What is under way: worker -> number of the call. Ended when it is left.
local Busy = {}

function Busy:__close()
  for worker in pairs(self) do worker:close() end
end

--- As box:call, in one of the pool's processes. One that has not answered, or not in time, is replaced.
-- @param f as of box:call; its options are timeout and result_limit
-- @param … its arguments
-- @return as of box:call
-- @raise as box:call
function Pool:call(f, ...)
  local own = state_of(self, 2)
  local bytes, options = call.read(call.OF_CALL, f, ...)
  local worker, err = take(own)
  if not worker then return nil, err end
  local busy <close> = setmetatable({ [worker] = 1 }, Busy)
  local values
  values, err = worker:make(bytes, options, options.timeout)
  busy[worker] = nil
  give_back(own, worker, values)
  return call.unpack(values, err)
end

-- -- many calls --

--- Waits until one of several workers has something to do, or is late.
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function wait_for(busy)
  local polled, left = {}, nil
  for worker in pairs(busy) do
    local time = worker:timeout()
    if time and (not left or time < left) then left = time end
    local n = #polled
    polled[n + 1], polled[n + 2], polled[n + 3], polled[n + 4] = worker.process.pollfd or false, "r", worker:polled(), "r"
  end
  local ready, _, errno = sys.poll(left, table.unpack(polled))
  if ready == nil then return nil, Error.new { step = "map", errno = errno } end
  return true
end

--- Gives items to workers, as many as may be.
-- @treturn[1] integer the first that waits
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function assign(own, busy, calls, first)
  local count = 0
  for _ in pairs(busy) do count = count + 1 end
  while count < own.size and first <= #calls do
    local worker, err = take(own)
    if not worker then return nil, err end
    busy[worker] = first
    worker:begin(calls[first], calls.options, calls.options.timeout)
    count, first = count + 1, first + 1
  end
  return first
end

--- Takes what has come.
-- @treturn[1] true
-- @treturn[2] boolean or nil
-- @return[2] error
-- @treturn[2] integer of which item
local function collect(own, busy, results)
  for worker, item in pairs(busy) do
    local values, err = worker:progress(0)
    if values or err then
      busy[worker] = nil
      give_back(own, worker, values)
      if not values then return nil, err, item end
      if not values[1] then return false, values[2], item end
      results[item] = values[2]
    end
  end
  return true
end

--- Calls a function with each item of a list, in as many processes at once as the pool has.
-- @param f as of call
-- @tparam table list
-- @treturn[1] true
-- @treturn[1] table what the function gave first, under the numbers of the list
-- @treturn[2] false
-- @return[2] the first error that came; what was under way besides has been ended
-- @treturn[2] integer of which item
-- @treturn[3] nil
-- @treturn[3] nslua.error
-- @treturn[3] ?integer of which item
-- @raise as call
-- @usage local pool <close> = assert(sandbox {}:pool(4))
-- print(pool:map(function(n) return n * n end, { 1, 2, 3 }))
function Pool:map(f, list)
  local own = state_of(self, 2)
  if type(list) ~= "table" then error("map: a list expected, got " .. check.describe(list), 2) end
  local calls, results, first = {}, {}, 1
  for i, item in ipairs(list) do calls[i], calls.options = call.read(call.OF_CALL, f, item) end
  local busy <close> = setmetatable({}, Busy)
  while first <= #calls or next(busy) do
    local err, good, item
    first, err = assign(own, busy, calls, first)
    if not first then return nil, err end
    good, err = wait_for(busy)
    if good then good, err, item = collect(own, busy, results) end
    if not good then return good, err, item end
  end
  return true, results
end

--- Ends its processes. Again is no error.
function Pool:close()
  local own = state[self]
  if not own then return end
  state[self], own.closed = nil, true
  for _, worker in ipairs(own.idle) do worker:close() end
end
Pool.__close = Pool.close
Pool.__gc = Pool.close

local M = {}

--- Starts the processes of a pool.
-- @tparam function spawn as box:spawn
-- @tparam integer size
-- @tparam table options
-- @treturn[1] nslua.pool
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.new(spawn, size, options)
  local own = { spawn = spawn, size = size, options = options, idle = {} }
  local pool = setmetatable({}, Pool)
  state[pool] = own
  for i = 1, size do
    local worker, err = call.start(spawn, options)
    if not worker then
      pool:close()
      return nil, err
    end
    own.idle[i] = worker
  end
  return pool
end

return M
