--- What the verbs of `fs` share: the table of their rows, parameters and options, entries made of others.
--
-- A verb is a row: `parameters` and `options` (types of nslua.check), `summary` (its words in errors and
-- explain), `doc`, and one of: `mount` (records the making of a detached mount, which is then attached at
-- the target; `after` may follow), `record` (records what it does in the tree), or `expand` (gives other
-- entries). `own` says whether things may be created in it ("bare" or "layered", see plan:place); `needs`
-- a namespace that has to be new; `bind` that it shares what the host has at `source`; `repeats` that it acts
-- on what another entry has put at the same target; `writes` gives of an entry what the payload can write of the host's;
-- `sealed` that it becomes read-only at the end where it is the root; `flags` are words for explain.
-- @module nslua.verb
local Error = require "nslua.error"
local check = require "nslua.check"
local entry = require "nslua.entry"
local sys = require "nslua.sys"

local M = { rows = {} }

-- -- parameters and options --

--- An fd, a handle or a Lua file: the recipe keeps a copy of its own.
function M.fd(value)
  local ok, fd = pcall(sys.duplicate, value)
  if ok and fd then return fd end
  return nil, "an open fd or file"
end

--- A path of the host, or a handle or Lua file.
local function source(value)
  if type(value) == "userdata" then return M.fd(value) end
  return check.source(value)
end

M.source = { name = "source", type = source }
M.target = { name = "target", type = check.target }

function M.target_or(path)
  return { name = "target", type = check.target, default = function() return path end }
end

--- How the symbolic links of a foreign tree that are on the way to a target are taken: without this they are refused.
M.links = check.one_of { "inside" }

--- What every verb takes that may have to make its mount point or the directories on the way; and `over`, with which it
--- may come over what an earlier entry has put there.
M.making = { create = check.boolean, parents = check.mode, over = check.boolean, links = M.links }

--- Options of a verb: those of `making` and its own.
function M.options(own)
  local options = {}
  for name, accepts in pairs(M.making) do options[name] = accepts end
  for name, accepts in pairs(own or {}) do options[name] = accepts end
  return options
end

-- -- sources --

--- The fd that a source is given by, or nil when it is a path.
function M.fd_of(e)
  return e.options.from_fd or type(e.source) == "userdata" and e.source or nil
end

--- sys.stat of a source, or nil; of its `owner` where another path says whom it belongs to.
function M.status(e)
  local fd = M.fd_of(e)
  if fd then return sys.fstat(fd) end
  return sys.stat(e.owner or e.source)
end

-- -- memory --

local TMPFS_SIZE <const>, TMPFS_INODES <const> = 256 << 20, 65536

--- How large a tmpfs may become: bytes, or half of the memory, as the kernel's own default is.
M.size = check.any_of(check.size, check.one_of { "half" })

--- The parameters of a tmpfs that limit it, by the options size and inodes.
function M.limits(options)
  local half = options.size == "half"
  return not half and { "size", ("%d"):format(options.size or TMPFS_SIZE) },
    (options.inodes or not half) and { "nr_inodes", ("%d"):format(options.inodes or TMPFS_INODES) }
end

-- -- mistakes that only show when a recipe is compiled --

function M.mistake(e, message, ...)
  error(Error.misuse { { at = e.at, message = ("fs.%s: "):format(e.verb.name) .. message:format(...) } })
end

--- Ids that the options name must mean something in the sandbox; and to give things away takes a capability.
function M.check_owner(e, plan)
  for _, kind in ipairs { "uid", "gid" } do
    local id = e.options[kind]
    if id and not plan.identity:host_id(kind, id) then
      M.mistake(e, "%s %d is not mapped in the sandbox (see the field user)", kind, id)
    end
    if id and id ~= plan.identity[kind] then plan:need "chown" end
  end
end

--- Nothing is made in a tree of the host unasked.
function M.check_may_make(e, own)
  if own or e.options.create then return end
  M.mistake(e, "%s lies in a tree of the host; { create = true } makes it there", e.target)
end

-- -- entries that verbs make of others --

function M.inner(name, target, fields)
  fields = fields or {}
  fields.target = target
  return entry.make(M.rows[name], fields)
end

function M.inner_ro(path, options) return M.inner("ro", path, { source = path, options = options }) end

function M.inner_dir(path, mode, options)
  options = options or {}
  options.mode = mode
  return M.inner("dir", path, { options = options })
end

return M
