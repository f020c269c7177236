-- Step 5, user: ids of its own. Root inside is nobody special outside.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local walk = dofile(here .. "common.lua")

local box = sandbox "5-user" {
  namespaces = { "uts", "ipc", "pid", "mount", "user" },
  user = "root", caps = "all", init = false,
  fs = { fs.host(), fs.proc() },
  command = { "sh" },
}

return walk.step {
  box = box,
  says = "uid 0 inside is an ordinary uid outside",
  try = [[
  id                        # uid=0(root)
  cat /proc/self/uid_map    # 0 is which uid of the host?
  hostname changed          # root of this sandbox's things,
  cat /etc/shadow           # but not of the host's
]],
  inside = "id; head -c 1 /etc/shadow 2>&1",
  outside = "grep -E '^(Uid|Gid)' /proc/$PID/status",
  holds = function(inside, outside)
    local uid = outside:match "Uid:%s+(%d+)"
    return inside:find "^uid=0" and inside:find "denied" and uid and uid ~= "0"
  end,
}
