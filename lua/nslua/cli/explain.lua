--- nslua explain: a recipe's sandbox as a tree, or as JSON.
return function(words, usage_error)
  local path, json
  for _, word in ipairs(words) do
    if word == "--json" then json = true
    elseif word:sub(1, 1) == "-" then usage_error("explain: unrecognized option '" .. word .. "'")
    elseif path then usage_error("explain: one recipe")
    else path = word end
  end
  if not path then usage_error("explain: which recipe?") end
  local box, message = require("nslua").load(path)
  local text, err
  if box then text, err = box:explain { json = json } end
  if text then
    io.write(text, "\n")
    return 0
  end
  require "nslua.cli.say"(message or err)
  return 125
end
