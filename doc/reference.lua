-- Prints doc/reference.md: the fields, the options of a run, the verbs of fs, and the primitives, from the tables that
-- nslua works with.
--   nslua doc/reference.lua > doc/reference.md
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"
local schema = require "nslua.schema"
local fs = require "nslua.fs"
local names = require "nslua.names"

--- A table of the C sources, without comments.
local function read(path)
  local file <close> = assert(io.open(here .. "../csrc/" .. path))
  return (file:read "a":gsub("/%*.-%*/", ""))
end

local function row(...) print("| " .. table.concat({ ... }, " | ") .. " |") end

local function head(...)
  row(...)
  print("|" .. ("---|"):rep(select("#", ...)))
end

--- Text for a cell of a table.
local function cell(text) return (text:gsub("|", "\\|")) end

local function code(text) return "`" .. cell(text) .. "`" end

-- -- fields --

local MERGED <const> = { map = "Merges by key.", append = "Appends." }

local function print_fields()
  print "## Fields of a recipe\n"
  print "What `with` gives for a field replaces the value before, unless the field says that it merges or appends.\n"
  head("field", "values", "default", "")
  for _, field in ipairs(schema.fields) do
    local doc = field.doc .. (MERGED[field.merge] and " " .. MERGED[field.merge] or "")
    row(code(field.name), code(field.values), cell(field.default), cell(doc))
  end
end

-- -- options --

local function print_run()
  print "\n## Options of a run\n"
  print "What `box:run { … }`, `box:spawn { … }` and `process:exec { … }` take besides the words of the command.\n"
  head("option", "values", "default", "")
  for _, option in ipairs(require "nslua.options".list) do
    row(code(option.name), code(option.values), cell(option.default), cell(option.doc))
  end
end

local function print_calls()
  print "\n## Options of a call\n"
  print "What `box:call { f, … }` takes besides the function. Of a pool, `box:pool` takes those of the process and `pool:call` and"
  print "`pool:map` those of the call.\n"
  head("option", "of", "values", "default", "")
  for _, option in ipairs(require "nslua.call".list) do
    row(code(option.name), option.of, code(option.values), cell(option.default), cell(option.doc))
  end
end

-- -- verbs --

--- The type of a verb's options refuses what is no table, and names the options; it refuses a function
-- as an option, and says what it expects.
local function options_of(verb)
  local _, expected = verb.options(false)
  local names = {}
  for name in expected:match "^a table of (.*)$":gmatch "[%w_]+" do names[#names + 1] = name end
  return names
end

local function option_words(verb, option)
  local _, expected = verb.options { [option] = print }
  return expected[1]:match("^a table where " .. option .. " is (.*) %(not a function%)$")
end

local function signature(verb)
  local words = {}
  for _, parameter in ipairs(verb.parameters) do
    words[#words + 1] = parameter.default and "[" .. parameter.name .. "]" or parameter.name
  end
  if #options_of(verb) > 0 then words[#words + 1] = "[options]" end
  return ("fs.%s(%s)"):format(verb.name, table.concat(words, ", "))
end

local function print_verbs()
  print "\n## Verbs of fs\n"
  print "In brackets: may be left out. Sources are the host's, targets are absolute paths inside. An option of true or"
  print "false is false when it is not given, but for `exec`, `recursive` and `idmap`.\n"
  head("verb", "options", "")
  for _, name in ipairs(names.sorted(fs.verbs)) do
    local verb = fs.verbs[name]
    local options = options_of(verb)
    for i, option in ipairs(options) do options[i] = code(option) end
    row(code(signature(verb)), table.concat(options, " "), cell(verb.doc))
  end
end

local MEANING <const> = {
  atime = "how access times are kept",
  follow = "where the source lies in what the payload can write, links on the way to it are followed, wherever they lead",
  over = "may lie over what an earlier entry has put at its target; otherwise that is a mistake",
  place = "mount: always mounted on its target; tree: always written there",
  shared = "without a new namespace of its kind",
  optional = "skips the entry when its source, or what it changes, is missing; `enforced.skipped` of a result says so",
  create = "makes a missing mount point also in a tree that is shared",
  links = "inside: symbolic links of a shared tree that are on the way to the target are followed, and lead no further than "
    .. "the sandbox's root; one that is the target itself is refused. Otherwise all are",
  dev = "device nodes in it work", suid = "set-user-id bits in it count (with `no_new_privs = false`)",
  exec = "false: nothing in it can be executed", from_fd = "the source is what this fd refers to; its path is for messages",
  gid = "the group it belongs to, an id inside", uid = "the user it belongs to, an id inside",
  idmap = "true: the owner of the source is the sandbox's user inside (root only; it is root's default for what can be "
    .. "written). A table maps ids on the disk to ids inside. false: ids as they are",
  inodes = "how many files at most", size = "how many bytes at most",
  mode = "permission bits; of `ro`, `rw` and `device` those of a mount point that has to be made",
  parents = "permission bits of the directories that have to be made on the way",
  propagation = "slave: what is mounted below the source later appears inside, too, as the host mounts it; never the other "
    .. "way round",
  recursive = "false: without what is mounted below it",
  ro = "read-only, or with false no more", upper = "where writes go: into memory",
  full = "nothing is masked or made read-only", read_only = "what is made read-only even so: sys, sysrq-trigger, irq, bus, fs, "
    .. "pressure", subset = "nothing but the processes",
  writable = "stays writable when the root becomes read-only",
  hidepid = "which processes of others can be seen",
}

local function print_options()
  local words = {}
  for _, name in ipairs(names.sorted(fs.verbs)) do
    local verb = fs.verbs[name]
    for _, option in ipairs(options_of(verb)) do words[option] = option_words(verb, option) end
  end
  print()
  head("option", "is", "")
  for _, option in ipairs(names.sorted(words)) do row(code(option), cell(words[option]), MEANING[option] or "") end
end

-- -- system calls --

local profile = require "nslua.profile"

local function print_profile()
  print "\n## System calls of the default profile\n"
  print "What no group names does not exist for the payload (ENOSYS); `clone3` neither, so that libraries use `clone`, whose"
  print "flags can be checked. Capabilities in `caps` open the refused groups that they are for. A recipe names groups as"
  print "`\"@mounts\"`, with `-` for blanks.\n"
  for _, part in ipairs { { "allowed", profile.allowed }, { "refused (EPERM)", profile.refused } } do
    head(part[1], "why", "calls")
    for _, group in ipairs(part[2]) do
      row(group.name, cell(group.why), (group.calls:gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s+", " ")))
    end
    print()
  end
  head("checked", "why")
  for _, one in ipairs(profile.checked) do row(code(one.name), cell(one.why)) end
end

-- -- primitives --

local KINDS <const> = {
  STR = "string", BYTES = "bytes", LIST = "list of strings", INT = "integer", LONG = "integer", SHORT = "integer",
  INTS = "list of integers", MODE = "mode", FD = "fd",
}
local RESULTS <const> = { DONE = "true", FD = "fd", NUMBER = "integer" }

local function parameters_of(text)
  local words = {}
  for macro, first, second in text:gmatch "(%u+)%(([%w_]+), ([%w_]+)%)" do
    local kind, none = first:gsub("_OR_NONE$", "")
    local word = ("%s: %s"):format(second, macro == "FLAGS" and first or KINDS[kind])
    words[#words + 1] = none > 0 and "[" .. word .. "]" or word
  end
  return table.concat(words, ", ")
end

local function print_primitives(text)
  head("primitive", "arguments", "gives")
  for arguments in text:gmatch "PRIMITIVE(%b())" do
    local name, result, parameters = arguments:match "^%(([%w_]+), (%u+), ?(.*)%)$"
    row(code(name), parameters_of(parameters), RESULTS[result])
  end
end

local function print_flags()
  print "\n### Flags\n"
  print "In a list, one alone, or an integer.\n"
  head("set", "names")
  for set, flags in read "kernel/flags.def":gmatch "FLAG_SET%(([%w_]+)%)(.-)END_SET" do
    local names = {}
    for name in flags:gmatch 'FLAG%("([^"]+)"' do names[#names + 1] = code(name) end
    row(set, table.concat(names, " "))
  end
end

local function print_sys()
  print "\n## Primitives of nslua.sys\n"
  print "Each is a function of `nslua.sys` that acts now (gives what the table says, or nil, a message and the errno), and a"
  print "method of a plan that records it for the child. In brackets: may be nil. With `dirfd` a path is resolved below it,"
  print "without symbolic links, or with `links` \"inside\" by those on the way, which lead as if that were the root; `parents` is"
  print "the mode that missing directories on the way are made with. An fd is an integer, a handle, a Lua file or, in a plan,"
  print "what another primitive gave. Names such as `mount_flags` are sets of flags, below.\n"
  print_primitives(read "kernel/primitives.def")
  print "\nOnly in a plan, for they act on the child itself:\n"
  print_primitives(read "stage/primitives.def")
  print_flags()
end

print "# Reference\n"
print "Made by `make doc` from the tables that nslua works with: do not edit.\n"
print_fields()
print_run()
print_calls()
print_verbs()
print_options()
print_profile()
print_sys()
