--- A command line of bubblewrap as the recipe that a person would write: nslua's defaults hold, and what bubblewrap
-- would allow besides is said in comments.
-- @module nslua.bwrap.print
local names = require "nslua.names"
local os_verb = require "nslua.verbs.os"
local paths = require "nslua.path"
local sys = require "nslua.sys"
local die = require "nslua.bwrap.options".die
local recipes = require "nslua.bwrap.recipe"

local within, absolute = paths.within, paths.absolute

local WIDTH <const>, SHORT <const> = 110, 2000

-- -- Lua's words --

--- Text as Lua has it in one line.
local function quoted(text)
  return (("%q"):format(text):gsub("\\\n", "\\n"):gsub("\r", "\\r"))
end

local function octal(mode) return ('tonumber("%o", 8)'):format(mode) end

local function list_of(words, quote)
  local list = {}
  for i, word in ipairs(words) do list[i] = (quote or quoted)(word) end
  return "{ " .. table.concat(list, ", ") .. " }"
end

local function name_of(key) return key:find "^[%a_][%w_]*$" and key or "[" .. quoted(key) .. "]" end

--- A table of what is named, in the order of the names.
local function record_of(values)
  local parts = {}
  for i, key in ipairs(names.sorted(values)) do parts[i] = name_of(key) .. " = " .. values[key] end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or nil
end

local function call(verb, arguments)
  if #arguments == 1 and arguments[1]:sub(1, 1) == '"' then return "fs." .. verb .. " " .. arguments[1] end
  return "fs." .. verb .. "(" .. table.concat(arguments, ", ") .. ")"
end

-- -- what fds have given --

--- The file that an fd has been opened as, where it still has that name.
local function file_of(fd)
  local path = sys.readlink("/proc/self/fd/" .. fd)
  local named, open = path and path:sub(1, 1) == "/" and sys.stat(path), sys.fstat(fd)
  return named and open and named.inode == open.inode and named.device == open.device and path or nil
end

local function is_short_text(content) return #content <= SHORT and not content:find "[^\t\n\r\32-\126]" end

local function content_of(fd, content)
  if is_short_text(content) then return quoted(content) end
  local path = file_of(fd) or die("what fd %d gives is no short text: let it be a file that has a name", fd)
  return "read " .. quoted(path)
end

-- -- the entries: what comes between a verb's parentheses --

local SHARES <const> = { ro = true, rw = true, overlay = true }
local MOUNTS <const> = { ro = true, rw = true, overlay = true, tmpfs = true, proc = true, dev = true, mqueue = true }

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

local function is_repeated(items, number)
  for i = 1, number - 1 do
    if items[i].target == items[number].target then return true end
  end
end

--- Where ids cannot be mapped.
local function is_kernels(path)
  return path == "/" or within(path, "/dev") or within(path, "/proc") or within(path, "/sys")
end

local function source_of(item)
  local fd = item.options.from_fd
  return fd and (file_of(fd) or die("what is open as fd %d has no name", fd)) or item.operands[1]
end

local function bind(item)
  local source = source_of(item)
  local options = { optional = item.options.optional and "true", dev = item.options.dev and "true" }
  if item.verb == "rw" and is_kernels(source) then options.idmap = "false" end
  return item.verb, { quoted(absolute(source)), absolute(source) ~= item.target and quoted(item.target) or nil }, options
end

local function at_target(default)
  return function(item) return item.verb, { item.target ~= default and quoted(item.target) or nil }, {} end
end

local WORDS <const> = { ro = bind, rw = bind, dev = at_target "/dev", lock = at_target(), remount = at_target() }

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
  local written = item.options.place == "tree" and inside and SHARES[inside.verb]
  return "file", { quoted(item.target), content_of(item.fd, item.operands[2]) },
    { mode = not USUAL_MODE[mode] and octal(mode) or nil, writable = writable and "true" or nil,
      place = written and '"tree"' or nil }
end

function WORDS.symlink(item) return "symlink", { quoted(item.operands[1]), quoted(item.target) }, {} end
function WORDS.chmod(item) return "chmod", { quoted(item.target), octal(item.operands[2]) }, {} end

function WORDS.overlay(item)
  local parts, own = item.operands[1], {}
  for name, part in pairs(parts) do
    own[name] = type(part) == "table" and list_of(part, function(path) return quoted(absolute(path)) end) or quoted(part)
  end
  return "overlay", { record_of(own), quoted(item.target) }, {}
end

function WORDS.remount(item) return "remount", { quoted(item.target) }, { recursive = "false" } end

local MADE <const> = { file = true, symlink = true, dir = true, chmod = true }

--- An entry's line. Into a tree of the host nothing comes unasked.
local function line_of(items, number, request)
  local item, inside = items[number], holder(items, number)
  local verb, arguments, options = WORDS[item.verb](item, request, inside)
  local shared = inside and SHARES[inside.verb]
  if shared and (MADE[item.verb] or inside.verb == "rw" and MOUNTS[item.verb] and not sys.lstat(item.target)) then
    options.create = "true"
  end
  if is_repeated(items, number) and item.verb ~= "remount" and item.verb ~= "chmod" and item.verb ~= "lock" then
    options.over = "true"
  end
  local record = record_of(options)
  if record and #arguments == 0 then arguments[1] = quoted(item.target) end
  arguments[#arguments + 1] = record
  return verb, call(verb, arguments)
end

-- -- fs.os --

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do set[item] = true end
  return set
end

local TOP <const>, ETC <const> = set_of(os_verb.top), set_of(os_verb.etc)

local function is_itself(item) return item.verb == "ro" and item.operands[1] == item.target end

--- The directory of fs.os's own with this target, as { target, mode }.
local function directory_of_os(target)
  for _, one in ipairs(os_verb.directories) do
    if one[1] == target then return one end
  end
end

--- Whether fs.os has the same at the same place.
local function is_of_os(item)
  local target = item.target
  if target == "/usr" or ETC[target] then return is_itself(item) end
  if TOP[target] then return is_itself(item) or item.verb == "symlink" and sys.readlink(target) == item.operands[1] end
  local directory = directory_of_os(target)
  if directory then
    local mode, size = item.options.mode, item.options.size
    return (item.verb == "tmpfs" or item.verb == "dir") and (not mode or mode == directory[2]) and not math.type(size)
  end
  return item.verb == "proc" and target == "/proc" or item.verb == "dev" and target == "/dev"
end

--- Whether it would come over what fs.os makes, or lie behind a link of its.
local function collides(item)
  for _, target in ipairs(os_verb.targets) do
    if within(target, item.target) then return true end
  end
  for _, link in ipairs(os_verb.links) do
    if within(item.target, link[1]) then return true end
  end
  return false
end

--- Whether one of those comes to lie beneath a target.
local function any_within(items, target)
  for _, item in ipairs(items) do
    if within(item.target, target) then return true end
  end
  return false
end

--- The entries that are left when fs.os stands for the others; nil where those do not amount to it.
local function without_os(items)
  local rest, found = {}, {}
  for _, item in ipairs(items) do
    if is_of_os(item) and not found[item.target] and not any_within(rest, item.target) then found[item.target] = true
    elseif collides(item) then return nil
    else rest[#rest + 1] = item end
  end
  return found["/usr"] and found["/dev"] and found["/proc"] and rest or nil
end

-- -- the fields --

--- Entries of a verb stand together, as many as a line has room for.
local function grouped(lines)
  local groups = {}
  for _, line in ipairs(lines) do
    local last = groups[#groups]
    if last and last.verb == line.verb and #last.text + #line.text < WIDTH then last.text = last.text .. " " .. line.text .. ","
    else groups[#groups + 1] = { verb = line.verb, text = "    " .. line.text .. "," } end
  end
  local texts = {}
  for i, group in ipairs(groups) do texts[i] = group.text end
  return "{\n" .. table.concat(texts, "\n") .. "\n  }"
end

--- What is to be written. A root of our own becomes read-only unasked.
local function own_items(request)
  local own = {}
  local items, has_root = recipes.visible(request)
  for _, item in ipairs(items) do
    local seals = item.verb == "remount" and item.target == "/" and not has_root
    request.sealed = request.sealed or seals
    if not (seals or item.implied) then own[#own + 1] = item end
  end
  return own
end

local function fs_of(request, items)
  local rest = without_os(items)
  local lines = {}
  if rest then lines[1] = { verb = "os", text = "fs.os()" } end
  if rest and not request.unshare.pid then lines[2] = { verb = "ro", text = 'fs.ro "/proc"' } end
  for number in ipairs(rest or items) do
    local verb, text = line_of(rest or items, number, request)
    lines[#lines + 1] = { verb = verb, text = text }
  end
  return #lines > 1 and grouped(lines) or #lines == 1 and "{ " .. lines[1].text .. " }" or "{}"
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

--- The directory where bubblewrap would begin, when that is a shared one.
local function cwd_of(request, items)
  local asked = request.chdir
  if asked then return quoted(asked:sub(1, 1) == "/" and asked or "/" .. asked) end
  for _, path in ipairs(recipes.directories(request)) do
    for _, item in ipairs(items) do
      if path ~= "/" and SHARES[item.verb] and within(path, item.target) and sys.stat(path) then return quoted(path) end
    end
  end
  return without_os(items) and '"/"' or nil
end

local function caps_of(request)
  if not request.chosen or request.capabilities == 0 then return nil end
  local all = (1 << sys.capability_count()) - 1
  return request.capabilities & all == all and '"all"' or list_of(names.capabilities(request.capabilities & all))
end

local function seccomp_of(request)
  local programs = {}
  for i, program in ipairs(request.programs) do programs[i] = content_of(request.program_fds[i], program) end
  return #programs > 0 and "{ programs = { " .. table.concat(programs, ", ") .. " } }" or nil
end

local FIELDS <const> = {
  { "namespaces", namespaces_of }, { "user", user_of },
  { "hostname", function(request) return request.hostname and quoted(request.hostname) end },
  { "fs", fs_of }, { "net", function(request) return not request.unshare.net and '"host"' or nil end },
  { "caps", caps_of }, { "seccomp", seccomp_of }, { "env", env_of }, { "cwd", cwd_of },
  { "init", function(request) return request.as_pid_1 and "false" or nil end },
}

-- -- what bubblewrap would do besides --

local function always() return true end

--- When, what, and what says it here.
local NOTES <const> = {
  { function(request) return request.env.inherit end, "pass the whole environment", 'env = { inherit = "all" }' },
  { always, "pass open descriptors", "fds = { … } of a run" },
  { always, "keep root root, and supplementary groups", 'namespaces = { user = false }, inherit = { "groups" }' },
  { always, "set no filter of its own, nor Landlock", "seccomp = false, landlock = false" },
  { function(request) return not request.disable_userns end, "allow sandboxes inside", "nesting = true" },
  { function(request) return not request.new_session end, "share our session and terminal", 'inherit = { "session" }' },
  { function(request) return not request.die_with_parent end, "outlive who started it", 'lifetime = "last"' },
  { function(_, items) return without_os(items) or #items == 0 or items[1].target ~= "/" end,
    "leave the root and /dev writable", 'fs.tmpfs("/", { writable = true })' },
  { function(request) return request.argv0 end, "give the command another argv[0]", "argv0 = … of a run" },
  { function(request) return #request.held > 0 end, "hold descriptors open meanwhile", "hold = { … } of a run" },
  { function(request) return request.info_fd or request.json_status_fd or request.block_fd end,
    "tell of the start, or wait before it", "ready = function … of a run" },
}

local function notes_of(request, items)
  local lines = { "-- Besides, bubblewrap would" }
  for _, note in ipairs(NOTES) do
    if note[1](request, items) then lines[#lines + 1] = ("--   %-42s %s"):format(note[2], note[3]) end
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
  local items = own_items(request)
  local lines = {}
  for _, field in ipairs(FIELDS) do
    local text = field[2](request, items)
    if text then lines[#lines + 1] = ("  %s = %s,\n"):format(field[1], text) end
  end
  local name = command[1]:match "([^/]+)/*$" or "sandbox"
  local body = ("return sandbox %s {\n%s  command = %s,\n}\n"):format(quoted(name), table.concat(lines), list_of(command))
  return notes_of(request, items) .. "\n" .. (body:find("read \"/", 1, true) and READ or "") .. body
end
