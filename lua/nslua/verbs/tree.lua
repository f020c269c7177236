--- Clones of the host's trees, with attributes that hold for all of them before they are mounted anywhere.
local check = require "nslua.check"
local verb = require "nslua.verb"

local M = {}

M.atime = check.one_of { "noatime", "relatime", "strictatime" }
M.propagation = check.one_of { "private", "slave" }

local id_line = check.list_of(check.count)

local function id_lines(value)
  local lines, problem = check.list_of(id_line)(value)
  if not lines then return nil, problem end
  for _, line in ipairs(lines) do
    if #line ~= 3 or line[3] == 0 then return nil, "a list of entries { on_disk, inside, count }" end
  end
  return lines
end

M.idmap = check.any_of(check.boolean, check.record { uid_map = id_lines, gid_map = id_lines })

-- -- ids --

--- The two maps of an idmapped mount: ids on the disk to those of the host that the sandbox sees as wanted.
local function maps_of(e, plan, wanted)
  local identity = plan.identity
  if wanted == true then
    local status = verb.status(e)
    if not status then return nil end -- opening it will tell
    return identity:idmap(status.uid, status.gid)
  end
  local maps = {}
  for _, kind in ipairs { "uid", "gid" } do
    local lines, problem = identity:idmap_lines(kind, wanted[kind .. "_map"] or {})
    if not lines then verb.mistake(e, "idmap: %s", problem) end
    maps[kind] = lines
  end
  return maps.uid, maps.gid
end

--- A register of the user namespace that a tree is mapped by, or nil. Unasked it is for what can be written.
local function idmap_of(e, plan, how)
  local wanted, identity = e.options.idmap, plan.identity
  local able = identity.privileged and identity.new and not identity.map
  if wanted == nil then wanted = able and (how.writable or not how.read_only) end
  if not wanted then return nil end
  if not able then
    local status = verb.status(e)
    if wanted == true and status and status.uid == identity.caller.uid then return nil end -- it is so already
    verb.mistake(e, "idmap: only root can map the ids of a file system of the host, in a new user namespace; "
      .. "share what belongs to you, or a copy")
  end
  local uid_map, gid_map = maps_of(e, plan, wanted)
  if not uid_map then return nil end
  return plan:idmap(uid_map, gid_map, how.layer)
end

-- -- attributes --

local PLAIN <const>, PLAIN_READ_ONLY <const> = { "nosuid", "nodev" }, { "ro", "nosuid", "nodev" }

--- The attributes that options ask for, as names of mount_attributes.
function M.attributes(options, read_only, idmap)
  if not idmap and next(options) == nil then return read_only and PLAIN_READ_ONLY or PLAIN end
  local list = {}
  local function add(name, condition)
    if condition then list[#list + 1] = name end
  end
  add("ro", read_only)
  add("nosuid", not options.suid)
  add("nodev", not options.dev)
  add("noexec", options.exec == false)
  add("idmap", idmap)
  add("nosymfollow", options.nosymfollow)
  add(options.atime, options.atime and options.atime ~= "relatime")
  return list
end

--- The section, whose next operation may find nothing where the entry says so.
local function allowed(sources, e) return e.options.optional and sources:optional("ENOENT", "ENOTDIR") or sources end

--- Records opening a source: a clone where the flags say so. In a tree that the payload can write no link is followed: an
-- earlier run may have left it there; unless the entry says `follow`.
function M.open(e, plan, flags)
  local sources, fd = plan.sources, verb.fd_of(e)
  if fd then return sources:open_tree(sources:reopen(fd), nil, flags) end
  local writable, rest = plan:writable_above(e.source)
  if not writable or e.options.follow then return allowed(sources, e):open_tree(nil, e.source, flags) end
  local root = allowed(sources, e):open(nil, writable, { "path", "directory" })
  return sources:open_tree(allowed(sources, e):open(root, rest, "path"), nil, flags)
end

local RECURSIVE <const> = { "clone", "recursive" }

--- Records a detached clone of the tree at a source, with its attributes on it and all below it at once.
-- @tparam entry e
-- @tparam nslua.plan plan
-- @tparam table how read_only; layer: of an overlay, which hides it; writable: that overlay can be written
function M.clone(e, plan, how)
  local sources, options = plan.sources, e.options
  local recursive = options.recursive ~= false
  local clone = M.open(e, plan, recursive and RECURSIVE or "clone")
  local idmap = idmap_of(e, plan, how)
  local attributes = M.attributes(options, how.read_only, idmap)
  sources:mount_setattr(clone, nil, attributes, options.atime and "atime", options.propagation or "private",
    recursive and "recursive" or nil, idmap)
  sources:expect_mount(clone, attributes)
  return clone
end

return M
