-- Prints C source that holds Lua modules, precompiled, without what only a debugger reads.
-- usage: lua5.4 embed.lua lua/nslua/init.lua …

local function bytes_of(code)
  local lines = {}
  for at = 1, #code, 24 do
    lines[#lines + 1] = (code:sub(at, at + 23):gsub(".", function(c) return c:byte() .. "," end))
  end
  return table.concat(lines, "\n")
end

local rows = {}
print '#include "embedded.h"'
for i, path in ipairs(arg) do
  local name = path:match "^lua/(.+)%.lua$"
  local file = assert(io.open(path, "rb"))
  local chunk = assert(load(file:read "a", "@" .. name .. ".lua", "t"))
  file:close()
  print(("static const unsigned char code_%d[] = {\n%s\n};"):format(i, bytes_of(string.dump(chunk, true))))
  rows[i] = ('  { "%s", "@%s.lua", (const char *)code_%d, sizeof code_%d },'):format(
    name:gsub("/init$", ""):gsub("/", "."), name, i, i)
end
print("const struct embedded embedded[] = {\n" .. table.concat(rows, "\n")
  .. "\n  { NULL, NULL, NULL, 0 },\n};")
