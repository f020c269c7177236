--- A command line of bubblewrap as the recipe that a person would write: nslua's defaults hold, and what bubblewrap
-- would allow besides is said in comments.
-- @module nslua.bwrap.print
local contents = require "nslua.bwrap.content"
local entries = require "nslua.bwrap.entries"
local names = require "nslua.names"
local recipes = require "nslua.bwrap.recipe"
local sys = require "nslua.sys"
local system = require "nslua.bwrap.system"
local text = require "nslua.bwrap.text"

local list_of, quoted, record_of = text.list, text.quoted, text.record

-- -- the fields --

--- Entries of a verb stand together, as many as a line has room for.
local function fs_of(request, items, rest)
  local lines, verbs, mixed = {}, {}, false
  local function add(verb, line)
    lines[#lines + 1], verbs[#verbs + 1] = line, verb
    mixed = mixed or verb ~= verbs[1]
  end
  if rest then add("os", "fs.os()") end
  if rest and not request.unshare.pid then add("ro", 'fs.ro "/proc"') end
  for number in ipairs(rest or items) do add(entries.line(rest or items, number, request)) end
  if not mixed then return text.braced(lines) end
  return "{\n" .. text.filled(lines, "    ", function(a, b) return verbs[a] ~= verbs[b] end) .. "\n  }"
end

local function namespaces_of(request)
  local kept = {}
  for _, kind in ipairs { "cgroup", "ipc", "pid", "uts" } do
    if not request.unshare[kind] then kept[kind] = "false" end
  end
  return record_of(kept)
end

local function user_of(request)
  local uid, gid = request.asked.uid, request.asked.gid
  if uid == 0 and (gid or 0) == 0 then return '"root"' end
  return record_of { uid = uid and ("%d"):format(uid), gid = gid and ("%d"):format(gid) }
end

local DEFAULTS <const> = { PATH = true, HOME = true, LANG = true, TERM = true }

local function env_of(request)
  local own = {}
  for name, value in pairs(request.env) do
    if name ~= "inherit" and (value or DEFAULTS[name]) then own[name] = value and quoted(value) or "false" end
  end
  return record_of(own)
end

--- The directory where bubblewrap would begin, when that is not where a recipe's command does.
local function cwd_of(request, items, rest)
  local asked = request.chdir
  if asked then return quoted(asked:sub(1, 1) == "/" and asked or "/" .. asked) end
  for _, path in ipairs(recipes.directories(request)) do
    if entries.is_directory(items, path) then return (path ~= "/" or rest) and quoted(path) or nil end
  end
end

local function caps_of(request)
  if not request.chosen or request.capabilities == 0 then return nil end
  local all = (1 << sys.capability_count()) - 1
  return request.capabilities & all == all and '"all"' or list_of(names.capabilities(request.capabilities & all))
end

local function seccomp_of(request)
  local programs = {}
  for i, program in ipairs(request.programs) do programs[i] = contents.of(request.program_fds[i], program) end
  return #programs > 0 and "{ programs = { " .. table.concat(programs, ", ") .. " } }" or nil
end

local FIELDS <const> = {
  { "namespaces", namespaces_of }, { "user", user_of },
  { "hostname", function(request) return request.hostname and quoted(request.hostname) end },
  { "fs", fs_of }, { "net", function(request) return not request.unshare.net and '"host"' or nil end },
  { "caps", caps_of }, { "seccomp", seccomp_of }, { "env", env_of }, { "cwd", cwd_of },
  { "init", function(request) return request.as_pid_1 and "false" or nil end },
  { "nesting", function(request) return recipes.nesting_of(request) == "impossible" and '"impossible"' or nil end },
}

-- -- what bubblewrap would do besides --

local function always() return true end

--- When, what, and what says it here.
local NOTES <const> = {
  { function(request) return request.env.inherit end, "pass the whole environment", 'env = { inherit = "all" }' },
  { always, "pass open descriptors", "fds = { … } of a run" },
  { always, "keep root root, and supplementary groups", 'namespaces = { user = false }, inherit = { "groups" }' },
  { function(request) return request.unshare.uts and not request.hostname end, "keep the host's name",
    'inherit = { "hostname" }' },
  { always, "set no filter of its own, nor Landlock", "seccomp = false, landlock = false" },
  { function(request) return recipes.nesting_of(request) == true end, "allow sandboxes inside", "nesting = true" },
  { function(request) return request.userns or request.userns2 or request.pidns end, "join namespaces that are open",
    "namespaces = { user = …, pid = … }, user = { inner = … }" },
  { function(request) return request.userns_block_fd end, "let somebody else map the ids", "user = { map = function … }" },
  { function(request) return not request.new_session end, "share our session and terminal", 'inherit = { "session" }' },
  { function(request) return not request.die_with_parent end, "outlive who started it", 'lifetime = "last"' },
  { function(_, items, rest) return rest or #items == 0 or items[1].target ~= "/" end,
    "leave the root and /dev writable", 'fs.tmpfs("/", { writable = true })' },
  { function(request) return request.argv0 end, "give the command another argv[0]", "argv0 = … of a run" },
  { function(request) return #request.held > 0 end, "hold descriptors open meanwhile", "hold = { … } of a run" },
  { function(request) return request.info_fd or request.json_status_fd or request.block_fd end,
    "tell of the start, or wait before it", "ready = function … of a run" },
  { recipes.tells_of_init, "let who is told of PID 1 look into it", 'init = "visible"' },
}

local function notes_of(request, items, rest)
  local lines = { "-- Besides, bubblewrap would" }
  for _, note in ipairs(NOTES) do
    if note[1](request, items, rest) then lines[#lines + 1] = ("--   %-42s %s"):format(note[2], note[3]) end
  end
  return table.concat(lines, "\n")
end

-- -- the whole --

local READ <const> = [[
local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

]]

--- The recipe's text.
-- @tparam table request after nslua.bwrap.options has read the command line
-- @tparam table command
-- @treturn string
-- @raise what options.die raises
return function(request, command)
  request.asked = { uid = request.uid, gid = request.gid }
  recipes.settle(request)
  local items = entries.of(request)
  local rest = system.rest(items, request)
  local lines = {}
  for _, field in ipairs(FIELDS) do
    local value = field[2](request, items, rest)
    if value then lines[#lines + 1] = ("  %s = %s,\n"):format(field[1], value) end
  end
  local name = command[1]:match "([^/]+)/*$" or "sandbox"
  local body = ("return sandbox %s {\n%s  command = %s,\n}\n"):format(quoted(name), table.concat(lines), list_of(command))
  return notes_of(request, items, rest) .. "\n" .. (body:find("read \"/", 1, true) and READ or "") .. body
end
