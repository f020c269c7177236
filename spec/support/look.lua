--- What a sandbox looks like from inside: a shell's script that tells it, and what two tellings differ in.
local M = {}

--- The status it ends with.
M.STATUS = 3

--- The script; in the directories it says whether they can be written, by a file of the name MARK.
M.SCRIPT = [=[
exec 2>&-
echo "id $(id -u):$(id -g)"
echo "name $(uname -n)"
echo "directory $(pwd -P)"
env | while IFS= read -r line; do echo "variable $line"; done
for kind in cgroup ipc net pid uts; do echo "namespace $kind $(readlink /proc/self/ns/$kind)"; done
while read -r key value; do
  case $key in CapEff: | CapPrm: | NoNewPrivs:) echo "privilege $key$value" ;; esac
done </proc/self/status
while read -r id parent _ root target options rest; do
  rest=${rest#*- }
  echo "mount $id $target $parent $options,${rest%% *} $root"
done </proc/self/mountinfo
for place in / /app /dev /dev/shm /etc /home /home/* /mnt /nix /opt /run /run/user/* /srv /tmp /usr /var /var/tmp \
  /void-packages HOME HOME/* HOME/.[!.]*; do
  if [ -d "$place" ] && (: >"$place/MARK"); then rm "$place/MARK"; echo "written $place"; fi
done
for entry in /* /app/* /dev/* /etc/* /run/* /var/* HOME/* HOME/.[!.]* HOME/project/* HOME/project/.[!.]*; do
  if [ -d "$entry" ]; then echo "entry $entry directory"
  elif [ -e "$entry" ] || [ -L "$entry" ]; then echo "entry $entry"; fi
done
for link in /bin /lib /lib64 /sbin /etc /var/run /var/tmp; do echo "link $link $(readlink $link)"; done
exit 3
]=]

local function within(place, target)
  return target == "/" or place == target or place:sub(1, #target + 1) == target .. "/"
end

--- The mount that a walk along a path comes to next: of those upon the mount where it is, the nearest.
local function next_mount(mounts, here, path)
  local nearest
  for _, mount in pairs(mounts) do
    local upon = mount.parent == here.id and mount.id ~= here.id and within(path, mount.target)
    if upon and (not nearest or #mount.target < #nearest.target) then nearest = mount end
  end
  return nearest
end

local function root_of(mounts)
  for _, mount in pairs(mounts) do
    if not mounts[mount.parent] or mount.parent == mount.id then return mount end
  end
end

--- The mounts that nothing covers: { target = "options root" }.
local function visible(mounts)
  local seen, root = {}, root_of(mounts)
  for _, mount in pairs(mounts) do
    local here, deeper = root, root
    while deeper do here, deeper = deeper, next_mount(mounts, deeper, mount.target) end
    if here == mount then seen[mount.target] = mount.text end
  end
  return seen
end

--- What was told: { kind = { name = value } }.
local function told(text)
  local all = { mount = {}, entry = {}, written = {}, variable = {}, link = {} }
  for line in text:gmatch "[^\n]+" do
    local kind, name, value = line:match "^(%l+) ([^ =]*)[ =]?(.*)$"
    if kind == "mount" then
      local target, parent, options = value:match "^(%S+) (%S+) (.*)$"
      all.mount[name] = { id = name, target = target, parent = parent, text = options }
    elseif kind then
      all[kind] = all[kind] or {}
      all[kind][name] = value
    end
  end
  all.mount = visible(all.mount)
  return all
end

local function set_of(options)
  local set = {}
  for option in options:gmatch "[^,]+" do set[option] = true end
  return set
end

--- The mount that a place lies in.
local function mount_of(all, place)
  local found
  for target in pairs(all.mount) do
    if within(place, target) and (not found or #target > #found) then found = target end
  end
  return found
end

--- A file system of the sandbox's own, made new for it.
local function is_own(all, place)
  local options = place and all.mount[place]
  return options and set_of(options:match "%S+").tmpfs or false
end

-- -- what may differ, because the recipe's comments say so --

--- bubblewrap leaves its own root and its own /dev writable. Without /proc nothing is known of mounts: what is meant to be
--- written is named then.
local function may_be_read_only(theirs, place, recipe)
  local inside = mount_of(theirs, place)
  if not inside then return not recipe:find(('"%s"'):format(place), 1, true) end
  return (inside == "/" or inside == "/dev") and is_own(theirs, inside)
end

--- fs.os has a link where the host has one, and a /proc that is shared is read-only as a whole.
local function may_be_missing(ours, target, has_os)
  local link = has_os and (target:find "^/lib" or target:find "^/s?bin")
  return target == "/dev" or link or target:find "^/proc/" and set_of((ours.mount["/proc"] or ""):match "%S*").ro
end

local PROTECTS <const> = { "ro", "nosuid", "nodev", "noexec" }

--- A mount of bubblewrap's is there, of the same tree, and protects from no less.
local function compare_mounts(theirs, ours, has_os, differ)
  for target, value in pairs(theirs.mount) do
    local own = ours.mount[target]
    local options, root = value:match "^(%S+) (.*)$"
    if not own then
      if not may_be_missing(ours, target, has_os) then differ("mount %s is missing", target) end
    else
      local have, tree = own:match "^(%S+) (.*)$"
      have = set_of(have)
      for _, name in ipairs(PROTECTS) do
        if set_of(options)[name] and not have[name] then differ("mount %s is not %s", target, name) end
      end
      if tree ~= root and not have.tmpfs then differ("mount %s shows %s, not %s", target, tree, root) end
    end
  end
end

--- No tree of the host comes in that bubblewrap does not show at the same place, but of what fs.os has.
local function compare_trees(theirs, ours, has_os, differ)
  for target, value in pairs(ours.mount) do
    local kernels = target:find "^/proc/" or target:find "^/dev/" or is_own(ours, target)
    local systems = has_os and (target:find "^/etc/" or target:find "^/usr" or target:find "^/s?bin" or target:find "^/lib")
    if not (theirs.mount[target] or kernels or systems) then differ("mount %s is new: %s", target, value) end
  end
end

local function compare_writing(theirs, ours, about, differ)
  for place in pairs(about.powers and {} or theirs.written) do
    if not (ours.written[place] or may_be_read_only(theirs, place, about.recipe)) then differ("%s cannot be written", place) end
  end
  for place in pairs(ours.written) do
    local private = about.has_os and is_own(ours, mount_of(ours, place))
    if not (theirs.written[place] or private) then differ("%s can be written", place) end
  end
end

local function compare_entries(theirs, ours, has_os, differ)
  for path, value in pairs(theirs.entry) do
    if path ~= "/dev/core" and ours.entry[path] ~= value then differ("%s is %s, not %s", path, ours.entry[path], value) end
  end
  for path in pairs(ours.entry) do
    if not (has_os or theirs.entry[path] or path:find "^/dev/") then differ("%s is new", path) end
  end
end

local function from_the_root(link) return (link:gsub("/+", "/"):gsub("^%.*/", "")) end

local function compare_links(theirs, ours, differ)
  for path, link in pairs(theirs.link) do
    local own = ours.link[path]
    if link ~= "" and from_the_root(own) ~= from_the_root(link) then differ("%s leads to %s, not %s", path, own, link) end
  end
end

--- A recipe's environment has its own defaults; what of bubblewrap's is missing was the caller's.
local function compare_variables(theirs, ours, caller, differ)
  for name, value in pairs(theirs.variable) do
    local own, inherited = ours.variable[name], caller[name] == value or name == "SHLVL" or name == "_"
    if own ~= value and not inherited and not (name == "PWD" and own) then differ("%s is %s, not %s", name, own, value) end
  end
  for name, value in pairs(ours.variable) do
    local default = name == "HOME" or name == "LANG" or name == "PATH" or name == "TERM" or name == "PWD"
    if theirs.variable[name] ~= value and not default then differ("%s is new: %s", name, value) end
  end
end

--- A namespace is new in both, or the caller's in both.
local function compare_namespaces(theirs, ours, outside, differ)
  for kind, name in pairs(theirs.namespace) do
    local own = ours.namespace[kind]
    if (name == outside[kind]) ~= (own == outside[kind]) then differ("namespace %s is %s", kind, own) end
  end
end

local function compare_same(theirs, ours, kinds, differ)
  for _, kind in ipairs(kinds) do
    for name, value in pairs(theirs[kind] or {}) do
      local own = ours[kind] and ours[kind][name]
      local others = table.concat(require "nslua.names".sorted(ours[kind] or {}), " ")
      if own ~= value then differ("%s %s is %s, not %s", kind, name, own or others, value) end
    end
  end
end

--- What a recipe's sandbox does not have in common with bubblewrap's although its comments do not say so.
-- @tparam string theirs what the script said under bubblewrap's words
-- @tparam string ours what it said under the recipe
-- @tparam table about the `recipe` without comments, `has_os`, `powers` (root's own, which let it write), `caller`
-- (variables), `outside` (namespaces), `same` (kinds that are the same)
-- @treturn {string,...} sorted
function M.differences(theirs, ours, about)
  local list = {}
  local function differ(message, ...) list[#list + 1] = message:format(...) end
  theirs, ours = told(theirs), told(ours)
  compare_same(theirs, ours, about.same, differ)
  compare_namespaces(theirs, ours, about.outside, differ)
  compare_variables(theirs, ours, about.caller, differ)
  compare_mounts(theirs, ours, about.has_os, differ)
  compare_trees(theirs, ours, about.has_os, differ)
  compare_writing(theirs, ours, about, differ)
  compare_entries(theirs, ours, about.has_os, differ)
  compare_links(theirs, ours, differ)
  table.sort(list)
  return list
end

return M
