--- What runs in the sandbox for the functions that are called there (csrc/callee): it takes a call, makes it, gives what
-- comes of it, and so on until no more comes.
-- @module nslua.callee
local copy = require "nslua.copy"

local LENGTH <const> = copy.LENGTH

local function say_which(at) return ("result %d"):format(at - 1) end -- behind whether it has gone well

--- Results as bytes; nil and why not.
local function told(values)
  local ok, out, problem = pcall(copy.encode, values, say_which)
  if not ok then return nil, tostring(out) end
  return out and copy.bytes_of(out), problem
end

--- An error as what can be copied of it.
local function told_error(problem)
  local values = { n = 2, false, problem }
  local bytes = told(values)
  if bytes then return bytes end
  local ok, text = pcall(tostring, problem)
  values[2] = ok and text or "an error that cannot be told"
  return told(values)
end

--- Makes a call: a function and what it is given, as bytes.
-- @treturn string true and its results, or false and an error, as bytes
local function make(bytes)
  local call, problem = copy.decode(bytes, math.huge, true)
  if not call then return told_error("the call cannot be read: " .. problem) end
  local results = table.pack(pcall(table.unpack(call, 1, call.n)))
  if not results[1] then return told_error(results[2]) end
  bytes, problem = told(results)
  return bytes or told_error(problem)
end

return function(calls, results)
  io.stdout:setvbuf "line"
  local function next_length() return calls:read(#LENGTH:pack(0)) end
  for head in next_length do
    local bytes = make(calls:read((LENGTH:unpack(head))))
    io.stdout:flush()
    results:write(LENGTH:pack(#bytes), bytes)
    results:flush()
  end
end
