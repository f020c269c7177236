--- From a compiled recipe to a started payload: what only the caller can prepare, the stage, and the proof of what the
-- payload holds.
-- @module nslua.start
local Error = require "nslua.error"
local descriptor = require "nslua.descriptor"
local failure = require "nslua.failure"
local names = require "nslua.names"
local payloads = require "nslua.payload"
local seccomp = require "nslua.seccomp"
local sys = require "nslua.sys"

local ENOSYS <const> = 38

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

--- Whether a namespace that was to be joined is another one than the payload's.
local function is_elsewhere(ready, held)
  for kind, handle in pairs(ready.joined) do
    local status = type(handle) ~= "string" and sys.fstat(handle)
    if status and status.inode ~= held.namespaces[kind] then return true end
  end
end

--- The stage says what the payload holds; it must be what the recipe says.
local function check_held(ready, held)
  local identity, keep = ready.identity, ready.keep
  local wrong = held.uid ~= identity.uid and "uid" or held.gid ~= identity.gid and "gid"
    or held.no_new_privs ~= (ready.recipe.no_new_privs ~= false) and "no_new_privs" or is_elsewhere(ready, held) and "namespaces"
  for _, set in ipairs { "effective", "permitted", "inheritable", "ambient", "bounding" } do
    local bounded = set ~= "bounding" or identity.holds
    if bounded and held[set] ~= keep then wrong = wrong or set .. " capabilities" end
  end
  if held.securebits & ready.securebits ~= ready.securebits then wrong = wrong or "securebits" end
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
    securebits = sys.flag_names("securebits", held.securebits), no_new_privs = held.no_new_privs, skipped = skipped,
    seccomp = seccomp.enforced(ready.filters), landlock = copy(ready.landlock),
    limits = copy(payload.limits), scheduling = copy(ready.recipe.scheduling),
    setid_files = ready.plan.writes_as_owner and "refused" or "allowed",
  }
end

-- -- the start --

local function try_spawn(ready, payload, fds, userns, terminal, cgroup, times)
  return sys.spawn {
    operations = payload.operations, payload = payload.bytes, registers = payload.registers, fds = fds,
    namespaces = ready.namespaces, userns = userns, cgroup = cgroup, capabilities = ready.capabilities, uid_map = ready.uid_map,
    gid_map = ready.gid_map,
    proc_files = ready.proc_files, detached = ready.recipe.lifetime == "detached", own_pids = ready.own_pids,
    terminal = terminal ~= nil and ready.own_pty, times = times, name = ready.title,
  }
end

--- The files by which the stage joins its control groups; it need not where it is made in one.
local function open_doors(ready, group, fds, all)
  local doors, err = group:doors(all)
  if not doors then return nil, err end
  for i, fd in pairs(doors) do fds[ready.groups.registers[i]:number()] = fd end
  return doors
end

local function close_all(handles)
  for _, handle in pairs(handles) do handle:close() end
end

--- The stage, made in its control group where the kernel can do that: moving there takes much longer.
local function spawn_stage(ready, payload, fds, userns, terminal, group, times)
  local stage, step, errno
  local unified = group and group:unified()
  for _, cgroup in ipairs { unified or false, unified and false } do
    local doors, err = {}, nil
    if group then doors, err = open_doors(ready, group, fds, not cgroup) end
    if not doors then return nil, err end
    stage, step, errno = try_spawn(ready, payload, fds, userns, terminal, cgroup or nil, times)
    close_all(doors)
    if stage or errno ~= ENOSYS then break end
  end
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

--- Starts the stage, and waits until the payload has started.
-- @treturn[1] stage
-- @treturn[1] table what is enforced
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function run_stage(ready, payload, fds, userns, terminal, group, deadline, steps)
  if steps then steps:mark "streams, and what else only the caller can prepare" end
  local opened, skipped = open_sources(ready, payload.registers, fds)
  if not opened then return nil, skipped end
  for register, fd in pairs(opened) do fds[register] = fd end
  if steps then steps:mark "sources, opened by the caller" end
  local times = steps and steps:expect(payload.operations .. payload.bytes)
  local stage, err = spawn_stage(ready, payload, fds, userns, terminal, group, times)
  close_all(opened)
  if not stage then return nil, err end
  local held
  held, err = await_start(ready, stage, payload, deadline, terminal)
  if not held then
    stage:close()
    return nil, err
  end
  if steps then steps:finish(stage:times(), payload.owners) end
  local skipped_labels = ready.target and copy(ready.target.missed) or {}
  labels(ready.sources, ready.owners, skipped, skipped_labels)
  labels(payload.operations, payload.owners, held.skipped, skipped_labels)
  return stage, enforced_of(ready, payload, held, skipped_labels)
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
-- @treturn[1] ?nslua.cgroup its own
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.start(ready, options, argv, stdio, deadline, terminal)
  local refusal = ready.refusal or ready.target and ready.target:refusal(ready)
  if refusal then return nil, refusal end
  local payload = payloads.of(ready, options, argv, terminal)
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
  local group
  if ready.groups and #ready.groups.places > 0 then
    group, err = require "nslua.cgroup".new(ready.groups)
    if not group then return nil, err end
  end
  local stage, enforced = run_stage(ready, payload, fds, userns or nil, terminal, group, deadline,
    options.time_steps)
  if not stage and group then
    if (group:usage().memory_reached or 0) > 0 then enforced.hint = "limits.memory may be too low even for the start" end
    group:remove()
  end
  return stage, enforced, group
end

return M
