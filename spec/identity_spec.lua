-- luacheck: no max line length
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys
local WAIT <const> = { "sleep", "30", stdout = "null", stderr = "null" }
local caller = sys.identity()

--- A field of /proc/PID/status of a running box's payload, as the host sees it.
local function seen_by_host(box, field)
  local process <close> = assert(box:spawn(WAIT))
  local status = assert(probe.read(("/proc/%d/status"):format(process.pid)))
  return (status:match(field .. ":[ \t]*([^\n]*)"))
end

local function ids(text)
  local list = {}
  for id in text:gmatch "%d+" do list[#list + 1] = tonumber(id) end
  return list
end

local function sets_of(box)
  local status, sets = inside.sh(box, "cat /proc/self/status"), {}
  for name, value in status:gmatch "Cap(%a+):%s*(%x+)" do sets[name] = tonumber(value, 16) end
  return sets
end

describe("the user", function()
  it("is by default the caller, and for root an unprivileged one", function()
    local want = probe.is_root and "1000 1000\n" or ("%d %d\n"):format(caller.uid, caller.gid)
    assert.equal(want, (inside.sh(sandbox {}, "echo $(id -u) $(id -g)")))
    assert.equal(want, (inside.sh(sandbox { user = "self" }, "echo $(id -u) $(id -g)")))
  end)

  it("is 0 inside with user = root", function()
    assert.equal("0 0\n", (inside.sh(sandbox { user = "root" }, "echo $(id -u) $(id -g)")))
  end)

  it("has the numbers that are said", function()
    local box = sandbox { user = { uid = 7, gid = 8 } }
    assert.equal("7 8\n", (inside.sh(box, "echo $(id -u) $(id -g)")))
    local result = inside.run(box, { "true" })
    assert.equal(7, result.enforced.uid)
    assert.equal(8, result.enforced.gid)
  end)

  it("is never 0 outside, for root", function()
    for _, user in ipairs { "self", "root", { uid = 0, gid = 0 } } do
      local box = sandbox { user = user }
      for _, field in ipairs { "Uid", "Gid" } do
        local seen = ids(seen_by_host(box, field))
        assert.equal(4, #seen)
        for _, id in ipairs(seen) do
          if probe.is_root then assert.is_true(id > 65536) else assert.equal(field == "Uid" and caller.uid or caller.gid, id) end
        end
      end
    end
  end)

  it("is never the host's root for want of a capability, or of other ids", function()
    if not probe.is_root then return pending "needs root" end
    local code = [[local result, err = sandbox {}:run { "true" } io.write(tostring(result or err))]]
    for _, way in ipairs { "setpriv --bounding-set -sys_admin", "setpriv --bounding-set -setuid", "unshare -Ur" } do
      assert.matches("this root cannot give the payload another id than the host's 0",
        probe.shell(("%s %s -e '%s'"):format(way, probe.nslua, code)), way)
    end
    local maps = "user = { uid = 5, gid = 5, uid_map = { { 5, 0, 1 } }, gid_map = { { 5, 0, 1 } } }"
    assert.equal("exited with 0", probe.shell(("unshare -Ur %s -e '%s'"):format(probe.nslua, (code:gsub("{}", "{ " .. maps .. " }", 1)))))
  end)

  it("of a user namespace's root with one id only has no capabilities without namespaces either", function()
    if probe.is_root then return pending "the host's root is not mapped unasked" end
    local code = [[print(sandbox { namespaces = { "uts" } }:run { "grep", "Cap", "/proc/self/status" }:check().code)]]
    local seen = probe.shell(("unshare -Ur %s -e '%s'"):format(probe.nslua, code))
    assert.equal(5, select(2, seen:gsub("%u%l+:%s+0000000000000000\n", "")), seen)
  end)

  it("is another one outside for every box of root", function()
    if not probe.is_root then return pending "an ordinary caller has one id" end
    assert.not_equal(seen_by_host(sandbox {}, "Uid"), seen_by_host(sandbox {}, "Uid"))
  end)

  it("has the map of the recipe", function()
    local outside = probe.is_root and 300000 or caller.uid
    local group = probe.is_root and 300000 or caller.gid
    local count = probe.is_root and 3 or 1
    local box = sandbox { user = { uid = 5, gid = 5, uid_map = { { 5, outside, count } }, gid_map = { { 5, group, count } } } }
    assert.equal(("5 %d %d\n"):format(outside, count):rep(1), (inside.sh(box, "cat /proc/self/uid_map"):gsub(" +", " "):gsub("^ ", "")))
    assert.equal(outside, ids(seen_by_host(box, "Uid"))[1])
    assert.equal(group, ids(seen_by_host(box, "Gid"))[1])
  end)

  it("is refused where the map has no such id", function()
    local box = sandbox { user = { uid = 9, uid_map = { { 5, probe.is_root and 300000 or caller.uid, 1 } } } }
    assert.matches("the uid 9 is not mapped", inside.mistake(function() return box:run { "true" } end))
  end)

  it("may have several lines in its map, for root", function()
    if not probe.is_root then return pending "an ordinary user maps one id" end
    local map = { { 0, 300000, 1 }, { 1000, 301000, 10 } }
    local box = sandbox { user = { uid = 1000, gid = 1000, uid_map = map, gid_map = map } }
    assert.equal("0 300000 1\n1000 301000 10\n",
      (inside.sh(box, "sed 's/^ *//; s/  */ /g' /proc/self/uid_map")))
  end)
end)

describe("supplementary groups", function()
  it("are gone for root, and those that cannot go are told", function()
    local result = inside.run(sandbox {}, { "true" })
    if probe.is_root then
      assert.equal("", (seen_by_host(sandbox {}, "Groups"):gsub("%s", "")))
      assert.equal(0, result.enforced.supplementary_groups)
    else
      assert.equal(#ids(seen_by_host(sandbox {}, "Groups")), result.enforced.supplementary_groups)
    end
  end)

  it("are gone even when the caller has some", function()
    if not probe.is_root then return pending "only root can take on groups" end
    local seen = probe.shell([[python3 -c '
import os; os.setgroups([4, 24, 27]); os.execvp("lua5.4", ["lua5.4", "-e", "dofile \"spec/support/setup.lua\"" +
  " local r = require(\"nslua\").sandbox{}:run{ \"grep\", \"Groups\", \"/proc/self/status\", stdout = \"capture\" } print(r.stdout)"])']])
    assert.equal("Groups:", (seen:gsub("%s", "")))
  end)

  it("are those of the recipe, for root", function()
    if not probe.is_root then return pending "an ordinary user has no right to set groups" end
    local map = { { 0, 300000, 100 } }
    local box = sandbox { user = { uid = 7, gid = 7, groups = { 7, 9 }, uid_map = map, gid_map = map } }
    assert.equal("7 9\n", (inside.sh(box, "id -G")))
    assert.same({ 300007, 300009 }, ids(seen_by_host(box, "Groups")))
  end)
end)

describe("capabilities", function()
  local NONE <const> = { Inh = 0, Prm = 0, Eff = 0, Bnd = 0, Amb = 0 }

  it("are none in all five sets, whoever the user is inside", function()
    for _, user in ipairs { "self", "root" } do
      assert.same(NONE, sets_of(sandbox { user = user }))
      assert.same({}, inside.run(sandbox { user = user }, { "true" }).enforced.capabilities)
    end
  end)

  it("are none without namespaces too", function()
    local sets = sets_of(sandbox { namespaces = { "user" } })
    assert.same(NONE, sets)
    if probe.is_root then assert.same(NONE, sets_of(sandbox { namespaces = { "uts" } })) end
  end)

  it("are exactly the named one, also for uid 0 inside, and bind port 80", function()
    local bit = 1 << sys.capability "net_bind_service"
    for _, user in ipairs { "self", "root" } do
      local box = sandbox { user = user, caps = { "net_bind_service" } }
      assert.same({ Inh = bit, Prm = bit, Eff = bit, Bnd = bit, Amb = bit }, sets_of(box))
      assert.equal("bound\n", (inside.python(box, 'import socket; socket.socket().bind(("127.0.0.1", 80)); print("bound")')))
      assert.same({ "net_bind_service" }, inside.run(box, { "true" }).enforced.capabilities)
    end
    assert.matches("Permission denied", (inside.python(sandbox { user = "root" }, 'import socket; socket.socket().bind(("127.0.0.1", 80))')))
  end)

  it("are named with and without cap_, in any case, and in the text of libcap", function()
    local bits = 1 << sys.capability "net_raw" | 1 << sys.capability "chown"
    for _, caps in ipairs {
      { "net_raw", "chown" }, { "cap_net_raw", "CAP_CHOWN" }, "cap_net_raw,cap_chown=ep", "cap_net_raw=eip cap_chown+ep",
      "all=ep all-ep cap_net_raw,cap_chown+ep",
    } do
      local box = sandbox { caps = caps }
      assert.same({ Inh = bits, Prm = bits, Eff = bits, Bnd = bits, Amb = bits }, sets_of(box))
      assert.same({ "chown", "net_raw" }, inside.run(box, { "true" }).enforced.capabilities)
    end
    assert.same(NONE, sets_of(sandbox { caps = "=" }))
  end)

  it("of a text are the same in its effective and permitted sets, or it is a mistake", function()
    local function mistake(caps) return inside.mistake(sandbox, { caps = caps }) end
    for _, text in ipairs { "cap_net_raw=p", "cap_net_raw,cap_chown=p cap_chown+e", "cap_net_raw=ip" } do
      assert.matches("caps must be text whose effective and permitted sets are the same, as in \"cap_net_raw=ep\": execve "
        .. "gives no others (got '" .. text .. "')", mistake(text), 1, true)
    end
    for _, text in ipairs { "cap_net_raw=i", "cap_net_raw=ep cap_chown+i" } do
      assert.matches("caps must be text whose inheritable set is a part of its permitted one", mistake(text))
    end
    for _, bad in ipairs { "net_raw", "cap_net_raw", "cap_nothing=ep", "cap_net_raw=ep\0", 7, false } do
      assert.matches('caps must be "all", a list of names, or text as "cap_net_raw=ep"', mistake(bad), 1, true)
    end
  end)

  it("that do not exist are told the nearest name", function()
    for _, name in ipairs { "net_rwa", "cap_net_rwa", "CAP_NET_RAWW" } do
      assert.matches("did you mean 'net_raw'%?", inside.mistake(sandbox, { caps = { name } }))
    end
    assert.not_matches("did you mean", inside.mistake(sandbox, { caps = { "colour" } }))
    assert.matches("entry 1 is 'chown\\x00x'", inside.mistake(sandbox, { caps = { "chown\0x" } }), 1, true)
  end)

  it("in text are read by nslua.sys as three masks", function()
    local raw, chown = 1 << sys.capability "net_raw", 1 << sys.capability "chown"
    assert.same({ raw, raw | chown, 0 }, { sys.capabilities_from_text "cap_net_raw=ep cap_chown+p" })
    assert.same({ 0, 0, raw }, { sys.capabilities_from_text "cap_net_raw=i" })
    assert.same({ nil, "cap_nothing=ep: Invalid argument (EINVAL)", 22 }, { sys.capabilities_from_text "cap_nothing=ep" })
    assert.has_error(function() sys.capabilities_from_text "cap_chown=ep\0" end)
  end)

  it("do not come back for uid 0 by an exec, nor by changing the id", function()
    local seen = inside.python(sandbox { user = "root" }, [[
import os, subprocess
os.setresuid(0, 0, 0)
print(subprocess.run(["grep", "CapEff", "/proc/self/status"], capture_output=True, text=True).stdout.split()[1])
]])
    assert.equal(("0"):rep(16) .. "\n", seen)
  end)

  it("are the sandbox's own: nothing of the host obeys them", function()
    local seen = inside.python(sandbox { user = "root", caps = "all" }, [[
import os
def attempt(what, f):
  try: f(); print("did", what)
  except OSError as e: print(e.strerror)
attempt("time", lambda: os.system("true") or __import__("time").clock_settime(0, 0))
attempt("node", lambda: os.mknod("/tmp/sda", 0o60666, os.makedev(8, 0)))
attempt("nice", lambda: os.nice(-10))
attempt("reboot", lambda: open("/proc/sysrq-trigger", "w").write("s"))
]])
    assert.not_matches("did time", seen)
    assert.not_matches("did node", seen)
    assert.not_matches("did nice", seen)
    assert.not_matches("did reboot", seen)
  end)
end)

describe("the securebits", function()
  local LOCKED <const> = {
    "noroot", "noroot_locked", "no_setuid_fixup", "no_setuid_fixup_locked", "keep_caps_locked", "no_cap_ambient_raise",
    "no_cap_ambient_raise_locked",
  }

  it("are locked, whoever the user is inside, and told in the result", function()
    for _, user in ipairs { "self", "root" } do
      assert.same(LOCKED, inside.run(sandbox { user = user }, { "true" }).enforced.securebits)
    end
    local seen = inside.python(sandbox {}, "import ctypes; print(ctypes.CDLL(None).prctl(27, 0, 0, 0, 0))")
    assert.same(LOCKED, sys.flag_names("securebits", math.tointeger(tonumber(seen))))
  end)

  it("are compared with what the recipe says: a payload without them is not taken", function()
    local PR_GET_SECUREBITS <const>, PR_SET_SECUREBITS <const>, PR_GET_NO_NEW_PRIVS <const> = 27, 28, 39
    for _, case in ipairs {
      { PR_SET_SECUREBITS, 0, "verification: the payload does not hold the securebits that the recipe says" },
      { PR_GET_SECUREBITS, 1, "payload: Operation not permitted (EPERM)" },
      { PR_GET_NO_NEW_PRIVS, 1, "payload: Operation not permitted (EPERM)" },
    } do
      assert.equal("nil\t" .. case[3] .. "\n",
        (watch.host(watch.answer_prctl(case[1], case[2]) .. 'print(sandbox {}:run { "true" })')))
    end
  end)
end)

describe("the names of flags", function()
  it("are those whose bits are all there", function()
    assert.same({ "noroot", "keep_caps" }, sys.flag_names("securebits", 1 | 1 << 4))
    assert.same({}, sys.flag_names("securebits", 0))
    assert.has_error(function() sys.flag_names("nosuch", 1) end)
  end)
end)

describe("no_new_privs", function()
  it("is set unless the recipe says otherwise", function()
    assert.equal("1\n", (inside.sh(sandbox {}, "awk '/NoNewPrivs/ {print $2}' /proc/self/status")))
    assert.equal("0\n", (inside.sh(sandbox { no_new_privs = false }, "awk '/NoNewPrivs/ {print $2}' /proc/self/status")))
    assert.is_true(inside.run(sandbox {}, { "true" }).enforced.no_new_privs)
    assert.is_false(inside.run(sandbox { no_new_privs = false }, { "true" }).enforced.no_new_privs)
  end)

  it("and nosuid: set-user-id programs give nothing", function()
    local program = "/usr/bin/su"
    if probe.shell("test -u " .. program .. " && echo yes") ~= "yes\n" then return pending "no set-user-id program here" end
    for _, no_new_privs in ipairs { true, false } do
      local seen = inside.python(sandbox { no_new_privs = no_new_privs }, [[
import os, subprocess, time
p = subprocess.Popen(["/usr/bin/su"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(0.2)
try: print([l.split()[1:] for l in open("/proc/%d/status" % p.pid) if l.startswith(("Uid", "CapEff"))])
except OSError as e: print("not to be looked at")
p.kill()
]])
      local uid = probe.is_root and 1000 or caller.uid
      assert.equal(("[['%d', '%d', '%d', '%d'], ['%s']]\n"):format(uid, uid, uid, uid, ("0"):rep(16)), seen)
    end
  end)
end)

describe("the caller", function()
  it("keeps its ids, groups, umask, directory and dumpable flag", function()
    local function state()
      return probe.read "/proc/self/status":match "(Umask.-)\nVm" :gsub("FDSize:%s*%d+", "") .. sys.readlink "/proc/self/cwd"
        .. sys.stat "/proc/self/mem".uid
    end
    local before = state()
    inside.run(sandbox { umask = 63, cwd = "/tmp", user = "root" }, { "true" })
    inside.run(sandbox { fs = { fs.os(), fs.ro("/no", "/x") } }, { "true" })
    assert.equal(before, state())
  end)
end)
