--- From a compiled recipe to a started payload: what only the caller can prepare, the stage, and the proof of what the
-- payload holds.
-- @module nslua.start
local Error = require "nslua.error"
local own = require("nslua.check").copy -- who changes a result changes nothing for others
local descriptor = require "nslua.descriptor"
local failure = require "nslua.failure"
local names = require "nslua.names"
local payloads = require "nslua.payload"
local seccomp = require "nslua.seccomp"
local sys = require "nslua.sys"

local EPERM <const>, ESRCH <const>, EAGAIN <const>, ENOSYS <const>, ETIMEDOUT <const> = 1, 3, 11, 38, 110
local PATIENCE <const> = 10 -- seconds

local M = {}

--- The stage's pid as we see it; of one that another stage has made, the kernel tells it by its pidfd.
function M.stage_pid(stage)
  if stage:pid() then return stage:pid() end
  for line in io.lines("/proc/self/fdinfo/" .. stage:pidfd()) do
    local pid = line:match "^Pid:%s*(%d+)"
    if pid then return math.tointeger(pid) end
  end
end

--- The payload's pid: that of the stage's child; nil when there is none any more.
function M.payload_pid(stage)
  local pid = M.stage_pid(stage)
  local file = pid and io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  if not file then return nil end
  local child = file:read "n"
  file:close()
  return child
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
  local variety = (ready.new.pid or ready.held.permitted == 0) and (ready.plan.nesting and "nesting" or "plain") or nil
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

--- The namespaces that the payload must be in.
local function wanted_namespaces(ready)
  local wanted, inner = {}, ready.identity.inner
  for kind, handle in pairs(ready.plan.joined) do wanted[kind] = not ready.new[kind] and handle or nil end
  if inner then wanted.user = inner ~= true and inner or nil end
  return wanted
end

--- Whether a namespace that was to be joined is another one than the payload's.
local function is_elsewhere(ready, held)
  for kind, handle in pairs(wanted_namespaces(ready)) do
    local status = sys.fstat(handle)
    if not status or status.inode ~= held.namespaces[kind] then return true end
  end
end

--- The stage says what the payload holds; it must be what the recipe says.
local function check_held(ready, held)
  local identity, wanted = ready.identity, ready.held
  local wrong = held.uid ~= identity.uid and "uid" or held.gid ~= identity.gid and "gid"
    or held.no_new_privs ~= (ready.recipe.no_new_privs ~= false) and "no_new_privs" or is_elsewhere(ready, held) and "namespaces"
  for _, set in ipairs { "effective", "permitted", "inheritable", "ambient", "bounding" } do
    local bounded = set ~= "bounding" or identity.holds
    if bounded and held[set] ~= wanted[set] then wrong = wrong or set .. " capabilities" end
  end
  if held.securebits & wanted.securebits ~= wanted.securebits then wrong = wrong or "securebits" end
  if not wrong then return true end
  return nil, Error.new { step = "verification", reason = "the payload does not hold the " .. wrong .. " that the recipe says" }
end

local function labels(operations, owners, indices, list)
  for _, index in ipairs(indices) do
    list[#list + 1] = tostring(owners[sys.operation(operations, index + 1).note])
  end
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
    namespaces = namespaces_of(ready, held.namespaces), uid = held.uid, gid = held.gid,
    uid_map = payload.uid_map or ready.identity.uid_map, gid_map = payload.gid_map or ready.identity.gid_map,
    supplementary_groups = held.groups, capabilities = names.capabilities(held.effective),
    securebits = sys.flag_names("securebits", held.securebits), no_new_privs = held.no_new_privs, skipped = skipped,
    seccomp = seccomp.enforced(ready.filters), landlock = own(ready.landlock),
    limits = own(payload.limits), scheduling = own(ready.recipe.scheduling),
    setid_files = ready.plan.writes_as_owner and "refused" or "allowed",
  }
end

-- -- the start --

local function try_spawn(ready, payload, fds, userns, terminal, cgroup, times)
  local joins = { userns }
  table.move(ready.plan.joins, 1, #ready.plan.joins, #joins + 1, joins)
  return sys.spawn {
    operations = payload.operations, payload = payload.bytes, registers = payload.registers, fds = fds,
    namespaces = ready.namespaces, joins = joins, cgroup = cgroup, capabilities = ready.capabilities, uid_map = ready.uid_map,
    gid_map = ready.gid_map,
    proc_files = ready.proc_files, detached = ready.plan.detached ~= 0, own_pids = ready.own_pids,
    terminal = terminal ~= nil and ready.own_pty, announces = payload.announce ~= nil, remade = ready.plan.remade,
    mapped = ready.identity.map ~= nil, times = times, name = ready.title,
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
  for _, cgroup in ipairs(unified and { unified, false } or { false }) do
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

--- Whether the stage has ended; who is about to is in no group any more.
local function has_ended(stage) return sys.poll(1, stage:pidfd(), "r") end

--- Until when a stage may take for its next message: where others live already, they may be able to stop it.
-- @treturn ?number of the monotonic clock
-- @treturn string what to say then
local function patience_for(ready, deadline)
  local patience = (ready.first or ready.target or ready.joined.user or ready.joined.pid) and sys.clock() + PATIENCE
  if not patience or deadline and deadline < patience then
    return deadline, "the time limit passed while it set the sandbox up"
  end
  return patience, ("it has not answered for %d s: who lives in the sandbox may have stopped it"):format(PATIENCE)
end

--- The next message; or nil and an error, when the time is over before it comes.
local function next_message(recipe, stage, deadline)
  local last, reason = patience_for(recipe, deadline)
  while true do
    local left = last and last - sys.clock()
    if left and left <= 0 then return nil, Error.new { step = "stage", reason = reason, errno = ETIMEDOUT } end
    local ready, _, errno = sys.poll(left, stage:fileno(), "r")
    if errno then return nil, Error.new { step = "poll", errno = errno } end
    if ready then
      local kind, record = stage:receive()
      if kind ~= "none" then return kind, record end
    end
  end
end

--- Why the sandbox's stage has not been told.
local UNTOLD <const> = {
  [EPERM] = "the sandbox is that of another process", [ESRCH] = "the sandbox has ended",
  [EAGAIN] = "the stage of the sandbox does not answer",
}

local function exec_failure(step, errno)
  if not UNTOLD[errno] then return failure.of_spawn("exec: " .. step, errno) end
  return Error.new { step = "exec", errno = errno, reason = UNTOLD[errno] }
end

--- Why a stage has ended before it could tell anything.
local function end_of_stage(maker)
  if has_ended(maker) then return exec_failure("stage", ESRCH) end
  return Error.new { step = "exec", reason = "the stage of the command was ended, as who lives in the sandbox can do it" }
end

--- Where the running stage of a sandbox is to make this one: whether it has.
local function await_joined(ready, stage, maker, deadline)
  local kind, record = next_message(ready, stage, deadline)
  if kind == "joined" then return true end
  if kind == "failed" then return nil, failure.of_spawn("exec: start of the stage", record.errno) end
  return nil, kind and end_of_stage(maker) or record
end

--- What another message than the expected one says: the set-up has failed, or the stage has ended. The error when none
--- came in time is the record itself.
local function why_not(payload, kind, record)
  if not kind then return record end
  if kind == "failed" then return failure.of_plan(payload.operations .. payload.bytes, payload.owners, record) end
  return Error.new { step = "stage", reason = "it was killed while it set the sandbox up" }
end

--- A message in the middle of the plan.
local function await_message(ready, stage, payload, deadline, expected)
  local kind, record = next_message(ready, stage, deadline)
  if kind == expected then return true end
  return nil, why_not(payload, kind, record)
end

--- Where the stage is to go on as another process: whether it does.
local function await_remade(ready, stage, payload, deadline)
  for _ = 1, ready.plan.remade do
    local ok, err = await_message(ready, stage, payload, deadline, "joined")
    if not ok then return nil, err end
    stage:go()
  end
  return true
end

--- What is told of a sandbox that is set up.
local function news_of(ready, stage, held)
  return { payload = M.payload_pid(stage), reaper = M.stage_pid(stage), namespaces = namespaces_of(ready, held.namespaces) }
end

--- Set-up has failed, or the payload has started. A terminal comes before: the stage waits until we have it. And it
--- waits until who wants to know that all is set up has been told.
local function await_start(ready, stage, payload, deadline, terminal)
  local kind, record = next_message(ready, stage, deadline)
  if kind == "terminal" then
    local ok, err = terminal:connect(record)
    if not ok then return nil, err end
    stage:go()
    kind, record = next_message(ready, stage, deadline)
  end
  if kind == "ready" then
    local ok, err = pcall(payload.announce, news_of(ready, stage, record))
    if not ok then return nil, err end
    stage:go()
    kind, record = next_message(ready, stage, deadline)
  end
  if kind ~= "started" then return nil, why_not(payload, kind, record) end
  local ok, err = check_held(ready, record)
  return ok and record, err
end

--- Takes what is passed, after a look at it.
local function pass(payload, fds)
  for _, one in ipairs(payload.passed) do
    local ok, err = descriptor.check(("fds[%d]"):format(one.number), one.fd, one.directory)
    if not ok then return nil, err end
    fds[one.register:number()] = one.fd
  end
  for _, one in ipairs(payload.kept) do fds[one.register:number()] = one.fd end
  if payload.program then fds[payload.program.register:number()] = payload.program.fd end
  return true
end

--- The terminal among the streams that a payload gets.
local function terminal_of(stdio)
  for i = 1, 3 do
    if stdio[i] and sys.isatty(stdio[i]) then return stdio[i] end
  end
end

--- What a run gives its payload: its streams, what is passed besides, a terminal where the sandbox has none to give.
-- @treturn[1] table register -> fd
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function given_to(ready, payload, stdio, terminal)
  local fds = {}
  for i, register in ipairs(ready.streams) do fds[register:number()] = stdio[i] end
  local ok, err = pass(payload, fds)
  if ok and terminal and not ready.own_pty then
    ok, err = terminal:open(ready.identity)
    fds[ready.pty:number()] = terminal.slave
  end
  return ok and fds, err
end

--- What the set-up takes from us besides.
local function give_setup(ready, fds, stdio)
  for register, fd in pairs(ready.passed) do fds[register] = fd end
  local given = ready.plan.terminal
  if given then fds[given:number()] = terminal_of(stdio) end
  return prepare_idmaps(ready, fds)
end

-- -- control groups --

local function has_groups(ready) return ready.groups and #ready.groups.places > 0 end
local function new_group(ready, pid) return require "nslua.cgroup".new(ready.groups, pid) end

--- The group that is made before the stage; false where there is none, or it comes later.
local function early_group(ready)
  if not has_groups(ready) or ready.groups.late then return false end
  return new_group(ready)
end

--- The group that a stage waits for.
local function late_group(ready, stage)
  local group, err = new_group(ready, M.stage_pid(stage))
  if group then stage:go() end
  return group, err
end

--- After a start that failed.
local function drop_group(group, err)
  if not group then return end
  if (group:usage().memory_reached or 0) > 0 then err.hint = "limits.memory may be too low even for the start" end
  group:remove()
end

-- -- ids that the caller's own function maps --

--- Whether the function has mapped the ids of the stage that waits for it; the maps are noted as they are.
local function map_ids(ready, stage, payload, deadline)
  local ok, err = await_message(ready, stage, payload, deadline, "ready")
  if not ok then return nil, err end
  local identity, pid = ready.identity, M.stage_pid(stage)
  local returned, result, reason = pcall(identity.map, pid)
  if not returned then result, reason = false, result end
  if result == false or reason ~= nil then
    if getmetatable(reason) == Error then return nil, reason end
    return nil, Error.new { step = "user.map", reason = reason and tostring(reason) or "it says that it has failed" }
  end
  for _, kind in ipairs { "uid", "gid" } do
    local text
    text, err = identity:read_map(kind, pid)
    if not text then return nil, err end
    payload[kind .. "_map"] = text
  end
  return stage:go()
end

-- -- the wait --

--- Waits until the payload has started and is what it should be, in its group; otherwise all ends.
-- @treturn[1] table held
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function confirm(ready, stage, payload, deadline, terminal, group)
  local held, err = await_start(ready, stage, payload, deadline, terminal)
  if held and group and not (group:holds(M.stage_pid(stage)) or has_ended(stage)) then
    held, err = nil, Error.new { step = "verification", reason = "the sandbox is not in its control group" }
  end
  if not held then stage:close() end
  return held, err
end

--- What a stage needs of us before it can go on.
-- @treturn[1] true
-- @treturn[1] nil
-- @treturn[1] ?nslua.cgroup
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @treturn[2] ?nslua.cgroup
local function accompany(ready, stage, payload, group, deadline)
  local ok, err = await_remade(ready, stage, payload, deadline)
  if ok and ready.identity.map then ok, err = map_ids(ready, stage, payload, deadline) end
  if ok and not group and has_groups(ready) then
    group, err = late_group(ready, stage)
    ok = group
  end
  return ok and true, err, group or nil
end

--- Starts the stage, and waits until the payload has started.
-- @treturn[1] stage
-- @treturn[1] table what is enforced
-- @treturn[1] ?nslua.cgroup its own, which may have been there before
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @treturn[2] ?nslua.cgroup
local function run_stage(ready, payload, fds, userns, terminal, group, deadline, steps)
  if steps then steps:mark "streams, and what else only the caller can prepare" end
  local opened, skipped = open_sources(ready, payload.registers, fds)
  if not opened then return nil, skipped, group end
  for register, fd in pairs(opened) do fds[register] = fd end
  if steps then steps:mark "sources, opened by the caller" end
  local times = steps and steps:expect(payload.operations .. payload.bytes)
  local stage, err = spawn_stage(ready, payload, fds, userns, terminal, group, times)
  close_all(opened)
  if not stage then return nil, err, group end
  local ok
  ok, err, group = accompany(ready, stage, payload, group, deadline)
  if not ok then
    stage:close()
    return nil, err, group
  end
  local held
  held, err = confirm(ready, stage, payload, deadline, terminal, group)
  if not held then return nil, err, group end
  if steps then steps:finish(stage:times(), payload.owners) end
  local skipped_labels = ready.target and own(ready.target.missed) or {}
  labels(ready.sources, ready.owners, skipped, skipped_labels)
  labels(payload.operations, payload.owners, held.skipped, skipped_labels)
  return stage, enforced_of(ready, payload, held, skipped_labels), group
end

--- Starts a payload.
-- @tparam table ready of nslua.compile
-- @tparam table options of nslua.options
-- @tparam table argv
-- @tparam table stdio the three fds that it gets
-- @tparam[opt] number deadline of the monotonic clock
-- @tparam[opt] nslua.terminal terminal that the payload is to have
-- @treturn[1] stage
-- @treturn[1] table what is enforced
-- @treturn[1] table payload of nslua.payload
-- @treturn[1] ?nslua.cgroup its own
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.start(ready, options, argv, stdio, deadline, terminal)
  local refusal = ready.refusal or ready.target and ready.target:refusal(ready)
  if refusal then return nil, refusal end
  local payload = payloads.of(ready, options, argv, terminal)
  local fds, err = given_to(ready, payload, stdio, terminal)
  local ok = fds
  if ok then ok, err = give_setup(ready, fds, stdio) end
  if not ok then return nil, err end
  local userns
  userns, err = prepare_user_namespace(ready)
  if userns == nil then return nil, err end
  local group
  group, err = early_group(ready)
  if group == nil then return nil, err end
  local stage, enforced
  stage, enforced, group = run_stage(ready, payload, fds, userns or nil, terminal, group, deadline,
    options.time_steps)
  if not stage then drop_group(group, enforced) end
  return stage, enforced, payload, group
end

--- Starts a further command in a running sandbox.
-- @tparam table ready of nslua.payload.further
-- @param maker stage of the sandbox
-- @return as start; its parameters are those of start
function M.further(ready, maker, options, argv, stdio, deadline, terminal)
  local payload = payloads.of(ready, options, argv, terminal)
  local fds, err = given_to(ready, payload, stdio, terminal)
  if not fds then return nil, err end
  local steps = options.time_steps
  if steps then steps:mark "streams" end
  local stage, step, errno = maker:exec {
    operations = payload.operations, payload = payload.bytes, registers = payload.registers, fds = fds,
    times = steps and steps:expect(payload.operations .. payload.bytes),
    detached = ready.plan.detached ~= 0, terminal = terminal ~= nil and ready.own_pty,
  }
  if not stage then return nil, exec_failure(step, errno) end
  local joined, held
  joined, err = await_joined(ready, stage, maker, deadline)
  if not joined then
    stage:close()
    return nil, err
  end
  held, err = confirm(ready, stage, payload, deadline, terminal)
  if not held then return nil, err end
  if steps then steps:finish(stage:times(), payload.owners) end
  return stage, enforced_of(ready, payload, held, {}), payload
end

return M
