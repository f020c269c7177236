--- From a compiled recipe to a started payload: what only the caller can prepare, the payload's own
-- operations, the stage, and the proof of what the payload holds.
-- @module nslua.start
local Error = require "nslua.error"
local descriptor = require "nslua.descriptor"
local failure = require "nslua.failure"
local landlock = require "nslua.landlock"
local limits = require "nslua.limits"
local names = require "nslua.names"
local scheduling = require "nslua.scheduling"
local seccomp = require "nslua.seccomp"
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

--- What a run passes besides the streams, in the order of the numbers: { number=, register=, fd=, directory= }.
local function passed_of(section, fds)
  local passed = {}
  for number, item in pairs(fds or {}) do
    passed[#passed + 1] = { number = number, register = section:register(), fd = item.fd, directory = item.directory }
  end
  table.sort(passed, function(a, b) return a.number < b.number end)
  return passed
end

--- The set-up's operations, with what Landlock is to allow of the descriptors that are passed before it restricts.
local function operations_of(ready, section, passed)
  if #passed == 0 or not ready.ruleset then return ready.operations end
  local rules = section:section()
  for _, one in ipairs(passed) do
    landlock.record_passed(rules, ready.ruleset, ready.landlock.rights, one.register, one.directory)
  end
  return ready.operations:sub(1, -#ready.drop - 1) .. rules:bytes() .. ready.drop
end

--- Closes everything from 3 on, but for what is passed and the way to report.
local function record_closing(section, passed)
  local first = 3
  local function keep(number)
    if number > first then section:close_range(first, number - 1) end
    first = number + 1
  end
  for _, one in ipairs(passed) do keep(one.number) end
  keep(CONTROL_FD)
  section:close_range(first, LAST_FD)
end

--- The payload's limits, and the one that was raised for its set-up. Few open files may be allowed from here on:
-- then what the exec would close goes now, but for the way to report.
-- @treturn table the limits that hold, and by what
local function record_limits(section, ready, passed)
  local wanted = ready.recipe.limits
  local soft, hard = sys.getrlimit "nofile"
  local raised = soft >= 0 and CONTROL_FD + section:registers() + SPARE_FDS > soft
  if raised or wanted and wanted.nofile then record_closing(section, passed) end
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
    [first + 4] = "scheduling", [first + 5] = "seccomp", [first + 6] = "recorder of seccomp",
    [first + 7] = "fds", [first + 8] = "terminal",
  }, { __index = ready.owners })
  local section = sys.plan(ready.registers)
  local passed = passed_of(section, options.fds)
  section:note(first + 7)
  local operations = operations_of(ready, section, passed)
  section:note(first + 4)
  scheduling.record(section, recipe.scheduling)
  section:note(first + 1)
  if terminal or recipe.session ~= false then section:setsid() end
  if terminal then
    section:note(first + 8)
    terminal:record(section, ready.pty)
    section:note(first + 1)
  end
  if ready.guard then section:landlock_restrict(ready.guard) end
  local filters = ready.filters
  if filters and recipe.no_new_privs == false then -- then they take a capability that is about to go
    section:note(first + 5)
    for _, filter in ipairs(filters) do section:seccomp(filter.program, filter.flags) end
    section:note(first + 1)
    filters = nil
  end
  ready.record_capabilities(section)
  section:hold()
  if filters and filters.mode then
    section:note(first + 6)
    section:record()
  end
  section:note(first + 2)
  if cwd then section:chdir(cwd) end
  section:note(first + 1)
  for i, register in ipairs(ready.streams) do
    section:dup(terminal and (i < 3 or not options.stderr or options.stderr == "stdout") and ready.pty or register, i - 1)
  end
  section:close_range(3, LAST_FD, "cloexec")
  for _, one in ipairs(passed) do section:dup(one.register, one.number) end
  local held = record_limits(section, ready, passed)
  section:umask(recipe.umask or DEFAULT_UMASK)
  section:unblock_signals()
  section:note(first + 3)
  section:execve(argv[1], argv, env, path, ready.plan.writes_as_owner and 1 or nil, filters and seccomp.packed(filters))
  return {
    operations = operations, bytes = section:bytes(), owners = owners, limits = held, passed = passed,
    registers = section:registers(),
  }
end

--- The same, kept for the next run of the same words in the same directory.
local function payload_of(ready, options, argv, terminal)
  local cwd = options.cwd or ready.cwd
  if options.env or options.fds or terminal then return record_payload(ready, options, argv, cwd, terminal) end
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
      local made, _, errno = sys.new_namespaces("user", map.uid_map, map.gid_map)
      if not made then return nil, failure.of_spawn("user namespace of an idmapped mount", errno) end
      map.handle = made.user
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
  local variety = (ready.new.pid or ready.keep == 0) and (ready.plan.nesting and "nesting" or "plain") or nil
  local handle, err = require "nslua.subordinate".namespace(identity.uid_map, identity.gid_map, variety)
  ready.userns = variety and handle -- as long as the recipe is there
  return handle, err
end

--- Opens the sources that only the caller may open.
-- @treturn[1] table register -> fd
-- @treturn[1] table indices of skipped operations
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function open_sources(ready, registers, fds)
  if not ready.sources then return {}, {} end
  local opened, result = sys.execute(ready.sources, registers, fds)
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
    seccomp = seccomp.enforced(ready.filters), landlock = copy(ready.landlock),
    limits = copy(payload.limits), scheduling = copy(ready.recipe.scheduling),
    setid_files = ready.plan.writes_as_owner and "refused" or "allowed",
  }
end

-- -- the start --

local function spawn_stage(ready, payload, fds, userns, terminal)
  local stage, step, errno = sys.spawn {
    operations = payload.operations, payload = payload.bytes, registers = payload.registers, fds = fds,
    namespaces = ready.namespaces, userns = userns, capabilities = ready.capabilities, uid_map = ready.uid_map,
    gid_map = ready.gid_map,
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
    return nil, failure.of_plan(payload.operations .. payload.bytes, payload.owners, record)
  elseif not kind then
    return nil, record
  end
  return nil, Error.new { step = "stage", reason = "it was killed while it set the sandbox up" }
end

--- Takes what is passed, after a look at it.
local function pass(payload, fds)
  for _, one in ipairs(payload.passed) do
    local ok, err = descriptor.check(("fds[%d]"):format(one.number), one.fd, one.directory)
    if not ok then return nil, err end
    fds[one.register:number()] = one.fd
  end
  return true
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
  local ok, err = pass(payload, fds)
  if ok then ok, err = prepare_idmaps(ready, fds) end
  if not ok then return nil, err end
  if terminal and not ready.own_pty then
    ok, err = terminal:open(ready.identity)
    if not ok then return nil, err end
    fds[ready.pty:number()] = terminal.slave
  end
  local userns
  userns, err = prepare_user_namespace(ready)
  if userns == nil then return nil, err end
  local opened, skipped = open_sources(ready, payload.registers, fds)
  if not opened then return nil, skipped end
  for register, fd in pairs(opened) do fds[register] = fd end
  local stage
  stage, err = spawn_stage(ready, payload, fds, userns or nil, terminal)
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
  labels(payload.operations, payload.owners, held.skipped, skipped_labels)
  return stage, enforced_of(ready, payload, held, skipped_labels)
end

return M
