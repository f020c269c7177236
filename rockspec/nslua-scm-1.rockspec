rockspec_format = "3.0"
package = "nslua"
version = "scm-1"
source = { url = "." }
description = {
  summary = "Linux namespace isolation, programmable",
  detailed = "Sandboxes as immutable Lua values: namespaces, id maps, mounts, capabilities.",
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4" }
external_dependencies = { CAP = { header = "sys/capability.h" } }
build = {
  type = "make",
  build_variables = {
    CC = "$(CC)", CFLAGS = "$(CFLAGS)", LUA = "$(LUA)", LUA_INCDIR = "$(LUA_INCDIR)", LUA_LIBDIR = "$(LUA_LIBDIR)",
  },
  install_variables = {
    INST_BINDIR = "$(BINDIR)", INST_LUADIR = "$(LUADIR)", INST_LIBDIR = "$(LIBDIR)", LUA = "$(LUA)",
    LUA_INCDIR = "$(LUA_INCDIR)", LUA_LIBDIR = "$(LUA_LIBDIR)", CFLAGS = "$(CFLAGS)",
  },
}
test = { type = "command", command = "make test" }
