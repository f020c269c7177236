--- nslua from-bwrap: a command line of bubblewrap as a recipe; nothing is run.
local options = require "nslua.bwrap.options"
local recipes = require "nslua.bwrap.recipe"

local function text_of(words)
  local request = recipes.new_request(#words)
  local at = options.parse(words, request)
  if request.show then return options.usage "nslua from-bwrap" end
  if not words[at] then options.die "from-bwrap: the command is missing" end
  return require "nslua.bwrap.print"(request, table.move(words, at, #words, 1, {}))
end

return function(words)
  io.write(text_of(words))
  return 0
end
