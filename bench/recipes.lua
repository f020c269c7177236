--- What loop.lua runs and floor.lua writes as C, by name.
local nslua = require "nslua"

local KINDS <const> = { "user", "uts", "ipc", "pid", "net", "cgroup" }
local CAPTURED <const>, NULL <const> = { "/bin/true" }, { "/bin/true", stdout = "null", stderr = "null" } -- as exec.Cmd

--- A recipe and a command: "default"; "unfiltered", without seccomp and Landlock; "namespaces", those of the Go program, no
-- files; "mount", with a mount namespace, the host's tree in it; and "exec", where each run is a further command in one sandbox.
return {
  default = { recipe = {}, argv = CAPTURED },
  exec = { recipe = {}, argv = CAPTURED, further = true },
  unfiltered = { recipe = { seccomp = false, landlock = false }, argv = CAPTURED },
  namespaces = { recipe = { namespaces = KINDS, net = "none" }, argv = NULL },
  mount = {
    recipe = { namespaces = { "mount", table.unpack(KINDS) }, net = "none", fs = { nslua.fs.host() } }, argv = NULL,
  },
}
