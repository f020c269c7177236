--- Verbs of single things in the sandbox's tree: file, dir, symlink, mask, remount.
local check = require "nslua.check"
local tree = require "nslua.verbs.tree"
local verb = require "nslua.verb"

local rows = verb.rows

--- What is at a path gets the owner that the options name.
local function record_owner(e, plan, section, root, path)
  local uid, gid = e.options.uid, e.options.gid
  verb.check_owner(e, plan)
  if uid or gid then section:chown(root, path, uid or -1, gid or -1, e.options.links) end
end

-- -- file --

--- Text; what is left of a Lua file, read now; or a function that gives it when the recipe is compiled.
local function content(value)
  if type(value) == "string" or type(value) == "function" then return value end
  if io.type(value) == "file" then
    local text = value:read "a"
    if text then return text end
  end
  return nil, "a string, a file to read, or a function that gives a string"
end

local function text_of(e)
  if type(e.content) == "string" then return e.content end
  local text = e.content()
  if type(text) ~= "string" then verb.mistake(e, "the function gave %s, not a string", check.describe(text)) end
  return text
end

--- Whether it is written into the tree there, not mounted on its target.
local function is_written(e, own)
  local place = e.options.place
  return place == "tree" or not place and own == "bare" and not e.options.writable
end

rows.file = {
  parameters = { verb.target, { name = "content", type = content } },
  options = verb.options {
    mode = check.mode, uid = check.id, gid = check.id, writable = check.boolean, exec = check.one_of { true },
    place = check.one_of { "mount", "tree" },
  },
  summary = function(e) return "file " .. e.target end,
  flags = function(e) return e.options.writable and "rw" or "ro" end,
  doc = "A file with this content, in memory, of mode 0444 unless `mode` says otherwise. The content is a string, a Lua file, "
    .. "read at once, or a function that gives it when the recipe is compiled. In trees that are not the recipe's own, and "
    .. "where it is `writable` or not to be so, it is mounted on the target, noexec unless `exec` is true; `place` says which: "
    .. "`\"mount\"` always, and `\"tree\"` never: it is written there, with `create` also into a tree of the host, and with "
    .. "`over` into a file that is there.",
  record = function(e, plan)
    local path, parents, own = plan:resolve(e.target, e.options)
    local mode, writable, text = e.options.mode or 292, e.options.writable, text_of(e)
    if is_written(e, own) then
      verb.check_may_make(e, own)
      plan.tree:write_file(plan.root, path, text, mode, parents, e.options.links, e.options.over and "over")
      record_owner(e, plan, plan.tree, plan.root, path)
    else
      local file, name = plan:stored_file(text, mode, writable, e.options.exec)
      record_owner(e, plan, plan.mounts, plan.stored, name)
      plan:place(file, e.target, e.options)
    end
  end,
}

-- -- dir and symlink --

rows.dir = {
  parameters = { verb.target },
  options = verb.options {
    mode = check.mode, writable = check.boolean, exec = check.boolean, uid = check.id, gid = check.id,
  },
  summary = function(e) return "directory " .. e.target end,
  flags = function(e) return e.options.writable and "rw" or nil end,
  doc = "A directory, of mode 0755 unless `mode` says otherwise; its parents are made too. With `writable` "
    .. "it stays so when the root becomes read-only; all such directories share the root's size (256M).",
  record = function(e, plan)
    local path, parents, own = plan:resolve(e.target, e.options)
    local links = e.options.links
    verb.check_may_make(e, own)
    if own then
      plan.tree:directory(plan.root, path, e.options.mode, parents, links)
      record_owner(e, plan, plan.tree, plan.root, path)
    else
      -- What the host has there already stays as it is.
      if e.options.uid or e.options.gid then verb.mistake(e, "what is made in a tree of the host belongs to who makes it") end
      plan.tree:tolerate("EEXIST"):mkdir(plan.root, path, e.options.mode or 493, parents, links)
      plan.tree:open(plan.root, path, { "path", "directory" }, links)
    end
    if not e.options.writable then return end
    local clone = plan.tree:open_tree(plan.tree:open(plan.root, path, "path", links), nil, "clone")
    if e.options.exec == false then plan.tree:mount_setattr(clone, nil, "noexec") end
    plan:place(clone, e.target, e.options, own)
  end,
}

rows.symlink = {
  parameters = { { name = "link", type = check.text }, verb.target }, options = verb.options(),
  summary = function(e) return ("symlink %s to %s"):format(e.target, e.link) end,
  doc = "A symbolic link: first what it leads to, then where it is.",
  record = function(e, plan)
    local path, parents, own = plan:resolve(e.target, e.options, true)
    verb.check_may_make(e, own)
    plan.tree:symlink(e.link, plan.root, path, parents, e.options.links)
    if own then plan:declare_link(path, e.link) end
  end,
}

-- -- what is there already --

rows.chmod = {
  parameters = { verb.target, { name = "mode", type = check.mode } },
  options = { create = check.boolean, links = verb.links },
  summary = function(e) return ("chmod %03o %s"):format(e.mode, e.target) end, repeats = true, at_root = true,
  doc = "Gives what is there other permissions; with `create` also in a tree of the host.",
  record = function(e, plan)
    local path, _, own = plan:resolve(e.target, e.options)
    verb.check_may_make(e, own)
    plan.tree:chmod(plan.root, path, e.mode, e.options.links)
  end,
}

rows.lock = {
  parameters = { verb.target }, options = {},
  summary = function(e) return "lock " .. e.target end, repeats = true,
  doc = "Holds a lock on a file for reading, as of fcntl(2), until nothing of the sandbox is left: who updates what it uses can "
    .. "see that. Links are followed inside the finished sandbox. Not with `init = false`.",
  record = function(e, plan)
    if plan.payload_is_init then verb.mistake(e, "with init = false there is nobody to hold it") end
    local file = plan.steps_:open(nil, e.target, { "read", "nonblock" })
    plan.steps_:read_lock(file)
    plan.steps_:keep(file)
  end,
}

rows.mask = {
  parameters = { verb.target }, options = { optional = check.boolean, links = verb.links },
  summary = function(e) return "mask " .. e.target end, flags = "empty", repeats = true,
  doc = "Covers a file or directory by an empty one that nobody can read or change.",
  record = function(e, plan)
    local path = plan:resolve(e.target, e.options)
    local masks = plan:masks()
    if e.options.optional then plan.tree:optional("ENOENT", "ENOTDIR") end
    plan.tree:mask(masks, plan.root, path, e.options.links)
  end,
}

-- What remount has that is no attribute.
local OTHER <const> = { recursive = true, optional = true, links = true }

--- What remount sets and clears: names of mount_attributes.
local function changes(options)
  local set, clear = {}, {}
  local function attribute(name, on)
    if on == nil then return end
    local list = on and set or clear
    list[#list + 1] = name
  end
  local function negated(value) if value == nil then return nil end return not value end
  attribute("ro", options.ro == nil and next(options) == nil or options.ro)
  attribute("nosuid", negated(options.suid))
  attribute("nodev", negated(options.dev))
  attribute("noexec", negated(options.exec))
  if options.atime then clear[#clear + 1] = "atime" end
  if options.atime and options.atime ~= "relatime" then set[#set + 1] = options.atime end
  return set, clear
end

rows.remount = {
  parameters = { verb.target },
  options = {
    optional = check.boolean, recursive = check.boolean, ro = check.boolean, exec = check.boolean, suid = check.boolean,
    dev = check.boolean, atime = tree.atime, links = verb.links,
  },
  summary = function(e) return "remount " .. e.target end,
  flags = function(e) return table.concat(changes(e.options), ",") end, repeats = true, at_root = true,
  doc = "Changes what is there already, with all that is mounted below it unless `recursive = false`: read-only when nothing "
    .. "else is said. A directory or file that is no mount becomes one.",
  record = function(e, plan)
    local options = {}
    for name, value in pairs(e.options) do
      if not OTHER[name] then options[name] = value end
    end
    local set, clear = changes(options)
    local path, _, own = plan:resolve(e.target, e.options)
    local links = e.options.links
    local recursive = e.options.recursive ~= false and "recursive" or nil
    if path == "/" then
      -- Not before the old root is gone, which still lies below it.
      plan.late[#plan.late + 1] = function(seals) seals:mount_setattr(plan.root, nil, set, clear, nil, recursive) end
    elseif plan.mounted[path] ~= nil then
      local at = plan.tree:open(plan.root, path, "path", links)
      plan.tree:mount_setattr(at, nil, set, clear, nil, recursive)
    else
      if e.options.optional then plan.tree:optional("ENOENT", "ENOTDIR") end
      plan:cover_with_itself(plan.root, path, set, clear, recursive, links)
      plan:declare_mount(path, own)
    end
  end,
}
