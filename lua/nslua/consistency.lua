--- What only shows when the fields of a recipe are seen together: which namespaces are new, and the
-- mistakes that one field makes of another.
-- @module nslua.consistency
local types = require "nslua.check"
local entry = require "nslua.entry"
local schema = require "nslua.schema"
local seccomp = require "nslua.seccomp"
local sys = require "nslua.sys"

local function complain(problems, at, message, ...)
  problems[#problems + 1] = { at = at, message = message:format(...) }
end

local ALL <const> = { listed = {}, named = {}, all = true }

local function choose_namespaces(recipe, problems, at)
  local new, joined = {}, {}
  local wanted = recipe.namespaces or ALL
  for _, kind in ipairs(schema.kinds) do
    local named = wanted.named[kind]
    if named == nil then
      new[kind] = wanted.listed[kind] or wanted.all and kind ~= "time" or nil
    elseif named == true then
      new[kind] = true
    elseif type(named) == "table" then
      new[kind], joined[kind] = true, named.below
    elseif named ~= false then
      joined[kind] = named
    end
  end
  if recipe.clock then
    if wanted.named.time == false or joined.time then complain(problems, at, "clock needs a new time namespace") end
    new.time = true
  end
  if recipe.net == "host" then
    if wanted.named.net or wanted.listed.net then complain(problems, at, "net = \"host\" keeps the caller's network namespace, "
      .. "but namespaces names a new one") end
    new.net = nil
  elseif recipe.net and not new.net then
    complain(problems, at, "net = \"%s\" needs a new network namespace", recipe.net)
  end
  return new, joined
end

--- What root may join before the user namespace is made that then has no say over it.
local JOINED_BEFORE <const> = { cgroup = true, ipc = true, net = true, uts = true }

local function complain_about_joins(recipe, new, joined, problems, at, wrong)
  if joined.user then
    if wrong.user then return end
    if type(recipe.user) ~= "table" or not recipe.user.uid or not recipe.user.gid then
      complain(problems, at, "a joined user namespace needs user = { uid =, gid = }, the ids inside")
    end
    return
  end
  for kind in pairs(new.user and joined or {}) do
    if new[kind] then
      complain(problems, at, "a new PID namespace below another one cannot be in a new user namespace: join its user namespace, "
        .. "too, or list namespaces without user")
    elseif not JOINED_BEFORE[kind] then
      complain(problems, at, "a %s namespace cannot be joined from inside a new user namespace: join its user namespace, too, "
        .. "or list namespaces without user", kind)
    end
  end
end

--- @param seen target -> the entry that has taken it
local function complain_about_entry(item, seen, new, joined, problems)
  local target = item.verb.target or item.target
  local repeats = item.verb.repeats or item.options.over
  if target and seen[target] and not repeats then
    complain(problems, item.at, "fs.%s: the target %s is already taken by %s", item.verb.name, target, tostring(seen[target]))
  end
  if target and not repeats then seen[target] = item end
  if target == "/" and not (item.verb.mount or item.verb.at_root) then
    complain(problems, item.at, "fs.%s cannot be at /", item.verb.name)
  end
  local needs = item.verb.needs
  if needs and not (new[needs] or joined[needs] or item.options.shared) then
    complain(problems, item.at, "fs.%s needs a new %s namespace", item.verb.name, needs)
  end
end

local function complain_about_files(recipe, new, joined, problems, at)
  local seen = {}
  if recipe.fs and #recipe.fs > 0 and not new.mount then
    complain(problems, at, "fs needs a new mount namespace")
  end
  for _, item in ipairs(recipe.fs or {}) do
    if entry.is(item) and item.problems then -- it was written with them
      for _, message in ipairs(item.problems) do complain(problems, item.at, "%s", message) end
    elseif entry.is(item) then
      complain_about_entry(item, seen, new, joined, problems)
    end
  end
end

--- Inside there is no directory that a relative path could begin in. What goes around Landlock's ports is the filter's
--- to refuse.
local function complain_about_rules(recipe, new, problems, at, wrong)
  if type(recipe.landlock) ~= "table" then return end
  if not seccomp.has_profile(recipe) and (recipe.landlock.bind or recipe.landlock.connect) then
    complain(problems, at, "landlock: bind and connect need seccomp: without it TCP Fast Open and MPTCP go around them")
  end
  if not new.mount or wrong.namespaces then return end
  for _, list in ipairs { "ro", "rw", "exec" } do
    for _, item in ipairs(recipe.landlock[list] or {}) do
      local inside, expected = types.target(item.path)
      if not inside then
        complain(problems, at, "landlock: %s must be %s, inside the new mount namespace", sys.escape(item.path), expected)
      end
    end
  end
end

--- The time limit is kept by the maker.
local function complain_about_time(recipe, problems, at)
  local lifetime = recipe.lifetime or "maker"
  if recipe.limits and recipe.limits.time and lifetime ~= "maker" then
    complain(problems, at, "limits.time goes with lifetime = \"maker\" only: nobody would keep it when the maker has ended; "
      .. "a run's timeout holds while the maker is there")
  end
end

--- Mistakes go into `problems`.
-- @tparam table recipe
-- @tparam table problems
-- @tparam string at
-- @tparam table wrong a set of fields that are mistaken themselves, and not in the recipe: hardly anything contradicts what
-- holds when nothing is said, and what does is not told of them
-- @treturn table the namespaces that are new, as a set
-- @treturn table those that are joined: kind -> path or fd
local function check(recipe, problems, at, wrong)
  local new, joined = choose_namespaces(recipe, problems, at)
  complain_about_joins(recipe, new, joined, problems, at, wrong)
  complain_about_files(recipe, new, joined, problems, at)
  complain_about_rules(recipe, new, problems, at, wrong)
  complain_about_time(recipe, problems, at)
  if (recipe.hostname or recipe.domainname) and not new.uts then
    complain(problems, at, "hostname and domainname need a new UTS namespace")
  end
  if recipe.no_new_privs == false and seccomp.only_logs(recipe) then
    complain(problems, at, "seccomp's mode = \"log\" needs no_new_privs: without, the filter is there before the set-up is done")
  end
  if recipe.init == false and not new.pid then
    complain(problems, at, "init = false needs a new PID namespace")
  end
  return new, joined
end

return { check = check }
