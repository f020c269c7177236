--- What specs share: who runs them, a place for files, what a test must not leave behind.
local lfs = require "lfs"
local sys = require "nslua.sys"

local M = { build = os.getenv "NSLUA_BUILD" or "build" }
M.nslua = "./" .. M.build .. "/nslua"
M.is_root = sys.identity().uid == 0
M.sanitized = M.build:find "sanitized" ~= nil

--- Output and exit status of a shell command.
function M.shell(command)
  local pipe = assert(io.popen(command .. " 2>&1", "r"))
  local output = pipe:read "a"
  local _, how, status = pipe:close()
  return output, how == "exit" and status or 128 + status
end

--- A new directory, of mode 0755 whatever the umask, on a file system that can be idmapped.
function M.directory()
  local path = M.shell("mktemp -d /var/tmp/nslua-spec.XXXXXX"):match "%S+"
  M.shell("chmod 755 " .. path)
  return path
end

--- Only what M.directory made, only on one file system.
function M.remove(path)
  assert(path:find "^/var/tmp/nslua%-spec%.%w+$")
  M.shell("rm -rf --one-file-system " .. path)
end

function M.write(path, content, mode)
  local file = assert(io.open(path, "w"))
  file:write(content)
  file:close()
  if mode then M.shell(("chmod %s %s"):format(mode, path)) end
end

--- Makes a program of C source.
function M.program(directory, name, source)
  M.write(("%s/%s.c"):format(directory, name), source)
  local output, status = M.shell(("cd %s && cc -O2 -o %s %s.c && chmod 755 %s"):format(directory, name, name, name))
  assert(status == 0, output)
end

function M.read(path)
  local file = io.open(path)
  if not file then return nil end
  local content = file:read "a"
  file:close()
  return content
end

--- What must be the same after a test: fds, children, mounts, namespaces of this process.
function M.footprint()
  collectgarbage()
  collectgarbage()
  local pid = sys.getpid()
  local fds = 0
  for _ in lfs.dir "/proc/self/fd" do fds = fds + 1 end -- not by a child: its pipe would count, or not
  local mounts = 0
  for _ in io.lines "/proc/self/mountinfo" do mounts = mounts + 1 end
  local children = M.shell(("ps --no-headers --ppid %d -o pid,comm | grep -vE 'sh$'"):format(pid))
  return { fds = fds, mounts = mounts, children = children,
    namespaces = M.shell(("readlink /proc/%d/ns/*"):format(pid)) }
end

return M
