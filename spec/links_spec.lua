-- luacheck: no max line length
--- The option `links`: symbolic links of a foreign tree on the way to a target lead inside of the sandbox's root, never out.
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local watch = require "watch"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys

local base, tree, victim -- what is the caller's: a shared tree, and what must not be touched

local function shell(command) return (probe.shell(("cd %s && { %s\n}"):format(base, command))) end

before_each(function()
  base = probe.directory()
  tree, victim = base .. "/tree", base .. "/victim"
  shell "mkdir -p tree/real/deep tree/etc victim && echo mine > victim/file"
end)
after_each(function() probe.remove(base) end)

--- How the set-up of a sandbox with these entries fails; nil where all that is missing is a program.
local function failure_of(...)
  local _, _, err = inside.run(sandbox { fs = { ... } }, { "/none" })
  return err.op ~= "execve" and err or nil
end

--- The same with the tree as /t.
local function failure(...) return failure_of(fs.ro(tree, "/t"), ...) end

local RENAMEAT2 <const> = probe.shell "uname -m":find "x86_64" and 316 or 276
local HERE <const> = { create = true, links = "inside" }

describe("links = \"inside\"", function()
  local function box(...) return sandbox { fs = { fs.os(), fs.rw(tree, "/t"), ... } } end

  it("follows those of a shared tree: relative ones, absolute ones, ones to others, ones that end with a slash", function()
    shell "cd tree && ln -s real one && ln -s ../t/one two && ln -s /t/two/ three && ln -s ./real/deep/.. four"
    for _, link in ipairs { "one", "two", "three", "four" } do
      local made = box(fs.file("/t/" .. link .. "/new/file", "text", { create = true, links = "inside", place = "tree" }))
      assert.equal("text", (inside.sh(made, "cat /t/real/new/file")), link)
      assert.equal("text", shell "cat tree/real/new/file; rm -r tree/real/new", link)
    end
  end)

  it("is for every verb that comes to a target", function()
    shell "cd tree && ln -s real l && touch real/file real/covered real/mode && mkdir real/sealed"
    local here = box(
      fs.tmpfs("/t/l/tmpfs", HERE), fs.ro("/usr", "/t/l/usr", HERE), fs.dir("/t/l/dir/below", HERE),
      fs.symlink("to", "/t/l/link", HERE), fs.file("/t/l/file", "mounted", HERE), fs.dev("/t/l/dev", HERE),
      fs.chmod("/t/l/mode", tonumber("751", 8), HERE), fs.remount("/t/l/sealed", { links = "inside" }),
      fs.mask("/t/l/covered", { links = "inside" }), fs.proc("/t/l/proc", HERE))
    local output = inside.sh(here, "cd /t/real && stat -f -c %T tmpfs; ls -d usr/bin dir/below dev/null proc/version; readlink link; cat file; "
      .. "echo; stat -c %a mode; touch sealed/x 2>&1 | grep -o Read-only; cat covered 2>&1 | grep -o Permission")
    assert.equal("tmpfs\ndev/null\ndir/below\nproc/version\nusr/bin\nto\nmounted\n751\nRead-only\nPermission\n", output)
  end)

  it("leads nowhere out of the root: not by .., not by an absolute path", function()
    shell(("cd tree && ln -s ../../../../../../../../../..%s up && ln -s %s absolute && ln -s .. parent && ln -s ../.. above"):format(victim, victim))
    for _, link in ipairs { "up", "absolute" } do
      shell("mkdir -p tree" .. victim)
      assert.is_nil(failure_of(fs.rw(tree, "/"), fs.tmpfs(("/%s/mount"):format(link), HERE), fs.symlink("x", ("/%s/l"):format(link), HERE),
        fs.dir(("/%s/dir"):format(link), HERE), fs.file(("/%s/f"):format(link), "x", { create = true, links = "inside", place = "tree" })))
      assert.equal("file\n", shell "ls victim")
      assert.equal("dir\nf\nl\nmount\n", shell("ls tree" .. victim .. "; rm -r tree/var"))
    end
    for _, link in ipairs { "parent", "above" } do
      assert.is_nil(failure_of(fs.rw(tree, "/"), fs.dir(("/%s/dir"):format(link), HERE)))
      assert.equal("tree/dir\n", shell "ls -d dir ../dir tree/dir 2>/dev/null; rmdir tree/dir", link)
    end
  end)

  it("makes nothing where the root lies over the old one", function()
    shell "cd tree && ln -s ../.. out"
    for _, entries in ipairs { { fs.rw(tree, "/"), "/out" }, { fs.rw(tree, "/t"), "/t/out" } } do
      assert.is_nil(failure_of(entries[1], fs.ro("/usr", entries[2] .. "/nslua-spec-usr", HERE), fs.dir(entries[2] .. "/nslua-spec-dir", HERE)))
      assert.is_nil(sys.lstat "/nslua-spec-usr" or sys.lstat "/nslua-spec-dir")
    end
  end)

  it("refuses loops, and links that lead to nothing", function()
    shell "cd tree && ln -s loop loop && ln -s b a && ln -s a b && ln -s nowhere dangling"
    for link, code in pairs { loop = "ELOOP", a = "ELOOP", dangling = "ENOENT" } do
      local err = failure(fs.tmpfs(("/t/%s/x"):format(link), HERE))
      assert.equal(code, err.code, link)
    end
    assert.is_nil(sys.lstat(tree .. "/nowhere"))
  end)

  it("refuses more links than the kernel follows", function()
    shell "cd tree && ln -s real l0; for i in $(seq 41); do ln -s l$((i - 1)) l$i; done"
    assert.is_nil(failure(fs.ro("/usr", "/t/l39/deep", HERE)))
    assert.equal("ELOOP", failure(fs.ro("/usr", "/t/l41/deep", HERE)).code)
  end)

  it("refuses links of /proc that have no path behind them", function()
    shell "cd tree && ln -s /proc/self/root/usr magic && ln -s /proc/self/fd/0 stream && ln -s /proc/self/task plain"
    for _, target in ipairs { "/proc/self/root/x", "/proc/self/cwd/x", "/t/magic/x", "/t/stream/x", "/proc/self/fd/3/x" } do
      local err = failure(fs.ro("/proc"), fs.tmpfs(target, HERE))
      assert.equal("ELOOP", err.code, target)
    end
    assert.equal("ENOENT", failure(fs.ro("/proc"), fs.tmpfs("/t/plain/x", HERE)).code) -- an ordinary one, to where nothing can be made
  end)

  it("does not follow the target itself", function()
    shell "cd tree && ln -s real link && ln -s real/deep real/last"
    for _, entry in ipairs {
      fs.tmpfs("/t/link", HERE), fs.tmpfs("/t/link/last", HERE), fs.file("/t/link", "x", HERE), fs.dir("/t/link", HERE),
    } do
      assert.equal("ELOOP", failure(entry).code, tostring(entry))
    end
  end)

  it("does not follow the target either where the link is the recipe's own", function()
    local over = { links = "inside", over = true }
    assert.equal("ELOOP", failure_of(fs.dir "/d", fs.symlink("d", "/own"), fs.tmpfs("/own", over)).code)
    assert.is_nil(failure_of(fs.dir "/d", fs.symlink("d", "/own"), fs.tmpfs("/own/x", HERE)))
  end)

  it("is asked for: without it every link is refused", function()
    shell "ln -s real tree/link"
    local err = failure(fs.tmpfs("/t/link/deep", { create = true }))
    assert.equal("ELOOP", err.code)
    assert.matches("links = \"inside\"", tostring(err))
  end)

  it("leads to what is not the recipe's own from a layer of the host, where nothing is changed unasked", function()
    shell "mkdir -m 700 victim/sub && ln -s /v tree/out"
    local function over(...) return sandbox { fs = { fs.os(), fs.overlay({ lower = { tree }, upper = "tmp" }, "/t"), fs.rw(victim, "/v"), ... } } end
    for _, unasked in ipairs {
      fs.dir("/t/out/sub", { mode = tonumber("777", 8), links = "inside" }), fs.chmod("/t/out/sub", tonumber("777", 8), { links = "inside" }),
      fs.file("/t/out/f", "x", { links = "inside", place = "tree" }),
    } do
      local ok, err = pcall(function() return over(unasked):run { "true" } end)
      assert.is_false(ok)
      assert.matches("/t/out/%w+ lies in a tree of the host", tostring(err))
    end
    inside.sh(over(fs.dir("/t/out/sub", { mode = tonumber("777", 8), create = true, links = "inside" })), "true")
    assert.equal("700 sub\n", shell "cd victim && stat -c '%a %n' sub f 2>/dev/null")
  end)

  it("is none of a primitive's when its path has no link", function()
    local root <close> = assert(sys.open(nil, tree, { "path", "directory" }))
    local _, _, errno = sys.open(root, "../victim", "path", "inside")
    assert.equal("EXDEV", (select(2, sys.strerror(errno))))
    shell "ln -s ../victim tree/up"
    _, _, errno = sys.open(root, "up/file", "path", "inside")
    assert.equal("ENOENT", (select(2, sys.strerror(errno))))
  end)

  it("stays inside while somebody else turns the tree over", function()
    probe.write(base .. "/turn", ("while :; do rm -rf swap; ln -s %s swap; rm swap; mkdir swap; done"):format(victim))
    local pid = shell("cd tree && sh ../turn >/dev/null 2>&1 & echo $!"):match "%d+"
    for i = 1, 30 do
      inside.run(sandbox { fs = { fs.os(), fs.rw(tree, "/t"), fs.dir(("/t/swap/dir%d/sub"):format(i), HERE) } }, { "/bin/true" })
    end
    probe.shell("kill -9 " .. pid)
    assert.equal("file\n", shell "ls victim")
  end)

  it("covers of a full /proc what is asked for", function()
    local full = sandbox { fs = { fs.os(), fs.proc("/proc", { full = true, read_only = { "irq", "sys" } }) } }
    assert.equal("/proc/irq\n/proc/sys\n", (inside.sh(full, "grep -o '/proc/[^ ]* ro,' /proc/self/mountinfo | sed 's/ .*//' | sort")))
    assert.is_false(pcall(sandbox, { fs = { fs.proc("/proc", { read_only = { "self" } }) } }))
  end)

  it("covers what /proc shows of the machine in the /proc that it has mounted, wherever that is moved meanwhile", function()
    probe.write(base .. "/turn.py", [[
import ctypes, time
libc = ctypes.CDLL(None)
open('turning', 'w')
last = time.time() + 20
while time.time() < last: libc.syscall(]] .. RENAMEAT2 .. [[, -100, b'one', -100, b'two', 2)
]])
    shell("for at in one two; do mkdir -p tree/$at/proc && (cd tree/$at/proc && mkdir sys irq bus fs && touch sysrq-trigger); done")
    local pid = shell("(cd tree && exec python3 ../turn.py) >/dev/null 2>&1 & echo $!"):match "%d+"
    assert.is_true(watch.within(10, function() return sys.stat(tree .. "/turning") ~= nil end))
    for _ = 1, 15 do
      local seen = inside.sh(sandbox { fs = { fs.os(), fs.rw(tree, "/t"), fs.proc("/t/one/proc", { create = true }) } },
        "for at in proc t; do grep -cE ' /(sys|sysrq-trigger|irq|bus|fs) /'$at'/.* - proc ' /proc/self/mountinfo; done")
      local usual, moved = seen:match "^(%d+)\n(%d+)\n$"
      assert.is_true(tonumber(usual) >= 3)
      assert.equal(usual, moved)
    end
    probe.shell("kill -9 " .. pid)
  end)
end)
