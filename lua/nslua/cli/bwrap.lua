--- nslua bwrap: bubblewrap's command line. Messages and exit status are bubblewrap's, too.
local options = require "nslua.bwrap.options"
local recipes = require "nslua.bwrap.recipe"
local sandbox = require "nslua".sandbox
local sys = require "nslua.sys"

local VERSION <const> = "bubblewrap 0.11.0 (nslua)"
local FAILED <const>, SIGKILL <const>, UNPASSABLE <const> = 1, 9, 64

-- -- messages --

--- What an entry shares, from its words.
local function source_of(err) return err.step:match "^%w+ (.-) on /" end

local function is_file(path)
  local status = path and sys.stat(path)
  return status and status.type ~= "directory"
end

--- What failed, by the operation: the words, to which the reason is added.
local WORDS <const> = {
  open_tree = function(err) return "Can't find source path " .. (err.path or source_of(err)) end,
  attach = function(err) return (is_file(source_of(err)) and "Can't create file at " or "Can't mkdir ") .. err.path end,
  mkdir = function(err) return "Can't mkdir " .. err.path end,
  write_file = function(err) return "Can't create file " .. err.path end,
  symlink = function(err) return "Can't make symlink at " .. err.path end,
  chmod = function(err) return ("Can't chmod 0%s %s"):format(err.step:match "^chmod (%d+) (.*)$") end,
  fsmount = function(err) return ("Can't mount %s on /newroot%s"):format(err.step:match "^(%w+) on ([^:]*)") end,
  open = function(err) return "Unable to open lock file " .. err.path end,
  read_lock = function(err) return "Unable to lock file " .. err.step:gsub("^lock ", "") end,
  chdir = function(err) return "Can't chdir to " .. err.path end,
  execve = function(err) return "execvp " .. err.path end,
}
WORDS.directory, WORDS.fsconfig = WORDS.mkdir, WORDS.fsmount

--- The words of an error of nslua's: bubblewrap's where callers may look for them.
local function message_of(err)
  local words = type(err) == "table" and WORDS[err.op]
  if words then return words(err) .. ": " .. err.reason end
  return (tostring(err):gsub("^%S+%.lua:%d+: ", ""))
end

local function say(request, message)
  io.stderr:write(request.level_prefix and "<3>" or "", "bwrap: ", message, "\n")
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

--- Tells who wants to know that all is set up, and waits for who wants to do something before the command begins.
local function announce(request)
  if not (request.info_fd or request.json_status_fd or request.block_fd) then return nil end
  local is_reaper = request.unshare.pid and not request.as_pid_1
  return function(ready)
    local pid = is_reaper and ready.reaper or ready.payload
    if request.info_fd then write(request.info_fd, status_of(pid, ready.namespaces, "{\n    ", ",\n    ", "\n}\n")) end
    if request.json_status_fd then write(request.json_status_fd, status_of(pid, ready.namespaces, "{ ", ", ", " }\n")) end
    if request.block_fd then sys.read(request.block_fd, 1) end
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
    if not request.used[fd] then
      if fd == UNPASSABLE then options.die("passing on fd %d is not supported yet", fd) end
      fds[fd] = { fd, directory = true }
    end
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

local function run(request, command)
  for number, name in pairs(STREAMS) do command[name] = sys.fstat(number) and "inherit" or "null" end
  command.argv0, command.hold, command.ready = request.argv0, held_by(request), announce(request)
  command.fds = passed_by(request)
  local box = sandbox(recipes.of(request))
  if request.die_with_parent then sys.parent_death_signal(SIGKILL) end
  local process, err = box:spawn(command)
  if not process then return say(request, message_of(err)) end
  local result
  result, err = process:wait()
  return result and finish(request, result) or say(request, message_of(err))
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
  local ok, status = pcall(main, request, words, type(name) == "string" and name or "nslua bwrap")
  os.exit(ok and status or say(request, message_of(status))) -- at once: nobody needs what is left of the state
end
