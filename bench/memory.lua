--- What an idle sandbox takes beside its payload.
local nslua = require "nslua"

local SANDBOXES <const> = 40
local PAGE <const> = 4 -- KiB

local function read(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

local function field(text, name) return tonumber(text:match(name .. ":%s+(%d+) kB")) or 0 end

--- Private KiB of a process, and where that is from: the stage is not dumpable, so the detailed account
--- is for who has CAP_SYS_PTRACE over it.
local function private_memory(pid)
  local rollup = read(("/proc/%d/smaps_rollup"):format(pid))
  if rollup and #rollup > 0 then
    return field(rollup, "Private_Clean") + field(rollup, "Private_Dirty"), "Private_Clean + Private_Dirty of smaps_rollup"
  end
  local resident, shared = read(("/proc/%d/statm"):format(pid)):match "^%d+ (%d+) (%d+)"
  return (resident - shared) * PAGE, "anonymous memory, by statm: smaps_rollup of the stage is not for us"
end

--- What the kernel holds for everybody.
local function kernel_memory()
  local text = read "/proc/meminfo"
  return field(text, "Slab") + field(text, "KernelStack") + field(text, "PageTables") + field(text, "Percpu")
end

local M = {}

--- Private KiB of a reaper, how it was read, and KiB of the kernel's for a sandbox (the payload's included).
function M.idle()
  local box = nslua.sandbox {}
  assert(box:run { "/bin/true" })
  local before = kernel_memory()
  local processes = {}
  for i = 1, SANDBOXES do processes[i] = assert(box:spawn { "/bin/sleep", "60" }) end
  nslua.sys.poll(0.2)
  local kernel = (kernel_memory() - before) / SANDBOXES
  local private, how = private_memory(processes[1].stage:pid())
  for _, process in ipairs(processes) do process:close() end
  return private, how, kernel
end

return M
