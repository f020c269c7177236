--- The fields of a recipe: one declarative table that drives validation, defaults, messages, merging
-- and the reference in the documentation.
--
-- A field has `type` (a function of nslua.check), `values` (for people), `default` (for people; what
-- absence means is decided where the field is compiled), `doc`, and `merge`: how `with` combines it
-- ("replace" unless said otherwise, "map" by key, "append").
-- @module nslua.schema
local check = require "nslua.check"
local entry = require "nslua.entry"
local landlock = require "nslua.landlock"
local limits = require "nslua.limits"
local scheduling = require "nslua.scheduling"

local KINDS <const> = { "cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts" }

local kind = check.one_of(KINDS)

local function joined(value)
  if type(value) == "userdata" then return value end
  if type(value) == "table" and require "nslua.ns".is(value) then return value.fd end
  return nil, "a handle (of nslua.ns), fd or file of a namespace"
end

--- A PID namespace may be new, and below another one than the caller's.
local below = check.record { below = check.any_of(check.source, joined) }

local function placed(value)
  if type(value) ~= "table" or getmetatable(value) ~= nil or value.below == nil then
    return nil, "{ below = a namespace }"
  end
  return below(value)
end

--- Array part: exactly these are new. Named keys only: all are new, but for these.
local function namespaces(value)
  if type(value) ~= "table" then return nil, "a table, as { \"uts\", \"ipc\" } or { net = false }" end
  local named, listed, mistakes = {}, {}, nil
  for key, item in next, value do
    local is_listed = math.type(key) == "integer"
    local name = key
    if is_listed then name = item end
    local good, problem = kind(name)
    if not good then
      mistakes = check.add(mistakes, "a table of ", problem, (" (not %s)"):format(check.describe(name)))
    elseif is_listed then
      listed[good] = true
    else
      local how, what = check.any_of(check.boolean, check.source, joined, good == "pid" and placed or nil)(item)
      if how == nil then mistakes = check.add(mistakes, ("a table where %s is "):format(key), what) end
      named[key] = how
    end
  end
  if mistakes then return nil, mistakes end
  local all = next(named) ~= nil and next(listed) == nil
  return { listed = listed, named = named, all = all }
end

local map_line = check.list_of(check.count)

local function id_map(value)
  local map, problem = check.list_of(map_line)(value)
  if not map then return nil, problem end
  if #map == 0 or #map > 340 then return nil, "a list of 1 to 340 entries { inside, outside, count }" end
  for _, line in ipairs(map) do
    if #line ~= 3 or line[3] == 0 or line[1] + line[3] > 0xffffffff or line[2] + line[3] > 0xffffffff then
      return nil, "a list of entries { inside, outside, count }, each count above 0"
    end
  end
  return map
end

local user_record = check.record {
  map = check.callable, inner = check.any_of(check.one_of { true }, joined), uid = check.id, gid = check.id,
  uid_map = id_map, gid_map = id_map, auto = check.one_of { true },
  size = check.integer(1, 1 << 27), groups = check.any_of(check.one_of { "strict" }, check.list_of(check.id)),
}

local function user(value)
  local good, problem = user_record(value)
  if not good then return nil, problem end
  if good.size and not good.auto then return nil, "a table where size goes with auto = true" end
  if good.auto and (good.uid_map or good.gid_map) then return nil, "a table of either auto or maps" end
  if good.map and (good.auto or good.uid_map or good.gid_map or not good.uid or not good.gid) then
    return nil, "a table where map goes with uid and gid, and no other maps"
  end
  return good
end

local function variable_name(name)
  if type(name) == "string" and name:find "^[^=%z]+$" then return name end
  return nil, "a variable's name, without '='"
end

local inherit = check.any_of(check.one_of { "all" }, check.list_of(variable_name))

local directories = check.list_of(check.inside)

--- A directory, or those to choose from.
local function directory(value) return (type(value) == "table" and directories or check.inside)(value) end

local kept = check.list_of(check.one_of {
  "groups", "hostname", "keyring", "limits", "securebits", "session", "signals", "umask",
})

--- A set of what is kept.
local function inherited(value)
  local names, problem = kept(value)
  if not names then return nil, problem end
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

local variables_of = check.map_of(variable_name, check.any_of(check.text, check.one_of { false }))

local function env(value)
  local rest, passed, mistakes = {}, nil, nil
  if type(value) ~= "table" then return nil, "a table of variables" end
  for name, item in next, value do
    if name == "inherit" then
      local names, problem = inherit(item)
      if not names then mistakes = check.add(mistakes, "a table where inherit is ", problem) end
      passed = names
    else
      rest[name] = item
    end
  end
  local variables, problem = variables_of(rest)
  if not variables then mistakes = check.add(mistakes, "", problem) end
  if mistakes then return nil, mistakes end
  variables.inherit = passed
  return variables
end

--- The bit of a capability's name.
local function capability(value)
  local sys, names = require "nslua.sys", require "nslua.names"
  local name = check.text(value)
  local number = name and sys.capability(name)
  if number then return 1 << number end
  local near = name and check.nearest(name:gsub("^[Cc][Aa][Pp]_", ""), names.capabilities((1 << sys.capability_count()) - 1))
  return nil, "a capability's name, as net_bind_service" .. (near and (" (did you mean '%s'?)"):format(near) or "")
end

local capability_list = check.list_of(capability)

--- Text as of cap_from_text(3). The payload holds the same in all its sets, or execve would take it away.
local function capability_text(value)
  local text = check.text(value)
  local effective, permitted, inheritable
  if text then effective, permitted, inheritable = require "nslua.sys".capabilities_from_text(text) end
  if not effective then return nil, "\"all\", a list of names, or text as \"cap_net_raw=ep\" (see cap_from_text(3))" end
  if effective ~= permitted then
    return nil, "text whose effective and permitted sets are the same, as in \"cap_net_raw=ep\": execve gives no others"
  end
  if inheritable & ~permitted ~= 0 then return nil, "text whose inheritable set is a part of its permitted one" end
  return permitted
end

--- "all", or a mask.
local function capabilities(value)
  if value == "all" then return value end
  if type(value) ~= "table" then return capability_text(value) end
  local bits, problem = capability_list(value)
  if not bits then return nil, problem end
  local mask = 0
  for _, bit in ipairs(bits) do mask = mask | bit end
  return mask
end

local limits_record

--- Made when a recipe has some: control groups are read of then only.
local function limits_of(value)
  if not limits_record then
    local types = { time = check.seconds, best_effort = check.boolean }
    for _, of in ipairs { limits.types, require "nslua.controllers".types } do
      for name, accepts in pairs(of) do types[name] = accepts end
    end
    limits_record = check.record(types)
  end
  return limits_record(value)
end

local condition = check.record {
  name = check.text, argument = check.count, values = check.list_of(check.count),
}

--- A system call, a group of the profile's, or a call with some values of an argument.
local function call(value)
  local filter, sys = require "nslua.filter", require "nslua.sys"
  local name, result = value, value
  if type(value) == "table" then
    local problem
    result, problem = condition(check.first_named(value, "name"))
    if not result then return nil, problem end
    name = result.name
    if not result.argument or result.argument > 5 or not result.values or #result.values == 0 then
      return nil, "{ name, argument = 0 to 5, values = { … } }"
    end
  end
  if not check.text(name) then return nil, "a system call, a group as \"@mounts\", or { name, argument =, values = }" end
  if sys.syscall_number(name) or filter.knows(name) then return result end
  local names = sys.syscall_names()
  table.move(filter.group_names, 1, #filter.group_names, #names + 1, names)
  local near = check.nearest(name, names)
  return nil, "a system call or a group" .. (near and (" (did you mean '%s'?)"):format(near) or "")
end

--- A filter as the kernel takes it: an array of struct sock_filter, as seccomp_export_bpf(3) writes it.
local function program(value)
  if type(value) == "string" and #value > 0 and #value % 8 == 0 and #value <= 4096 * 8 then return value end
  return nil, "a string of 1 to 4096 instructions of BPF, 8 bytes each"
end

local seccomp_table = check.record {
  allow = check.list_of(call), deny = check.list_of(call), default = check.one_of { "enosys", "errno", "kill" },
  mode = check.one_of { "log" }, programs = check.list_of(program), log = check.boolean, profile = check.one_of { false },
}

--- Without the profile there is nothing to change in it.
local function filters(value)
  local good, problem = seccomp_table(value)
  if not good then return nil, problem end
  local changes = good.allow or good.deny or good.default or good.mode
  if good.profile == false and (changes or not good.programs or #good.programs == 0) then
    return nil, "a table where profile = false goes with programs, and with log only"
  end
  return good
end

local fields = {
  {
    name = "namespaces", type = namespaces,
    values = "names of namespaces; name = false | true | path | fd",
    default = "all new (time only with clock)",
    doc = "Which namespaces are new. An array part says exactly which: `{ \"uts\", \"ipc\" }`. Named "
      .. "keys alone adjust the default: `net = false` keeps the caller's; a path (`/proc/PID/ns/net`), "
      .. "a handle of `nslua.ns`, or an open fd of one joins. `pid = { below = handle }` is new, and below that one. In a "
      .. "user namespace that is joined, `user` says the ids (`handle:ids()` tells those of the caller).",
  },
  {
    name = "user",
    type = check.any_of(check.one_of { "self", "root", "auto" }, user),
    values = "\"self\" | \"root\" | \"auto\" | { uid=, gid=, uid_map=, gid_map=, auto=, size=, groups=, map=, inner= }",
    default = "\"self\"",
    doc = "`\"self\"`: an ordinary caller keeps its uid and gid; root gets an unprivileged host id of "
      .. "its own, 1000 inside. `\"root\"`: the same outside, 0 inside. `\"auto\"`: the ids that are the caller's to give, 0 "
      .. "inside being the caller's own and the ones of subuid(5) following, through newuidmap(1); for root 65536 private ones. "
      .. "`{ auto = true, size = 1000 }`: so many of them. A table: `uid` and `gid` inside, "
      .. "and maps of entries `{ inside, outside, count }`; `groups`: the supplementary groups, none by "
      .. "default. An ordinary caller cannot drop its own: they stay, and the result says so, unless "
      .. "`groups = \"strict\"` makes that an error. "
      .. "`map`: a function that maps the ids of the new user namespace from outside, called with the pid of the process "
      .. "that waits in it; nil and a reason, or an error, ends the start. `inner`: when all is set up, the sandbox goes "
      .. "into one more user namespace: with `true` a new one, in which its uid and gid stay the same and no other is "
      .. "mapped; or that of a handle. The mounts then belong to the outer one: what `caps` gives is no power over them.",
  },
  {
    name = "hostname", type = check.hostname, values = "text", default = "\"sandbox\"",
    doc = "The host name in a new UTS namespace.",
  },
  {
    name = "domainname", type = check.hostname, values = "text", default = "the caller's",
    doc = "The NIS domain name in a new UTS namespace.",
  },
  {
    name = "fs", type = entry.list, merge = "append", values = "list of verbs", default = "`{ fs.os() }`",
    doc = "What the sandbox sees of files, in order. An entry for the same target as one of an earlier "
      .. "value replaces it in place. A function in the list is called with the plan at its place.",
  },
  {
    name = "net", type = check.one_of { "loopback", "none", "host" },
    values = "\"loopback\" | \"none\" | \"host\"", default = "\"loopback\"",
    doc = "A network namespace with its own loopback up, with nothing up, or the caller's network.",
  },
  {
    name = "caps", type = capabilities, values = "list of names | text as \"cap_net_raw=ep\" | \"all\"", default = "none",
    doc = "Capabilities that the payload holds, in the sandbox's user namespace. The text is that of cap_from_text(3); its "
      .. "effective and permitted sets must be the same. With sys_admin (as in \"all\") it can undo in the sandbox what `fs` "
      .. "says: unmount masks, and write what is shared read-only as far as its user outside may.",
  },
  {
    name = "no_new_privs", type = check.boolean, values = "boolean", default = "true",
    doc = "Set-user-id programs and file capabilities give nothing.",
  },
  {
    name = "seccomp",
    type = check.any_of(check.one_of { "default", false }, filters),
    values = "\"default\" | { allow =, deny =, default =, mode =, programs =, log =, profile = false } | false",
    default = "\"default\"",
    doc = "The system calls that the payload may make: those of the profile, which leaves out what an unprivileged program does "
      .. "not need. A table changes it: `allow` and `deny` are lists of names, of groups (`\"@mounts\"`) and of "
      .. "`{ name, argument = 0, values = { … } }`; `default` is what a call meets that nobody names. Capabilities in `caps` "
      .. "open the calls that need them. `mode = \"log\"`, for who writes a profile, refuses nothing, so it contains nothing "
      .. "either: the result has in `refused` what would have been refused (libraries do without clone3: it need not be "
      .. "allowed). `programs`: further filters, strings of compiled BPF as libseccomp's `seccomp_export_bpf` writes it, on top "
      .. "of this one: the strictest holds, in every mode; with `profile = false` they are the only ones. `log = true`: "
      .. "refused calls also go to the kernel's audit log. `false`: no filter.",
  },
  {
    name = "landlock", type = landlock.type,
    values = "\"default\" | { ro =, rw =, exec =, bind =, connect =, scope =, best_effort = } | false", default = "\"default\"",
    doc = "What Landlock holds the payload to, where the kernel has it. By default one rule, all that is beneath the sandbox's "
      .. "root, and both scopes, so that a directory of the host that leaked in is of no use. A table says it exactly: `ro`, "
      .. "`exec` (read and execute) and `rw` (everything but execute) are lists of paths inside, each with all beneath it, or "
      .. "`{ path, optional = true }`; `bind` and `connect` the TCP ports that may be used (a free one can be listened on all "
      .. "the same); `scope` of `\"abstract_unix\"` and `\"signal\"` what is kept within the sandbox. A right that the kernel "
      .. "does not know is an error, or with `best_effort` told in the result. A link in a tree that the recipe shares is not "
      .. "followed. It works without any namespace too, as something less: no rule is about modes, owners, times and "
      .. "attributes of files, sockets in the file system (D-Bus), UDP, IPC of System V, and priorities of other processes. "
      .. "Capability sys_admin, and what it mounts, goes without the default rule.",
  },
  {
    name = "nesting", type = check.any_of(check.boolean, check.one_of { "impossible" }), values = "boolean | \"impossible\"",
    default = "false",
    doc = "Whether the payload may make user namespaces, and in them sandboxes of its own. Otherwise the filter and the "
      .. "kernel's limit on them refuse it. With `true` the calls for mounts and namespaces are open to it, `/proc` is whole, "
      .. "and the default rule of `landlock` is left out, because they would be in the way: this is the largest loosening "
      .. "there is short of sharing. A payload with uid 0 inside needs the capability setfcap for it. `\"impossible\"` is "
      .. "as `false`, but the sandbox starts only where the kernel refuses user namespaces in it without that.",
  },
  {
    name = "env", type = env, merge = "map", values = "name = text | false; inherit = list of names | \"all\"",
    default = "PATH, HOME, LANG, TERM",
    doc = "The environment. Only what is named here passes, besides the four defaults; `false` takes "
      .. "one of those away; `inherit` passes the caller's value. With `inherit = \"all\"` it is the caller's whole "
      .. "environment, in place of the defaults.",
  },
  {
    name = "cwd", type = directory, values = "absolute path | list of them",
    default = "HOME of fs.os, else /",
    doc = "The working directory inside. Of a list the first that can be entered, which is then also PWD in the environment.",
  },
  {
    name = "umask", type = check.mode, values = "permission bits", default = "tonumber(\"022\", 8)",
    doc = "The file mode creation mask.",
  },
  {
    name = "clock", type = check.record { monotonic = check.offset, boottime = check.offset }, merge = "map",
    values = "{ monotonic = seconds, boottime = seconds }", default = "no time namespace",
    doc = "Offsets of the clocks in a new time namespace.",
  },
  {
    name = "inherit", type = inherited, values = "list of \"groups\" \"hostname\" \"keyring\" \"limits\" \"securebits\" "
      .. "\"session\" \"signals\" \"umask\"", default = "none",
    doc = "What the payload keeps of the caller's, which otherwise it has not, or its own: supplementary groups; in a new UTS "
      .. "namespace the host name; the session keyring; limits of resources that `limits` does not name; what uid 0 means for "
      .. "capabilities (they are not in the ambient set then, and go when it changes its uid); session, process group and "
      .. "controlling terminal (which it may type into: no protection from TIOCSTI but the filter); which signals are "
      .. "ignored; the umask. For programs that are to be run as by a shell.",
  },
  {
    name = "init", type = check.any_of(check.boolean, check.one_of { "visible" }), values = "boolean | \"visible\"",
    default = "true",
    doc = "The reaper is PID 1. With `false` the payload is: it must reap, and gets no signal that it "
      .. "has no handler for. A reaper is beyond everybody's sight but root's; one that is `visible` can be looked into, and its "
      .. "namespaces joined by /proc, by who owns the sandbox, not by the payload. Not with the capabilities `sys_ptrace` and "
      .. "`wake_alarm`.",
  },
  {
    name = "session", type = check.boolean, values = "boolean", default = "true",
    doc = "The payload has a session of its own, apart from the reaper's.",
  },
  {
    name = "lifetime", type = check.one_of { "maker", "detached", "last" },
    values = "\"maker\" | \"detached\" | \"last\"", default = "\"maker\"",
    doc = "The sandbox ends with the process that made it; or goes on; with `last` also when its payload has ended, until its "
      .. "last process has: what its processes leave running goes on.",
  },
  {
    name = "limits", type = limits_of, merge = "map",
    values = "{ time = seconds, memory =, swap = bytes, pids = count, cpu = processors, cpus = { numbers }, "
      .. "io = { [path] = { rbps =, wbps =, riops =, wiops = } }, hugetlb = { [\"2M\"] = bytes }, best_effort = boolean, "
      .. table.concat(limits.names, " ") .. " = number | { soft =, hard = } }",
    default = "core 1, memlock 1M, nice 0, rtprio 0",
    doc = "`time`: wall clock; then the whole sandbox is killed, by its maker, so it goes with `lifetime = \"maker\"`. "
      .. "Of the sandbox as a whole, by a control group of its own: "
      .. "`memory` (as 4096 or `\"64M\"`), `swap` (none when memory is limited and nothing is said), `pids`: processes and "
      .. "threads, `cpu`: processors' worth of time (0.5), `cpus`: which processors, `io`: of the disk that a path is or "
      .. "lies on, by bytes and operations a second, `hugetlb`: by size of pages. What no group can hold here is an error that "
      .. "says what is missing; with `best_effort` it goes without, or with what setrlimit(2) has for one process, and the "
      .. "result says so. The others are the payload's limits of setrlimit(2): bytes or counts, or "
      .. "`\"unlimited\"`; `cpu_time` is seconds of one process. Only root may raise one above the caller's own.",
  },
  {
    name = "scheduling", type = scheduling.type, merge = "map",
    values = "{ nice = -20 to 19, ionice = \"idle\" | \"best-effort\" | \"realtime\" | { class =, level = 0 to 7 }, "
      .. "oom_score_adj = -1000 to 1000, affinity = list of CPU numbers, core = boolean }",
    default = "the caller's",
    doc = "When and where the payload runs. Only root without a new user namespace may raise a priority above the caller's "
      .. "own. Where the kernel groups processes by session (autogroup, see sched(7)), `nice` counts among the sandbox's own "
      .. "only. `affinity` names CPUs that the caller may use. The payload may choose others again, and take back `ionice` and "
      .. "`oom_score_adj`, which is the reaper's too, as far as the caller's own. `core`: no other process runs on the hardware "
      .. "threads of the same core at the same time.",
  },
  {
    name = "command", type = check.list_of(check.text), values = "list of words", default = "none",
    doc = "The argv of a run that gives none.",
  },
  {
    name = "steps", type = check.list_of(check.callable), merge = "append", values = "list of functions", default = "none",
    doc = "Called with the plan last, before privileges drop.",
  },
}

local by_name, names = {}, {}
for i, field in ipairs(fields) do
  by_name[field.name] = field
  names[i] = field.name
end

return { fields = fields, by_name = by_name, names = names, kinds = KINDS }
