-- Step 6, net: interfaces, addresses, ports and routes of its own. Now nothing is shared but the files.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local walk = dofile(here .. "common.lua")

local box = sandbox "6-net" {
  namespaces = { "uts", "ipc", "pid", "mount", "user", "net" },
  user = "root", caps = "all", init = false,
  fs = { fs.host(), fs.proc() },
  command = { "sh" },
}

return walk.step {
  box = box,
  says = "there is a loopback interface inside and no other; the host's are out of reach",
  try = [[
  ip link             # lo, and nothing else
  ping -c1 127.0.0.1  # which works
  ip route            # and no way out
]],
  inside = "readlink /proc/$$/ns/net; ip -o link",
  outside = "readlink /proc/self/ns/net; ip -o link",
  holds = function(inside, outside)
    local interfaces = select(2, inside:gsub("\n%d+: ", ""))
    return interfaces == 1 and inside:find "\n1: lo: <[^>]*UP"
      and inside:match "^[^\n]+" ~= outside:match "^[^\n]+"
  end,
}
