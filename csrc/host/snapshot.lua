-- Appends a snapshot to the host that runs this. One that is elsewhere at each start, or has libraries that are, stays as it is.
-- usage: HOST snapshot.lua HOST PROGRAM MODULE…
local appended = require "nslua.appended"
local file = require "nslua.file"

local TYPE <const>, FIXED <const> = 17, 2 -- e_type, ET_EXEC; see elf(5)
local AT_BASE <const> = 7 -- where ld.so is, or 0; see getauxval(3)

local function has_libraries()
  local vector = assert(file.read "/proc/self/auxv")
  for at = 1, #vector, 16 do
    local key, value = ("=I8I8"):unpack(vector, at)
    if key == AT_BASE then return value ~= 0 end
  end
end

local function snapshot_of(host, path, modules)
  assert(os.execute(("'%s' --snapshot '%s' %s"):format(host, path, table.concat(modules, " "))))
  local snapshot = assert(file.read(path))
  os.remove(path)
  return snapshot
end

local path, program = arg[1], arg[2]
local host = assert(appended.host())
if host:byte(TYPE) == FIXED and not has_libraries() then
  host = assert(appended.append(host, "memory", snapshot_of(path, program .. ".snapshot", { table.unpack(arg, 3) })))
end
assert(appended.write(program, host))
