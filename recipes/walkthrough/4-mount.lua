-- Step 4, mount: a tree of its own. It is the host's, with a /proc of the new PID namespace on it.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local walk = dofile(here .. "common.lua")

local box = sandbox "4-mount" {
  namespaces = walk.namespaces { "uts", "ipc", "pid", "mount" },
  user = walk.user, caps = "all", init = false,
  fs = { fs.host(), fs.proc() },
  command = { "sh" },
}

return walk.step {
  box = box,
  says = "ps shows the sandbox's own processes only, and outside the host's as before",
  try = [[
  ps -elf             # the shell is PID 1, and nobody else is there
  mount | tail -1     # /proc; in another terminal /proc is as it was
]],
  inside = "ps -elf",
  outside = "ps -elf | grep -c .; ps -o args= -p $PID",
  holds = function(inside, outside)
    local processes = select(2, inside:gsub("\n", ""))
    return processes <= 2 and tonumber(outside:match "^%d+") > processes + 1
      and inside:find "\n%d+ %S+ +%S+ +1 +0 .* sh" and outside:find "\nsh"
  end,
}
