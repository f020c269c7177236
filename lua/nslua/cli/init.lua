--- The command line of nslua: the options of lua, scripts, and the commands of nslua.cli.
-- @script nslua
local NSLUA_FAILED <const> = 125

local COMMANDS <const> = {
  run = true, explain = true, check = true, ps = true, enter = true, bwrap = true, ["from-bwrap"] = true, bundle = true,
}

local USAGE <const> = [==[
usage: nslua [options] [SCRIPT [args]]     run a script; a sandbox that it returns runs args
       nslua run [options] [RECIPE] [-- COMMAND…]
                                           run a command in a recipe's sandbox, or in the default one;
                                           --stats, --stats=json: say at the end what it used;
                                           --time-steps: and how long each step of the set-up took;
                                           --tty, --no-tty: with a terminal of its own, or without
       nslua explain RECIPE [--json]       show a recipe's sandbox as a tree
       nslua check RECIPE                  check a recipe without running anything
       nslua ps [--json]                   show the sandboxes that run
       nslua enter [options] PID [-- COMMAND…]
                                           run a command, or a shell, in one of those, by its pid;
                                           --caps LIST: with capabilities that its own have, or all;
                                           --recipe FILE: with the rest of that recipe, as env and seccomp
       nslua bundle SCRIPT [NAME=MODULE…] -o PROGRAM
                                           make one program of this one, a script, and modules that it requires
       nslua bwrap ARGS…                   bubblewrap's command line
       nslua from-bwrap ARGS…              print the recipe that comes nearest to one
options:
  -e CODE   execute CODE        -l MOD   require MOD      -i   a REPL, after the rest
  -E        ignore the environment       -v   the version
  --        end of options               -    read the script from stdin
]==]

--- An error that carries the exit status and needs no traceback.
local Failure = { __tostring = function(self) return self.message end }
local function fail(message) error(setmetatable({ message = message }, Failure), 0) end

--- Messages of Lua get a traceback; errors of nslua speak for themselves.
local function handler(message)
  if type(message) ~= "string" then return message end
  return debug.traceback(message, 2)
end

local function usage_error(message) fail(message .. "\n" .. USAGE) end

--- What code of the user's finds: our names.
local function prepare() require("nslua.load").add_names(_G) end

local function run_code(code)
  prepare()
  local chunk, message = load(code, "=(command line)")
  if not chunk then fail(message) end
  chunk()
end

local function require_module(name)
  prepare()
  _G[name:match "^[%w_]+$" and name or name:gsub("%W", "_")] = require(name)
end

--- Reads the options before the script: what to do, in order, and where the script is.
local function read_options(arg)
  local actions, flags = {}, {}
  local i = 1
  local function operand(option)
    local attached = arg[i]:sub(3)
    if attached ~= "" then return attached end
    i = i + 1
    return arg[i] or usage_error("'" .. option .. "' needs an argument")
  end
  while arg[i] and arg[i]:sub(1, 1) == "-" and arg[i] ~= "-" do
    local option = arg[i]:sub(1, 2)
    if arg[i] == "--" then
      i = i + 1
      break
    elseif arg[i] == "--help" or arg[i] == "-h" then flags.help = true
    elseif arg[i] == "--version" or arg[i] == "-v" then flags.version = true
    elseif arg[i] == "-E" then flags.E = true
    elseif arg[i] == "-i" then flags.interactive = true
    elseif option == "-e" then
      local code = operand "-e"
      actions[#actions + 1] = function() run_code(code) end
    elseif option == "-l" then
      local name = operand "-l"
      actions[#actions + 1] = function() require_module(name) end
    else usage_error("unrecognized option '" .. arg[i] .. "'") end
    i = i + 1
  end
  return actions, flags, i
end

--- What the script finds in `arg`, and its own arguments.
local function shift(arg, first)
  local shifted = {}
  for i = 0, #arg do shifted[i - first] = arg[i] end
  _G.arg = shifted
  return table.unpack(shifted)
end

--- Runs a script; a sandbox that it returns runs its arguments. An integer is the exit status.
local function run_chunk(chunk, arg, first)
  local value = chunk(shift(arg, first))
  if getmetatable(value) and require("nslua.sandbox").is(value) then
    return require("nslua.cli.run").in_box(value, { table.unpack(arg, first + 1) })
  end
  return math.type(value) == "integer" and value & 0xff or 0
end

local function run_script(arg, first)
  prepare()
  local path = arg[first]
  local chunk, message
  if path == "-" then chunk, message = load(io.read "a", "=stdin")
  else chunk, message = require("nslua.load").chunk(path, _G) end
  if not chunk then fail(message) end
  return run_chunk(chunk, arg, first)
end

--- What a program made by nslua bundle does.
local function run_bundle(arg, content)
  local chunk = require("nslua.bundle").open(content)
  math.randomseed(math.floor(require("nslua.sys").clock() * 1e9)) -- a snapshot has a seed
  prepare()
  return run_chunk(chunk, arg, 0)
end

local function dispatch(arg)
  local actions, flags, first = read_options(arg)
  if flags.help then
    io.write(USAGE)
    return 0
  end
  if flags.version then io.write(require("nslua")._VERSION, "  ", _VERSION, "\n") end
  for _, action in ipairs(actions) do action() end
  local status = 0
  if arg[first] and COMMANDS[arg[first]] then
    status = require("nslua.cli." .. arg[first])({ table.unpack(arg, first + 1) }, usage_error)
  elseif arg[first] then
    status = run_script(arg, first)
  elseif not (flags.version or flags.interactive or #actions > 0) then
    if require("nslua.sys").isatty(0) then flags.interactive = true
    else
      arg[first] = "-"
      status = run_script(arg, first)
    end
  end
  if flags.interactive then
    prepare()
    require "nslua.cli.repl"()
  end
  return status
end

return function(arg, bundle)
  local ok, status = xpcall(bundle and run_bundle or dispatch, handler, arg, bundle)
  if ok then return status end
  require "nslua.cli.say"(status)
  return NSLUA_FAILED
end
