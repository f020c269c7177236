-- Step 1, UTS: a host name of its own.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local walk = dofile(here .. "common.lua")

local box = sandbox "1-uts" {
  namespaces = walk.namespaces { "uts" },
  user = walk.user, caps = "all",
  command = { "sh" },
}

return walk.step {
  box = box,
  says = "the host name changes inside and stays as it is outside",
  try = [[
  hostname            # "sandbox"
  hostname changed
  hostname            # changed; in another terminal: not
]],
  inside = "hostname changed; hostname",
  outside = "hostname",
  holds = function(inside, outside) return inside == "changed" and outside ~= "changed" end,
}
