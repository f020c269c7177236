-- Builds a project: its directory is writable, the system is read-only, there is no network, and of
-- your home, keys and processes there is nothing.
--   cd project && nslua build.lua make -j4
-- This file, where it lies in the project, stays as it is: it says what is done outside.
return sandbox "build" {
  hostname = "builder",
  fs = { fs.os(), fs.rw(".", "/src"), fs.ro("build.lua", "/src/build.lua", { optional = true }) },
  cwd = "/src", env = { HOME = "/tmp", inherit = { "CC", "CFLAGS" } },
  limits = { time = 600 },
  command = { "make", "--dry-run" },
}
