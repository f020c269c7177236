--- The verb overlay: layers of the host, and what is written in a directory of its own or in memory.
local check = require "nslua.check"
local entry = require "nslua.entry"
local sys = require "nslua.sys"
local tree = require "nslua.verbs.tree"
local verb = require "nslua.verb"

local M = {}

-- -- where upper and work are --

--- The directory that both paths lie in, and their names below it. An overlay wants them in one mount.
local function common_parent(upper, work)
  local parent = ""
  for component in upper:gmatch "[^/]+" do
    local longer = parent .. "/" .. component
    if upper:sub(1, #longer + 1) ~= longer .. "/" or work:sub(1, #longer + 1) ~= longer .. "/" then break end
    parent = longer
  end
  return parent == "" and "/" or parent, upper:sub(#parent + 2), work:sub(#parent + 2)
end

local LONGEST <const> = 240 -- of a name that fsconfig(2) takes, besides the layer's own

--- Whether a user who is neither root nor its owner can get to a directory: nobody can past one that is root's, or
--- that owner's, and that neither its group nor others may enter.
local function is_reachable(path)
  local owner = sys.stat(path).uid
  local at = "/"
  for component in (path .. "/"):gmatch "([^/]*)/" do
    at = at .. (at == "/" and "" or "/") .. component
    local status = sys.stat(at)
    local private = status.mode & 1 == 0 and (status.mode & 8 == 0 or status.gid == 0)
    if private and (status.uid == 0 or status.uid == owner) then return false end
  end
  return true
end

--- What the kernel would not tell apart.
local function check_upper(e, plan, parent, upper, work)
  local devices = {}
  for i, path in ipairs { upper, work, parent } do
    local status = sys.stat(path)
    if not status then return plan:refuse(e, "the directory %s does not exist", path) end
    devices[i] = status.device
  end
  if devices[1] ~= devices[2] or devices[1] ~= devices[3] then
    plan:refuse(e, "upper and work have to be on one file system, and so has the directory above both, %s", parent)
  end
  if #upper - #parent > LONGEST or #work - #parent > LONGEST then
    plan:refuse(e, "upper and work are too far below %s, the directory above both", parent)
  end
  -- The kernel empties it. What an overlay has left there has no permissions at all.
  local left = sys.lstat(work .. "/work")
  if left and (left.type ~= "directory" or left.mode ~= 0) then
    plan:refuse(e, "work has to be empty, and there is %s/work", work)
  end
  local idmapped = plan.identity.privileged and plan.identity.new and e.options.idmap ~= false
  if idmapped and is_reachable(upper) then
    plan:refuse(e, "%s is written with its owner's rights, also to set-user-id files of a lower layer: others must not get "
      .. "there (chmod o-x it or a directory above), or { idmap = false }", upper)
  end
end

--- Records the writable layer: names of the upper and the work directory.
local function record_upper(e, plan, upper, work)
  if not upper then return nil, nil end
  if upper == "tmp" then
    local size, inodes = verb.limits(e.options)
    local name = plan:layer(plan:filesystem("tmpfs", { size, inodes, { "mode", "755" } }, { "nosuid", "nodev" }))
    plan.mounts:mkdir(plan.stored, name .. "/upper", 493)
    plan.mounts:mkdir(plan.stored, name .. "/work", 493)
    return name .. "/upper", name .. "/work"
  end
  local parent, upper_name, work_name = common_parent(upper, work)
  check_upper(e, plan, parent, upper, work)
  -- What is written belongs to the owner of the upper directory. The kernel looks both up by name: no link of the
  -- tree may lead it elsewhere.
  local shared = entry.make(e.verb, {
    source = parent, owner = upper, at = e.at,
    options = { idmap = e.options.idmap, recursive = not plan.identity.privileged, nosymfollow = true },
  })
  local name = plan:layer(tree.clone(shared, plan, {}))
  return name .. "/" .. upper_name, name .. "/" .. work_name
end

--- The entries of the lower directories: with the overlay's own line and options.
local function layer_entries(e, plan, lower)
  local list = {}
  for i, source in ipairs(lower) do
    local status = type(source) == "string" and sys.stat(source)
    if status and status.type ~= "directory" then plan:refuse(e, "the layer %s is a %s, not a directory", source, status.type) end
    local options = {}
    for name, value in pairs(e.options) do options[name] = value end
    list[i] = entry.make(e.verb, { source = source, target = e.target, at = e.at, options = options })
  end
  return list
end

--- Records an overlay. What is mounted below a layer is not seen in it: root, who may, clones layers without.
-- @tparam entry e its options are those of the mount
-- @tparam nslua.plan plan
-- @tparam table lower sources, the uppermost first
-- @tparam[opt] string upper a directory, or "tmp"
-- @tparam[opt] string work
function M.record(e, plan, lower, upper, work)
  if #lower == 1 and not upper then return tree.clone(layer_entries(e, plan, lower)[1], plan, { read_only = true }) end
  local names = {}
  for i, layer in ipairs(layer_entries(e, plan, lower)) do
    if plan.identity.privileged then layer.options.recursive = false end
    names[i] = plan:layer(tree.clone(layer, plan, { read_only = true, layer = true, writable = upper ~= nil }))
  end
  local upper_name, work_name = record_upper(e, plan, upper, work)
  local attributes = tree.attributes({ exec = e.options.exec, suid = e.options.suid, dev = e.options.dev }, not upper)
  return plan:overlay(e, names, upper_name, work_name, attributes)
end

-- -- the verb --

local function absolute(value)
  local path, problem = check.source(value)
  if not path then return nil, problem end
  if path:sub(1, 1) ~= "/" or path:find "/%.%.?/" or path:find "/%.%.?$" or path:find("\\", 1, true) then
    return nil, "an absolute path without '.' and '..', and without backslashes, which the kernel takes away"
  end
  return (path:gsub("/+", "/"):gsub("(.)/$", "%1"))
end

local MAX_LAYERS <const> = 500 -- the kernel's own limit

local layers = check.record {
  lower = check.list_of(verb.source.type), upper = check.any_of(check.one_of { "tmp" }, absolute), work = absolute,
}

local function parts(value)
  local read, problem = layers(value)
  if not read then return nil, problem end
  if not read.lower or #read.lower == 0 or #read.lower > MAX_LAYERS then
    return nil, ("a table whose lower is a list of 1 to %d directories"):format(MAX_LAYERS)
  end
  if read.upper and read.upper ~= "tmp" and not read.work then
    return nil, "a table that names work beside upper: an empty directory on the same file system"
  end
  if read.work and (not read.upper or read.upper == "tmp") then
    return nil, "a table that names work only beside an upper directory"
  end
  return read
end

verb.rows.overlay = {
  parameters = { { name = "layers", type = parts, table = true }, verb.target_or "/" },
  options = verb.options {
    exec = check.boolean, suid = check.boolean, dev = check.boolean, idmap = tree.idmap,
    size = verb.size, inodes = check.count,
  },
  summary = function(e) return "overlay on " .. e.target end,
  flags = function(e) return e.layers.upper and "rw" or "ro" end,
  own = function(e) return e.layers.upper == "tmp" and "layered" end,
  writes = function(e) return e.layers.upper ~= "tmp" and e.layers.upper or nil end,
  doc = "Directories `lower = { … }` as one, the first uppermost. What is written goes to `upper`, a directory beside which "
    .. "`work` is an empty one on the same file system; or with `upper = \"tmp\"` into memory, gone with the sandbox; without "
    .. "`upper` it is read-only. The target is / when it is not said. In memory, directories of the lower layers can be "
    .. "removed since Linux 6.6, whose tmpfs can remember that. As with `rw`, no link is "
    .. "followed on the way to another source that lies in `upper`, and root's payload can read in an overlay with `upper` what "
    .. "only the owner of a layer may.",
  mount = function(e, plan) return M.record(e, plan, e.layers.lower, e.layers.upper, e.layers.work) end,
}

return M
