local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local subordinate = require "nslua.subordinate"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys
local caller = sys.identity()

--- Skips where the caller has no subordinate ids, or nothing that maps them.
local function able()
  if probe.is_root then return true end
  if not subordinate.map("uid", caller) or not subordinate.map("gid", caller) then
    pending "the user has no subordinate ids"
    return false
  end
  if not sys.stat "/usr/bin/newuidmap" then pending "newuidmap is not installed" end
  return sys.stat "/usr/bin/newuidmap" ~= nil
end

local function map_inside(box)
  return (inside.sh(box, "sed 's/^ *//; s/  */ /g' /proc/self/uid_map; cat /proc/self/setgroups"))
end

--- The caller's first range, as outside the sandbox.
local function first_range() return subordinate.map("uid", caller)[2] end

describe("user = auto", function()
  it("maps the ids that are the caller's to give: 0 inside is the caller, the subordinate ones follow", function()
    if not able() then return end
    local seen = map_inside(sandbox { user = "auto" })
    if probe.is_root then return assert.matches("^0 %d%d%d%d%d%d%d%d%d+ 65536\nallow\n$", seen) end
    local range = first_range()
    assert.equal(("0 %d 1\n1 %d %d\nallow\n"):format(caller.uid, range[2], range[3]), seen)
  end)

  it("maps so many as are said", function()
    if not able() then return end
    local lines = probe.is_root and "^0 %d+ 100\n" or ("^0 %d 1\n1 %d 99\n"):format(caller.uid, first_range()[2])
    assert.matches(lines, map_inside(sandbox { user = { auto = true, size = 100 } }))
    if probe.is_root then return end
    assert.matches("^0 %d+ 1\nallow\n$", map_inside(sandbox { user = { auto = true, size = 1 } }):gsub("deny", "allow"))
  end)

  it("never maps the host's 0", function()
    if not able() then return end
    local result = inside.run(sandbox { user = "auto" }, { "true" })
    for outside in result.enforced.uid_map:gmatch "%d+ (%d+) %d+" do assert.is_true(tonumber(outside) > 0) end
  end)

  it("gives any user and groups inside, and drops the caller's", function()
    if not able() then return end
    local box = sandbox { user = { auto = true, uid = 33, gid = 34, groups = { 5, 60 } } }
    assert.equal("33 34 34 5 60\n", (inside.sh(box, "echo $(id -u) $(id -g) $(id -G)")))
    local result = inside.run(sandbox { user = "auto" }, { "id", "-G" })
    assert.equal("0\n", result.stdout)
    assert.equal(0, result.enforced.supplementary_groups)
    assert.is_true(inside.run(sandbox { user = { auto = true, groups = "strict" } }, { "true" }).ok)
  end)

  it("gives no capability, but what the recipe says: then files belong to anybody", function()
    if not able() then return end
    local seen = inside.sh(sandbox { user = "auto" }, "touch /tmp/x && chown 5:7 /tmp/x; grep CapEff /proc/self/status")
    assert.matches("chown: .*not permitted\nCapEff:%s+0+\n", (seen:gsub("^(CapEff.-\n)(.*)$", "%2%1")))
    local box = sandbox { user = "auto", caps = { "chown", "setuid", "setgid" } }
    seen = inside.sh(box, "touch /tmp/x && chown 5:7 /tmp/x && stat -c %u:%g /tmp/x; "
      .. "python3 -c 'import os; os.setgroups([]); os.setuid(9); print(os.getuid())'")
    assert.equal("5:7\n9\n", seen)
  end)

  it("writes a tree that is the caller's as the caller, and only that", function()
    if not able() then return end
    local directory = probe.directory()
    local box = sandbox { user = "auto", fs = { fs.os(), fs.rw(directory, "/work") } }
    local seen, result = inside.sh(box, "echo mine > /work/f && stat -c %u /work/f; echo x > /usr/bin/f")
    local owner = sys.stat(directory .. "/f").uid
    probe.remove(directory)
    assert.matches("^0\n.*Read%-only", seen)
    assert.same({ caller.uid, 2 }, { owner, result.code })
  end)

  it("prepares a namespace once, and uses it again", function()
    if probe.is_root then return pending "root maps ids itself" end
    if not able() then return end
    local box = sandbox { user = "auto" }
    local function namespace(of) return (inside.sh(of, "readlink /proc/self/ns/user")) end
    local first = namespace(box)
    assert.equal(first, namespace(box))
    assert.equal(first, namespace(box:with { hostname = "other" }))
    assert.not_equal(first, namespace(sandbox { user = { auto = true, size = 50 } }))
    assert.not_equal(first, namespace(box:with { nesting = true }))
    -- With capabilities, and in sight of the next one that joins, each has its own.
    local open = sandbox { user = "auto", namespaces = { "user", "uts" }, caps = { "sys_ptrace" } }
    assert.not_equal(namespace(open), namespace(open))
  end)

  it("has all namespaces of the sandbox belong to it, and the reaper as PID 1", function()
    if not able() then return end
    local seen = inside.sh(sandbox { user = "auto", caps = { "sys_admin", "net_admin" } }, [[
      ip link set lo down && hostname changed && mount -t tmpfs none /tmp && hostname; echo $$]])
    assert.equal("changed\n2\n", seen)
  end)

  it("leaves nothing behind, and changes nothing of the caller", function()
    if not able() then return end
    local before = watch.footprint()
    for _ = 1, 3 do assert.is_true(inside.run(sandbox { user = "auto" }, { "true" }).ok) end
    assert.same(before, watch.footprint(before))
    assert.same(caller.groups, sys.identity().groups)
  end)

  it("works with all other namespaces, and with some", function()
    if not able() then return end
    assert.is_true(inside.run(sandbox { user = "auto", clock = { boottime = 5 } }, { "true" }).ok)
    assert.is_true(inside.run(sandbox { user = "auto", init = false }, { "true" }).ok)
    assert.is_true(inside.run(sandbox { user = "auto", namespaces = { "user" } }, { "true" }).ok)
    assert.is_true(inside.run(sandbox { user = { auto = true, uid = 5 }, namespaces = { "user", "uts" } }, { "true" }).ok)
  end)

  it("is refused where there are not so many, or none", function()
    if probe.is_root then return pending "root gives any ids" end
    if not able() then return end
    local _, message = inside.run(sandbox { user = { auto = true, size = 1 << 27 } }, { "true" })
    assert.matches("user: /etc/subuid gives user %S+ only %d+ ids, with its own;\n  usermod", message)
    local map, err = subordinate.map("gid", { uid = 54321, gid = 5 })
    assert.is_nil(map)
    assert.matches("/etc/subgid gives user 54321 no subordinate ids;\n  usermod %-%-add%-subgids", tostring(err))
  end)

  it("is a mistake where it means two things", function()
    local function mistake(user) return inside.mistake(sandbox, { user = user }) end
    assert.matches("size goes with auto", mistake { size = 5 })
    assert.matches("either auto or maps", mistake { auto = true, uid_map = { { 0, 1, 1 } } })
    assert.matches("an integer from 1 to", mistake { auto = true, size = 0 })
    assert.matches("'self', 'root' or 'auto'", mistake "atuo")
  end)
end)

describe("a map of an ordinary caller", function()
  it("may have many ranges, of its subordinate ids", function()
    if probe.is_root then return pending "root's maps need nobody's help" end
    if not able() then return end
    local first = first_range()[2]
    local group = subordinate.map("gid", caller)[2][2]
    local box = sandbox { user = {
      uid = 1000, gid = 1000, uid_map = { { 0, first, 10 }, { 1000, caller.uid, 1 }, { 2000, first + 10, 100 } },
      gid_map = { { 0, group, 10 }, { 1000, caller.gid, 1 } },
    } }
    assert.equal(("0 %d 10\n1000 %d 1\n2000 %d 100\nallow\n"):format(first, caller.uid, first + 10), map_inside(box))
    assert.equal("1000 1000\n", (inside.sh(box, "echo $(id -u) $(id -g)")))
  end)

  it("with ids that are not its own is refused, in newuidmap's words", function()
    if probe.is_root then return pending "root gives any ids" end
    if not able() then return end
    local map = { { 0, 1, 5 } }
    local result, message = inside.run(sandbox { user = { uid_map = map, gid_map = map } }, { "true" })
    assert.is_nil(result)
    assert.matches("^spec/subordinate_spec.lua:%d+: gid_map: newgidmap refuses the map 0 1 5: newgidmap: .*not allowed.*;\n"
      .. "  /etc/subgid must give", message)
  end)
end)

describe("sys.new_namespaces", function()
  it("calls what writes the maps with the pid of a process in it, and gives back what that says", function()
    local seen
    local handle, message = sys.new_namespaces("user", function(pid)
      seen = probe.read(("/proc/%d/uid_map"):format(pid))
      return nil, "not today"
    end)
    assert.same({ "", "not today" }, { seen, message })
    assert.is_nil(handle)
    assert.has_error(function() sys.new_namespaces("user", function() error("oh", 0) end) end, "oh")
    local made = assert(sys.new_namespaces("user", function(pid)
      assert(sys.deny_setgroups(pid))
      return sys.gid_map(pid, ("0 %d 1"):format(caller.gid)) and sys.uid_map(pid, ("0 %d 1"):format(caller.uid))
    end))
    assert.is_true(made.user:fileno() > 2)
  end)
end)
