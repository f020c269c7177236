local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, sys, ns, fs = nslua.sandbox, nslua.sys, nslua.ns, nslua.fs
local caller = sys.identity()

local function inode_of(link) return tonumber(sys.readlink(link):match "%[(%d+)%]") end

--- Maps for a user namespace of root's.
local MAPS <const> = probe.is_root and { uid_map = "1000 300000 1", gid_map = "1000 300000 1" } or nil
local UID <const>, GID <const> = probe.is_root and 1000 or caller.uid, probe.is_root and 1000 or caller.gid

--- What the caller may make: with a user namespace of its own, or as root without.
local function made(...) return assert(ns.new(probe.is_root and { ... } or { "user", ... }, MAPS)) end

describe("a handle of a namespace", function()
  it("is opened of a process and of a path, and knows its kind and number", function()
    for _, kind in ipairs(ns.kinds) do
      local link = "/proc/self/ns/" .. (kind == "mount" and "mnt" or kind)
      local handle <close> = assert(ns.open(sys.getpid(), kind))
      local other <close> = assert(ns.open(link))
      assert.same({ kind, inode_of(link) }, { handle.type, handle:inode() })
      assert.equal(handle:inode(), other:inode())
      assert.equal(("%s:[%d]"):format(kind, inode_of(link)), tostring(handle))
    end
  end)

  it("leads to the user namespace that owns it, and to the one around it", function()
    local handles = assert(ns.new({ "user", "net", "uts" }, MAPS))
    local own = inode_of "/proc/self/ns/user"
    assert.equal(handles.user:inode(), assert(handles.net:owner()):inode())
    assert.equal(own, assert(handles.user:parent()):inode())
    assert.not_equal(handles.user:inode(), own)
    assert.equal(caller.uid, sys.namespace_owner_uid(handles.user.fd))
    local parent, err = handles.net:parent()
    assert.is_nil(parent)
    assert.matches("namespace_parent of net:%[%d+%]: Invalid argument %(EINVAL%)", tostring(err))
  end)

  it("is new: of each kind, and different each time", function()
    for _, kind in ipairs(ns.kinds) do
      if kind ~= "pid" then
        local one, two = made(kind)[kind], made(kind)[kind]
        assert.equal(kind, one.type)
        assert.not_equal(one:inode(), two:inode())
        assert.not_equal(one:inode(), inode_of("/proc/self/ns/" .. (kind == "mount" and "mnt" or kind)))
      end
    end
  end)

  it("maps the caller to itself in a user namespace, or as is said", function()
    local handles = assert(ns.new({ "user", "uts" }, MAPS))
    local box = sandbox {
      namespaces = { "mount", user = handles.user, uts = handles.uts }, fs = { fs.host() },
      user = { uid = UID, gid = GID },
    }
    assert.equal(("%d\n"):format(UID), (inside.sh(box, "id -u")))
  end)

  it("is joined by recipes, which then share it", function()
    local handles = made("net", "uts", "ipc")
    local namespaces = probe.is_root and { "mount", "pid" } or { "mount" }
    for kind, handle in pairs(handles) do namespaces[kind] = handle end
    local user = not probe.is_root and { uid = UID, gid = GID } or nil
    for _, name in ipairs { "one", "other" } do
      local box = sandbox(name) { namespaces = namespaces, user = user }
      local result = assert(inside.run(box, { "true" }))
      for kind, handle in pairs(handles) do assert.equal(handle:inode(), result.enforced.namespaces[kind]) end
    end
  end)

  it("is one of a running sandbox, while that runs", function()
    local process = assert(sandbox {}:spawn { "sleep", "60" })
    local handle <close> = assert(process:ns "net")
    assert.equal(process.enforced.namespaces.net, handle:inode())
    assert.has_error(function() process:ns "nte" end)
    process:stop()
    process:wait(5)
    local gone, err = process:ns "net"
    assert.is_nil(gone)
    assert.equal("ESRCH", err.code)
    process:close()
  end)

  it("is joined by root's sandboxes with a user namespace of their own, which has no say over it", function()
    if not probe.is_root then return pending "an ordinary user's handles come with their user namespace" end
    local handles = made("net", "uts", "ipc", "cgroup")
    local namespaces = {}
    for kind, handle in pairs(handles) do namespaces[kind] = handle end
    for _, caps in ipairs { false, "all" } do
      local box = sandbox { namespaces = namespaces, caps = caps or nil }
      local result = assert(inside.run(box, { "sh", "-c", "hostname mine || ip link set lo up || echo $$" }))
      assert.matches("^%d+\n", result.stdout)
      for kind, handle in pairs(handles) do assert.equal(handle:inode(), result.enforced.namespaces[kind]) end
    end
  end)

  it("keeps a namespace alive at a path", function()
    if not probe.is_root then return pending "pinning takes sys_admin over the host's mounts" end
    local directory = probe.directory()
    local path = directory .. "/pinned"
    local handle = made "net".net
    local inode = handle:inode()
    assert.is_true(handle:pin(path))
    handle:close()
    assert.is_nil(handle:inode())
    local again <close> = assert(ns.open(path, "net"))
    assert.equal(inode, again:inode())
    assert.matches("File exists %(EEXIST%)", tostring(select(2, again:pin(path))))
    assert.is_true(sys.umount(path, "detach"))
    os.remove(path)
    probe.remove(directory)
  end)

  it("that cannot be pinned leaves no file", function()
    if probe.is_root then return pending "root may pin" end
    local directory = probe.directory()
    local ok, err = made "net".net:pin(directory .. "/p")
    local left = sys.stat(directory .. "/p")
    probe.remove(directory)
    assert.is_nil(ok)
    assert.matches("pin .*: Operation not permitted %(EPERM%)", tostring(err))
    assert.is_nil(left)
  end)

  it("tells what it is not", function()
    local _, err = ns.open "/etc/passwd"
    assert.matches("namespace /etc/passwd: .*it is no namespace", tostring(err))
    _, err = ns.open("/proc/self/ns/net", "uts")
    assert.matches("it is a net namespace, not uts %(EINVAL%)", tostring(err))
    _, err = ns.open(1 << 22, "net")
    assert.matches("No such file or directory", tostring(err))
    assert.has_error(function() ns.open(1) end, "ns.open: which namespace of process 1?")
    assert.has_error(function() ns.open("/proc/self/ns/net", "nets") end)
    assert.has_error(function() ns.new { "pid" } end, "ns.new: a namespace pid cannot be made")
    assert.has_error(function() ns.new {} end)
    if probe.is_root then
      assert.has_error(function() ns.new { "user" } end, "ns.new: root says uid_map and gid_map for a user namespace")
    end
  end)

  it("leaves no process and no fd", function()
    local before = watch.footprint()
    for _ = 1, 5 do made("net", "ipc") end
    assert.same(before, watch.footprint(before))
  end)
end)

describe("ns.list", function()
  it("has the namespaces of a running sandbox, with who lives there and whose they are", function()
    local process <close> = assert(sandbox {}:spawn { "sleep", "30", stdout = "null", stderr = "null" })
    local found = {}
    for _, namespace in ipairs(ns.list()) do found[namespace.inode] = namespace end
    local user = inode_of(("/proc/%d/ns/user"):format(process.pid))
    local net = found[inode_of(("/proc/%d/ns/net"):format(process.pid))]
    assert.same({ "net", user }, { net.type, net.owner })
    assert.truthy((" " .. table.concat(net.pids, " ") .. " "):find(" " .. process.pid .. " ", 1, true))
    assert.equal(inode_of "/proc/self/ns/user", found[user].parent)
    assert.equal(caller.pid, found[inode_of "/proc/self/ns/net"] and sys.getpid())
  end)
end)
