local inside = require "inside"
local landlock = require "nslua.landlock"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, sys, fs = nslua.sandbox, nslua.sys, nslua.fs
local ABI <const> = landlock.abi()

--- Skips a spec where the kernel has too little.
local function needs(abi)
  if ABI < abi then pending(("Landlock ABI %d, which this kernel has not"):format(abi)) end
  return ABI >= abi
end

local function mistake(value, more)
  local recipe = more or {}
  recipe.landlock = value
  return inside.mistake(sandbox, recipe)
end

--- What programs need to start, for a sandbox that is Landlock alone.
local PROGRAMS <const> = { "/usr", "/bin", "/lib", { "/lib64", optional = true }, { "/etc/alternatives", optional = true } }

--- A sandbox without namespaces; ld.so.cache may be read.
local function alone(fields)
  fields.exec = fields.exec or PROGRAMS
  fields.ro = fields.ro or { "/etc/ld.so.cache" }
  fields.rw = fields.rw or { "/dev/null" }
  return sandbox { namespaces = {}, landlock = fields }
end

--- For the time of `f` the kernel seems to have another version of the interface.
local function with_abi(abi, f)
  local real = landlock.abi
  landlock.abi = function() return abi end
  local ok, err = pcall(f)
  landlock.abi = real
  if not ok then error(err, 0) end
end

describe("the primitives of Landlock", function()
  it("work now: a directory that was open before gives nothing any more", function()
    if not needs(2) then return end
    local child = assert(sys.clone({}, function()
      local leaked = assert(sys.open(nil, "/etc", { "path", "directory" }))
      local rights = { "read_file", "read_dir", "write_file" }
      local ruleset = assert(sys.landlock_ruleset(rights, 0, 0))
      assert(sys.landlock_beneath(ruleset, assert(sys.open(nil, "/usr", "path")), "read_file"))
      assert(sys.no_new_privs())
      assert(sys.landlock_restrict(ruleset))
      local _, _, errno = sys.open(leaked, "hostname", "read")
      assert(errno == 13)
      assert(sys.open(nil, "/usr/bin/env", "read"))
      assert(select(3, sys.open(nil, "/usr/bin/env", "write")) ~= nil)
      return 0
    end))
    assert.equal(0, child:wait())
  end)

  it("refuse what is no ruleset, and an empty one", function()
    if not needs(1) then return end
    local file <close> = assert(io.open "README.md")
    local child = assert(sys.clone({}, function()
      sys.no_new_privs()
      return select(3, sys.landlock_restrict(file)) == 77 and 0 or 1 -- EBADFD
    end))
    assert.equal(0, child:wait())
    assert.equal(42, select(3, sys.landlock_ruleset(0, 0, 0))) -- ENOMSG
  end)
end)

describe("the belt", function()
  it("holds by default, and is told", function()
    if not needs(6) then return end
    local result = inside.run(sandbox {}, { "true" })
    assert.same({ 7, "beneath /", 16, { "abstract_unix", "signal" } },
      { math.max(7, result.enforced.landlock.abi), result.enforced.landlock.files, #result.enforced.landlock.rights,
        result.enforced.landlock.scope })
    assert.is_nil(result.enforced.landlock.lost)
    assert.matches("landlock +what is beneath the root; scope abstract_unix signal %(ABI %d+%)", sandbox {}:explain())
    assert.matches("landlock +none", sandbox { landlock = false }:explain())
    assert.matches('"landlock":"what is beneath the root', sandbox {}:explain { json = true })
    assert.is_nil(inside.run(sandbox { landlock = false }, { "true" }).enforced.landlock)
  end)

  it("does not let a log that is open for writing be read", function()
    if not needs(2) then return end
    local directory = probe.directory()
    local path = directory .. "/log"
    probe.write(path, "of others\n", "666")
    local function output(value)
      local log = assert(io.open(path, "a"))
      local result = assert(inside.run(sandbox { landlock = value, user = "root" }, {
        "sh", "-c", "echo mine > /dev/stdout || exit 9; cat < /proc/self/fd/1 >&2", stdout = log, stderr = "capture" }))
      log:close()
      return result.stderr, result.code
    end
    local belt, code = output "default"
    local without = output(false)
    probe.remove(directory)
    assert.matches("Permission denied", belt)
    assert.not_equal(9, code)
    assert.matches("mine", without)
  end)

  it("is in nobody's way", function()
    local seen, result = inside.sh(sandbox { fs = { fs.os(), fs.tmpfs "/work" } }, [[
      set -e
      mkdir /work/a /work/b && echo x > /work/a/f && mv /work/a/f /work/b/f && ln /work/b/f /work/a/g && mkfifo /work/p
      truncate -s 0 /work/a/g && ln -s f /work/l && rm -r /work/a && ls /work
      echo out > /dev/stdout; echo err > /dev/stderr; echo none > /dev/null; head -c 1 /dev/zero | wc -c
      sleep 5 & kill $!; wait $! || echo killed
      python3 -c 'import socket
a = socket.socket(socket.AF_UNIX); a.bind("\0here"); a.listen(); b = socket.socket(socket.AF_UNIX); b.connect("\0here")
import os, pty
m, s = pty.openpty(); print(os.ttyname(s)); open(os.ttyname(s), "w").write("x"); os.get_terminal_size(s)
t = os.memfd_create("m"); open("/proc/self/fd/%d" % t, "w").write("y"); print("ok")' ]])
    assert.is_true(result.ok, seen)
    assert.matches("b\nl\np\nout\n1\nkilled\n/dev/pts/0\nok\n", seen)
  end)

  it("keeps abstract sockets of the host away, with net = host too", function()
    if not needs(6) then return end
    local name = "nslua-spec-" .. sys.getpid()
    local server = io.popen(([[exec python3 -c 'import socket, sys
a = socket.socket(socket.AF_UNIX); a.bind("\0%s"); a.listen(); print("up", flush=True); sys.stdin.read()']]):format(name), "w")
    local try = ([[
import socket, time
for i in range(100):
  a = socket.socket(socket.AF_UNIX)
  try: a.connect("\0%s"); print("reached"); break
  except ConnectionRefusedError: time.sleep(0.05)
  except OSError as e: print(e.errno); break]]):format(name)
    local without = inside.python(sandbox { net = "host", landlock = false }, try)
    local belt = inside.python(sandbox { net = "host" }, try)
    server:close()
    assert.same({ "reached\n", "1\n" }, { without, belt })
  end)

  it("keeps a payload without a PID namespace from signalling its reaper, or anybody else", function()
    if not needs(6) then return end
    for _, namespaces in ipairs { {}, { "user" }, { "user", "net" } } do
      if not (probe.is_root and #namespaces == 0) then
        local seen = inside.sh(sandbox { namespaces = namespaces }, "kill -9 $PPID; kill -0 " .. sys.getpid()
          .. "; sleep 9 & kill $! && echo own")
        assert.matches("own\n.*not permitted.*not permitted", seen)
      end
    end
  end)

  it("leaves mounting to who holds sys_admin", function()
    local box = sandbox { user = "root", caps = { "sys_admin" } }
    assert.equal("mounted\n", (inside.sh(box, "mount -t tmpfs none /tmp && echo mounted")))
    assert.is_nil(inside.run(box, { "true" }).enforced.landlock.files)
  end)

  it("holds without no_new_privs", function()
    if not needs(2) then return end
    local result = inside.run(sandbox { no_new_privs = false }, { "true" })
    assert.equal("beneath /", result.enforced.landlock.files)
  end)

  it("is less on an older kernel, which the result says", function()
    if not needs(2) then return end
    with_abi(2, function()
      local held = inside.run(sandbox {}, { "sh", "-c", "cd /tmp && mkdir a b && touch a/x && mv a/x b" }).enforced.landlock
      assert.same({ 2, 14, {}, { "truncate", "ioctl_dev", "abstract_unix", "signal" } },
        { held.abi, #held.rights, held.scope, held.lost })
    end)
    for _, abi in ipairs { 0, 1 } do
      with_abi(abi, function()
        local result = inside.run(sandbox {}, { "sh", "-c", "cd /tmp && mkdir a b && touch a/x && mv a/x b" })
        assert.is_true(result.ok)
        assert.is_nil(result.enforced.landlock.files)
      end)
    end
  end)
end)

describe("a recipe's landlock", function()
  it("is a sandbox without any namespace", function()
    if not needs(6) then return end
    local directory = probe.directory()
    probe.shell(("cd %s && mkdir in out && echo secret > out/f && chmod -R a+rwX ."):format(directory))
    local box = alone { rw = { "/dev/null", directory .. "/in" } }
    local seen, result = inside.sh(box, ([[
      cd %s || exit 9
      echo mine > in/f && cat in/f && mv in/f in/g && rm in/g && echo changed
      cat out/f; echo x > out/g; ls / ; ls out; cat /etc/passwd; cp /bin/true in/t && in/t]]):format(directory))
    probe.remove(directory)
    assert.matches("^mine\nchanged\ncat: out/f: Permission denied\n.*out/g: Permission denied\n.*'/': Permission denied\n"
      .. ".*'out': Permission denied\n.*passwd: Permission denied\n.*in/t: Permission denied\n$", seen)
    assert.same({ "listed", { "/dev/null", directory .. "/in" } },
      { result.enforced.landlock.files, result.enforced.landlock.rw })
  end)

  it("says inside what may be read, executed and written", function()
    if not needs(5) then return end
    local box = sandbox { landlock = { exec = PROGRAMS, ro = { "/etc" }, rw = { "/tmp", "/dev" } } }
    local seen = inside.sh(box, [[
      echo a > /tmp/a && cat /tmp/a; head -1 /etc/passwd; cp /bin/true /tmp/true; /tmp/true; echo b > /home/sandbox/b; ls /proc
      echo c > /dev/stdout]])
    assert.matches("^a\nroot:.*\n.*/tmp/true: Permission denied\n.*/home/sandbox/b: Permission denied\nls: .*'/proc': "
      .. "Permission denied\n", seen)
  end)

  it("says which ports may be used", function()
    if not needs(4) then return end
    local box = sandbox { landlock = { bind = { 4001 }, connect = { 4002 } } }
    local seen = inside.python(box, [[
import socket
def attempt(f, port):
  s = socket.socket()
  try: getattr(s, f)(("127.0.0.1", port)); print(f, port, "ok")
  except OSError as e: print(f, port, e.errno)
for f in "bind", "connect":
  for port in 4001, 4002: attempt(f, port)]])
    assert.equal("bind 4001 ok\nbind 4002 13\nconnect 4001 13\nconnect 4002 111\n", seen)
    assert.matches("what is beneath the root; bind to port 4001; connect to port 4002;", box:explain())
    local none = inside.python(sandbox { landlock = { connect = {} } }, [[
import socket
try: socket.socket().connect(("127.0.0.1", 9))
except OSError as e: print(e.errno)]])
    assert.equal("13\n", none)
  end)

  it("about ports is not gone around by TCP Fast Open, nor by MPTCP", function()
    if not needs(4) then return end
    local seen = {}
    for _, caps in ipairs { {}, { "net_raw" }, { "net_admin" } } do
      seen[#seen + 1] = inside.python(sandbox { landlock = { connect = {} }, caps = caps }, [[
import socket
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(); address = server.getsockname()
def attempt(what, f):
  try: f(socket.socket()); print(what, "went around")
  except OSError as e: print(what, e.errno)
FAST = socket.MSG_FASTOPEN
attempt("connect", lambda s: s.connect(address))
attempt("sendto", lambda s: s.sendto(b"x", FAST, address))
attempt("sendmsg", lambda s: s.sendmsg([b"x"], [], FAST | socket.MSG_NOSIGNAL, address))
attempt("option", lambda s: (s.setsockopt(socket.IPPROTO_TCP, 30, 1), s.connect(address)))
attempt("mptcp", lambda s: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(address))
attempt("smc", lambda s: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 256).connect(address))]])
    end
    for _, one in ipairs(seen) do
      assert.equal("connect 13\nsendto 95\nsendmsg 95\noption 13\nmptcp 93\nsmc 93\n", one)
    end
    for _, field in ipairs { "bind", "connect" } do
      assert.matches("landlock: bind and connect need seccomp", mistake({ [field] = { 80 } }, { seccomp = false }))
    end
  end)

  it("says what is kept within the sandbox", function()
    if not needs(6) then return end
    if probe.is_root then return pending "root's payload is another user, who may not signal it anyway" end
    local box = sandbox { namespaces = {}, landlock = { scope = {} } }
    assert.equal("may\n", (inside.sh(box, "kill -0 $PPID && echo may")))
  end)

  it("covers what it names, and not what a link in a shared tree leads to", function()
    if not needs(2) then return end
    local directory = probe.directory()
    probe.shell(("cd %s && mkdir -p tree/in secret && echo kept > secret/f && echo in > tree/in/f && chmod -R a+rX . && cd tree "
      .. "&& ln -s /secret secret && ln -s / root && ln -s /proc/self/root magic && ln -s in link"):format(directory))
    local files = { fs.os(), fs.ro(directory .. "/secret", "/secret"), fs.rw(directory .. "/tree", "/src") }
    files[#files + 1] = fs.symlink("/src/in", "/own")
    local function output(path)
      local box = sandbox { fs = files, landlock = {
        exec = PROGRAMS, ro = { "/etc/ld.so.cache" }, rw = { path }, best_effort = true,
      } }
      local result, message = inside.run(box, { "cat", "/secret/f", "/src/in/f" })
      return result and result.stdout or message
    end
    local seen = {}
    for _, path in ipairs { "/src/secret", "/src/root/secret", "/src/magic", "//src/./link/", "/src/root/src/in" } do
      seen[#seen + 1] = output(path)
    end
    local named, own, process = output "/src/in", output "/own", output "/proc/self/cwd"
    probe.remove(directory)
    for _, message in ipairs(seen) do
      assert.matches("^spec/landlock_spec.lua:%d+: landlock rw /.*: is a symbolic link %(ELOOP%);\n  in a tree that", message)
    end
    assert.same({ 5, "in\n", "in\n" }, { #seen, named, own })
    assert.matches("%(ELOOP%);\n  a rule may not be about", process)
  end)

  it("skips what is optional and not there, and tells; the rest must be there", function()
    if not needs(6) then return end
    local result = inside.run(alone { ro = { "/etc", { "/nowhere/at/all", optional = true } } }, { "true" })
    assert.is_true(result.ok)
    assert.same({ "landlock ro /nowhere/at/all" }, result.enforced.skipped)
    local failed, message = inside.run(alone { ro = { "/nowhere/at/all" } }, { "true" })
    assert.is_nil(failed)
    assert.matches("landlock ro /nowhere/at/all: No such file or directory %(ENOENT%)", message)
  end)

  it("names a right that the kernel has not, or with best_effort does without and tells", function()
    if not needs(2) then return end
    with_abi(2, function()
      local failed, message = inside.run(alone {}, { "true" })
      assert.is_nil(failed)
      assert.matches("landlock: truncate needs Linux 6.2 %(Landlock ABI 3%), and here it is ABI 2;\n  best_effort", message)
      local result = inside.run(alone { best_effort = true }, { "true" })
      assert.is_true(result.ok)
      assert.same({ "truncate", "ioctl_dev", "abstract_unix", "signal" }, result.enforced.landlock.lost)
      failed, message = inside.run(sandbox { landlock = { connect = { 80 } } }, { "true" })
      assert.is_nil(failed)
      assert.matches("connect needs Linux 6.7", message)
    end)
    with_abi(0, function()
      local _, message = inside.run(sandbox { landlock = { scope = { "signal" } } }, { "true" })
      assert.matches("signal needs Linux 6.12 %(Landlock ABI 6%), and here it is missing", message)
      assert.is_true(inside.run(sandbox { landlock = { ro = {}, best_effort = true } }, { "true" }).ok)
    end)
  end)

  it("of an ordinary caller needs no_new_privs", function()
    if not needs(6) then return end
    if probe.is_root then return pending "root holds sys_admin" end
    local failed, message = inside.run(sandbox { namespaces = {}, no_new_privs = false, seccomp = false }, { "true" })
    assert.is_nil(failed)
    assert.matches("landlock: Operation not permitted %(EPERM%);\n  without no_new_privs", message)
    local without = sandbox { namespaces = {}, no_new_privs = false, seccomp = false, landlock = false }
    assert.is_true(inside.run(without, { "true" }).ok)
  end)

  it("knows its words", function()
    assert.matches("did you mean 'connect'%?", mistake { conect = {} })
    assert.matches("a port, from 0 to 65535", mistake { connect = { 65536 } })
    assert.matches("'abstract_unix' or 'signal'", mistake { scope = { "abstract" } })
    assert.matches("{ path, optional = true }", mistake { ro = { { optional = true } } })
    assert.matches("{ path, optional = true }", mistake { ro = { 1 } })
    assert.matches("landlock: src must be an absolute path", mistake { rw = { "src" } })
    assert.matches("landlock: /usr/../src must be a path without '..'", mistake { rw = { "/usr/../src" } }, 1, true)
    assert.is_nil(mistake({ rw = { "src" } }, { namespaces = {} }))
    assert.matches("landlock must be 'default' or 'false', or", mistake "belt")
  end)
end)
