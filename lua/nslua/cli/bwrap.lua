--- nslua bwrap: bubblewrap's command line. Messages and exit status are bubblewrap's, too.
local options = require "nslua.bwrap.options"
local recipes = require "nslua.bwrap.recipe"
local nslua = require "nslua"
local sys = require "nslua.sys"

local VERSION <const> = "bubblewrap 0.13.1 (nslua)" -- whose options these are
local FAILED <const>, SIGKILL <const>, ERROR <const> = 1, 9, 3
local ITSELF <const>, SHELL <const> = "/proc/self/exe", "/bin/sh"

-- -- messages --

--- What an entry shares, from its words.
local function source_of(err) return err.step:match "^%w+ (.-) on /" end

--- Whether it is no directory that an entry mounts.
local function is_file(err)
  local source = source_of(err)
  local status = source and sys.stat(source)
  return err.step:find "^file " or status and status.type ~= "directory"
end

--- What has another verb's name in its step, by that.
local OPENED <const> = {
  lock = function(err) return "Unable to open lock file " .. err.path end,
  remount = function(err) return "Can't remount readonly on " .. err.target end,
}

--- What was to be joined.
local JOINS <const> = {
  ["inner user namespace"] = "Setting userns2 failed", ["join namespace user"] = "Joining specified user namespace failed",
  ["join namespace pid"] = "Setting pidns failed",
}

--- What failed, by the operation: the words, to which the reason is added.
local WORDS
WORDS = {
  open_tree = function(err) return "Can't find source path " .. (err.path or source_of(err)) end,
  attach = function(err) return (is_file(err) and "Can't create file at " or "Can't mkdir ") .. err.target end,
  mkdir = function(err) return "Can't mkdir " .. err.target end,
  write_file = function(err) return "Can't create file " .. err.target end,
  symlink = function(err) return "Can't make symlink at " .. err.target end,
  chmod = function(err) return ("Can't chmod 0%s %s"):format(err.step:match "^chmod (%d+) (.*)$") end,
  fsmount = function(err) return ("Can't mount %s on /newroot%s"):format(err.step:match "^(%w+) on ([^:]*)") end,
  open = function(err) return (OPENED[err.step:match "^%a+"] or WORDS.mkdir)(err) end,
  read_lock = function(err) return "Unable to lock file " .. err.step:gsub("^lock ", "") end,
  chdir = function(err) return "Can't chdir to " .. err.path end,
  execve = function(err) return "execvp " .. err.path end,
  setns = function(err) return JOINS[err.step] or err.step end,
  setresuid = function(_, request) return ("unable to switch to uid %d"):format(request.uid) end,
  setresgid = function(_, request) return ("unable to switch to gid %d"):format(request.gid) end,
}
WORDS.directory, WORDS.fsconfig = WORDS.mkdir, WORDS.fsmount

local LINK <const>, EXISTS <const>, NOT_ALIKE <const>, ENOTDIR <const>, EISDIR <const> = "ELOOP", "EEXIST", "EINVAL", 20, 21

--- The reason in the system's words. The kernel does not say which of a file and a directory is mounted on the other.
local function reason_of(err)
  local errno = err.errno
  if err.op == "attach" and err.code == NOT_ALIKE then errno = is_file(err) and EISDIR or ENOTDIR end
  return errno and sys.strerror(errno) or err.reason
end

--- What is said of a link that is the target itself, by the operation; where that serves several, by the verb.
local LINKS <const> = {
  attach = "Can't mount on symlink destination ", remount = "Can't mount on symlink destination ",
  directory = "Destination is not a directory ",
}

local function verb_of(err) return err.op == "open" and err.step:match "^%a+" or err.op end

--- What is said of a target, without a reason of the system's; nil where that is to be added.
local function verdict_of(err)
  if err.op == "symlink" and err.code == EXISTS then
    return WORDS.symlink(err) .. ": " .. (err.found and "existing destination is " .. err.found
      or "destination exists and is not a symlink")
  end
  if err.op == "expect_no_user_namespaces" then return "creation of new user namespaces was not disabled as requested" end
  if err.op == "seccomp" and err.code == "EINVAL" then return options.REFUSED_FILTER end
  if err.code == LINK and not err.on_the_way and LINKS[verb_of(err)] then return LINKS[verb_of(err)] .. err.target end
end

--- Where it failed before it came to the target: whatever that was to become.
local function words_of(err, request)
  if err.on_the_way then return "Can't mkdir parents for " .. err.target end
  return WORDS[err.op] and WORDS[err.op](err, request)
end

--- The words of an error of nslua's: bubblewrap's where callers may look for them.
local function message_of(err, request)
  local is_operation = type(err) == "table" and err.op
  local verdict = is_operation and verdict_of(err)
  if verdict then return verdict end
  local words = is_operation and words_of(err, request)
  if words then return words .. ": " .. reason_of(err) end
  return (tostring(err):gsub("^%S+%.lua:%d+: ", ""))
end

local function say(request, message)
  options.say(request, ERROR, message)
  return FAILED
end

-- -- what is told of a running sandbox --

local KINDS <const> = {
  { "cgroup", "cgroup" }, { "ipc", "ipc" }, { "mount", "mnt" }, { "net", "net" }, { "pid", "pid" }, { "uts", "uts" },
}

--- Pid and namespaces as JSON, between these separators.
local function status_of(pid, namespaces, first, separator, last)
  local parts = { ('"child-pid": %d'):format(pid) }
  for _, kind in ipairs(KINDS) do
    if namespaces[kind[1]] then parts[#parts + 1] = ('"%s-namespace": %d'):format(kind[2], namespaces[kind[1]]) end
  end
  return first .. table.concat(parts, separator) .. last
end

local function write(fd, text)
  local ok, _, errno = sys.write(fd, text)
  if not ok then options.die("Write to info_fd: %s", (sys.strerror(errno))) end
end

local function tell(request, pid, namespaces)
  if request.info_fd then write(request.info_fd, status_of(pid, namespaces, "{\n    ", ",\n    ", "\n}\n")) end
  if request.json_status_fd then write(request.json_status_fd, status_of(pid, namespaces, "{ ", ", ", " }\n")) end
end

--- Tells who wants to know that all is set up, and waits for who wants to do something before the command begins.
local function announce(request)
  if not (request.info_fd or request.json_status_fd or request.block_fd) then return nil end
  local is_reaper = request.unshare.pid and not request.as_pid_1
  return function(ready)
    if not request.userns_block_fd then tell(request, is_reaper and ready.reaper or ready.payload, ready.namespaces) end
    if request.block_fd then sys.read(request.block_fd, 1) end
  end
end

--- Who maps the ids has to know whose, and tells us when.
local function await_ids(request)
  return function(pid)
    local namespaces = {}
    for kind in pairs(request.unshare) do
      local handle <close> = nslua.ns.open(pid, kind)
      namespaces[kind] = handle and handle:inode()
    end
    tell(request, pid, namespaces)
    sys.read(request.userns_block_fd, 1)
  end
end

-- -- the run --

--- What the reaper keeps open is not the command's, unless that is its own reaper.
local function held_by(request)
  if request.as_pid_1 or #request.held == 0 then return nil end
  for _, fd in ipairs(request.held) do request.used[fd] = true end
  return request.held
end

--- What is open passes, but what the arguments have given us.
local function passed_by(request)
  local fds = {}
  local open, _, errno = sys.inheritable_fds()
  for _, fd in ipairs(open or options.die("Can't open /proc: %s", (sys.strerror(errno)))) do
    if not request.used[fd] then fds[fd] = { fd, directory = true } end
  end
  return next(fds) and fds or nil
end

--- What is said of the end.
local function finish(request, result)
  local status = result.code or 128 + result.signal
  if request.json_status_fd then write(request.json_status_fd, ('{ "exit-code": %d }\n'):format(status)) end
  return status
end

--- Where one of ours is closed, the command's leads nowhere: nothing that it opens must come to be its stdout.
local STREAMS <const> = { [0] = "stdin", [1] = "stdout", [2] = "stderr" }

--- Inside /proc/self/exe would be the stage. Who says that means us, to make a sandbox in the sandbox.
local function program_of(request, command)
  if command[1] ~= ITSELF then return nil end
  local fd, _, errno = sys.open(nil, ITSELF, "path")
  if not fd then options.die("execvp %s: %s", ITSELF, (sys.strerror(errno))) end
  if not request.is_program then table.insert(command, 2, "bwrap") end
  return fd
end

local function run(request, command)
  for number, name in pairs(STREAMS) do command[name] = sys.fstat(number) and "inherit" or "null" end
  command.argv0, command.hold, command.ready = request.argv0, held_by(request), announce(request)
  command.fds, command.program, command.scripts = passed_by(request), program_of(request, command), SHELL
  request.map_ids = await_ids(request)
  local box = nslua.sandbox(recipes.of(request))
  if request.die_with_parent then sys.parent_death_signal(SIGKILL) end
  local process, err = box:spawn(command)
  if not process then return say(request, message_of(err, request)) end
  local result
  result, err = process:wait()
  return result and finish(request, result) or say(request, message_of(err, request))
end

local SHOWN <const> = {
  help = function(name) return options.usage(name) end,
  version = function() return VERSION .. "\n" end,
}

--- @tparam table words
-- @tparam string name that we were called by
-- @treturn integer the exit status
local function main(request, words, name)
  local at = options.parse(words, request)
  local shown = SHOWN[request.show]
  if shown then
    io.stdout:write(shown(name))
    return 0
  end
  if not words[at] then
    io.stderr:write(options.usage(name))
    return FAILED
  end
  return run(request, table.move(words, at, #words, 1, {}))
end

--- @tparam table words of the command line
-- @tparam[opt] string|function name that we were called by
return function(words, name)
  local request = recipes.new_request(#words)
  request.is_program = type(name) == "string" -- of its own, not a command of nslua's
  local ok, status = pcall(main, request, words, request.is_program and name or "nslua bwrap")
  os.exit(ok and status or say(request, message_of(status, request))) -- at once: nobody needs what is left of the state
end
