--- Writes the floor's operations as C: what a run of a recipe of recipes.lua gives to its stage, as straight-line calls of the
-- kernel primitives. No plan is parsed and no Lua runs there.
--   nslua floor.lua NAME > floor-plan.h
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path

local nslua = require "nslua"
local chosen = require "recipes"[arg[1]]
local sys = nslua.sys

-- The layout of csrc/stage/wire.h.
local OPERATION <const>, ARGUMENT <const>, LIST_ENTRY <const> = "<I2 B B I4 i2 I2 BBBB", "<I4 I4 i8", "<i8"
local OPERATION_SIZE <const>, ARGUMENT_SIZE <const>, HEADER_SIZE <const> = 16, 16, 16
local REGISTER <const>, DATA <const>, LIST <const> = 2, 3, 4
local OWN_REGISTERS <const>, STREAMS <const> = 3, 3

local CLONE_FLAGS <const> = {
  mount = 0x00020000, cgroup = 0x02000000, uts = 0x04000000, ipc = 0x08000000, user = 0x10000000,
  pid = 0x20000000, net = 0x40000000,
}

--- What a run gives to spawn, and what it executes before.
local function capture()
  local spawn, execute = sys.spawn, sys.execute
  local request, sources
  local opened = {} -- registers
  function sys.spawn(options)
    request = options
    request.operations, request.payload = options.operations .. options.payload, nil
    return spawn(options)
  end
  function sys.execute(operations, ...)
    sources = operations
    local result, skipped = execute(operations, ...)
    for register in pairs(result) do opened[#opened + 1] = register end
    return result, skipped
  end
  assert(nslua.sandbox(chosen.recipe):run(chosen.argv)):check()
  sys.spawn, sys.execute = spawn, execute
  table.sort(opened)
  return request, sources or "", opened
end

-- -- values as C --

local function quote(s)
  return '"' .. s:gsub("[^%w /._=:,-]", function(c) return ("\\%03o"):format(c:byte()) end) .. '"'
end

--- A list is a compound literal of pointers.
local function list(bytes, operation, offset, count)
  local words = {}
  for i = 1, count do
    local at = string.unpack(LIST_ENTRY, bytes, operation + offset + 8 * (i - 1))
    words[i] = quote(string.unpack("z", bytes, operation + at))
  end
  return ("(char *[]){ %s }"):format(table.concat(words, ", ") .. (count > 0 and ", 0" or "0"))
end

--- An argument, and the register that it names.
local function argument(bytes, operation, index)
  local kind, size, value = string.unpack(ARGUMENT, bytes, operation + OPERATION_SIZE + ARGUMENT_SIZE * (index - 1))
  if kind == REGISTER then return ("{ registers[%d], 0 }"):format(value), value end
  if kind == DATA then
    return ("{ (long)%s, %d }"):format(quote(bytes:sub(operation + value, operation + value + size - 1)), size)
  end
  if kind == LIST then return ("{ (long)%s, %d }"):format(list(bytes, operation, value, size), size) end
  return ("{ %dL, %d }"):format(value, size)
end

-- -- operations as C --

local function tolerance(errnos)
  local tests = {}
  for _, errno in ipairs(errnos) do
    if errno ~= 0 then tests[#tests + 1] = (" && r != -%d"):format(errno) end
  end
  return table.concat(tests)
end

--- One operation: as the stage's executor, skipped when a register it needs is empty.
local function statement(bytes, at, name)
  local _, count, _, size, result, _, e1, e2, e3, e4 = string.unpack(OPERATION, bytes, at)
  local arguments, needed = {}, {}
  for i = 1, count do
    local register
    arguments[i], register = argument(bytes, at, i)
    if register then needed[#needed + 1] = ("registers[%d] >= 0"):format(register) end
  end
  local call = ("struct call call = { .arguments = { %s } };"):format(table.concat(arguments, ", "))
  local lines = { ("  %s{"):format(#needed > 0 and "if (" .. table.concat(needed, " && ") .. ") " or ""),
    "    " .. call, ("    long r = CALL(%s);"):format(name),
    ("    if (r < 0%s) fail(r);"):format(tolerance { e1, e2, e3, e4 }) }
  if result >= 0 then lines[#lines + 1] = ("    registers[%d] = (int)r;"):format(result) end
  lines[#lines + 1] = "  }"
  return table.concat(lines, "\n"), size, result
end

--- All operations: the statements, their names, the registers that they fill.
local function statements(bytes)
  local texts, results = {}, {}
  local decoded = sys.decode(bytes)
  local at = 1
  for i, operation in ipairs(decoded) do
    local text, size, result = statement(bytes, at, operation.name)
    texts[i] = text
    if result >= 0 then results[#results + 1] = result end
    at = at + size
  end
  return texts, decoded, results
end

local function put_function(name, texts, first, last)
  print(("static void %s(void) {"):format(name))
  print(table.concat(texts, "\n", first, last))
  print "}"
end

local function position_of(decoded, name)
  for i, operation in ipairs(decoded) do
    if operation.name == name then return i end
  end
  error("the plan has no " .. name)
end

local function define(name, format, value) print(("#define %s " .. format):format(name, value)) end

local function map(text) return text and quote(text) or "0" end

local request, sources, opened = capture()
local flags = 0
for _, kind in ipairs(request.namespaces) do flags = flags | CLONE_FLAGS[kind] end
define("REGISTERS", "%d", request.registers)
define("STREAM", "%d", OWN_REGISTERS)
define("CAPTURED", "%d", chosen.argv.stdout and 0 or 1)
define("NAMESPACES", "0x%xL", flags)
define("CAPABILITIES", "0x%xL", request.capabilities)
define("UID_MAP", "%s", map(request.uid_map))
define("GID_MAP", "%s", map(request.gid_map))
define("PLAN_SIZE", "%d", HEADER_SIZE + (request.registers * 4 + 7) // 8 * 8 + #request.operations)

local source_texts = statements(sources)
local texts, decoded = statements(request.operations)
local fork = position_of(decoded, "fork")

print "#ifdef FLOOR_MAKER"
put_function("open_sources", source_texts, 1, #source_texts)
print "#else"
print "static void fill_registers(void) {"
print "  for (int i = 0; i < REGISTERS; i++) registers[i] = -1;"
for register = 0, OWN_REGISTERS + STREAMS - 1 do opened[#opened + 1] = register end
for _, register in ipairs(opened) do print(("  registers[%d] = FIRST_FD + %d;"):format(register, register)) end
print "}"
put_function("set_up", texts, 1, fork - 1)
put_function("become_payload", texts, fork + 1, #texts)
print "#endif"
