--- Landlock: what a recipe may say of it, and the belt that holds when it says nothing.
--
-- The belt is one rule, "all beneath the root", and the scopes: it changes nothing for a payload that is where it
-- should be, and makes what should never have got there useless: a directory of the host that leaked in, a socket
-- of the host's, a signal to it.
-- @module nslua.landlock
local Error = require "nslua.error"
local check = require "nslua.check"
local sys = require "nslua.sys"

local M = {}

--- What the versions of the interface have brought.
local VERSIONS <const> = {
  {
    abi = 1, linux = "5.13", files = {
      "execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char", "make_dir", "make_reg",
      "make_sock", "make_fifo", "make_block", "make_sym",
    },
  },
  { abi = 2, linux = "5.19", files = { "refer" } },
  { abi = 3, linux = "6.2", files = { "truncate" } },
  { abi = 4, linux = "6.7", ports = { "bind", "connect" } },
  { abi = 5, linux = "6.10", files = { "ioctl_dev" } },
  { abi = 6, linux = "6.12", scopes = { "abstract_unix", "signal" } },
}
local KINDS <const> = { "files", "ports", "scopes" }

--- The fields that are lists of paths: the rights that each gives.
local LISTS <const> = {
  { name = "ro", rights = { read_file = true, read_dir = true } },
  { name = "exec", rights = { read_file = true, read_dir = true, execute = true } },
  { name = "rw", without = "execute" },
}
local SCOPES <const> = VERSIONS[#VERSIONS].scopes
local SIGNAL <const> = sys.flags("landlock_scopes", { "signal" })

-- -- the field --

local optional_path = check.record { path = check.source, optional = check.boolean }

--- A path, or { path, optional = true }.
local function path(value)
  if type(value) ~= "table" then
    local good, problem = check.source(value)
    return good and { path = good }, problem and problem .. ", or { path, optional = true }"
  end
  local good, problem = optional_path(check.first_named(value, "path"))
  if good and good.path then return good end
  return nil, problem or "{ path, optional = true }"
end

local function port(value)
  if math.type(value) == "integer" and value >= 0 and value <= 65535 then return value end
  return nil, "a port, from 0 to 65535"
end

M.type = check.any_of(check.one_of { "default", false }, check.record {
  ro = check.list_of(path), rw = check.list_of(path), exec = check.list_of(path), bind = check.list_of(port),
  connect = check.list_of(port), scope = check.list_of(check.one_of(SCOPES)), best_effort = check.boolean,
})

-- -- what there is --

local abi

--- The version of the kernel's interface; 0 when there is none.
function M.abi()
  abi = abi or sys.landlock_abi() or 0
  return abi
end

--- The version that brought a right.
local function version_of(kind, name)
  for _, version in ipairs(VERSIONS) do
    for _, one in ipairs(version[kind] or {}) do
      if one == name then return version end
    end
  end
end

--- All names of a kind, in order.
local function names_of(kind)
  local names = {}
  for _, version in ipairs(VERSIONS) do
    for _, name in ipairs(version[kind] or {}) do names[#names + 1] = name end
  end
  return names
end

-- -- the policy of a recipe --

--- What a recipe wants, before the kernel is asked: rights to handle by kind, and which of the kinds it named itself.
local function wishes(wanted, beneath_root)
  local own_files = wanted.ro or wanted.rw or wanted.exec
  return {
    files = (own_files or beneath_root) and names_of "files" or {},
    ports = { wanted.bind and "bind", wanted.connect and "connect" or nil },
    scopes = wanted.scope or SCOPES,
  }, { files = own_files, ports = true, scopes = wanted.scope }
end

--- Leaves out what the kernel has not. What the recipe did not name itself may lack.
-- @treturn table rights by kind
-- @treturn table what is lost, as texts
-- @treturn ?string the first that is lost although the recipe names it
local function negotiate(wished, named)
  local handled, lost, missed = {}, {}, nil
  for _, kind in ipairs(KINDS) do
    handled[kind] = {}
    for _, name in pairs(wished[kind]) do
      local version = version_of(kind, name)
      if version.abi <= M.abi() then table.insert(handled[kind], name)
      else
        lost[#lost + 1] = name
        missed = missed or named[kind] and ("%s needs Linux %s (Landlock ABI %d), and here it is %s"):format(name,
          version.linux, version.abi, M.abi() == 0 and "missing" or "ABI " .. M.abi()) or nil
      end
    end
  end
  return handled, lost, missed
end

--- The rights of a list that are handled.
local function rights_of(list, handled)
  local rights = {}
  for _, name in ipairs(handled) do
    if list.rights and list.rights[name] or list.without and name ~= list.without then rights[#rights + 1] = name end
  end
  return rights
end

--- Opens the path of a rule. Symbolic links are followed where the system or the recipe made them, as /lib64; but not
-- in a tree that the recipe shares: who may write there would say what the rule covers.
local function open_path(plan, named)
  if not plan.new.mount then return plan.steps_:look_up(named) end
  local resolved = plan:resolve(check.target(named))
  if plan:in_given(resolved) then return plan.steps_:open(plan.root, resolved, "path") end
  return plan.steps_:look_up(resolved)
end

local function record_paths(plan, ruleset, wanted, handled)
  local steps = plan.steps_
  for _, list in ipairs(LISTS) do
    local rights = rights_of(list, handled)
    for _, item in ipairs(wanted[list.name] or {}) do
      plan:owner(("landlock %s %s"):format(list.name, item.path))
      if item.optional then steps:optional("ENOENT", "ENOTDIR") end
      local fd = open_path(plan, item.path)
      steps:landlock_beneath(ruleset, fd, rights)
      steps:close(fd)
    end
  end
end

local function record_ports(plan, ruleset, wanted, handled)
  for _, name in ipairs(handled) do
    for _, number in ipairs(wanted[name]) do plan.steps_:landlock_port(ruleset, number, name) end
  end
end

local function paths_of(list)
  local paths = {}
  for i, item in ipairs(list or {}) do paths[i] = item.path end
  return list and paths
end

--- What holds of a recipe's wishes on this kernel: `enforced`, for the result; `rights`, a mask by kind; `wanted`.
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] nslua.error
local function policy_of(wanted, beneath_root)
  local wished, named = wishes(wanted, beneath_root)
  local handled, lost, missed = negotiate(wished, named)
  if missed and not wanted.best_effort then
    return nil, Error.new { step = "landlock", reason = missed, hint = "best_effort = true does without, and the result says so" }
  end
  local rights = {}
  for _, kind in ipairs(KINDS) do rights[kind] = sys.flags("landlock_" .. kind, handled[kind]) end
  return {
    wanted = wanted, rights = rights, handled = handled, listed = named.files,
    enforced = {
      abi = M.abi(), files = rights.files ~= 0 and (named.files and "listed" or "beneath /") or nil, rights = handled.files,
      ro = paths_of(wanted.ro), rw = paths_of(wanted.rw), exec = paths_of(wanted.exec), bind = wanted.bind,
      connect = wanted.connect, scope = handled.scopes, lost = #lost > 0 and lost or nil,
    },
  }
end

local belts = {}

--- The policy of a recipe, or of the belt, which is the same for all.
-- @tparam ?table wanted the field
-- @tparam boolean beneath_root whether the default rule is to hold
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] nslua.error
function M.policy(wanted, beneath_root)
  beneath_root = beneath_root and M.abi() >= 2 -- before, nothing could be renamed any more
  if type(wanted) == "table" then return policy_of(wanted, beneath_root) end
  local key = M.abi() * 2 + (beneath_root and 1 or 0)
  belts[key] = belts[key] or policy_of({}, beneath_root)
  return belts[key]
end

--- Records making the ruleset, in the stage, which reaches all that the payload does.
-- @tparam nslua.plan plan
-- @tparam table policy
-- @treturn ?register the ruleset; nil where nothing is to be refused
-- @treturn boolean whether a second one is to keep the payload from signalling the reaper
function M.record(plan, policy)
  local rights, handled, steps = policy.rights, policy.handled, plan.steps_
  if rights.files | rights.ports | rights.scopes == 0 then return nil, false end
  plan:owner "landlock"
  local ruleset = steps:landlock_ruleset(rights.files, rights.ports, rights.scopes)
  if policy.listed then record_paths(plan, ruleset, policy.wanted, handled.files)
  elseif rights.files ~= 0 then steps:landlock_beneath(ruleset, plan.root, rights.files) end
  for _, stream in ipairs(rights.files ~= 0 and plan.streams or {}) do
    steps:landlock_opened(ruleset, stream, rights.files)
  end
  record_ports(plan, ruleset, policy.wanted, handled.ports)
  plan:owner "landlock"
  return ruleset, rights.scopes & SIGNAL ~= 0 and not plan.new.pid
end

--- Records the second one, in the payload's process.
function M.record_guard(section) section:landlock_restrict(section:landlock_ruleset(0, 0, SIGNAL)) end

--- Records that a descriptor may be opened again that a run passes, as by /dev/fd/3; or all beneath a directory.
-- @param section of a plan, before it restricts
-- @param ruleset its register
-- @tparam table rights that the ruleset handles
-- @param register of the descriptor
-- @tparam boolean directory
function M.record_passed(section, ruleset, rights, register, directory)
  if #rights == 0 then return end
  if directory then section:landlock_beneath(ruleset, register, rights)
  else section:landlock_opened(ruleset, register, rights) end
end

local OF_PROGRAMS <const> = { execute = true, read_file = true }

--- Records that a program may be executed that a run has by an fd. One that is in no tree, as a memfd, nothing keeps from it.
-- @param section as above; ruleset, rights, register likewise
function M.record_program(section, ruleset, rights, register)
  local allowed = {}
  for _, right in ipairs(rights) do
    if OF_PROGRAMS[right] then allowed[#allowed + 1] = right end
  end
  if #allowed > 0 then section:tolerate("EBADFD"):landlock_beneath(ruleset, register, allowed) end
end

-- -- in words --

--- What holds, for explain.
function M.words(enforced)
  if not enforced then return "none" end
  local parts = {}
  if enforced.files == "beneath /" then parts[1] = "what is beneath the root" end
  for _, list in ipairs(LISTS) do
    local paths = enforced[list.name]
    if paths then parts[#parts + 1] = list.name .. " " .. (#paths > 0 and table.concat(paths, " ") or "nothing") end
  end
  for _, name in ipairs { "bind", "connect" } do
    if enforced[name] then
      local ports = #enforced[name] > 0 and "port " .. table.concat(enforced[name], " ") or "no port"
      parts[#parts + 1] = name .. " to " .. ports
    end
  end
  if #enforced.scope > 0 then parts[#parts + 1] = "scope " .. table.concat(enforced.scope, " ") end
  if enforced.lost then parts[#parts + 1] = "without " .. table.concat(enforced.lost, " ") end
  return ("%s (ABI %d)"):format(#parts > 0 and table.concat(parts, "; ") or "nothing", enforced.abi)
end

return M
