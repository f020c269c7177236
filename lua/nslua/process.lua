--- A running sandbox, and the result of one.
-- @classmod nslua.process
local Error = require "nslua.error"
local hints = require "nslua.hints"
local streams = require "nslua.streams"
local sys = require "nslua.sys"

local SIGNALS <const> = {
  HUP = 1, INT = 2, QUIT = 3, ILL = 4, TRAP = 5, ABRT = 6, BUS = 7, FPE = 8, KILL = 9, USR1 = 10, SEGV = 11,
  USR2 = 12, PIPE = 13, ALRM = 14, TERM = 15, CHLD = 17, CONT = 18, STOP = 19, TSTP = 20, TTIN = 21, TTOU = 22,
  WINCH = 28, SYS = 31,
}
local LAST_FD <const> = 0xffffffff
local DEFAULT_UMASK <const> = 18

-- -- failures --

--- Words for the failure of an operation: its owner, and on what.
local function failure_of(operation, owner, failure)
  local op = operation.name
  local path
  for _, argument in ipairs(operation) do
    if type(argument) == "string" and argument:find "^/" then path = argument end
  end
  if op == "execve" then path = operation[1] end
  local described = {
    op = op, errno = failure.errno, path = path, detail = failure.detail,
    step = type(owner) == "string" and owner or owner and tostring(owner) or op,
    at = type(owner) == "table" and owner.at or nil,
  }
  if op == "mount_setattr" and tostring(operation[3]):find "idmap" then described.idmapped = true end
  if op ~= "execve" and failure.detail > 0 and path then
    described.path = path:sub(1, failure.detail)
    if failure.detail < #path then described.step = described.step .. ": " .. described.path end
  end
  local reason, code = sys.strerror(failure.errno)
  described.code, described.reason = code, reason
  if code == "ELOOP" and op ~= "execve" and op ~= "chdir" then described.reason = "is a symbolic link" end
  described.hint = hints.of(described)
  return Error.new(described)
end

local function failed_operation(operations, owners, failure)
  local operation = sys.decode(operations)[failure.operation + 1]
  return failure_of(operation, owners[operation.note], failure)
end

local function failed_spawn(step, errno)
  local _, code = sys.strerror(errno)
  return Error.new { step = step, op = step, errno = errno, hint = hints.of { op = step, code = code } }
end

-- -- what a run adds to the plan --

local function environment(env, more)
  local merged = env
  if more ~= nil then
    merged = {}
    for name, value in pairs(env) do merged[name] = value end
    for name, value in next, more do
      if type(name) ~= "string" or name == "" or name:find "[=%z]" then error("env: bad variable name", 0) end
      if value ~= false and type(value) ~= "string" then error("env: " .. name .. " must be a string or false", 0) end
      merged[name] = value or nil
    end
  end
  local list = {}
  for name, value in pairs(merged) do list[#list + 1] = name .. "=" .. value end
  table.sort(list)
  return list, merged.PATH
end

--- The last operations, in the payload's own process.
local function record_payload(ready, options, argv)
  local recipe = ready.recipe
  local env, path = environment(ready.env, options.env)
  local section = sys.plan(ready.registers)
  local owner = #ready.owners + 1
  local words = { "payload", "cwd " .. tostring(options.cwd or ready.cwd), "command " .. argv[1] }
  section:note(owner)
  if recipe.session ~= false then section:setsid() end
  ready.record_capabilities(section)
  section:hold()
  local cwd = options.cwd or ready.cwd
  section:note(owner + 1)
  if cwd then section:chdir(cwd) end
  section:note(owner)
  for i, register in ipairs(ready.plan.streams) do section:dup(register, i - 1) end
  section:close_range(3, LAST_FD, "cloexec")
  section:umask(recipe.umask or DEFAULT_UMASK)
  section:signals_default()
  section:note(owner + 2)
  section:execve(argv[1], argv, env, path)
  return section:bytes(), words
end

-- -- before the child: what only the caller can prepare --

local function copy(map)
  local result = {}
  for key, value in pairs(map) do result[key] = value end
  return result
end

--- User namespaces for idmapped mounts, made once a compiled recipe.
local function prepare_idmaps(ready, fds)
  for _, map in pairs(ready.idmaps) do
    if not map.handle then
      local handle, _, errno = sys.user_namespace(map.uid_map, map.gid_map)
      if not handle then return nil, failed_spawn("user namespace of an idmapped mount", errno) end
      map.handle = handle
    end
    fds[map.register:number()] = map.handle
  end
  return true
end

--- Opens the sources as the caller. What comes of it is closed when `opened` goes.
local function open_sources(ready, fds)
  if not ready.sources then return {}, {} end
  local opened, result = sys.execute(ready.sources, ready.registers, fds)
  if not opened then return nil, failed_operation(ready.sources, ready.owners, result) end
  for register, fd in pairs(opened) do fds[register] = fd end
  return opened, result
end

local function close_all(opened)
  for _, fd in pairs(opened) do fd:close() end
end

-- -- the handle --

local Process = { __name = "nslua.process" }
Process.__index = function(self, key)
  if Process[key] ~= nil then return Process[key] end
  if key == "pid" then return Process.payload_pid(self) end
  if key == "pollfd" then return rawget(self, "stage"):fileno() end
end

function Process:__tostring() return ("process (%s)"):format(self.result and "ended" or "running") end

--- The payload's pid as the host sees it; nil when it has ended.
function Process:payload_pid()
  if self.result then return nil end
  local pid = self.stage:pid()
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  if not file then return nil end
  local child = file:read "n"
  file:close()
  return child
end

function Process.events() return "r" end
function Process:fileno() return self.stage:fileno() end

--- How long a poller may sleep before it must call wait(0): the time limit, in seconds.
function Process:timeout()
  return self.deadline and math.max(0, self.deadline - sys.clock()) or nil
end

--- Sends a signal to the payload: a number, or a name as "TERM".
-- @treturn[1] true
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Process:kill(signal)
  local number = signal == nil and SIGNALS.TERM or math.type(signal) == "integer" and signal
    or SIGNALS[tostring(signal):gsub("^SIG", "")]
  if not number or number < 0 or number > 64 then error("kill: no signal " .. tostring(signal), 2) end
  if self.result then return nil, Error.new { step = "kill", errno = 3 } end
  local ok, _, errno = self.stage:signal(number)
  if not ok then return nil, Error.new { step = "kill", errno = errno } end
  return true
end

--- Ends the whole sandbox, whatever it does.
function Process:stop()
  if not self.result then self.stage:stop() end
end

local function enforced_of(ready, held, skipped)
  local namespaces = {}
  for kind in pairs(ready.new) do namespaces[#namespaces + 1] = kind end
  table.sort(namespaces)
  local names = {}
  for number = 0, 62 do
    if held.effective >> number & 1 == 1 then names[#names + 1] = sys.capability_name(number) end
  end
  return {
    namespaces = namespaces, uid = held.uid, gid = held.gid, uid_map = ready.identity.uid_map,
    gid_map = ready.identity.gid_map, supplementary_groups = held.groups, capabilities = names,
    no_new_privs = held.no_new_privs, skipped = skipped,
  }
end

--- The stage says what the payload holds; it must be what the recipe says.
local function check_held(ready, held)
  local keep = ready.keep
  local owns = ready.identity.new or ready.identity.privileged
  local wrong = held.uid ~= ready.identity.uid and "uid" or held.gid ~= ready.identity.gid and "gid"
    or owns and (held.effective ~= keep or held.permitted ~= keep or held.inheritable ~= keep
      or held.ambient ~= keep or held.bounding ~= keep) and "capabilities"
    or not owns and held.effective ~= 0 and "capabilities"
    or held.no_new_privs ~= (ready.recipe.no_new_privs ~= false) and "no_new_privs"
  if wrong then
    return Error.new { step = "verification", reason = "the payload does not hold the " .. wrong .. " that the recipe says" }
  end
end

local function labels(operations, owners, indices)
  if #indices == 0 then return {} end
  local list, decoded = {}, sys.decode(operations)
  for i, index in ipairs(indices) do list[i] = tostring(owners[decoded[index + 1].note]) end
  return list
end

--- The end: everything in the sandbox is gone when this returns.
local function finish(self, code, signal, usage)
  if not code and not signal then signal = SIGNALS.KILL end
  self.stage:reap()
  for _, stream in ipairs(self.outputs) do
    while stream:active() and stream:take() do end
    if stream.kind ~= "pipe" then stream:close() end
  end
  if self.input.kind == "data" then self.input:close() end
  local wall = sys.clock() - self.started_at
  self.stage:close()
  usage = usage or { user = 0, system = 0, maxrss = 0 }
  usage.wall = wall
  self.result = setmetatable({
    ok = code == 0 and not self.reason, code = code, signal = signal,
    reason = self.reason or (signal and "signal" or "exit"),
    stdout = self.outputs[1]:content(), stderr = self.outputs[2]:content(),
    truncated = self.outputs[1].truncated or self.outputs[2].truncated or nil,
    usage = usage, enforced = self.enforced, command = self.command,
  }, require "nslua.result")
  return self.result
end

--- One look at everything that can happen, waiting at most `seconds` for it.
local function step(self, seconds)
  local out, err, input = self.outputs[1], self.outputs[2], self.input
  local message, out_ready, err_ready, input_ready = sys.poll(seconds,
    self.stage:fileno(), "r", out:active() and out.fd or false, "r", err:active() and err.fd or false, "r",
    input:active() and input.fd or false, "w")
  if out_ready then out:take() end
  if err_ready then err:take() end
  if input_ready then input:give() end
  if not message then return end
  local kind, record = self.stage:receive()
  if kind == "ended" then
    finish(self, record.code, record.signal, { user = record.user, system = record.system, maxrss = record.maxrss,
      minor_faults = record.minor_faults, major_faults = record.major_faults,
      voluntary_switches = record.voluntary_switches, involuntary_switches = record.involuntary_switches })
  elseif kind ~= "none" then
    finish(self)
  end
end

--- Waits for the end, moving the streams meanwhile.
-- @tparam[opt] number seconds at most
-- @treturn[1] result
-- @treturn[2] nil after the time
-- @treturn[2] nslua.error ETIMEDOUT
function Process:wait(seconds)
  local until_time = seconds and sys.clock() + seconds
  while not self.result do
    local now = (until_time or self.deadline) and sys.clock()
    if self.deadline and now >= self.deadline then
      self.deadline, self.reason = nil, "timeout"
      self.stage:stop()
    end
    local left = until_time and until_time - now
    if self.deadline and (not left or self.deadline - now < left) then left = self.deadline - now end
    step(self, left and math.max(left, 0))
    if until_time and not self.result and sys.clock() >= until_time then
      return nil, Error.new { step = "wait", errno = 110 }
    end
  end
  return self.result
end

--- Kills and reaps, unless the sandbox is detached.
function Process:close()
  self.stage:close()
  for _, stream in ipairs(self.outputs) do stream:close() end
  self.input:close()
end
Process.__close = Process.close
Process.__gc = Process.close

-- -- spawn --

local OPTIONS <const> = { stdin = true, stdout = true, stderr = true, env = true, cwd = true, timeout = true }

local function read_argv(ready, options)
  local argv = {}
  for i = 1, rawlen(options) do
    local word = rawget(options, i)
    if type(word) ~= "string" then error("argv: word " .. i .. " must be a string", 0) end
    argv[i] = word
  end
  for key in next, options do
    if type(key) == "string" and not OPTIONS[key] then
      local near = require("nslua.check").nearest(key, { "stdin", "stdout", "stderr", "env", "cwd", "timeout" })
      error(("unknown option '%s'%s"):format(key, near and (" (did you mean '%s'?)"):format(near) or ""), 0)
    end
  end
  if #argv > 0 then return argv end
  if ready.recipe.command and #ready.recipe.command > 0 then return ready.recipe.command end
  error("no command: neither the call nor the recipe names one", 0)
end

local function open_streams(options, default)
  local input, out, err, failure
  input, failure = streams.input(options.stdin)
  if not input then return nil, failure end
  out, failure = streams.output("stdout", 1, options.stdout or default)
  if not out then return nil, failure end
  err, failure = streams.output("stderr", 2, options.stderr or default)
  if not err then return nil, failure end
  return input, { out, err }
end

local function start_stage(ready, operations, fds)
  local stage, step_name, errno = sys.spawn {
    operations = operations, registers = ready.registers, fds = fds, namespaces = ready.namespaces,
    capabilities = ready.capabilities, uid_map = ready.uid_map, gid_map = ready.gid_map,
    detached = ready.recipe.lifetime == "detached", own_pids = ready.own_pids,
  }
  if not stage then return nil, failed_spawn(step_name, errno) end
  return stage
end

--- The first message: set-up has failed, or the payload has started.
local function await_start(ready, stage, operations, words)
  local kind, record
  repeat kind, record = stage:receive(true) until kind ~= "none"
  if kind == "started" then
    local wrong = check_held(ready, record)
    if not wrong then return record end
    stage:close()
    return nil, wrong
  end
  stage:close()
  if kind == "failed" then
    local owners = setmetatable({}, { __index = function(_, note)
      return ready.owners[note] or words[note - #ready.owners]
    end })
    return nil, failed_operation(operations, owners, record)
  end
  return nil, Error.new { step = "stage", reason = "it was killed while it set the sandbox up" }
end

local M = {}

--- Starts a compiled recipe.
-- @tparam table ready of nslua.compile
-- @tparam table options
-- @tparam string default what becomes of stdout and stderr
function M.spawn(ready, options, default)
  local started_at = sys.clock()
  local argv = read_argv(ready, options)
  local payload, words = record_payload(ready, options, argv)
  local operations = ready.operations .. payload
  local input, outputs = open_streams(options, default)
  if not input then return nil, outputs end
  io.stdout:flush()

  local fds = copy(ready.passed)
  for i, stream in ipairs { input, outputs[1], outputs[2] } do
    fds[ready.plan.streams[i]:number()] = stream.theirs
  end
  local ok, err = prepare_idmaps(ready, fds)
  if not ok then return nil, err end
  local opened, skipped = open_sources(ready, fds)
  if not opened then return nil, skipped end
  local stage
  stage, err = start_stage(ready, operations, fds)
  close_all(opened)
  for _, stream in ipairs { input, outputs[1], outputs[2] } do stream:started() end
  if not stage then return nil, err end
  local held
  held, err = await_start(ready, stage, operations, words)
  if not held then return nil, err end

  local names = labels(ready.sources or "", ready.owners, skipped)
  for _, label in ipairs(labels(operations, ready.owners, held.skipped)) do names[#names + 1] = label end
  local limit = options.timeout or ready.recipe.limits and ready.recipe.limits.time
  local process = setmetatable({
    stage = stage, input = input, outputs = outputs, started_at = started_at, command = argv,
    deadline = limit and started_at + limit, enforced = enforced_of(ready, held, names),
  }, Process)
  if input.kind == "pipe" then process.stdin = input.fd:file "w" end
  if outputs[1].kind == "pipe" then process.stdout = outputs[1].fd:file "r" end
  if outputs[2].kind == "pipe" then process.stderr = outputs[2].fd:file "r" end
  return process
end

return M
