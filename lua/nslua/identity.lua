--- Who the payload is: ids inside, ids outside, maps. Host id 0 is never mapped by a default.
-- @module nslua.identity
local Error = require "nslua.error"
local sys = require "nslua.sys"

local Identity = {}
Identity.__index = Identity

local CAP_SETGID <const>, CAP_SETUID <const>, CAP_SETPCAP <const>, CAP_SYS_ADMIN <const> = 6, 7, 8, 21
local DEFAULT_ID <const> = 1000

-- Ids that no login, container manager or subordinate range uses; below 2^31, as some tools want it.
local PRIVATE_FIRST <const>, PRIVATE_LAST <const> = 1879048192, 2147352575
local BLOCKS_FIRST <const>, BLOCK <const> = PRIVATE_FIRST + (1 << 27), 65536
local IDS_PER_PROCESS <const> = 64
local boxes_made = 0

local function has(capabilities, number) return capabilities >> number & 1 == 1 end

--- Whether the caller is in groups that it could not drop.
local function has_foreign_groups(caller)
  for _, group in ipairs(caller.groups) do
    if group ~= caller.gid then return true end
  end
  return false
end

--- The ids of a process's user namespace (without a pid, the caller's own), as { first, count } of each line; and the text.
local function mapped_ranges(kind, pid)
  local ranges = {}
  local path = ("/proc/%s/%s_map"):format(pid or "self", kind)
  local text
  local file, message, errno = io.open(path)
  if file then
    text, message, errno = file:read "a"
    file:close()
  end
  if not text then error(Error.new { step = path, errno = errno, reason = not errno and message or nil }) end
  for line in text:gmatch "[^\n]+" do
    local first, _, count = line:match "^%s*(%d+)%s+(%d+)%s+(%d+)"
    ranges[#ranges + 1] = { math.tointeger(first), math.tointeger(count) }
  end
  return ranges, text
end

--- What is mapped in the namespace that we have read it of; what has been mapped stays so.
local known = { uid = {}, gid = {} }

--- The same of the caller's own user namespace.
local function own_ranges(kind)
  local namespace = sys.stat "/proc/self/ns/user"
  if not namespace then return mapped_ranges(kind) end
  if known.namespace ~= namespace.inode then known = { namespace = namespace.inode, uid = {}, gid = {} } end
  if #known[kind] == 0 then known[kind] = mapped_ranges(kind) end
  return known[kind]
end

--- An id of the private range that this process has for itself, or where that is not mapped (we are
--- root in a container) the highest that is. nil when there is none but 0.
local function private_id(kind, pid)
  local span = BLOCKS_FIRST - PRIVATE_FIRST
  local id = PRIVATE_FIRST + (pid * IDS_PER_PROCESS + boxes_made % IDS_PER_PROCESS) % span
  local highest = 0
  for _, range in ipairs(own_ranges(kind)) do
    if id >= range[1] and id < range[1] + range[2] then return id end
    highest = math.max(highest, range[1] + range[2] - 1)
  end
  return highest > 0 and highest or nil
end

--- As many ids as there are wanted from the other half of the private ranges, for root: whole blocks, one a process.
local function private_block(pid, size)
  local block = math.max(size, BLOCK)
  return BLOCKS_FIRST + pid % ((PRIVATE_LAST - BLOCKS_FIRST + 1) // block) * block
end

local function own_line(inside, outside) return ("%d %d 1"):format(inside, outside) end

local function map_text(map)
  local lines = {}
  for i, line in ipairs(map) do lines[i] = ("%d %d %d"):format(line[1], line[2], line[3]) end
  return table.concat(lines, "\n")
end

local function home_of(uid) return uid == 0 and "/root" or "/home/sandbox" end

--- What an id inside is outside, by a map; nil when it is not mapped.
local function outside(map, id)
  for _, line in ipairs(map) do
    if id >= line[1] and id < line[1] + line[3] then return line[2] + id - line[1] end
  end
end

--- The private ids of root, who may give them away; nil for anybody else, and for the root of a user
--- namespace that has no ids but its own.
local function private_ids(caller)
  for _, capability in ipairs { CAP_SETUID, CAP_SETGID, CAP_SYS_ADMIN } do
    if caller.uid ~= 0 or not has(caller.capabilities, capability) then return nil end
  end
  local ids = { uid = private_id("uid", caller.pid), gid = private_id("gid", caller.pid) }
  return ids.uid and ids.gid and ids or nil
end

--- Whether the kernel lets the sandbox change its groups: an ordinary caller could shed one by which others refuse it
-- something, so with maps that it writes itself it may not.
function Identity:may_set_groups() return self.privileged or self.delegated or self.map ~= nil end

--- The supplementary groups wanted; or nil and a problem.
local function read_groups(self, groups)
  if groups == "strict" then
    if not self:may_set_groups() and has_foreign_groups(self.caller) then
      return nil, "groups = \"strict\", but an ordinary caller cannot drop its supplementary groups"
    end
    return {}
  end
  if groups and self.new and not self:may_set_groups() then
    return nil, "supplementary groups can be given by root only, or with a map of subordinate ids"
  end
  return groups or {}
end

--- The map of user = "auto": the ids that are the caller's to give. Raises an nslua.error when there are none.
local function automatic_map(self, kind, size)
  if self.privileged then return { { 0, private_block(self.caller.pid, size or BLOCK), size or BLOCK } } end
  local map, err = require "nslua.subordinate".map(kind, self.caller, size)
  if not map then error(err, 0) end
  return map
end

--- Whether we are the host's root, also in a user namespace where that one is 0: what is the kernel's in /proc/sys is its.
local function is_host_root(caller)
  local kernel = sys.stat "/proc/sys/kernel"
  return caller.uid == 0 and (not kernel or kernel.uid == 0)
end

--- Whether an ordinary caller may write this map itself.
local function is_own(map, own) return #map == 1 and map[1][2] == own and map[1][3] == 1 end

--- One kind of id inside, outside, and its map. Somebody else's map is known when it is there.
local function choose_id(self, kind, wanted, user)
  if self.map then
    self[kind], self.ranges[kind] = wanted[kind], {}
    return nil
  end
  local caller_id = self.caller[kind]
  local map = wanted[kind .. "_map"] or wanted.auto and automatic_map(self, kind, wanted.size)
  local id = wanted[kind] or map and map[1][1] or user == "root" and 0 or self.privileged and DEFAULT_ID or caller_id
  local host
  if map then host = outside(map, id)
  elseif self.privileged then host = self.private[kind]
  elseif is_host_root(self.caller) then
    error(Error.new {
      step = "user", hint = "user.uid_map and user.gid_map may map 0 nevertheless",
      reason = "this root cannot give the payload another id than the host's 0, for want of the capabilities setuid, setgid or "
        .. "sys_admin, or of ids in its user namespace",
    })
  else host = caller_id end
  if not host then
    return ("the %s %d is not mapped: say how with user.%s_map"):format(kind, id, kind)
  end
  self[kind], self["host_" .. kind] = id, host
  self.ranges[kind] = map or { { id, host, 1 } }
  self[kind .. "_map"] = map_text(self.ranges[kind])
  self.delegated = self.delegated or not self.privileged and not is_own(self.ranges[kind], caller_id)
end

--- A new inner user namespace is mapped by a process in it, which can give it its own ids only.
local function problem_of_inner(self)
  if not self.inner then return nil end
  if not self.holds then return "user.inner needs another user namespace around it (namespaces.user)" end
  if self.inner == true and (not self.new or self.map) then
    return "user.inner = true needs a new user namespace around it, with ids that nslua maps"
  end
  for _, kind in ipairs { "uid", "gid" } do
    local map = self.ranges[kind]
    if self.inner == true and (#map ~= 1 or map[1][3] ~= 1) then return "user.inner = true goes with a single uid and gid" end
  end
end

--- Raises an nslua.error when the caller's own maps cannot be read.
-- @return the identity, or nil and a problem
-- @param user the field
-- @param new whether there is a new user namespace
-- @param joined whether another one is joined
-- @tparam ?nslua.enter target of a sandbox that is joined as a whole
-- @param keeps_groups whether the caller's supplementary groups stay
function Identity.of(user, new, joined, target, keeps_groups)
  joined = joined or target ~= nil
  local caller = sys.identity()
  local self = setmetatable({
    caller = caller, new = new, joined = joined, ranges = {}, entered = target ~= nil, keeps_groups = keeps_groups,
  }, Identity)
  boxes_made = boxes_made + 1
  self.private = private_ids(caller)
  self.privileged = self.private ~= nil
  self.holds = new or joined or has(caller.capabilities, CAP_SETPCAP) -- capabilities, before they are dropped
  local wanted = type(user) == "table" and user or user == "auto" and { auto = true } or {}
  self.map, self.inner = new and wanted.map or nil, wanted.inner
  local problem
  if new then
    problem = choose_id(self, "uid", wanted, user) or choose_id(self, "gid", wanted, user)
    if problem then return nil, problem end
  elseif user and not joined and not self.inner then
    return nil, "user needs a new user namespace (namespaces.user)"
  else
    self.uid, self.gid = wanted.uid or caller.uid, wanted.gid or caller.gid
  end
  if target then self.host_uid, self.host_gid = target.host_uid, target.host_gid end
  self.groups, problem = read_groups(self, wanted.groups)
  problem = problem or problem_of_inner(self)
  if problem then return nil, problem end
  self.home = home_of(self.uid)
  return self
end

--- Whether the stage begins as uid 0, or may: becoming another one would cost it its capabilities.
local function is_root_inside(self)
  if self.map then return self.uid ~= 0 end
  return self.new and self.uid ~= 0 and outside(self.ranges.uid, 0) == self.caller.uid
end

--- Records becoming one of those who live in a sandbox already: its groups may be beyond us.
function Identity:record_entered(setup)
  setup:tolerate "EPERM"
  setup:setgroups {}
  setup:securebits "no_setuid_fixup"
  setup:setresgid(self.gid, self.gid, self.gid)
  setup:setresuid(self.uid, self.uid, self.uid)
end

--- Records taking on the identity: the maps (unless they have been written from outside), groups, ids.
function Identity:record(plan)
  local setup = plan.setup
  if self.entered then return self:record_entered(setup) end
  if self.new and not self:may_set_groups() then
    for _, file in ipairs { { "setgroups", "deny" }, { "gid_map", self.gid_map }, { "uid_map", self.uid_map } } do
      plan:owner(file[1])
      setup:write(plan:proc_file(file[1]), file[2])
    end
    plan:owner "user"
  elseif not self.keeps_groups and (self:may_set_groups() or #self.groups > 0) then
    setup:setgroups(self.groups)
  end
  if not (self.new or self.joined) then return end
  if is_root_inside(self) then setup:securebits "no_setuid_fixup" end
  setup:setresgid(self.gid, self.gid, self.gid)
  setup:setresuid(self.uid, self.uid, self.uid)
end

--- Records the wait for ids that are mapped from outside: by us, or by a function, whose user has to be let.
function Identity:record_wait(plan)
  if self.map then
    plan.setup:dumpable(1)
    plan.setup:announce()
    plan.setup:dumpable(0)
  elseif self.new and self.privileged then
    plan.setup:await()
  end
end

--- The map of a process's user namespace, which has to have our id.
-- @treturn[1] string lines "inside outside count"
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Identity:read_map(kind, pid)
  local ok, ranges, text = pcall(mapped_ranges, kind, pid)
  if not ok then return nil, ranges end
  for _, range in ipairs(ranges) do
    if self[kind] >= range[1] and self[kind] < range[1] + range[2] then
      return (text:gsub(" +", " "):gsub("\n ", "\n"):gsub("^ ", ""):gsub("\n$", ""))
    end
  end
  return nil, Error.new { step = "user.map", reason = ("it has not mapped the %s %d"):format(kind, self[kind]) }
end

--- The map of an idmapped mount that gives what `owner` owns to the sandbox's user.
function Identity:idmap(owner_uid, owner_gid)
  return own_line(owner_uid, self.host_uid), own_line(owner_gid, self.host_gid)
end

--- What an id inside is to the host; nil when it is not mapped.
function Identity:host_id(kind, id)
  if not self.new or self.map then return id end
  return outside(self.ranges[kind], id)
end

--- The map of an idmapped mount from lines { on_disk, inside, count }.
-- @treturn[1] string lines "on_disk outside count"
-- @treturn[2] nil
-- @treturn[2] string why not
function Identity:idmap_lines(kind, lines)
  local mapped = {}
  for i, line in ipairs(lines) do
    local on_disk, inside, count = line[1], line[2], line[3]
    local first = outside(self.ranges[kind], inside)
    if not first or outside(self.ranges[kind], inside + count - 1) ~= first + count - 1 then
      return nil, ("the %ss %d to %d are not mapped in the sandbox"):format(kind, inside, inside + count - 1)
    end
    mapped[i] = { on_disk, first, count }
  end
  if #mapped == 0 then return nil, ("it needs uid_map and gid_map, lists of { on_disk, inside, count }") end
  return map_text(mapped)
end

local function lines_with_own(lines, id, own)
  if id ~= 0 and id ~= 65534 then lines[#lines + 1] = own end
  return table.concat(lines, "\n") .. "\n"
end

--- /etc/passwd and /etc/group of the sandbox.
function Identity:passwd()
  return lines_with_own({ "root:x:0:0:root:/root:/bin/sh", "nobody:x:65534:65534:nobody:/:/bin/false" },
    self.uid, ("sandbox:x:%d:%d:sandbox:%s:/bin/sh"):format(self.uid, self.gid, self.home))
end

function Identity:group()
  return lines_with_own({ "root:x:0:", "nogroup:x:65534:" }, self.gid, ("sandbox:x:%d:"):format(self.gid))
end

return Identity
