--- Verbs that share what the host has: ro, rw, device, image, host.
local check = require "nslua.check"
local overlay = require "nslua.verbs.overlay"
local tree = require "nslua.verbs.tree"
local verb = require "nslua.verb"

local rows = verb.rows

local function target_like_source(e) return type(e.source) == "string" and e.source or nil end
local parameters = { verb.source, { name = "target", type = check.target, default = target_like_source } }

local bind_options = verb.options {
  optional = check.boolean, recursive = check.boolean, exec = check.boolean, suid = check.boolean,
  dev = check.boolean, atime = tree.atime, mode = check.mode, from_fd = verb.fd, idmap = tree.idmap,
  propagation = tree.propagation, follow = check.boolean,
}

local function summary(e) return ("bind %s on %s"):format(e:source_words(), e.target) end

rows.ro = {
  parameters = parameters, options = bind_options, summary = summary, flags = "ro", bind = true,
  doc = "Shares a directory or file of the host, read-only with everything mounted below it. The source is a path, "
    .. "or an fd or Lua file of what is to be shared.",
  mount = function(e, plan) return tree.clone(e, plan, { read_only = true }) end,
}

rows.rw = {
  parameters = parameters, options = bind_options, summary = summary, flags = "rw", bind = true,
  writes = function(e) return e.source end,
  doc = "The same, writable. For root, what its owner owns belongs to the sandbox's user inside, and what is made "
    .. "there to that owner; so the payload can make no set-user-id or set-group-id file anywhere. But the content of one that "
    .. "is there already it can change, as its owner can. Where another source lies in this one no link is followed on the way "
    .. "to it, for an earlier run may have made it, unless that entry says `follow`.",
  mount = function(e, plan) return tree.clone(e, plan, {}) end,
}

rows.device = {
  parameters = parameters,
  options = verb.options { optional = check.boolean, mode = check.mode, from_fd = verb.fd },
  summary = function(e) return ("device %s on %s"):format(e:source_words(), e.target) end, flags = "rw,dev", bind = true,
  doc = "Shares a device node of the host, as \"/dev/kvm\".",
  mount = function(e, plan)
    local node = tree.open(e, plan, "clone")
    local number = e.number or {}
    plan.sources:expect_device(node, number[1] and "char", number[1], number[2])
    plan.sources:mount_setattr(node, nil, { "nosuid", "noexec" }, nil, "private")
    return node
  end,
}

rows.image = {
  parameters = { verb.source },
  options = {
    optional = check.boolean, recursive = check.boolean, exec = check.boolean, suid = check.boolean,
    dev = check.boolean, atime = tree.atime, from_fd = verb.fd, idmap = tree.idmap, propagation = tree.propagation,
    upper = check.one_of { "tmp" }, size = verb.size, inodes = check.count,
  },
  summary = function(e) return "image " .. e:source_words() end, target = "/", bind = true,
  flags = function(e) return e.options.upper and "overlay" or "ro" end,
  own = function(e) return e.options.upper and "layered" end,
  doc = "A directory as the root, read-only; with `upper = \"tmp\"` under a throw-away overlay: what is written stays in "
    .. "memory and is gone with the sandbox. As with `rw`, root's payload can then read what only the owner of it may.",
  mount = function(e, plan)
    if e.options.upper then return overlay.record(e, plan, { e.options.from_fd or e.source }, e.options.upper) end
    return tree.clone(e, plan, { read_only = true })
  end,
}

rows.host = {
  parameters = {}, options = { propagation = tree.propagation, recursive = check.boolean },
  summary = function() return "host /" end, flags = "as the host", target = "/", bind = true,
  doc = "The host's whole tree, as it is.",
  mount = function(e, plan)
    local recursive = e.options.recursive ~= false and "recursive" or nil
    local root = plan.sources:open_tree(nil, "/", { "clone", recursive })
    plan.sources:mount_setattr(root, nil, { "nosuid" }, nil, e.options.propagation or "private", recursive)
    return root
  end,
}
