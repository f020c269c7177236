--- Maps that an ordinary caller may not write itself: the ranges of subuid(5) and subgid(5), through newuidmap(1) and
-- newgidmap(1). They are written into user namespaces that are made ahead; a sandbox joins one, and the next with the
-- same maps joins it again.
-- @module nslua.subordinate
local Error = require "nslua.error"
local helper = require "nslua.helper"
local sys = require "nslua.sys"

local M = {}

local KINDS <const> = {
  uid = { file = "/etc/subuid", program = "newuidmap" },
  gid = { file = "/etc/subgid", program = "newgidmap" },
}

-- -- the caller's ranges --

--- The ranges of a kind that are the caller's: { first, count } of each line with its name or number.
local function ranges_of(kind, caller)
  local ranges, file = {}, io.open(KINDS[kind].file)
  if not file then return ranges end
  local owner = { [("%d"):format(caller.uid)] = true, [sys.user_name(caller.uid) or ""] = true }
  for line in file:lines() do
    local name, first, count = line:match "^([^:#]+):(%d+):(%d+)%s*$"
    first, count = math.tointeger(tonumber(first)), math.tointeger(tonumber(count))
    if name and owner[name] and count > 0 then ranges[#ranges + 1] = { first, count } end
  end
  file:close()
  return ranges
end

--- A map of `size` ids, or of all there are: 0 is the caller's own, the subordinate ones follow.
-- @treturn[1] table lines { inside, outside, count }
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.map(kind, caller, size)
  local map, inside = { { 0, caller[kind], 1 } }, 1
  for _, range in ipairs(ranges_of(kind, caller)) do
    local count = math.min(range[2], (size or math.maxinteger) - inside)
    if count > 0 then
      map[#map + 1] = { inside, range[1], count }
      inside = inside + count
    end
  end
  if inside >= (size or 2) then return map end
  return nil, Error.new {
    step = "user", reason = ("%s gives user %s %s"):format(KINDS[kind].file, sys.user_name(caller.uid) or caller.uid,
      inside == 1 and "no subordinate ids" or ("only %d ids, with its own"):format(inside)),
    hint = ("usermod --add-sub%ss 100000-165535 gives some; user = \"root\" does with the caller's own"):format(kind),
  }
end

-- -- the programs that write maps --

--- The numbers of a map's text, in order.
local function numbers_of(text)
  local numbers = {}
  for number in text:gmatch "%d+" do numbers[#numbers + 1] = number end
  return numbers
end

--- What the kernel holds now, whatever the program has said.
local function is_written(path, map)
  local file = io.open(path)
  local held = file and file:read "a" or ""
  if file then file:close() end
  return table.concat(numbers_of(held), " ") == table.concat(numbers_of(map), " ")
end

local function write_map(kind, pid, map)
  local name = KINDS[kind].program
  local result, err = helper.run(name, { ("%d"):format(pid), table.unpack(numbers_of(map)) }, nil,
    "it writes maps of subordinate ids (Debian: uidmap)")
  if not result then return nil, err end
  if result.ok and is_written(("/proc/%d/%s_map"):format(pid, kind), map) then return true end
  return nil, Error.new {
    step = kind .. "_map", op = kind .. "_map", reason = ("%s refuses the map %s: %s"):format(name, (map:gsub("\n", ", ")),
      (result.stderr:gsub("%s+$", ""))),
    hint = ("%s must give the caller these ids, and the caller itself must be allowed new privileges"):format(KINDS[kind].file),
  }
end

-- -- the namespaces --

local prepared = setmetatable({}, { __mode = "v" })

--- A user namespace with these maps.
-- @tparam string uid_map lines "inside outside count"
-- @tparam string gid_map
-- @tparam ?string variety namespaces that differ in something else are different ones; without it, one of its own
-- @treturn[1] fd
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.namespace(uid_map, gid_map, variety)
  local key = variety and table.concat({ uid_map, gid_map, variety }, "/")
  if key and prepared[key] then return prepared[key] end
  local made, problem, errno = sys.new_namespaces("user", function(pid)
    local ok, err = write_map("gid", pid, gid_map)
    if ok then ok, err = write_map("uid", pid, uid_map) end
    return ok, err
  end)
  if made then
    if key then prepared[key] = made.user end
    return made.user
  end
  if not errno then return nil, problem end
  return nil, require "nslua.failure".of_spawn("user namespace of subordinate ids", errno)
end

return M
