--- From a compiled recipe to a started payload: what only the caller can prepare, the payload's own
-- operations, the stage, and the proof of what the payload holds.
-- @module nslua.start
local Error = require "nslua.error"
local failure = require "nslua.failure"
local limits = require "nslua.limits"
local names = require "nslua.names"
local scheduling = require "nslua.scheduling"
local subordinate = require "nslua.subordinate"
local sys = require "nslua.sys"

local LAST_FD <const> = 0xffffffff
local DEFAULT_UMASK <const> = 18
-- Of csrc/stage/wire.h: the first fd of the stage, which is its socket to us, and how many more it may need.
local CONTROL_FD <const>, SPARE_FDS <const> = 64, 64

-- -- the payload's own operations --

--- "NAME=value" of the recipe's environment and the run's; and the PATH in it.
local function environment(env, more)
  local list, path = {}, env.PATH
  if more then
    local merged = {}
    for name, value in pairs(env) do merged[name] = value end
    for _, name in ipairs(more.inherit or {}) do merged[name] = os.getenv(name) end
    for name, value in pairs(more) do
      if name ~= "inherit" then merged[name] = value or nil end
    end
    env, path = merged, merged.PATH
  end
  for name, value in pairs(env) do list[#list + 1] = name .. "=" .. value end
  table.sort(list)
  return list, path
end

--- The payload's limits, and the one that was raised for its set-up. Few open files may be allowed from here on:
-- then what the exec would close goes now, but for the way to report.
-- @treturn table the limits that hold, and by what
local function record_limits(section, ready)
  local wanted = ready.recipe.limits
  local soft, hard = sys.getrlimit "nofile"
  local raised = soft >= 0 and CONTROL_FD + ready.registers + SPARE_FDS > soft
  if raised or wanted and wanted.nofile then
    section:close_range(3, CONTROL_FD - 1)
    section:close_range(CONTROL_FD + 1, LAST_FD)
  end
  if raised then section:setrlimit("nofile", soft, hard) end
  local held = limits.of(wanted)
  limits.record(section, held)
  if wanted and wanted.time then held.time = { seconds = wanted.time, by = "timer" } end
  return held
end

--- The last operations, in the payload's process.
-- @treturn table bytes, and the owners of their notes
local function record_payload(ready, options, argv, cwd, terminal)
  local recipe = ready.recipe
  local env, path = environment(ready.env, options.env)
  local first = #ready.owners
  local owners = setmetatable({
    [first + 1] = "payload", [first + 2] = "cwd " .. tostring(cwd), [first + 3] = "command " .. argv[1],
    [first + 4] = "scheduling", [first + 5] = "terminal",
  }, { __index = ready.owners })
  local section = sys.plan(ready.registers)
  section:note(first + 4)
  scheduling.record(section, recipe.scheduling)
  section:note(first + 1)
  if terminal or recipe.session ~= false then section:setsid() end
  if terminal then
    section:note(first + 5)
    terminal:record(section, ready.pty)
    section:note(first + 1)
  end
  if ready.guard then section:landlock_restrict(ready.guard) end
  local filter = ready.filter
  if filter and recipe.no_new_privs == false then -- then it takes a capability that is about to go
    section:seccomp(filter)
    filter = nil
  end
  ready.record_capabilities(section)
  section:hold()
  section:note(first + 2)
  if cwd then section:chdir(cwd) end
  section:note(first + 1)
  for i, register in ipairs(ready.streams) do
    section:dup(terminal and (i < 3 or not options.stderr) and ready.pty or register, i - 1)
  end
  section:close_range(3, LAST_FD, "cloexec")
  local held = record_limits(section, ready)
  section:umask(recipe.umask or DEFAULT_UMASK)
  section:unblock_signals()
  section:note(first + 3)
  section:execve(argv[1], argv, env, path, ready.plan.writes_as_owner and 1 or nil, filter)
  return { bytes = section:bytes(), owners = owners, limits = held }
end

--- The same, kept for the next run of the same words in the same directory.
local function payload_of(ready, options, argv, terminal)
  local cwd = options.cwd or ready.cwd
  if options.env or terminal then return record_payload(ready, options, argv, cwd, terminal) end
  local words = table.concat(argv, "\0") .. "\0" .. tostring(cwd)
  if ready.last_words ~= words then
    ready.last_words, ready.last_payload = words, record_payload(ready, options, argv, cwd)
  end
  return ready.last_payload
end

-- -- what only the caller can prepare --

--- User namespaces for idmapped mounts, made once for a compiled recipe.
local function prepare_idmaps(ready, fds)
  for _, map in pairs(ready.idmaps) do
    if not map.handle then
      local handle, _, errno = sys.user_namespace(map.uid_map, map.gid_map)
      if not handle then return nil, failure.of_spawn("user namespace of an idmapped mount", errno) end
      map.handle = handle
    end
    fds[map.register:number()] = map.handle
  end
  return true
end

--- The user namespace that was made ahead; false when the sandbox makes its own. Who joins it shares our memory for a
--- moment: so it is used again only where no payload in it could look at that, for want of a capability or of a sight.
local function prepare_user_namespace(ready)
  local identity = ready.identity
  if not identity.delegated then return false end
  local variety = (ready.new.pid or ready.keep == 0) and (ready.recipe.nesting and "nesting" or "plain") or nil
  local handle, err = subordinate.namespace(identity.uid_map, identity.gid_map, variety)
  ready.userns = variety and handle -- as long as the recipe is there
  return handle, err
end

--- Opens the sources that only the caller may open.
-- @treturn[1] table register -> fd
-- @treturn[1] table indices of skipped operations
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function open_sources(ready, fds)
  if not ready.sources then return {}, {} end
  local opened, result = sys.execute(ready.sources, ready.registers, fds)
  if not opened then return nil, failure.of_plan(ready.sources, ready.owners, result) end
  return opened, result
end

-- -- the proof --

--- Whether a list has all of another's entries.
local function has_all(list, wanted)
  local missing = {}
  for _, item in ipairs(wanted) do missing[item] = true end
  for _, item in ipairs(list) do missing[item] = nil end
  return next(missing) == nil
end

local function securebits_of(held) return sys.flag_names("securebits", held.securebits) end

--- The stage says what the payload holds; it must be what the recipe says.
local function check_held(ready, held)
  local identity, keep = ready.identity, ready.keep
  local wrong = held.uid ~= identity.uid and "uid" or held.gid ~= identity.gid and "gid"
    or held.no_new_privs ~= (ready.recipe.no_new_privs ~= false) and "no_new_privs"
  for _, set in ipairs { "effective", "permitted", "inheritable", "ambient", "bounding" } do
    local bounded = set ~= "bounding" or identity.holds
    if bounded and held[set] ~= keep then wrong = wrong or set .. " capabilities" end
  end
  if not has_all(securebits_of(held), ready.securebits) then wrong = wrong or "securebits" end
  if not wrong then return true end
  return nil, Error.new { step = "verification", reason = "the payload does not hold the " .. wrong .. " that the recipe says" }
end

local function labels(operations, owners, indices, list)
  if #indices == 0 then return end
  local decoded = sys.decode(operations)
  for _, index in ipairs(indices) do list[#list + 1] = tostring(owners[decoded[index + 1].note]) end
end

--- A result's own: who changes it changes nothing for others.
local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for key, item in pairs(value) do result[key] = copy(item) end
  return result
end

--- The inodes of the namespaces that are not the caller's.
local function namespaces_of(ready, inodes)
  local result = {}
  for kind, inode in pairs(inodes) do
    if ready.new[kind] or ready.joined[kind] then result[kind] = inode end
  end
  return result
end

local function enforced_of(ready, payload, held, skipped)
  return {
    namespaces = namespaces_of(ready, held.namespaces), uid = held.uid, gid = held.gid, uid_map = ready.identity.uid_map,
    gid_map = ready.identity.gid_map, supplementary_groups = held.groups, capabilities = names.capabilities(held.effective),
    securebits = securebits_of(held), no_new_privs = held.no_new_privs, skipped = skipped,
    seccomp = ready.filter and {
      profile = type(ready.recipe.seccomp) == "table" and "changed" or "default", instructions = #ready.filter // 8,
    } or nil,
    limits = copy(payload.limits), landlock = copy(ready.landlock), scheduling = copy(ready.recipe.scheduling),
    setid_files = ready.plan.writes_as_owner and "refused" or "allowed",
  }
end

-- -- the start --

local function spawn_stage(ready, payload, fds, userns, terminal)
  local stage, step, errno = sys.spawn {
    operations = ready.operations, payload = payload, registers = ready.registers, fds = fds, namespaces = ready.namespaces,
    userns = userns, capabilities = ready.capabilities, uid_map = ready.uid_map, gid_map = ready.gid_map,
    proc_files = ready.proc_files, detached = ready.recipe.lifetime == "detached", own_pids = ready.own_pids,
    terminal = terminal ~= nil and ready.own_pty,
  }
  if not stage then return nil, failure.of_spawn(step, errno) end
  return stage
end

--- The first message; or nil and an error, when the time is over before it comes.
local function first_message(stage, deadline)
  while true do
    local left = deadline and deadline - sys.clock()
    if left and left <= 0 then
      return nil, Error.new { step = "stage", reason = "the time limit passed while it set the sandbox up" }
    end
    local ready, _, errno = sys.poll(left, stage:fileno(), "r")
    if errno then return nil, Error.new { step = "poll", errno = errno } end
    if ready then
      local kind, record = stage:receive()
      if kind ~= "none" then return kind, record end
    end
  end
end

--- Set-up has failed, or the payload has started. A terminal comes before: the stage waits until we have it.
local function await_start(ready, stage, payload, deadline, terminal)
  local kind, record = first_message(stage, deadline)
  if kind == "terminal" then
    local ok, err = terminal:connect(record)
    if not ok then return nil, err end
    stage:go()
    kind, record = first_message(stage, deadline)
  end
  if kind == "started" then
    local ok, err = check_held(ready, record)
    return ok and record, err
  elseif kind == "failed" then
    return nil, failure.of_plan(ready.operations .. payload.bytes, payload.owners, record)
  elseif not kind then
    return nil, record
  end
  return nil, Error.new { step = "stage", reason = "it was killed while it set the sandbox up" }
end

--- The terminal among the streams that a payload gets.
local function terminal_of(stdio)
  for i = 1, 3 do
    if stdio[i] and sys.isatty(stdio[i]) then return stdio[i] end
  end
end

local M = {}

--- Starts a payload.
-- @tparam table ready of nslua.compile
-- @tparam table options of nslua.options
-- @tparam table argv
-- @tparam table stdio the three fds that it gets
-- @tparam[opt] number deadline of the monotonic clock
-- @tparam[opt] nslua.terminal terminal that the payload is to have
-- @treturn[1] stage
-- @treturn[1] table what is enforced
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.start(ready, options, argv, stdio, deadline, terminal)
  if ready.refusal then return nil, ready.refusal end
  local payload = payload_of(ready, options, argv, terminal)
  local fds = {}
  for register, fd in pairs(ready.passed) do fds[register] = fd end
  for i, register in ipairs(ready.streams) do fds[register:number()] = stdio[i] end
  local given = ready.plan.terminal
  if given then fds[given:number()] = terminal_of(stdio) end
  local ok, err = prepare_idmaps(ready, fds)
  if not ok then return nil, err end
  if terminal and not ready.own_pty then
    ok, err = terminal:open(ready.identity)
    if not ok then return nil, err end
    fds[ready.pty:number()] = terminal.slave
  end
  local userns
  userns, err = prepare_user_namespace(ready)
  if userns == nil then return nil, err end
  local opened, skipped = open_sources(ready, fds)
  if not opened then return nil, skipped end
  for register, fd in pairs(opened) do fds[register] = fd end
  local stage
  stage, err = spawn_stage(ready, payload.bytes, fds, userns or nil, terminal)
  for _, fd in pairs(opened) do fd:close() end
  if not stage then return nil, err end
  local held
  held, err = await_start(ready, stage, payload, deadline, terminal)
  if not held then
    stage:close()
    return nil, err
  end
  local skipped_labels = {}
  labels(ready.sources, ready.owners, skipped, skipped_labels)
  labels(ready.operations, ready.owners, held.skipped, skipped_labels)
  return stage, enforced_of(ready, payload, held, skipped_labels)
end

return M
