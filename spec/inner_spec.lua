--- More than one user namespace: ids that somebody else maps, and the inner one, which has no say over what was set up.
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys
local caller <const> = sys.identity()
local OUTSIDE <const> = probe.is_root and { uid = 100000, gid = 100000 } or caller

--- Maps these ids of a process to the caller's, or for root to others.
local function map(pid, uid, gid)
  if not probe.is_root then assert(sys.deny_setgroups(pid)) end
  assert(sys.gid_map(pid, ("%d %d 1"):format(gid, OUTSIDE.gid)))
  assert(sys.uid_map(pid, ("%d %d 1"):format(uid, OUTSIDE.uid)))
end

--- Groups cannot be given up where setgroups was denied.
local function user_of(fields) return { user = fields, inherit = not probe.is_root and { "groups" } or nil } end

--- Sends a signal to all that can be reached, over and over.
local ALL_OTHERS <const> = [[
import os, sys
while True:
    try: os.kill(-1, int(sys.argv[1]))
    except OSError: pass
]]

describe("ids that a function maps", function()
  it("are those of the payload, and of the result, when the namespaces are there", function()
    local kinds
    local box = sandbox(user_of { uid = 7, gid = 8, map = function(pid)
      kinds = {}
      for _, kind in ipairs { "user", "net", "mount", "pid" } do kinds[kind] = assert(nslua.ns.open(pid, kind)):inode() end
      map(pid, 7, 8)
    end })
    local seen, result = inside.sh(box, "id -u; id -g; cat /proc/self/uid_map; readlink /proc/self/ns/net /proc/self/ns/user")
    assert.matches(("^7\n8\n +7 +%d +1\nnet:%%[%d%%]\nuser:%%[%d%%]\n"):format(OUTSIDE.uid, kinds.net, kinds.user), seen)
    assert.equal(("7 %d 1"):format(OUTSIDE.uid), result.enforced.uid_map)
    assert.equal(("8 %d 1"):format(OUTSIDE.gid), result.enforced.gid_map)
    assert.equal(0, #result.enforced.capabilities)
    assert.matches("uid by a function", box:explain())
  end)

  it("end the start when it fails, or maps others, and leave nothing", function()
    local started = {}
    for reason, maps in pairs {
      ["user.map: no ids left"] = function() return nil, "no ids left" end,
      ["user.map: it says that it has failed"] = function() return false end,
      ["user.map: .*boom"] = function() error "boom" end,
      ["user.map: it has not mapped the uid 7"] = function(pid) map(pid, 9, 8) end,
    } do
      local result, message = inside.run(sandbox(user_of { uid = 7, gid = 8, map = function(pid)
        started[#started + 1] = pid
        return maps(pid)
      end }), { "true" })
      assert.is_nil(result)
      assert.matches(reason, message)
    end
    assert.equal(4, #started)
    for _, pid in ipairs(started) do assert.is_nil(sys.stat("/proc/" .. pid)) end
  end)

  it("go with uid and gid, and no maps besides", function()
    for _, user in ipairs { { map = map }, { uid = 1, map = map }, { uid = 1, gid = 1, map = map, auto = true },
      { uid = 1, gid = 1, map = map, uid_map = { { 1, 1, 1 } } }, { uid = 1, gid = 1, map = "newuidmap" } } do
      assert.is_false(pcall(sandbox, { user = user }))
    end
  end)
end)

describe("an inner user namespace", function()
  --- With every capability, over a tree that it would take apart.
  local function powerful(fields)
    return sandbox { user = fields, caps = "all", seccomp = false, landlock = false,
      fs = { fs.os(), fs.mask "/usr/bin/env", fs.proc("/proc", { full = true }) } }
  end

  local DESTROY <const> = [[
mount -o remount,bind,rw /usr && echo writable
mount -t tmpfs none /mnt && echo mounted
echo 9 > /proc/sys/user/max_user_namespaces
unshare -U true && echo nested
grep -c 000001ffffffffff /proc/self/status
]]

  it("has no say over the mounts, nor over the number of user namespaces, whatever it may do", function()
    for _, user in ipairs { { inner = true }, { inner = true, uid = 0, gid = 0 } } do
      local seen, result = inside.sh(powerful(user), "{ " .. DESTROY .. "} 2>/dev/null")
      assert.equal("5\n", seen)
      assert.is_true(#result.enforced.capabilities > 30)
    end
  end)

  it("would have it without", function()
    assert.equal("writable\nnested\n5\n", (inside.sh(powerful {}, "{ " .. DESTROY .. "} 2>/dev/null")))
  end)

  it("has the same ids, and is where further commands are, too", function()
    local process <close> = assert(sandbox { user = { inner = true } }:spawn { "sleep", "30" })
    local look = "id -u; cat /proc/self/uid_map; cat /proc/self/setgroups"
    local result = assert(process:exec { "sh", "-c", look, stdout = "capture" }):wait()
    local uid = probe.is_root and 1000 or caller.uid
    assert.matches(("^%d\n +%d +%d +1\ndeny\n"):format(uid, uid, uid), result.stdout)
    local inode = assert(nslua.ns.open(process:payload_pid(), "user")):inode()
    assert.equal(inode, process.enforced.namespaces.user)
    assert.equal(inode, result.enforced.namespaces.user)
    local outer = assert(assert(nslua.ns.open(process:payload_pid(), "mount")):owner()):inode()
    assert.not_equal(inode, outer)
    assert.equal(outer, assert(assert(nslua.ns.open(process:payload_pid(), "user")):parent()):inode())
  end)

  it("may be one that is there", function()
    local outer <close> = assert(sandbox { user = "root", nesting = true, seccomp = false, landlock = false,
      caps = { "setfcap" } }:spawn { "unshare", "-Ur", "sleep", "30" })
    sys.poll(0.3)
    local below = assert(nslua.ns.open(outer:payload_pid(), "user"))
    local above = assert(below:parent())
    local box = sandbox { namespaces = { "mount", "pid", "uts", user = above }, user = { uid = 0, gid = 0, inner = below } }
    local seen = inside.sh(box, "id -u; readlink /proc/self/ns/user")
    assert.equal(("0\nuser:[%d]\n"):format(below:inode()), seen)
    assert.same(probe.is_root and { 65534, 65534 } or { 0, 0 }, { below:ids() })
  end)

  it("is refused where it could not have the same ids, or has nothing around it", function()
    for _, fields in ipairs { { user = { inner = true, auto = true } }, { user = { inner = true }, namespaces = { "uts" } } } do
      local ok, result, err = pcall(function() return sandbox(fields):run { "true" } end)
      assert.is_falsy(ok and result)
      assert.matches("user", tostring(ok and err or result))
    end
  end)

  it("is shown by explain, and quiets the warning about sys_admin", function()
    assert.matches("and then in a user namespace of its own", sandbox { user = { inner = true } }:explain())
    local function warned(user)
      local box = sandbox { user = user, caps = "all", fs = { fs.os(), fs.mask "/usr/bin/env" } }
      return box:explain():find("can unmount", 1, true)
    end
    assert.is_truthy(warned {})
    assert.is_nil(warned { inner = true })
  end)
end)

describe("a user namespace", function()
  it("whose processes stop all others does not make who asks for its ids wait for ever", function()
    if not probe.is_root then return pending "an ordinary user's could stop us" end
    local box = sandbox { namespaces = { "user", "mount" }, user = "root", caps = { "kill" }, landlock = false, seccomp = false }
    local first <close> = assert(box:spawn { "python3", "-c", ALL_OTHERS, "19" })
    local user = assert(first:ns "user")
    local uid, err
    for _ = 1, 2000 do
      uid, err = user:ids()
      if not uid then break end
    end
    assert.is_nil(uid)
    assert.matches("stopped or killed", tostring(err))
  end)
end)

describe("a PID namespace", function()
  it("that is joined shows up in /proc, and what a run leaves there is ended, and nothing else", function()
    local first <close> = assert(sandbox { namespaces = { "user", "pid", "mount" }, user = "root", nesting = true,
      landlock = false, seccomp = false, fs = { fs.os() } }:spawn { "sh", "-c", "sleep 91 & wait" })
    local box = sandbox { namespaces = { "mount", user = assert(first:ns "user"), pid = assert(first:ns "pid") },
      user = { uid = 0, gid = 0 }, fs = { fs.os(), fs.proc("/proc", { hidepid = "off" }) } }
    local function count() return select(2, (inside.sh(box, "ps -eo args")):gsub("sleep 91\n", "")) end
    assert.equal(1, count())
    inside.sh(box, "(setsid sleep 92 &) ; setsid sleep 93 & sleep 0.2")
    assert.equal(1, count())
    assert.is_nil((inside.sh(box, "ps -eo args")):match "sleep 9[23]")
  end)

  it("may be new below another one than the caller's", function()
    local target = sandbox { namespaces = { "user", "pid" }, user = "root", landlock = false }
    local first <close> = assert(target:spawn { "sleep", "30" })
    local user, pid = assert(first:ns "user"), assert(first:ns "pid")
    local box = sandbox { namespaces = { "mount", user = user, pid = { below = pid } }, user = { uid = 0, gid = 0 } }
    assert.equal("2\n1\n", (inside.sh(box, "echo $$; echo $PPID")))
    local second <close> = assert(box:spawn { "sleep", "30" })
    assert.equal(pid:inode(), assert(assert(second:ns "pid"):parent()):inode())
    assert.is_false(pcall(sandbox, { namespaces = { pid = { below = pid } } }))
    assert.is_false(pcall(sandbox, { namespaces = { net = { below = pid } } }))
  end)

  it("whose processes kill all others keeps nothing of what cannot start there", function()
    local first <close> = assert(sandbox { namespaces = { "user", "pid", "mount" }, user = "root", caps = { "kill" },
      landlock = false, seccomp = false }:spawn { "python3", "-c", ALL_OTHERS, "9" })
    local box = sandbox { namespaces = { "mount", user = assert(first:ns "user"), pid = assert(first:ns "pid") },
      user = { uid = 0, gid = 0 }, limits = { time = 5 } }
    sys.poll(0.3)
    local failures = 0
    for _ = 1, 20 do failures = failures + (box:run { "true" } and 0 or 1) end
    assert.is_true(failures > 0)
    local left = probe.shell(("ps --ppid %d -o stat,comm --no-headers"):format(sys.getpid()))
    assert.not_matches("[ZT]%S* +[^\n]*memfd", left)
    assert.not_matches("[ZT]%S* +nslua", left)
  end)
end)
