--- The options of bubblewrap's command line: one table, which parsing and the help text come from.
--
-- A row is the option's name, its operands (their words say their types), the line of help, and what it does to the
-- request: a table of what the command line asks for, which nslua.bwrap.recipe makes a recipe of. `creates`:
-- it takes --perms; `sized`: it takes --size; `once`: a further one takes its place, and it is said so; `words`: how it
-- asks for its operands where bubblewrap has words of its own for that.
-- @module nslua.bwrap.options
local sys = require "nslua.sys"

local MAX_WORDS <const> = 9000

local M = {}

--- A mistake of the command line: its text is the message.
function M.die(message, ...)
  error(setmetatable({ message = message:format(...) }, { __tostring = function(self) return self.message end }), 0)
end
local die = M.die

-- -- operands --

--- A decimal number, as strtol(3) reads it, of at most 32 bits.
local function number(word)
  local value = word:find "^%s*%+?%d+$" and #word < 12 and math.tointeger(tonumber(word))
  return value and value < 0x80000000 and value or nil
end

local function number_or(message)
  return function(word) return number(word) or die(message, word) end
end

--- As strtoul(3) reads it.
local function octal(word, option)
  local digits = word:match "^%s*%+?([0-7]+)$"
  local mode = digits and #digits < 12 and tonumber(digits, 8)
  if not mode or mode > 4095 then die("%s takes an octal argument <= 07777", option) end
  return mode
end

--- Decimal, hexadecimal behind 0x, or octal behind 0.
local function bytes(word, option)
  local base = word:find "^0[xX]%x+$" and 16 or word:find "^0[0-7]+$" and 8 or word:find "^[1-9]%d*$" and 10
  local digits = word:gsub("^0[xX]?0*", "")
  if not base or digits == "" then die("%s takes a non-zero number of bytes", option) end
  local size = base == 10 and math.tointeger(tonumber(digits)) or base ~= 10 and #digits < 16 and tonumber(digits, base)
  return size or die("%s (for tmpfs) is limited to %d", option, math.maxinteger)
end

local function capability(word)
  if word:upper() == "ALL" then return (1 << sys.capability_count()) - 1 end
  local bit = word:lower():find "^cap_" and sys.capability(word) or word:find "^%d%d?$" and tonumber(word)
  if bit and bit >= sys.capability_count() then bit = nil end
  return bit and 1 << bit or die("unknown cap: %s", word)
end

--- It would be taken for the root.
local function named(word, option)
  return word ~= "" and word or die("%s does not take an empty path argument", option)
end

--- The types of the operands that are no text, by their words in the help.
local TYPES <const> = {
  FD = number_or "Invalid fd: %s", UID = number_or "Invalid uid: %s", GID = number_or "Invalid gid: %s",
  OCTAL = octal, BYTES = bytes, CAP = capability, SRC = named, DEST = named, DIR = named, PATH = named, TARGET = named,
  RWSRC = named, WORKDIR = named,
}

-- -- what options share --

--- All that an fd has to give; it is not passed on then.
local function read_all(request, fd, purpose)
  request.used[fd] = true
  local parts = {}
  while true do
    local data, _, errno = sys.read(fd, 1 << 16)
    if not data then die("%s: %s", purpose, (sys.strerror(errno))) end
    if data == "" then return table.concat(parts) end
    parts[#parts + 1] = data
  end
end

--- A destination is meant from the root on, whatever it begins with; ".." takes back the component before it.
local function inside(path)
  if not path:find("..", 1, true) then return path:sub(1, 1) == "/" and path or "/" .. path end
  local components = {}
  for component in path:gmatch "[^/]+" do
    if component == ".." then components[#components] = nil
    elseif component ~= "." then components[#components + 1] = component end
  end
  return "/" .. table.concat(components, "/")
end

local GROUP <const>, OTHERS <const>, DIRECTORY <const> = tonumber("070", 8), tonumber("007", 8), tonumber("755", 8)

--- Directories that are made on the way are open to those to whom what is made there is.
local function parents_of(mode)
  local parents = DIRECTORY
  if mode & GROUP == 0 then parents = parents & ~GROUP end
  if mode & OTHERS == 0 then parents = parents & ~OTHERS end
  return parents
end

--- Permissions of what is made, where bubblewrap has none for it: they only say what the parents' are.
local USUAL <const> = { dir = DIRECTORY, tmpfs = DIRECTORY }

--- What an entry of the recipe is made of: a verb of `fs`, its operands and options. Links on the way to it lead inside.
local function note(request, name, target, options, ...)
  options.links = "inside"
  local item = { verb = name, target = target, operands = { ... }, options = options }
  request.files[#request.files + 1] = item
  return item
end

--- The same of what is made where it is missing.
local function add(request, name, target, options, ...)
  options.create, options.parents = true, parents_of(options.mode or USUAL[name] or 0)
  return note(request, name, target, options, ...)
end

--- An entry of a verb that takes the target only; it may come over what is there already.
local function make(name, options)
  return function(request, target)
    local own = { over = true, mode = request.perms }
    for key, value in pairs(options or {}) do own[key] = value end
    add(request, name, inside(target), own, inside(target))
  end
end

--- A shared tree is as the host has it: also what is mounted there later is seen.
local function add_bind(request, name, source, target, options)
  local own = { propagation = "slave", idmap = false, over = true, follow = true }
  for key, value in pairs(options or {}) do own[key] = value end
  add(request, name, inside(target), own, source, inside(target))
end

local function bind(name, options)
  return function(request, source, target) add_bind(request, name, source, target, options) end
end

local function bind_fd(name)
  return function(request, fd, target)
    request.used[fd] = true
    add_bind(request, name, ("fd %d"):format(fd), target, { from_fd = fd })
  end
end

--- An overlay of what --overlay-src has named: the first is the lowest.
local function overlay(name, least, count, upper_of)
  return function(request, ...)
    local layers, lower = request.layers, {}
    if #layers < least then die("%s requires at least %s --overlay-src", name, count) end
    for i = #layers, 1, -1 do lower[#lower + 1] = layers[i] end
    local parts = upper_of(...)
    parts.lower, request.layers = lower, {}
    local target = inside((select(-1, ...)))
    add(request, "overlay", target, { over = true, idmap = false, size = parts.upper == "tmp" and "half" or nil }, parts, target)
  end
end

local function file(mode, place, writable)
  return function(request, fd, target)
    local content = read_all(request, fd, "Can't write data to file " .. target)
    local options = { over = true, mode = request.perms or mode, place = place, writable = writable, exec = true }
    add(request, "file", inside(target), options, inside(target), content).fd = fd
  end
end

local function unshare(kind) return function(request) request.unshare[kind] = true end end
local function try_unshare(kind) return function(request) request.try[kind] = true end end

--- Remembers an operand, or true; the last one holds.
local function set(name)
  return function(request, value) request[name] = value == nil and true or value end
end

--- Remembers the program's own name.
local function set_argv0(request, value)
  if request.argv0 then die "--argv0 used multiple times" end
  request.argv0 = value
end

--- Remembers an fd that is ours, not the command's.
local function use_fd(name)
  return function(request, fd)
    request[name], request.used[fd] = fd, true
  end
end

local MAX_PROGRAM <const> = 4096 * 8

--- What is said of a filter that the kernel does not take.
M.REFUSED_FILTER = "Unable to set up system call filtering as requested: prctl(PR_SET_SECCOMP) reported EINVAL. (Hint: this "
  .. "requires a kernel configured with CONFIG_SECCOMP and CONFIG_SECCOMP_FILTER.)"

--- Reads a filter.
function M.add_filter(request, fd)
  local program = read_all(request, fd, "Can't read seccomp data")
  if #program % 8 ~= 0 then die "Invalid seccomp data, must be multiple of 8" end
  table.insert(request.programs, program)
  request.program_fds[#request.programs] = fd
end

--- What is none in itself the kernel is not asked.
function M.check_filters(request)
  for _, program in ipairs(request.programs) do
    if #program == 0 or #program > MAX_PROGRAM then die(M.REFUSED_FILTER) end
  end
end

local function refuse_label() die "labeling not supported on this system" end

local function check_variable(name, message)
  if name == "" or name:find("=", 1, true) then die(message) end
end

-- -- the table --

local ONE <const> = "%s takes one argument"

local rows

--- The words of an fd, as if they stood in the place of the option.
local function read_arguments(request, fd)
  if request.in_arguments then die "--args not supported in arguments file" end
  local data = read_all(request, fd, "Can't read --args data")
  if data ~= "" and data:sub(-1) ~= "\0" then data = data .. "\0" end
  local words = {}
  for word in data:gmatch "([^\0]*)\0" do words[#words + 1] = word end
  request.word_count = request.word_count + #words
  if request.word_count > MAX_WORDS then die("Exceeded maximum number of arguments %d", MAX_WORDS) end
  request.in_arguments = true
  M.parse(words, request)
  request.in_arguments = nil
end

rows = {
  { "--help", "", "Show this help", function(request) request.show = "help" end },
  { "--version", "", "Show the version", function(request) request.show = "version" end },
  { "--args", "FD", "Read further arguments from FD, each ended by NUL", read_arguments },
  { "--argv0", "VALUE", "What the command finds as its own name", set_argv0, words = ONE },
  {
    "--not-a-security-boundary", "", "Let steps of the set-up fail that only protect (accepted: here none may)",
    function() end,
  },
  { "--level-prefix", "", "Begin messages with a level, as <3>", set "level_prefix" },
  {
    "--unshare-all", "", "New namespaces of every kind",
    function(request)
      for _, kind in ipairs { "ipc", "pid", "net", "uts" } do request.unshare[kind] = true end
      request.try.user, request.try.cgroup = true, true
    end,
  },
  { "--share-net", "", "Keep the network all the same", function(request) request.unshare.net = nil end },
  { "--unshare-user", "", "A new user namespace (an ordinary user always gets one)", unshare "user" },
  { "--unshare-user-try", "", "The same, if there can be one", try_unshare "user" },
  { "--unshare-ipc", "", "A new IPC namespace", unshare "ipc" },
  { "--unshare-pid", "", "A new PID namespace", unshare "pid" },
  { "--unshare-net", "", "A new network namespace", unshare "net" },
  { "--unshare-uts", "", "A new UTS namespace", unshare "uts" },
  { "--unshare-cgroup", "", "A new cgroup namespace", unshare "cgroup" },
  { "--unshare-cgroup-try", "", "The same, if there can be one", try_unshare "cgroup" },
  { "--userns", "FD", "Join this user namespace", use_fd "userns", once = true },
  { "--userns2", "FD", "Join this user namespace after the set-up", use_fd "userns2", once = true },
  { "--disable-userns", "", "No further user namespaces inside (needs --unshare-user)", set "disable_userns" },
  { "--assert-userns-disabled", "", "Fail unless there can be none", set "assert_userns_disabled" },
  { "--pidns", "FD", "Join this PID namespace (or, with --unshare-pid, go below it)", use_fd "pidns", once = true },
  { "--uid", "UID", "The uid inside (needs --unshare-user)", set "uid", once = true },
  { "--gid", "GID", "The gid inside (needs --unshare-user)", set "gid", once = true },
  { "--hostname", "NAME", "The host name inside (needs --unshare-uts)", set "hostname", once = true },
  { "--chdir", "DIR", "The working directory inside", set "chdir", words = ONE, once = true },
  {
    "--clearenv", "", "Begin with an empty environment",
    function(request) request.env = { PATH = false, HOME = false, LANG = false, TERM = false } end,
  },
  {
    "--setenv", "VAR VALUE", "Set a variable",
    function(request, name, value)
      check_variable(name, "setenv failed")
      request.env[name] = value
    end,
  },
  {
    "--unsetenv", "VAR", "Take a variable away",
    function(request, name)
      check_variable(name, "unsetenv failed")
      request.env[name] = false
    end,
  },
  {
    "--lock-file", "DEST", "Hold a lock on DEST while the sandbox runs",
    function(request, target)
      request.locks = true
      note(request, "lock", inside(target), {}, inside(target)).options.links = nil -- the finished sandbox's are followed
    end,
  },
  {
    "--sync-fd", "FD", "Keep FD open while the sandbox runs",
    function(request, fd) table.insert(request.held, fd) end,
  },
  { "--bind", "SRC DEST", "Share SRC of the host as DEST", bind "rw" },
  { "--bind-try", "SRC DEST", "The same, unless SRC is missing", bind("rw", { optional = true }) },
  { "--dev-bind", "SRC DEST", "The same, and devices in it work", bind("rw", { dev = true }) },
  { "--dev-bind-try", "SRC DEST", "The same, unless SRC is missing", bind("rw", { dev = true, optional = true }) },
  { "--ro-bind", "SRC DEST", "Share SRC read-only as DEST", bind "ro" },
  { "--ro-bind-try", "SRC DEST", "The same, unless SRC is missing", bind("ro", { optional = true }) },
  { "--bind-fd", "FD DEST", "Share the directory or path that is open as FD", bind_fd "rw" },
  { "--ro-bind-fd", "FD DEST", "The same, read-only", bind_fd "ro" },
  {
    "--remount-ro", "DEST", "Make DEST read-only, without what is mounted below it",
    function(request, target)
      note(request, "remount", inside(target), { ro = true, recursive = false }, inside(target))
    end,
    words = ONE,
  },
  {
    "--overlay-src", "SRC", "A lower layer of the overlay that follows",
    function(request, source) table.insert(request.layers, source) end,
    layered = true,
  },
  {
    "--overlay", "RWSRC WORKDIR DEST", "An overlay whose changes go to RWSRC",
    overlay("--overlay", 1, "one", function(upper, work)
      local absolute = require "nslua.path".absolute
      return { upper = absolute(upper), work = absolute(work) }
    end),
    layered = true,
  },
  {
    "--tmp-overlay", "DEST", "An overlay whose changes go to memory",
    overlay("--tmp-overlay", 1, "one", function() return { upper = "tmp" } end), layered = true,
  },
  {
    "--ro-overlay", "DEST", "A read-only overlay", overlay("--ro-overlay", 2, "two", function() return {} end),
    layered = true,
  },
  { "--exec-label", "LABEL", "SELinux: the label of the command (refused)", refuse_label },
  { "--file-label", "LABEL", "SELinux: the label of what is made (refused)", refuse_label },
  { "--proc", "DEST", "A new /proc", make("proc", { full = true, hidepid = "off" }) },
  {
    "--dev", "DEST", "A new /dev",
    function(request, target)
      make("dev", { writable = true })(request, target)
      local core = inside(target) .. "/core"
      add(request, "symlink", core, {}, "/proc/kcore", core).implied = true
    end,
  },
  {
    "--tmpfs", "DEST", "A new tmpfs",
    function(request, target) make("tmpfs", { size = request.size or "half", writable = true })(request, target) end,
    creates = true, sized = true,
  },
  { "--mqueue", "DEST", "The message queues", make("mqueue", { shared = true }) },
  {
    "--dir", "DEST", "A directory, unless it is there",
    function(request, target)
      if target:find "[^/]" then make "dir"(request, target) end
    end,
    creates = true,
  },
  { "--file", "FD DEST", "A file with what FD has to give", file(tonumber("666", 8), "tree"), creates = true },
  { "--bind-data", "FD DEST", "The same, mounted on DEST", file(tonumber("600", 8), "mount", true), creates = true },
  { "--ro-bind-data", "FD DEST", "The same, read-only", file(tonumber("600", 8), "mount"), creates = true },
  {
    "--symlink", "TARGET DEST", "A symbolic link at DEST",
    function(request, link, target) add(request, "symlink", inside(target), { over = true }, link, inside(target)) end,
  },
  {
    "--seccomp", "FD", "Load a filter, as seccomp_export_bpf(3) writes it (the last one holds)",
    function(request, fd)
      if request.many_filters then die "--seccomp cannot be combined with --add-seccomp-fd" end
      request.one_filter, request.used[fd] = fd, true
    end,
    once = true,
  },
  {
    "--add-seccomp-fd", "FD", "Load one more filter",
    function(request, fd)
      if request.one_filter then die "--add-seccomp-fd cannot be combined with --seccomp" end
      request.many_filters = true
      M.add_filter(request, fd)
    end,
  },
  { "--block-fd", "FD", "Wait with the command until FD can be read", use_fd "block_fd", once = true },
  {
    "--userns-block-fd", "FD", "Wait until FD can be read: somebody has mapped the ids", use_fd "userns_block_fd", once = true,
  },
  { "--info-fd", "FD", "Write pid and namespaces to FD", use_fd "info_fd", once = true },
  {
    "--json-status-fd", "FD", "Write the same, and the exit status, to FD, a line of JSON each", use_fd "json_status_fd",
    once = true,
  },
  { "--new-session", "", "A session of its own, apart from our terminal", set "new_session" },
  { "--die-with-parent", "", "End with us, and we with our parent", set "die_with_parent" },
  { "--as-pid-1", "", "The command itself is PID 1", set "as_pid_1" },
  {
    "--cap-add", "CAP", "Give a capability, or ALL",
    function(request, mask) request.capabilities, request.chosen = request.capabilities | mask, true end,
  },
  {
    "--cap-drop", "CAP", "Take a capability, or ALL",
    function(request, mask) request.capabilities, request.chosen = request.capabilities & ~mask, true end,
  },
  {
    "--perms", "OCTAL", "Permissions of what the next option makes",
    function(request, mode)
      if request.perms then die "--perms given twice for the same action" end
      request.perms = mode
    end,
    creates = true, sized = true, modifier = true,
  },
  {
    "--size", "BYTES", "Size of the tmpfs that the next option makes",
    function(request, size)
      if request.size then die "--size given twice for the same action" end
      request.size = size
    end,
    creates = true, sized = true, modifier = true,
  },
  {
    "--chmod", "OCTAL PATH", "Change the permissions of what is there",
    function(request, mode, path)
      note(request, "chmod", inside(path), { create = true }, inside(path), mode)
    end,
  },
}

M.rows = rows

local by_name = {}
for _, row in ipairs(rows) do by_name[row[1]] = row end

-- -- parsing --

local COUNTS <const> = { "an argument", "two arguments", "three arguments" }

--- What an option's operands are, as its help names them.
local function kinds_of(row)
  if not row.kinds then
    row.kinds = {}
    for kind in row[2]:gmatch "%S+" do table.insert(row.kinds, kind) end
  end
  return row.kinds
end

--- The operands of an option, from the words behind it.
local function operands_of(row, words, at)
  local values, kinds = {}, kinds_of(row)
  local n = #kinds
  if n > 0 and not words[at + n] then die((row.words or "%s takes " .. COUNTS[n]), row[1]) end
  for i, kind in ipairs(kinds) do
    local read, word = TYPES[kind], words[at + i]
    values[i] = read and read(word, row[1]) or word
  end
  return values, n
end

local function check_layers(request, row)
  if #request.layers == 0 or row and row.layered then return end
  die "--overlay-src must be followed by another --overlay-src or one of --overlay, --tmp-overlay, or --ro-overlay"
end

--- --perms and --size are for the next operation, and only for one that can use them.
local function check_modifiers(request, row)
  if request.perms and not row.creates then die "--perms must be followed by an option that creates a file" end
  if request.size and not row.sized then die "--size must be followed by --tmpfs" end
  check_layers(request, row)
end

--- Says a message in the way of bubblewrap.
function M.say(request, level, message)
  io.stderr:write(request.level_prefix and ("<%d>"):format(level) or "", "bwrap: ", sys.escape(message), "\n")
end

local WARNING <const> = 4

--- Whatever such an option has said before is not to hold.
local function note_given(request, row)
  if row.once and request.given[row] then M.say(request, WARNING, ("Only the last %s option will take effect"):format(row[1])) end
  request.given[row] = true
end

--- Reads options up to the command.
-- @tparam table words
-- @tparam table request what they ask for is noted there
-- @treturn integer where the command begins
function M.parse(words, request)
  local at = 1
  while words[at] and words[at]:sub(1, 1) == "-" and not request.show do
    if words[at] == "--" then
      at = at + 1
      break
    end
    local row = by_name[words[at]] or die("Unknown option %s", words[at])
    local operands, n = operands_of(row, words, at)
    check_modifiers(request, row)
    note_given(request, row)
    row[4](request, table.unpack(operands, 1, n))
    if not row.modifier then request.perms, request.size = nil, nil end
    at = at + 1 + n
  end
  check_layers(request)
  return at
end

--- The help text.
function M.usage(name)
  local lines = { ("usage: %s [OPTIONS...] [--] COMMAND [ARGS...]\n"):format(name) }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("    %-28s %s"):format(row[1] .. (row[2] ~= "" and " " .. row[2] or ""), row[3])
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
