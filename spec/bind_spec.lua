-- luacheck: no max line length
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys
local OWN_MOUNTS <const> = probe.is_root and "unshare -m" or "unshare -Um --map-current-user --keep-caps"

local source -- a directory of the caller's, made anew for each spec

local function at(name) return source .. "/" .. name end
local function with(...) return sandbox { fs = { fs.os(), ... } } end
local function mountinfo(box) return (inside.sh(box, "cat /proc/self/mountinfo")) end
local function flags_at(box, target) return assert(inside.mount_at(mountinfo(box), target), target) end
local function outside(command) return (probe.shell(("cd %s && { %s; }"):format(source, command))) end

--- The id that the payload has for what is the source's owner's.
local function own_id() return probe.is_root and 1000 or sys.identity().uid end

--- A recipe's user with ids 0 to 99 mapped, of which it is 5 in group 6. Root's.
local MANY_IDS <const> = { uid = 5, gid = 6, uid_map = { { 0, 200000, 100 } }, gid_map = { { 0, 200000, 100 } } }

--- A host program with mounts of its own; "@" in it is the source.
local function elsewhere(code, options)
  options = options or { through = OWN_MOUNTS }
  options.seconds = 40
  return (watch.host("local fs <const> = nslua.fs\n" .. code:gsub("@", source), options))
end

before_each(function()
  source = probe.directory()
  outside "mkdir -p tree/sub other && echo content > tree/file && echo below > tree/sub/file && printf '#!/bin/sh\\necho ran\\n' > tree/program && chmod 755 tree/program"
end)
after_each(function() probe.remove(source) end)

describe("the options of fs.ro and fs.rw", function()
  for name, verb in pairs { ro = fs.ro, rw = fs.rw } do
    describe("exec", function()
      it("= false of " .. name .. " executes nothing, files neither", function()
        local box = with(verb(at "tree", "/x", { exec = false }), verb(at "tree/program", "/y", { exec = false }))
        assert.is_true(flags_at(box, "/x").noexec and flags_at(box, "/y").noexec)
        local seen = inside.sh(box, "/x/program; /y; sh /x/program")
        assert.equal(2, select(2, seen:gsub("Permission denied", "")), seen)
        assert.matches("^ran\n", seen)
      end)

      it("of " .. name .. " is on when it is not said", function()
        for _, options in ipairs { {}, { exec = true } } do
          local box = with(verb(at "tree", "/x", options))
          assert.is_nil(flags_at(box, "/x").noexec)
          assert.equal("ran\n", (inside.sh(box, "/x/program")))
        end
      end)
    end)

    describe("suid and dev", function()
      it("of " .. name .. " lift one restriction each, and no other", function()
        local flags = flags_at(with(verb(at "tree", "/x", { suid = true })), "/x")
        assert.same({ nil, true, true }, { flags.nosuid, flags.nodev, flags[name] })
        flags = flags_at(with(verb(at "tree", "/x", { dev = true })), "/x")
        assert.same({ true, nil, true }, { flags.nosuid, flags.nodev, flags[name] })
        flags = flags_at(with(verb(at "tree", "/x", { suid = false, dev = false })), "/x")
        assert.is_true(flags.nosuid and flags.nodev and flags[name])
      end)
    end)

    describe("atime", function()
      it("of " .. name .. " is as the host has it unless it is said, which only root may change", function()
        local host = probe.shell("findmnt -no OPTIONS -T " .. source)
        local same = host:find "noatime" and "noatime" or host:find "relatime" and "relatime" or "strictatime"
        local function kind(box)
          local flags = flags_at(box, "/x")
          return flags.noatime and "noatime" or flags.relatime and "relatime" or "strictatime"
        end
        assert.equal(same, kind(with(verb(at "tree", "/x"))))
        for _, atime in ipairs { "noatime", "relatime", "strictatime" } do
          local box = with(verb(at "tree", "/x", { atime = atime }))
          if probe.is_root or atime == same then
            assert.equal(atime, kind(box))
          else
            local result, message, err = inside.run(box, { "true" })
            assert.is_nil(result)
            assert.equal("EPERM", err.code)
            assert.matches("bind_spec.lua:%d+: bind " .. source:gsub("%p", "%%%0") .. "/tree on /x: .*locks them %(and atime%)", message)
          end
        end
      end)
    end)
  end

  it("dev lets root's payload use device nodes", function()
    if not probe.is_root then return pending "an ordinary user makes no device nodes" end
    outside "mknod -m 666 tree/null c 1 3"
    assert.equal("used\n", (inside.sh(with(fs.ro(at "tree", "/x", { dev = true })), "echo x > /x/null && cat /x/null && echo used")))
    assert.matches("Permission denied", (inside.sh(with(fs.ro(at "tree", "/x", { suid = true })), "echo x > /x/null")))
  end)

  it("let root's payload give no file capabilities, with none or all of its own, and no filter of the recipe's", function()
    if not probe.is_root then return pending "what an ordinary user's payload makes is that user's" end
    for _, recipe in ipairs { {}, { seccomp = false }, { user = "root", caps = "all", seccomp = false } } do
      recipe.fs = { fs.os(), fs.rw(at "tree", "/x") }
      local seen = inside.sh(sandbox(recipe), "cp /usr/bin/cat /x/cat; setcap cap_dac_override+ep /x/cat; unshare -Ur setcap cap_dac_override+ep /x/cat")
      assert.equal("", outside "getcap tree/cat", seen)
      assert.truthy(sys.stat(at "tree/cat"))
      outside "rm tree/cat"
    end
  end)

  it("follow no link of a source in what the payload can write, for an earlier run may have made it", function()
    local outer, secret = probe.directory(), probe.directory()
    probe.write(secret .. "/key", "secret", "644")
    probe.shell(("mkdir %s/usual && chmod 777 %s %s/usual && touch %s/usual/file && ln -s %s %s/planted && ln -s usual %s/within"):format(outer, outer, outer,
      outer, secret, outer, outer))
    local function try(path, options, last)
      local shared, part = fs.rw(outer .. (last and "/" or ""), "/x"), fs.ro(outer .. path, "/y", options)
      local result, err = sandbox { fs = { fs.os(), last and part or shared, last and shared or part } }:run { "ls", "/y", stdout = "capture" }
      return result and result.stdout or tostring(err)
    end
    assert.equal("no, no, yes", probe.shell(([[cd %s && %s/%s -e 'for i, path in ipairs { "planted", "./planted", "usual" } do
      io.write(i > 1 and ", " or "", sandbox { fs = { fs.os(), fs.rw(".", "/x"), fs.ro(path, "/y") } }:run { "true" } and "yes" or "no")
    end']]):format(outer, sys.getcwd(), probe.nslua)))
    for _, last in ipairs { false, true } do
      assert.equal("file\n", try("/usual", nil, last))
      assert.equal("file\n", try("//usual/.", nil, last))
      assert.equal("/y\n", try("/usual/file", nil, last))
      for _, link in ipairs { "/planted", "/planted/key", "/within/file", "/usual/../planted" } do
        assert.matches("bind_spec.lua:%d+: bind .* on /y: is a symbolic link.*\n.*follow = true", try(link, nil, last), link)
      end
      assert.equal("key\n", try("/planted", { follow = true }, last))
      assert.matches("No such file", try("/none", nil, last))
      assert.matches("cannot access '/y'", tostring(sandbox { fs = { fs.os(), fs.rw(outer, "/x"), fs.ro(outer .. "/none", "/y", { optional = true }) } }
        :run { "ls", "/y", stderr = "capture" }.stderr))
    end
    probe.remove(outer)
    probe.remove(secret)
  end)

  it("let root's payload make no set-user-id file where an idmapped fs.ro is made writable", function()
    if not probe.is_root then return pending "only root maps ids" end
    local box = with(fs.ro(at "tree", "/x", { idmap = true }), fs.remount("/x", { ro = false }))
    local seen, result = inside.sh(box, "cp /bin/dash /x/p && chmod 4755 /x/p")
    assert.matches("Operation not permitted", seen)
    assert.equal("refused", result.enforced.setid_files)
    assert.equal("755\n", outside "stat -c %a tree/p")
  end)

  it("let root's payload make no set-user-id file by way of a message queue that an overlay copies up", function()
    if not probe.is_root then return pending "what an ordinary user's payload makes is that user's" end
    for _, recipe in ipairs { { nesting = true }, { user = "root", caps = "all", seccomp = false } } do
      recipe.fs = { fs.os(), fs.rw(at "tree", "/x") }
      local seen = inside.python(sandbox(recipe), ([[
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10020000 | 0x08000000) == 0: # user, mount, ipc
  for name, text in (("setgroups", "deny"), ("uid_map", "1000 1000 1"), ("gid_map", "1000 1000 1")): open("/proc/self/" + name, "w").write(text)
for name in ("/tmp/q", "/tmp/o", "/x/upper", "/x/work"): os.mkdir(name)
assert libc.mount(b"q", b"/tmp/q", b"mqueue", 0, None) == 0
os.umask(0)
attributes = ctypes.create_string_buffer(struct.pack("8l", 0, 1, 8, 0, 0, 0, 0, 0))
for mode in (0o4777, 0o2777, 0o777):
  ctypes.set_errno(0)
  print("made" if libc.syscall(%d, b"queue%%o" %% mode, 0o102, mode, attributes) >= 0 else ctypes.get_errno())
assert libc.mount(b"o", b"/tmp/o", b"overlay", 0, b"lowerdir=/tmp/q,upperdir=/x/upper,workdir=/x/work,userxattr") == 0
libc.prctl(38, 1, 0, 0, 0) # the copy is made, what would take its bits away is refused
assert libc.syscall(446, libc.syscall(444, struct.pack("Q", 1 << 14), 8, 0), 0) == 0
for name in os.listdir("/tmp/o"):
  try: os.open("/tmp/o/" + name, os.O_RDWR | os.O_TRUNC)
  except OSError: pass
]]):format(sys.syscall_number "mq_open"))
      assert.equal("1\n1\nmade\n", seen)
      assert.equal("", outside "find tree -type f -perm /6000")
      outside "rm -r tree/upper tree/work"
    end
  end)

  it("let root's payload mount no file system of its own making where it may mount an overlay of it", function()
    if not probe.is_root then return pending "what an ordinary user's payload makes is that user's" end
    if not sys.stat "/dev/fuse" then return pending "there is no /dev/fuse" end
    local fuse, tree = fs.device "/dev/fuse", at "tree"
    local function mistake(recipe, ...)
      recipe.fs = { fs.os(), ... }
      return inside.mistake(inside.run, sandbox(recipe), { "true" })
    end
    for _, fields in ipairs { { nesting = true }, { user = "root", caps = { "sys_admin" } } } do
      for _, entry in ipairs { fuse, fs.ro("/dev", "/y", { dev = true }) } do
        assert.matches("/dev/fuse .* does not go with a tree whose ids are mapped", mistake(fields, fs.rw(tree, "/x"), entry))
      end
      assert.is_nil(mistake(fields, fs.rw(tree, "/x", { idmap = false }), fuse))
      assert.is_nil(mistake(fields, fs.rw(tree, "/x"), fs.device("/dev/zero", "/z")))
    end
    assert.is_nil(mistake({}, fs.rw(tree, "/x"), fuse))
  end)

  it("give away nothing of the host's that is there already", function()
    outside "mkdir tree/there && chmod 711 tree/there && touch tree/plain"
    assert.matches("belongs to who makes it", inside.mistake(inside.run,
      with(fs.rw(at "tree", "/x"), fs.dir("/x/there", { create = true, uid = own_id() })), { "true" }))
    local result, message = inside.run(with(fs.rw(at "tree", "/x"), fs.dir("/x/plain", { create = true })), { "true" })
    assert.is_nil(result)
    assert.matches("/x/plain.*ENOTDIR", message)
    assert.is_true(inside.run(with(fs.rw(at "tree", "/x"), fs.dir("/x/there", { create = true, mode = 511 })), { "true" }).ok)
    assert.equal("711\n", outside "stat -c %a tree/there")
  end)

  it("let root's payload write a set-user-id file of root's, which is none then", function()
    if not probe.is_root then return pending "what an ordinary user shares is that user's" end
    outside "cp /usr/bin/id tree/id && chmod 4755 tree/id"
    inside.python(with(fs.rw(at "tree", "/x")), "open('/x/id', 'r+b').write(b'EVIL')")
    assert.equal("EVIL755\n", outside "head -c 4 tree/id; stat -c %a tree/id")
  end)

  it("suid lets set-user-id bits count, with no_new_privs = false", function()
    if not probe.is_root then return pending "an ordinary user makes no other's set-user-id programs" end
    outside "cp /usr/bin/id tree/id && chown 200007:200007 tree/id && chmod 4755 tree/id"
    local function seen(suid, no_new_privs)
      local box = sandbox { fs = { fs.os(), fs.ro(at "tree", "/x", { suid = suid }) }, user = MANY_IDS, no_new_privs = no_new_privs }
      return (inside.sh(box, "/x/id -u"))
    end
    assert.equal("7\n", seen(true, false))
    assert.equal("5\n", seen(false, false))
    assert.equal("5\n", seen(true, true))
    local box = with(fs.rw(at "tree", "/x")):with { no_new_privs = false }
    assert.matches("no_new_privs = false does not go with a tree whose ids are mapped", inside.mistake(inside.run, box, { "true" }))
  end)

  it("that do not exist are mistakes, with what was meant", function()
    assert.matches("bind_spec.lua:%d+: fs.ro: options must be .*'recursiv'; did you mean 'recursive'", inside.mistake(with, fs.ro(at "tree", "/x", { recursiv = false })))
    assert.matches("where atime is 'noatime', 'relatime' or 'strictatime' %(not 'never'%)", inside.mistake(with, fs.ro(at "tree", "/x", { atime = "never" })))
    assert.matches("where propagation is 'private' or 'slave' %(not 'shared'%)", inside.mistake(with, fs.ro(at "tree", "/x", { propagation = "shared" })))
    assert.matches("fs.device: options must be .*not 'exec'", inside.mistake(with, fs.device("/dev/null", "/x", { exec = true })))
  end)

  describe("of fs.device", function()
    it("are none of a mount: it is nosuid, noexec and a device", function()
      local flags = flags_at(with(fs.device("/dev/null", "/x/null", { parents = 448 })), "/x/null")
      assert.is_true(flags.nosuid and flags.noexec and flags.rw)
      assert.is_nil(flags.nodev)
      assert.equal("700\n", (inside.sh(with(fs.device("/dev/null", "/x/null", { parents = 448 })), "stat -c %a /x")))
    end)

    it("take an fd of a device, and nothing else", function()
      local null <close> = assert(sys.open(nil, "/dev/null", "path"))
      assert.equal("1:3\n", (inside.sh(with(fs.device(null, "/x")), "echo x > /x && stat -c %t:%T /x")))
      local file <close> = assert(io.open(at "tree/file"))
      local result, _, err = inside.run(with(fs.device("null", "/x", { from_fd = file })), { "true" })
      assert.is_nil(result)
      assert.equal("ENODEV", err.code)
    end)
  end)

  describe("recursive = false", function()
    local PROGRAM <const> = [[
      assert(sys.mount("none", "@/tree/sub", "tmpfs", {}, "mode=777"))
      assert(sys.write_file(nil, "@/tree/sub/mounted", "mounted\n", 420))
      for _, recursive in ipairs { true, false } do
        local r, e = sandbox { fs = { fs.os(), fs.ro("@/tree", "/x", { recursive = recursive }) } }:run { "sh", "-c",
          "ls /x/sub; grep -c ' /x/sub ' /proc/self/mountinfo", stdout = "capture", stderr = "capture" }
        print(recursive, r and r.stdout .. r.stderr or e)
      end]]

    it("leaves out what is mounted below, for root; an ordinary user is told that it may not uncover that", function()
      local seen = elsewhere(PROGRAM)
      assert.matches("true\tmounted\n1\n", seen)
      if probe.is_root then
        assert.matches("false\tfile\n0\n", seen)
      else
        assert.matches("false\t[^\n]*: bind [^\n]*/tree on /x: Invalid argument %(EINVAL%);\n  without what is mounted below it, it cannot be cloned by an ordinary user", seen)
      end
    end)

    it("changes nothing where nothing is mounted below", function()
      assert.equal("content\nbelow\n", (inside.sh(with(fs.ro(at "tree", "/x", { recursive = false })), "cat /x/file /x/sub/file")))
    end)
  end)

  describe("parents and mode", function()
    it("are those of directories and mount points that are made", function()
      local own = own_id()
      local box = with(fs.ro(at "tree/file", "/a/b/file", { parents = 448, mode = 384 }), fs.rw(at "tree", "/c/d/tree", { parents = 457 }), fs.tmpfs("/e/f", { parents = 448 }), fs.file("/g/h", "x", { parents = 448 }),
        fs.dir("/i/j", { parents = 457, mode = 448 }), fs.symlink("x", "/k/l/m", { parents = 448 }), fs.proc("/n/o", { parents = 448 }))
      local seen = inside.sh(box, "stat -c '%a %u %n' /a /a/b /c /c/d /e /g /i /i/j /k /k/l /n")
      local want = ""
      for _, line in ipairs { "700 @ /a", "700 @ /a/b", "711 @ /c", "711 @ /c/d", "700 @ /e", "700 @ /g", "711 @ /i", "700 @ /i/j", "700 @ /k", "700 @ /k/l", "700 @ /n" } do
        want = want .. line:gsub("@", ("%d"):format(own)) .. "\n"
      end
      assert.equal(want, seen)
    end)

    it("are what the host then has, in a tree of the host's", function()
      local _, result = inside.sh(with(fs.rw(at "other", "/o"), fs.ro(at "tree", "/o/a/b/tree", { create = true, parents = 448, mode = 457 }), fs.ro(at "tree/file", "/o/file", { create = true, mode = 384 })), "true")
      assert.is_true(result.ok)
      local uid = sys.stat(source).uid
      assert.equal(("700 %d other/a\n700 %d other/a/b\n711 %d other/a/b/tree\n600 %d other/file\n"):format(uid, uid, uid, uid), outside "stat -c '%a %u %n' other/a other/a/b other/a/b/tree other/file")
      assert.equal("", outside "ls other/a/b/tree; cat other/file")
    end)

    it("change nothing that is there", function()
      outside "mkdir -m 755 -p other/a/b"
      local _, result = inside.sh(with(fs.rw(at "other", "/o"), fs.ro(at "tree", "/o/a/b", { parents = 448, mode = 448 })), "true")
      assert.is_true(result.ok)
      assert.equal("755\n755\n", outside "stat -c %a other/a other/a/b")
    end)
  end)
end)

describe("a source by fd", function()
  it("is a directory's handle, as it is or for reading", function()
    for _, flags in ipairs { { "path", "directory" }, { "read", "directory" } } do
      local handle <close> = assert(sys.open(nil, at "tree", flags))
      assert.equal("content\n", (inside.sh(with(fs.ro(handle, "/x")), "cat /x/file")))
      assert.equal("content\n", (inside.sh(with(fs.ro("any name", "/x", { from_fd = handle })), "cat /x/file")))
      assert.equal("content\n", (inside.sh(with(fs.ro("any name", "/x", { from_fd = handle:fileno() })), "cat /x/file")))
    end
  end)

  it("is written through fs.rw, with the owner of the tree", function()
    local handle <close> = assert(sys.open(nil, at "tree", { "path", "directory" }))
    assert.equal(own_id() .. "\n", (inside.sh(with(fs.rw(handle, "/x")), "touch /x/new && stat -c %u /x/new")))
    assert.equal(sys.stat(source).uid, sys.stat(at "tree/new").uid)
  end)

  it("is a Lua file", function()
    local file <close> = assert(io.open(at "tree/file"))
    assert.equal("content\n", (inside.sh(with(fs.ro(file, "/x")), "cat /x")))
    assert.equal("content\nmore\n", (inside.sh(with(fs.rw(file, "/x")), "echo more >> /x; cat /x")))
    assert.equal("content\nmore\n", file:read "a")
  end)

  it("is a copy of the recipe's: the caller may close its own", function()
    local file = assert(io.open(at "tree/file"))
    local box = with(fs.ro(file, "/x"))
    file:close()
    local other <close> = assert(io.open "/etc/passwd") -- by the same number
    assert.is_truthy(other)
    for _ = 1, 2 do assert.equal("content\n", (inside.sh(box, "cat /x"))) end
  end)

  it("that is closed is a mistake", function()
    local file = assert(io.open(at "tree/file"))
    local handle = assert(sys.open(nil, at "tree", { "path", "directory" }))
    file:close()
    handle:close()
    for _, closed in ipairs { file, handle } do
      assert.matches("bind_spec.lua:%d+: fs.ro: source must be an open fd or file", inside.mistake(with, fs.ro(closed, "/x")))
      assert.matches("bind_spec.lua:%d+: fs.ro: options must be a table where from_fd is an open fd or file", inside.mistake(with, fs.ro(source, "/x", { from_fd = closed })))
    end
    assert.matches("where from_fd is an open fd or file %(not 999%)", inside.mistake(with, fs.rw(source, "/x", { from_fd = 999 })))
  end)

  it("needs a target that is said", function()
    local handle <close> = assert(sys.open(nil, at "tree", { "path", "directory" }))
    assert.matches("fs.ro: target must be a string", inside.mistake(with, fs.ro(handle)))
  end)

  it("is the same when it was renamed, whatever is at its path now", function()
    local handle <close> = assert(sys.open(nil, at "tree", { "path", "directory" }))
    local box = with(fs.ro(handle, "/x"))
    outside "mv tree moved && mkdir tree && echo evil > tree/file"
    assert.equal("content\n", (inside.sh(box, "cat /x/file")))
    outside "rm -r tree && ln -s other tree && echo evil > other/file && mv moved other/again"
    assert.equal("content\n", (inside.sh(box, "cat /x/file")))
    assert.equal("content\n", (inside.sh(with(fs.ro(at "tree/again", "/x")), "cat /x/file")))
  end)

  it("that was deleted is a clear error, and no other tree", function()
    local handle <close> = assert(sys.open(nil, at "tree", { "path", "directory" }))
    local box = with(fs.ro(handle, "/x"))
    outside "rm -r tree && mkdir tree && echo evil > tree/file"
    local result, message, err = inside.run(box, { "cat", "/x/file" })
    assert.is_nil(result)
    assert.equal("ESTALE", err.code)
    assert.matches("bind_spec.lua:%d+: bind fd of .* on /x: .*what the fd refers to is not at its path any more", message)
  end)

  it("that something was mounted over is a clear error, and no other tree", function()
    local seen = elsewhere [[
      local handle = assert(sys.open(nil, "@/tree", { "path", "directory" }))
      local box = sandbox { fs = { fs.os(), fs.ro(handle, "/x") } }
      assert(sys.mount("none", "@/tree", "tmpfs", {}, "mode=777"))
      assert(sys.write_file(nil, "@/tree/file", "evil\n", 420))
      local r, e = box:run { "cat", "/x/file", stdout = "capture" }
      print(r and r.stdout or e)]]
    if not seen:find "^content\n" then assert.matches("bind fd of [^\n]*/tree on /x: [^\n]*%(ESTALE%);\n  what the fd refers to", seen) end
    assert.not_matches("evil", seen)
  end)

  it("that is no file of a tree is an error", function()
    local pipe <close> = assert(io.popen "true")
    local result, message, err = inside.run(with(fs.ro(pipe, "/x")), { "true" })
    assert.is_nil(result)
    assert.equal("ESTALE", err.code)
    assert.matches("bind fd of pipe:", message)
  end)

  it("that is a link by itself is shared as a link, which is not followed", function()
    outside "ln -s /etc/passwd link"
    local handle <close> = assert(sys.open(nil, at "link", { "path", "nofollow" }))
    local result = inside.run(with(fs.ro(handle, "/x"), fs.file("/etc/passwd", "own\n")), { "cat", "/x" })
    if result then assert.equal("own\n", result.stdout) end
  end)
end)

describe("a socket as a source", function()
  it("is connected to from inside, with fs.ro too", function()
    probe.write(at "server.py", [[
import os, socket, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); server.listen(5)
server.settimeout(20); print("ready", flush=True)
for i in range(2): server.accept()[0].sendall(b"hello\n")
]])
    local server = assert(io.popen(("timeout 30 python3 %s/server.py %s/socket"):format(source, source)))
    assert.equal("ready", server:read "l")
    for _, verb in ipairs { fs.ro, fs.rw } do
      local seen = inside.python(with(verb(at "socket", "/run/service")), [[
import os, socket, stat
client = socket.socket(socket.AF_UNIX); client.connect("/run/service"); print(client.recv(10).decode(), stat.S_ISSOCK(os.stat("/run/service").st_mode))]])
      assert.equal("hello\n True\n", seen)
    end
    server:close()
  end)
end)

describe("idmap", function()
  it("= true gives the payload what is the caller's, and says whose the rest is", function()
    local seen = inside.sh(with(fs.ro(at "tree", "/x", { idmap = true }), fs.ro(at "tree", "/y")), "stat -c %u /x /x/file /y; echo x > /x/file")
    assert.matches(("^%d\n%d\n%d\n.*Read%%-only"):format(own_id(), own_id(), probe.is_root and 65534 or own_id()), seen)
  end)

  it("is seen by the kernel where it is", function()
    local box = with(fs.ro(at "tree", "/x", { idmap = true }), fs.ro(at "tree", "/y"), fs.rw(at "other", "/z"), fs.rw(at "other", "/w", { idmap = false }))
    local table = mountinfo(box)
    for target, mapped in pairs { ["/x"] = probe.is_root, ["/y"] = false, ["/z"] = probe.is_root, ["/w"] = false } do
      assert.equal(mapped, inside.mount_at(table, target).idmapped or false, target)
    end
  end)

  --- What an ordinary user is told of maps.
  local function assert_only_roots(box)
    assert.matches("bind_spec.lua:%d+: fs.%w+: idmap: only root can map the ids of a file system of the host", inside.mistake(inside.run, box, { "true" }))
  end

  it("as maps gives ids on the disk the ids inside that are said", function()
    local maps = { uid_map = { { 0, 5, 1 }, { 10, 20, 2 } }, gid_map = { { 0, 6, 1 }, { 20, 30, 2 } } }
    local box = sandbox { fs = { fs.os(), fs.rw(at "other", "/x", { idmap = maps }) }, user = MANY_IDS }
    if not probe.is_root then return assert_only_roots(box) end
    outside "touch other/a other/b other/c && chown 10:20 other/a && chown 11:21 other/b && chown 99:99 other/c"
    assert.equal("5:6\n20:30\n21:31\n65534:65534\n5:6\n", (inside.sh(box, "touch /x/new && stat -c %u:%g /x /x/a /x/b /x/c /x/new")))
    assert.equal("0:0\n10:20\n", outside "stat -c %u:%g other/new other/a")
    assert.matches("Permission denied", (inside.sh(box, "echo x > /x/a")))
  end)

  it("as maps is what fs.image and fs.overlay take, too", function()
    local maps = { uid_map = { { 0, 7, 1 } }, gid_map = { { 0, 8, 1 } } }
    local box = sandbox { fs = { fs.os(), fs.overlay({ lower = { at "tree", at "other" } }, "/x", { idmap = maps }) }, user = MANY_IDS }
    local image = sandbox { fs = { fs.image("/", { idmap = maps, recursive = false }) }, user = MANY_IDS }
    if not probe.is_root then
      assert_only_roots(box)
      return assert_only_roots(image)
    end
    assert.equal("7:8\n", (inside.sh(image, "stat -c %u:%g /etc/passwd")))
    assert.equal("7:8\n", (inside.sh(box, "stat -c %u:%g /x/file")))
  end)

  it("of ids that are not mapped in the sandbox is a mistake", function()
    for _, user in ipairs { "self", MANY_IDS } do
      local maps = { uid_map = { { 0, user == "self" and 7 or 95, 10 } }, gid_map = { { 0, user == "self" and 1000 or 6, 1 } } }
      local box = sandbox { fs = { fs.os(), fs.ro(at "tree", "/x", { idmap = maps }) }, user = user }
      if probe.is_root then
        assert.matches("bind_spec.lua:%d+: fs.ro: idmap: the uids %d+ to %d+ are not mapped in the sandbox", inside.mistake(inside.run, box, { "true" }))
      else
        assert_only_roots(box)
      end
    end
  end)

  it("as maps needs both, and three numbers a line", function()
    assert.matches("where idmap is .* entries { on_disk, inside, count }", inside.mistake(with, fs.ro(at "tree", "/x", { idmap = { uid_map = { { 0, 1 } } } })))
    assert.matches("where idmap is .* entries { on_disk, inside, count }", inside.mistake(with, fs.ro(at "tree", "/x", { idmap = { uid_map = { { 0, 1, 0 } } } })))
    assert.matches("where idmap is .*not 'uids'", inside.mistake(with, fs.ro(at "tree", "/x", { idmap = { uids = {} } })))
    if not probe.is_root then return end
    local box = with(fs.ro(at "tree", "/x", { idmap = { uid_map = { { 0, 1000, 1 } } } }))
    assert.matches("idmap: it needs uid_map and gid_map", inside.mistake(inside.run, box, { "true" }))
  end)

  it("= true of another's is root's matter", function()
    for _, entry in ipairs { fs.ro("/etc/passwd", "/x", { idmap = true }), fs.overlay({ lower = { "/etc" }, upper = "tmp" }, "/x", { idmap = true }) } do
      if probe.is_root then assert.equal("1000\n", (inside.sh(with(entry), "stat -c %u /x"))) else assert_only_roots(with(entry)) end
    end
  end)
end)

describe("propagation", function()
  local PROGRAM <const> = [[
    assert(sys.mount("none", "@/tree", "tmpfs", {}, "mode=777"))
    assert(sys.mount_setattr(nil, "@/tree", nil, nil, "shared"))
    os.execute "mkdir -m 777 @/tree/later @/tree/own"
    local function outside() return io.open "/proc/self/mountinfo":read "a" end
    local options = %s
    local box = sandbox { user = "root", caps = { "sys_admin" }, fs = { fs.os(), fs.rw("@/tree", "/x", options) } }
    local process = assert(box:spawn { "sh", "-c", "mount -t tmpfs none /x/own && touch /x/own/inside && touch /x/ready; "
      .. "for i in $(seq 500); do [ -e /x/go ] && break; sleep 0.02; done; echo later: $(ls /x/later); echo own: $(ls /x/own); "
      .. "grep ' /x[ /]' /proc/self/mountinfo", stdout = "capture", stderr = "capture", timeout = 30 })
    for _ = 1, 500 do if sys.stat "@/tree/ready" then break end sys.poll(0.02) end
    print("outside: " .. tostring(outside():find("@/tree/own", 1, true)) .. " " .. #io.popen "ls @/tree/own":read "a")
    assert(sys.mount("none", "@/tree/later", "tmpfs", {}, "mode=777"))
    assert(sys.write_file(nil, "@/tree/later/mounted", "mounted\n", 420))
    assert(sys.write_file(nil, "@/tree/go", "", 420))
    local result = assert(process:wait())
    print(result.stdout .. result.stderr)]]

  it("= \"slave\" shows inside what is mounted outside later, and never the other way round", function()
    local seen = elsewhere(PROGRAM:format "{ idmap = false, propagation = 'slave' }")
    assert.matches("later: mounted\nown: inside\n", seen)
    assert.matches("outside: nil 0\n", seen)
    assert.matches(" /x [^\n]*master:%d+", seen)
    assert.not_matches("shared:", seen)
  end)

  it("is none by default: neither side sees what the other mounts", function()
    for _, options in ipairs { "{ idmap = false }", "{ idmap = false, propagation = 'private' }" } do
      local seen = elsewhere(PROGRAM:format(options))
      assert.matches("later:\nown: inside\n", seen)
      assert.matches("outside: nil 0\n", seen)
      assert.not_matches("master:", seen)
      assert.not_matches("shared:", seen)
    end
  end)

  it("= \"slave\" of fs.ro has what comes later as the host mounts it, which lint says", function()
      local code = PROGRAM:gsub("fs.rw%(", "fs.ro("):gsub("touch /x/ready", "true"):gsub("if sys.stat \"@/tree/ready\" then break end", "if process.pid then sys.poll(0.5) break end")
      local seen = elsewhere(code:format "{ propagation = 'slave' }")
      assert.matches("later: mounted\n", seen)
      assert.matches(" /x ro,nosuid,nodev", seen)
      assert.matches(" /x/later rw", seen)
  end)
end)

describe("what the recipe makes", function()
  it("belongs to the ids that are said: a tmpfs, a directory, a file", function()
    local box = sandbox { user = "root", fs = { fs.os(), fs.tmpfs("/t", { uid = 0, gid = 0, mode = 448 }), fs.dir("/d", { uid = 0, gid = 0, mode = 457 }), fs.file("/etc/f", "x", { uid = 0, gid = 0 }) } }
    assert.equal("0:0 700\n0:0 711\n0:0 444\n", (inside.sh(box, "stat -c '%u:%g %a' /t /d /etc/f")))
  end)

  it("belongs to any id that root has mapped, and is that one's outside", function()
    local box = sandbox { user = MANY_IDS, fs = { fs.os(), fs.tmpfs("/t", { uid = 7, gid = 8, mode = 448 }), fs.dir("/d", { uid = 7, gid = 8, mode = 448 }), fs.dir("/w", { uid = 7, writable = true }),
      fs.file("/etc/f", "x", { uid = 7, gid = 8, mode = 384 }), fs.file("/etc/g", "x", { gid = 9, writable = true }) } }
    if not probe.is_root then
      local result, message = inside.run(box, { "true" })
      assert.is_nil(result)
      return assert.matches("newgidmap refuses the map", message)
    end
    assert.equal("7:8 700\n7:8 700\n7:6 755\n7:8 600\n5:9 444\n", (inside.sh(box, "stat -c '%u:%g %a' /t /d /w /etc/f /etc/g")))
    local seen = inside.sh(box, "touch /t/x; ls /d; cat /etc/f; touch /w/x")
    assert.equal(4, select(2, seen:gsub("Permission denied", "")), seen)
  end)

  it("belongs to nobody who is not mapped: that is a mistake", function()
    for _, entry in ipairs { fs.tmpfs("/x", { uid = 77 }), fs.dir("/x", { gid = 77 }), fs.file("/x", "x", { uid = 77 }) } do
      assert.matches("bind_spec.lua:%d+: fs.%w+: [ug]id 77 is not mapped in the sandbox", inside.mistake(inside.run, with(entry), { "true" }))
    end
    assert.matches("where uid is an id", inside.mistake(with, fs.tmpfs("/x", { uid = -1 })))
  end)

  it("is a file over one of the host's with an owner", function()
    local own = own_id()
    local seen = inside.sh(with(fs.rw(at "tree", "/x"), fs.file("/x/file", "mine\n", { uid = own, writable = true })), "cat /x/file; stat -c %u /x/file")
    assert.equal(("mine\n%d\n"):format(own), seen)
    assert.equal("mine\n", (inside.sh(with(fs.rw(at "tree", "/x"), fs.file("/x/file", "mine\n", { uid = own })), "cat /x/file")))
  end)

  it("is a directory of the mode that is said, also where there is one", function()
    assert.equal("700\n", (inside.sh(with(fs.dir("/a/b"), fs.dir("/a", { mode = 448 })), "stat -c %a /a")))
  end)
end)

describe("fs.file", function()
  it("takes what is left of a Lua file, at once", function()
    local file = assert(io.open "/etc/passwd")
    local first = file:read "L"
    local box = with(fs.file("/x", file))
    file:close()
    assert.equal(probe.read "/etc/passwd", first .. inside.sh(box, "cat /x"))
  end)

  it("takes what a function gives, once when the recipe is compiled", function()
    local calls = 0
    local box = with(fs.file("/x", function() calls = calls + 1 return "call " .. calls .. "\0\n" end))
    assert.equal(0, calls)
    for _ = 1, 3 do assert.equal("call 1\0\n", (inside.sh(box, "cat /x"))) end
    assert.equal(1, calls)
    assert.equal("call 2\0\n", (inside.sh(box:with { hostname = "other" }, "cat /x")))
    assert.equal(2, calls)
  end)

  it("takes no other thing than text from a function, and is a mistake at its line then", function()
    for said, value in pairs { ["12"] = 12, ["true"] = true, ["a table"] = {} } do
      local line = debug.getinfo(1, "l").currentline + 1
      local box = with(fs.file("/x", function() return value end))
      assert.matches(("bind_spec.lua:%d: fs.file: the function gave %s, not a string"):format(line, said), inside.mistake(inside.run, box, { "true" }))
    end
    assert.matches("the function gave a nil, not a string", inside.mistake(inside.run, with(fs.file("/x", function() end)), { "true" }))
  end)

  it("takes nothing else as its content", function()
    local closed = assert(io.open "/etc/passwd")
    closed:close()
    for _, value in ipairs { 5, true, {}, closed } do
      assert.matches("bind_spec.lua:%d+: fs.file: content must be a string, a file to read, or a function", inside.mistake(with, fs.file("/x", value)))
    end
  end)

  it("is read-only, or rw when it is writable; the host's stays as it is", function()
    local box = with(fs.rw(at "tree", "/x"), fs.file("/x/file", "mine\n", { writable = true, mode = 420 }), fs.file("/x/program", "mine\n", { mode = 420 }), fs.file("/etc/w", "w\n", { writable = true, mode = 384 }), fs.file("/etc/r", "r\n", { mode = 384 }))
    local seen = inside.sh(box, "for f in /x/file /etc/w /x/program /etc/r; do echo more >> $f; done; cat /x/file /etc/w /x/program /etc/r; stat -c '%a %u' /x/file /x/program /etc/w /etc/r")
    assert.matches("^mine\nmore\nw\nmore\nmine\nr\n", seen)
    assert.matches(("644 @\n644 @\n600 @\n600 @\n"):gsub("@", ("%d"):format(own_id())), seen)
    assert.equal(2, select(2, seen:gsub("Read%-only file system", "")), seen)
    assert.equal("content\n", probe.read(at "tree/file"))
    local table = mountinfo(box)
    assert.is_true(inside.mount_at(table, "/x/file").rw and inside.mount_at(table, "/x/program").ro and inside.mount_at(table, "/etc/w").rw)
    assert.equal("mine\nw\n", (inside.sh(box, "cat /x/file /etc/w")))
  end)

  it("is executed where it is mounted only with exec", function()
    local script = "#!/bin/sh\necho ran\n"
    local box = with(fs.rw(at "tree", "/x"), fs.file("/x/file", script, { mode = 365 }), fs.file("/x/program", script, { mode = 365, exec = true }),
      fs.file("/w", script, { mode = 365, exec = true, writable = true }))
    assert.matches("^ran\nran\n.*/x/file: Permission denied", (inside.sh(box, "/x/program; /w; /x/file")))
    assert.matches("where exec is .true.", inside.mistake(with, fs.file("/x/file", script, { exec = false })))
  end)
end)

describe("fs.remount", function()
  it("makes a mount read-only when nothing else is said, with all below it", function()
    local box = with(fs.tmpfs "/t", fs.tmpfs "/t/u", fs.file("/t/u/f", "x\n"), fs.remount "/t")
    local table = mountinfo(box)
    assert.is_true(inside.mount_at(table, "/t").ro and inside.mount_at(table, "/t/u").ro)
    local seen = inside.sh(box, "touch /t/x; touch /t/u/x; cat /t/u/f")
    assert.equal(2, select(2, seen:gsub("Read%-only file system", "")), seen)
    assert.matches("^x\n", seen)
  end)

  it("with recursive = false leaves what is below as it is", function()
    local seen = inside.sh(with(fs.tmpfs "/t", fs.tmpfs "/t/u", fs.remount("/t", { recursive = false })), "touch /t/x; touch /t/u/x && ls /t/u")
    assert.matches("^x\n.*'/t/x': Read%-only", seen)
  end)

  it("changes what is said and nothing else", function()
    local table = mountinfo(with(fs.tmpfs "/a", fs.remount("/a", { exec = false }), fs.tmpfs "/b", fs.remount("/b", { atime = "noatime" }), fs.ro(at "tree", "/c"), fs.remount("/c", { ro = false, suid = true, dev = true })))
    local a, b, c = inside.mount_at(table, "/a"), inside.mount_at(table, "/b"), inside.mount_at(table, "/c")
    assert.is_true(a.noexec and a.rw and a.nosuid and a.nodev and a.relatime)
    assert.is_true(b.noatime and b.rw and b.nosuid and b.nodev)
    assert.is_nil(b.noexec or c.nosuid or c.nodev or c.ro)
    assert.is_true(c.rw)
  end)

  it("works on a plain directory or file, which becomes a mount", function()
    local box = with(fs.rw(at "tree", "/x"), fs.remount "/x/sub", fs.remount "/x/file", fs.dir("/d/e", { writable = true }), fs.dir "/d/e/f", fs.remount("/d/e/f", { exec = false }))
    local seen = inside.sh(box, "touch /x/sub/new; echo x > /x/file; touch /x/new && ls /x; rm -r /x/sub; touch /d/e/new && ls /d/e")
    assert.matches("^file\nnew\nprogram\nsub\nf\nnew\n", seen)
    assert.equal(2, select(2, seen:gsub("/x/sub/new': Read%-only", "")) + select(2, seen:gsub("/x/file: Read%-only", "")), seen)
    assert.is_true(flags_at(box, "/d/e/f").noexec)
    assert.equal("file\nnew\nprogram\nsub\nbelow\ncontent\n", outside "ls tree; cat tree/sub/file tree/file")
  end)

  it("takes a plain directory's own mounts along, or not", function()
    local entries = { fs.dir "/d/e", fs.tmpfs "/d/e/t", fs.remount("/d/e", { exec = false }) }
    assert.is_true(flags_at(with(entries), "/d/e/t").noexec)
    entries[3] = fs.remount("/d/e", { exec = false, recursive = false })
    local table = mountinfo(with(entries))
    assert.is_true(inside.mount_at(table, "/d/e").noexec)
  end)

  it("works on the root alone", function()
    outside "mkdir -p image/usr image/proc image/tmp image/dev && ln -s usr/bin image/bin && ln -s usr/lib image/lib && ln -s usr/lib64 image/lib64"
    local function seen(...)
      local box = sandbox { fs = { fs.rw(at "image", "/"), fs.ro "/usr", fs.proc(), fs.tmpfs "/tmp", ... } }
      return (inside.sh(box, "touch /new && echo root; touch /tmp/new && echo tmp"))
    end
    assert.equal("root\ntmp\n", seen())
    assert.matches("^tmp\n.*'/new': Read%-only", seen(fs.remount("/", { recursive = false })))
    local box = with(fs.remount("/", { recursive = false, exec = false }))
    local flags = flags_at(box, "/")
    assert.is_true(flags.noexec and flags.ro)
    assert.is_nil(flags_at(box, "/usr").noexec)
    assert.is_true(flags_at(box, "/tmp").rw)
  end)

  it("works on the root with all below it", function()
    local seen = inside.sh(with(fs.tmpfs "/t", fs.remount "/"), "touch /tmp/x /t/x /run/x; echo x > /dev/null && echo null")
    assert.equal(3, select(2, seen:gsub("Read%-only file system", "")), seen)
  end)

  it("says what is missing, or skips it", function()
    for _, target in ipairs { "/none", "/none/deep", "/x/none", "/etc/passwd/none" } do
      local result, message = inside.run(with(fs.ro(at "tree", "/x"), fs.remount(target)), { "true" })
      assert.is_nil(result)
      assert.matches("bind_spec.lua:%d+: remount " .. target .. ": ", message)
      if target ~= "/etc/passwd/none" then assert.matches("%(ENOENT%);\n  there is nothing to remount; { optional = true } skips it then", message) end
      result = assert(inside.run(with(fs.ro(at "tree", "/x"), fs.remount(target, { optional = true })), { "true" }))
      assert.same({ "remount " .. target }, result.enforced.skipped)
    end
  end)

  it("is said several times of one target, each adds", function()
    local flags = flags_at(with(fs.tmpfs "/t", fs.remount("/t", { exec = false }), fs.remount "/t", fs.remount("/t", { atime = "noatime" })), "/t")
    assert.is_true(flags.noexec and flags.ro and flags.noatime)
    local box = with(fs.tmpfs "/t", fs.remount "/t"):with { fs = { fs.remount("/t", { exec = false }) } }
    flags = flags_at(box, "/t")
    assert.is_true(flags.noexec and flags.ro)
  end)

  it("holds for what the payload tries", function()
    for _, user in ipairs { "self", "root" } do
      local seen = inside.sh(sandbox { user = user, fs = { fs.os(), fs.rw(at "tree", "/x"), fs.remount "/x/sub" } }, [[umount /x/sub; mount -o remount,bind,rw /x/sub; touch /x/sub/new;
        unshare -Urm sh -c 'umount /x/sub && echo DID; mount -o remount,bind,rw /x/sub && echo DID; mkdir -p /tmp/p; mount --bind /x /tmp/p && echo DID; touch /x/sub/new && echo DID']])
      assert.not_matches("DID", seen)
    end
    assert.equal("file\n", outside "ls tree/sub")
  end)

  it("leads nowhere by a link", function()
    outside "ln -s /etc tree/link"
    local result, message, err = inside.run(with(fs.rw(at "tree", "/x"), fs.remount "/x/link"), { "true" })
    assert.is_nil(result)
    assert.equal("ELOOP", err.code, message)
  end)
end)

describe("fs.mask", function()
  local CODE <const> = [[
    cat /x/file; ls /x/sub; echo x > /x/file; touch /x/sub/new; rm -f /x/file; mv /x/sub /x/moved; umount /x/file; umount -l /x/sub; mount -o remount,bind,rw /x/sub
    mkdir /tmp/p /tmp/q; unshare -Urm sh -c '
      umount /x/file && echo DID; umount -l /x/sub && echo DID; umount -l /x && echo DID; mount -o remount,bind,rw /x/sub && echo DID
      mount --move /x/sub /tmp/q && echo DID; mount --bind /x /tmp/p && echo DID; cat /x/file
      mount --rbind /x /tmp/p && { cat /tmp/p/file; umount /tmp/p/file && echo DID; cat /tmp/p/sub/file; }
      mount -t overlay -o lowerdir=/x:/tmp/q,userxattr none /tmp/q && { cat /tmp/q/file && echo DID; }' ]]

  it("on an overlay cannot be uncovered by the payload, nor in a user namespace of its own", function()
    for _, user in ipairs { "self", "root" } do
      for _, upper in ipairs { false, "tmp" } do
        local box = sandbox { user = user, fs = { fs.os(), fs.overlay({ lower = { at "tree", at "other" }, upper = upper or nil }, "/x"), fs.mask "/x/file", fs.mask "/x/sub" } }
        local seen = inside.sh(box, CODE)
        assert.not_matches("DID", seen)
        assert.not_matches("content", seen)
        assert.not_matches("below", seen)
        local table = mountinfo(box)
        assert.is_true(inside.mount_at(table, "/x/file").ro and inside.mount_at(table, "/x/sub").ro)
      end
    end
    assert.equal("content\nbelow\n", outside "cat tree/file tree/sub/file")
  end)

  it("on a shared tree cannot be either", function()
    local seen = inside.sh(with(fs.rw(at "tree", "/x"), fs.mask "/x/file", fs.mask "/x/sub"), CODE)
    assert.not_matches("DID", seen)
    assert.not_matches("content", seen)
    assert.not_matches("below", seen)
    assert.equal("content\nbelow\n", outside "cat tree/file tree/sub/file")
  end)
end)

describe("many binds", function()
  it("are no matter of the caller's soft limit on open files, which the payload has again", function()
    local seen = elsewhere([[
      local list = { fs.os() }
      for i = 1, 600 do list[#list + 1] = fs.ro("@/tree", "/b/" .. i) end
      local box = sandbox { fs = list }
      for _ = 1, 2 do
        local r, e = box:run { "sh", "-c", "ls /b | wc -l; cat /b/*/file | wc -l; grep -c ' /b/' /proc/self/mountinfo; ulimit -Sn; ulimit -Hn; ls /proc/self/fd | wc -l", stdout = "capture", stderr = "capture" }
        io.write(r and r.stdout .. r.stderr or tostring(e), "\n")
        io.stdout:flush()
      end
      os.execute "ulimit -Sn; ulimit -Hn"]], { around = "ulimit -S -n 256; %s" })
    local hard = probe.shell "ulimit -Hn":match "%S+"
    if probe.is_root then -- whose sources are opened by the caller itself
      assert.matches("bind [^\n]*/tree on /b/%d+: Too many open files %(EMFILE%);\n  the limit on open files is reached %(ulimit %-n%)\n", seen)
    else
      assert.equal(("600\n600\n600\n256\n%s\n4\n\n"):format(hard):rep(2) .. "256\n" .. hard .. "\n", seen)
    end
  end)

  it("are all there within the limit, which the payload has, too", function()
    local seen = elsewhere([[
      local list = { fs.os() }
      for i = 1, 600 do list[#list + 1] = fs.ro("@/tree", "/b/" .. i) end
      local r, e = sandbox { fs = list }:run { "sh", "-c", "ls /b | wc -l; cat /b/*/file | wc -l; grep -c ' /b/' /proc/self/mountinfo; ulimit -Sn; ls /proc/self/fd | wc -l",
        stdout = "capture", stderr = "capture" }
      io.write(r and r.stdout .. r.stderr or tostring(e), "\n")]], { around = "ulimit -S -n 1500; %s" })
    assert.equal("600\n600\n600\n1500\n4\n\n", seen)
  end)

  it("beyond the hard limit are an error that says so", function()
    local seen = elsewhere([[
      local list = { fs.os() }
      for i = 1, 600 do list[#list + 1] = fs.ro("@/tree", "/b/" .. i) end
      local r, e = sandbox { fs = list }:run { "true" }
      print(r, e, e.code)]], { around = "ulimit -n 256; %s" })
    assert.matches("^nil\t", seen)
    assert.matches(probe.is_root and "bind .*Too many open files.*\tEMFILE\n$" or "limit on open files is too low %(ulimit %-n%)\tEBADF\n$", seen)
  end)
end)

describe("/dev/console", function()
  local PROGRAM <const> = [[
    local r, e = sandbox { %s }:run { "sh", "-c", "ls /dev/console; stat -Lc %%t:%%T /dev/console; for i in 0 1 2; do [ -t $i ] && stat -Lc %%t:%%T /proc/self/fd/$i; done; "
      .. "echo written > /dev/console; grep -o ' /dev/console [^ ]*' /proc/self/mountinfo", stdin = "%s", stdout = "%s", stderr = "inherit" }
    print(r and r.stdout or e)]]
  local function on_terminal(code) return (elsewhere(code, { around = "script -qec '%s' /dev/null < /dev/null" }):gsub("\r", "")) end

  it("is the terminal that the payload is given", function()
    for _, streams in ipairs { { "inherit", "inherit" }, { "null", "inherit" }, { "inherit", "capture" } } do
      local seen = on_terminal(PROGRAM:format("", streams[1], streams[2]))
      local device = seen:match "/dev/console\n(%x+:%x+)\n"
      assert.is_truthy(device, seen)
      assert.is_true(select(2, seen:gsub(device, "")) >= 2, seen)
      assert.matches(" /dev/console rw,nosuid,noexec", seen)
    end
  end)

  it("is written by the payload that has it", function()
    local seen = on_terminal(PROGRAM:format("", "inherit", "inherit"))
    if probe.is_root then -- whose payload is somebody else, and the terminal is root's
      assert.matches("Permission denied", seen)
    else
      assert.matches("written\n", seen)
    end
  end)

  it("is there in an image, too, and in a /dev at another place", function()
    local seen = on_terminal(PROGRAM:gsub("/dev/console", "/d/console"):format("fs = { fs.os(), fs.dev '/d' }", "inherit", "inherit"))
    assert.matches("/d/console\n(%x+:%x+)\n%1\n", seen)
  end)

  it("is absent when the payload is given none", function()
    local seen = inside.sh(sandbox {}, "ls /dev/console; grep console /proc/self/mountinfo")
    assert.matches("cannot access '/dev/console': No such file", seen)
    assert.not_matches("rw,", seen)
    seen = on_terminal(PROGRAM:gsub("inherit", "null"):format("", "null", "capture"))
    assert.not_matches("/dev/console\n%x+:%x+\n", seen)
  end)
end)
