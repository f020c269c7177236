--- The payload's own operations: what its process does last, and what a run, not its recipe, says of it.
-- @module nslua.payload
local environments = require "nslua.environment"
local landlock = require "nslua.landlock"
local limits = require "nslua.limits"
local scheduling = require "nslua.scheduling"
local seccomp = require "nslua.seccomp"
local sys = require "nslua.sys"

local LAST_FD <const> = 0xffffffff
local DEFAULT_UMASK <const> = 18
local DEFAULT_PATH <const> = "/bin:/usr/bin" -- as of execvp(3)
-- Of csrc/stage/wire.h: the first fd of the stage, which is its socket to us, and how many more it may need.
local CONTROL_FD <const>, SPARE_FDS <const> = 64, 64
local LAST_STREAM <const> = 2

--- "NAME=value" of the recipe's environment and the run's; and the PATH in it. Where the stage chooses the working
--- directory, a place for that comes first.
local function environment(env, more, sets_directory)
  local list = {}
  if more then env = environments.over(env, more) end
  for name, value in pairs(env) do
    if not (sets_directory and name == "PWD") then list[#list + 1] = name .. "=" .. value end
  end
  table.sort(list)
  if sets_directory then table.insert(list, 1, "PWD=") end
  return list, env.PATH or DEFAULT_PATH
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

--- What a run adds to the set-up, before privileges drop: what Landlock is to allow of the descriptors that are passed and
--- the program, and what the reaper is to keep open.
local function additions(ready, section, passed, held, program)
  local added = section:section()
  if ready.ruleset and program then landlock.record_program(added, ready.ruleset, ready.landlock.rights, program) end
  for _, one in ipairs(ready.ruleset and passed or {}) do
    landlock.record_passed(added, ready.ruleset, ready.landlock.rights, one.register, one.directory)
  end
  for _, one in ipairs(held) do added:keep(one.register) end
  return added:bytes()
end

local function operations_of(ready, section, passed, held, program)
  if #held == 0 and (#passed == 0 and not program or not ready.ruleset) then return ready.operations end
  return ready.operations:sub(1, -#ready.drop - 1) .. additions(ready, section, passed, held, program) .. ready.drop
end

--- What the reaper is to keep open: as passed_of.
local function held_of(section, list)
  local held = {}
  for i, fd in ipairs(list or {}) do held[i] = { register = section:register(), fd = fd } end
  return held
end

--- Closes everything from 3 to a number, but for what is passed.
local function record_closing_below(section, passed, last)
  local first = 3
  for _, one in ipairs(passed) do
    if one.number > last then break end
    if one.number > first then section:close_range(first, one.number - 1) end
    first = one.number + 1
  end
  if first <= last then section:close_range(first, last) end
end

--- What is left for the exec itself, by number: the way to report, and the program. They have the numbers that they came
--- with; where something is passed among those, the lowest that nothing else gets.
local function own_of(passed, program)
  local control, number = { number = CONTROL_FD }, program and CONTROL_FD + program:number()
  local own = { control = control, program = number and { number = number } }
  if not passed[#passed] or passed[#passed].number < CONTROL_FD then return own end
  local taken, free = {}, LAST_STREAM
  for _, one in ipairs(passed) do taken[one.number] = true end
  for _, one in ipairs { own.control, own.program } do
    repeat free = free + 1 until not taken[free]
    one.number = free
  end
  return own
end

--- Closes everything from 3 on, but for what is passed and what is left for the exec.
local function record_closing(section, passed, own)
  local kept = { own.control, own.program }
  table.move(passed, 1, #passed, #kept + 1, kept)
  table.sort(kept, function(a, b) return a.number < b.number end)
  record_closing_below(section, kept, LAST_FD)
end

--- The limits of a payload, and how many files our own limits let be open.
local function limits_of(ready)
  local wanted = ready.recipe.limits
  local held = limits.of(wanted, ready.groups, ready.plan.inherit.limits)
  if wanted and wanted.time then held.time = { seconds = wanted.time, by = "timer" } end
  return held, { sys.getrlimit "nofile" }
end

--- The payload's limits, and the one that was raised for its set-up. Few open files may be allowed from here on:
-- then what the exec would close goes now, but for the way to report. A further command gets those of the first.
-- @treturn table the limits that hold, and by what
-- @treturn table soft and hard limit of open files, where they are not limited
local function record_limits(section, ready, passed, own)
  local first, wanted = ready.first, ready.recipe.limits
  local held, nofile = limits_of(ready)
  if first then held, nofile = first.limits, first.nofile end
  local registers = math.max(section:registers(), first and first.registers or 0)
  local raised = nofile[1] >= 0 and CONTROL_FD + registers + SPARE_FDS > nofile[1]
  if raised or wanted and wanted.nofile then record_closing(section, passed, own) end
  if raised then section:setrlimit("nofile", nofile[1], nofile[2]) end
  limits.record(section, held)
  return held, nofile
end

--- A function that says whose the operations are that come next, and the owners by their notes.
local function owners_of(ready, section)
  local last = #ready.owners
  local owners = setmetatable({}, { __index = ready.owners })
  return function(words)
    last = last + 1
    owners[last] = words
    section:note(last)
  end, owners
end

--- Its session and terminal, and what keeps it from the reaper.
local function record_session(section, owner, ready, terminal)
  owner "scheduling"
  scheduling.record(section, ready.scheduling)
  owner "payload"
  if terminal or ready.recipe.session ~= false and not ready.plan.inherit.session then section:setsid() end
  if terminal then
    owner "terminal"
    terminal:record(section, ready.pty)
  end
  owner "landlock"
  if ready.guard then landlock.record_guard(section) end
end

--- Privileges go; the filters are left that come with the exec. Without no_new_privs they take a capability that is
--- about to go.
local function record_privileges(section, owner, ready)
  local filters = ready.filters
  owner "seccomp"
  if filters and ready.recipe.no_new_privs == false then
    for _, filter in ipairs(filters) do section:seccomp(filter.program, filter.flags) end
    filters = nil
  end
  owner "payload"
  if ready.identity.holds then section:capset(ready.held.effective, ready.held.permitted, ready.held.inheritable) end
  if ready.recipe.nesting == "impossible" then
    owner "nesting"
    section:expect_no_user_namespaces()
    owner "payload"
  end
  section:hold()
  if filters and filters.mode then
    owner "recorder of seccomp"
    section:record()
  end
  return filters
end

--- Makes room for what is passed among the stage's own numbers: those that are not passed go, and what is left for the
--- exec gets a lower one.
local function record_moving(section, passed, own, program)
  record_closing_below(section, passed, CONTROL_FD - 1)
  section:move_control(own.control.number)
  return program and section:dup_above(program, own.program.number)
end

--- What is passed gets its numbers. Those among the stage's own are taken last, from copies below: some may be where
--- another one comes from.
-- @return register of the program
local function record_passed(section, passed, own, program)
  local copies = {}
  for _, one in ipairs(passed) do
    if one.number < CONTROL_FD then section:dup(one.register, one.number) end
  end
  if own.control.number ~= CONTROL_FD then program = record_moving(section, passed, own, program) end
  for i, one in ipairs(passed) do
    if one.number >= CONTROL_FD then copies[i] = section:dup_above(one.register, 3) end
  end
  for i, copy in pairs(copies) do section:dup(copy, passed[i].number) end
  return program
end

--- Its descriptors: the streams, or its terminal in their place, and what the run passes.
-- @return register of the program
local function record_descriptors(section, ready, options, passed, own, program, terminal)
  local own_stderr = options.stderr and options.stderr ~= "stdout"
  for i, register in ipairs(ready.streams) do
    section:dup(terminal and (i < 3 or not own_stderr) and ready.pty or register, i - 1)
  end
  section:close_range(3, LAST_FD, "cloexec")
  return record_passed(section, passed, own, program)
end

--- The directories to choose from, as the variable that the chosen one becomes.
local function directories_of(cwd)
  if type(cwd) ~= "table" then return nil end
  local list = {}
  for i, path in ipairs(cwd) do list[i] = "PWD=" .. path end
  return list
end

--- What it has of a process's attributes, besides its limits.
local function record_attributes(section, ready)
  local inherit, mask = ready.plan.inherit, ready.recipe.umask
  if not mask and inherit.umask then
    mask = sys.umask(DEFAULT_UMASK)
    sys.umask(mask)
  end
  section:umask(mask or DEFAULT_UMASK)
  for _, signal in ipairs(inherit.signals and sys.ignored_signals() or {}) do section:ignore_signal(signal) end
end

local function words_of(cwd) return type(cwd) == "table" and table.concat(cwd, ", ") or tostring(cwd) end

--- The command's words as its program finds them, behind what executes it as a script.
local function words_for(options, argv)
  if not options.argv0 and not options.scripts then return argv end
  local words = table.move(argv, 2, #argv, 2, { options.argv0 or argv[1] })
  if options.scripts then table.insert(words, 1, options.scripts) end
  return words
end

--- The last operations, in the payload's process.
-- @treturn table operations and bytes, that come before it and in it; owners of their notes; limits, passed, registers
local function record(ready, options, argv, cwd, terminal)
  local section = sys.plan(ready.registers)
  local owner, owners = owners_of(ready, section)
  local directories = directories_of(cwd)
  local env, path = environment(ready.env, options.env, directories ~= nil)
  local passed = passed_of(section, options.fds)
  owner "fds"
  local kept = held_of(section, options.hold)
  local program = options.program and section:register()
  local operations = operations_of(ready, section, passed, kept, program)
  if options.ready then section:announce() end
  record_session(section, owner, ready, terminal)
  local filters = record_privileges(section, owner, ready)
  owner("cwd " .. words_of(cwd))
  if cwd and not directories then section:chdir(cwd) end
  owner "payload"
  local own = own_of(passed, program)
  local opened = record_descriptors(section, ready, options, passed, own, program, terminal)
  local held, nofile = record_limits(section, ready, passed, own)
  record_attributes(section, ready)
  section:unblock_signals()
  owner("command " .. argv[1])
  local flags = options.scripts and { "scripts" } or {}
  if ready.plan.writes_as_owner then flags[#flags + 1] = "refuse_setid_files" end
  section:execve(argv[1], words_for(options, argv), env, path, flags, filters and seccomp.packed(filters), directories, opened)
  return {
    operations = operations, bytes = section:bytes(), owners = owners, limits = held, nofile = nofile, passed = passed,
    kept = kept, announce = options.ready,
    program = program and { register = program, fd = options.program },
    registers = section:registers(),
  }
end

-- Options with which a run is like no other.
local ITS_OWN <const> = { "env", "fds", "argv0", "program", "scripts", "ready", "hold" }

local function has_its_own(options)
  for _, name in ipairs(ITS_OWN) do
    if options[name] then return true end
  end
  return false
end

local M = {}

--- What a run does last; kept for the next run of the same words in the same directory.
-- @tparam table ready of nslua.compile
-- @tparam table options of nslua.options
-- @tparam table argv
-- @tparam[opt] nslua.terminal terminal
-- @treturn table
function M.of(ready, options, argv, terminal)
  local cwd = options.cwd or ready.cwd
  if terminal or has_its_own(options) then return record(ready, options, argv, cwd, terminal) end
  local words = table.concat(argv, "\0") .. "\0" .. words_of(cwd)
  if ready.last_words ~= words then
    ready.last_words, ready.last_payload = words, record(ready, options, argv, cwd)
  end
  return ready.last_payload
end

-- -- a further command --

--- A new terminal: of the sandbox's own devpts, or one that we make.
local function further_terminal(plan, ready)
  local ptmx = ready.plan.ptmx
  return ptmx and require("nslua.terminal").record_new(plan, nil, ptmx) or plan:register()
end

--- What a further command in a running sandbox needs, in place of what the first one did: its stage is there, and is in
-- everything. It splits at once, and the payload ends with it. The stage has given up new privileges for good.
-- @tparam table ready of nslua.compile
-- @tparam table first the payload that the sandbox was started with
-- @param terminal whether it gets one
-- @treturn table as of nslua.compile
function M.further(ready, first, terminal)
  local plan = sys.plan()
  local owners = { "stage of the command", "terminal" }
  local streams = { plan:register(), plan:register(), plan:register() }
  plan:note(2)
  local pty = terminal and further_terminal(plan, ready)
  plan:note(1)
  plan:fork({}, ready.plan.detached, nil, 0, ready.identity.holds and ready.held.permitted or 0, 0)
  plan:end_with_parent()
  local recipe = setmetatable({ no_new_privs = true }, { __index = ready.recipe })
  return setmetatable({
    first = first, operations = plan:bytes(), owners = owners, registers = plan:registers(), streams = streams, pty = pty,
    own_pty = ready.plan.ptmx ~= nil, ruleset = false, recipe = recipe, last_words = false,
  }, { __index = ready })
end

return M
