--- The control group of one sandbox: made before it starts, gone with it. What a maker that was killed has left, the next
-- process that makes one here takes away: it is a directory with our kind of name that nobody has locked.
-- @classmod nslua.cgroup
local Error = require "nslua.error"
local controllers = require "nslua.controllers"
local hierarchy = require "nslua.hierarchy"
local read = require "nslua.file".read
local sys = require "nslua.sys"

local Group = { __name = "nslua.cgroup" }
Group.__index = Group

local ENOENT <const>, EEXIST <const> = 2, 17
local MODE <const> = 493 -- rwxr-xr-x
local PATTERN <const> = "^nslua%-%d+%-%d+$"
local TRIES <const>, PAUSE <const> = 100, 0.005 -- until what is dying is dead

local function write(path, text)
  local file, _, errno = sys.open(nil, path, "write")
  if not file then return nil, errno end
  local ok
  ok, _, errno = sys.write(file, text)
  file:close()
  return ok, errno
end

local function failed(step, errno) return Error.new { step = step, op = "cgroup", errno = errno } end

-- -- directories --

--- Locks a directory; nil when somebody else has it, or it is gone.
local function lock(path)
  local fd = sys.open(nil, path, { "read", "directory" })
  if not fd then return nil end
  if sys.flock(fd, { "exclusive", "nonblock" }) then return fd end
  fd:close()
end

--- Removes a group and those below it: a payload that may mount can make some.
local function remove_tree(path)
  if os.remove(path) then return true end
  for _, name in ipairs(sys.list_directory(path) or {}) do
    local status = sys.lstat(path .. "/" .. name)
    if status and status.type == "directory" then remove_tree(path .. "/" .. name) end
  end
  return os.remove(path)
end

local swept = {}

--- Takes away what nobody has any more. What still has processes, as of a detached sandbox, stays.
local function sweep(part)
  local parent = part.parent
  if swept[parent] then return true end
  swept[parent] = true
  for _, name in ipairs(sys.list_directory(parent) or {}) do
    local path = parent .. "/" .. name
    local found <close> = name:find(PATTERN) and lock(path) or nil
    if found then remove_tree(path) end
  end
  return true
end

-- -- the steps of making a part: each takes the part, its place in the plan, and the pid of a stage that waits --

local made = 0

--- A new directory, locked.
local function make(part)
  local path, errno
  for _ = 1, TRIES do
    made = made + 1
    path = ("%s/nslua-%d-%d"):format(part.parent, sys.getpid(), made)
    local ok
    ok, _, errno = sys.mkdir(nil, path, MODE)
    part.fd = ok and lock(path) or nil
    if part.fd then
      part.path = path
      return true
    end
    if ok then os.remove(path) end -- somebody has locked it before us, as everybody can
    if not ok and errno ~= EEXIST then break end
  end
  return nil, failed("control group " .. path, errno)
end

--- Passes the controllers on to the groups below, where that is to be said (v2).
local function enable(part, place)
  if part.version == 1 then return true end
  local path = part.parent .. "/cgroup.subtree_control"
  local enabled = hierarchy.words(path)
  for _, controller in ipairs(place.controllers) do
    if not enabled[controller] then
      local ok, errno = write(path, "+" .. controller)
      if not ok then return nil, failed(("controller %s in %s"):format(controller, part.parent), errno) end
    end
  end
  return true
end

local function apply(part, place)
  for _, one in ipairs(place.writes) do
    local file = one[1]
    local text = one.inherited and read(part.parent .. "/" .. file) or one[2]
    local ok, errno = write(part.path .. "/" .. file, text)
    if not ok and not (one.optional and errno == ENOENT) then
      return nil, failed(("limits.%s: %s = %s"):format(one.name, file, text), errno)
    end
  end
  return true
end

local function ask_systemd(part, _, pid)
  local err
  part.parent, err = require "nslua.scope".new(pid)
  return part.parent, err
end

local function move(part, _, pid)
  local ok, errno = write(part.path .. "/cgroup.procs", ("%d"):format(pid))
  if not ok then return nil, failed("control group " .. part.path, errno) end
  return true
end

--- Before its stage is there; for a stage that waits; for one that then waits in a scope, where it has to move on first,
--- as only an empty group passes controllers on.
local EARLY <const>, LATE <const> = { enable, sweep, make, apply }, { enable, sweep, make, move, apply }
local IN_SCOPE <const> = { ask_systemd, make, move, enable, apply }

-- -- the handle --

local function add_part(self, place, pid)
  local part = { version = place.version, parent = place.directory }
  for _, step in ipairs(place.scope and IN_SCOPE or pid and LATE or EARLY) do
    local ok, err = step(part, place, pid)
    if part.path and self.parts[#self.parts] ~= part then table.insert(self.parts, part) end
    if not ok then return nil, err end
  end
  return true
end

--- Makes one for a run: before its stage is there, or for a stage that waits.
-- @tparam table plan of nslua.group_limits
-- @tparam ?integer pid of that stage, where the plan is `late`
-- @treturn[1] nslua.cgroup
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Group.new(plan, pid)
  local self = setmetatable({ parts = {}, own_processes = plan.own_processes, late = plan.late }, Group)
  for _, place in ipairs(plan.places) do
    local ok, err = add_part(self, place, pid)
    if not ok then
      self:remove()
      return nil, err
    end
  end
  return self
end

--- The directory in v2, that a process can be made in; nil without one.
function Group:unified()
  local first = self.parts[1]
  return first.version == 2 and first.fd or nil
end

--- Files by which a process that writes "0" to them joins: by part; not of v2 where it is made in the group.
-- @tparam boolean all also of v2
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Group:doors(all)
  local doors = {}
  for i, part in ipairs(self.parts) do
    if part.version == 1 or all then
      local fd, _, errno = sys.open(nil, part.path .. "/cgroup.procs", "write")
      if not fd then return nil, failed("control group " .. part.path, errno) end
      doors[i] = fd
    end
  end
  return doors
end

--- Whether a process is in all parts of it.
function Group:holds(pid)
  for _, part in ipairs(self.parts) do
    if not hierarchy.words(part.path .. "/cgroup.procs")[("%d"):format(pid)] then return false end
  end
  return true
end

--- Kills all that is in it, where the kernel can do that at once (cgroup v2, Linux 5.14).
function Group:kill()
  local first = self.parts[1]
  return first and first.version == 2 and write(first.path .. "/cgroup.kill", "1") or false
end

--- The sum of the numbers that a pattern finds in a file, or nil.
local function sum(path, pattern, factor)
  local text, total = read(path), nil
  for number in (text or ""):gmatch(pattern) do total = (total or 0) + math.tointeger(number) * (factor or 1) end
  return total
end

--- What it has used by now: of nslua.controllers.counters those that the kernel counts.
function Group:usage()
  local usage = {}
  for _, counter in ipairs(controllers.counters) do
    for _, part in ipairs(self.parts) do
      local of = counter["v" .. part.version]
      if of and not usage[counter.name] then
        usage[counter.name] = sum(part.path .. "/" .. of[1], of[2], of[3])
      end
    end
  end
  if usage.pids_peak then usage.pids_peak = math.max(0, usage.pids_peak - self.own_processes) end
  return usage
end

--- Lets go of it without removing it: a detached sandbox lives on in it.
function Group:release()
  for _, part in ipairs(self.parts) do part.fd:close() end
  self.parts = {}
end

--- Removes it. What was killed in it may need a moment.
function Group:remove()
  for _, part in ipairs(self.parts) do
    for _ = 1, TRIES do
      if remove_tree(part.path) or not sys.stat(part.path) then break end
      sys.poll(PAUSE)
    end
  end
  self:release()
end

return Group
