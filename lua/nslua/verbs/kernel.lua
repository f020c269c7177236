--- Verbs of file systems that the kernel makes: tmpfs, proc, sys, mqueue, dev.
local check = require "nslua.check"
local verb = require "nslua.verb"

local rows = verb.rows

local INERT <const>, INERT_READ_ONLY <const> = { "nosuid", "nodev", "noexec" }, { "ro", "nosuid", "nodev", "noexec" }

-- -- tmpfs --

local TMPFS_MODE <const> = 1023 -- 1777, the kernel's own default

local function record_tmpfs(plan, options)
  local size, inodes = verb.limits(options)
  return plan:filesystem("tmpfs", {
    size, inodes,
    options.mode ~= TMPFS_MODE and { "mode", ("%o"):format(options.mode or 493) },
    options.uid and { "uid", ("%d"):format(options.uid) }, options.gid and { "gid", ("%d"):format(options.gid) },
  }, { "nosuid", "nodev", options.exec == false and "noexec" or 0 })
end

rows.tmpfs = {
  parameters = { verb.target },
  options = verb.options {
    size = verb.size, inodes = check.count, mode = check.mode, exec = check.boolean,
    uid = check.id, gid = check.id, writable = check.boolean,
  },
  summary = function(e) return "tmpfs on " .. e.target end, own = function() return "bare" end,
  sealed = function(e) return not e.options.writable end, flags = "rw",
  doc = "An empty file system in memory, of at most `size` (default 256M) and `inodes` (65536); `size = \"half\"`: of half the "
    .. "memory, as the kernel's own default is. As the root it becomes read-only at the end, unless `writable`.",
  mount = function(e, plan)
    verb.check_owner(e, plan)
    return record_tmpfs(plan, e.options)
  end,
}

-- -- proc --

-- What a process can do no good with, and what tells of the host (security rule 27).
local PROC_READ_ONLY <const> = { "sys", "sysrq-trigger", "irq", "bus", "fs", "pressure" }
local PROC_MASKED <const> = {
  "kcore", "kmsg", "keys", "kallsyms", "timer_list", "iomem", "ioports", "config.gz", "latency_stats",
  "sched_debug", "scsi", "acpi", "firmware", "interrupts",
}

rows.proc = {
  parameters = { verb.target_or "/proc" },
  options = verb.options {
    full = check.boolean, read_only = check.list_of(check.one_of(PROC_READ_ONLY)), subset = check.one_of { "pid" },
    hidepid = check.one_of { "off", "noaccess", "invisible", "ptraceable" },
  },
  summary = function(e) return "proc on " .. e.target end, flags = "nosuid,nodev,noexec", needs = "pid",
  doc = "The processes of the sandbox. What concerns the whole machine is read-only or masked, unless "
    .. "`full` or with `nesting`, and then what `read_only` names; `subset = \"pid\"` leaves it out.",
  mount = function(e, plan)
    return plan:filesystem("proc", {
      { "hidepid", e.options.hidepid or "ptraceable" }, e.options.subset and { "subset", e.options.subset },
    }, INERT)
  end,
  -- In the mount itself: who changes a tree that it lies in may have moved it.
  after = function(e, plan, mount)
    local is_full = e.options.full or plan.nesting -- a covered one would let no sandbox inside mount its own
    -- A mount on it keeps a nested user namespace from mounting a full one of its own.
    for _, name in ipairs(is_full and (e.options.read_only or {}) or e.options.subset and { "1" } or PROC_READ_ONLY) do
      plan.tree:tolerate "ENOENT"
      plan:cover_with_itself(mount, name, INERT_READ_ONLY)
    end
    if is_full or e.options.subset then return end
    local masks = plan:masks()
    for _, name in ipairs(PROC_MASKED) do
      plan.tree:tolerate("ENOENT"):mask(masks, mount, name)
    end
  end,
}

-- -- sys and mqueue --

rows.sys = {
  parameters = { verb.target_or "/sys" }, options = verb.options(),
  summary = function(e) return "sysfs on " .. e.target end,
  flags = function(_, plan) return plan.new.net and "ro, of the own network" or "ro, the host's: its network is shared" end,
  doc = "The kernel's objects, read-only; with a new network namespace only its own interfaces, otherwise as the host sees "
    .. "them.",
  mount = function(_, plan)
    if plan.new.net then return plan:filesystem("sysfs", {}, INERT_READ_ONLY) end
    local tree = plan.sources:open_tree(nil, "/sys", { "clone", "recursive" })
    plan.sources:mount_setattr(tree, nil, INERT_READ_ONLY, nil, "private", "recursive")
    return tree
  end,
}

rows.mqueue = {
  parameters = { verb.target_or "/dev/mqueue" }, options = verb.options { shared = check.boolean },
  summary = function(e) return "mqueue on " .. e.target end, flags = "nosuid,nodev,noexec", needs = "ipc",
  doc = "The POSIX message queues of the sandbox; `shared`: without a new IPC namespace the caller's, which takes root.",
  mount = function(_, plan) return plan:filesystem("mqueue", {}, INERT) end,
}

-- -- dev --

local NODES <const> = {
  null = { 1, 3 }, zero = { 1, 5 }, full = { 1, 7 }, random = { 1, 8 }, urandom = { 1, 9 }, tty = { 5, 0 },
}
local NODE_NAMES <const> = { "null", "zero", "full", "random", "urandom", "tty" }
local DEV_LINKS <const> = {
  { "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
  { "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
}

--- A directory for what a verb makes: in a file system of ours a plain one, elsewhere a tmpfs, which
--- becomes read-only at the end, and where that is not to be always one.
local function make_directory(e, plan)
  local _, _, own = plan:resolve(e.target, e.options)
  local writable = e.options.writable
  if own == "bare" and not writable then return plan:add(verb.inner_dir(e.target)) end
  local mount = record_tmpfs(plan, { exec = writable, size = writable and "half" })
  plan:place(mount, e.target, e.options, "bare")
  if not writable then plan:seal(mount) end
end

local function record_shm(e, plan)
  local path = e.target .. "/shm"
  if e.options.writable then plan:add(verb.inner_dir(path))
  else plan:add(verb.inner_dir(path, TMPFS_MODE, { writable = true, exec = false })) end
end

--- The terminal that a run hands to its payload, as our own mounts have it; nothing where it hands none.
local function record_given(plan)
  plan.terminal = plan.terminal or plan.first:register()
  return plan.sources:tolerate("ESTALE", "ENXIO"):reopen(plan.terminal)
end

--- The payload's terminal is its console.
local function record_console(e, plan, pts)
  if plan.tty then plan.pty = plan.pty or require("nslua.terminal").record_new(plan.tree, pts, "ptmx") end
  local console, section = plan.pty, plan.tree
  if not console then console, section = record_given(plan), plan.sources end
  local clone = section:open_tree(console, nil, "clone")
  section:mount_setattr(clone, nil, { "nosuid", "noexec" }, nil, "private")
  plan:place(clone, e.target .. "/console", { links = e.options.links })
end

rows.dev = {
  parameters = { verb.target_or "/dev" }, options = verb.options { writable = check.boolean },
  summary = function(e) return "dev on " .. e.target end,
  flags = function(e) return e.options.writable and "rw,nosuid" or "nosuid,noexec" end,
  doc = "null, zero, full, random, urandom, tty, fd and stdio links, an own pts and shm; console, when the payload is given "
    .. "a terminal. With `writable` it is a tmpfs that the payload may write, and shm a plain directory in it.",
  record = function(e, plan)
    make_directory(e, plan)
    for _, name in ipairs(NODE_NAMES) do
      plan:add(verb.inner("device", e.target .. "/" .. name, { source = "/dev/" .. name, number = NODES[name] }))
    end
    for _, link in ipairs(DEV_LINKS) do
      plan:add(verb.inner("symlink", e.target .. "/" .. link[1], { link = link[2] }))
    end
    local pts = plan:filesystem("devpts", { { "newinstance" }, { "ptmxmode", "666" }, { "mode", "620" } },
      { "nosuid", "noexec" })
    plan:place(pts, e.target .. "/pts", { links = e.options.links })
    plan.ptmx = plan.ptmx or plan:resolve(e.target) .. "/pts/ptmx"
    record_console(e, plan, pts)
    record_shm(e, plan)
  end,
}
