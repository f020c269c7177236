--- A running sandbox to be joined, from what /proc tells of one process in it: its namespaces as handles, its root, ids,
-- control groups and bounds. Everything is opened here, by the caller; the stage joins, whose memory is nobody else's.
-- @classmod nslua.enter
local Error = require "nslua.error"
local hierarchy = require "nslua.hierarchy"
local names = require "nslua.names"
local read = require "nslua.file".read
local ns = require "nslua.ns"
local sys = require "nslua.sys"

local CAP_SETGID <const> = 6

local Target = { __name = "nslua.target" }
Target.__index = Target

function Target:__tostring() return "process " .. self.pid end

-- -- reading --

local function failure(self, what, errno, hint)
  return Error.new { step = what .. " of " .. tostring(self), errno = errno, hint = hint }
end

local function problem(self, reason, hint)
  return Error.new { step = tostring(self), reason = reason, hint = hint }
end

--- A file of the process's in /proc, or nil and an error.
local function read_own(self, name)
  local text, _, errno = read(("/proc/%d/%s"):format(self.pid, name))
  if text then return text end
  return nil, failure(self, name, errno)
end

--- Whether it is still the process that everything was read of.
function Target:is_alive() return not sys.poll(0, self.pidfd, "r") end

--- What its namespaces are called; or nil and an error.
local function links_of(self)
  local links = {}
  for _, kind in ipairs(ns.kinds) do
    local name = ns.files[kind]
    local own = sys.readlink("/proc/self/ns/" .. name)
    local link, _, errno = ns.patiently(function() return sys.readlink(("/proc/%d/ns/%s"):format(self.pid, name)) end)
    if own and not link then
      return nil, failure(self, "namespaces", errno, "only who made a sandbox may join it, and root")
    end
    links[kind] = link ~= own and link or nil
  end
  return links
end

--- Handles of those that are not our own.
local function open_namespaces(self, links)
  self.namespaces = {}
  for kind in pairs(links) do
    local handle, err = ns.open(self.pid, kind)
    if not handle then return nil, err end
    self.namespaces[kind] = handle
  end
  return true
end

--- Its root, where that is not ours.
local function open_root(self)
  local root, _, errno = sys.open(nil, ("/proc/%d/root"):format(self.pid), { "path", "directory" })
  if not root then return nil, failure(self, "root", errno) end
  local status, own = sys.fstat(root), sys.stat "/"
  local is_ours = not self.namespaces.mount and status.inode == own.inode and status.device == own.device
  if is_ours then root:close() else self.root = root end
  return true
end

--- What an id is inside; nil when the sandbox does not know it.
local function inside(map, id)
  for line in map:gmatch "[^\n]+" do
    local first, outside, count = line:match "(%d+)%s+(%d+)%s+(%d+)"
    if id >= outside + 0 and id < outside + count then return math.tointeger(first + id - outside) end
  end
end

--- Its ids: `uid` and `gid` as it has them itself, host_uid and host_gid as we have.
local function read_ids(self, status)
  for _, kind in ipairs { "uid", "gid" } do
    local id = math.tointeger(tonumber(status:match("\n" .. (kind == "uid" and "Uid" or "Gid") .. ":%s+(%d+)")))
    local map, err = read_own(self, kind .. "_map")
    if not map then return nil, err end
    self["host_" .. kind] = id
    self[kind] = self.namespaces.user and inside(map, id) or not self.namespaces.user and id or nil
    if not self[kind] then return nil, problem(self, ("its %s %d has no name in its user namespace"):format(kind, id)) end
  end
  return true
end

local function read_status(self)
  local status, err = read_own(self, "status")
  if not status then return nil, err end
  self.bounding = math.tointeger(tonumber(status:match "\nCapBnd:%s+(%x+)", 16))
  self.no_new_privs = status:match "\nNoNewPrivs:%s+(%d)" == "1"
  return read_ids(self, status)
end

-- -- control groups --

--- The file that a process joins a group by: an fd, or nil and why not.
local function open_group(controllers, path)
  local directory = hierarchy.directory(controllers, path)
  if not directory then return nil, "it is not mounted here" end
  local fd, _, errno = sys.open(nil, directory .. "/cgroup.procs", "write")
  return fd, errno and (sys.strerror(errno))
end

--- The control groups that are not ours: files to join them by, and which of them we cannot.
local function open_groups(self)
  local text, err = read_own(self, "cgroup")
  if not text then return nil, err end
  local own = "\n" .. (read "/proc/self/cgroup" or "")
  self.groups, self.missed = {}, {}
  for line in text:gmatch "[^\n]+" do
    local controllers, path = line:match "^%d+:([^:]*):(.*)$"
    if not own:find("\n" .. line .. "\n", 1, true) then
      local words = "control group " .. (controllers == "" and "" or controllers .. ":") .. path
      local fd, why = open_group(controllers, path)
      if fd then self.groups[#self.groups + 1] = { fd = fd, words = words }
      else self.missed[#self.missed + 1] = words .. ": " .. why end
    end
  end
  return true
end

-- -- the target --

--- Nothing that was read may be of two processes, or of two states of one.
local function is_same(self, links)
  local again = links_of(self)
  for _, kind in ipairs(ns.kinds) do
    if not again or again[kind] ~= links[kind] then return false end
  end
  return self:is_alive()
end

local function read_all(self)
  local links, err = links_of(self)
  if not links then return nil, err end
  for _, part in ipairs { open_namespaces, open_root, read_status, open_groups } do
    local ok
    ok, err = part(self, links)
    if not ok then return nil, err end
  end
  if not is_same(self, links) then return nil, problem(self, "it has ended or joined others meanwhile") end
  if not next(links) and not self.root then
    return nil, problem(self, "it lives where the caller lives: there is no sandbox to join")
  end
  return self
end

local M = {}

--- The sandbox that a process lives in.
-- @tparam integer pid
-- @treturn[1] nslua.enter
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.target(pid)
  local self = setmetatable({ pid = pid }, Target)
  local pidfd, _, errno = sys.pidfd_open(pid)
  self.pidfd = pidfd
  if not pidfd then return nil, Error.new { step = tostring(self), errno = errno } end
  if (read "/proc/sys/fs/suid_dumpable" or ""):match "%d" == "1" then
    return nil, problem(self, "those in a sandbox could look into who joins it", "sysctl fs.suid_dumpable must not be 1")
  end
  if not self:is_alive() then return nil, problem(self, "it has ended") end
  local all, err = read_all(self)
  if all or self:is_alive() then return all, err end
  return nil, problem(self, "it has ended")
end

--- The fields of a recipe that lives there.
function Target:fields()
  local unset = require "nslua.sandbox".unset
  local namespaces = {}
  for _, kind in ipairs(ns.kinds) do namespaces[kind] = self.namespaces[kind] or false end
  return {
    namespaces = namespaces, user = { uid = self.uid, gid = self.gid }, fs = unset, net = unset, hostname = unset,
    domainname = unset, clock = unset, init = unset, steps = unset,
  }
end

--- The capabilities of a payload, within the bounds of those who live there; or nil and an error.
-- @param wanted the field caps
function Target:capabilities(wanted)
  if wanted == "all" then return self.bounding end
  local beyond = (wanted or 0) & ~self.bounding
  if beyond == 0 then return wanted or 0 end
  return nil, problem(self, "it is bounded to less than capabilities " .. table.concat(names.capabilities(beyond), ", "))
end

--- What Landlock is to hold to where a recipe says nothing: its scopes only where the sandbox shares with the caller what
--- they are about, for who joins it is to reach those who live there.
-- @param wanted the field landlock
function Target:landlock(wanted)
  if wanted ~= nil and wanted ~= "default" then return wanted end
  local scope = {}
  if not self.namespaces.pid then scope[1] = "signal" end
  if not self.namespaces.net then scope[#scope + 1] = "abstract_unix" end
  return { scope = scope, best_effort = true }
end

--- Why a compiled recipe cannot be run there, as what is weaker than those who live there; an error, or nil.
function Target:refusal(ready)
  if not self:is_alive() then return problem(self, "it has ended") end
  if self.no_new_privs and ready.recipe.no_new_privs == false then return problem(self, "it has no_new_privs") end
  if ready.groups then return problem(self, "who joins it joins its control groups, and has no limits in groups of its own") end
end

-- -- recording --

--- What comes before anything is joined: from here on nobody in there can look into the stage, and what only the caller
--- may do is done.
function Target:record_outside(plan)
  plan:owner "user"
  plan.setup:dumpable(0)
  if plan.identity.caller.capabilities >> CAP_SETGID & 1 == 1 then
    plan.setup:tolerate "EPERM" -- the caller's own user namespace may forbid it
    plan.setup:setgroups {}
  end
  for _, group in ipairs(self.groups) do
    plan:owner(group.words)
    plan.setup:optional("EACCES", "EPERM", "ENOENT", "EBUSY")
    plan.setup:write(plan.setup:pass(group.fd), "0")
  end
end

--- The root, as the payload's user.
function Target:record_root(plan)
  if not self.root then return end
  plan:owner("root of " .. tostring(self))
  plan.setup:fchdir(plan.setup:pass(self.root))
  plan.setup:chroot "."
  plan.root = plan.setup:open(nil, "/", { "path", "directory" })
end

return M
