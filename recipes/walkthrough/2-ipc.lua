-- Step 2, IPC: message queues, semaphores and shared memory of its own.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local walk = dofile(here .. "common.lua")

local box = sandbox "2-ipc" {
  namespaces = walk.namespaces { "uts", "ipc" },
  user = walk.user, caps = "all",
  command = { "sh" },
}

return walk.step {
  box = box,
  says = "a message queue made inside is the only one there, and it is not seen outside",
  try = [[
  ipcs -q             # none, whatever the host has
  ipcmk -Q            # makes one
  ipcs -q             # there it is; in another terminal: not
]],
  inside = "ipcmk -Q >/dev/null; ipcs -q",
  outside = "ipcs -q",
  holds = function(inside, outside)
    local queues = select(2, inside:gsub("0x%x+", ""))
    return queues == 1 and not outside:find(inside:match "0x%x+", 1, true)
  end,
}
