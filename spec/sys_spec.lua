local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"

--- Every row of the table of primitives, by its source.
local ROWS <const> = {}
for name in probe.read "csrc/kernel/primitives.def":gmatch "\nPRIMITIVE%((%w+[%w_]*)," do ROWS[#ROWS + 1] = name end

local EBADF <const>, ENOENT <const> = 9, 2

--- Runs a function in a child with new namespaces; what it raises is the failure.
local function inside(namespaces, body)
  local child <close> = assert(sys.clone(namespaces, function()
    local id = probe.outside
    if namespaces[1] == "user" then
      assert(sys.deny_setgroups(0))
      assert(sys.gid_map(0, ("0 %d 1"):format(id.gid)))
      assert(sys.uid_map(0, ("0 %d 1"):format(id.uid)))
    end
    body()
    return 0
  end))
  assert.equal(0, (child:wait()))
end

describe("nslua.sys", function()
  local before
  setup(function() probe.outside = sys.identity() end)
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  it("has every row of the table, now and in a plan", function()
    assert.is_true(#ROWS > 35)
    local plan = sys.plan()
    for _, name in ipairs(ROWS) do
      assert.is_function(sys[name], name)
      assert.is_function(plan[name], name)
    end
  end)

  describe("arguments:", function()
    it("a wrong flag lists the valid ones", function()
      local ok, message = pcall(sys.unshare, "nett")
      assert.is_false(ok)
      for _, kind in ipairs { "nett", "cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts" } do
        assert.matches(kind, message, 1, true)
      end
      assert.matches("propagation", select(2, pcall(sys.mount, "a", "b", "c", { "ro", "propagation" })), 1, true)
      assert.has_error(function() sys.unshare { {} } end)
      assert.has_error(function() sys.unshare(1.5) end)
    end)

    it("an integer has no bits but those of the set, unless newer kernels may know more", function()
      local user <const> = sys.flags("namespaces", "user")
      local plan = sys.plan():bytes()
      for _, bits in ipairs { 0x100, 0x4000, -1, 1 << 40 } do -- CLONE_VM, CLONE_VFORK
        for _, kinds in ipairs { bits, user | bits, { "user", bits } } do
          for _, call in ipairs {
            function() sys.unshare(kinds) end, function() sys.new_namespaces(kinds) end, function() sys.plan():fork(kinds, 0) end,
            function() sys.spawn { operations = plan, registers = 3, namespaces = kinds } end,
          } do
            assert.matches("no flag '%-?%d+' %(valid: cgroup, ipc", select(2, pcall(call)))
          end
        end
      end
      assert.equal(user, sys.flags("namespaces", { user, "user" }))
      assert.equal(1 << 31, sys.flags("mount_flags", 1 << 31))
      assert.equal(1 << 63, sys.flags("landlock_files", 1 << 63))
      assert.has_error(function() sys.umount("/nowhere", 1 << 32) end)
      assert.has_error(function() sys.setrlimit(1 << 32, 0, 0) end)
    end)

    it("an integer that is wider than what the system call takes is refused, not cut", function()
      local wide <const> = 1 << 32
      local plan = sys.plan()
      for _, call in ipairs {
        function() sys.close_range(wide, wide) end, function() sys.dup(io.stderr, wide) end,
        function() sys.pidfd_open(wide + 1) end,
        function() sys.chown(nil, "/nowhere", wide + 1001, -1) end, function() sys.setresuid(-1, wide + 1001, -1) end,
        function() sys.setresgid(-1, wide + 1001, -1) end, function() sys.dup_above(0, -wide) end,
        function() sys.set_window_size(0, 1 << 16, 80) end, function() plan:close_range(wide, wide) end,
        function() sys.capability_name(1 << 40) end, function() sys.user_name(1 << 40) end, function() sys.strerror(1 << 40) end,
        function() sys.pipe_size(0, wide) end,
      } do
        assert.matches("out of range", select(2, pcall(call)))
      end
      for _, signal in ipairs { wide | 1, 65, 0, "x" } do
        assert.matches("no such signal", select(2, pcall(sys.signalfd, { signal })))
      end
      for _, resource in ipairs { 12345, wide | sys.flags("resources", "nofile") } do
        assert.matches("valid: as, core", select(2, pcall(sys.getrlimit, resource)))
      end
    end)

    it("an integer may be as wide as that", function()
      local plan = sys.plan()
      plan:setresuid(-1, 0xfffffffe, -1):close_range(3, 0xffffffff)
      plan:setrlimit("as", -1, 1 << 40):bounding(1 << 40):capset(-1, 1 << 40, 0):timens_offset("boottime", -1 << 40)
      assert.equal(6, #plan)
    end)

    it("what is wrong in a list is the element", function()
      for message, call in pairs {
        ["#4 to 'mount' (flag expected, got number in the list)"] = function() sys.mount("a", "b", "c", { "ro", 1.5 }) end,
        ["#1 to 'unshare' (flag expected, got table in the list)"] = function() sys.unshare { {} } end,
        ["#1 to 'unshare' (flag expected, got boolean)"] = function() sys.unshare(true) end,
        ["#2 to 'execve' (string expected, got number in the list)"] = function() sys.execve("a", { "a", 1 }, {}) end,
      } do
        assert.matches(message, select(2, pcall(call)), 1, true)
      end
    end)

    it("control bytes of a wrong flag are escaped", function()
      assert.matches("\\x1b", select(2, pcall(sys.unshare, "\27[31m")), 1, true)
    end)

    it("a NUL in a string is refused where the kernel would cut it", function()
      for _, call in ipairs {
        function() sys.chdir "/\0etc" end, function() sys.sethostname "a\0b" end, function() sys.mount("a", "b\0", "c") end,
        function() sys.execve("/bin/true", { "a\0b" }, {}) end, function() sys.fsopen "tmpfs\0" end,
        function() sys.stat "/\0etc" end, function() sys.lstat "/\0etc" end, function() sys.readlink "/proc/self/exe\0" end,
        function() sys.list_directory "/\0etc" end, function() sys.unshare "user\0" end, function() sys.flags("links\0") end,
        function() sys.capability "chown\0" end, function() sys.syscall_number "read\0" end,
        function() sys.new_namespaces("user", "0 0 1\0", "0 0 1") end,
        function() sys.spawn { operations = "", registers = 3, name = "a\0b" } end,
      } do
        local ok, message = pcall(call)
        assert.is_false(ok)
        assert.matches("NUL", message)
      end
    end)

    it("too many, of a wrong type, out of range", function()
      assert.has_error(function() sys.setsid(1) end)
      assert.has_error(function() sys.chdir("/", 1) end)
      assert.has_error(function() sys.chdir {} end)
      assert.has_error(function() sys.chdir() end)
      assert.has_error(function() sys.umask(4096) end)
      assert.has_error(function() sys.umask(-1) end)
      assert.has_error(function() sys.umask "x" end)
      assert.has_error(function() sys.fchdir(-1) end)
      assert.has_error(function() sys.fchdir(1 << 40) end)
      assert.has_error(function() sys.fchdir {} end)
      assert.has_error(function() sys.setgroups { -1 } end)
      assert.has_error(function() sys.setgroups { 1 << 32 } end)
      assert.has_error(function() sys.setgroups { "x" } end)
      assert.has_error(function() sys.fchdir(sys.plan():open(nil, "/")) end) -- a register is no fd
    end)
  end)

  it("a failure is nil, a message with the object, and errno", function()
    local result, message, errno = sys.chdir "/no/such/directory"
    assert.is_nil(result)
    assert.same({ "chdir /no/such/directory: No such file or directory (ENOENT)", ENOENT }, { message, errno })
    assert.same({ EBADF, EBADF }, { select(3, sys.fchdir(9999)), select(3, sys.close(9999)) })
    assert.matches("\\x1b", select(2, sys.chdir "/\27"), 1, true)
  end)

  it("fd handles: number, close, file, <close>, collected, closed ones are refused", function()
    local fd = assert(sys.open(nil, "/", { "path", "directory" }))
    assert.matches("^fd %(%d+%)$", tostring(fd))
    local number = fd:fileno()
    assert.equal("directory", sys.fstat(fd).type)
    fd:close()
    fd:close()
    assert.equal("fd (closed)", tostring(fd))
    assert.has_error(function() fd:fileno() end)
    assert.has_error(function() sys.fchdir(fd) end)
    assert.equal(EBADF, select(3, sys.fchdir(number)))
    do
      local closing <close> = assert(sys.open(nil, "/dev/null", "read"))
      number = closing:fileno()
    end
    assert.equal(EBADF, select(3, sys.fstat(number)))
    local file = assert(sys.open(nil, "/proc/self/comm", "read")):file()
    assert.equal("string", type(file:read "a"))
    file:close()
    assert.has_error(function() sys.fstat(file) end)
  end)

  it("what it opens is close-on-exec", function()
    local fd <close> = assert(sys.open(nil, "/", "path"))
    local reader, writer = sys.pipe()
    for _, handle in ipairs { fd, reader, writer } do
      assert.matches("flags:%s+0%d*[2367]%d%d%d%d%d%d\n", probe.read("/proc/self/fdinfo/" .. handle:fileno()))
    end
    reader:close()
    writer:close()
  end)

  describe("below a dirfd", function()
    local directory, dirfd
    before_each(function()
      directory = probe.directory()
      probe.shell(("cd %s && mkdir -p a/b && echo in >a/file && ln -s a link && ln -s /etc absolute && ln -s ../.. up && "
        .. "ln -s file a/soft"):format(directory))
      dirfd = assert(sys.open(nil, directory, { "path", "directory" }))
      before.fds = before.fds + 1
    end)
    after_each(function()
      before.fds = before.fds - 1
      dirfd:close()
      probe.remove(directory)
    end)

    local function refused(errno, path, flags)
      local fd, _, got = sys.open(dirfd, path, flags or "path")
      if fd then fd:close() end
      assert.equal(errno, got and select(2, sys.strerror(got)), path)
    end

    it("paths resolve, a leading / is its root", function()
      for _, path in ipairs { "a/file", "/a/file", "a//file", "./a/./file", "a/b/../file" } do
        local file = assert(sys.open(dirfd, path, "read")):file()
        assert.equal("in\n", file:read "a", path)
        file:close()
      end
      assert(sys.open(dirfd, "/", "path")):close()
    end)

    it("no link, no way up, no magic link", function()
      refused("ELOOP", "link/file")
      refused("ELOOP", "absolute/passwd")
      refused("ELOOP", "a/soft", "read")
      refused("ELOOP", "up/etc")
      refused("EXDEV", "..")
      refused("EXDEV", "a/../../etc")
      local root <close> = assert(sys.open(nil, "/", { "path", "directory" }))
      for _, path in ipairs { "proc/self/root/etc", "proc/self/cwd", "proc/self/fd/0", "proc/self/exe" } do
        local fd, _, errno = sys.open(root, path, "path")
        if fd then fd:close() end
        assert.is_truthy(errno, path)
      end
    end)

    it("mkdir, mknod, symlink, write_file make what is missing, and follow no link", function()
      assert(sys.mkdir(dirfd, "new/deep/er", tonumber("700", 8), tonumber("755", 8)))
      assert(sys.mknod(dirfd, "new/fifo", "fifo", tonumber("600", 8)))
      assert(sys.symlink("anywhere", dirfd, "new/symlink"))
      assert(sys.write_file(dirfd, "new/file", "\0bytes", tonumber("644", 8)))
      for _, number in ipairs { { 1 << 12, 0 }, { 0, 1 << 20 }, { -1, 0 } } do
        local errno = select(3, sys.mknod(dirfd, "new/device", "char", 0, table.unpack(number)))
        assert.equal("EINVAL", errno and select(2, sys.strerror(errno)))
      end
      assert.same({ "directory", "fifo", "link", "file" }, { sys.stat(directory .. "/new/deep/er").type,
        sys.stat(directory .. "/new/fifo").type, sys.lstat(directory .. "/new/symlink").type,
        sys.stat(directory .. "/new/file").type })
      assert.equal("\0bytes", probe.read(directory .. "/new/file"))
      assert.equal("EEXIST", select(2, sys.strerror(select(3, sys.write_file(dirfd, "a/file", "x", 420)))))
      assert.equal("EEXIST", select(2, sys.strerror(select(3, sys.write_file(dirfd, "a/soft", "x", 420)))))
      assert.equal("ELOOP", select(2, sys.strerror(select(3, sys.mkdir(dirfd, "link/x", 493, 493)))))
      assert.equal("ELOOP", select(2, sys.strerror(select(3, sys.write_file(dirfd, "up/x", "x", 420, 493)))))
      assert.equal(ENOENT, select(3, sys.mkdir(dirfd, "none/x", 493)))
      assert.is_nil((sys.mkdir(dirfd, "../escaped", 493, 493)))
      assert.is_nil(sys.lstat(directory .. "/../escaped"))
    end)

    it("a name that is as long as a path may be, or longer", function()
      assert.equal("ENAMETOOLONG", select(2, sys.strerror(select(3, sys.mkdir(dirfd, ("a/"):rep(3000) .. "x", 493, 493)))))
      assert.equal("ENAMETOOLONG", select(2, sys.strerror(select(3, sys.mkdir(dirfd, ("n"):rep(300), 493)))))
    end)
  end)

  describe("in namespaces of its own", function()
    it("names, directories, umask, sessions, attributes", function()
      inside({ "user", "uts", "mount", "pid", "net", "ipc", "cgroup" }, function()
        assert(sys.sethostname "spec-host")
        assert(sys.setdomainname "spec-domain")
        assert(probe.read "/proc/sys/kernel/hostname" == "spec-host\n")
        assert(probe.read "/proc/sys/kernel/domainname" == "spec-domain\n")
        assert(sys.chdir "/etc")
        assert(sys.getcwd() == "/etc")
        local root <close> = assert(sys.open(nil, "/", { "path", "directory" }))
        assert(sys.fchdir(root))
        assert(sys.getcwd() == "/")
        assert(sys.umask(63) and sys.umask(18) == 63)
        assert(sys.unblock_signals() and sys.dumpable(1) and sys.child_subreaper(1) and sys.parent_death_signal(9))
        assert(sys.session_keyring() or true)
        assert(sys.no_new_privs())
        assert(probe.read "/proc/self/status":find "NoNewPrivs:%s*1")
        assert(sys.interface_up "lo")
        local _, _, errno = sys.interface_up "none"
        assert(errno == 19)
        assert(select(3, sys.interface_up(("x"):rep(100))) == 19)
      end)
    end)

    it("mounts, old and new", function()
      local directory = probe.directory()
      inside({ "user", "mount", "pid" }, function()
        assert(sys.mount_setattr(nil, "/", nil, nil, "private", "recursive"))
        assert(sys.mount("none", directory, "tmpfs", { "nosuid", "nodev" }, "size=1m"))
        local context <close> = assert(sys.fsopen "tmpfs")
        assert(sys.fsconfig(context, "size", "1m"))
        assert(not sys.fsconfig(context, "no-such-key", "1"))
        assert(sys.fsconfig(context))
        local mount <close> = assert(sys.fsmount(context, { "nosuid", "nodev" }))
        assert(sys.expect_mount(mount, { "nosuid", "nodev" }))
        local tmp <close> = assert(sys.open(nil, directory, { "path", "directory" }))
        assert(sys.attach(mount, tmp, "deep/mount", 493))
        assert(sys.write_file(tmp, "deep/mount/file", "text", 420))
        local clone <close> = assert(sys.open_tree(nil, directory .. "/deep/mount", "clone"))
        assert(sys.mount_setattr(clone, nil, "ro"))
        assert(sys.mkdir(tmp, "copy", 493))
        assert(sys.move_mount(clone, nil, directory .. "/copy"))
        assert(probe.read(directory .. "/copy/file") == "text")
        local _, _, errno = sys.write_file(tmp, "copy/more", "x", 420)
        assert(errno == 30) -- EROFS
        assert(sys.umount(directory .. "/copy", "detach"))
        assert(sys.chdir(directory))
        assert(sys.pivot_root(".", "."))
        assert(sys.umount(".", "detach"))
        assert(sys.expect_root())
        assert(sys.chdir "/")
        assert(sys.getcwd() == "/")
        assert(probe.read "/deep/mount/file" == "text")
        assert(not sys.stat "/etc")
        assert(sys.chroot "/deep")
      end)
      probe.remove(directory)
    end)

    it("devices are what they are said to be", function()
      local null <close> = assert(sys.open(nil, "/dev/null", "path"))
      assert.is_true(sys.expect_device(null, "char", 1, 3))
      assert.is_true(sys.expect_device(null, "char"))
      assert.equal(19, select(3, sys.expect_device(null, "char", 1, 5)))
      assert.equal(19, select(3, sys.expect_device(null, "block")))
    end)

    it("ids and capabilities", function()
      inside({ "user" }, function()
        local me = sys.identity()
        assert(me.uid == 0 and me.gid == 0)
        assert(sys.setresgid(0, 0, 0) and sys.setresuid(0, 0, 0))
        assert(sys.securebits { "noroot" })
        assert(sys.bounding(1 << 8))
        assert(sys.capset(1 << 8, 1 << 8, 1 << 8) and sys.ambient(1 << 8))
        local status = probe.read "/proc/self/status"
        for _, set in ipairs { "Inh", "Prm", "Eff", "Bnd", "Amb" } do
          assert(status:find("Cap" .. set .. ":%s*0+100\n"), set)
        end
        assert(sys.ambient(0) and sys.capset(0, 0, 0))
        assert(sys.identity().capabilities == 0)
        assert(not sys.sethostname "no")
      end)
    end)

    it("unshare and setns, by namespace and by pidfd-like handle", function()
      inside({ "user" }, function()
        local own <close> = assert(sys.open(nil, "/proc/self/ns/uts", "read"))
        assert(sys.unshare { "uts", "ipc" })
        assert(sys.sethostname "other")
        local other <close> = assert(sys.open(nil, "/proc/self/ns/uts", "read"))
        assert(sys.fstat(own).inode ~= sys.fstat(other).inode)
        assert(sys.unshare "uts")
        assert(sys.setns(other, "uts"))
        assert(probe.read "/proc/sys/kernel/hostname" == "other\n")
        assert(not sys.setns(other, "net"))
      end)
    end)

    it("clocks of a time namespace", function()
      inside({ "user" }, function()
        if not sys.unshare "time" then return end
        assert(sys.timens_offset("monotonic", 100000, 5))
        assert(sys.timens_offset("boottime", -1) == true or true)
        assert(probe.read "/proc/self/timens_offsets":find "monotonic%s+100000%s+5\n")
      end)
    end)

    it("execve and fds", function()
      local code = assert(sys.clone({}, function()
        assert(sys.close_range(3, 1 << 31, "cloexec"))
        local null = assert(sys.open(nil, "/dev/null", "read_write"))
        assert(sys.dup(null, 1) and sys.dup(null, 2))
        assert(sys.execve("sh", { "sh", "-c", "exit $CODE" }, { "CODE=42" }, "/nowhere:/usr/bin:/bin"))
      end)):wait()
      assert.equal(42, code)
      local _, message, errno = sys.execve("no-such", { "x" }, {}, "/usr/bin:/bin")
      assert.equal(ENOENT, errno)
      assert.matches("no%-such", message)
    end)
  end)
end)
