--- A recipe of many binds: nslua binds.lua COUNT RUNS DIRECTORY prints the microseconds of each run.
local nslua = require "nslua"
local clock, fs = nslua.sys.clock, nslua.fs
local WARM_UP <const> = 1

local count, runs, directory = tonumber(arg[1]), tonumber(arg[2]), arg[3]

local list = { fs.ro "/usr", fs.symlink("usr/lib", "/lib"), fs.symlink("usr/lib64", "/lib64") }
for i = 1, count do list[#list + 1] = fs.ro(directory, "/b/" .. i) end
local box = nslua.sandbox { namespaces = { "user", "mount" }, fs = list }

for i = 1 - WARM_UP, runs do
  local began = clock()
  assert(box:run { "/usr/bin/true", stdout = "null", stderr = "null" }):check()
  if i > 0 then print(("%.1f"):format((clock() - began) * 1e6)) end
end
