--- What compiling a recipe costs, and that a second run does not compile again.
local nslua = require "nslua"
local compiler = require "nslua.compile"
local measure = require "measure"
local clock, fs = nslua.sys.clock, nslua.fs

local TIMES <const> = 400

--- Thirty entries, as a build sandbox may have them.
local function thirty()
  local list = { fs.ro "/usr", fs.symlink("usr/bin", "/bin"), fs.symlink("usr/lib", "/lib"), fs.proc(), fs.dev() }
  for i = 1, 8 do list[#list + 1] = fs.ro("/etc", "/data/in" .. i) end
  for i = 1, 4 do list[#list + 1] = fs.rw("/tmp", "/data/out" .. i) end
  for i = 1, 5 do list[#list + 1] = fs.file("/etc/file" .. i, "content\n") end
  for i = 1, 4 do list[#list + 1] = fs.dir("/var/lib/dir" .. i) end
  for i = 1, 4 do list[#list + 1] = fs.tmpfs("/scratch" .. i, { size = "64M" }) end
  assert(#list == 30)
  return { hostname = "bench", env = { CI = "1" }, fs = list }
end

local function times_of(f)
  local times = {}
  for i = 1, TIMES do
    local recipe = thirty()
    local began = clock()
    f(recipe)
    times[i] = (clock() - began) * 1e6
  end
  return measure.median(times)
end

--- Counts and times the calls of the compiler while f runs.
local function watching(f)
  local original, calls, times = compiler.compile, 0, {}
  function compiler.compile(...)
    local began = clock()
    local result, err = original(...)
    calls = calls + 1
    times[calls] = (clock() - began) * 1e6
    return result, err
  end
  f()
  compiler.compile = original
  return calls, times
end

local M = {}

--- Microseconds: of compiling, and of making the value (reading and checking the recipe).
function M.cost()
  local _, times = watching(function()
    for _ = 1, TIMES do assert(nslua.sandbox(thirty()):plan()) end
  end)
  return measure.median(times), times_of(nslua.sandbox)
end

--- How often ten runs of one sandbox compile.
function M.compilations()
  local calls = watching(function()
    local box = nslua.sandbox {}
    for _ = 1, 10 do assert(box:run { "/bin/true" }) end
  end)
  return calls
end

return M
