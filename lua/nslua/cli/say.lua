--- Says an error on stderr, in colour on a terminal, to which what the message quotes does nothing.
local sys = require "nslua.sys"

return function(message)
  local red, plain = "", ""
  if sys.isatty(2) then red, plain = "\27[31m", "\27[0m" end
  io.stderr:write(red, "nslua: ", plain, (tostring(message):gsub("[^\n\t]+", sys.escape)), "\n")
end
