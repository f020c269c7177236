-- Appends a snapshot to the host that runs this. One with shared libraries, which are elsewhere at each start, stays as it is.
-- usage: HOST snapshot.lua HOST PROGRAM
local appended = require "nslua.appended"

local TYPE <const>, FIXED <const> = 17, 2 -- e_type, ET_EXEC; see elf(5)

local function snapshot_of(host, path)
  assert(os.execute(("'%s' --snapshot '%s'"):format(host, path)))
  local file = assert(io.open(path, "rb"))
  local snapshot = file:read "a"
  file:close()
  os.remove(path)
  return snapshot
end

local path, program = arg[1], arg[2]
local host = assert(appended.host())
if host:byte(TYPE) == FIXED then host = assert(appended.append(host, "memory", snapshot_of(path, program .. ".snapshot"))) end
assert(appended.write(program, host))
