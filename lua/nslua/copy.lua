--- Values as bytes, to be copied into another interpreter: what a call gives to a function, and what comes back.
--
-- A value is a letter and what belongs to it. Tables and functions are numbered in the order in which they begin, so that
-- what is there twice, or holds itself, is so again. Of functions the code and the upvalues are copied; upvalues that two
-- share are shared again. What the standard libraries hold goes by its name.
-- @module nslua.copy
local M = { LENGTH = "<I8" } -- how many bytes come, before them

local pack <const> = string.pack
local DEPTH <const> = 10000 -- of tables in tables
local MOST_VALUES <const> = 1 << 12 -- side by side, which is what a function may give
-- The order of numbers in a table is no secret, so that many can be chosen that fall on one another.
local NUMBER_KEYS <const> = 1 << 14
local STEPS <const> = 100 -- values that are read between two looks at the time
-- What is counted of the memory that a copy takes, at least that.
local COST <const> = { table = 56, key = 40, item = 16, text = 24 }

-- -- what is known on both sides --

local LIBRARIES <const> = { "coroutine", "debug", "io", "math", "os", "package", "string", "table", "utf8" }

--- What the standard libraries hold and is no plain value: by name, and the names.
local by_name, name_of = { _G = _G }, { [_G] = "_G" }

local function know(name, value) by_name[name], name_of[value] = value, name_of[value] or name end

local function is_of_c(value)
  return type(value) == "userdata" or type(value) == "function" and debug.getinfo(value, "S").what == "C"
end

--- Knows what C has put into a library, and not what others have.
local function know_all(prefix, library)
  for key, value in next, library do
    if type(key) == "string" and is_of_c(value) then know(prefix .. key, value) end
  end
end

know_all("", _G)
for _, name in ipairs(LIBRARIES) do
  local library = _G[name]
  if type(library) == "table" then -- a host may have left one out
    know(name, library)
    know_all(name .. ".", library)
  end
end

-- -- to bytes --

--- What cannot be copied is an error of this kind: { message }.
local Uncopied = {}

--- A part of a path that is no key.
local Words = {}
local function words(text) return setmetatable({ text }, Words) end

local function word_of(step)
  if getmetatable(step) == Words then return step[1] end
  if type(step) ~= "string" then return ("[%s]"):format(tostring(step)) end
  return step:find "^[%a_][%w_]*$" and "." .. step or ("[%q]"):format(step)
end

--- An error of what stands at a path: the number of a value, and the steps from there.
local function refuse(out, path, what)
  local place = { out.say_which(path[1]) }
  for i = 2, #path do place[i] = word_of(path[i]) end
  error(setmetatable({ table.concat(place) .. " is " .. what }, Uncopied), 0)
end

--- Of what comes from a function, keys that are numbers are counted: there they are refused, too.
local function count_number_key(out, path)
  out.number_keys = out.number_keys + 1
  if out.number_keys <= NUMBER_KEYS or out.functions then return end
  refuse(out, { path[1] }, ("a table with more than %d numbers as keys that are no sequence"):format(NUMBER_KEYS))
end

--- How many values there are from 1 on. (What rawlen says may be anything where some are missing.)
local function length_of(list)
  local length = 0
  while rawget(list, length + 1) ~= nil do length = length + 1 end
  return length
end

--- The keys behind a sequence. Strings are sorted: their order would tell how this state hashes them, and so which ones fall
--- on one another.
local function keys_of(map, length)
  local keys, strings = {}, {}
  for key in next, map do
    if type(key) == "string" then
      strings[#strings + 1] = key
    elseif math.type(key) ~= "integer" or key < 1 or key > length then
      keys[#keys + 1] = key
    end
  end
  table.sort(strings)
  return table.move(strings, 1, #strings, #keys + 1, keys)
end

--- What comes behind a letter.
local FORMATS <const> = {
  i = "<c1i8", d = "<c1d", s = "<c1s8", n = "<c1s1", f = "<c1s8I1", r = "<c1I4", v = "<c1I4", t = "<c1I4",
}

local function add(out, letter, content, more)
  local format, n = FORMATS[letter], out.n + 1
  out.n, out[n] = n, format and pack(format, letter, content, more) or letter
end

local writers = {}

--- A value; `path` says where it stands.
local function write(out, value, path)
  local name = out.functions and name_of[value]
  if name then
    add(out, "n", name)
  else
    writers[type(value)](out, value, path)
  end
end

writers["nil"] = function(out) add(out, "0") end
function writers.boolean(out, value) add(out, value and "1" or "2") end
function writers.string(out, value) add(out, "s", value) end

function writers.number(out, value)
  if math.type(value) == "integer" then add(out, "i", value) else add(out, "d", value) end
end

--- Whether it was there before, and is only named now.
local function is_again(out, value)
  local number = out.numbers[value]
  if number then
    add(out, "r", number)
  else
    out.last = out.last + 1
    out.numbers[value] = out.last
  end
  return number
end

local A_KEY <const> = words ", a key of which"

function writers.table(out, value, path)
  if is_again(out, value) then return end
  if debug.getmetatable(value) ~= nil then refuse(out, path, "a table with a metatable") end
  if #path > DEPTH then refuse(out, { path[1] }, ("nested deeper than %d tables"):format(DEPTH)) end
  local length, place = length_of(value), #path + 1
  add(out, "t", length)
  for i = 1, length do
    path[place] = i
    write(out, value[i], path)
  end
  for _, key in ipairs(keys_of(value, length)) do
    if type(key) == "number" then count_number_key(out, path) end
    path[place] = A_KEY
    write(out, key, path)
    path[place] = key
    write(out, value[key], path)
  end
  path[place] = nil
  add(out, ".")
end

local NO_NAME <const> = "(no name)" -- of functions without what only a debugger reads

--- An upvalue: its variable, and what it holds where that has not come yet.
local function write_upvalue(out, value, at, path)
  local name, held = debug.getupvalue(value, at)
  local variable = debug.upvalueid(value, at)
  local number = out.variables[variable]
  if number then return add(out, "v", number) end
  out.last_variable = out.last_variable + 1
  out.variables[variable] = out.last_variable
  -- The globals of the other side, but where they are the caller's own choice.
  if name == "_ENV" and type(held) == "table" and debug.getmetatable(held) then held = _G end
  local place = #path + 1
  path[place] = words(", whose upvalue " .. (name ~= NO_NAME and name or at))
  write(out, held, path)
  path[place] = nil
end

writers["function"] = function(out, value, path)
  if not out.functions then refuse(out, path, "a function") end
  if is_again(out, value) then return end
  local info = debug.getinfo(value, "Su")
  if info.what == "C" then refuse(out, path, "a function of C") end
  if #path > DEPTH then refuse(out, { path[1] }, ("nested deeper than %d values"):format(DEPTH)) end
  add(out, "f", string.dump(value), info.nups)
  for at = 1, info.nups do write_upvalue(out, value, at, path) end
end

function writers.userdata(out, value, path) refuse(out, path, io.type(value) and "a file" or "userdata") end
function writers.thread(out, _, path) refuse(out, path, "a coroutine") end

local function write_all(out, values)
  local path = {}
  for i = 1, values.n do
    path[1] = i
    write(out, values[i], path)
  end
end

--- What has been written before, as a table that what is added to does not change.
local function over(before) return setmetatable({}, { __index = before }) end

--- Copies values to bytes.
-- @tparam table values { n=, … }
-- @tparam function say_which what says of a number what that value is, for the error
-- @tparam boolean functions whether there may be functions among them
-- @tparam[opt] table before what this gave for values that are to stand before these
-- @treturn[1] table { bytes=, count=, … } for M.bytes_of
-- @treturn[2] nil
-- @treturn[2] string what cannot be copied
function M.encode(values, say_which, functions, before)
  if values.n > MOST_VALUES then return nil, say_which(MOST_VALUES + 1) .. " is more than there may be" end
  local out = {
    n = 0, numbers = over(before and before.numbers), variables = over(before and before.variables),
    last = before and before.last or 0, last_variable = before and before.last_variable or 0, number_keys = 0,
    functions = functions, say_which = say_which, count = values.n + (before and before.count or 0),
  }
  local ok, problem = pcall(write_all, out, values)
  if not ok then
    if getmetatable(problem) ~= Uncopied then error(problem, 0) end
    return nil, problem[1] .. ", which cannot be copied"
  end
  out.bytes = (before and before.bytes or "") .. table.concat(out)
  return out
end

--- The bytes for what has been encoded.
-- @treturn string
function M.bytes_of(out) return pack(FORMATS.i, "i", out.count) .. out.bytes end

-- -- from bytes, which may be anybody's --

local function malformed(what) error({ what or "malformed" }, 0) end

M.TOO_LARGE, M.LATE = "too large", "late"

--- Counts what a value is going to take.
local function take(input, cost)
  input.room = input.room - cost
  if input.room < 0 then malformed(M.TOO_LARGE) end
end

local function unpack(input, format)
  local value, at = string.unpack(format, input.bytes, input.at)
  input.at = at
  return value
end

--- Looks at the time, now and then.
local function look(input)
  input.steps = STEPS
  if input.is_late and input.is_late() then malformed(M.LATE) end
end

local readers = {}

local function read(input, depth)
  input.steps = input.steps - 1
  if input.steps == 0 then look(input) end
  local letter = input.bytes:sub(input.at, input.at)
  input.at = input.at + 1
  local reader = readers[letter] or malformed()
  return reader(input, depth)
end

readers["0"] = function() return nil end
readers["1"] = function() return true end
readers["2"] = function() return false end
function readers.i(input) return unpack(input, "<i8") end
function readers.d(input) return unpack(input, "<d") end

function readers.s(input)
  local text = unpack(input, "<s8")
  take(input, COST.text + #text)
  return text
end

function readers.r(input) return input.seen[unpack(input, "<I4")] or malformed() end

function readers.n(input)
  local name = unpack(input, "<s1")
  if not input.functions then malformed() end
  return by_name[name] or malformed("about " .. name .. ", which is not there")
end

--- A key that does not stand in the table yet.
local function read_key(input, into, depth)
  local key = read(input, depth)
  if key == nil or key ~= key or rawget(into, key) ~= nil then malformed() end
  if type(key) == "number" then
    input.number_keys = input.number_keys + 1
    if input.number_keys > NUMBER_KEYS and not input.functions then malformed() end
  end
  return key
end

--- A value in a table, where nil is none.
local function read_item(input, depth)
  local value = read(input, depth)
  if value == nil then malformed() end
  return value
end

function readers.t(input, depth)
  if depth > DEPTH then malformed() end
  local into, length = {}, unpack(input, "<I4")
  take(input, COST.table + COST.item * length)
  input.seen[#input.seen + 1] = into
  for i = 1, length do into[i] = read_item(input, depth + 1) end
  while input.bytes:sub(input.at, input.at) ~= "." do
    take(input, COST.key)
    local key = read_key(input, into, depth + 1)
    into[key] = read_item(input, depth + 1)
  end
  input.at = input.at + 1
  return into
end

local function read_upvalue(input, made, at, depth)
  if input.bytes:sub(input.at, input.at) == "v" then
    input.at = input.at + 1
    return debug.upvaluejoin(made, at, table.unpack(input.variables[unpack(input, "<I4")]))
  end
  input.variables[#input.variables + 1] = { made, at }
  debug.setupvalue(made, at, (read(input, depth)))
end

function readers.f(input, depth)
  if not input.functions then malformed() end
  local made = assert(load(unpack(input, "<s8"), "=function", "b"))
  input.seen[#input.seen + 1] = made
  for at = 1, unpack(input, "<I1") do read_upvalue(input, made, at, depth + 1) end
  return made
end

local function read_all(input)
  local values = { n = read(input, 1) }
  if math.type(values.n) ~= "integer" or values.n < 0 then malformed() end
  if values.n > MOST_VALUES then malformed() end
  for i = 1, values.n do values[i] = read(input, 1) end
  if input.at ~= #input.bytes + 1 then malformed() end
  return values
end

--- Copies values from bytes.
-- @tparam string bytes
-- @tparam integer room how much memory they may take, as far as it can be told; the bytes are not among it
-- @tparam boolean functions whether there may be functions among them: only of who may run anything here
-- @tparam[opt] function is_late whether to go on
-- @treturn[1] table { n=, … }
-- @treturn[2] nil
-- @treturn[2] string why not: TOO_LARGE, LATE, or in words
function M.decode(bytes, room, functions, is_late)
  local input = {
    bytes = bytes, at = 1, room = room, functions = functions, is_late = is_late, steps = STEPS, seen = {}, variables = {},
    number_keys = 0,
  }
  local ok, result = pcall(read_all, input)
  if ok then return result end
  if type(result) == "table" then return nil, result[1] end
  return nil, functions and tostring(result) or "malformed"
end

return M
