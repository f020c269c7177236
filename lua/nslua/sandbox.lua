--- The sandbox: an immutable value made from a recipe. It derives, explains itself and runs.
-- @classmod nslua.sandbox
local Error = require "nslua.error"
local check = require "nslua.check"
local compile = require "nslua.compile"
local consistency = require "nslua.consistency"
local entry = require "nslua.entry"
local options_of = require "nslua.options"
local processes = require "nslua.process"
local schema = require "nslua.schema"

local MOST_WORKERS <const> = 1000

local unset = setmetatable({}, { __name = "nslua.unset", __tostring = function() return "unset" end })

--- What is behind a box: { name=, at=, recipe=, new=, joined=, compiled=, with_tty= }. Weak: it goes with the box.
local state = setmetatable({}, { __mode = "k" })

local Box = { __name = "nslua.sandbox" }
Box.__index = function(box, key)
  if key == "name" then return state[box].name end
  return Box[key]
end
Box.__newindex = function() error("a sandbox is immutable; derive another one with box:with{ … }", 2) end
Box.__tostring = function(box) return "sandbox<" .. (state[box].name or "") .. ">" end

-- -- reading a recipe --

--- The line of a field: where its name stands behind the line that the recipe starts on.
local function line_of(at, name)
  local path, first = (at or ""):match "^(.*):(%d+)$"
  local file = path and io.open(path)
  if not file then return at end
  local found, number = at, 0
  for line in file:lines() do
    number = number + 1
    if number >= tonumber(first) and line:find("%f[%w_]" .. name:gsub("%W", "%%%0") .. "%s*=") then
      found = path .. ":" .. number
      break
    end
  end
  file:close()
  return found
end

--- Adds mistakes, of what is at a key of the recipe.
local function complain(problems, title, at, key, what)
  local place = type(key) == "string" and line_of(at, key) or at
  for _, message in ipairs(what) do problems[#problems + 1] = { at = place, message = title .. ": " .. message } end
end

--- Checks a field and copies it, raw. `unset` is kept as it is.
local function read_field(field, value)
  if rawequal(value, unset) then return unset end
  if field.merge ~= "map" or type(value) ~= "table" then return field.type(value) end
  local kept, removed = {}, {}
  for key, item in next, value do
    if rawequal(item, unset) then removed[key] = unset else kept[key] = item end
  end
  local good, expected = field.type(kept)
  for key in next, good and removed or {} do good[key] = unset end
  return good, expected
end

--- Checks fields and copies them; mistakes go into `problems`.
-- @treturn table what is good of them
-- @treturn table the fields that are not, or that a misspelt one may stand for, as a set
local function read_fields(fields, title, at, problems)
  local recipe, wrong = {}, {}
  for key, value in next, fields do
    local field = schema.by_name[key]
    if field then
      local good, expected = read_field(field, value)
      if expected then
        complain(problems, title, at, key, check.add(nil, key .. " must be ", expected,
          type(value) == "table" and "" or (" (got %s)"):format(check.describe(value))))
      end
      if good == nil then wrong[key] = true end
      recipe[key] = good
    elseif #problems < check.MAX_TOLD then
      local message, near = check.unknown("field", key, schema.names)
      complain(problems, title, at, key, { message })
      if near then wrong[near] = true end
    end
  end
  return recipe, wrong
end

-- -- merging --

--- What an entry takes for itself: a later one for the same target comes in its place.
local function target_of(item)
  return entry.is(item) and not item.verb.repeats and (item.verb.target or item.target) or nil
end

local function append(base, more)
  local list, place = {}, {}
  for i, item in ipairs(base) do
    list[i] = item
    local target = target_of(item)
    if target then place[target] = i end
  end
  for _, item in ipairs(more) do
    local at = place[target_of(item)]
    if at then list[at] = item else list[#list + 1] = item end
  end
  return list
end

local function merge_map(base, more)
  local map = {}
  for key, value in pairs(base) do map[key] = value end
  for key, value in pairs(more) do
    if value == unset then map[key] = nil else map[key] = value end
  end
  return map
end

local function without_unset(map)
  return merge_map({}, map)
end

local function merge(base, more)
  local recipe = {}
  for key, value in pairs(base) do recipe[key] = value end
  for key, value in pairs(more) do
    local how = schema.by_name[key].merge
    if value == unset then recipe[key] = nil
    elseif how == "append" then recipe[key] = append(recipe[key] or {}, value)
    elseif how == "map" then recipe[key] = recipe[key] and merge_map(recipe[key], value) or without_unset(value)
    else recipe[key] = value end
  end
  return recipe
end

-- -- the value --

--- Mistakes in the order of their lines.
local function by_place(a, b)
  local line_a, line_b = tonumber((a.at or ""):match ":(%d+)$") or 0, tonumber((b.at or ""):match ":(%d+)$") or 0
  if line_a ~= line_b then return line_a < line_b end
  if a.message ~= b.message then return a.message < b.message end
  return (a.at or "") < (b.at or "")
end

--- A mistake of the whole recipe, at the line of the field that it begins with; entries have their own.
local function placed(problem, title, at)
  if problem.at ~= at or problem.message:find "^fs%." then return problem end
  local name = problem.message:match "^%w+"
  return { at = schema.by_name[name] and line_of(at, name) or at, message = title .. ": " .. problem.message }
end

--- A box of checked fields, or an error raised with all mistakes.
local function make(name, base, fields, at, target)
  if type(fields) ~= "table" then
    error(Error.misuse { { at = at, message = "sandbox: a recipe is a table (got " .. check.describe(fields) .. ")" } })
  end
  local title = "sandbox<" .. (name or "") .. ">"
  local problems = {}
  local more, wrong = read_fields(fields, title, at, problems)
  local recipe = merge(base, more)
  for key in next, wrong do recipe[key] = nil end
  local contradictions = {}
  local new, joined = consistency.check(recipe, contradictions, at, wrong)
  for i, contradiction in ipairs(contradictions) do contradictions[i] = placed(contradiction, title, at) end
  table.move(contradictions, 1, #contradictions, #problems + 1, problems)
  if #problems > 0 then
    table.sort(problems, by_place)
    error(Error.misuse(problems))
  end
  local box = setmetatable({}, Box)
  state[box] = { name = name, at = at, recipe = recipe, new = new, joined = joined, target = target }
  return box
end

local function state_of(box, level) return state[box] or error("not a sandbox: call its methods with ':'", level) end

-- Fields that errors have another word for than their name.
local FIELDS <const> = {
  step = "steps", namespace = "namespaces", join = "namespaces", ["function"] = "fs", program = "seccomp",
  oom_score_adj = "scheduling", uid_map = "user", gid_map = "user",
}

--- Gives an error the line of the field that its step begins with, as "cwd /src"; not where a run has said that itself.
local function located(box, err)
  local own = state[box]
  local word, rest = err.step:match "^([%w_]+) ?(.*)$"
  local name = FIELDS[word] or word
  local value = own.recipe[name]
  local said = type(value) == "table" and rawlen(value) > 0 and name == "command" and value[1] or value
  if not err.at and value ~= nil and (type(said) ~= "string" or rest == "" or rest:find(said, 1, true)) then
    err.at = line_of(own.at, name)
  end
  return err
end

--- What a run needs, compiled once: with a terminal of the payload's own, or without.
local function compiled(box, tty)
  local own = state_of(box, 4)
  local variety = tty and "with_tty" or "compiled"
  if not own[variety] then
    local result, err = compile.compile(own.recipe, own.new, own.joined, own.at, tty, own.target)
    if not result then
      if err.problems then error(err, 0) end
      return nil, located(box, err)
    end
    result.title = tostring(box)
    if result.refusal then return result end -- the world may be another one the next time
    own[variety] = result
  end
  return own[variety]
end

--- A derived sandbox: scalars replace, maps merge by key, `fs` appends (an entry for the same target
-- replaces it in place), `unset` removes.
-- @tparam table fields
-- @treturn sandbox
function Box:with(fields)
  local own = state_of(self, 3)
  return make(own.name, own.recipe, fields, entry.location(2), own.target)
end

--- Starts a program. What it writes is relayed to our own streams while process:wait() waits, unless
-- stdout and stderr say otherwise.
-- @tparam[opt] table options argv, and the options of a run (doc/reference.md)
-- @treturn[1] nslua.process
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @raise for a wrong option
function Box:spawn(options)
  local checked, argv = options_of.read(options or {}, state_of(self, 3).recipe.command)
  local ready, err = compiled(self, checked.tty and true)
  if not ready then return nil, err end
  local process
  process, err = processes.spawn(ready, checked, argv)
  return process, err and located(self, err)
end

--- Runs a program and waits for its end.
-- @tparam[opt] table options as of spawn
-- @treturn[1] result ok, code or signal, reason, stdout, stderr, usage, enforced
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @raise for a wrong option
function Box:run(options)
  local checked, argv = options_of.read(options or {}, state_of(self, 3).recipe.command)
  local ready, err = compiled(self, checked.tty and true)
  if not ready then return nil, err end
  local process
  process, err = processes.spawn(ready, checked, argv)
  if not process then return nil, located(self, err) end
  local running <close> = process
  local result
  result, err = running:wait()
  return result, err
end

--- What functions of a box run in: it ends with them; and for a pool, its time is that of each call.
local function for_functions(box, of_pool)
  local own = state[box]
  local limits, lifetime = own.recipe.limits, own.recipe.lifetime
  local changed, has_time = {}, of_pool and limits and limits.time
  if lifetime and lifetime ~= "maker" then changed.lifetime = unset end
  if has_time then changed.limits = { time = unset } end
  if next(changed) == nil then return box end
  return make(own.name, own.recipe, changed, own.at, own.target), has_time and limits.time or nil
end

local function spawner(box) return function(run) return box:spawn(run) end end

--- Calls a function in the sandbox, as pcall does: in a process and an interpreter of its own, which have nothing of ours.
-- The function, its upvalues and its arguments are copied there: nil, booleans, numbers, strings, tables without metatables, Lua
-- functions, and what the standard libraries have. What it gives is copied here, without functions. Its globals are those of
-- the interpreter there.
-- @tparam function|table f a function, or { function, options… } (doc/reference.md)
-- @param ... its arguments
-- @treturn[1] true
-- @return[1] … what it gave
-- @treturn[2] false
-- @return[2] the error that it raised
-- @treturn[3] nil
-- @treturn[3] nslua.error when the sandbox could not be made, or the function has not returned; its code is then ETIMEDOUT,
--   ENOMEM, EMSGSIZE (the results are too large), EBADMSG (what came is no result), or ESRCH (the process has ended; `result` is
--   that of the process)
-- @raise for a wrong option, and for what cannot be copied there
-- @usage print(sandbox {}:call(function(n) return n * 2, io.open "/etc/shadow" end, 21)) --> true 42 nil …
function Box:call(f, ...)
  local calls = require "nslua.call"
  state_of(self, 3)
  local bytes, options = calls.prepare(calls.OF_BOTH, 2, f, ...)
  return calls.once(spawner((for_functions(self))), bytes, options)
end

--- Starts processes that are kept for calls of functions, each in a sandbox of its own: pool:call is as box:call and starts
-- nothing, pool:map calls with each item of a list. They end with pool:close(). limits.time is that of each call.
-- @tparam integer size how many
-- @tparam[opt] table options of the processes (doc/reference.md)
-- @treturn[1] nslua.pool
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @raise for a wrong option
-- @usage local pool <close> = assert(sandbox {}:pool(2))
-- print(pool:call(function(a, b) return a + b end, 1, 2)) --> true 3
function Box:pool(size, options)
  state_of(self, 3)
  if math.type(size) ~= "integer" or size < 1 or size > MOST_WORKERS then
    error(("pool: how many expected, 1 to %d, got %s"):format(MOST_WORKERS, check.describe(size)), 2)
  end
  if options ~= nil and type(options) ~= "table" then
    error("pool: a table of options expected, got " .. check.describe(options), 2)
  end
  local checked, mistakes = options_of.read_named(options or {}, require("nslua.call").OF_PROCESS)
  if mistakes then error(check.told(mistakes), 2) end
  local box, time = for_functions(self, true)
  return require("nslua.pool").new(spawner(box), size, checked, time)
end

--- The operations that a run executes, to look at: a list of { name=, arguments… }.
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Box:plan()
  local ready, err = compiled(self)
  if not ready then return nil, err end
  return require("nslua.sys").decode((ready.sources or "") .. ready.operations)
end

--- What the recipe says that is hardly meant: an entry that a later one covers, a source that is missing, a link
-- that leads nowhere. Nothing is run.
-- @treturn[1] table a list of { at=, message=, entry= }, each with a __tostring; empty when there is nothing to say
-- @treturn[2] nil
-- @treturn[2] nslua.error
function Box:lint()
  local ready, err = compiled(self)
  if not ready then return nil, err end
  return require("nslua.lint").of(ready)
end

local explain_options = check.record { json = check.boolean }

--- The sandbox as a tree, for people.
-- @tparam[opt] table options json = true for machines
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] nslua.error
-- @raise for a wrong option
function Box:explain(options)
  local checked, expected = explain_options(options or {})
  if not checked then error(check.told(check.add(nil, "explain: options must be ", expected)), 2) end
  local ready, err = compiled(self)
  if not ready then return nil, err end
  return require("nslua.explain").render(tostring(self), ready, checked)
end

--- sandbox{ … } or sandbox "name" { … }
local function sandbox(first)
  if type(first) ~= "string" then return make(nil, {}, first, entry.location(2)) end
  if #first > 64 or first:find "%c" then error("sandbox: a name has at most 64 bytes, none of them a control", 2) end
  return function(fields) return make(first, {}, fields, entry.location(2)) end
end

--- A box that lives in a running sandbox.
-- @tparam sandbox base what else it says: its fields for files, names, network and clock do not count
-- @tparam nslua.enter target
-- @treturn sandbox
local function entering(base, target)
  local own = state_of(base, 4)
  return make(own.name, own.recipe, target:fields(), own.at, target)
end

return { sandbox = sandbox, entering = entering, unset = unset, is = function(value) return getmetatable(value) == Box end }
