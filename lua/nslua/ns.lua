--- Namespaces as handles: opened, made, looked at, kept alive in the file system; and who lives where.
-- A recipe's `namespaces` takes a handle where it joins one.
-- @module nslua.ns
local Error = require "nslua.error"
local check = require "nslua.check"
local names = require "nslua.names"
local sys = require "nslua.sys"

local M = {}

--- The kinds, and their names in /proc/PID/ns.
local FILES <const> = {
  cgroup = "cgroup", ipc = "ipc", mount = "mnt", net = "net", pid = "pid", time = "time", user = "user", uts = "uts",
}
local EACCES <const>, EINVAL <const> = 13, 22
local PATIENCE <const>, PAUSE <const>, ANSWER_PATIENCE <const> = 0.2, 0.002, 10 -- seconds

-- -- the handle --

local Handle = { __name = "nslua.namespace" }
Handle.__index = Handle

function Handle:__tostring() return ("%s:[%d]"):format(self.type, self:inode() or 0) end

local function failure(step, errno, hint) return Error.new { step = step, errno = errno, hint = hint } end

--- The kind of an fd's namespace, which has to be this one, if one is said.
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.kind_of(fd, step, kind)
  local flag, _, errno = sys.namespace_type(fd)
  local actual = flag and sys.flag_names("namespaces", flag)[1]
  if actual and (not kind or kind == actual) then return actual end
  if not actual then return nil, failure(step, errno, "it is no namespace") end
  return nil, Error.new { step = step, errno = EINVAL, reason = ("it is a %s namespace, not %s"):format(actual, kind) }
end

--- A handle for an fd, which is closed if it is no such namespace's.
local function handle_of(fd, step, kind)
  local actual, err = M.kind_of(fd, step, kind)
  if actual then return setmetatable({ fd = fd, type = actual }, Handle) end
  fd:close()
  return nil, err
end

--- The number by which the kernel names it, unique among all that exist now; nil when the handle is closed.
function Handle:inode()
  local ok, status = pcall(sys.fstat, self.fd)
  return ok and status and status.inode or nil
end

--- One that it leads to, by a primitive.
local function led_to(self, primitive)
  local fd, _, errno = sys[primitive](self.fd)
  if not fd then return nil, failure(primitive .. " of " .. tostring(self), errno) end
  return handle_of(fd, primitive)
end

--- The user namespace that owns it.
-- @treturn[1] nslua.namespace
-- @treturn[2] nil when it is beyond the caller's own
-- @treturn[2] nslua.error
function Handle:owner() return led_to(self, "namespace_owner") end

--- The one around it: of user and PID namespaces.
-- @treturn[1] nslua.namespace
-- @treturn[2] nil when it is beyond the caller's own, or of another kind
-- @treturn[2] nslua.error
function Handle:parent() return led_to(self, "namespace_parent") end

--- Keeps it alive at a path, without any process: a new file there, on which it is mounted. umount(8) and rm(1) end
--- that. Takes sys_admin.
-- @tparam string path
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Handle:pin(path)
  local file, _, errno = sys.open(nil, path, { "write", "create", "exclusive" })
  if not file then return nil, failure("pin " .. path, errno) end
  file:close()
  local ok
  ok, _, errno = sys.mount(("/proc/self/fd/%d"):format(self.fd:fileno()), path, nil, "bind")
  if ok then return true end
  os.remove(path)
  return nil, failure("pin " .. path, errno, errno == EINVAL and "a mount namespace cannot be pinned in itself or below" or nil)
end

--- Who the caller would be in it: of a user namespace. A copy of this process joins it and looks.
-- @treturn[1] integer uid
-- @treturn[1] integer gid
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Handle:ids()
  local reader, writer, errno = sys.pipe()
  if not reader then return nil, failure("ids in " .. tostring(self), errno) end
  local ours <close> = reader
  local child <close>, _, why = sys.clone({}, function()
    sys.dumpable(0) -- nobody who lives there may look at what is a copy of ours
    local ok, _, refused = sys.setns(self.fd, "user")
    local id = sys.identity()
    sys.write(writer, ok and ("%d %d"):format(id.uid, id.gid) or tostring(refused))
  end)
  writer:close()
  if not child then return nil, failure("ids in " .. tostring(self), why) end
  -- Who lives there may stop it.
  local answer = sys.poll(ANSWER_PATIENCE, ours:fileno(), "r") and sys.read(ours, 64) or ""
  local uid, gid = answer:match "^(%d+) ?(%d*)$"
  if gid and gid ~= "" then return math.tointeger(uid), math.tointeger(gid) end
  local reason = uid == nil and "the process that joined it was stopped or killed" or nil
  return nil, Error.new { step = "join " .. tostring(self), errno = math.tointeger(tonumber(uid)), reason = reason }
end

function Handle:close() self.fd:close() end
Handle.__close = Handle.close

--- Whether a value is a handle.
function M.is(value) return getmetatable(value) == Handle end

-- -- opening and making --

--- Looks at a process again for a moment while that may not be looked at: the kernel gives a program that is just being
--- executed its permissions last.
-- @tparam function look gives a value, or nil, a message and an errno
function M.patiently(look)
  local until_time = sys.clock() + PATIENCE
  while true do
    local value, message, errno = look()
    if value or errno ~= EACCES or sys.clock() > until_time then return value, message, errno end
    sys.poll(PAUSE)
  end
end

--- Opens a path that is a namespace's, of this kind if one is said.
-- @treturn[1] nslua.namespace
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.at(path, step, kind)
  local fd, message, errno = M.patiently(function() return sys.open(nil, path, "read") end)
  if fd then return handle_of(fd, step, kind) end
  return nil, Error.new { op = "open", step = step, path = path, errno = errno, reason = not errno and message or nil }
end

--- Opens a namespace: of a process, of a kind; or at a path, as /run/netns/x.
-- @tparam integer|string of a pid or a path
-- @tparam[opt] string kind as "net"; of a pid it must be said
-- @treturn[1] nslua.namespace
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.open(of, kind)
  if kind ~= nil and not FILES[kind] then error("ns.open: the kind must be " .. check.alternatives(M.kinds), 2) end
  local path = of
  if math.type(of) == "integer" then
    if not kind then error("ns.open: which namespace of process " .. of .. "?", 2) end
    path = ("/proc/%d/ns/%s"):format(of, FILES[kind])
  end
  if type(path) ~= "string" then error("ns.open: a pid or a path, not " .. check.describe(of), 2) end
  return M.at(path, "namespace " .. path, kind)
end

--- What writes the maps of a new user namespace, in which an ordinary caller is itself.
local function mapper(maps)
  local caller = sys.identity()
  if not maps and caller.uid == 0 then error("ns.new: root says uid_map and gid_map for a user namespace", 3) end
  maps = maps or { uid_map = ("%d %d 1"):format(caller.uid, caller.uid), gid_map = ("%d %d 1"):format(caller.gid, caller.gid) }
  return function(pid)
    local ok, message, errno = true, nil, nil
    if caller.uid ~= 0 then ok, message, errno = sys.deny_setgroups(pid) end
    if ok then ok, message, errno = sys.gid_map(pid, maps.gid_map) end
    if ok then ok, message, errno = sys.uid_map(pid, maps.uid_map) end
    return ok or nil, message, errno
  end
end

--- New namespaces that no process lives in: not of the kind pid, which lives as long as its first process. A user
--- namespace among them owns the others.
-- @tparam table kinds as { "net", "uts" }
-- @tparam[opt] table maps of a user namespace: uid_map and gid_map, lines "inside outside count"; an ordinary caller is
--   itself in it when nothing is said
-- @treturn[1] table kind → handle
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.new(kinds, maps)
  if type(kinds) ~= "table" or #kinds == 0 then error("ns.new: a list of kinds", 2) end
  local has_user = false
  for _, kind in ipairs(kinds) do
    if not FILES[kind] or kind == "pid" then error("ns.new: a namespace " .. tostring(kind) .. " cannot be made", 2) end
    has_user = has_user or kind == "user"
  end
  local made, message, errno = sys.new_namespaces(kinds, has_user and mapper(maps) or nil)
  if not made then return nil, failure("new namespaces " .. table.concat(kinds, " ") .. ": " .. message, errno) end
  local handles = {}
  for kind, fd in pairs(made) do handles[kind] = setmetatable({ fd = fd, type = kind }, Handle) end
  return handles
end

-- -- joining a sandbox --

--- The sandbox that a process lives in, as a sandbox whose runs join it: all its namespaces, its root, its control groups
--- where the caller may, its ids; no capability beyond its bounds. What a run leaves in the background stays in it.
-- @tparam integer pid of a process in it, as nslua ps shows
-- @tparam[opt] sandbox base the rest: caps, seccomp, landlock, env, limits, …; by default sandbox {}
-- @treturn[1] sandbox
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.enter(pid, base)
  if math.type(pid) ~= "integer" or pid < 1 then error("ns.enter: a pid, not " .. check.describe(pid), 2) end
  local sandboxes = require "nslua.sandbox"
  if base ~= nil and not sandboxes.is(base) then error("ns.enter: a sandbox, not " .. check.describe(base), 2) end
  local target, err = require "nslua.enter".target(pid)
  if not target then return nil, err end
  return sandboxes.entering(base or sandboxes.sandbox {}, target)
end

-- -- who lives where --

local function command_of(pid)
  local file <close> = io.open(("/proc/%s/comm"):format(pid))
  return file and file:read "l" or nil
end

--- What the kernel tells of an inode's namespace, by a process in it.
local function describe(pid, kind, inode)
  local found = { type = kind, inode = inode, pids = {}, command = command_of(pid) }
  local handle <close> = M.open(math.tointeger(tonumber(pid)), kind)
  if not handle then return found end
  for _, relation in ipairs { "owner", "parent" } do
    local other <close> = handle[relation](handle)
    found[relation] = other and other:inode()
  end
  return found
end

--- Notes the namespaces of one process.
local function note_process(pid, found, order)
  for kind, file in pairs(FILES) do
    local link = sys.readlink(("/proc/%s/ns/%s"):format(pid, file))
    local inode = link and math.tointeger(tonumber(link:match "%[(%d+)%]$"))
    if inode and not found[inode] then
      found[inode] = describe(pid, kind, inode)
      order[#order + 1] = found[inode]
    end
    if inode then table.insert(found[inode].pids, math.tointeger(tonumber(pid))) end
  end
end

--- The namespaces of all processes that the caller may look at: a list of { type=, inode=, pids=, command= (of the
--- first of them), owner=, parent= (inodes, where the caller may know) }, by kind and inode.
-- @treturn table
function M.list()
  local found, order = {}, {}
  for _, name in ipairs(sys.list_directory "/proc" or {}) do
    if name:find "^%d+$" then note_process(name, found, order) end
  end
  table.sort(order, function(a, b)
    if a.type ~= b.type then return a.type < b.type end
    return a.inode < b.inode
  end)
  return order
end

M.files, M.kinds = FILES, names.sorted(FILES)

return M
