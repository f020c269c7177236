-- Runs a command as it is, with your files, but without a network.
--   nslua nonet.lua ./configure
return sandbox "nonet" {
  namespaces = { "user", "net" },
  env = { inherit = { "PATH", "HOME", "USER", "LANG" } },
  command = { "ip", "-brief", "link" },
}
