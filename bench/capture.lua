--- A large file through a pipe: nslua capture.lua COUNT FILE HOW. Prints the microseconds of each run. HOW is "capture",
-- "spool" or "function": cat in a sandbox, its stdout kept in that way; or "pipe": cat FILE | cat > /dev/null, plain.
local nslua = require "nslua"
local clock = nslua.sys.clock

local count, path, how = tonumber(arg[1]), arg[2], arg[3]
local size = nslua.sys.stat(path).size
local box = nslua.sandbox { fs = { nslua.fs.os(), nslua.fs.ro(path, "/data") } }

--- How many bytes have come, with stdout like this.
local function kept(stdout)
  local result = assert(box:run { "cat", "/data", stdout = stdout, capture_limit = "1G" }):check()
  if type(result.stdout) == "string" then return #result.stdout end
  return result.stdout and result.stdout:seek "end"
end

local HOW <const> = {
  capture = function() return kept "capture" end,
  spool = function() return kept "spool" end,
  ["function"] = function()
    local n = 0
    kept(function(chunk) n = n + #chunk end)
    return n
  end,
  pipe = function() return os.execute("cat " .. path .. " | cat > /dev/null") and size end,
}

for i = 0, count do -- the first one warms up
  local began = clock()
  local got = HOW[how]()
  local took = clock() - began
  assert(got == size, "bytes are missing")
  if i > 0 then print(("%.1f"):format(took * 1e6)) end
  collectgarbage()
end
