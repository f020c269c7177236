-- Step 3, PID: numbers of its own for its processes. The shell is number 1 (init = false: otherwise
-- a small reaper is). But /proc is still the host's, and so is what ps shows.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local walk = dofile(here .. "common.lua")

local box = sandbox "3-pid" {
  namespaces = walk.namespaces { "uts", "ipc", "pid" },
  user = walk.user, caps = "all", init = false,
  command = { "sh" },
}

return walk.step {
  box = box,
  says = "the shell is PID 1 inside and another one outside, and ps still shows the host",
  try = [[
  echo $$             # 1
  ps -elf             # the host's processes: /proc is not ours yet
]],
  inside = "echo $$; ps -elf",
  outside = "ps -o pid,args -p $PID",
  holds = function(inside, outside, pid)
    local host_process = "%f[%d]" .. pid .. "%f[%D]"
    return inside:find "^1\n" and pid ~= 1 and inside:find(host_process) and outside:find(host_process)
  end,
}
