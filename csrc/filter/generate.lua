-- Prints C source: the system calls of the machine that is compiled for, and the default filter for it.
--   echo '#include <asm/unistd.h>' | cc -E -dM - | lua5.4 generate.lua LUA_DIRECTORY
package.path = arg[1] .. "/?.lua"
local filter = require "nslua.filter"

-- Calls newer than the headers may be. They have these numbers on every machine.
local NEWER <const> = {
  cachestat = 451, fchmodat2 = 452, map_shadow_stack = 453, futex_wake = 454, futex_wait = 455, futex_requeue = 456,
  statmount = 457, listmount = 458, lsm_get_self_attr = 459, lsm_set_self_attr = 460, lsm_list_modules = 461, mseal = 462,
  setxattrat = 463, getxattrat = 464, listxattrat = 465, removexattrat = 466, open_tree_attr = 467,
}
local ARCHES <const> = { __x86_64__ = 0xc000003e, __aarch64__ = 0xc00000b7 }

local numbers, arch = NEWER, nil
for line in io.lines() do
  local name, value = line:match "^#define ([%w_]+) (.*)$"
  arch = ARCHES[name] or arch
  local call = name and name:match "^__NR_(%w[%w_]*)$"
  if call and value:find "^%d+$" then numbers[call] = math.tointeger(value) end
end
assert(arch, "no system call numbers are known for this machine")

local names = {}
for name in pairs(numbers) do names[#names + 1] = name end
table.sort(names)

local program, length = filter.program(function(name) return numbers[name] end, arch)
local words = {}
for word in program:gmatch "........" do words[#words + 1] = ("0x%016xu"):format(string.unpack("=I8", word)) end

print '#include "csrc/sys/syscalls.h"\n'
print "const struct syscall syscalls[] = {"
for _, name in ipairs(names) do print(('  { "%s", %d },'):format(name, numbers[name])) end
print "  { 0, 0 },\n};"
print(("const uint32_t audit_arch = 0x%x;"):format(arch))
print(("const uint64_t default_filter[] = { /* %d instructions */\n%s\n};"):format(length, table.concat(words, ",\n")))
print "const size_t default_filter_size = sizeof default_filter;"
