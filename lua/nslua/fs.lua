--- The verbs of `fs`. Source first, then target, as mount(8).
--
-- A verb is a row: `parameters` and `options` (types of nslua.check), `summary` (its words in errors
-- and explain), and one of: `mount` (records the making of a detached mount, which is then attached
-- at the target; `after` may follow), `record` (records what it does in the tree), or `expand`
-- (gives other entries).
-- @module nslua.fs
local Error = require "nslua.error"
local check = require "nslua.check"
local entry = require "nslua.entry"
local sys = require "nslua.sys"

local verbs, fs = {}, {}

local source = { name = "source", type = check.source }
local target = { name = "target", type = check.target }
local function target_like_source(e) return e.source end
local function at(path) return { name = "target", type = check.target, default = function() return path end } end

local bind_parameters = { source, { name = "target", type = check.target, default = target_like_source } }
local bind_options = {
  optional = check.boolean, create = check.boolean, exec = check.boolean, idmap = check.boolean,
}

local CLONE <const> = { "clone", "recursive" }
local WRITABLE <const>, READ_ONLY <const> = { "nosuid", "nodev" }, { "ro", "nosuid", "nodev" }

local function bind_summary(e) return ("bind %s on %s"):format(e.source, e.target) end

--- Records a detached clone of the tree at e.source, with these attributes, on it and all below it
--- at once.
local function clone_tree(e, plan, attributes)
  local sources = plan.sources
  if e.options.optional then sources:optional("ENOENT", "ENOTDIR") end
  local tree = sources:open_tree(nil, e.source, CLONE)
  local idmap
  if e.verb.writable and e.options.idmap ~= false then idmap = plan:idmap(e.source) end
  if idmap or e.options.exec == false then
    attributes = { table.unpack(attributes) }
    if idmap then attributes[#attributes + 1] = "idmap" end
    if e.options.exec == false then attributes[#attributes + 1] = "noexec" end
  end
  sources:mount_setattr(tree, nil, attributes, nil, "private", "recursive", idmap)
  sources:expect_mount(tree, attributes)
  return tree
end

verbs.ro = {
  parameters = bind_parameters, options = bind_options, summary = bind_summary, flags = "ro",
  doc = "Shares a directory or file of the host, read-only with everything mounted below it.",
  mount = function(e, plan) return clone_tree(e, plan, READ_ONLY) end,
}

verbs.rw = {
  parameters = bind_parameters, options = bind_options, summary = bind_summary, flags = "rw", writable = true,
  doc = "The same, writable. For root, what its owner owns belongs to the sandbox's user inside, and what is made "
    .. "there to that owner; so the payload can make no set-user-id or set-group-id file anywhere.",
  mount = function(e, plan) return clone_tree(e, plan, WRITABLE) end,
}

verbs.device = {
  parameters = bind_parameters, options = { optional = check.boolean, create = check.boolean },
  summary = function(e) return ("device %s on %s"):format(e.source, e.target) end, flags = "rw,dev",
  doc = "Shares a device node of the host.",
  mount = function(e, plan)
    local sources = plan.sources
    if e.options.optional then sources:optional("ENOENT", "ENOTDIR") end
    local node = sources:open_tree(nil, e.source, "clone")
    local number = e.number or {}
    sources:expect_device(node, number[1] and "char", number[1], number[2])
    sources:mount_setattr(node, nil, { "nosuid", "noexec" }, nil, "private")
    return node
  end,
}

verbs.image = {
  parameters = { source }, options = { optional = check.boolean },
  summary = function(e) return "image " .. e.source end, flags = "ro", target = "/",
  doc = "A directory as the root, read-only.",
  mount = function(e, plan) return clone_tree(e, plan, READ_ONLY) end,
}

verbs.host = {
  parameters = {}, options = {}, summary = function() return "host /" end, flags = "as the host", target = "/",
  doc = "The host's whole tree, as it is.",
  mount = function(_, plan)
    local tree = plan.sources:open_tree(nil, "/", CLONE)
    plan.sources:mount_setattr(tree, nil, { "nosuid" }, nil, "private", "recursive")
    return tree
  end,
}

--- Entries that verbs make of others.
local function inner(name, target_path, fields)
  fields = fields or {}
  fields.target = target_path
  return entry.make(verbs[name], fields)
end

local function inner_ro(path, options) return inner("ro", path, { source = path, options = options }) end

local function inner_dir(path, mode, options)
  options = options or {}
  options.mode = mode
  return inner("dir", path, { options = options })
end

-- -- file systems of the kernel --

local TMPFS_SIZE <const>, TMPFS_INODES <const> = 256 << 20, 65536
local TMPFS_MODE <const> = 1023 -- 1777, the kernel's own default

local function record_tmpfs(plan, options)
  return plan:filesystem("tmpfs", {
    { "size", ("%d"):format(options.size or TMPFS_SIZE) },
    { "nr_inodes", ("%d"):format(options.inodes or TMPFS_INODES) },
    options.mode ~= TMPFS_MODE and { "mode", ("%o"):format(options.mode or 493) },
  }, { "nosuid", "nodev", options.exec == false and "noexec" or 0 })
end

verbs.tmpfs = {
  parameters = { target },
  options = { size = check.size, inodes = check.count, mode = check.mode, exec = check.boolean, create = check.boolean },
  summary = function(e) return "tmpfs on " .. e.target end, own = true, flags = "rw",
  doc = "An empty file system in memory, of at most `size` (default 256M) and `inodes` (65536).",
  mount = function(e, plan) return record_tmpfs(plan, e.options) end,
}

-- What a process can do no good with, and what tells of the host (security rule 27).
local PROC_READ_ONLY <const> = { "sys", "sysrq-trigger", "irq", "bus", "fs", "pressure" }
local PROC_MASKED <const> = {
  "kcore", "kmsg", "keys", "kallsyms", "timer_list", "iomem", "ioports", "config.gz", "latency_stats",
  "sched_debug", "scsi", "acpi", "firmware",
}

--- Covers a part of a mount of ours by a read-only clone of itself.
local function make_read_only(plan, path)
  local tree = plan.tree
  local part = tree:tolerate("ENOENT"):open(plan.root, path, "path")
  local clone = tree:open_tree(part, nil, "clone")
  tree:mount_setattr(clone, nil, { "ro", "nosuid", "nodev", "noexec" }, nil, "private")
  tree:move_mount(clone, part)
end

verbs.proc = {
  parameters = { at "/proc" },
  options = { full = check.boolean, subset = check.one_of { "pid" }, create = check.boolean,
    hidepid = check.one_of { "off", "noaccess", "invisible", "ptraceable" } },
  summary = function(e) return "proc on " .. e.target end, flags = "nosuid,nodev,noexec", needs = "pid",
  doc = "The processes of the sandbox. What concerns the whole machine is read-only or masked, unless "
    .. "`full`; `subset = \"pid\"` leaves it out.",
  mount = function(e, plan)
    return plan:filesystem("proc", {
      { "hidepid", e.options.hidepid or "ptraceable" }, e.options.subset and { "subset", e.options.subset },
    }, { "nosuid", "nodev", "noexec" })
  end,
  after = function(e, plan)
    if e.options.full then return end
    -- A mount on it keeps a nested user namespace from mounting a full one of its own.
    if e.options.subset then return make_read_only(plan, e.target .. "/1") end
    for _, name in ipairs(PROC_READ_ONLY) do make_read_only(plan, e.target .. "/" .. name) end
    local masks = plan:masks()
    for _, name in ipairs(PROC_MASKED) do
      plan.tree:tolerate("ENOENT"):mask(masks, plan.root, e.target .. "/" .. name)
    end
  end,
}

verbs.sys = {
  parameters = { at "/sys" }, options = { create = check.boolean },
  summary = function(e) return "sysfs on " .. e.target end, flags = "ro",
  doc = "The kernel's objects, read-only; with a new network namespace only its own interfaces.",
  mount = function(_, plan)
    local attributes = { "ro", "nosuid", "nodev", "noexec" }
    if plan.new.net then return plan:filesystem("sysfs", {}, attributes) end
    local tree = plan.sources:open_tree(nil, "/sys", CLONE)
    plan.sources:mount_setattr(tree, nil, attributes, nil, "private", "recursive")
    return tree
  end,
}

verbs.mqueue = {
  parameters = { at "/dev/mqueue" }, options = { create = check.boolean },
  summary = function(e) return "mqueue on " .. e.target end, flags = "nosuid,nodev,noexec", needs = "ipc",
  doc = "The POSIX message queues of the sandbox.",
  mount = function(_, plan) return plan:filesystem("mqueue", {}, { "nosuid", "nodev", "noexec" }) end,
}

local NODES <const> = {
  null = { 1, 3 }, zero = { 1, 5 }, full = { 1, 7 }, random = { 1, 8 }, urandom = { 1, 9 }, tty = { 5, 0 },
}
local NODE_NAMES <const> = { "null", "zero", "full", "random", "urandom", "tty" }
local DEV_LINKS <const> = {
  { "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
  { "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
}

--- A directory for what a verb makes: in a file system of ours a plain one, elsewhere a tmpfs, which
--- becomes read-only at the end.
local function make_directory(e, plan)
  local _, _, own = plan:resolve(e.target, e.options.create)
  if own then return plan:add(inner_dir(e.target)) end
  local mount = record_tmpfs(plan, { exec = false })
  plan:place(mount, e.target, e.options, true)
  plan:seal(mount)
end

verbs.dev = {
  parameters = { at "/dev" }, options = { create = check.boolean },
  summary = function(e) return "dev on " .. e.target end, flags = "nosuid,noexec",
  doc = "null, zero, full, random, urandom, tty, fd and stdio links, an own pts and shm.",
  record = function(e, plan)
    make_directory(e, plan)
    for _, name in ipairs(NODE_NAMES) do
      plan:add(inner("device", e.target .. "/" .. name, { source = "/dev/" .. name, number = NODES[name] }))
    end
    for _, link in ipairs(DEV_LINKS) do plan:add(inner("symlink", e.target .. "/" .. link[1], { link = link[2] })) end
    local pts = plan:filesystem("devpts", { { "newinstance" }, { "ptmxmode", "666" }, { "mode", "620" } },
      { "nosuid", "noexec" })
    plan:place(pts, e.target .. "/pts")
    plan:add(inner_dir(e.target .. "/shm", TMPFS_MODE, { writable = true, exec = false }))
  end,
}

-- -- single files --

verbs.file = {
  parameters = { target, { name = "content", type = function(value)
    if type(value) == "string" then return value end
    return nil, "a string"
  end } },
  options = { mode = check.mode, create = check.boolean },
  summary = function(e) return "file " .. e.target end, flags = "ro",
  doc = "A file with this content, in memory, of mode 0444 unless `mode` says otherwise.",
  record = function(e, plan)
    local path, parents, own = plan:resolve(e.target, e.options.create)
    local mode = e.options.mode or 292
    if own then
      plan.tree:write_file(plan.root, path, e.content, mode, parents)
    else
      plan:place(plan:stored_file(e.content, mode), e.target, e.options)
    end
  end,
}

--- Nothing is made in a tree of the host unasked.
local function check_may_make(e, own)
  if own or e.options.create then return end
  error(Error.misuse { { at = e.at, message = ("fs.%s: %s lies in a tree of the host; { create = true } makes it "
    .. "there"):format(e.verb.name, e.target) } })
end

verbs.dir = {
  parameters = { target },
  options = { mode = check.mode, create = check.boolean, writable = check.boolean, exec = check.boolean },
  summary = function(e) return "directory " .. e.target end,
  flags = function(e) return e.options.writable and "rw" or nil end,
  doc = "A directory, of mode 0755 unless `mode` says otherwise; its parents are made too. With `writable` "
    .. "it stays so when the root becomes read-only; all such directories share the root's size (256M).",
  record = function(e, plan)
    local path, parents, own = plan:resolve(e.target, e.options.create)
    check_may_make(e, own)
    plan.tree:tolerate("EEXIST"):mkdir(plan.root, path, e.options.mode or 493, parents)
    if not e.options.writable then return end
    local clone = plan.tree:open_tree(plan.tree:open(plan.root, path, "path"), nil, "clone")
    if e.options.exec == false then plan.tree:mount_setattr(clone, nil, "noexec") end
    plan:place(clone, e.target, e.options, true)
  end,
}

verbs.symlink = {
  parameters = { { name = "link", type = check.text }, target }, options = { create = check.boolean },
  summary = function(e) return ("symlink %s to %s"):format(e.target, e.link) end,
  doc = "A symbolic link: first what it leads to, then where it is.",
  record = function(e, plan)
    local path, parents, own = plan:resolve(e.target, e.options.create)
    check_may_make(e, own)
    plan.tree:symlink(e.link, plan.root, path, parents)
    if own then plan:declare_link(path, e.link) end
  end,
}

verbs.mask = {
  parameters = { target }, options = { optional = check.boolean },
  summary = function(e) return "mask " .. e.target end, flags = "empty",
  doc = "Covers a file or directory by an empty one that nobody can read or change.",
  record = function(e, plan)
    local path = plan:resolve(e.target)
    local masks = plan:masks()
    if e.options.optional then plan.tree:optional("ENOENT", "ENOTDIR") end
    plan.tree:mask(masks, plan.root, path)
  end,
}

-- -- the running system --

-- Of /etc only what programs need to start and look things up; nothing that is anybody's data.
local ETC <const> = {
  "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs",
  "/etc/services", "/etc/protocols",
}
local TOP <const> = { "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" }

local NSSWITCH <const> = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"

--- A directory or file of the host as it is there: a symbolic link, or shared.
local function like_host(list, path)
  local link = sys.readlink(path)
  if link then list[#list + 1] = inner("symlink", path, { link = link })
  elseif sys.lstat(path) then list[#list + 1] = inner_ro(path) end
end

local function add_etc(list, plan)
  for _, path in ipairs(ETC) do
    if sys.stat(path) then list[#list + 1] = inner_ro(path, { optional = true }) end
  end
  like_host(list, "/etc/localtime")
  local host = plan.hostname and (" " .. plan.hostname) or ""
  local files = {
    passwd = plan.identity:passwd(), group = plan.identity:group(), ["nsswitch.conf"] = NSSWITCH,
    hosts = "127.0.0.1 localhost" .. host .. "\n::1 localhost" .. host .. "\n",
  }
  for _, name in ipairs { "passwd", "group", "hosts", "nsswitch.conf" } do
    list[#list + 1] = inner("file", "/etc/" .. name, { content = files[name] })
  end
  if plan.net == "host" then list[#list + 1] = inner_ro("/etc/resolv.conf", { optional = true }) end
end

verbs.os = {
  parameters = {}, options = {}, summary = function() return "os" end,
  doc = "The running system's programs and libraries, read-only; of /etc only what programs need, with "
    .. "the sandbox's own users; /proc, /dev, private /tmp and /run, an empty home. Nothing of anybody's data.",
  expand = function(_, plan)
    local list = { inner_ro "/usr" }
    for _, directory in ipairs(TOP) do like_host(list, directory) end
    add_etc(list, plan)
    if plan.new.pid then list[#list + 1] = inner("proc", "/proc") end
    list[#list + 1] = inner("dev", "/dev")
    list[#list + 1] = inner_dir("/tmp", TMPFS_MODE, { writable = true })
    list[#list + 1] = inner_dir("/run", nil, { writable = true })
    list[#list + 1] = inner("symlink", "/var/tmp", { link = "../tmp" })
    list[#list + 1] = inner("symlink", "/var/run", { link = "../run" })
    list[#list + 1] = inner_dir(plan.identity.home, 448, { writable = true })
    plan.home = plan.identity.home
    return list
  end,
}

for name, verb in pairs(verbs) do
  verb.name = name
  fs[name] = entry.constructor(verb)
end

--- The rows, for the reference; not a verb.
return setmetatable(fs, { __index = { verbs = verbs } })
