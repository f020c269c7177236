--- What a command line of bubblewrap asks for, as a recipe: bubblewrap shares with the sandbox what it is not told to take
-- away, so much of it says that a default of nslua's is not to hold.
-- @module nslua.bwrap.recipe
local nslua = require "nslua"
local names = require "nslua.names"
local options = require "nslua.bwrap.options"
local die, fs, sys = options.die, nslua.fs, nslua.sys

local SYS_RESOURCE <const> = 1 << sys.capability "sys_resource"
local EPERM <const>, EBADF <const>, EINVAL <const> = 1, 9, 22
local INHERITED <const> = { "groups", "hostname", "keyring", "limits", "securebits", "signals", "umask" }

local M = {}

--- What nothing has been asked of yet.
function M.new_request(word_count)
  local caller = sys.identity()
  return {
    caller = caller, unshare = { mount = true }, try = {}, files = {}, env = { inherit = "all" }, used = {}, programs = {},
    program_fds = {}, given = {},
    layers = {}, held = {}, word_count = word_count, capabilities = caller.uid == 0 and caller.capabilities or 0,
  }
end

-- -- which namespaces --

local function may_make_user_namespaces()
  local file = io.open "/proc/sys/user/max_user_namespaces"
  if not file then return sys.stat "/proc/self/ns/user" ~= nil end
  local most = file:read "n"
  file:close()
  return most ~= 0
end

local POSSIBLE <const> = {
  user = may_make_user_namespaces, cgroup = function() return sys.stat "/proc/self/ns/cgroup" ~= nil end,
}

local function choose_namespaces(request)
  for kind in pairs(request.try) do request.unshare[kind] = request.unshare[kind] or POSSIBLE[kind]() or nil end
  if request.caller.uid ~= 0 and not request.userns then request.unshare.user = true end
end

--- User namespaces that somebody else makes or maps, before any is implied.
local function check_foreign(request)
  for which, option in pairs { [request.unshare] = "--unshare-user", [request.try] = "--unshare-user-try" } do
    if request.userns and which.user then die("--userns not compatible %s", option) end
  end
  if not request.userns_block_fd then return end
  if not request.unshare.user then die "--userns-block-fd requires --unshare-user" end
  if not request.info_fd then die "--userns-block-fd requires --info-fd" end
end

--- What needs a namespace of its own.
local function check_namespaces(request)
  local unshare, caller = request.unshare, request.caller
  if request.disable_userns and not unshare.user then die "--disable-userns requires --unshare-user" end
  for _, kind in ipairs { "uid", "gid" } do
    if not request.userns then request[kind] = request[kind] or caller[kind] end
    if not (unshare.user or request.userns) and request[kind] ~= caller[kind] then
      die("Specifying --%s requires --unshare-user or --userns", kind)
    end
  end
  if request.hostname and not unshare.uts then die "Specifying --hostname requires --unshare-uts" end
  if request.as_pid_1 and not unshare.pid then die "Specifying --as-pid-1 requires --unshare-pid" end
  if request.as_pid_1 and request.locks then die "Specifying --as-pid-1 and --lock-file is not permitted" end
end

-- -- namespaces that are open as fds --

local NO_DESCENDANT <const> = "Joining the specified user namespace failed, it might not be a descendant of the current "
  .. "user namespace."

--- A handle for an fd, or the end with these words; or with others where it is open, but none of the kind.
local function open_namespace(fd, kind, words, others)
  if not sys.fstat(fd) then die("%s: %s", words, (sys.strerror(EBADF))) end
  local handle, err = nslua.ns.open(("/proc/self/fd/%d"):format(fd), kind)
  return handle or die(others or "%s: %s", words, (sys.strerror(err.errno)))
end

--- Who we are in the user namespace.
local function ids_in(handle)
  local uid, gid = handle:ids()
  if uid then return uid, gid end
  if gid.errno == EINVAL then die(NO_DESCENDANT) end
  die("Joining specified user namespace failed: %s", (sys.strerror(gid.errno)))
end

--- The namespaces that are joined: { user =, inner =, pid = }. Somebody may name one twice.
local function joined_by(request)
  local joined = {}
  if request.userns then
    joined.user = open_namespace(request.userns, "user", "Joining specified user namespace failed", NO_DESCENDANT)
    local uid, gid = ids_in(joined.user)
    request.uid, request.gid = request.uid or uid, request.gid or gid
  end
  if request.userns2 then
    local inner = open_namespace(request.userns2, "user", "Setting userns2 failed")
    if not (joined.user and joined.user:inode() == inner:inode()) then joined.inner = inner end
  end
  if request.pidns then
    joined.pid = open_namespace(request.pidns, "pid", "Setting pidns failed")
    if request.unshare.user then die("Setting pidns failed: %s", (sys.strerror(EPERM))) end -- it is not that one's
  end
  return joined
end

-- -- the parts of a recipe --

local function namespaces_of(request, joined)
  local list = { user = joined.user, pid = joined.pid }
  if request.unshare.pid and joined.pid then list.pid = { below = joined.pid } end
  for kind in pairs(request.unshare) do
    if not list[kind] then list[#list + 1] = kind end
  end
  return list
end

--- In a new user namespace the caller's own ids, and no others; unless somebody else maps them. What the command holds could
--- lift the limit on its own user namespace, so that comes to be another one.
local function user_of(request, joined)
  local user = { uid = request.uid, gid = request.gid, inner = joined.inner }
  if not request.unshare.user then return (joined.user or joined.inner) and user or nil end
  if request.disable_userns and request.capabilities & SYS_RESOURCE ~= 0 then user.inner = true end
  if request.userns_block_fd then
    user.map = request.map_ids
    return user
  end
  local caller = request.caller
  user.uid_map, user.gid_map = { { request.uid, caller.uid, 1 } }, { { request.gid, caller.gid, 1 } }
  return user
end

--- Whether user namespaces may be made inside; or whether something else has to refuse them.
function M.nesting_of(request)
  if request.disable_userns then return false end
  return request.assert_userns_disabled and "impossible" or true
end

--- Root's capabilities are root's: with another uid they go, unless some have been chosen. Nobody can give more than
--- there is.
local function capabilities_of(request)
  if not request.chosen and request.uid ~= 0 then return {} end
  local most = (request.unshare.user or request.userns) and -1 or request.caller.capabilities
  return names.capabilities(request.capabilities & most)
end

--- Of a root that covers all that came before only the last is to be seen.
local function root_of(files)
  for i = #files, 1, -1 do
    local item = files[i]
    if item.target == "/" and not fs.verbs[item.verb].repeats then return i end
  end
end

-- What root could change of the machine in a /proc.
local COVERED <const> = { "sysrq-trigger", "irq", "bus" }

local function entry_of(item)
  local arguments = { table.unpack(item.operands) }
  arguments[#arguments + 1] = item.options
  return fs[item.verb](table.unpack(arguments))
end

--- The caller's own /proc, and what root could change of the machine there.
local function add_shared_proc(list, item, covered)
  local links = item.options.links
  list[#list + 1] = fs.rw("/proc", item.target, {
    create = true, over = true, parents = item.options.parents, links = links, idmap = false, propagation = "slave",
  })
  for _, name in ipairs(covered) do
    list[#list + 1] = fs.remount(item.target .. "/" .. name, { ro = true, recursive = false, optional = true, links = links })
  end
end

--- With the caller's processes it is the caller's /proc.
local function add_proc(list, item, request)
  local covered = request.caller.uid == 0 and request.uid == 0 and COVERED or {}
  if not (request.unshare.pid or request.pidns) then return add_shared_proc(list, item, covered) end
  item.options.read_only = covered
  list[#list + 1] = entry_of(item)
end

--- What is to be seen of the files, and whether one of them is the root.
function M.visible(request)
  local first = root_of(request.files)
  return table.move(request.files, first or 1, #request.files, 1, {}), first ~= nil
end

local function files_of(request)
  local items, has_root = M.visible(request)
  local list = {}
  if not has_root then list[1] = fs.tmpfs("/", { size = "half", writable = true }) end
  for _, item in ipairs(items) do
    if item.verb == "proc" then add_proc(list, item, request) else list[#list + 1] = entry_of(item) end
  end
  return list
end

local function is_usable(path) return path and path:sub(1, 1) == "/" and not (path .. "/"):find("/../", 1, true) end

--- Our own directory, by the name that a shell has for it.
local function current_directory()
  local here, named = sys.stat ".", os.getenv "PWD"
  local there = is_usable(named) and sys.stat(named)
  if there and here and there.inode == here.inode and there.device == here.device then return named end
  return (sys.getcwd())
end

--- Where the command may begin when nothing was asked for: in our directory, in HOME, or in the root.
function M.directories(request)
  local home = request.env.HOME
  if home == nil and request.env.inherit then home = os.getenv "HOME" end
  local list = {}
  for _, path in ipairs { current_directory() or "", home or "", "/" } do
    if is_usable(path) then list[#list + 1] = path end
  end
  return list
end

--- The directory that was asked for; or the first that is there.
local function cwd_of(request)
  local asked = request.chdir
  if not asked then return M.directories(request) end
  request.env.PWD = asked
  return asked:sub(1, 1) == "/" and asked or "/" .. asked
end

--- Whether somebody is told of a PID 1 that is ours.
function M.tells_of_init(request)
  return request.unshare.pid and not request.as_pid_1 and (request.info_fd or request.json_status_fd) ~= nil
end

--- Who is told of PID 1 may join what that is in; root may anyway. With these capabilities the command could look into it, too.
local function init_of(request, capabilities)
  if request.as_pid_1 then return false end
  if not M.tells_of_init(request) or request.caller.uid == 0 then return nil end
  for _, name in ipairs(capabilities) do
    if name == "sys_ptrace" or name == "wake_alarm" then return nil end
  end
  return "visible"
end

local function inherited_by(request)
  local list = { table.unpack(INHERITED) }
  if not request.new_session then list[#list + 1] = "session" end
  return list
end

--- Makes up its mind about namespaces, and refuses what does not go together.
-- @tparam table request of M.new_request, after nslua.bwrap.options has read the command line
-- @raise what options.die raises
function M.settle(request)
  check_foreign(request)
  choose_namespaces(request)
  check_namespaces(request)
  if request.one_filter then options.add_filter(request, request.one_filter) end
  options.check_filters(request)
end

--- The recipe.
-- @tparam table request
-- @treturn table its fields
-- @raise what options.die raises
function M.of(request)
  M.settle(request)
  local joined = joined_by(request)
  local capabilities = capabilities_of(request)
  return {
    namespaces = namespaces_of(request, joined), user = user_of(request, joined), fs = files_of(request), cwd = cwd_of(request),
    caps = capabilities, hostname = request.hostname, inherit = inherited_by(request), env = request.env,
    seccomp = #request.programs > 0 and { profile = false, programs = request.programs } or false, landlock = false,
    nesting = M.nesting_of(request), init = init_of(request, capabilities),
    lifetime = request.die_with_parent and "maker" or "last",
  }
end

return M
