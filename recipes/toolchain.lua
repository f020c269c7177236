-- A verb for a language's tool chain: its tree to read, its cache to write, and the variables that say where they are.
-- Only public names are used: copy it, and change the three lines that know Python.

--- The tool chain below `prefix` at /toolchain, with a cache that lasts when `cache` names a directory.
local function toolchain(prefix, cache)
  return {
    fs.ro(prefix, "/toolchain"),
    cache and fs.rw(cache, "/cache") or fs.dir("/cache", { writable = true }),
    fs.file("/etc/toolchain", function() return "prefix /toolchain, from " .. prefix .. "\n" end),
  }
end

return sandbox "toolchain" {
  fs = { fs.os(), toolchain("/usr/lib/python3", os.getenv "TOOLCHAIN_CACHE") },
  env = { PYTHONPATH = "/toolchain/dist-packages", PYTHONPYCACHEPREFIX = "/cache" },
  cwd = "/cache",
  command = { "sh", "-c", "cat /etc/toolchain; python3 -c 'import sys; print(sys.path[1], sys.pycache_prefix)'; test -w /cache" },
}
