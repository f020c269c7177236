local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, sys, ns, fs = nslua.sandbox, nslua.sys, nslua.ns, nslua.fs

--- A box with a payload that waits, as a process to be closed.
local function running(box, ...)
  local argv = select("#", ...) > 0 and { ... } or { "sleep", "300" }
  argv.stdout, argv.stderr = "null", "null"
  return assert(box:spawn(argv))
end

--- A program that is just being executed cannot be looked at for a moment.
local function links_of(pid)
  local links = {}
  for _, kind in ipairs { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" } do
    local path = ("/proc/%d/ns/%s"):format(pid, kind)
    links[#links + 1] = ns.patiently(function() return sys.readlink(path) end) or kind
  end
  return links
end

--- Recipes of whose sandboxes everything is told apart.
local BOXES <const> = {
  default = {}, init = { init = false }, root = { user = "root", hostname = "inner" }, clock = { clock = { monotonic = 1000 } },
  pids = { namespaces = { pid = false } }, net = { net = "host" }, auto = { user = "auto" },
  kept = probe.is_root and { namespaces = { "uts", "mount", "pid" } } or { namespaces = { "user", "uts" } },
}

describe("ns.enter", function()
  for name, fields in pairs(BOXES) do
    it("joins all of a running sandbox: " .. name, function()
      local process <close> = running(sandbox(fields))
      local box = assert(ns.enter(process.pid))
      local entered <close> = running(box)
      local pid = assert(entered.pid)
      assert.same(links_of(process.pid), links_of(pid))
      for _, file in ipairs { "root", "cwd" } do
        local a, b = sys.stat(("/proc/%d/%s/."):format(process.pid, "root")), sys.stat(("/proc/%d/%s/."):format(pid, file))
        if process.enforced.namespaces.mount then assert.same({ a.device, a.inode }, { b.device, b.inode }, file) end
      end
      local function ids(of) return (probe.read(("/proc/%d/status"):format(of)):match "\nUid:.-\nGid:[^\n]*") end
      assert.equal(ids(process.pid), ids(pid))
      assert.equal(probe.read(("/proc/%d/cgroup"):format(process.pid)), probe.read(("/proc/%d/cgroup"):format(pid)))
      for kind, inode in pairs(process.enforced.namespaces) do assert.equal(inode, entered.enforced.namespaces[kind], kind) end
      assert.same({}, entered.enforced.capabilities)
      assert.equal("default", entered.enforced.seccomp.profile)
      assert.is_true(entered.enforced.no_new_privs)
      assert.same({}, entered.enforced.skipped)
    end)
  end

  it("lets root's commands leave no set-user-id file in a tree that may be mapped, by whatever way they join", function()
    if not probe.is_root then return pending "needs root" end
    local tree = probe.directory()
    probe.shell(("chmod 777 %s && cp /bin/true %s/x && chmod 755 %s/x"):format(tree, tree, tree))
    local process <close> = running(sandbox { fs = { fs.os(), fs.rw(tree, "/x") } })
    local joined = sandbox {
      namespaces = { user = process:ns "user", mount = process:ns "mount" }, user = { uid = 1000, gid = 1000 },
    }
    for way, box in pairs { enter = assert(ns.enter(process.pid)), handles = joined } do
      local seen, result = inside.sh(box, "chmod 4755 /x/x; chmod 2755 /x/x; cp /bin/true /x/y; chmod 700 /x/y && echo usual")
      assert.matches("usual", seen, way)
      assert.equal("refused", result.enforced.setid_files, way)
      assert.equal(tonumber("755", 8), sys.stat(tree .. "/x").mode, way)
    end
    local mistake = inside.mistake(inside.run, joined:with { no_new_privs = false }, { "true" })
    assert.matches("a joined mount namespace may have one", mistake)
    local free <close> = running(sandbox { no_new_privs = false, fs = { fs.os(), fs.rw(tree, "/x", { idmap = false }) } })
    assert.equal("allowed", inside.run(assert(ns.enter(free.pid)), { "true" }).enforced.setid_files)
  end)

  it("is a sandbox like others: it captures, counts, fails and derives", function()
    local process <close> = running(sandbox { hostname = "inner", fs = { fs.os(), fs.file("/told", "in here\n") } })
    local box = assert(ns.enter(process.pid)):with { env = { WORD = "said" } }
    local seen, result = inside.sh(box, "hostname; cat /told; echo $WORD; pwd; exit 7")
    assert.equal("inner\nin here\nsaid\n/\n", seen)
    assert.equal(7, result.code)
    local _, message = inside.run(box, { "/no/such" })
    assert.matches("command /no/such: No such file", message)
    assert.equal("timeout", inside.run(box, { "sleep", "20", timeout = 0.3 }).reason)
  end)

  it("can signal those who live there, and they see it", function()
    local process <close> = running(sandbox {}, "sh", "-c", "sleep 300 & wait; sleep 2; true")
    local children = ("/proc/%d/task/%d/children"):format(process.pid, process.pid)
    assert.is_true(watch.within(5, function() return probe.read(children) ~= "" end))
    local seen = inside.sh(assert(ns.enter(process.pid)), "kill -9 3; echo $?")
    assert.equal("0\n", seen)
    assert.is_true(process:wait(5).ok)
  end)

  it("leaves nothing behind, in here or in there", function()
    local process <close> = running(sandbox {})
    local marker = watch.marker()
    local function once()
      local box = assert(ns.enter(process.pid))
      assert(box:run { "true" })
      local entered <close> = running(box, "sleep", marker) -- luacheck: ignore entered
      assert.is_true(watch.appear(marker))
    end
    once()
    local before = watch.footprint()
    for _ = 1, 5 do once() end
    assert.same(before, watch.footprint(before))
    assert.is_true(watch.vanish(marker, 5))
  end)

  it("takes further commands, which are in there too", function()
    local process <close> = running(sandbox { hostname = "inner" })
    local entered <close> = running((assert(ns.enter(process.pid))))
    local command <close> = assert(entered:exec { "sleep", "300", stdout = "null", stderr = "null" })
    assert.same(links_of(process.pid), links_of(command.pid))
    assert.equal("inner\n", assert(entered:exec { "hostname", stdout = "capture" }):wait(10).stdout)
  end)

  it("ends with the sandbox", function()
    local process <close> = running(sandbox {})
    local entered <close> = running((assert(ns.enter(process.pid))))
    process:close()
    assert.equal(9, entered:wait(5).signal)
  end)

  it("gives capabilities only within the bounds of those who live there", function()
    local process <close> = running(sandbox { caps = { "net_admin", "chown" } })
    local function caps(wanted)
      local result, message = inside.run(assert(ns.enter(process.pid, sandbox { caps = wanted })), { "true" })
      return result and result.enforced.capabilities or message
    end
    assert.same({}, caps(nil))
    assert.same({ "net_admin" }, caps { "net_admin" })
    assert.same({ "chown", "net_admin" }, caps "all")
    assert.matches("process %d+: it is bounded to less than capabilities sys_admin", caps { "sys_admin", "chown" })
  end)

  it("is not weaker than those who live there", function()
    local process <close> = running(sandbox {})
    local _, message = inside.run(assert(ns.enter(process.pid, sandbox { no_new_privs = false })), { "true" })
    assert.matches("process %d+: it has no_new_privs", message)
    local limited = sandbox { limits = { pids = 50, best_effort = true } }
    _, message = inside.run(assert(ns.enter(process.pid, limited)), { "true" })
    assert.matches("process %d+: who joins it joins its control groups, and has no limits in groups of its own", message)
  end)

  it("goes to the root of a process that has changed it", function()
    local process <close> = running(sandbox { user = "root", caps = { "sys_chroot" }, seccomp = { allow = { "chroot" } },
      fs = { fs.os(), fs.ro("/usr", "/below/usr"), fs.symlink("usr/bin", "/below/bin"), fs.symlink("usr/lib", "/below/lib"),
        fs.symlink("usr/lib64", "/below/lib64") } }, "chroot", "/below", "sleep", "300")
    local root = ("/proc/%d/root"):format(process.pid)
    assert.is_true(watch.within(5, function() return (sys.readlink(root) or ""):find "below" ~= nil end))
    local seen = inside.sh(assert(ns.enter(process.pid)), "echo /*; pwd")
    assert.equal("/bin /lib /lib64 /usr\n/\n", seen)
  end)

  it("says of a process why it cannot be joined", function()
    local function message(pid) return tostring(select(2, ns.enter(pid))) end
    assert.matches("^process %d+: it lives where the caller lives: there is no sandbox to join", message(sys.getpid()))
    assert.matches("^process 4194303: No such process %(ESRCH%)", message(4194303))
    local kernel_thread = message(2)
    assert.matches(probe.is_root and "there is no sandbox to join" or "Permission denied %(EACCES%)", kernel_thread)
    local zombie = assert(sys.clone({}, function() return 0 end))
    assert.is_true(watch.within(5, function() return probe.read(("/proc/%d/stat"):format(zombie.pid)):find "%) Z" ~= nil end))
    assert.matches("^process %d+: it has ended", message(zombie.pid))
    zombie:close()
    for _, wrong in ipairs { 0, -1, "1", 1.5 } do assert.has_error(function() ns.enter(wrong) end) end
    assert.has_error(function() ns.enter(1, {}) end)
  end)

  it("notices that the process has ended meanwhile", function()
    local process <close> = running(sandbox {})
    local box = assert(ns.enter(process.pid))
    assert(box:run { "true" }):check()
    process:close()
    assert.matches("process %d+: it has ended", tostring(select(2, box:run { "true" })))
  end)

  it("is refused to who did not make it", function()
    if not probe.is_root then
      return pending "needs root's sandbox: the test as root has both"
    end
    local process <close> = running(sandbox {})
    local output, status = probe.shell(("setpriv --reuid nslua-test --clear-groups timeout 60 %s enter %d -- true"):format(
      probe.nslua, process.pid))
    assert.equal(125, status)
    assert.matches("nslua: namespaces of process %d+: Permission denied %(EACCES%);\n  only who made a sandbox", output)
  end)

  it("joins its control groups where the caller may, and else says which it did not", function()
    local at = "/sys/fs/cgroup/unified"
    if not sys.stat(at .. "/cgroup.procs") then at = "/sys/fs/cgroup" end
    local groups, made = {}, {}
    for _, parent in ipairs { at, "/sys/fs/cgroup/pids" } do
      local group = ("%s/nslua-spec-%d"):format(parent, sys.getpid())
      if sys.stat(parent .. "/cgroup.procs") and sys.mkdir(nil, group, 493) then groups[#groups + 1] = group end
    end
    if #groups == 0 then return pending "no control group can be made here" end
    local process = running(sandbox {})
    for i, group in ipairs(groups) do
      probe.write(group .. "/cgroup.procs", process.pid)
      made[i] = probe.read(group .. "/cgroup.procs") == process.pid .. "\n"
    end
    local entered = running((assert(ns.enter(process.pid))))
    local of_process, of_entered = (probe.read(("/proc/%d/cgroup"):format(process.pid))),
      (probe.read(("/proc/%d/cgroup"):format(entered.pid)))
    local skipped = entered.enforced.skipped
    entered:close()
    local said = probe.shell(("%s enter %d -- true < /dev/null"):format(probe.nslua, process.pid))
    process:close()
    for _, group in ipairs(groups) do
      assert.is_true(watch.within(2, function() return sys.stat(group) == nil or os.remove(group) end))
    end
    assert.same({ true, made[2] }, made)
    assert.matches("/nslua%-spec%-" .. sys.getpid(), of_process)
    assert.same({ of_process, {}, "" }, { of_entered, skipped, said })
  end)

  it("takes root into an ordinary user's sandbox, as that user and without its groups", function()
    if not probe.is_root then return pending "needs root" end
    local marker = watch.marker()
    probe.shell(("setpriv --reuid nslua-test --regid nslua-test --init-groups %s run -- sleep %s > /dev/null 2>&1 &"):format(
      probe.nslua, marker))
    local found
    watch.within(10, function()
      for _, one in ipairs(require "nslua.running".list()) do
        if one.command[2] == marker then found = one end
      end
      return found
    end)
    if not found then return pending "the tree is not readable for the ordinary user here" end
    local group = ("/sys/fs/cgroup/pids/nslua-spec-%d-ordinary"):format(sys.getpid())
    if sys.mkdir(nil, group, 493) then -- as far as version 1 is there
      probe.write(group .. "/cgroup.procs", found.pid)
      local said = probe.shell(("setpriv --reuid nslua-test --regid nslua-test --init-groups %s enter %d -- echo ran"):format(
        probe.nslua, found.pid))
      probe.write("/sys/fs/cgroup/pids/cgroup.procs", found.pid)
      assert.is_true(watch.within(2, function() return os.remove(group) end))
      assert.matches("^nslua: not joined: control group pids:/nslua%-spec%-%d+%-ordinary: Permission denied\nran\n$", said)
    end
    local seen, result = inside.sh(assert(ns.enter(found.pid)), "id -u; cat /proc/self/uid_map; touch /tmp/x && echo touched")
    assert.matches(("^%d\n +%d +%d +1\ntouched\n$"):format(found.uid, found.uid, found.uid), seen)
    assert.equal(0, result.enforced.supplementary_groups)
    probe.shell("kill " .. found.pid)
    assert.is_true(watch.vanish(marker, 5))
  end)
end)

-- -- what those who live there could see --

--- Looks for some seconds at every stage of a sandbox of a name; it prints how many it saw, and each look that succeeded
--- while it still was one.
local LOOK <const> = [[
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def read(path):
  with open(path, "rb") as f: return f.read(1)
def ptrace(pid):
  if libc.ptrace(0x4206, pid, 0, 0) < 0: raise OSError  # PTRACE_SEIZE
  return 1
def vm(pid):
  class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
  b = ctypes.create_string_buffer(8)
  local, remote = iovec(ctypes.addressof(b), 8), iovec(0x7ff000000000, 8)
  if libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) < 0: raise OSError
  return 1
def getfd(pid):
  fd = libc.syscall(434, pid, 0)
  r = libc.syscall(438, fd, 64, 0)
  os.close(fd)
  if r < 0: raise OSError
  return 1
looks = {
  "mem": lambda p: open("/proc/%d/mem" % p, "rb"), "exe": lambda p: os.readlink("/proc/%d/exe" % p),
  "exe opened": lambda p: open("/proc/%d/exe" % p, "rb"), "fd": lambda p: os.listdir("/proc/%d/fd" % p),
  "environ": lambda p: read("/proc/%d/environ" % p), "cwd": lambda p: os.readlink("/proc/%d/cwd" % p),
  "maps": lambda p: read("/proc/%d/maps" % p), "ptrace": ptrace, "vm": vm, "getfd": getfd,
}
def is_stage(pid):
  try: return open("/proc/%d/cmdline" % pid, "rb").read() == b"nslua\0sandbox<%s>\0" % sys.argv[2].encode()
  except OSError: return False
seen, pids, got = 0, set(), set()
print("ready", flush=True)
end = time.time() + float(sys.argv[1])
def reap():  # a program seized just after its start is ours to reap
  try:
    while os.waitpid(-1, os.WNOHANG | 0x40000000)[0]: pass
  except OSError: pass
while time.time() < end:
  reap()
  for pid in [int(n) for n in os.listdir("/proc") if n.isdigit()]:
    if not is_stage(pid): continue
    seen += 1
    pids.add(pid)
    for name, look in looks.items():
      try: good = look(pid)
      except OSError: continue
      if good and is_stage(pid): got.add("%s of %d" % (name, pid))
print(len(pids), "seen", " ".join(sorted(got)))
]]

describe("who lives in a sandbox", function()
  local name = "looked-at-" .. sys.getpid()
  local everything = { caps = "all", user = "root", seccomp = false, landlock = false }

  --- What a payload of the box got hold of while somebody entered again and again, by way of a slow search for the command.
  local function watched(box, entering)
    local process <close> = assert(box:spawn { "python3", "-c", LOOK, "4", name, stdout = "pipe", stderr = "inherit" })
    assert.equal("ready", process.stdout:read "l")
    local entered = assert(ns.enter(process.pid, entering))
    local path, times, stop = ("/x:"):rep(1000) .. "/usr/bin:/bin", 0, sys.clock() + 3
    while sys.clock() < stop do
      assert(entered:run { "true", env = { PATH = path, SECRET = "hunter2" } }):check()
      times = times + 1
    end
    local count, got = process.stdout:read "a":match "^(%d+) seen (.*)\n$"
    assert.is_true(times > 1, times)
    return tonumber(count), got
  end

  it("with all capabilities gets nothing of who joins it", function()
    local box = sandbox(name)(everything):with { fs = { fs.os(), fs.proc("/proc", { hidepid = "off", full = true }) } }
    local count, got = watched(box, sandbox(name) {})
    assert.is_true(count > 1, "seen too seldom: " .. count) -- the reaper, and some on their way in
    assert.equal("", got)
    local loosest = sandbox(name) { caps = "all", landlock = false, seccomp = false }
    assert.equal("", (select(2, watched(box, loosest))))
  end)

  it("gets nothing of the stage either, where it shares its PIDs", function()
    local box = sandbox(name)(everything):with { namespaces = { "user", "net" } }
    local count, got = watched(box, sandbox(name) {})
    assert.is_true(count > 1, "seen too seldom: " .. count)
    assert.equal("", got)
  end)
end)

describe("nslua enter", function()
  local function enter(arguments, before)
    return probe.shell(("timeout 60 %s enter %s < %s"):format(probe.nslua, arguments, before or "/dev/null"))
  end

  it("runs a command, or a shell, in a sandbox by its pid", function()
    local process <close> = running(sandbox { hostname = "inner" })
    assert.equal("inner\n", (enter(process.pid .. " -- hostname")))
    assert.equal(5, select(2, enter(process.pid .. " -- sh -c 'exit 5'")))
    local directory = probe.directory()
    probe.write(directory .. "/typed", "hostname\nexit 6\n", "644")
    assert.same({ "inner\n", 6 }, { enter(tostring(process.pid), directory .. "/typed") })
    probe.remove(directory)
  end)

  it("takes capabilities and a recipe's own words", function()
    local process <close> = running(sandbox { caps = { "net_admin", "chown" } })
    assert.matches("CapEff:%s+0+1000\n", (enter("--caps net_admin " .. process.pid .. " -- grep CapEff /proc/self/status")))
    assert.matches("CapEff:%s+0+1001\n", (enter("--caps all " .. process.pid .. " -- grep CapEff /proc/self/status")))
    local output, status = enter("--caps sys_boot " .. process.pid .. " -- true")
    assert.same({ 125, true }, { status, output:find "bounded to less than capabilities sys_boot" ~= nil })
    local directory = probe.directory()
    probe.write(directory .. "/r.lua",
      'return sandbox { env = { WORD = "said" }, seccomp = { deny = { "mkdir" } }, net = "none" }', "644")
    output = enter(("--recipe %s/r.lua %d -- sh -c 'echo $WORD; mkdir /tmp/x'"):format(directory, process.pid))
    assert.matches("^said\nmkdir: .*/tmp/x.*: Operation not permitted\n$", output)
    probe.remove(directory)
  end)

  it("gives the shell a terminal, on one", function()
    local process <close> = running(sandbox {})
    local box = sandbox { namespaces = {}, seccomp = false, landlock = false }
    local driven <close> = assert(box:spawn { probe.nslua:gsub("^%.", sys.getcwd()), "enter", tostring(process.pid), tty = true,
      stdin = "pipe", stdout = "pipe" })
    driven.terminal:write "test -t 0 && echo on a terminal; stty size; exit 3\n"
    local shown = {}
    for text in function() return driven.terminal:read(20) or nil end do shown[#shown + 1] = text end
    assert.matches("on a terminal\r\n24 80\r\n", table.concat(shown))
    assert.equal(3, driven:wait(10).code)
  end)

  it("says what is wrong, with 125", function()
    for _, arguments in ipairs { "", "x", "1 2 -- true", "-x 1", "--caps", "0" } do
      local output, status = enter(arguments)
      assert.equal(125, status, arguments)
      assert.matches("^nslua: enter: ", output)
    end
    local output, status = enter "4194303 -- true"
    assert.same({ "nslua: process 4194303: No such process (ESRCH)\n", 125 }, { output, status })
  end)
end)
