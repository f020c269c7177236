--- A compiled recipe as a tree for people, or as JSON for machines.
-- @module nslua.explain
local json = require "nslua.json"
local landlock = require "nslua.landlock"
local lint = require "nslua.lint"
local names = require "nslua.names"
local seccomp = require "nslua.seccomp"
local sys = require "nslua.sys"

local M = {}

local LIFETIMES <const> = { maker = "its maker", detached = "itself (detached)", last = "its last process (detached)" }

local function warnings_of(ready)
  local texts = {}
  for i, warning in ipairs(lint.of(ready)) do texts[i] = tostring(warning) end
  return texts
end

--- Everything that is shown, as plain data.
local function facts_of(title, ready)
  local recipe, identity = ready.recipe, ready.identity
  local files = {}
  for i, item in ipairs(ready.entries) do
    files[i] = { depth = item.depth, verb = item.verb.name, source = item.source and item:source_words(),
      target = item.verb.target or item.target, flags = item:flags_in(ready.plan), link = item.link,
      optional = item.options.optional, at = item.at }
  end
  local joined = {}
  for kind, handle in pairs(ready.joined) do joined[kind] = tostring(handle) end
  return {
    sandbox = title, namespaces = { new = names.sorted(ready.new), joined = joined },
    user = {
      uid = identity.uid, gid = identity.gid, uid_map = identity.uid_map or identity.map and "by a function",
      gid_map = identity.gid_map or identity.map and "by a function",
      inner = identity.inner and (identity.inner == true and "new" or "joined"),
    },
    hostname = ready.hostname, domainname = recipe.domainname, net = ready.plan.net, files = files,
    capabilities = names.capabilities(ready.held.permitted), no_new_privs = recipe.no_new_privs ~= false,
    nesting = recipe.nesting or false,
    seccomp = seccomp.words(ready.filters), landlock = landlock.words(ready.landlock),
    env = ready.env, cwd = type(ready.cwd) == "table" and table.concat(ready.cwd, ", ") or ready.cwd,
    umask = ("%03o"):format(recipe.umask or 18), clock = recipe.clock,
    warnings = warnings_of(ready),
    own_pids = ready.new.pid or false, init = recipe.init ~= false and (recipe.init or true), session = recipe.session ~= false,
    lifetime = recipe.lifetime or "maker",
    limits = recipe.limits, control_groups = ready.groups and ready.groups.held, scheduling = recipe.scheduling,
    command = recipe.command, operations = #sys.decode((ready.sources or "") .. ready.operations),
  }
end

-- -- as a tree --

local function escape(value) return sys.escape(tostring(value)) end

--- A line and the lines below it: { text, … }
local function file_node(file, width)
  local what = ({ symlink = "-> " .. tostring(file.link), ro = file.source, rw = file.source, device = file.source,
    image = file.source })[file.verb]
  if what == file.target then what = nil end
  local words = { file.verb .. (file.flags and file.flags ~= file.verb and " (" .. file.flags .. ")" or "") }
  if what then words[#words + 1] = what end
  if file.optional then words[#words + 1] = "if it exists" end
  if file.at and file.depth == 0 then words[#words + 1] = file.at end
  local target = file.target or "fs." .. file.verb .. "()"
  return { escape(target) .. (" "):rep(math.max(width - #target, 0) + 2) .. escape(table.concat(words, "  ")) }
end

--- Nests the files by the depth of the verbs that added them.
local function file_nodes(files)
  local width, open = 0, { [0] = {} }
  for _, file in ipairs(files) do width = math.max(width, math.min(#(file.target or ""), 36)) end
  for _, file in ipairs(files) do
    local node = file_node(file, width)
    table.insert(open[file.depth], node)
    open[file.depth + 1] = node
  end
  return open[0]
end

local function environment_lines(env)
  local lines = {}
  for i, name in ipairs(names.sorted(env)) do lines[i] = escape(name .. "=" .. env[name]) end
  return lines
end

--- A map line "1000 1879048192 1" in words.
local function map_words(map)
  return (map or "as the caller"):gsub("(%d+) (%d+) (%d+)", function(inside, outside, count)
    return count == "1" and ("%s is %s outside"):format(inside, outside)
      or ("%s–%d are %s–%d outside"):format(inside, inside + count - 1, outside, outside + count - 1)
  end):gsub("\n", ", ")
end

--- A limit's value: soft and hard, numbers of CPUs, a table by name, or a number.
local function value_words(value)
  if type(value) ~= "table" then return value == -1 and "unlimited" or ("%.14g"):format(value) end
  if value.soft then
    return value.soft == value.hard and value_words(value.soft) or value_words(value.soft) .. " to " .. value_words(value.hard)
  end
  if #value > 0 then return table.concat(value, " ") end
  local words = {}
  for i, key in ipairs(names.sorted(value)) do words[i] = key .. " " .. value_words(value[key]) end
  return table.concat(words, " ")
end

--- @param held what control groups hold, and what stands in for them
local function limit_words(limits, held)
  local words = {}
  for _, name in ipairs(names.sorted(limits)) do
    local by = held[name] and (" (%s)"):format(held[name].reason and held[name].by .. ": " .. held[name].reason or held[name].by)
    if name ~= "best_effort" then
      words[#words + 1] = name .. " " .. value_words(limits[name]) .. (name == "time" and "s" or "") .. (by or "")
    end
  end
  return words
end

--- How each key of the field reads.
local SCHEDULING <const> = {
  nice = function(value) return ("nice %d"):format(value) end,
  ionice = function(value) return "I/O " .. value.class .. (value.level and " " .. value.level or "") end,
  oom_score_adj = function(value) return ("OOM score %+d"):format(value) end,
  affinity = function(value) return (#value == 1 and "CPU " or "CPUs ") .. table.concat(value, " ") end,
  core = function(value) return value and "shares no core" or "shares its cores" end,
}

local function scheduling_words(scheduling)
  local words = {}
  for i, name in ipairs(names.sorted(scheduling)) do words[i] = SCHEDULING[name](scheduling[name]) end
  return table.concat(words, ", ")
end

local INNER <const> = {
  new = "and then in a user namespace of its own below that", joined = "and then in another user namespace, which is joined",
}

local function yes_no(value) return value and "yes" or "no" end

local function branches(facts)
  local list = {}
  local function branch(name, text, below)
    list[#list + 1] = { name .. (" "):rep(12 - #name) .. (text or ""), table.unpack(below or {}) }
  end
  local joined = {}
  for _, kind in ipairs(names.sorted(facts.namespaces.joined)) do
    joined[#joined + 1] = kind .. " joined from " .. escape(facts.namespaces.joined[kind])
  end
  branch("namespaces", #facts.namespaces.new > 0 and "new: " .. table.concat(facts.namespaces.new, " ") or "none new", joined)
  branch("user", ("uid %d, gid %d"):format(facts.user.uid, facts.user.gid), {
    "uid " .. map_words(facts.user.uid_map), "gid " .. map_words(facts.user.gid_map), INNER[facts.user.inner],
  })
  if facts.hostname then branch("hostname", escape(facts.hostname)) end
  branch("net", facts.net)
  branch("files", #facts.files == 0 and "as the caller" or "", file_nodes(facts.files))
  branch("privileges", ("capabilities: %s; no new ones: %s; nested sandboxes: %s"):format(
    #facts.capabilities > 0 and table.concat(facts.capabilities, " ") or "none", yes_no(facts.no_new_privs),
    facts.nesting == "impossible" and "no, or it does not start" or yes_no(facts.nesting)))
  branch("seccomp", facts.seccomp)
  branch("landlock", escape(facts.landlock))
  branch("env", "", environment_lines(facts.env))
  branch("cwd", escape(facts.cwd or "the caller's"))
  if facts.limits then branch("limits", "", limit_words(facts.limits, facts.control_groups or {})) end
  if facts.scheduling then branch("scheduling", scheduling_words(facts.scheduling)) end
  for _, clock in ipairs(names.sorted(facts.clock or {})) do branch("clock", ("%s %+d s"):format(clock, facts.clock[clock])) end
  branch("process", ("%s; own session: %s; ends with %s"):format(not facts.own_pids and "no PIDs of its own"
    or facts.init and "PID 1 is the reaper" .. (facts.init == "visible" and ", which can be looked into from outside" or "")
    or "PID 1 is the payload", yes_no(facts.session),
    LIFETIMES[facts.lifetime]))
  if facts.command then branch("command", escape(table.concat(facts.command, " "))) end
  if #facts.warnings > 0 then branch("warnings", "", facts.warnings) end
  return list
end

--- Draws nodes; a node is a text, or a list of a text and nodes.
local function draw(nodes, first, prefix, out)
  for i = first, #nodes do
    local node, last = nodes[i], i == #nodes
    out[#out + 1] = prefix .. (last and "└─ " or "├─ ") .. (type(node) == "table" and node[1] or node)
    if type(node) == "table" then draw(node, 2, prefix .. (last and "   " or "│  "), out) end
  end
end

local function render_tree(facts)
  local out = { facts.sandbox }
  draw(branches(facts), 1, "", out)
  return (table.concat(out, "\n"):gsub(" +\n", "\n"))
end

function M.render(title, ready, options)
  local facts = facts_of(title, ready)
  return options.json and json.encode(facts) or render_tree(facts)
end

return M
