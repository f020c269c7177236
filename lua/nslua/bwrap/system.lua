--- Which entries amount to fs.os().
-- @module nslua.bwrap.system
local os_verb = require "nslua.verbs.os"
local paths = require "nslua.path"
local sys = require "nslua.sys"

local within, tidy = paths.within, paths.tidy

local M = {}

local function is_itself(item) return item.verb == "ro" and tidy(item.operands[1]) == item.target end
local function is_own(item) return item.verb == item.target:sub(2) end

local function from_the_root(link) return (tidy(link):gsub("^/", "")) end

--- The host's directory, or the link that is there.
local function is_top(item)
  local link = item.verb == "symlink" and sys.readlink(item.target)
  return is_itself(item) or link and from_the_root(link) == from_the_root(item.operands[1]) or false
end

--- A directory that is the sandbox's own.
local function is_private(mode)
  return function(item)
    local options = item.options
    return (item.verb == "tmpfs" or item.verb == "dir") and (not options.mode or options.mode == mode)
      and not math.type(options.size)
  end
end

local function is_made(item) return item.verb == "dir" and not item.options.mode end

local function links_to(place)
  return function(item)
    return item.verb == "symlink" and (item.operands[1] == place or item.operands[1] == place:gsub("^%.%.", ""))
  end
end

--- What fs.os has at a place, and which entry is the same.
local SAME <const> = {
  ["/usr"] = is_itself, ["/proc"] = is_own, ["/dev"] = is_own, ["/etc"] = is_made, ["/home"] = is_made, ["/var"] = is_made,
  ["/etc/localtime"] = is_itself,
  ["/etc/resolv.conf"] = function(item, request) return not request.unshare.net and is_itself(item) end,
}
for _, place in ipairs(os_verb.top) do SAME[place] = is_top end
for _, place in ipairs(os_verb.etc) do SAME[place] = is_itself end
for _, own in ipairs(os_verb.directories) do SAME[own[1]] = is_private(own[2]) end
for _, link in ipairs(os_verb.links) do SAME[link[1]] = links_to(link[2]) end

local function any(list, is)
  for _, one in ipairs(list) do
    if is(one) then return true end
  end
  return false
end

--- Whether one of those comes to lie beneath a target.
local function any_within(items, target) return any(items, function(item) return within(item.target, target) end) end
local function is_around(items, target) return any(items, function(item) return within(target, item.target) end) end
local function is_behind_link(target) return any(os_verb.links, function(link) return within(target, link[1]) end) end

--- What fs.os cannot be without, or where it has a link that would lead elsewhere.
local function collides(rest, item)
  local target = item.target
  return target == "/" or target == "/usr" or target == "/dev" or target == "/proc"
    or is_behind_link(target) and not is_around(rest, target)
end

--- The entries that are left when fs.os stands for the others; those come over what it has.
-- @tparam {table,...} items
-- @tparam table request
-- @treturn {table,...}|nil nil where they do not amount to it
function M.rest(items, request)
  local rest, found = {}, {}
  for _, item in ipairs(items) do
    local same = SAME[item.target]
    if same and same(item, request) and not any_within(rest, item.target) then found[item.target] = true
    elseif collides(rest, item) or same and any_within(rest, item.target) then return nil
    else rest[#rest + 1] = item end
  end
  return found["/usr"] and found["/dev"] and found["/proc"] and rest or nil
end

return M
