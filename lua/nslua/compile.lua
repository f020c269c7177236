--- Recipe -> plan, in a fixed order of steps. Pure but for looking at the system: nothing is made.
-- @module nslua.compile
local Error = require "nslua.error"
local Identity = require "nslua.identity"
local Plan = require "nslua.plan"
local clock = require "nslua.clock"
local entry = require "nslua.entry"
local environment = require "nslua.environment"
local fs = require "nslua.fs"
local inner = require "nslua.inner"
local joins = require "nslua.joins"
local landlock = require "nslua.landlock"
local kernel = require "nslua.kernel"
local scheduling = require "nslua.scheduling"
local seccomp = require "nslua.seccomp"
local signals = require "nslua.signals"
local sys = require "nslua.sys"

local CAPABILITIES_OF_STAGE <const> = 1 << 6 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 18 | 1 << 21 | 1 << 25
  -- setgid, setuid, setpcap, net_admin, sys_chroot, sys_admin, sys_time
local CAP_SYS_ADMIN <const>, CAP_SYS_PTRACE <const>, CAP_WAKE_ALARM <const> = 1 << 21, 1 << 19, 1 << 35
local LIFETIMES <const> = { maker = 0, detached = 1, last = 2 } -- as the primitive fork takes them
local DEFAULT_PATH <const> = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
local LOCKED_SECUREBITS <const> = sys.flags("securebits", {
  "noroot", "noroot_locked", "no_setuid_fixup", "no_setuid_fixup_locked", "keep_caps_locked",
  "no_cap_ambient_raise", "no_cap_ambient_raise_locked",
})

-- -- sections --

--- Into the control groups that a run has made: by the register of each; empty where the stage is made in it. What the
--- payload then sees as its own group is theirs.
local function record_groups(plan, groups)
  if not groups then return end
  plan:owner "control group"
  if groups.late then
    plan.setup:await()
    plan.setup:await_leave()
  end
  for i in ipairs(groups.places) do
    groups.registers[i] = plan.first:register()
    plan.setup:write(groups.registers[i], "0")
  end
  if plan.new.cgroup then plan.setup:unshare "cgroup" end
end

local function record_names(plan, recipe, new)
  if new.uts then
    if plan.hostname then
      plan:owner("hostname " .. plan.hostname)
      plan.setup:sethostname(plan.hostname)
    end
    if recipe.domainname then
      plan:owner("domainname " .. recipe.domainname)
      plan.setup:setdomainname(recipe.domainname)
    end
  end
  if new.net and recipe.net ~= "none" then
    plan:owner "loopback interface"
    plan.setup:interface_up "lo"
  end
end

--- Refuses user namespaces in the sandbox, besides the filter; where a container's /proc/sys is read-only, it is the
--- filter's matter alone.
local function record_nesting(plan, recipe)
  if plan.nesting or recipe.nesting == "impossible" or not plan.new.user then return end
  plan:owner "no nested user namespaces"
  plan:need "sys_resource"
  if seccomp.has_profile(recipe) then plan.setup:optional("EROFS", "ENOENT", "EACCES") end
  local limit = plan.setup:open(nil, "/proc/sys/user/max_user_namespaces", "write")
  plan.setup:write(limit, plan.identity.inner == true and "1" or "0")
  plan.setup:close(limit)
end

--- A keyring of its own, which nothing can be asked of: keyctl is refused, unless there is no filter. So the caller's stays
--- in a container that refuses keyctl itself, and when a user has more sandboxes at once than keys allowed (keyrings(7)).
local function record_keyring(plan, recipe)
  plan:owner "session keyring"
  if seccomp.has_profile(recipe) then plan.setup:optional("ENOSYS", "EPERM", "EDQUOT") else plan.setup:tolerate "ENOSYS" end
  plan.setup:session_keyring()
end

local function record_setup(plan, recipe, joined, groups, target)
  if target then target:record_outside(plan) end
  local ok, err = joins.record(plan, recipe, joined)
  if not ok then return nil, err end
  plan:owner "user"
  plan.identity:record_wait(plan)
  record_groups(plan, groups)
  if plan.remade == 0 then clock.record(plan, recipe.clock) end
  plan:owner "user"
  plan.identity:record(plan)
  plan.setup:dumpable(0)
  if target then target:record_root(plan) end
  if plan.remade == 0 then scheduling.record_setup(plan, recipe.scheduling) end
  record_nesting(plan, recipe)
  plan:owner "session"
  if not plan.inherit.session then plan.setup:setsid() end
  if not plan.inherit.keyring then record_keyring(plan, recipe) end
  record_names(plan, recipe, plan.new)
  if plan.payload_is_init then
    plan:owner "PID namespace"
    plan.setup:fork("pid", plan.detached, nil, 0, 0, 0)
    plan.setup:parent_death_signal(signals.KILL)
  end
  plan:owner "namespaces"
  inner.prepare(plan)
  plan.setup:tolerate("ENOENT"):note_namespaces(plan.own_namespaces)
  return true
end

local function is_root(item)
  return entry.is(item) and item.verb.mount and (item.verb.target or item.target) == "/"
end

--- Records the root: the entry that is it, which is given back, or a small tmpfs.
local function record_root(plan, list)
  for _, item in ipairs(list) do
    if is_root(item) then
      plan:owner(item)
      plan.root = item.verb.mount(item, plan)
      plan.own_root = item.verb.own and item.verb.own(item) or false
      plan.sealed_root = item.verb.sealed and item.verb.sealed(item) or false
      item.depth = 0
      plan.entries[#plan.entries + 1] = item
      return item
    end
  end
  plan:owner "root"
  plan.root = plan:filesystem("tmpfs", { { "size", "256M" }, { "nr_inodes", "65536" }, { "mode", "755" } },
    { "nosuid", "nodev" })
  plan.own_root, plan.sealed_root = "bare", true
end

local function record_files(plan, recipe, at)
  if not plan.new.mount then return end
  local list = recipe.fs or { entry.make(fs.verbs.os, { at = at }) }
  for _, item in ipairs(list) do
    if entry.is(item) then
      if item.target and not item.verb.repeats then plan.explicit[item.target] = true end
      if item.verb.writes then plan:note_writable(item:written()) end
    end
  end
  plan:owner "root"
  plan:seclude()
  local root = record_root(plan, list)
  plan.mounted["/"] = plan.own_root
  for _, item in ipairs(list) do
    if item ~= root then plan:add(item) end
  end
  plan:owner "root"
  plan:enter()
  plan:leave()
end

local function record_steps(plan, recipe)
  plan.current = plan.steps_
  for i, step in ipairs(recipe.steps or {}) do
    plan:owner("step " .. i)
    step(plan)
  end
end

--- Records what Landlock is to hold the payload to.
-- @treturn[1] table enforced, ruleset, guard; empty without
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function record_landlock(plan, recipe, target, may_mount)
  if recipe.landlock == false then return {} end
  local wanted = target and target:landlock(recipe.landlock) or recipe.landlock
  local has_own_root = plan.new.mount or target and plan.root
  local policy, err = landlock.policy(wanted, has_own_root and not may_mount)
  if not policy then return nil, err end
  local ruleset, guard = landlock.record(plan, policy)
  return { enforced = policy.enforced, ruleset = ruleset, guard = guard }
end

--- The sets of the payload, and the bits: a user namespace's root would get capabilities at execve in spite of the empty
--- sets; the bits forbid it for good. Where uid 0 keeps its meaning, execve gives it what is permitted.
local function held_of(plan, capabilities)
  local usual = plan.inherit.securebits
  local ambient = usual and plan.identity.uid == 0 and 0 or capabilities
  return {
    effective = capabilities, permitted = capabilities, bounding = capabilities, inheritable = ambient, ambient = ambient,
    securebits = plan.identity.holds and not usual and LOCKED_SECUREBITS or 0,
  }
end

--- What the payload may hold, and the reaper for one that comes later.
local function record_bounds(plan, held)
  if not plan.identity.holds then return end
  plan.drop:bounding(held.bounding)
  plan.drop:ambient(held.ambient)
  if held.securebits ~= 0 then plan.drop:securebits(held.securebits) end
end

--- The capability that a visible reaper keeps, good for nothing in a user namespace. The kernel lets nobody without look into
--- it but who owns the namespace, or has sys_ptrace there.
-- @treturn[1] integer a set of it; 0 when the reaper is not to be seen
-- @treturn[2] nil
-- @treturn[2] string what is wrong
local function guard_of(plan, recipe, capabilities)
  if recipe.init ~= "visible" then return 0 end
  if not plan.identity.holds then return nil, "init = \"visible\" needs a new user namespace" end
  if capabilities & (CAP_SYS_PTRACE | CAP_WAKE_ALARM) ~= 0 then
    return nil, "init = \"visible\" with sys_ptrace or wake_alarm: the payload could look into the reaper, too"
  end
  if seccomp.only_logs(recipe) then
    return nil, "init = \"visible\" with seccomp's mode = \"log\": the payload could look into the recorder"
  end
  plan:need "wake_alarm"
  return CAP_WAKE_ALARM
end

--- The last of the plan before the payload's own operations: privileges go, the stage splits.
-- @param confined whether the ruleset keeps signals within the sandbox
local function record_drop(plan, recipe, held, ruleset, confined)
  local drop = plan.drop
  inner.record(plan)
  plan:owner "privileges"
  record_bounds(plan, held)
  if recipe.no_new_privs ~= false then drop:no_new_privs() end
  if ruleset then
    plan:owner "landlock"
    drop:landlock_restrict(ruleset)
  end
  if plan.payload_is_init then return end
  plan:owner "reaper"
  if plan.children then drop:child_subreaper(1) end
  if plan.guard ~= 0 then drop:dumpable(1) end -- already for those who are told of it before the payload begins
  drop:fork({}, plan.detached, plan.children, confined and 1 or 0, plan.identity.holds and held.permitted or 0,
    plan.guard)
  if plan.children then drop:parent_death_signal(signals.KILL) end
end

--- "all" is what there is to have: in a new user namespace everything, else what the caller has.
local function capability_mask(caps, identity, target)
  if target then return target:capabilities(caps) end
  if caps == "all" then
    return identity.new and (1 << sys.capability_count()) - 1 or identity.caller.capabilities
  end
  return caps or 0
end

-- -- the whole --

local function default_environment(plan, recipe)
  local is_whole = recipe.env and recipe.env.inherit == "all" -- in place of the defaults
  return environment.over(is_whole and {} or {
    PATH = DEFAULT_PATH, HOME = plan.home or "/", LANG = "C.UTF-8", TERM = os.getenv "TERM" or "dumb",
  }, recipe.env)
end

--- Registers that every run fills.
local function reserve_registers(plan)
  plan.streams = { plan.first:register(), plan.first:register(), plan.first:register() }
end

--- Whether trees may be mapped in a mount namespace that is joined: nobody tells. Those who live there choose what is
--- executed there, so what joins them is held to what they are. Where they lack no_new_privs, none is; who would be without
--- among those who have it is refused.
local function may_be_mapped(recipe, joined, identity, target)
  if not joined.mount or identity.caller.capabilities & CAP_SYS_ADMIN == 0 then return false end
  return not target or target.no_new_privs and recipe.no_new_privs ~= false
end

local function new_plan(recipe, new, joined, identity, tty, groups, target)
  local inherit = recipe.inherit or {}
  local plan = Plan.new {
    new = new, identity = identity, net = recipe.net or (new.net and "loopback" or "host"),
    nesting = recipe.nesting == true or seccomp.only_logs(recipe), inherit = inherit,
    hostname = new.uts and (recipe.hostname or not inherit.hostname and "sandbox") or nil, explicit = {}, entries = {},
    detached = LIFETIMES[recipe.lifetime or "maker"], lingers = recipe.lifetime == "last",
    payload_is_init = new.pid and recipe.init == false,
    tty = tty, joins = {}, joined = {}, remade = joins.times_remade(recipe, new, joined, target),
  }
  plan.writes_as_owner = may_be_mapped(recipe, joined, identity, target)
  plan.unshared = {}
  for kind in pairs(new) do
    local made_apart = kind == "user" and identity.delegated or kind == "time" or kind == "cgroup" and groups
      or kind == "pid" and (plan.payload_is_init or plan.remade > 0)
    if not made_apart then plan.unshared[#plan.unshared + 1] = kind end
  end
  return plan
end

--- Linux 5.12 has mount_setattr, without which nothing here is safe.
local function check_kernel()
  if kernel.at_least(5, 12) then return true end
  return nil, Error.new { step = "Linux " .. sys.release(), reason = "nslua needs Linux 5.12 or newer" }
end

--- Who the payload is. @return the identity; or nil and an error
local function identity_of(recipe, new, joined, at, target)
  local ok, identity, problem = pcall(Identity.of, recipe.user, new.user or false, joined.user ~= nil, target,
    recipe.inherit and recipe.inherit.groups)
  if not ok then return nil, identity end
  if not identity then return nil, Error.misuse { { at = at, message = problem } } end
  return identity
end

--- The control groups that its limits want; false when they want none. @return them; or nil and an error
local function groups_of(recipe)
  if not recipe.limits then return false end
  return require "nslua.group_limits".resolve(recipe.limits, seccomp.only_logs(recipe) and 2 or 1)
end

--- Records what comes after the files: the recipe's own steps, what the payload is held to, the split.
-- @treturn[1] table what holds of Landlock, as record_landlock
-- @treturn[1] table the sets that the payload holds
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function record_rest(plan, recipe, at, target, groups)
  local capabilities, err = capability_mask(recipe.caps, plan.identity, target)
  if not capabilities then return nil, err end
  local problem
  plan.guard, problem = guard_of(plan, recipe, capabilities)
  local may_mount = plan.nesting or capabilities & CAP_SYS_ADMIN ~= 0
  problem = problem or plan.writes_as_owner and require "nslua.mapped_ids".problem(plan, recipe, may_mount)
  if problem then return nil, Error.misuse { { at = at, message = problem } } end
  local why = groups and require "nslua.lifted".problem(plan, groups, may_mount)
  local ok = true
  if why then ok, err = groups:weaken(why, recipe.limits.best_effort) end
  if not ok then return nil, err end
  record_steps(plan, recipe)
  local restriction
  restriction, err = record_landlock(plan, recipe, target, may_mount)
  if not restriction then return nil, err end
  local held = held_of(plan, capabilities)
  record_drop(plan, recipe, held, restriction.ruleset, restriction.guard)
  return restriction, held
end

--- What a run needs of a recorded plan.
local function ready_of(plan, recipe, joined, held)
  local identity, new = plan.identity, plan.new
  local apart = identity.new and identity.privileged
  local operations, sources = plan:bytes(apart)
  local filters = seccomp.filters(recipe, new.pid or joined.pid ~= nil, held.permitted)
  return {
    plan = plan, recipe = recipe, identity = identity, new = new, joined = joined, entries = plan.entries,
    operations = operations, sources = sources, drop = plan.drop:bytes(), owners = plan.owners,
    registers = plan.first:registers(), passed = plan.first:passed(), idmaps = plan.idmaps, proc_files = plan.proc_files,
    streams = plan.streams, pty = plan.pty, hostname = plan.hostname, refusal = plan.refusal,
    namespaces = joined.user and {} or plan.unshared, held = held,
    capabilities = identity.new and CAPABILITIES_OF_STAGE | plan.needed | held.permitted or 0,
    uid_map = apart and identity.uid_map or nil, gid_map = apart and identity.gid_map or nil, filters = filters,
    env = default_environment(plan, recipe), cwd = recipe.cwd or plan.home or (plan.root and "/" or nil),
    -- A recorder's stage is asked to end, not killed: it has something to tell.
    own_pids = new.pid and not plan.payload_is_init and not (filters and filters.mode) or false,
  }
end

--- Compiles a checked recipe.
-- @tparam table recipe its fields
-- @tparam table new the namespaces that are new, as a set
-- @tparam table joined those that are joined
-- @tparam ?string at where it was written
-- @tparam ?boolean tty the payload gets a terminal of its own
-- @tparam ?nslua.enter target the running sandbox that is joined
-- @return what a run needs; or nil and an error
local function compile(recipe, new, joined, at, tty, target)
  local ok, err = check_kernel()
  if not ok then return nil, err end
  local identity, groups
  identity, err = identity_of(recipe, new, joined, at, target)
  if not identity then return nil, err end
  groups, err = groups_of(recipe)
  if groups == nil then return nil, err end
  local plan = new_plan(recipe, new, joined, identity, tty, groups, target)
  reserve_registers(plan)
  ok, err = record_setup(plan, recipe, joined, groups, target)
  if not ok then return nil, err end
  record_files(plan, recipe, at)
  local own_pty = plan.pty ~= nil
  if tty and not own_pty then plan.pty = plan.first:register() end -- without a devpts of its own: one of the host's
  local restriction, held = record_rest(plan, recipe, at, target, groups)
  if not restriction then return nil, held end

  local ready = ready_of(plan, recipe, joined, held)
  ready.landlock, ready.ruleset, ready.guard = restriction.enforced, restriction.ruleset, restriction.guard
  ready.own_pty, ready.groups, ready.target = own_pty, groups or nil, target
  ready.scheduling = scheduling.with(recipe.scheduling, groups and groups.affinity)
  return ready
end

return { compile = compile }
