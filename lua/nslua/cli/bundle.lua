--- nslua bundle: a program of its own from a script.
local bundle = require "nslua.bundle"

--- The script, its modules and the program's path, from the words of the command.
local function read(words, usage_error)
  local script, modules, program
  local i = 1
  while words[i] do
    local name, path = words[i]:match "^([%w_.]+)=(.+)$"
    if words[i] == "-o" then
      i = i + 1
      program = words[i]
    elseif name then modules = modules or {}; modules[name] = path
    elseif script then usage_error "bundle: one script"
    else script = words[i] end
    i = i + 1
  end
  if not script or not program then usage_error "bundle: a script, and -o with the program to make" end
  return script, modules or {}, program
end

return function(words, usage_error)
  local ok, err = bundle.make(read(words, usage_error))
  if not ok then error(err, 0) end
  return 0
end
