--- nslua from-bwrap: command lines of bubblewrap's, as recipes. What is printed loads, has nothing wrong, and shows the same
-- inside as the command line itself: those that public projects document (command_lines.lua), and some for single options.
local caller = require "caller"
local lines = require "command_lines"
local look = require "look"
local probe = require "probe"
local sys = require "nslua.sys"

local has_bwrap = os.execute "bwrap --version >/dev/null 2>&1"

--- Options (HERE is a directory with a file `data` and a directory `tree`; a word of the shell's may be quoted), and what is
--- looked at in both.
local OPTIONS <const> = {
  { "data, modes and a root that is read-only", "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 "
    .. "--symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp --ro-bind-data 7 /etc/config --perms 0700 "
    .. "--dir /run/user/7 --remount-ro / --unshare-all 7<data",
    "cat /etc/config; echo > /etc/config || echo no; stat -c %a /run/user/7; touch /x || echo no" },
  { "an overlay in a tmpfs", "--ro-bind / / --tmpfs /mnt --overlay-src HERE/tree --tmp-overlay /mnt/tree --dev /dev "
    .. "--proc /proc --unshare-pid", "ls /mnt/tree; echo x > /mnt/tree/new && cat /mnt/tree/new" },
  { "another user", "--unshare-user --uid 65534 --gid 65534 --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 "
    .. "/lib64 --symlink usr/bin /bin --dev /dev --proc /proc --unshare-all", "id -u; id -g" },
  { "the processes of the host's", "--dev-bind / / --unshare-pid --proc /proc --die-with-parent",
    "ls /; test $$ -lt 9 && echo own; pwd" },
  { "the caller's processes", "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin "
    .. "--proc /proc --dev /dev --ro-bind HERE/tree /src --chdir /src", "pwd; cat inner; readlink /proc/self/ns/pid" },
  { "a message queue and modes", "--clearenv --unshare-all --share-net --ro-bind / / --dev /dev --mqueue /dev/mqueue "
    .. "--perms 1777 --tmpfs /dev/shm --proc /proc --setenv PATH /usr/bin:/bin",
    "stat -c %a /dev/shm; stat -f -c %T /dev/mqueue; echo $HOME" },
  { "what comes twice at a place", "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin "
    .. "/bin --ro-bind-try /proc /proc --ro-bind-try /dev /dev --dev /dev --proc /proc --unshare-all --tmpfs /a --dir /a/b "
    .. "--ro-bind HERE/tree /a", "ls /a; test -w /dev/null && test $$ -lt 9 && echo own" },
}

local GOLDEN <const> = {
  { "the system, a project and the network", "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --proc /proc "
    .. "--dev /dev --tmpfs /tmp --bind /srv /src --ro-bind /opt /opt --unshare-all --share-net --die-with-parent "
    .. "--new-session --setenv CC clang --chdir /src -- make -j4", [[
-- Besides, bubblewrap would
--   pass the whole environment                 env = { inherit = "all" }
--   pass open descriptors                      fds = { … } of a run
--   keep root root, and supplementary groups   namespaces = { user = false }, inherit = { "groups" }
--   keep the host's name                       inherit = { "hostname" }
--   set no filter of its own, nor Landlock     seccomp = false, landlock = false
--   allow sandboxes inside                     nesting = true
--   leave the root and /dev writable           fs.tmpfs("/", { writable = true })
return sandbox "make" {
  fs = {
    fs.os(),
    fs.rw("/srv", "/src"),
    fs.ro "/opt",
  },
  net = "host",
  env = { CC = "clang" },
  cwd = "/src",
  command = { "make", "-j4" },
}
]] },
  { "the host with an empty home, and a file's text", "--unshare-user --disable-userns --uid 0 --gid 0 --ro-bind / / --tmpfs "
    .. "/home --dir /home/me --unshare-net --new-session --die-with-parent --clearenv --ro-bind-data 7 /home/me/data "
    .. "--chdir /home/me sh 7<data", [[
-- Besides, bubblewrap would
--   pass open descriptors                      fds = { … } of a run
--   keep root root, and supplementary groups   namespaces = { user = false }, inherit = { "groups" }
--   set no filter of its own, nor Landlock     seccomp = false, landlock = false
return sandbox "sh" {
  namespaces = { cgroup = false, ipc = false, pid = false, uts = false },
  user = "root",
  fs = {
    fs.ro "/",
    fs.tmpfs "/home",
    fs.dir "/home/me",
    fs.file("/home/me/data", "data\n"),
  },
  env = { HOME = false, LANG = false, PATH = false, TERM = false },
  cwd = "/home/me",
  command = { "sh" },
}
]] },
}

--- Command lines of projects, as of a caller whose home is not there: what comes to a program's words, below the comments.
local PROJECTS <const> = {
  ["opam: build"] = [[
return sandbox "make" {
  namespaces = { cgroup = false, ipc = false, pid = false, uts = false },
  fs = {
    fs.os(),
    fs.ro "/proc",
    fs.rw "/tmp",
    fs.ro "/etc", fs.ro "/opt", fs.ro "/home", fs.ro "/var", fs.ro "/home/me/switch",
    fs.rw "/srv",
  },
  env = { TEMP = "/tmp", TEMPDIR = "/tmp", TMP = "/tmp", TMPDIR = "/tmp" },
  cwd = "/srv",
  command = { "make" },
}
]],
  ["an agent with its project"] = [[
return sandbox "claude" {
  fs = {
    fs.ro "/",
    fs.rw "/srv", fs.rw "/tmp",
    fs.dev(),
    fs.proc(),
    fs.rw "/home/me/.claude.json", fs.rw "/home/me/.claude",
  },
  net = "host",
  cwd = "/srv",
  command = { "claude", "--dangerously-skip-permissions", "make" },
}
]],
}

describe("nslua from-bwrap", function()
  local nslua = sys.getcwd() .. "/" .. probe.build .. "/nslua"
  local directory

  setup(function()
    directory = probe.directory()
    probe.write(directory .. "/data", "data\n", "644")
    probe.write(directory .. "/passwd", "me:x:1000:1000::/:/bin/sh\n", "644")
    probe.write(directory .. "/group", "me:x:1000:\n", "644")
    probe.shell(("mkdir %s/tree && echo inner > %s/tree/inner"):format(directory, directory))
  end)
  teardown(function() probe.remove(directory) end)

  local function shell(line) return probe.shell(("cd %s && { %s\n}"):format(directory, line)) end

  --- Options and their redirections, around a command.
  local function words(options, command)
    local before, after = options:match "^(.-)( %d+<.*)$"
    return ("%s %s%s"):format(before or options, command, after or ""):gsub("HERE", directory)
  end

  for _, line in ipairs(OPTIONS) do
    it("prints what comes to the same: " .. line[1], function()
      local command = "sh -c 'exec 2>&1; " .. line[3]:gsub("'", "'\\''") .. "'"
      local theirs, status = shell(nslua .. " bwrap " .. words(line[2], command))
      local recipe, printed = shell(nslua .. " from-bwrap " .. words(line[2], command))
      assert.equal(0, printed, recipe)
      probe.write(directory .. "/recipe.lua", recipe)
      assert.same({ "", 0 }, { shell(nslua .. " check recipe.lua") }, recipe)
      local ours, own_status = shell(nslua .. " run recipe.lua")
      assert.equal(theirs, ours, recipe)
      assert.equal(status, own_status)
    end)
  end

  --- What is the caller's: variables, and namespaces.
  local function about(place, recipe)
    local outside = {}
    for kind in ("cgroup ipc net pid uts"):gmatch "%l+" do outside[kind] = sys.readlink("/proc/self/ns/" .. kind) end
    local same = { "directory" }
    if not recipe:find('inherit = { "hostname" }', 1, true) then same[2] = "name" end
    if not probe.is_root then table.move({ "id", "privilege" }, 1, 2, #same + 1, same) end -- root stays root there only
    recipe = recipe:gsub("%-%-[^\n]*", "")
    return {
      caller = caller.variables(place), outside = outside, same = same, recipe = recipe,
      has_os = recipe:find("fs.os()", 1, true) ~= nil, powers = probe.is_root and recipe:find "fs%.rw.*idmap = false" ~= nil,
    }
  end

  --- Whether Debian's bubblewrap has the options.
  local function has_options(text)
    local help = probe.shell "bwrap --help"
    for option in text:gmatch "%-%-%l[%w-]+" do
      if not help:find(option .. " ", 1, true) then return false end
    end
    return true
  end

  describe("of a project", function()
    local place
    setup(function()
      place = probe.directory()
      caller.prepare(place)
    end)
    teardown(function() probe.remove(place) end)

    for _, line in ipairs(lines) do
      it("prints what comes to the same: " .. line.project, function()
        local recipe, printed = caller.call(place, line, nslua .. " from-bwrap")
        assert.equal(0, printed, recipe)
        probe.write(place .. "/recipe.lua", recipe)
        local found, mistakes = shell(("%s check %s/recipe.lua"):format(nslua, place))
        assert.equal(0, mistakes, found)
        assert.falsy(found:find("put it behind", 1, true), found)
        local ours, status = caller.run(place, ("exec %s run %s/recipe.lua"):format(nslua, place))
        assert.equal(look.STATUS, status, ours)
        local comparable = has_bwrap and not line.leads_away and has_options(line.line)
        local tools = { nslua .. " bwrap", comparable and "/usr/bin/bwrap" or nil }
        for _, tool in ipairs(tools) do
          local theirs, their_status = caller.call(place, line, tool)
          assert.equal(look.STATUS, their_status, theirs)
          assert.same({}, look.differences(theirs, ours, about(place, recipe)), tool .. "\n" .. recipe)
        end
      end)
    end
  end)

  for _, case in ipairs(GOLDEN) do
    it("writes as a person would: " .. case[1], function()
      assert.equal(case[3], (shell(nslua .. " from-bwrap " .. case[2])))
    end)
  end

  for _, line in ipairs(lines) do
    local expected = PROJECTS[line.project]
    if expected then
      it("writes as a person would: " .. line.project, function()
        probe.write(directory .. "/bwrap", "#!/bin/sh\nexec " .. nslua .. ' from-bwrap "$@"\n', "755")
        probe.write(directory .. "/line", (line.given or "") .. "\n"
          .. line.line:gsub("\n%s*", " ") .. "\n")
        local recipe = shell(("cd /srv && env -i HOME=/home/me PATH=%s:$PATH bash %s/line make"):format(directory, directory))
        assert.equal(expected, (recipe:gsub("^.-\nreturn", "return")))
      end)
    end
  end

  it("prints what the documentation shows", function()
    local command, shown = probe.read "doc/files.md":match "```sh\nnslua (from%-bwrap.-) > [^`]*```\n```text\n(.-)```"
    assert.equal(shown, (shell(nslua .. " " .. command)))
  end)

  --- What is printed for these words besides comments, and what comes of running it.
  local function converted(options)
    local recipe, status = shell(nslua .. " from-bwrap " .. options)
    assert.equal(0, status, recipe)
    probe.write(directory .. "/recipe.lua", recipe)
    local output = shell(nslua .. " run recipe.lua")
    return recipe, output
  end

  local SYSTEM <const> = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 "
    .. "--proc /proc --dev /dev --unshare-all "

  it("leaves out what is covered, and keeps the order", function()
    local recipe, output = converted(SYSTEM .. "--ro-bind tree /tmp/tree --tmpfs /tmp ls /tmp")
    assert.falsy(recipe:find("/tmp/tree", 1, true), recipe)
    assert.equal("", output)
    recipe, output = converted(SYSTEM .. "--tmpfs /tmp --ro-bind tree /tmp/tree cat /tmp/tree/inner")
    assert.truthy(recipe:find("fs.os", 1, true))
    assert.equal("inner\n", output)
  end)

  it("keeps what is made read-only after all", function()
    local _, output = converted("--dev-bind / / --remount-ro / --bind tree /mnt sh -c 'echo > /var/tmp/nslua-spec-x'")
    assert.truthy(output:find("Read-only file system", 1, true), output)
    _, output = converted(SYSTEM .. "--dir /made --remount-ro / sh -c 'echo > /made/x'")
    assert.truthy(output:find("Read-only file system", 1, true), output)
  end)

  it("makes in a tree of the host what bubblewrap makes there", function()
    shell "mkdir -m 777 made; chmod 777 made"
    local _, output = converted("--ro-bind / / --bind made /mnt --dir /mnt/d --symlink d /mnt/l --file 7 /mnt/f ls /mnt 7<data")
    assert.equal("d\nf\nl\n", output)
    assert.equal("data\nd\n", (shell "cat made/f; readlink made/l"))
  end)

  it("lays out what has several lines, whatever it ends with", function()
    for _, content in ipairs { "\none\ntwo", "[one]\n[two]", "[[one]]\ntwo\n", "one\n\\two\"\n\n" } do
      probe.write(directory .. "/text", content)
      local _, output = converted "--ro-bind / / --tmpfs /mnt --file 7 /mnt/text cat /mnt/text 7<text"
      assert.equal(content, output)
    end
  end)

  it("keeps a filter, which comes upon the profile", function()
    shell(([[/usr/bin/python3 -c "import struct, sys; sys.stdout.buffer.write(b''.join(struct.pack('=HBBI', *line) for line in
      [(0x20, 0, 0, 0), (0x15, 0, 1, %d), (6, 0, 0, 0x5000c), (6, 0, 0, 0x7fff0000)]))" > filter]])
      :format(sys.syscall_number "mkdir"))
    local recipe, output = converted(SYSTEM .. "--tmpfs /tmp --seccomp 7 mkdir /tmp/x 7<filter")
    assert.truthy(recipe:find(('seccomp = { programs = { read "%s/filter" } }'):format(directory), 1, true), recipe)
    assert.truthy(output:find("Cannot allocate memory", 1, true), output)
  end)

  it("refuses what nslua bwrap does", function()
    assert.same({ "nslua: labeling not supported on this system\n", 125 }, { shell(nslua .. " from-bwrap --exec-label x true") })
    assert.same({ "nslua: Unknown option --nope\n", 125 }, { shell(nslua .. " from-bwrap --nope") })
    assert.same({ "nslua: from-bwrap: the command is missing\n", 125 }, { shell(nslua .. " from-bwrap --ro-bind / /") })
  end)

  it("says what a recipe takes from its program: namespaces that are open, ids that somebody maps", function()
    local told = shell(nslua .. " from-bwrap --userns 3 --userns2 4 --pidns 5 --ro-bind / / true")
    assert.matches("join namespaces that are open +namespaces = { user = …, pid = … }, user = { inner = … }\n", told)
    told = shell(nslua .. " from-bwrap --unshare-user --info-fd 4 --userns-block-fd 3 --ro-bind / / true")
    assert.matches("let somebody else map the ids +user = { map = function … }\n", told)
    assert.matches('nesting = "impossible"', (shell(nslua .. " from-bwrap --assert-userns-disabled --ro-bind / / true")))
  end)

  it("names the file where the content of a descriptor is no short text, and refuses what has no name", function()
    shell "printf '\\1\\2' > binary"
    local recipe = shell(nslua .. " from-bwrap --ro-bind / / --tmpfs /mnt --file 7 /mnt/x od -An -tx1 /mnt/x 7<binary")
    assert.truthy(recipe:find(('fs.file("/mnt/x", read "%s/binary")'):format(directory), 1, true), recipe)
    probe.write(directory .. "/recipe.lua", recipe)
    assert.equal(" 01 02\n", (shell(nslua .. " run recipe.lua")))
    local message, status = shell("printf '\\1' | " .. nslua .. " from-bwrap --file 0 /x true")
    assert.equal(125, status)
    assert.equal("nslua: what fd 0 gives is no short text: let it be a file that has a name\n", message)
  end)
end)
