-- luacheck: no max line length
local inside = require "inside"
local kernel = require "nslua.kernel"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys

local place -- of the layers, made anew for each spec

local function at(name) return place .. "/" .. name end
local function with(...) return sandbox { fs = { fs.os(), ... } } end
local function mountinfo(box) return (inside.sh(box, "cat /proc/self/mountinfo")) end
local function flags_at(box, target) return assert(inside.mount_at(mountinfo(box), target), target) end

--- Runs commands where the layers are.
local function outside(command) return (probe.shell(("cd %s && { %s; }"):format(place, command))) end

--- All of some directories: names, types, modes, owners, times of change, links, content.
local function state(...)
  local names = table.concat({ ... }, " ")
  return outside(("find %s -printf '%%p %%y %%m %%U:%%G %%s %%T@ %%C@ %%l\\n' | sort; find %s -type f -print0 | sort -z | xargs -0r sha256sum"):format(names, names))
end

--- Two layers: f is in both, g and sub in the lower one only.
local function make_layers()
  place = probe.directory()
  -- Root's upper must be out of reach for others.
  outside "mkdir -p high low/sub upper work && chmod 700 upper && echo high > high/f && echo low > low/f && echo low > low/g && echo s > low/sub/s"
end

--- The kernel leaves work/work without any permission, so that its owner cannot list it.
local function remove_layers()
  probe.shell("chmod -R u+rwx " .. place)
  probe.remove(place)
end

--- What makes an image of a directory: places for the system's programs.
local function make_image(name)
  outside(("mkdir -p %s/usr %s/proc %s/dev %s/tmp %s/etc && cd %s && ln -s usr/bin bin && ln -s usr/lib lib && ln -s usr/lib64 lib64 && echo keep > etc/keep")
    :format(name, name, name, name, name, name))
end

local function programs() return { fs.ro "/usr", fs.proc(), fs.dev(), fs.tmpfs "/tmp" } end

describe("fs.overlay", function()
  before_each(make_layers)
  after_each(remove_layers)

  describe("without upper", function()
    it("shows directories as one, the first uppermost", function()
      local box = with(fs.overlay({ lower = { at "high", at "low" } }, "/o"), fs.overlay({ lower = { at "low", at "high" } }, "/r"))
      assert.equal("high\nlow\ns\nf\ng\nsub\n", (inside.sh(box, "cat /o/f /o/g /o/sub/s; ls /o")))
      assert.equal("low\nlow\ns\nf\ng\nsub\n", (inside.sh(box, "cat /r/f /r/g /r/sub/s; ls /r")))
    end)

    it("is written by nobody", function()
      local before = state("high", "low")
      for _, lower in ipairs { { at "high", at "low" }, { at "low" } } do
        local seen = inside.sh(with(fs.overlay({ lower = lower }, "/o")), "touch /o/new; echo x > /o/f; rm /o/g; mkdir /o/d; chmod 777 /o; ln -s x /o/l; mv /o/f /o/h; rmdir /o/sub")
        assert.equal(8, select(2, seen:gsub("Read%-only file system", "")), seen)
      end
      assert.equal(before, state("high", "low"))
    end)

    it("is ro, nosuid and nodev in the eyes of the kernel", function()
      for _, lower in ipairs { { at "high", at "low" }, { at "low" } } do
        local box = with(fs.overlay({ lower = lower }, "/o"))
        local flags = flags_at(box, "/o")
        assert.is_true(flags.ro and flags.nosuid and flags.nodev)
        assert.equal("7\n", (inside.python(box, "import os; print(os.statvfs('/o').f_flag & 7)")))
      end
    end)

    it("with a single directory shows just that", function()
      assert.equal("low\nlow\ns\nf\ng\nsub\n", (inside.sh(with(fs.overlay({ lower = { at "low" } }, "/o")), "cat /o/f /o/g /o/sub/s; ls /o")))
    end)

    it("takes directories by fd, whatever has their name by then", function()
      local handle = assert(sys.open(nil, at "high", { "path", "directory" }))
      local box = with(fs.overlay({ lower = { handle, at "low" } }, "/o"))
      outside "mv high old && mkdir high && echo other > high/f"
      local seen = inside.sh(box, "cat /o/f /o/g")
      handle:close()
      assert.equal("high\nlow\n", seen)
    end)

    it("has mounts on what is there, and nothing is made in it", function()
      local layers = { lower = { at "high", at "low" } }
      local seen = inside.sh(with(fs.overlay(layers, "/o"), fs.tmpfs "/o/sub", fs.file("/o/g", "mine\n")), "ls -A /o/sub; touch /o/sub/x && ls /o/sub; cat /o/g")
      assert.equal("x\nmine\n", seen)
      local _, message = inside.run(with(fs.overlay(layers, "/o"), fs.tmpfs "/o/none/deep"), { "true" })
      assert.matches("overlay_spec.lua:%d+: tmpfs on /o/none/deep: /o/none: No such file or directory %(ENOENT%)", message)
      _, message = inside.run(with(fs.overlay(layers, "/o"), fs.tmpfs("/o/none", { create = true })), { "true" })
      assert.matches("tmpfs on /o/none: Read%-only file system %(EROFS%)", message)
      assert.matches("fs.dir: /o/d lies in a tree of the host", inside.mistake(inside.run, with(fs.overlay(layers, "/o"), fs.dir "/o/d"), { "true" }))
    end)

    it("has the options of its mount", function()
      local layers = { lower = { at "high", at "low" } }
      outside "printf '#!/bin/sh\\necho ran\\n' > low/program && chmod 755 low/program"
      assert.equal("ran\n", (inside.sh(with(fs.overlay(layers, "/o")), "/o/program")))
      assert.matches("Permission denied", (inside.sh(with(fs.overlay(layers, "/o", { exec = false })), "/o/program")))
      local flags = flags_at(with(fs.overlay(layers, "/o", { exec = false, suid = true, dev = true })), "/o")
      assert.is_true(flags.noexec and flags.ro)
      assert.is_nil(flags.nosuid or flags.nodev)
    end)
  end)

  describe("of many layers", function()
    local COUNT <const> = 120
    local many

    before_each(function()
      many = {}
      outside(("mkdir many && cd many && for i in $(seq %d); do mkdir -p $i/d && echo $i > $i/f$i && echo $i > $i/d/$i && echo $i > $i/top; done"):format(COUNT))
      for i = 1, COUNT do many[i] = at("many/" .. i) end
    end)

    it("shows all of them", function()
      for _, upper in ipairs { false, "tmp" } do
        local box = with(fs.overlay({ lower = many, upper = upper or nil }, "/o"))
        if kernel.at_least(6, 7) then
          assert.equal("1\n120\n120\n7260\n", (inside.sh(box, "cat /o/top; ls /o | grep -c ^f; ls /o/d | wc -l; cat /o/f* | python3 -c 'import sys; print(sum(map(int, sys.stdin)))'")))
        else
          local result, message = inside.run(box, { "true" })
          assert.is_nil(result)
          assert.matches("overlay_spec.lua:%d+: overlay on /o: so many layers need Linux 6.7", message)
        end
      end
    end)

    it("is refused above what the kernel takes, before anything runs", function()
      local list = {}
      for i = 1, 501 do list[i] = at("many/" .. i) end
      assert.matches("fs.overlay: layers must be a table whose lower is a list of 1 to 500 directories", inside.mistake(with, fs.overlay({ lower = list }, "/o")))
    end)
  end)

  describe("with upper = \"tmp\"", function()
    local function throw_away(options) return fs.overlay({ lower = { at "high", at "low" }, upper = "tmp" }, "/o", options) end

    it("takes every change, and the host's layers stay as they are", function()
      local before = state("high", "low")
      local seen = inside.sh(with(throw_away()), "echo new > /o/f && cat /o/f && echo more >> /o/g && cat /o/g && mkdir /o/d && touch /o/d/x && mv /o/d /o/e && ls /o/e && chmod 700 /o/f && ln -s f /o/l && cat /o/l && rm /o/g && ls /o")
      assert.equal("new\nlow\nmore\nx\nnew\ne\nf\nl\nsub\n", seen)
      assert.equal(before, state("high", "low"))
    end)

    it("has a removed directory empty when it is made again", function()
      if not kernel.at_least(6, 6) then return pending "tmpfs cannot remember that before Linux 6.6" end
      local before = state("high", "low")
      assert.equal("f\ng\n.\n..\nnew\n", (inside.sh(with(throw_away()), "rm -r /o/sub && ls /o && mkdir /o/sub && ls -a /o/sub && echo new > /o/sub/s && cat /o/sub/s")))
      assert.equal(before, state("high", "low"))
    end)

    it("begins anew with each run", function()
      local box = with(throw_away())
      for _ = 1, 2 do assert.equal("high\nf\ng\nsub\n", (inside.sh(box, "cat /o/f; ls /o; echo new > /o/f; touch /o/new; rm /o/g"))) end
    end)

    it("is rw, nosuid and nodev, the root remains read-only", function()
      local box = with(throw_away())
      local table = mountinfo(box)
      local flags = inside.mount_at(table, "/o")
      assert.is_true(flags.rw and flags.nosuid and flags.nodev)
      assert.is_true(inside.mount_at(table, "/").ro)
    end)

    it("holds as much as it says, and not more", function()
      local seen = inside.sh(with(throw_away { size = "1M" }), "head -c 900K /dev/zero > /o/a && echo fits; head -c 900K /dev/zero > /o/b; stat -fc '%b %S' /o")
      assert.matches("^fits\n256 4096\n.*No space left", seen)
      seen = inside.sh(with(throw_away { inodes = 20 }), "touch $(seq -f /o/%g 40); ls /o | wc -l; stat -fc %c /o")
      assert.matches("No space left", seen)
      assert.matches("^%d+\n20\n", seen)
      assert.is_true(tonumber(seen:match "^(%d+)\n") < 20)
    end)

    it("has limits when nothing is said", function()
      assert.equal("65536 4096 65536\n", (inside.sh(with(throw_away()), "stat -fc '%b %S %c' /o")))
    end)

    it("belongs to the payload, and so does what is made in it", function()
      assert.equal("0\n", (inside.sh(with(throw_away()), "touch /o/new; stat -c %u /o /o/new | grep -vc \"^$(id -u)$\"")))
    end)

    it("is where mount points, files, directories and links are made", function()
      local before = state("high", "low")
      local box = with(throw_away(), fs.tmpfs "/o/x/y", fs.file("/o/n/file", "hello\n"), fs.dir("/o/d/e", { mode = 448 }), fs.symlink("n/file", "/o/l"), fs.ro(at "low", "/o/a/b"), fs.tmpfs "/o/sub")
      assert.equal("hello\nhello\nlow\n700\nhidden\n", (inside.sh(box, "cat /o/n/file /o/l /o/a/b/g; stat -c %a /o/d/e; touch /o/x/y/z; ls /o/sub/s 2>/dev/null || echo hidden")))
      local flags = flags_at(box, "/o/x/y")
      assert.is_true(flags.rw)
      assert.equal(before, state("high", "low"))
    end)

    it("has files of the recipe in the place of a layer's, as any tree has", function()
      local seen = inside.sh(with(throw_away(), fs.file("/o/f", "mine\n", { writable = true })), "cat /o/f")
      assert.equal("mine\n", seen)
      assert.equal("mine\n", (inside.sh(with(throw_away(), fs.file("/o/f", "mine\n")), "cat /o/f")))
    end)

    it("takes a directory that is there, and says so of anything else", function()
      local result, message = inside.run(with(throw_away(), fs.dir "/o/f"), { "true" })
      assert.is_nil(result)
      assert.matches("directory /o/f: Not a directory %(ENOTDIR%);\n  something else has that name already", message)
      assert.equal("directory\n", (inside.sh(with(throw_away(), fs.dir "/o/sub"), "stat -c %F /o/sub")))
    end)
  end)

  describe("with an upper directory", function()
    local function kept(lower, options) return fs.overlay({ lower = lower or { at "low" }, upper = at "upper", work = at "work" }, "/o", options) end

    it("has what is written there, with the owner of it, and the lower ones stay as they are", function()
      local before = state("high", "low")
      local seen, result = inside.sh(with(kept { at "high", at "low" }), "echo new > /o/f && echo more >> /o/g && mkdir /o/d && echo n > /o/d/n && ls /o")
      assert.is_true(result.ok, seen)
      assert.equal("d\nf\ng\nsub\n", seen)
      assert.equal("new\nlow\nmore\nn\n", outside "cat upper/f upper/g upper/d/n")
      local own = sys.stat(at "upper")
      for _, name in ipairs { "f", "g", "d", "d/n" } do
        local made = sys.stat(at("upper/" .. name))
        assert.same({ own.uid, own.gid }, { made.uid, made.gid }, name)
      end
      assert.equal(before, state("high", "low"))
    end)

    it("has it again in the next run, removals too", function()
      local box = with(kept())
      local _, first = inside.sh(box, "echo new > /o/f; rm /o/g; rm -r /o/sub; mkdir /o/sub")
      assert.is_true(first.ok)
      assert.equal("new\nf\nsub\n", (inside.sh(box, "cat /o/f; ls /o; ls -A /o/sub")))
      assert.equal("low\nf\ng\nsub\ns\n", outside "cat low/f; ls low; ls low/sub")
    end)

    it("takes upper and work from different directories below one", function()
      outside "mkdir -p tree/a/b/upper tree/c/work && chmod 700 tree/a/b/upper"
      local box = with(fs.overlay({ lower = { at "low" }, upper = at "tree/a/b/upper", work = at "tree/c/work" }, "/o"))
      local _, result = inside.sh(box, "echo new > /o/f; rm /o/g")
      assert.is_true(result.ok)
      assert.equal("new\n", probe.read(at "tree/a/b/upper/f"))
      assert.equal("f\ng\nsub\n", outside "ls low")
      assert.equal("f\nsub\n", (inside.sh(box, "ls /o")))
    end)

    it("of another's gives root's payload that other's files", function()
      if not probe.is_root then return pending "only root shares another's tree so" end
      outside "chown nobody: upper work"
      local seen, result = inside.sh(with(kept()), "touch /o/new && echo more >> /o/f && stat -c %u /o/new /o/f")
      assert.is_true(result.ok, seen)
      assert.equal("1000\n1000\n", seen)
      local nobody = sys.stat(at "upper").uid
      assert.is_true(nobody ~= 0 and nobody == sys.stat(at "upper/new").uid and nobody == sys.stat(at "upper/f").uid)
      assert.equal(0, sys.stat(at "low/f").uid)
    end)

    it("shows the payload neither work nor the place that both lie in", function()
      local seen = inside.sh(with(kept()), ("cat /proc/self/mountinfo; ls -d %s; find / -name 'work*' -path '*/o/*' 2>/dev/null"):format(place))
      assert.matches(" /o rw,[^\n]* overlay ", seen)
      assert.matches("No such file or directory", seen)
      seen = seen:gsub("ls: [^\n]*", "")
      assert.is_nil(seen:find(place, 1, true))
      assert.is_nil(seen:find("/o/work", 1, true))
    end)

    it("lets the payload make no set-user-id file of root's", function()
      if not probe.is_root then return pending "what an ordinary user's payload makes is that user's" end
      outside "cp /usr/bin/id low/id && chmod 4755 low/id"
      local seen = inside.sh(with(kept()), "touch /o/new; chmod 4755 /o/new; echo more >> /o/id")
      assert.matches("/o/new': Operation not permitted", seen)
      assert.equal("644\n755\n", outside "stat -c %a upper/new upper/id")
    end)

    it("of root's is out of reach for others, because set-user-id files can be changed as they are copied up", function()
      if not probe.is_root then return pending "what an ordinary user's payload makes is that user's" end
      -- It can, as the owner it stands for can: so nobody else may get there.
      outside "cp /usr/bin/id low/id && chmod 4755 low/id && chmod 755 . upper"
      local result, message = inside.run(with(kept()), { "true" })
      assert.is_nil(result)
      assert.matches("/upper is written with its owner's rights, also to set%-user%-id files of a lower layer: others must not get there", message)
      outside "chmod 700 upper"
      assert.is_true(inside.run(with(kept()), { "true" }).ok)
    end)
  end)

  describe("with links and odd names for upper and work", function()
    local function failure(layers)
      local box = with(fs.overlay(layers, "/o"))
      local result, message = inside.run(box, { "sh", "-c", "echo pwned > /o/pwned" })
      assert.is_nil(result)
      return message
    end

    before_each(function() outside "mkdir -p secret/work victim && chmod 700 secret victim && echo keep > secret/work/file" end)
    after_each(function() assert.equal("keep\n", outside "cat secret/work/file; ls -A victim") end)

    it("follows no link of the tree, absolute or relative", function()
      for _, link in ipairs { at "secret", "secret" } do
        outside("ln -sfn " .. link .. " link")
        local message = failure { lower = { at "low" }, upper = at "upper", work = at "link" }
        assert.truthy(message:find "ELOOP" or message:find "work has to be empty", message)
      end
      for _, link in ipairs { at "victim", "victim" } do
        outside("ln -sfn " .. link .. " link")
        assert.matches("ELOOP.*upper or work is a symbolic link", failure { lower = { at "low" }, upper = at "link", work = at "work" })
      end
    end)

    it("lets no link in upper lead another source elsewhere, for an earlier run may have made it", function()
      outside("ln -sfn " .. at "secret" .. " upper/planted && mkdir -p upper/usual")
      for name, expected in pairs { planted = "is a symbolic link.*follow = true", usual = false } do
        for _, last in ipairs { true, false } do
          local over = fs.overlay({ lower = { at "low" }, upper = at "upper", work = at "work" }, "/o")
          local part = fs.ro(at("upper/" .. name), "/y")
          local result, message = inside.run(with { last and part or over, last and over or part }, { "true" })
          if expected then assert.matches(expected, message) else assert.is_true(result.ok) end
        end
      end
      outside "rm -r upper/planted upper/usual"
    end)

    it("takes no work directory with anything of anybody's in work/work", function()
      assert.matches("work has to be empty, and there is .*/secret/work", failure { lower = { at "low" }, upper = at "upper", work = at "secret" })
    end)

    it("has no backslashes, which would become other names", function()
      for _, name in ipairs { "up\\\\per", ".\\\\./victim" } do
        assert.matches("without backslashes", inside.mistake(with, fs.overlay({ lower = { at "low" }, upper = at(name), work = at "work" }, "/o")))
      end
    end)

    it("is an error when the kernel could use it for reading only", function()
      if not probe.is_root then return pending "an ordinary user's work directory cannot be another's" end
      outside "chown nobody upper && chmod 755 . && chmod 700 work"
      assert.matches("EROFS", failure { lower = { at "low" }, upper = at "upper", work = at "work" })
    end)
  end)

  describe("of what belongs to others", function()
    it("shows and keeps the ids when root says idmap = false, or an ordinary user says nothing", function()
      local box = with(fs.overlay({ lower = { "/etc" }, upper = "tmp" }, "/o", { idmap = false }))
      local seen = inside.sh(box, "stat -c %u /o/passwd /o/ssl; echo x >> /o/passwd; rm /o/ssl/openssl.cnf; touch /o/ssl/new; touch /o/new && rm /o/passwd && ls /o/new")
      assert.matches("^65534\n65534\n/o/new\n", seen)
      assert.equal(3, select(2, seen:gsub("Permission denied", "")), seen)
      assert.is_truthy(sys.lstat "/etc/passwd")
    end)
  end)

  describe("as the root", function()
    before_each(function() make_image "image" end)

    it("is so when no target is said", function()
      local before = state("image", "low")
      local seen = inside.sh(sandbox { fs = { fs.overlay { lower = { at "low", at "image" } }, programs() } }, "cat /f /etc/keep; ls /; touch /new; touch /tmp/x && ls /tmp")
      assert.matches("^low\nkeep\nbin\ndev\netc\nf\ng\nlib\nlib64\nproc\nsub\ntmp\nusr\nx\n", seen)
      assert.matches("touch: cannot touch '/new': Read%-only file system", seen)
      assert.equal(before, state("image", "low"))
    end)

    it("is written with upper = \"tmp\", within its limits", function()
      local before = state("image", "low")
      local box = sandbox { fs = { fs.overlay({ lower = { at "low", at "image" }, upper = "tmp" }, "/", { size = "1M", inodes = 500 }), programs() } }
      local seen = inside.sh(box, "echo new > /f && cat /f; touch /new && ls /new; rm /g; ls /; stat -fc '%b %S %c' /; head -c 2M /dev/zero > /big")
      assert.matches("^new\n/new\nbin\ndev\netc\nf\nlib\nlib64\nnew\nproc\nsub\ntmp\nusr\n256 4096 500\n.*No space left", seen)
      assert.equal(before, state("image", "low"))
    end)

    it("is written with an upper directory, which has it then", function()
      local before = state("image", "low")
      local box = sandbox { fs = { fs.overlay { lower = { at "low", at "image" }, upper = at "upper", work = at "work" }, programs() } }
      assert.equal("new\n/etc/new\n", (inside.sh(box, "echo new > /f && cat /f; touch /etc/new; ls /etc/new")))
      assert.equal("new\n", probe.read(at "upper/f"))
      assert.equal(sys.stat(at "upper").uid, sys.stat(at "upper/etc/new").uid)
      assert.equal(before, state("image", "low"))
    end)

    it("is an image that can be written, with upper = \"tmp\"; the directory stays as it is", function()
      local before = state "image"
      local box = sandbox { fs = { fs.image(at "image", { upper = "tmp" }), programs() } }
      for _ = 1, 2 do
        local seen, result = inside.sh(box, "cat /etc/keep; echo changed > /etc/keep; touch /new; mkdir /etc/d; cat /etc/keep; ls -d /new /etc/d; rm -r /etc/keep /etc/d; ls -A /etc")
        assert.is_true(result.ok, seen)
        assert.equal("keep\nchanged\n/etc/d\n/new\n", seen)
      end
      assert.equal(before, state "image")
    end)

    it("is an image of limited size and inodes", function()
      local box = sandbox { fs = { fs.image(at "image", { upper = "tmp", size = "1M", inodes = 300 }), programs() } }
      assert.equal("256 4096 300\n", (inside.sh(box, "stat -fc '%b %S %c' /")))
    end)

    it("is an image that is read-only without upper", function()
      local before = state "image"
      local seen = inside.sh(sandbox { fs = { fs.image(at "image"), programs() } }, "cat /etc/keep; echo x > /etc/keep; touch /new; rm -r /etc")
      assert.matches("^keep\n", seen)
      assert.equal(3, select(2, seen:gsub("Read%-only file system", "")), seen)
      assert.equal(before, state "image")
    end)

    it("is an image with a /dev of its own, as installers make them", function()
      outside "cd image/dev && mkdir pts shm && touch null ptmx && ln -s /proc/self/fd fd && ln -s fd/0 stdin"
      local function box(options) return sandbox { fs = { fs.image(at "image", options), programs() } } end
      assert.equal("1:3\n", (inside.sh(box(), "echo x > /dev/null && stat -c %t:%T /dev/null")))
      assert.equal("1:3\n", (inside.sh(box { upper = "tmp" }, "echo x > /dev/null && stat -c %t:%T /dev/null")))
    end)
  end)

  describe("with a wrong table", function()
    it("is a mistake at its line, before anything runs", function()
      local before = state "."
      for expected, layers in pairs {
        ["whose lower is a list of 1 to 500 directories"] = {},
        ["whose lower is a list of 1 to 500"] = { lower = {} },
        ["where lower is a list"] = { lower = "/usr" },
        ["names work only beside an upper directory"] = { lower = { "/usr" }, work = at "work" },
        ["names work only beside an upper"] = { lower = { "/usr" }, upper = "tmp", work = at "work" },
        ["names work beside upper: an empty directory"] = { lower = { "/usr" }, upper = at "upper" },
        ["where upper is 'tmp', or an absolute path"] = { lower = { "/usr" }, upper = "upper", work = at "work" },
        ["where work is an absolute path"] = { lower = { "/usr" }, upper = at "upper", work = "work" },
        ["an absolute path without '%.' and '%.%.'"] = { lower = { "/usr" }, upper = at "upper/../low", work = at "work" },
        ["not 'uper'; did you mean 'upper'%?"] = { lower = { "/usr" }, uper = "tmp" },
        ["entry 2 is a table"] = { lower = { "/usr", {} } },
      } do
        local said = inside.mistake(with, fs.overlay(layers, "/o"))
        assert.matches("^%S*overlay_spec.lua:%d+: fs.overlay: layers must be ", said)
        assert.matches(expected, said)
      end
      assert.matches("options must be .*not 'sise'; did you mean 'size'%?", inside.mistake(with, fs.overlay({ lower = { "/usr" } }, "/o", { sise = 1 })))
      assert.matches("layers must be a table .*got 'low'", inside.mistake(with, fs.overlay("low", "/o")))
      assert.equal(before, state ".")
    end)

    it("is one of several mistakes that are all told", function()
      local said = inside.mistake(with, fs.overlay({}, "/o"), fs.overlay({ lower = { "/usr" }, upper = "/u" }, "/p"))
      assert.matches("lower is a list", said)
      assert.matches("\n.*fs.overlay: layers must be", said)
      assert.matches("names work beside upper", said)
    end)
  end)

  describe("that cannot be", function()
    local function failure(...)
      local line = debug.getinfo(2, "l").currentline
      local result, message, err = inside.run(with(...), { "true" })
      assert.is_nil(result)
      assert.matches(("overlay_spec.lua:%d: overlay on /o: "):format(line), message)
      return err, message
    end

    it("names the line and why, where a lower directory is missing", function()
      for _, lower in ipairs { { at "none" }, { at "low", at "none" }, { at "none", at "low" } } do
        local err, message = failure(fs.overlay({ lower = lower, upper = "tmp" }, "/o"))
        assert.equal("ENOENT", err.code)
        assert.matches("overlay on /o: /var/tmp/nslua%-spec.%w+/none: No such file or directory %(ENOENT%);\n  a layer does not exist", message)
      end
      assert.equal("ENOENT", failure(fs.overlay({ lower = { at "low", at "none" } }, "/o")).code)
    end)

    it("names which of the directories is missing, and advises nothing that it does not take", function()
      local err, message = failure(fs.overlay({ lower = { at "low", at "none" } }, "/o"))
      assert.equal(at "none", err.path)
      assert.is_nil(message:find("optional", 1, true), "{ optional = true } is advised, which fs.overlay does not take")
    end)

    it("says that upper or work is missing", function()
      local err, message = failure(fs.overlay({ lower = { at "low" }, upper = at "none", work = at "work" }, "/o"))
      assert.is_nil(err.code)
      assert.matches("overlay on /o: the directory [^ ]*/none does not exist$", message)
      err, message = failure(fs.overlay({ lower = { at "low" }, upper = at "upper", work = at "none" }, "/o"))
      assert.is_nil(err.code)
      assert.matches("overlay on /o: the directory [^ ]*/none does not exist$", message)
    end)

    it("says that upper and work have to be on one file system, and not in each other", function()
      outside "mkdir work/within"
      for _, work in ipairs { at "upper", at "upper/within" } do
        if work:find "within" then outside "mkdir upper/within" end
        local err, message = failure(fs.overlay({ lower = { at "low" }, upper = at "upper", work = work }, "/o"))
        assert.equal("EINVAL", err.code)
        assert.matches("upper and work have to be on one file system.*neither may lie in the other", message)
      end
      local elsewhere = probe.shell "mktemp -d /dev/shm/nslua-spec.XXXXXX":match "%S+"
      local layers = { lower = { at "low" }, upper = at "upper", work = elsewhere }
      for _, options in ipairs { { idmap = false }, {} } do
        assert.matches("upper and work have to be on one file system", select(2, failure(fs.overlay(layers, "/o", options))))
      end
      probe.shell("rmdir " .. elsewhere)
    end)

    it("says that a file is no layer", function()
      for _, upper in ipairs { "tmp", false } do
        local _, message = failure(fs.overlay({ lower = { at "low/f" }, upper = upper or nil }, "/o"))
        assert.matches("overlay on /o: the layer .*/low/f is a file, not a directory$", message)
      end
    end)
  end)
end)

describe("the host's /usr over an empty root", function()
  local function box(options)
    return sandbox { fs = { fs.overlay({ lower = { "/usr" }, upper = "tmp" }, "/usr", options), fs.symlink("usr/bin", "/bin"), fs.symlink("usr/lib", "/lib"),
      fs.symlink("usr/lib64", "/lib64"), fs.ro "/etc/alternatives", fs.ro "/etc/ld.so.cache", fs.proc(), fs.dev(), fs.tmpfs "/tmp" } }
  end

  --- Root maps the ids of /usr where its file system can be mapped; in a virtual machine it may be an overlay.
  local function usual()
    local _, message = inside.run(box(), { "true" })
    return (message or ""):find "cannot be idmapped" and box { idmap = false } or box()
  end

  it("runs apt-get, python3 and gcc, and what gcc makes", function()
    local seen, result = inside.sh(usual(), [[apt-get --version | head -1 && python3 -c 'import json, ssl; print("python")' && cd /tmp &&
      printf '#include <stdio.h>\nint main(void) { puts("hello"); }\n' > h.c && gcc -o h h.c && ./h]])
    assert.is_true(result.ok, seen)
    assert.matches("^apt %d[^\n]*\npython\nhello\n$", seen)
  end)

  it("has programs of the payload's own beside the others", function()
    local seen, result = inside.sh(usual(), "printf '#!/bin/sh\\necho mine\\n' > /usr/mine && chmod 755 /usr/mine && /usr/mine && touch /new")
    assert.is_false(result.ok)
    assert.matches("^mine\ntouch: cannot touch '/new': Read%-only", seen)
    assert.is_nil(sys.lstat "/usr/mine")
  end)

  it("has root's payload change what is root's, inside only", function()
    if not probe.is_root then return pending "to an ordinary user what is root's stays so" end
    local _, message = inside.run(box(), { "true" })
    if (message or ""):find "cannot be idmapped" then return pending "this file system of /usr cannot be idmapped" end
    local before = probe.shell "stat -c '%i %s %a %Y %Z' /usr/bin/id /usr/bin"
    local seen, result = inside.sh(box(), "rm /usr/bin/id && ls /usr/bin/id; echo x >> /usr/bin/env && touch /usr/bin/new && stat -c %u /usr/bin/env /usr/bin/new")
    assert.is_true(result.ok, seen)
    assert.matches("^1000\n1000\nls: cannot access '/usr/bin/id': No such file", seen)
    assert.equal(before, probe.shell "stat -c '%i %s %a %Y %Z' /usr/bin/id /usr/bin")
    assert.is_nil(sys.lstat "/usr/bin/new")
  end)

  it("has nobody's payload change what is root's where the ids stay as they are", function()
    local seen = inside.sh(box { idmap = false }, "rm /usr/bin/id; echo x >> /usr/bin/env; touch /usr/bin/new; chmod 777 /usr/bin; stat -c %u /usr/bin/id")
    assert.matches("^65534\n", seen)
    assert.equal(3, select(2, seen:gsub("Permission denied", "")), seen)
    assert.equal(1, select(2, seen:gsub("Operation not permitted", "")), seen)
  end)
end)

describe("a hostile layer", function()
  local victim

  before_each(function()
    make_layers()
    victim = probe.directory()
    probe.shell("chmod 777 " .. victim)
    outside(([[mkdir -p layer/usr layer/etc layer/magic && cd layer && ln -s usr/bin bin && ln -s usr/lib lib && ln -s usr/lib64 lib64 &&
      ln -s ../../etc proc && ln -s /tmp dev && ln -s @ tmp && ln -s ../../../../../../../..@ up && ln -s loop loop && ln -s b a && ln -s a b &&
      ln -s /proc/self/root magic/root && mkfifo etc/hosts fifo]]):gsub("@", victim))
  end)
  after_each(function()
    remove_layers()
    probe.remove(victim)
  end)

  --- The host is as it was: nothing made behind the links, nothing mounted there.
  local function assert_untouched(before)
    assert.equal(before, state("layer", "low"))
    assert.equal("", probe.shell("ls -A " .. victim))
    local mounts = probe.read "/proc/self/mountinfo"
    assert.is_nil(mounts:find(victim, 1, true) or mounts:find(" /etc ", 1, true))
    for _, name in ipairs { "null", "pts", "shm", "fd" } do assert.is_nil(sys.lstat("/tmp/" .. name)) end
  end

  --- Every kind of root that the layer can be in.
  local function roots()
    outside "cp -a layer taken && chmod 700 taken"
    return {
      fs.overlay { lower = { at "layer", at "low" } }, fs.overlay { lower = { at "low", at "layer" }, upper = "tmp" },
      fs.image(at "layer", { upper = "tmp" }), fs.overlay { lower = { at "low" }, upper = at "taken", work = at "work" },
    }
  end

  --- A run that must not hang; the payload is a program of the host's.
  local function try(root, entry)
    local result, message, err = inside.run(sandbox { fs = { root, fs.ro "/usr", entry } }, { "/usr/bin/true", timeout = 5 })
    assert.not_matches("time limit", message)
    assert.is_true(not result or result.reason ~= "timeout", "it hung")
    return result, message, err
  end

  local LINKS <const> = { ELOOP = "is a symbolic link", EEXIST = "File exists" }

  it("whose mount points are links leads nowhere", function()
    local before = state("layer", "low")
    local create = { create = true }
    for i, root in ipairs(roots()) do
      for _, entry in ipairs { fs.proc(), fs.dev(), fs.tmpfs "/tmp", fs.tmpfs "/up", fs.tmpfs("/up/x", create), fs.file("/tmp/f", "x", create),
        fs.file("/up", "x"), fs.file("/up", "x", { writable = true }), fs.file("/up/f", "x", { writable = true, create = true }), fs.dir("/up/d", create),
        fs.dir("/up", { writable = true, create = true }), fs.dir("/loop/x", create), fs.tmpfs("/a/x", create), fs.tmpfs "/loop", fs.symlink("x", "/tmp/l", create),
        fs.symlink("x", "/up", create), fs.mask "/up", fs.mask "/up/x", fs.ro("/usr", "/tmp/usr", create), fs.rw(at "low", "/up"), fs.device("/dev/null", "/up"),
        fs.remount "/up", fs.remount "/tmp/x", fs.overlay({ lower = { at "low" } }, "/up"), fs.sys("/up"), fs.mqueue("/tmp"),
        fs.tmpfs("/magic/root" .. victim, create), fs.file("/magic/root" .. victim .. "/f", "x", create) } do
        local result, message, err = try(root, entry)
        local what = ("%s in root %d: %s"):format(entry, i, message)
        assert.is_nil(result, what)
        assert.matches("overlay_spec.lua:%d+: ", message)
        assert.is_truthy(LINKS[err.code], what)
        assert.matches(LINKS[err.code], message)
        if entry.target ~= "/dev" then assert.is_true(message:find(tostring(entry), 1, true) ~= nil, what) else assert.matches("/dev", message) end
      end
      outside "chmod -R u+rwx work && rm -r work && mkdir work"
    end
    assert_untouched(before)
  end)

  it("with a FIFO in the place of a file is no hang", function()
    local before = state("layer", "low")
    for i, root in ipairs(roots()) do
      for _, entry in ipairs { fs.file("/etc/hosts", "x"), fs.file("/etc/hosts", "x", { writable = true }), fs.mask "/fifo", fs.remount "/fifo",
        fs.ro(at "low/f", "/fifo"), fs.device("/dev/null", "/fifo") } do
        local result, message, err = try(root, entry)
        if not result then
          assert.is_true(message:find(tostring(entry), 1, true) ~= nil, ("%s in root %d: %s"):format(entry, i, message))
          assert.equal("EEXIST", err.code)
        end
      end
      for _, entry in ipairs { fs.file("/etc/hosts/x", "x", { create = true }), fs.tmpfs "/etc/hosts", fs.tmpfs("/fifo/x", { create = true }), fs.ro(at "low", "/fifo") } do
        local result, message, err = try(root, entry)
        assert.is_nil(result, tostring(entry))
        assert.is_true(message:find(tostring(entry), 1, true) ~= nil, message)
        assert.is_true(err.code == "ENOTDIR" or err.code == "EINVAL", message)
      end
      outside "chmod -R u+rwx work && rm -r work && mkdir work"
    end
    assert_untouched(before)
  end)

  it("that is a lower layer and whose links lead out shows the payload nothing of the host", function()
    probe.write(victim .. "/secret", "secret\n", "644")
    for _, upper in ipairs { false, "tmp" } do
      local box = with(fs.overlay({ lower = { at "layer", at "low" }, upper = upper or nil }, "/o"))
      local seen = inside.sh(box, "cat /o/up/secret /o/tmp/secret /o/proc/shadow /o/proc/hostname; echo x > /o/up/new; timeout 0.2 cat /o/fifo; echo $?; cat /o/loop")
      assert.not_matches("secret\n", (seen:gsub("/secret", "")))
      assert.equal(4, select(2, seen:gsub("No such file", "")), seen)
      assert.matches("124\n", seen)
    end
    assert.equal("secret\n", probe.shell("ls -A " .. victim))
  end)

  it("whose upper or work directory is a link leads nowhere", function()
    probe.shell(("mkdir %s/u %s/w"):format(victim, victim))
    outside(("ln -s %s/u to-upper && ln -s %s/w to-work"):format(victim, victim))
    for _, layers in ipairs { { lower = { at "low" }, upper = at "to-upper", work = at "work" }, { lower = { at "low" }, upper = at "upper", work = at "to-work" } } do
      local result, message = inside.run(with(fs.overlay(layers, "/o")), { "touch", "/o/new" })
      assert.is_nil(result)
      assert.matches("overlay on /o: ", message)
    end
    assert.equal("", probe.shell(("find %s/u %s/w -mindepth 1"):format(victim, victim)))
  end)
end)
