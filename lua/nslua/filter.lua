--- From a profile and what a recipe says of `seccomp` to a filter: which call has which rule.
-- Pure: the numbers of calls are given.
-- @module nslua.filter
local bpf = require "nslua.bpf"
local profile = require "nslua.profile"

local ERRNO <const> = { EPERM = 1, ENOSYS = 38, EPROTONOSUPPORT = 93, EOPNOTSUPP = 95, EAFNOSUPPORT = 97 }
local REFUSED <const>, ABSENT <const> = bpf.ERRNO | ERRNO.EPERM, bpf.ERRNO | ERRNO.ENOSYS

local M = {}

--- Calls each name of a group.
local function each(calls, f)
  for name in calls:gmatch "%S+" do f(name) end
end

--- What a recipe may say instead of names: the groups of the profile, as "@mounts".
local groups, group_names = {}, {}
for _, part in ipairs { profile.allowed, profile.refused } do
  for _, group in ipairs(part) do
    local name = "@" .. group.name:gsub(" ", "-")
    groups[name] = group
    group_names[#group_names + 1] = name
  end
end

M.group_names = group_names

--- Whether the profile knows a group or a call, on whatever machine.
function M.knows(name)
  if groups[name] then return true end
  for _, group in pairs(groups) do
    for call in group.calls:gmatch "%S+" do
      if call == name then return true end
    end
  end
  for _, one in ipairs(profile.checked) do
    if one.name == name then return true end
  end
  return false
end

--- Whether what a payload holds (capabilities, "nesting") opens a group that is refused otherwise.
local function opened(group, holds)
  for _, name in ipairs(group.opened_by or {}) do
    if holds[name] then return true end
  end
  return false
end

--- The rule of a check, and of the one that comes after it.
local function rule_of(check, holds)
  local otherwise = check.also and rule_of(check.also, holds) or bpf.ALLOW
  if opened(check, holds) then return otherwise end
  local only = check.only and table.move(check.only, 1, #check.only, 1, {})
  for name, more in pairs(check.with or {}) do
    if holds[name] then table.move(more, 1, #more, #only + 1, only) end
  end
  return {
    argument = check.argument, mask = check.mask, values = check.values, only = only, any = check.any,
    action = bpf.ERRNO | ERRNO[check.errno], otherwise = otherwise,
  }
end

--- The rules of the profile, by name.
local function rules_of_profile(holds)
  local rules = {}
  for _, group in ipairs(profile.allowed) do each(group.calls, function(name) rules[name] = bpf.ALLOW end) end
  for _, group in ipairs(profile.refused) do
    local rule = opened(group, holds) and bpf.ALLOW or REFUSED
    each(group.calls, function(name) rules[name] = rule end)
  end
  for _, one in ipairs(profile.checked) do rules[one.name] = rule_of(one, holds) end
  for _, one in ipairs(holds.shared_pids and profile.shared_pids or {}) do rules[one.name] = rule_of(one, holds) end
  for _, name in ipairs(profile.absent) do rules[name] = ABSENT end
  return rules
end

--- What a recipe allows or denies: a name, a group, or { name, argument =, values = } for some values only.
local function change(rules, item, action, otherwise)
  local name = type(item) == "table" and item.name or item
  local group = groups[name]
  if group then return each(group.calls, function(call) rules[call] = action end) end
  rules[name] = type(item) == "table" and {
    argument = item.argument, mask = 0xffffffff, values = item.values, action = action, otherwise = otherwise,
  } or action
end

--- The same rule where nothing is refused: of what would have been, the listener is notified.
local function only_notified(rule)
  if type(rule) ~= "table" then return rule == bpf.ALLOW and rule or bpf.USER_NOTIF end
  rule.action, rule.otherwise = only_notified(rule.action), only_notified(rule.otherwise)
  return rule
end

--- A filter.
-- @tparam function number_of gives a call's number on this machine, or nil
-- @tparam integer arch AUDIT_ARCH_…
-- @tparam[opt] table wanted { allow = {…}, deny = {…}, default = "enosys" | "errno" | "kill", mode = "log" }
-- @tparam[opt] table holds set of the capabilities that the payload holds, "nesting", and "shared_pids"
-- @treturn string program of bpf(4)
-- @treturn integer its length in instructions
function M.program(number_of, arch, wanted, holds)
  wanted = wanted or {}
  local rules = rules_of_profile(holds or {})
  for _, item in ipairs(wanted.allow or {}) do change(rules, item, bpf.ALLOW, REFUSED) end
  for _, item in ipairs(wanted.deny or {}) do change(rules, item, REFUSED, bpf.ALLOW) end
  local default = ({ errno = REFUSED, kill = bpf.KILL_PROCESS })[wanted.default] or ABSENT
  local final = wanted.mode == "log" and only_notified or function(rule) return rule end
  local by_number = {}
  for name, rule in pairs(rules) do
    local number = number_of(name)
    if number then by_number[number] = final(rule) end
  end
  return bpf.program(arch, by_number, final(default))
end

return M
