--- The control groups that this process sees: where each controller is, and where it may make groups of its own.
--
-- In cgroup v2 a group with processes in it cannot have limited ones below it. So ours come beside the caller's own
-- group, in the nearest one around it that is the caller's to change and has the controllers; in v1, below its own.
-- @module nslua.hierarchy
local read = require "nslua.file".read
local sys = require "nslua.sys"

local M = {}

--- In place of a directory that is not there yet.
local SCOPE <const> = "a scope of systemd"

--- What v1 calls otherwise.
local V1_NAMES <const> = { io = "blkio" }

-- -- what there is --

--- mountinfo writes blanks in octal.
local function unescape(path) return (path:gsub("\\(%d%d%d)", function(octal) return string.char(tonumber(octal, 8)) end)) end

--- The group of a process in each hierarchy: by controller; the one of v2 as "unified".
local function groups_of(pid)
  local groups = {}
  for line in io.lines(("/proc/%s/cgroup"):format(pid)) do
    local controllers, path = line:match "^%d+:([^:]*):(/.*)$"
    for name in (controllers == "" and "unified" or controllers or ""):gmatch "[^,]+" do groups[name] = path end
  end
  return groups
end

--- Where a group is in the file system; nil when it lies outside what is mounted.
local function directory_of(mount, root, path)
  if not path or path:find("/..", 1, true) then return nil end
  if root ~= "/" then
    if path ~= root and path:sub(1, #root + 1) ~= root .. "/" then return nil end
    path = path:sub(#root + 1)
  end
  return path == "/" and mount or mount .. path
end

--- Each hierarchy that is mounted: by controller { mount=, root= (that it shows), own= }; the one of v2 as "unified".
local function hierarchies()
  local found, own = {}, groups_of "self"
  for line in io.lines "/proc/self/mountinfo" do
    local root, mount, kind, super = line:match "^%d+ %d+ %S+ (%S+) (%S+) .- %- (cgroup2?) %S+ (%S+)$"
    for name in (kind == "cgroup2" and "unified" or super or ""):gmatch "[^,]+" do
      local at = unescape(mount or "")
      local directory = own[name] and directory_of(at, unescape(root), own[name])
      if directory and not found[name] then
        found[name] = { mount = at, root = unescape(root), own = directory, nsdelegate = super:find "nsdelegate" ~= nil }
      end
    end
  end
  return found
end

--- The words of a file, as a set.
local function words(path)
  local set = {}
  for word in (read(path) or ""):gmatch "%S+" do set[word] = true end
  return set
end

local function may_write(path)
  local file <close> = io.open(path, "r+")
  return file ~= nil
end

-- -- v2 --

--- Only the root of all has no type: it may have both processes and limited groups.
local function is_root(directory) return not sys.stat(directory .. "/cgroup.type") end

--- The groups around the caller's own, from the nearest; the own one only when it is the root of all.
local function around(place)
  local list, directory = {}, place.own
  if is_root(directory) then list[1] = directory end
  while #directory > #place.mount do
    directory = directory:match "^(.*)/"
    list[#list + 1] = directory
  end
  return list
end

--- What the group's children can have: nil when it is not ours to give any. An ordinary caller's must own the directory.
local function given_by(directory)
  local status, caller = sys.stat(directory), sys.identity()
  local ours = caller.uid == 0 or status and status.uid == caller.uid
  if not ours or not may_write(directory .. "/cgroup.procs") then return nil end
  local enabled = words(directory .. "/cgroup.subtree_control")
  if not may_write(directory .. "/cgroup.subtree_control") then return enabled end
  local occupied = not is_root(directory) and (read(directory .. "/cgroup.procs") or "") ~= ""
  return occupied and {} or words(directory .. "/cgroup.controllers")
end

local function count(set, wanted)
  local n = 0
  for _, name in ipairs(wanted) do n = n + (set[name] and 1 or 0) end
  return n
end

--- The nearest group that gives all that is wanted, or else most of it.
-- @treturn ?string its directory
-- @treturn table what it gives, as a set
local function nearest(place, wanted)
  local best, given, most = nil, {}, -1
  for _, directory in ipairs(around(place)) do
    local gives = given_by(directory)
    local n = gives and count(gives, wanted) or -1
    if n > most then best, given, most = directory, gives, n end
  end
  return best, given
end

-- -- what is missing --

--- The group that does not pass a controller on, of those between the root and the caller's.
local function missing_at(place, controller)
  local list = around(place)
  for i = #list, 1, -1 do
    if not words(list[i] .. "/cgroup.subtree_control")[controller] then return list[i] end
  end
end

--- A group as people and systemd name it.
local function group_name(place, directory)
  local name = directory:sub(#place.mount + 1)
  return name == "" and "/" or name
end

local DELEGATE <const> = "systemd-run --user --scope -p Delegate=yes nslua …, or Delegate=yes in the unit of the service"

local function explain_unified(place, directory, controller)
  local own = group_name(place, place.own)
  if not directory then
    return ("no control group around %s is this user's to change"):format(own), DELEGATE .. ", gives one that is"
  elseif directory == SCOPE then
    return ("this user's systemd has the controller %s not to pass on"):format(controller),
      ("as root: Delegate=%s and the others in a drop-in of user@.service"):format(controller)
  end
  local at = missing_at(place, controller) or directory
  return ("the controller %s is not passed on by the control group %s"):format(controller, group_name(place, at)),
    ("as root: echo +%s > %s/cgroup.subtree_control; for good: %s"):format(controller, at, DELEGATE)
end

local function explain_v1(place, controller)
  if not place then
    return ("no control group that is mounted has the controller %s"):format(controller),
      "see /proc/cgroups, and whether cgroup2 is mounted on /sys/fs/cgroup"
  end
  return ("the controller %s is in cgroup v1, at %s, where only root may make groups"):format(controller, place.own),
    "cgroup v2 can be delegated: systemd.unified_cgroup_hierarchy=1 on the kernel's command line"
end

-- -- the whole --

--- Where groups of v2 can be made, and with which controllers (a set); nil where none can be.
local function place_in_unified(unified, wanted)
  local directory, given = nearest(unified, wanted)
  if directory then return directory, given end
  given = require "nslua.scope".controllers(unified.mount)
  if given then return SCOPE, given end
end

--- Notes a controller at its place.
local function note(places, version, directory, controller, hierarchy)
  for _, place in ipairs(places) do
    if place.directory == directory then return table.insert(place.controllers, controller) end
  end
  table.insert(places, {
    version = version, directory = directory, controllers = { controller }, scope = directory == SCOPE,
    mount = hierarchy.mount, nsdelegate = hierarchy.nsdelegate,
  })
end

--- Those that v2 has, and the others.
local function by_version(unified, wanted)
  local all, new, old = unified and words(unified.mount .. "/cgroup.controllers") or {}, {}, {}
  for _, controller in ipairs(wanted) do table.insert(all[controller] and new or old, controller) end
  return new, old
end

--- Where groups with these controllers can be made.
-- @tparam table wanted list of controllers
-- @treturn table places: { version=, directory=, controllers = list, mount=, nsdelegate= }, the one of v2 first; with `scope`
-- it has to be asked of systemd for each sandbox
-- @treturn table what is missing: controller → { reason=, hint= }
function M.places(wanted)
  local found, places, missing = hierarchies(), {}, {}
  local function miss(controller, reason, hint) missing[controller] = { reason = reason, hint = hint } end
  local new, old = by_version(found.unified, wanted)
  local directory, given
  if #new > 0 then directory, given = place_in_unified(found.unified, new) end
  for _, controller in ipairs(new) do
    if given and given[controller] then note(places, 2, directory, controller, found.unified)
    else miss(controller, explain_unified(found.unified, directory, controller)) end
  end
  for _, controller in ipairs(old) do
    local hierarchy = found[V1_NAMES[controller] or controller]
    if hierarchy and may_write(hierarchy.own .. "/cgroup.procs") then note(places, 1, hierarchy.own, controller, hierarchy)
    else miss(controller, explain_v1(hierarchy, controller)) end
  end
  return places, missing
end

--- Where a group is, by its line in /proc/PID/cgroup.
-- @tparam string controllers with "," between; of v2 ""
-- @tparam string path
-- @treturn ?string its directory; nil when that is not mounted here
function M.directory(controllers, path)
  local place = hierarchies()[controllers == "" and "unified" or controllers:match "^[^,]*"]
  return place and directory_of(place.mount, place.root, path)
end

--- The directory of a process's group in v2; nil when it has none that is seen here.
function M.group_of(pid) return M.directory("", groups_of(pid).unified) end

M.words = words

return M
