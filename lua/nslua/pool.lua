--- Processes in sandboxes of their own that are kept for calls of functions. A process keeps what functions leave in it, as
-- globals; a function that nobody else's may meet gets a sandbox of its own from box:call.
-- @classmod nslua.pool
local Error = require "nslua.error"
local call = require "nslua.call"
local check = require "nslua.check"
local copy = require "nslua.copy"
local sys = require "nslua.sys"
local worker = require "nslua.worker"

local EBADF <const> = 9

local Pool = { __name = "nslua.pool" }
Pool.__index = Pool

--- What is behind a pool: { spawn=, options=, time=, size=, idle = { worker… }, closed= }.
local state = setmetatable({}, { __mode = "k" })

local function state_of(pool, level) return state[pool] or error("not a pool, or closed: call its methods with ':'", level) end

function Pool:__tostring()
  local own = state[self]
  return own and ("pool (%d)"):format(own.size) or "pool (closed)"
end

-- -- its processes --

--- Starts one, which has no end by itself.
local function start(own, until_time)
  local made, err = worker.start(own.spawn, own.options, until_time and math.max(until_time - sys.clock(), 0.001))
  if made then made.process.deadline = nil end
  return made, err
end

--- One that has nothing to do; what has ended meanwhile is replaced.
-- @tparam[opt] number until_time that this may take
local function take(own, until_time)
  while true do
    if own.closed then return nil, Error.new { step = "call", errno = EBADF, reason = "the pool has been closed" } end
    local process = table.remove(own.idle)
    if not process then return start(own, until_time) end
    local unbroken, idle = pcall(process.is_idle, process) -- which may call a function of the user's
    if unbroken and idle then return process end
    process:close()
    if not unbroken then error(idle, 0) end
  end
end

--- Back to the others; away when it has not answered as it should, or there are enough.
local function give_back(own, process, is_good)
  if is_good and not own.closed and #own.idle < own.size then own.idle[#own.idle + 1] = process else process:close() end
end

--- What is under way: process -> number of the call. Ended when it is left.
local Busy = {}

function Busy:__close()
  for process in pairs(self) do process:close() end
end

--- Until when a call may take.
local function end_for(own, options)
  local seconds = options.timeout or own.time
  return seconds and sys.clock() + seconds
end

-- -- calls --

--- As box:call, in one of the pool's processes. One that has not answered, or not in time, is replaced.
-- @param f as of box:call; its options are timeout and result_limit
-- @param … its arguments
-- @return as of box:call
-- @raise as box:call
function Pool:call(f, ...)
  local own = state_of(self, 3)
  local bytes, options = call.prepare(call.OF_CALL, 2, f, ...)
  local until_time = end_for(own, options)
  local process, err = take(own, until_time)
  if not process then return nil, err end
  local busy <close> = setmetatable({ [process] = 1 }, Busy)
  local values
  values, err = process:make(bytes, options, until_time)
  busy[process] = nil
  give_back(own, process, values)
  return call.unpack(values, err)
end

--- Waits until one of several processes has something to do, or is late.
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function wait_for(busy)
  local polled, left = {}, nil
  for process in pairs(busy) do
    local fd, err = process:polled()
    if not fd then return nil, err end
    local time, n = process:timeout(), #polled
    if time and (not left or time < left) then left = time end
    polled[n + 1], polled[n + 2], polled[n + 3], polled[n + 4] = process.process.pollfd or false, "r", fd, "r"
  end
  local ready, _, errno = sys.poll(left, table.unpack(polled))
  if ready == nil then return nil, Error.new { step = "map", errno = errno } end
  return true
end

--- Gives calls to processes, as many as may be.
-- @tparam table calls { first=, options=, … }: what nslua.copy has made of them
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function assign(own, busy, calls)
  local count = 0
  for _ in pairs(busy) do count = count + 1 end
  while count < own.size and calls[calls.first] do
    local until_time = end_for(own, calls.options)
    local process, err = take(own, until_time)
    if not process then return nil, err end
    busy[process] = calls.first
    err = process:begin(copy.bytes_of(calls[calls.first]), calls.options, until_time)
    if err then return nil, err end
    count, calls.first = count + 1, calls.first + 1
  end
  return true
end

--- Takes what has come.
-- @treturn[1] true
-- @treturn[2] false or nil
-- @return[2] error
-- @treturn[2] integer of which item
local function collect(own, busy, results)
  for process, item in pairs(busy) do
    local values, err = process:progress(0)
    if values or err then
      busy[process] = nil
      give_back(own, process, values)
      if not values then return nil, err, item end
      if not values[1] then return false, values[2], item end
      results[item] = values[2]
    end
  end
  return true
end

--- Encodes a call for each item of a list: the function once.
local function calls_of(f, list, level)
  local options
  f, options = call.read("map", call.OF_CALL, f, level + 1)
  if type(list) ~= "table" then error("map: a list expected, got " .. check.describe(list), level + 1) end
  local calls = { first = 1, options = options }
  local encoded = call.encode("map", { n = 1, f }, function() return "the function" end, nil, level + 1)
  for i = 1, rawlen(list) do
    if list[i] == nil then error(("map: item %d of the list is nil"):format(i), level + 1) end
    calls[i] = call.encode("map", { n = 1, list[i] }, function() return "item " .. i end, encoded, level + 1)
  end
  return calls
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
  local own = state_of(self, 3)
  local calls, results = calls_of(f, list, 2), {}
  local busy <close> = setmetatable({}, Busy)
  while calls[calls.first] or next(busy) do
    local item
    local good, err = assign(own, busy, calls)
    if good then good, err = wait_for(busy) end
    if good then good, err, item = collect(own, busy, results) end
    if not good then return good, err, item end
  end
  return true, results
end

--- Ends its processes. Again is no error.
function Pool:close()
  local own = state[self]
  if not own then return end
  local idle = own.idle
  state[self], own.closed, own.idle = nil, true, {}
  for _, process in ipairs(idle) do process:close() end
end
Pool.__close = Pool.close
Pool.__gc = Pool.close

local M = {}

--- Starts the processes of a pool.
-- @tparam function spawn as box:spawn
-- @tparam integer size
-- @tparam table options
-- @tparam[opt] number time that a call may take, in seconds, unless it says that itself
-- @treturn[1] nslua.pool
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.new(spawn, size, options, time)
  local own = { spawn = spawn, size = size, options = options, time = time, idle = {} }
  local pool = setmetatable({}, Pool)
  state[pool] = own
  for i = 1, size do
    local process, err = start(own)
    if not process then
      pool:close()
      return nil, err
    end
    own.idle[i] = process
  end
  return pool
end

return M
