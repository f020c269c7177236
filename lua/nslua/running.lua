--- The sandboxes that run now and that the caller may see, from /proc alone.
--
-- One is known by its reaper: a process whose words are "nslua" and "sandbox<name>", that nobody may look into, with the
-- payload as its first child. Whoever wants to can make a process look like that, so this is for looking, not for deciding.
-- @module nslua.running
local file = require "nslua.file"
local sys = require "nslua.sys"

local TICKS_PER_SECOND <const> = 100 -- of /proc, on all machines that nslua runs on
local MOST_OF_WORDS <const> = 4096 -- bytes
local IMAGE <const> = "/memfd:nslua-stage (deleted)"
local PARENT <const>, START <const> = 2, 20 -- fields of /proc/PID/stat behind the name

local M = {}

local function read(pid, name, most) return (file.read(("/proc/%d/%s"):format(pid, name), most)) end

--- The words of a process, as far as they are looked at: a process may say that it has any number.
local function words_of(pid)
  local words = {}
  for word in ((read(pid, "cmdline", MOST_OF_WORDS) or "") .. "\0"):gmatch "([^\0]*)\0" do words[#words + 1] = word end
  words[#words] = words[#words] ~= "" and words[#words] or nil -- the last one may be cut off
  return words
end

--- Parent and start of a process; nil when it is gone.
local function stat_of(pid)
  local fields = {}
  for field in (read(pid, "stat") or ""):gsub("^.*%) ", ""):gmatch "%S+" do fields[#fields + 1] = field end
  return fields[START] and { parent = math.tointeger(fields[PARENT]), start = math.tointeger(fields[START]), children = {} }
end

--- All processes, by pid.
local function processes()
  local all = {}
  for _, name in ipairs(sys.list_directory "/proc" or {}) do
    local pid = math.tointeger(tonumber(name))
    if pid then all[pid] = stat_of(pid) end
  end
  for pid, process in pairs(all) do
    local parent = all[process.parent]
    if parent then table.insert(parent.children, pid) end
  end
  return all
end

--- The number of a process and all below it.
local function count(all, pid)
  local sum = 1
  for _, child in ipairs(all[pid].children) do sum = sum + count(all, child) end
  return sum
end

--- Whether a process runs the image of the stage; for who may not see that, whether nobody may look into it: the kernel
--- then gives what is in its directory of /proc to root. Of a process of root's an ordinary caller cannot tell.
local function is_stage(pid)
  local image, _, errno = sys.readlink(("/proc/%d/exe"):format(pid))
  if image or not errno then return image == IMAGE end
  local link = sys.lstat(("/proc/%d/exe"):format(pid))
  local directory = sys.lstat(("/proc/%d"):format(pid))
  return link ~= nil and directory ~= nil and (link.uid ~= directory.uid or link.uid == 0)
end

--- The name of the sandbox whose stage a process is, or nil.
local function name_of(pid)
  local words = words_of(pid)
  local name = #words == 2 and words[1] == "nslua" and words[2]:match "^sandbox<(.*)>$"
  return name and is_stage(pid) and name or nil
end

--- Whether a stage is that of a sandbox that runs here. What we are in ourselves does not: its stage has no parent that we
--- could see. A stage whose parent is one is that of a further command in a sandbox.
local function is_reaper(process) return process.parent ~= 0 and not name_of(process.parent) end

local function payload_of(pid)
  return math.tointeger(tonumber((read(pid, ("task/%d/children"):format(pid)) or ""):match "^%d+"))
end

local function uptime()
  return tonumber((file.read "/proc/uptime" or ""):match "^%S+") or 0
end

--- What there is to say of a sandbox; nil when it has just ended.
local function describe(all, reaper, name)
  local process, payload = all[reaper], payload_of(reaper)
  local status = payload and read(payload, "status")
  local uid = status and math.tointeger(status:match "\nUid:%s+(%d+)")
  if not uid then return nil end
  local below = count(all, reaper) - 1
  return {
    pid = payload, reaper = reaper, maker = process.parent ~= 1 and process.parent or nil, uid = uid,
    user = sys.user_name(uid), name = name, seconds = math.max(uptime() - process.start / TICKS_PER_SECOND, 0),
    rss = (tonumber(status:match "\nVmRSS:%s+(%d+) kB") or 0) * 1024, processes = math.max(below, 1),
    command = words_of(payload),
  }
end

--- A list, the oldest first, of { pid (of the payload), reaper (its parent), maker (nil when it is detached from it), uid, user,
-- name, seconds (since its start), rss (of the payload, bytes), processes, command (a list of words) }.
-- @treturn table
function M.list()
  local all, list = processes(), {}
  for pid, process in pairs(all) do
    local name = name_of(pid)
    list[#list + 1] = name and is_reaper(process) and describe(all, pid, name) or nil
  end
  table.sort(list, function(a, b)
    local first, second = all[a.reaper].start, all[b.reaper].start
    if first ~= second then return first < second end
    return a.pid < b.pid
  end)
  return list
end

return M
