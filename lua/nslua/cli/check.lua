--- nslua check: whether a recipe is right, without running anything.
return function(words, usage_error)
  if #words ~= 1 then usage_error("check: one recipe") end
  local box, message = require("nslua").load(words[1])
  local ok, err
  if box then ok, err = box:plan() end
  if ok then return 0 end
  io.stderr:write("nslua: ", tostring(message or err), "\n")
  return 125
end
