--- The entries of a recipe's fs that come to the files of a command line: what is to be written, and each one's line.
-- @module nslua.bwrap.entries
local contents = require "nslua.bwrap.content"
local die = require "nslua.bwrap.options".die
local paths = require "nslua.path"
local recipes = require "nslua.bwrap.recipe"
local sys = require "nslua.sys"
local text = require "nslua.bwrap.text"
local verbs = require "nslua.fs".verbs

local within, absolute, tidy = paths.within, paths.absolute, paths.tidy
local quoted, octal = text.quoted, text.octal

local M = {}

local SHARES <const> = { ro = true, rw = true, overlay = true }
local MOUNTS <const> = { ro = true, rw = true, overlay = true, tmpfs = true, proc = true, dev = true, mqueue = true }
local MADE <const> = { file = true, symlink = true, dir = true, chmod = true }

-- -- what is to be written --

--- The earlier entry whose tree a target lies in.
local function holder(items, number)
  local found
  for i = 1, number - 1 do
    local item = items[i]
    local deeper = not found or within(item.target, found.target)
    if MOUNTS[item.verb] and within(items[number].target, item.target) and deeper then found = item end
  end
  return found
end

--- Whether nothing of an entry is left to be seen: a later one comes over it, and it makes nothing in a tree of the host.
local function is_covered(items, number)
  local item, inside = items[number], holder(items, number)
  if not MOUNTS[item.verb] and (verbs[item.verb].repeats or inside and SHARES[inside.verb]) then return false end
  for i = number + 1, #items do
    local later = items[i]
    if MOUNTS[later.verb] and not later.options.optional and within(item.target, later.target) then return true end
  end
  return false
end

--- What is to be written. A root of our own becomes read-only unasked (`request.sealed`: it was asked for).
-- @tparam table request after recipe.settle
-- @treturn {table,...} items, as nslua.bwrap.options notes them
function M.of(request)
  local visible, has_root = recipes.visible(request)
  local own, left = {}, {}
  for _, item in ipairs(visible) do
    local seals = item.verb == "remount" and item.target == "/" and not has_root
    request.sealed = request.sealed or seals
    item.target = tidy(item.target)
    if not (seals or item.implied) then own[#own + 1] = item end
  end
  for number, item in ipairs(own) do
    if not is_covered(own, number) then left[#left + 1] = item end
  end
  return left
end

-- -- what is seen inside --

local function source_of(item)
  local fd = item.options.from_fd
  if fd then return contents.file_of(fd) or die("what is open as fd %d has no name", fd) end
  return tidy(absolute(item.operands[1]))
end

local function sources_of(item)
  local parts = item.operands[1]
  return type(parts) == "table" and parts.lower or { source_of(item) }
end

--- Whether an entry shows something of the host at a path.
local function shows(item, path)
  local rest = path:sub(item.target == "/" and 1 or #item.target + 1)
  for _, source in ipairs(sources_of(item)) do
    if sys.stat(absolute(source) .. rest) then return true end
  end
  return false
end

--- Whether there will be a directory at a path, and whether it belongs to the host.
-- @tparam {table,...} items
-- @tparam string path
-- @treturn boolean there
-- @treturn boolean shared
function M.is_directory(items, path)
  local there, shared = path == "/", false
  for _, item in ipairs(items) do
    local around, skipped = within(path, item.target), item.options.optional and not shows(item, item.target)
    if SHARES[item.verb] and around and not skipped then there, shared = shows(item, path), true
    elseif within(item.target, path) then there = there or item.target ~= path or MOUNTS[item.verb] or item.verb == "dir"
    elseif MOUNTS[item.verb] and around then there, shared = false, false end
  end
  return there, shared
end

-- -- the words of each verb: what comes between its parentheses --

--- Where ids cannot be mapped.
local function is_kernels(path)
  return path == "/" or within(path, "/dev") or within(path, "/proc") or within(path, "/sys")
end

local function bind(item)
  local source = source_of(item)
  local options = { optional = item.options.optional and "true", dev = item.options.dev and "true" }
  if item.verb == "rw" and is_kernels(source) then options.idmap = "false" end
  return item.verb, { quoted(source), source ~= item.target and quoted(item.target) or nil }, options
end

local function at_target(default)
  return function(item) return item.verb, { item.target ~= default and quoted(item.target) or nil }, {} end
end

local WORDS <const> = { ro = bind, rw = bind, dev = at_target "/dev", lock = at_target() }

function WORDS.proc(item, request)
  if request.unshare.pid then return at_target "/proc"(item) end
  return "ro", { '"/proc"', item.target ~= "/proc" and quoted(item.target) or nil }, {}
end

function WORDS.mqueue(item, request)
  local verb, arguments, options = at_target "/dev/mqueue"(item)
  options.shared = not request.unshare.ipc and "true" or nil
  return verb, arguments, options
end

function WORDS.tmpfs(item)
  local size, mode = item.options.size, item.options.mode
  return "tmpfs", { quoted(item.target) },
    { size = math.type(size) and ("%d"):format(size) or nil, mode = mode and octal(mode) or nil }
end

--- What is made in a root of ours becomes read-only with it, but for what is to stay writable.
function WORDS.dir(item, request, inside)
  local mode, writable = item.options.mode, not inside and not request.sealed
  return "dir", { quoted(item.target) }, { mode = mode and octal(mode) or nil, writable = writable and "true" or nil }
end

local USUAL_MODE <const> = { [tonumber("666", 8)] = true, [tonumber("600", 8)] = true }

function WORDS.file(item, _, inside)
  local mode, writable = item.options.mode, item.options.writable
  local executed = (inside or writable) and mode & tonumber("111", 8) ~= 0
  local written = item.options.place == "tree" and inside and SHARES[inside.verb]
  return "file", { quoted(item.target), contents.of(item.fd, item.operands[2]) },
    { mode = not USUAL_MODE[mode] and octal(mode) or nil, writable = writable and "true" or nil,
      exec = executed and "true" or nil, place = written and '"tree"' or nil }
end

function WORDS.symlink(item) return "symlink", { quoted(item.operands[1]), quoted(item.target) }, {} end
function WORDS.chmod(item) return "chmod", { quoted(item.target), octal(item.operands[2]) }, {} end

function WORDS.overlay(item)
  local own = {}
  for name, part in pairs(item.operands[1]) do
    own[name] = type(part) == "table" and text.list(part, function(path) return quoted(absolute(path)) end) or quoted(part)
  end
  return "overlay", { text.record(own), quoted(item.target) }, {}
end

function WORDS.remount(item) return "remount", { quoted(item.target) }, { recursive = "false" } end

-- -- the lines --

local function is_repeated(items, number)
  for i = 1, number - 1 do
    if items[i].target == items[number].target then return not verbs[items[number].verb].repeats end
  end
  return false
end

--- An entry's line. Into a tree of the host nothing comes unasked.
-- @tparam {table,...} items
-- @tparam integer number which
-- @tparam table request
-- @treturn string its verb
-- @treturn string
function M.line(items, number, request)
  local item, inside = items[number], holder(items, number)
  local verb, arguments, options = WORDS[item.verb](item, request, inside)
  local shared = inside and SHARES[inside.verb]
  if shared and (MADE[item.verb] or inside.verb == "rw" and MOUNTS[item.verb] and not sys.lstat(item.target)) then
    options.create = "true"
  end
  if is_repeated(items, number) then options.over = "true" end
  local record = text.record(options)
  if record and #arguments == 0 then arguments[1] = quoted(item.target) end
  arguments[#arguments + 1] = record
  return verb, text.call(verb, arguments)
end

return M
