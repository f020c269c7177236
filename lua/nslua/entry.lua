--- An entry of `fs`: a verb with its arguments, immutable, with the line it was written on.
-- @module nslua.entry
local check = require "nslua.check"
local sys = require "nslua.sys"

local Entry = { __name = "nslua.entry" }
Entry.__index = Entry
function Entry:__tostring() return self.verb.summary(self) end

--- The source in words: its path, or of an fd where it leads.
function Entry:source_words()
  if type(self.source) ~= "userdata" then return self.source end
  local ok, number = pcall(self.source.fileno, self.source)
  local path = ok and sys.readlink("/proc/self/fd/" .. number)
  return "fd" .. (path and " of " .. path or "")
end

--- The flags that its verb shows, in words.
function Entry:flags_in(plan)
  local flags = self.verb.flags
  if type(flags) == "function" then return flags(self, plan) end
  return flags
end

--- What the payload can write of the host's: a path, or an fd; or nil.
function Entry:written()
  local writes = self.verb.writes
  return writes and writes(self)
end

--- What a verb adds belongs to the line that the verb stands on, and is reached on the same way.
function Entry:belong_to(outer)
  self.at = outer.at
  if not outer.options.links then return end
  local options = { links = outer.options.links }
  for name, value in pairs(self.options) do options[name] = value end
  self.options = options
end

local M = {}

--- Where the function at `level` was called: "build.lua:7", or nil when the frame is lost.
function M.location(level)
  local info = debug.getinfo(level + 1, "l")
  local line = info and info.currentline or -1 -- our own code has none in the host: nobody looks for its name
  return line >= 0 and debug.getinfo(level + 1, "S").short_src .. ":" .. line or nil
end

--- Keeps the mistakes of an argument.
local function note(entry, verb, name, expected, got)
  entry.problems = check.add(entry.problems, ("fs.%s: %s must be "):format(verb.name, name), expected, got)
end

local function read_options(entry, verb, options)
  local good, expected = verb.options(options)
  if not good then note(entry, verb, "options", expected) end
  return good or {}
end

local function read_arguments(entry, verb, ...)
  local given = select("#", ...)
  local values = { ... }
  local count = #verb.parameters
  local options = values[count + 1]
  -- Options may come in the place of the parameters that have a default: fs.ro("/usr", { … }).
  if type(values[given]) == "table" and given <= count and given > 0 and verb.options
    and not (verb.parameters[given].table) then
    options = values[given]
    values[given] = nil
  end
  if given > count + 1 then entry.problems = { verb.name .. " takes at most " .. count .. " arguments and options" } end
  for i, parameter in ipairs(verb.parameters) do
    local value = values[i]
    local is_default = value == nil and parameter.default
    if is_default then value = parameter.default(entry) end
    local good, expected = parameter.type(value)
    entry[parameter.name] = good
    if good == nil and not (is_default and entry.problems) then -- a default follows what may be mistaken
      note(entry, verb, parameter.name, expected, (" (got %s)"):format(check.describe(value)))
    end
  end
  entry.options = options ~= nil and read_options(entry, verb, options) or {}
end

--- A constructor for a verb. Mistakes are kept in the entry: sandbox{} reports all at once.
function M.constructor(verb)
  verb.options = verb.options and check.record(verb.options) or check.record {}
  for _, parameter in ipairs(verb.parameters) do verb.nested = parameter.table and parameter.name or verb.nested end
  return function(...)
    local entry = { verb = verb, at = M.location(2), source = nil, target = nil, options = nil } -- room for all at once
    read_arguments(entry, verb, ...)
    return setmetatable(entry, Entry)
  end
end

local NO_OPTIONS <const> = {}

--- An entry that a verb makes of others: its fields are right, its place is the outer one's.
function M.make(verb, fields)
  fields.verb = verb
  fields.options = fields.options or NO_OPTIONS
  return setmetatable(fields, Entry)
end

function M.is(value) return getmetatable(value) == Entry end

local MAX_DEPTH <const>, MAX_ENTRIES <const> = 8, 20000

--- The recipe's own copy: what is done to an entry later does not change a sandbox.
local function own(entry)
  local fields, options = { verb = nil, at = nil, source = nil, target = nil, options = nil }, {} -- room for all at once
  for key, value in next, entry do fields[key] = value end
  for key, value in next, entry.options do options[key] = check.copy(value) end
  fields.options = options
  local nested = entry.verb.nested
  if nested then fields[nested] = check.copy(fields[nested]) end
  return setmetatable(fields, Entry)
end

--- Notes what is in a list besides entries, functions and lists.
local function refuse(found, what, value)
  found.mistakes = check.add(found.mistakes, "a list of fs verbs and functions ", what .. check.describe(value), ")")
end

--- Collects what is in a list and in those in it. What is visited counts, not what is found: a few lists that contain each
--- other many times are to be refused at once, too.
-- @param found { list = {}, visited = 0, mistakes = nil }
-- @treturn ?string why it is not looked at further
local function flatten(value, found, depth)
  if depth > MAX_DEPTH then return "a list of entries nested at most 8 deep (is it cyclic?)" end
  local n = rawlen(value)
  for i = 1, n do
    local item = rawget(value, i)
    found.visited = found.visited + 1
    if found.visited > MAX_ENTRIES then return ("a list of at most %d entries"):format(MAX_ENTRIES) end
    if M.is(item) then
      found.list[#found.list + 1] = own(item)
    elseif type(item) == "function" then
      found.list[#found.list + 1] = item
    elseif type(item) == "table" and getmetatable(item) == nil then
      local problem = flatten(item, found, depth + 1)
      if problem then return problem end
    else
      refuse(found, ("(entry %d is "):format(i), item)
    end
  end
  for key in next, value do
    if math.type(key) ~= "integer" or key < 1 or key > n then
      refuse(found, "(it has the key ", key)
    end
  end
end

--- The type of the field `fs`: entries, functions, lists of them. Where there is anything else, too, both are told: they, and
--- what is expected.
function M.list(value)
  if M.is(value) then return nil, "a list: { " .. "fs." .. value.verb.name .. "(…) }" end
  if type(value) ~= "table" then return nil, "a list of fs verbs and functions" end
  local found = { list = {}, visited = 0 }
  local refusal = flatten(value, found, 1)
  if refusal then return nil, refusal end
  return found.list, found.mistakes
end

return M
