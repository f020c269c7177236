-- A sandbox is a value: derive others from it. Maps merge by key, and an entry of `fs` for the same
-- target takes the place of the old one.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"

local reader = sandbox "reader" {
  fs = { fs.os(), fs.ro(here, "/work") },
  cwd = "/work", env = { ROLE = "reader", LANG = "C" },
}
local writer = reader:with {
  fs = { fs.tmpfs("/work", { size = "16M" }) },
  env = { ROLE = "writer" },
}

for _, box in ipairs { reader, writer } do
  assert(box:run { "sh", "-c", "echo $ROLE: $(ls | wc -l) files, then: $(touch mine 2>&1 && ls mine)" }):check()
end
