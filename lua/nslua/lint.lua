--- What a recipe says that is no mistake, but is hardly meant: looked for in the compiled recipe and on the host,
-- without running anything.
-- @module nslua.lint
local entry = require "nslua.entry"
local kernel = require "nslua.kernel"
local sys = require "nslua.sys"
local paths = require "nslua.path"
local within, absolute, tidy = paths.within, paths.absolute, paths.tidy

local Warning = { __name = "nslua.warning" }
Warning.__index = Warning
function Warning:__tostring() return (self.at and self.at .. ": " or "") .. self.message end

-- -- where things are --

local function target_of(item) return item.verb.target or item.target end

local function below(path, directory) return path ~= directory and within(path, directory) end

--- The host's path of what a bind shows at a path inside; nil when the source is no path.
local function host_path(item, path)
  if item.verb.name == "host" then return path end
  if type(item.source) ~= "string" then return nil end
  local target = target_of(item)
  local rest = path == target and "" or path:sub(target == "/" and 1 or #target + 1)
  return item.source .. rest
end

--- Whether an entry shows a tree of the host's at its target.
local function is_foreign(item) return item.verb.bind end

--- Whether it mounts something, so that what is below its target is no more to be seen.
local function hides(item) return item.verb.mount ~= nil end

--- The same, or it makes a directory of its own there, as dev does.
local function holds(item) return hides(item) or item.verb.name == "dev" end

--- The nearest of the entries before `last` that mounts (or what else is asked for) what a path lies in; nil for our own root.
local function holder(entries, last, path, is_wanted)
  local found
  for i = 1, last do
    local item = entries[i]
    local target = target_of(item)
    local is_nearer = not found or target and within(target, target_of(found))
    if target and is_nearer and (is_wanted or hides)(item) and within(path, target) then found = item end
  end
  return found
end

--- Whether there will be something at a path inside; nil when that cannot be told.
local function exists(ready, path)
  local entries = ready.entries
  path = ready.plan:resolve(path)
  for _, item in ipairs(entries) do
    local target = target_of(item)
    if target and within(target, path) then return true end
  end
  local found = holder(entries, #entries, path)
  if not found then return false end
  if found.verb.name == "overlay" or found.verb.name == "proc" or found.verb.name == "sys" then return nil end
  if not is_foreign(found) then return false end
  local on_host = host_path(found, path)
  if not on_host then return nil end
  return sys.lstat(on_host) ~= nil
end

-- -- what is looked for: each a function of an entry and its number, called with `warn` --

local checks = {}

local function is_missing(path)
  local status, _, errno = sys.stat(path)
  return not status and errno == 2
end

function checks.source(item, _, _, warn)
  if item.options.optional then return end
  local sources = item.layers and { table.unpack(item.layers.lower) } or { item.verb.bind and item.source or nil }
  if item.layers then
    for _, path in ipairs { item.layers.upper ~= "tmp" and item.layers.upper or nil, item.layers.work } do
      sources[#sources + 1] = path
    end
  end
  for _, source in ipairs(sources) do
    if type(source) == "string" and not item.options.from_fd and is_missing(source) then
      warn(item, item.layers and "%s does not exist"
        or "the source %s does not exist; { optional = true } would skip it", source)
    end
  end
end

function checks.covered(item, number, ready, warn)
  local target = target_of(item)
  if not target or target == "/" then return end
  for i = number + 1, #ready.entries do
    local later = ready.entries[i]
    if hides(later) and target_of(later) and below(target, target_of(later)) then
      return warn(item, "it is covered by %s%s, which comes later: put it behind", tostring(later),
        later.at and " (" .. later.at .. ")" or "")
    end
  end
end

--- Whether it does nothing: its source is not there and need not be.
local function is_left_out(item)
  return item.options.optional and type(item.source) == "string" and is_missing(item.source)
end

--- A mount point in a tree of the host that has no such place.
function checks.place(item, number, ready, warn)
  local target = target_of(item)
  if not target or target == "/" or item.verb.repeats or item.verb.expand or is_left_out(item) then return end
  local inside = holder(ready.entries, number - 1, target, holds)
  if not inside or not is_foreign(inside) then return end
  local held_at = target_of(inside)
  local on_host, root = host_path(inside, target), host_path(inside, held_at)
  local kind = root and sys.stat(root)
  if not kind then return end
  if kind.type ~= "directory" then
    return warn(item, "it is to be below %s, which is a %s", held_at, kind.type)
  end
  if sys.lstat(on_host) or inside.options.upper then return end
  if inside.verb.name ~= "rw" then
    warn(item, "%s cannot be made in the read-only tree at %s: make %s on the host, or put it elsewhere", target,
      held_at, on_host)
  elseif not item.options.create then
    warn(item, "%s does not exist in the tree of the host at %s: { create = true } makes it there", target, held_at)
  end
end

--- Something below a file that the recipe itself makes.
function checks.below_file(item, number, ready, warn)
  local target = target_of(item)
  for i = 1, target and number - 1 or 0 do
    local earlier = ready.entries[i]
    if earlier.verb.name == "file" and below(target, earlier.target) then
      return warn(item, "it is to be below %s, which is a file", earlier.target)
    end
  end
end

function checks.link(item, _, ready, warn)
  if item.verb.name ~= "symlink" or item.link:sub(1, 1) ~= "/" then return end
  local path = item.link:gsub("/+$", "")
  if ready.plan.has_functions then return end -- who knows what they make
  if path:find "/%.%.?/" or path:find "/%.%.?$" or path == "" then return end
  if exists(ready, path) == false then warn(item, "it leads to %s, where nothing will be", item.link) end
end

function checks.sysfs(item, _, ready, warn)
  if item.verb.name == "sys" and not ready.new.net then
    warn(item, "without a network namespace of its own the sandbox sees the host's devices and interfaces there")
  end
end

function checks.layers(item, _, _, warn)
  local layers = item.layers
  if not layers or not layers.upper or layers.upper == "tmp" then return end
  for _, lower in ipairs(layers.lower) do
    for _, name in ipairs { "upper", "work" } do
      if type(lower) == "string" and within(layers[name], lower) then
        warn(item, "the lower directory %s contains %s, %s", lower, name, layers[name])
      end
    end
  end
end

function checks.memory(item, _, ready, warn)
  local upper = item.layers and item.layers.upper or item.options.upper
  if upper == "tmp" and ready.new.user and not kernel.at_least(6, 6) then
    warn(item, "before Linux 6.6 directories of the lower layers cannot be removed in it: use a directory as upper")
  end
end

-- Where files lie that only root is to read.
local SECRET <const> = { ["/"] = true, ["/etc"] = true, ["/root"] = true, ["/var"] = true, ["/home"] = true }

function checks.secrets(item, _, ready, warn)
  local writable = item.verb.name == "rw" or item.options.upper or item.layers and item.layers.upper
  if not writable or item.options.idmap == false or not (ready.identity.privileged and ready.identity.new) then return end
  for _, source in ipairs(item.layers and item.layers.lower or { item.source }) do
    if SECRET[source] then
      warn(item, "the payload can read all that root can in %s: name less of it, or say { idmap = false }", source)
    end
  end
end

function checks.propagation(item, _, _, warn)
  if item.options.propagation == "slave" and (item.verb.name == "ro" or item.verb.name == "image") then
    warn(item, "what is mounted there later comes as the host mounts it: not read-only, unless it is so there")
  end
end

--- Whether something read-only lies over a path inside.
local function is_protected(ready, number, path)
  for i = number + 1, #ready.entries do
    local item = ready.entries[i]
    local target = target_of(item)
    if target and item.verb.mount and not item:written() and within(path, target) then return true end
  end
end

--- The recipe's own file in a tree that the payload can write.
function checks.itself(item, number, ready, warn)
  local file, written = item.at and item.at:match "^(.*):%d+$", item:written()
  if not (file and type(written) == "string" and sys.stat(file)) then return end
  local tree, path = tidy(absolute(written)), tidy(absolute(file))
  local inside = tree ~= "/" and within(path, tree) and tidy(item.target .. "/" .. path:sub(#tree + 1))
  if inside and not is_protected(ready, number, inside) then
    warn(item, "the recipe lies in it, and who changes that says what is done outside next time; "
      .. "fs.ro(%q, %q) behind it keeps it as it is", file, inside)
  end
end

local SYS_ADMIN <const> = 1 << 21

local UNDONE <const> = { mask = "unmount this", ro = "make this writable" }

function checks.unmount(item, _, ready, warn)
  local undone = UNDONE[item.verb.name]
  if undone and ready.held.permitted & SYS_ADMIN ~= 0 and not ready.identity.inner then
    warn(item, "the payload holds sys_admin over the sandbox, so it can %s", undone)
  end
end

--- With it, the kernel shares the CPUs among sessions, each alike, and only then within one by nice.
local AUTOGROUP <const> = "/proc/sys/kernel/sched_autogroup_enabled"

local function check_nice(ready, warn)
  local wanted = ready.recipe.scheduling
  if not wanted or not wanted.nice then return end
  local file <close> = io.open(AUTOGROUP)
  if file and file:read "n" == 1 then
    warn("scheduling", "nice counts among the sandbox's own processes only, unless a cgroup shares out the CPUs "
      .. "(see sysctl kernel.sched_autogroup_enabled)")
  end
end

local ORDER <const> = {
  "source", "covered", "place", "below_file", "link", "sysfs", "layers", "memory", "secrets", "itself", "propagation",
  "unmount",
}

-- -- the whole --

local M = {}

--- The warnings of a compiled recipe, in the order of its entries.
-- @tparam table ready of nslua.compile
-- @treturn table a list of { at=, message=, entry= }, each with a __tostring; `entry` may be a field
function M.of(ready)
  local warnings = {}
  local function warn(item, message, ...)
    warnings[#warnings + 1] = setmetatable({
      at = entry.is(item) and item.at or nil, entry = tostring(item),
      message = sys.escape(tostring(item) .. ": " .. message:format(...)),
    }, Warning)
  end
  for number, item in ipairs(ready.entries) do
    if item.depth == 0 then -- what verbs add is theirs
      for _, name in ipairs(ORDER) do checks[name](item, number, ready, warn) end
    end
  end
  check_nice(ready, warn)
  return warnings
end

return M
