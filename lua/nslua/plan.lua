--- The plan that a recipe compiles to: sections of operations, and what the verbs share. This is what
-- a function in `fs` or `steps` is called with: every primitive of nslua.sys is a method that records
-- it at the current place, and the methods below build on them.
--
-- Sections run in this order: setup (ids, names), sources (clones of the host's trees; by the maker
-- where only that may open them), mounts (new file systems), root (the new root, entered), tree
-- (everything in it), seals (the old root gone, read-only what has to be), steps, drop (privileges go, the stage splits).
-- @classmod nslua.plan
-- @field root register of the root directory
-- @field new set of the namespaces that are new
-- @field identity nslua.identity
local Error = require "nslua.error"
local kernel = require "nslua.kernel"
local paths = require "nslua.path"
local sys = require "nslua.sys"

local SECTIONS <const> = { "setup", "sources", "mounts", "entry", "tree", "seals", "steps_", "drop" }

local Plan = { __name = "nslua.plan" }

Plan.__index = Plan

--- The primitives (and optional, tolerate, register, pass), at the current place: a method is made when it is first used.
local recorders = getmetatable(sys.plan()).__index
setmetatable(Plan, { __index = function(_, name)
  local record = recorders[name]
  if not record then return nil end
  Plan[name] = function(self, ...)
    local current = self.current
    local result = record(current, ...)
    return result ~= current and result or self
  end
  return Plan[name]
end })

function Plan.new(fields)
  local self = setmetatable(fields, Plan)
  local first = sys.plan()
  self.first = first
  for _, name in ipairs(SECTIONS) do self[name] = name == "setup" and first or first:section() end
  self.current = self.tree
  self.owners = {}    -- who recorded an operation, by its note
  self.mounted = {}   -- target -> whether what is mounted there is ours
  self.writable = {}  -- set of the sources that the payload can write
  self.given = {}     -- targets of what the recipe itself shares, which is somebody's: not ours, nor the system's
  self.links = {}     -- our own symbolic links
  self.below = {}     -- paths that have something mounted or linked below them
  self.depth = 0      -- of verbs in verbs
  self.proc_files = {} -- register number -> name in /proc/self
  self.idmaps = {}    -- { register=, uid_map=, gid_map= }
  self.writes_as_owner = false -- whether the payload could make a file that belongs to somebody else
  self.late = {}      -- functions of the section `seals`, called when the old root is gone
  self.needed = 0     -- capabilities that the stage keeps for it, as a mask
  return self
end

--- From here on operations belong to this owner (an entry, or words).
function Plan:owner(owner)
  local note = #self.owners + 1
  self.owners[note] = owner
  self.first:note(note)
  self.note = note
end

--- Notes that the world, not the recipe, keeps an entry from being what it says: a run ends with this error.
function Plan:refuse(item, reason, ...)
  self.refusal = self.refusal or Error.new { step = tostring(item), at = item.at, reason = reason:format(...) }
end

--- Capabilities over the sandbox that its set-up needs besides the usual ones, by name.
function Plan:need(...)
  for _, name in ipairs { ... } do self.needed = self.needed | 1 << sys.capability(name) end
end

--- The bytes of all sections; those of `sources` apart when the maker is to run them.
function Plan:bytes(apart)
  local sections = {}
  for _, name in ipairs(SECTIONS) do
    if not (apart and name == "sources") then sections[#sections + 1] = self[name] end
  end
  return self.first.bytes(table.unpack(sections)), apart and self.sources:bytes() or nil
end

--- A register of a file of the stage's own /proc/self, opened for writing before it gets out of reach.
function Plan:proc_file(name)
  local register = self.first:register()
  self.proc_files[register:number()] = name
  return register
end

-- -- entries --

--- One entry of `fs`, or a function, at its place.
function Plan:add(item)
  local note, depth = self.note, self.depth
  local outer = self.owners[note]
  self:owner(type(item) == "function" and "function in fs" or item)
  if type(item) == "function" then
    self.has_functions = true
    item(self)
  else
    if depth > 0 and type(outer) == "table" then item:belong_to(outer) end
    item.depth = depth
    self.entries[#self.entries + 1] = item
    self.depth = depth + 1
    self:record_entry(item)
    self.depth = depth
  end
  self.note = note
  self.first:note(note)
end

function Plan:record_entry(item)
  local verb = item.verb
  if verb.expand then
    for _, inner in ipairs(verb.expand(item, self)) do
      if not self.explicit[inner.target] then self:add(inner) end
    end
  elseif verb.mount then
    local mount = verb.mount(item, self)
    self:place(mount, item.target, item.options, verb.own and verb.own(item), verb.bind and item.options.mode)
    if verb.after then verb.after(item, self, mount) end
  else
    verb.record(item, self)
  end
end

-- -- paths --

local function parent_of(path) return path:match "^(.+)/[^/]*$" end

--- Something is at a path now: its parents have something below them.
local function note_parents(self, path)
  local at = parent_of(path)
  while at and not self.below[at] do
    self.below[at] = true
    at = parent_of(at)
  end
end

--- What a path becomes when its component `at` is the link `link`.
local function substitute(at, link, rest)
  local base = link:sub(1, 1) == "/" and "" or parent_of(at) or ""
  local components = {}
  for component in (base .. "/" .. link .. rest):gmatch "[^/]+" do
    if component == ".." then components[#components] = nil
    elseif component ~= "." then components[#components + 1] = component end
  end
  return "/" .. table.concat(components, "/")
end

--- Where a target really is, our own links in it followed: its path, the mode that missing directories are
--- made with (nil: not made, it is in a foreign tree), and whether it is in a file system of ours.
-- @tparam string target
-- @tparam[opt] table options of the entry: create, parents; with links, its last component is meant as it is
-- @tparam[opt] boolean itself the same, also without
function Plan:resolve(target, options, itself)
  local links, mounted = self.links, self.mounted
  itself = itself or options and options.links
  local path, own, followed = target, self.own_root, 0
  local slash = path:find("/", 2, true)
  while true do
    local at = slash and path:sub(1, slash - 1) or path
    if links[at] and (slash or not itself) then
      followed = followed + 1
      if followed > 40 then error("too many levels of symbolic links: " .. target, 0) end
      path, own = substitute(at, links[at], path:sub(#at + 1)), self.own_root
      slash = path:find("/", 2, true)
    elseif slash then
      if mounted[at] ~= nil then own = mounted[at] end
      slash = self.below[at] and path:find("/", slash + 1, true)
    else
      -- What the host has in a layer may be a link to what is not ours.
      if own == "layered" and options and options.links then own = false end
      return path, (own or options and options.create) and (options and options.parents or 493) or nil, own
    end
  end
end

--- Whether a resolved path is in what the recipe shares, besides the root.
function Plan:in_given(path)
  while self.mounted[path] == nil do path = parent_of(path) or "/" end
  return path ~= "/" and self.given[path]
end

--- Notes a symbolic link in a file system of ours, for targets behind it.
function Plan:declare_link(path, link)
  self.links[path] = link
  note_parents(self, path)
end

--- Notes that something is mounted at a path, and whether it is ours.
function Plan:declare_mount(path, own)
  self.mounted[path] = own or false
  note_parents(self, path)
end

local function place_of(source) return paths.tidy(paths.absolute(source)) end

--- Notes a tree of the host's that the payload can write.
function Plan:note_writable(source)
  if type(source) == "string" then self.writable[place_of(source)] = true end
end

--- The outermost of these trees that a path of the host lies in, as it is written; and the way from there.
function Plan:writable_above(source)
  if next(self.writable) == nil then return nil end
  local path = place_of(source)
  local slash = path:find("/", 2, true)
  while slash do
    local tree = path:sub(1, slash - 1)
    if self.writable[tree] then return tree, path:sub(slash) end
    slash = path:find("/", slash + 1, true)
  end
  if self.writable["/"] and path ~= "/" then return "/", path end
end

-- -- mounts --

--- Records making a file system: a register of the detached mount.
-- @param parameters list of { key, value }, a missing value for a flag; false entries are left out
function Plan:filesystem(kind, parameters, attributes)
  local mounts = self.mounts
  local context = mounts:fsopen(kind)
  for i = 1, #parameters do
    if parameters[i] then mounts:fsconfig(context, parameters[i][1], parameters[i][2]) end
  end
  mounts:fsconfig(context)
  return mounts:fsmount(context, attributes)
end

--- What was known of the things below a path is no more to be seen.
function Plan:cover(path)
  if not self.below[path] then return end
  self.below[path] = nil
  for _, known in ipairs { self.mounted, self.given, self.links, self.below } do
    for at in pairs(known) do
      if at:sub(1, #path + 1) == path .. "/" then known[at] = nil end
    end
  end
end

--- Attaches a detached mount at a target.
-- @param mount register
-- @tparam string target
-- @tparam[opt] table options create: a missing mount point is made also in a foreign tree; parents: the
--   mode of directories made on the way; links: those on the way are followed
-- @param own whether things may be created in it: "bare", a file system of ours with nothing in it but what
--   the recipe makes; "layered", with what the host has below
-- @param mode of a mount point that is made
function Plan:place(mount, target, options, own, mode)
  local path, parents = self:resolve(target, options)
  self.tree:attach(mount, self.root, path, parents, mode or nil, options and options.links)
  self:cover(path)
  self:declare_mount(path, own)
  self.given[path] = own ~= "bare" and self.depth <= 1
end

--- Covers what is at a path by a clone of itself with other attributes: a part of a mount becomes a mount of
--- its own.
-- @param root register that the path is below
-- @tparam string path resolved
-- @param set attributes
-- @param clear attributes
-- @param recursive "recursive": with all that is mounted below
-- @param links of the entry's options
function Plan:cover_with_itself(root, path, set, clear, recursive, links)
  local tree = self.tree
  local part = tree:open(root, path, "path", links)
  local clone = tree:open_tree(part, nil, { "clone", recursive })
  tree:mount_setattr(clone, nil, set, clear, "private", recursive)
  tree:move_mount(clone, part)
end

--- The sandbox's root becomes read-only at the end, and so does a mount given here.
function Plan:seal(mount) self.seals:mount_setattr(mount, nil, "ro") end

--- A small file system whose parts are bound into the new root: masks, files in foreign trees, layers of
--- overlays. It lies on /proc of the old root, with which it goes.
local function store(self)
  if not self.stored then
    self.stored = self:filesystem("tmpfs", { { "size", "64M" }, { "nr_inodes", "20000" }, { "mode", "755" } },
      { "nosuid", "nodev", "noexec" })
    self.mounts:move_mount(self.stored, nil, "/proc")
    self.stored_files = 0
  end
  return self.stored
end

--- A name in the store that nothing has yet.
local function stored_name(self)
  local mount = store(self)
  self.stored_files = self.stored_files + 1
  return ("%d"):format(self.stored_files), mount
end

--- The mount with the empty "file" and "directory" that the primitive mask takes.
function Plan:masks()
  if not self.has_masks then
    self.has_masks = true
    self.mounts:write_file(store(self), "file", "", 0)
    self.mounts:mkdir(self.stored, "directory", 0)
  end
  return self.stored
end

--- A detached mount of a new file; read-only and noexec, as all of the store will be, unless it is to be written or executed.
function Plan:stored_file(content, mode, writable, exec)
  local name, mount = stored_name(self)
  self.mounts:write_file(mount, name, content, mode)
  local clone = self.tree:open_tree(mount, name, "clone")
  local lifted = {}
  if writable then lifted[1] = "ro" end
  if exec then lifted[#lifted + 1] = "noexec" end
  if #lifted > 0 then self.tree:mount_setattr(clone, nil, nil, lifted) end
  return clone, name
end

--- A register of a user namespace for an idmapped mount.
-- @tparam string uid_map lines "on-disk outside count"
-- @tparam string gid_map
-- @param hidden the payload never gets at the mount itself
function Plan:idmap(uid_map, gid_map, hidden)
  if not hidden then self.writes_as_owner = true end
  local key = uid_map .. "/" .. gid_map
  local known = self.idmaps[key]
  if not known then
    known = { register = self.first:register(), uid_map = uid_map, gid_map = gid_map }
    self.idmaps[key] = known
  end
  return known.register
end

--- A directory of the store with a detached mount on it, by its name there: a layer of an overlay.
function Plan:layer(mount)
  local name, at = stored_name(self)
  self.mounts:mkdir(at, name, 493)
  self.mounts:move_mount(mount, at, name)
  return name
end

local LONGEST_VALUE <const> = 255 -- that fsconfig(2) takes: longer lists go layer by layer, since Linux 6.7

--- Records an overlay of layers: a register of the detached mount.
-- @param item the entry that it is for
-- @tparam table lower names of layers, the uppermost first
-- @tparam ?string upper name of the upper directory
-- @tparam ?string work
-- @param attributes of the mount
-- @return register
function Plan:overlay(item, lower, upper, work, attributes)
  local parameters, all = {}, table.concat(lower, ":")
  if #all <= LONGEST_VALUE then parameters[1] = { "lowerdir", all }
  else
    if not kernel.at_least(6, 7) then self:refuse(item, "so many layers need Linux 6.7: before, about 80 are the most") end
    for i, name in ipairs(lower) do parameters[i] = { "lowerdir+", "./" .. name } end
  end
  if upper then
    self:need("chown", "dac_override", "fowner", "fsetid") -- copying up is done with the rights of who mounted it
    parameters[#parameters + 1] = { "upperdir", upper }
    parameters[#parameters + 1] = { "workdir", work }
  end
  if self.new.user then parameters[#parameters + 1] = { "userxattr" } end
  self.mounts:fchdir(store(self))
  local mount = self:filesystem("overlay", parameters, attributes)
  self.mounts:expect_mount(mount, attributes, upper and "ro" or nil)
  return mount
end

--- Records that nothing mounted from here on is seen outside. Comes before the first mount.
function Plan:seclude() self.mounts:mount_setattr(nil, "/", nil, nil, "private", "recursive") end

--- Records the new root and entering it: from here on nothing of the old one can be named.
function Plan:enter()
  local entry = self.entry
  if self.stored then
    entry:mount_setattr(self.stored, nil, "ro")
  end
  entry:move_mount(self.root, nil, "/")
  entry:fchdir(self.root)
  entry:pivot_root(".", ".")
end

--- Records the end of the old root, which still lies below the new one, and the sealing of ours.
function Plan:leave()
  self.seals:fchdir(self.root)
  self.seals:umount(".", "detach")
  self.seals:expect_root()
  for _, record in ipairs(self.late) do record(self.seals) end
  if self.sealed_root then self:seal(self.root) end
  self.seals:chdir("/")
end

return Plan
