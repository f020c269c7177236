--- The payload's own operations: what its process does last, and what a run, not its recipe, says of it.
-- @module nslua.payload
local landlock = require "nslua.landlock"
local limits = require "nslua.limits"
local scheduling = require "nslua.scheduling"
local seccomp = require "nslua.seccomp"
local sys = require "nslua.sys"

local LAST_FD <const> = 0xffffffff
local DEFAULT_UMASK <const> = 18
-- Of csrc/stage/wire.h: the first fd of the stage, which is its socket to us, and how many more it may need.
local CONTROL_FD <const>, SPARE_FDS <const> = 64, 64

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

--- The limits of a payload, and how many files our own limits let be open.
local function limits_of(ready)
  local wanted = ready.recipe.limits
  local held = limits.of(wanted, ready.groups)
  if wanted and wanted.time then held.time = { seconds = wanted.time, by = "timer" } end
  return held, { sys.getrlimit "nofile" }
end

--- The payload's limits, and the one that was raised for its set-up. Few open files may be allowed from here on:
-- then what the exec would close goes now, but for the way to report. A further command gets those of the first.
-- @treturn table the limits that hold, and by what
-- @treturn table soft and hard limit of open files, where they are not limited
local function record_limits(section, ready, passed)
  local first, wanted = ready.first, ready.recipe.limits
  local held, nofile = limits_of(ready)
  if first then held, nofile = first.limits, first.nofile end
  local registers = math.max(section:registers(), first and first.registers or 0)
  local raised = nofile[1] >= 0 and CONTROL_FD + registers + SPARE_FDS > nofile[1]
  if raised or wanted and wanted.nofile then record_closing(section, passed) end
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
  if terminal or ready.recipe.session ~= false then section:setsid() end
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
  if ready.identity.holds then section:capset(ready.keep, ready.keep, ready.keep) end
  section:hold()
  if filters and filters.mode then
    owner "recorder of seccomp"
    section:record()
  end
  return filters
end

--- Its descriptors: the streams, or its terminal in their place, and what the run passes.
local function record_descriptors(section, ready, options, passed, terminal)
  local own_stderr = options.stderr and options.stderr ~= "stdout"
  for i, register in ipairs(ready.streams) do
    section:dup(terminal and (i < 3 or not own_stderr) and ready.pty or register, i - 1)
  end
  section:close_range(3, LAST_FD, "cloexec")
  for _, one in ipairs(passed) do section:dup(one.register, one.number) end
end

--- The last operations, in the payload's process.
-- @treturn table operations and bytes, that come before it and in it; owners of their notes; limits, passed, registers
local function record(ready, options, argv, cwd, terminal)
  local section = sys.plan(ready.registers)
  local owner, owners = owners_of(ready, section)
  local env, path = environment(ready.env, options.env)
  local passed = passed_of(section, options.fds)
  owner "fds"
  local operations = operations_of(ready, section, passed)
  record_session(section, owner, ready, terminal)
  local filters = record_privileges(section, owner, ready)
  owner("cwd " .. tostring(cwd))
  if cwd then section:chdir(cwd) end
  owner "payload"
  record_descriptors(section, ready, options, passed, terminal)
  local held, nofile = record_limits(section, ready, passed)
  section:umask(ready.recipe.umask or DEFAULT_UMASK)
  section:unblock_signals()
  owner("command " .. argv[1])
  section:execve(argv[1], argv, env, path, ready.plan.writes_as_owner and 1 or nil, filters and seccomp.packed(filters))
  return {
    operations = operations, bytes = section:bytes(), owners = owners, limits = held, nofile = nofile, passed = passed,
    registers = section:registers(),
  }
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
  if options.env or options.fds or terminal then return record(ready, options, argv, cwd, terminal) end
  local words = table.concat(argv, "\0") .. "\0" .. tostring(cwd)
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
  plan:fork({}, ready.plan.detached, nil, 0, ready.identity.holds and ready.keep or 0)
  plan:end_with_parent()
  local recipe = setmetatable({ no_new_privs = true }, { __index = ready.recipe })
  return setmetatable({
    first = first, operations = plan:bytes(), owners = owners, registers = plan:registers(), streams = streams, pty = pty,
    own_pty = ready.plan.ptmx ~= nil, ruleset = false, recipe = recipe, last_words = false,
  }, { __index = ready })
end

return M
