-- No namespace at all: Landlock alone keeps a program to the files and ports that it needs. It sees where everything
-- is, but can open nothing else.
--
--   nslua recipes/landlock.lua              shows what is refused
--   nslua run recipes/landlock.lua -- COMMAND…
return sandbox "landlock" {
  namespaces = {},
  landlock = {
    exec = { "/usr", "/bin", "/lib", { "/lib64", optional = true } },
    ro = { "/etc/ld.so.cache", { "/etc/alternatives", optional = true } },
    rw = { "/dev/null" },
    connect = { 443 },
  },
  command = { "sh", "-c", [[
    echo "programs start:    $(uname -s)"
    echo "nobody's files:    $(ls / 2>&1)"
    echo "nothing written:   $(sh -c "echo > /tmp/landlock-recipe" 2>&1)"
    echo "no signals:        $(kill -0 $PPID 2>&1)"]] },
}
