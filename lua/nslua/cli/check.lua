--- nslua check: whether a recipe is right, and what it says that is hardly meant; nothing is run.
return function(words, usage_error)
  if #words ~= 1 then usage_error("check: one recipe") end
  local box, message = require("nslua").load(words[1])
  local warnings, err
  if box then warnings, err = box:lint() end
  if not warnings then
    require "nslua.cli.say"(message or err)
    return 125
  end
  for _, warning in ipairs(warnings) do print("warning: " .. tostring(warning)) end
  return 0
end
