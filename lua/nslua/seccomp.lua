--- The filters that a recipe's field `seccomp` comes to.
-- @module nslua.seccomp
local kernel = require "nslua.kernel"
local names = require "nslua.names"
local sys = require "nslua.sys"

local LOG <const>, NEW_LISTENER <const>, WAIT_KILLABLE_RECV <const> = 2, 8, 32 -- SECCOMP_FILTER_FLAG_…

local M = {}

--- The profile's filter: the one that was compiled with nslua, unless the recipe changes it, the payload holds what
--- opens more, or it shares PIDs.
local function profile_filter(wanted, capabilities, nesting, shared_pids)
  if not wanted and capabilities == 0 and not nesting and not shared_pids then return sys.default_filter() end
  local holds = { nesting = nesting, shared_pids = shared_pids }
  for _, name in ipairs(names.capabilities(capabilities)) do holds[name] = true end
  return (require "nslua.filter".program(sys.syscall_number, sys.audit_arch(), wanted, holds))
end

--- The flags of a filter that notifies the recorder. Where the kernel has it, a signal does not make who waits
--- for the recorder's answer call again, and be counted again.
local function listening_flags()
  return NEW_LISTENER | (kernel.at_least(5, 19) and WAIT_KILLABLE_RECV or 0)
end

--- The recipe's own programs, behind what is there.
local function add_programs(filters, wanted)
  for i, program in ipairs(wanted.programs or {}) do
    filters[#filters + 1], filters.programs = { program = program, flags = wanted.log and LOG or 0 }, i
  end
  return #filters > 0 and filters or nil
end

--- The payload's filters, in the order in which they are installed.
-- @tparam table recipe
-- @param own_pids whether the payload shares no PIDs with the stage
-- @tparam integer capabilities mask of those that the payload holds
-- @treturn ?table a list of { program=, flags= }; and profile, instructions, mode, programs, as they are told
function M.filters(recipe, own_pids, capabilities)
  if recipe.seccomp == false then return nil end
  local wanted = type(recipe.seccomp) == "table" and recipe.seccomp or {}
  local changed = wanted.allow or wanted.deny or wanted.default
  if wanted.profile == false then return add_programs({ profile = "none", instructions = 0 }, wanted) end
  local own = profile_filter((changed or wanted.mode) and wanted, capabilities, recipe.nesting == true, not own_pids)
  local flags = wanted.log and LOG or 0
  local filters = {
    { program = own, flags = flags | (wanted.mode and listening_flags() or 0) },
    profile = changed and "changed" or "default", instructions = #own // 8, mode = wanted.mode,
  }
  return add_programs(filters, wanted)
end

--- Whether the payload is under the profile, as it is or changed.
function M.has_profile(recipe)
  local wanted = recipe.seccomp
  return wanted ~= false and not (type(wanted) == "table" and wanted.profile == false)
end

--- Whether the filter only records: then nothing else is to refuse either what it would have refused.
function M.only_logs(recipe) return type(recipe.seccomp) == "table" and recipe.seccomp.mode == "log" end

--- The filters as execve takes them.
function M.packed(filters)
  local list = {}
  for i, filter in ipairs(filters) do list[i] = ("=I4s4"):pack(filter.flags, filter.program) end
  return table.concat(list)
end

--- What a result says of them.
function M.enforced(filters)
  return filters and {
    profile = filters.profile, instructions = filters.instructions, mode = filters.mode, programs = filters.programs,
  }
end

--- What they are, for explain.
function M.words(filters)
  if not filters then return "no filter" end
  local words = { ("%s profile, %d instructions"):format(filters.profile, filters.instructions) }
  if filters.mode == "log" then words[#words + 1] = "it only logs: the payload is not contained by it" end
  if filters.programs then words[#words + 1] = filters.programs .. " more of the recipe" end
  return table.concat(words, "; ")
end

return M
