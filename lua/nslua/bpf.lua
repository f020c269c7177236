--- A filter of system calls as a classic BPF program (seccomp(2)): a search tree over their numbers, with checks
-- of one argument at its leaves. Knows no names and no profile.
--
-- An action is an integer of seccomp's (ALLOW, ERRNO | errno, KILL_PROCESS). A rule of a call is an action, or a
-- check: { argument=, mask=, values= | only= | any=, action=, otherwise= }, the latter another rule.
-- @module nslua.bpf
local M = {}

M.ALLOW, M.ERRNO, M.KILL_PROCESS, M.USER_NOTIF = 0x7fff0000, 0x00050000, 0x80000000, 0x7fc00000

-- The instructions that are used (linux/bpf_common.h), and where seccomp's data are.
local LOAD <const>, RETURN <const>, JUMP <const> = 0x20, 0x06, 0x05
local IF_EQUAL <const>, IF_AT_LEAST <const>, IF_ANY <const>, AND <const> = 0x15, 0x35, 0x45, 0x54
local NUMBER_AT <const>, ARCH_AT <const>, ARGUMENTS_AT <const> = 0, 4, 16
local X32 <const>, ENOSYS <const> = 0x40000000, 38
local FARTHEST <const> = 255

local function instruction(code, k, yes, no) return { code, yes or 0, no or 0, k } end

local function append(list, more) return table.move(more, 1, #more, #list + 1, list) end

local leaf

--- Code for a check of the low half of an argument: all that the kernel looks at in what is checked here.
local function check(rule)
  local code = { instruction(LOAD, ARGUMENTS_AT + 8 * rule.argument) }
  local action, otherwise = { instruction(RETURN, rule.action) }, leaf(rule.otherwise)
  if rule.any then
    code[2] = instruction(IF_ANY, rule.any, 0, 1)
    return append(append(code, action), otherwise)
  end
  if rule.mask and rule.mask ~= 0xffffffff then code[#code + 1] = instruction(AND, rule.mask) end
  local values = rule.values or rule.only
  local matched, unmatched = action, otherwise
  if rule.only then matched, unmatched = unmatched, matched end
  for i, value in ipairs(values) do code[#code + 1] = instruction(IF_EQUAL, value, #values - i + #unmatched) end
  return append(append(code, unmatched), matched)
end

function leaf(rule)
  return type(rule) == "table" and check(rule) or { instruction(RETURN, rule) }
end

--- Code for the intervals first…last of a sorted list { from=, rule= }, the number being loaded.
local function search(intervals, first, last)
  if first == last then return leaf(intervals[first].rule) end
  local middle = (first + last + 1) // 2
  local below, above = search(intervals, first, middle - 1), search(intervals, middle, last)
  local code
  if #below <= FARTHEST then code = { instruction(IF_AT_LEAST, intervals[middle].from, #below, 0) }
  else code = { instruction(IF_AT_LEAST, intervals[middle].from, 0, 1), instruction(JUMP, #below) } end
  return append(append(code, below), above)
end

--- Numbers with the same rule one after the other become one interval; between them is the default.
local function intervals_of(rules, default)
  local numbers, list = {}, { { from = 0, rule = default } }
  for number in pairs(rules) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  local function from(number, rule)
    local last = list[#list]
    if last.from == number then last.rule = rule
    elseif last.rule ~= rule then list[#list + 1] = { from = number, rule = rule } end
  end
  for i, number in ipairs(numbers) do
    from(number, rules[number])
    if numbers[i + 1] ~= number + 1 then from(number + 1, default) end
  end
  -- A start at 0 may have been given the rule of its neighbour.
  local joined = {}
  for _, interval in ipairs(list) do
    if not joined[1] or joined[#joined].rule ~= interval.rule then joined[#joined + 1] = interval end
  end
  return joined
end

--- The program.
-- @tparam integer arch AUDIT_ARCH_… of the calls; any other kills
-- @tparam table rules number -> action or check
-- @tparam integer default action of the others
-- @treturn string an array of struct sock_filter
-- @treturn integer how many instructions
function M.program(arch, rules, default)
  local code = {
    instruction(LOAD, ARCH_AT), instruction(IF_EQUAL, arch, 1), instruction(RETURN, M.KILL_PROCESS),
    instruction(LOAD, NUMBER_AT), instruction(IF_AT_LEAST, X32, 0, 1), instruction(RETURN, M.ERRNO | ENOSYS),
  }
  local intervals = intervals_of(rules, default)
  append(code, search(intervals, 1, #intervals))
  for i, one in ipairs(code) do code[i] = string.pack("=I2 B B I4", table.unpack(one)) end
  return table.concat(code), #code
end

return M
