-- luacheck: no max line length
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys

local function with(...) return sandbox { fs = { fs.os(), ... } } end
local function mountinfo(box) return (inside.sh(box, "cat /proc/self/mountinfo")) end

--- A directory of the caller's with a file, on the disk.
local function tree()
  local path = probe.directory()
  probe.write(path .. "/file", "content\n", "644")
  probe.shell(("mkdir %s/sub"):format(path))
  return path
end

describe("fs", function()
  local source
  before_each(function() source = tree() end)
  after_each(function() probe.remove(source) end)

  describe("ro", function()
    it("shows the tree, and nobody writes to it", function()
      local box = with(fs.ro(source, "/src"))
      assert.equal("content\n", (inside.sh(box, "cat /src/file")))
      local seen = inside.sh(box, "touch /src/new; echo x > /src/file; rm /src/file; mkdir /src/d; chmod 777 /src; "
        .. "ln -s x /src/l; mv /src/file /src/g")
      assert.equal(7, select(2, seen:gsub("Read%-only file system", "")))
      assert.equal("file\nsub\n", probe.shell("ls " .. source))
    end)

    it("is ro, nosuid and nodev in the eyes of the kernel", function()
      local flags = inside.mount_at(mountinfo(with(fs.ro(source, "/src"))), "/src")
      assert.is_true(flags.ro and flags.nosuid and flags.nodev)
      local box = with(fs.ro(source, "/src"))
      assert.equal("7\n", (inside.python(box, "import os; print(os.statvfs('/src').f_flag & 7)")))
    end)

    it("is so with everything mounted below", function()
      local prefix = probe.is_root and "unshare -m" or "unshare -Um --map-current-user --keep-caps"
      probe.write(source .. "/case.lua", ([[
        local source = "%s"
        dofile "spec/support/setup.lua"
        local nslua = require "nslua"
        local fs, sys = nslua.fs, nslua.sys
        assert(sys.mount("none", source .. "/sub", "tmpfs", {}, "mode=777"))
        assert(sys.write_file(nil, source .. "/sub/f", "below\n", 420))
        local r, e = nslua.sandbox { fs = { fs.os(), fs.ro(source, "/src") } }:run { "sh", "-c",
          "cat /src/sub/f; echo x > /src/sub/g; grep /src/sub /proc/self/mountinfo; umount /src/sub", stdout = "capture",
          stderr = "capture" }
        print(r and r.stdout .. r.stderr or e)
      ]]):format(source))
      local seen = probe.shell(prefix .. " lua5.4 " .. source .. "/case.lua")
      assert.matches("below\n", seen)
      assert.matches("cannot create /src/sub/g: Read%-only file system", seen)
      assert.matches(" /src/sub ro,nosuid,nodev", seen)
    end)

    it("takes a single file, and the target is the source when it is not said", function()
      assert.equal("content\n", (inside.sh(with(fs.ro(source .. "/file", "/a/file")), "cat /a/file")))
      assert.equal("content\n", (inside.sh(with(fs.ro(source)), "cat " .. source .. "/file")))
    end)

    it("with exec = false executes nothing", function()
      probe.write(source .. "/program", "#!/bin/sh\necho ran\n", "755")
      assert.equal("ran\n", (inside.sh(with(fs.ro(source, "/src")), "/src/program")))
      assert.matches("Permission denied", (inside.sh(with(fs.ro(source, "/src", { exec = false })), "/src/program")))
    end)

    it("has no use of device nodes and set-user-id bits below", function()
      if not probe.is_root then return pending "an ordinary user makes no device nodes" end
      probe.shell(("mknod -m 666 %s/null c 1 3; cp /usr/bin/id %s/id; chmod 4755 %s/id"):format(source, source, source))
      local seen = inside.sh(with(fs.ro(source, "/src")), "echo x > /src/null; cat /src/null; /src/id -u")
      assert.equal("1000\nsh: 1: cannot create /src/null: Permission denied\ncat: /src/null: Permission denied\n", seen)
    end)
  end)

  describe("rw", function()
    it("is written by the payload, and the host sees files of the source's owner", function()
      local box = with(fs.rw(source, "/src"))
      local seen, result = inside.sh(box, "echo new > /src/new && echo more >> /src/file && mkdir /src/d && stat -c %u /src /src/new")
      assert.is_true(result.ok, seen)
      local own = sys.stat(source).uid
      for _, name in ipairs { "new", "d", "file" } do assert.equal(own, sys.stat(source .. "/" .. name).uid, name) end
      assert.equal("content\nmore\n", probe.read(source .. "/file"))
      assert.equal(sys.identity().uid == 0 and "1000\n1000\n" or ("%d\n"):format(own):rep(2), seen)
    end)

    it("is nosuid and nodev", function()
      local flags = inside.mount_at(mountinfo(with(fs.rw(source, "/src"))), "/src")
      assert.is_true(flags.rw and flags.nosuid and flags.nodev)
    end)

    it("of another's tree gives root's payload that other's files", function()
      if not probe.is_root then return pending "only root shares another's tree so" end
      probe.shell("chown -R nobody: " .. source)
      local seen, result = inside.sh(with(fs.rw(source, "/src")), "echo new > /src/new && stat -c %u /src/new")
      assert.is_true(result.ok, seen)
      assert.equal(sys.stat(source).uid, sys.stat(source .. "/new").uid)
    end)

    it("with idmap = false leaves the ids as they are", function()
      if not probe.is_root then return pending "nothing is idmapped for an ordinary user" end
      local seen = inside.sh(with(fs.rw(source, "/src", { idmap = false })), "stat -c %u /src; touch /src/new")
      assert.matches("^65534\n.*Permission denied", seen)
    end)
  end)

  describe("devices", function()
    it("of /dev work and are what they should be", function()
      local seen = inside.sh(sandbox {}, [[echo x > /dev/null && head -c 4 /dev/zero | od -An -tx1 && head -c 4 /dev/urandom | wc -c
        head -c 4 /dev/random | wc -c; python3 -c 'import os; os.write(os.open("/dev/full", 1), b"x")' ; stat -c '%n %F %t:%T' /dev/null /dev/zero /dev/full /dev/tty; ls /dev]])
      assert.matches("^ 00 00 00 00\n4\n4\n", seen)
      assert.matches("No space left on device", seen)
      assert.matches("/dev/null character special file 1:3\n/dev/zero character special file 1:5\n"
        .. "/dev/full character special file 1:7\n/dev/tty character special file 5:0\n", seen)
      assert.matches("fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n", seen)
    end)

    it("have a pts and a shm of the sandbox's own; /dev itself cannot be written", function()
      local seen = inside.python(sandbox {}, [[
import os, pty
a, b = pty.openpty(); print(os.ttyname(b), os.listdir("/dev/shm")); open("/dev/shm/x", "w").write("y")
try: open("/dev/x", "w")
except OSError as e: print(e.strerror)
]])
      assert.equal("/dev/pts/0 []\nRead-only file system\n", seen)
    end)

    it("are named to be shared, and nothing else is shared so", function()
      assert.equal("1:3\n", (inside.sh(with(fs.device("/dev/null", "/n")), "echo x > /n && stat -c %t:%T /n")))
      for _, path in ipairs { "/etc", "/etc/passwd" } do
        local result, message = inside.run(with(fs.device(path, "/n")), { "true" })
        assert.is_nil(result)
        assert.matches("ENODEV", message)
      end
    end)
  end)

  describe("tmpfs", function()
    it("is as large as it says, and not larger", function()
      local seen = inside.sh(with(fs.tmpfs("/t", { size = "1M" })), "head -c 900K /dev/zero > /t/a && echo fits; head -c 900K /dev/zero > /t/b")
      assert.matches("^fits\n.*No space left", seen)
    end)

    it("has as many inodes as it says", function()
      local seen = inside.sh(with(fs.tmpfs("/t", { inodes = 20 })), "touch $(seq -f /t/%g 40); ls /t | wc -l")
      assert.matches("No space left", seen)
      assert.is_true(tonumber(seen:match "^(%d+)\n") < 20)
    end)

    it("has limits everywhere when nothing is said", function()
      for line in mountinfo(sandbox {}):gmatch "[^\n]+" do
        local at, options = line:match "^%d+ %d+ %S+ %S+ (%S+) .* %- tmpfs %S+ (%S+)"
        if at then
          assert.matches("size=%d+k", options)
          assert.matches("nr_inodes=%d+", options, 1, false, at)
        end
      end
    end)

    it("has the mode that is said, and 0755 otherwise", function()
      assert.equal("1777\n755\n", (inside.sh(with(fs.tmpfs("/a", { mode = 1023 }), fs.tmpfs "/b"), "stat -c %a /a /b")))
    end)
  end)

  describe("small things", function()
    it("are files with content and mode", function()
      local box = with(fs.file("/etc/conf", "a\0b\n"), fs.file("/bin2/run", "#!/bin/sh\necho ran\n", { mode = 493 }))
      assert.equal("a\0b\nran\n444\n", (inside.sh(box, "cat /etc/conf; /bin2/run; stat -c %a /etc/conf")))
    end)

    it("are files over those of a foreign tree, which stays as it is", function()
      local seen = inside.sh(with(fs.ro(source, "/src"), fs.file("/src/file", "mine")), "cat /src/file; echo x > /src/file")
      assert.matches("^mine.*Read%-only", seen)
      assert.equal("content\n", probe.read(source .. "/file"))
    end)

    it("are directories and links", function()
      local box = with(fs.dir("/a/b/c", { mode = 448 }), fs.symlink("a/b", "/l"), fs.tmpfs "/l/t")
      assert.equal("700\na/b\n/a/b/t\n", (inside.sh(box, "stat -c %a /a/b/c; readlink /l; awk '$5 == \"/a/b/t\" {print $5}' /proc/self/mountinfo")))
    end)

    it("are masks that nobody reads or changes", function()
      probe.shell(("echo secret > %s/sub/secret"):format(source))
      local seen = inside.sh(with(fs.rw(source, "/src"), fs.mask "/src/file", fs.mask "/src/sub"),
        "cat /src/file; ls /src/sub; cat /src/sub/secret; chmod 777 /src/sub /src/file; echo x > /src/file; touch /src/sub/x")
      assert.not_matches("secret\n", seen:gsub("/secret", ""))
      assert.not_matches("content", seen)
      assert.equal(2, select(2, seen:gsub("cannot open.-denied", "")) + select(2, seen:gsub("file: Permission denied", "")))
      assert.equal("content\n", probe.read(source .. "/file"))
    end)

    it("are masks that cannot be skipped unasked", function()
      local result, message = inside.run(with(fs.mask "/nothing"), { "true" })
      assert.is_nil(result)
      assert.matches("mask /nothing: No such file or directory %(ENOENT%);\n  there is nothing to mask", message)
      result = inside.run(with(fs.mask("/nothing", { optional = true })), { "true" })
      assert.same({ "mask /nothing" }, result.enforced.skipped)
    end)
  end)

  describe("a missing source", function()
    it("is skipped when it is optional, and the result lists it", function()
      local result = inside.run(with(fs.ro("/no/1", "/a", { optional = true }), fs.rw("/no/2", "/b", { optional = true }),
        fs.device("/dev/none", "/c", { optional = true })), { "sh", "-c", "ls -d /a /b /c 2>/dev/null" })
      assert.equal("", result.stdout)
      assert.same({ "bind /no/1 on /a", "bind /no/2 on /b", "device /dev/none on /c" }, result.enforced.skipped)
    end)

    it("lists nothing when nothing is skipped", function()
      assert.same({}, inside.run(sandbox {}, { "true" }).enforced.skipped)
    end)

    it("lists all of many", function()
      local list, want = { fs.os() }, {}
      for i = 1, 20 do
        list[#list + 1] = fs.ro("/no/" .. i, "/skipped" .. i, { optional = true })
        want[i] = ("bind /no/%d on /skipped%d"):format(i, i)
      end
      local reason = inside.failure(function()
        assert.same(want, inside.run(sandbox { fs = list }, { "true" }).enforced.skipped)
      end)
      if reason then pending(reason) end
    end)
  end)

  describe("create", function()
    it("makes mount points in a foreign tree when it is said", function()
      local seen, result = inside.sh(with(fs.rw(source, "/src"), fs.tmpfs("/src/a/b", { create = true })), "touch /src/a/b/x; ls /src/a/b")
      assert.is_true(result.ok, seen)
      assert.equal("x\n", seen)
      assert.equal("", probe.shell("ls " .. source .. "/a/b"))
      assert.equal(sys.stat(source).uid, sys.stat(source .. "/a/b").uid)
    end)

    it("makes nothing in a read-only one", function()
      local result, message = inside.run(with(fs.ro(source, "/src"), fs.tmpfs("/src/a", { create = true })), { "true" })
      assert.is_nil(result)
      assert.matches("EROFS", message)
    end)

    it("is what dir and symlink need too to make something in a foreign tree", function()
      for _, asked in ipairs { fs.dir "/src/unasked", fs.symlink("x", "/src/unasked") } do
        local ok, err = pcall(inside.run, with(fs.rw(source, "/src"), asked), { "true" })
        assert.is_false(ok)
        assert.matches("/src/unasked lies in a tree of the host; { create = true } makes it there$", tostring(err))
      end
      assert.equal("file\nsub\n", probe.shell("ls " .. source))
    end)

    it("is needed below a foreign tree that covers one of ours", function()
      inside.run(with(fs.tmpfs "/a/b", fs.rw(source, "/a"), fs.tmpfs "/a/b/c"), { "true" })
      assert.equal("file\nsub\n", probe.shell("ls " .. source))
    end)
  end)
end)

describe("the root", function()
  it("is read-only, with what is not named for writing", function()
    local seen = inside.sh(sandbox {}, "for d in / /etc /usr /var /home /dev /proc /usr/bin; do touch $d/x 2>/dev/null && echo wrote $d; done; true")
    assert.equal("", seen)
  end)

  it("has nothing of the host's root, neither below nor above", function()
    local box = sandbox {}
    local table = mountinfo(box)
    for line in table:gmatch "[^\n]+" do
      local root, at, kind = line:match "^%d+ %d+ %S+ (%S+) (%S+) .* %- (%S+)"
      if kind ~= "tmpfs" and kind ~= "proc" and kind ~= "devpts" then assert.not_equal("/", root, at) end
    end
    assert.equal("same\n", (inside.sh(box, "[ \"$(stat -c %d:%i /)\" = \"$(stat -c %d:%i /..)\" ] && "
      .. "[ \"$(ls -ai / | head -1 | awk '{print $1}')\" = \"$(ls -ai /../.. | head -1 | awk '{print $1}')\" ] && echo same")))
  end)

  it("has no mount that spreads", function()
    for line in mountinfo(sandbox {}):gmatch "[^\n]+" do
      assert.is_nil(line:find("shared:", 1, true), line)
      assert.is_nil(line:find("master:", 1, true), line)
    end
  end)

  it("shows the host nothing of what is mounted inside", function()
    local before = probe.read "/proc/self/mountinfo"
    local seen = inside.sh(sandbox { user = "root", caps = { "sys_admin" } }, "mount -t tmpfs none /tmp && echo mounted")
    assert.equal("mounted\n", seen)
    assert.equal(before, probe.read "/proc/self/mountinfo")
  end)

  it("is an image when one is named", function()
    local source = probe.directory()
    probe.shell(("mkdir -p %s/usr %s/proc %s/dev %s/tmp %s/lib64 && ln -s usr/bin %s/bin && ln -s usr/lib %s/lib && echo image > %s/name")
      :format(source, source, source, source, source, source, source, source))
    local seen, result = inside.sh(sandbox { fs = { fs.image(source), fs.ro "/usr", fs.proc(), fs.dev(), fs.tmpfs "/tmp", fs.ro "/lib64" } },
      "cat /name; ls /; touch /x; touch /tmp/x && echo tmp")
    probe.remove(source)
    assert.equal(0, result.code, seen)
    assert.matches("^image\nbin\ndev\nlib\nlib64\nname\nproc\ntmp\nusr\ntmp\n", seen)
    assert.matches("touch: cannot touch '/x': Read%-only", seen)
  end)

  it("is the host's with fs.host, which is not to be written by root's payload", function()
    local seen = inside.sh(sandbox { fs = { fs.host() } }, "ls -d /etc/passwd && touch /etc/nslua-spec && echo wrote")
    assert.matches("^/etc/passwd\n", seen)
    assert.not_matches("wrote", seen)
    assert.is_nil(sys.stat "/etc/nslua-spec")
  end)

  it("is the caller's where there is no mount namespace", function()
    assert.equal(probe.shell "ls /", (inside.sh(sandbox { namespaces = { "user" } }, "ls /")))
  end)
end)

describe("fs.os", function()
  it("has nothing of anybody's data", function()
    local seen = inside.sh(sandbox {}, "find /etc /home /root /var /run /tmp -xdev -not -type d 2>/dev/null | sort; "
      .. "ls -A /home /home/* /run /tmp; ls -d /root /srv /opt /mnt /media /boot /sys 2>/dev/null")
    for name in seen:gmatch "/etc/([^/\n]+)" do
      local known = { ["ca-certificates.conf"] = true, group = true, hosts = true, ["ld.so.cache"] = true, ["ld.so.conf"] = true,
        localtime = true, ["mime.types"] = true, ["nsswitch.conf"] = true, passwd = true, protocols = true, services = true,
        ssl = true, alternatives = true, ["ld.so.conf.d"] = true }
      assert.is_true(known[name], name)
    end
    for _, secret in ipairs { "shadow", "ssh", "machine%-id", "resolv", "sudoers", "nslua", "private" } do
      assert.not_matches(secret, seen)
    end
    assert.not_matches("\n/root\n", seen)
    assert.not_matches("\n/srv\n", seen)
  end)

  it("names the sandbox's own users only", function()
    local passwd = inside.sh(sandbox {}, "cut -d: -f1 /etc/passwd /etc/group")
    assert.equal("root\nnobody\nsandbox\nroot\nnogroup\nsandbox\n", passwd)
    assert.equal("sandbox\n/home/sandbox\n", (inside.sh(sandbox {}, "id -un; pwd")))
    assert.equal("root\n/root\n", (inside.sh(sandbox { user = "root" }, "id -un; pwd")))
  end)

  it("runs bash, python3, gcc and git", function()
    local seen, result = inside.sh(sandbox {}, [[
      bash -c 'echo bash ${BASH_VERSINFO[0]}' && python3 -c 'import json, ssl; print("python")' && git --version | cut -d' ' -f1,2 &&
      cd /tmp && printf '#include <stdio.h>\nint main(void) { puts("hello"); }\n' > h.c && gcc -o h h.c && ./h]])
    assert.is_true(result.ok, seen)
    assert.matches("^bash %d+\npython\ngit version\nhello\n$", seen)
  end)

  it("gives each run an empty /tmp, /run and home", function()
    local box = sandbox {}
    for _ = 1, 2 do assert.equal("", (inside.sh(box, "ls -A /tmp /run ~ | grep -v : ; touch /tmp/x /run/x ~/x"):gsub("%s", ""))) end
  end)
end)

describe("fs.file with over", function()
  local source
  before_each(function() source = tree() end)
  after_each(function() probe.remove(source) end)

  it("goes into a file that is there, which stays what it is otherwise", function()
    local own = with(fs.file("/f", "first, and longer", { mode = tonumber("640", 8) }), fs.file("/f", "second", { over = true }))
    assert.equal("second 640\n", (inside.sh(own, "cat /f; stat -c ' %a' /f")))
    local shared = { over = true, create = true, place = "tree" }
    inside.sh(with(fs.rw(source, "/s"), fs.file("/s/file", "new", shared)), "true")
    assert.equal("new", probe.read(source .. "/file"))
    assert.equal("644\n", (probe.shell("stat -c %a " .. source .. "/file")))
  end)

  it("goes into nothing else, and without it into nothing that is there", function()
    probe.shell(("cd %s && ln -s file link && mkfifo fifo"):format(source))
    local function code(target, options)
      local _, _, err = inside.run(with(fs.rw(source, "/s"), fs.file(target, "new", options)), { "true" })
      return err and err.code
    end
    local shared = { over = true, create = true, place = "tree" }
    assert.same({ "ELOOP", "EISDIR", "ENXIO" }, { code("/s/link", shared), code("/s/sub", shared), code("/s/fifo", shared) })
    assert.equal("EEXIST", code("/s/file", { create = true, place = "tree" }))
    assert.equal("content\n", probe.read(source .. "/file"))
  end)
end)

describe("a mount over others", function()
  local source
  before_each(function() source = tree() end)
  after_each(function() probe.remove(source) end)

  it("takes away what was known of them, however often: nothing is made in a tree of the host unasked", function()
    local over = { over = true }
    local box = with(fs.tmpfs "/a", fs.tmpfs "/a/x/y", fs.tmpfs("/a", over), fs.tmpfs("/a/x/y", over),
      fs.rw(source, "/a", over), fs.dir "/a/x/y/made")
    local ok, err = pcall(box.run, box, { "true" })
    assert.is_false(ok)
    assert.matches("fs.dir: /a/x/y/made lies in a tree of the host", tostring(err), 1, true)
    assert.is_nil(sys.stat(source .. "/x"))
    probe.shell(("mkdir -p %s/x/y"):format(source))
    local again = with(fs.tmpfs "/a", fs.tmpfs "/a/x/y", fs.rw(source, "/a", over),
      fs.tmpfs("/a/x/y", { over = true, create = true }), fs.dir "/a/x/y/made")
    assert.equal("made\n", (inside.sh(again, "ls /a/x/y")))
    assert.is_nil(sys.stat(source .. "/x/y/made"))
  end)
end)
