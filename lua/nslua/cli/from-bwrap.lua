--- nslua from-bwrap: a command line of bubblewrap as a recipe; nothing is run.
local options = require "nslua.bwrap.options"
local recipes = require "nslua.bwrap.recipe"

local NSLUA_FAILED <const> = 125

local function text_of(words)
  local request = recipes.new_request(#words)
  local at = options.parse(words, request)
  if request.show then return options.usage "nslua from-bwrap" end
  if not words[at] then options.die "from-bwrap: the command is missing" end
  return require "nslua.bwrap.print"(request, table.move(words, at, #words, 1, {}))
end

return function(words)
  local ok, text = pcall(text_of, words)
  if ok then
    io.write(text)
    return 0
  end
  io.stderr:write("nslua: ", tostring(text), "\n")
  return NSLUA_FAILED
end
