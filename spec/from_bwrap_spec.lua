--- nslua from-bwrap: command lines that public projects document, as recipes. What is printed loads, has nothing wrong,
-- and shows the same inside as the command line itself.
local probe = require "probe"
local sys = require "nslua.sys"

--- Where each is from, its options (HERE is a directory with a file `data` and a directory `tree`; a word of the shell's may
--- be quoted), and what is looked at in both.
local LINES <const> = {
  { "bubblewrap's README", "--ro-bind /usr /usr --symlink usr/lib64 /lib64 --symlink usr/lib /lib --symlink usr/bin /bin "
    .. "--proc /proc --dev /dev --unshare-pid --new-session", "ls /usr; test $$ -lt 9 && echo own; echo > /dev/null" },
  { "bubblewrap's demo of a shell", "--ro-bind /usr /usr --dir /tmp --dir /var --symlink ../tmp var/tmp --proc /proc "
    .. "--dev /dev --ro-bind /etc/resolv.conf /etc/resolv.conf --symlink usr/lib /lib --symlink usr/lib64 /lib64 "
    .. "--symlink usr/bin /bin --symlink usr/sbin /sbin --chdir / --unshare-all --share-net --die-with-parent "
    .. "--dir /run/user/1234 --setenv XDG_RUNTIME_DIR /run/user/1234 --setenv PS1 'bwrap-demo$ ' "
    .. "--file 7 /etc/passwd --file 8 /etc/group 7<passwd 8<group",
    "pwd; echo $XDG_RUNTIME_DIR $PS1; cat /etc/passwd /etc/group; readlink /var/tmp /lib; readlink /proc/self/ns/net; "
    .. "test -w /tmp && ls -d /run/user/1234; cat /etc/resolv.conf" },
  { "the ArchWiki: a program without a network", "--ro-bind / / --dev /dev --unshare-net", "ls /; grep -c : /proc/net/dev" },
  { "the ArchWiki: a reader of documents", "--ro-bind /usr/bin /usr/bin --ro-bind /usr/share /usr/share --ro-bind /usr/lib "
    .. "/usr/lib --ro-bind /usr/lib64 /usr/lib64 --symlink /usr/lib /lib --symlink /usr/lib64 /lib64 --symlink /usr/bin /bin "
    .. "--proc /proc --dev /dev --ro-bind /etc/fonts /etc/fonts --tmpfs /run --ro-bind HERE/tree HERE/tree --unshare-all "
    .. "--new-session", "ls /usr /etc; cat HERE/tree/inner; touch HERE/tree/x || echo no" },
  { "the ArchWiki: a home of its own", "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink "
    .. "usr/bin /bin --symlink usr/sbin /sbin --proc /proc --dev /dev --tmpfs /tmp --tmpfs /run --bind HERE/tree /home/me "
    .. "--setenv HOME /home/me --chdir /home/me --unshare-all --share-net --hostname box",
    "pwd; echo $HOME; ls; uname -n; echo x > /tmp/x && cat /tmp/x; touch new && rm new && echo made" },
  { "opam's sandbox.sh: build", "--unshare-net --new-session --ro-bind /usr /usr --ro-bind-try /bin /bin --ro-bind-try /lib "
    .. "/lib --ro-bind-try /lib32 /lib32 --ro-bind-try /lib64 /lib64 --ro-bind-try /snap /snap --ro-bind-try /opt /opt "
    .. "--ro-bind-try /etc /etc --ro-bind-try /var /var --proc /proc --dev /dev --tmpfs /tmp --setenv TMPDIR /tmp "
    .. "--ro-bind HERE/tree HERE/tree --chdir HERE/tree", "pwd; echo $TMPDIR; cat inner; touch x || echo no; ls /etc; "
    .. "grep -c : /proc/net/dev" },
  { "opam's sandbox.sh: install", "--unshare-net --new-session --ro-bind /usr /usr --ro-bind /bin /bin --ro-bind /lib /lib "
    .. "--ro-bind /lib64 /lib64 --ro-bind /etc /etc --proc /proc --dev /dev --tmpfs /tmp --bind HERE/tree HERE/tree "
    .. "--chdir HERE/tree", "pwd; touch made && ls && rm made" },
  { "GNOME's thumbnailers", "--ro-bind /usr /usr --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --ro-bind-try "
    .. "/etc/alternatives /etc/alternatives --symlink /usr/bin /bin --symlink /usr/lib64 /lib64 --symlink /usr/lib /lib "
    .. "--symlink /usr/sbin /sbin --ro-bind-try /var/cache/fontconfig /var/cache/fontconfig --proc /proc --dev /dev --chdir / "
    .. "--setenv GIO_USE_VFS local --unshare-all --die-with-parent --bind HERE/tree /tmp --ro-bind HERE/data "
    .. "/tmp/gnome-desktop-file-to-thumbnail.pdf",
    "cat /tmp/gnome-desktop-file-to-thumbnail.pdf; echo $GIO_USE_VFS; pwd; ls /var/cache",
    made = "gnome-desktop-file-to-thumbnail.pdf" },
  { "mat2", "--ro-bind-try /usr /usr --ro-bind-try /lib /lib --ro-bind-try /lib64 /lib64 --ro-bind-try /bin /bin --ro-bind-try "
    .. "/sbin /sbin --ro-bind-try /etc/alternatives /etc/alternatives --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --dev "
    .. "/dev --proc /proc --chdir HERE --unshare-user-try --unshare-ipc --unshare-pid --unshare-net --unshare-uts "
    .. "--unshare-cgroup-try --new-session --cap-drop all --ro-bind HERE HERE",
    "pwd; cat data; grep CapEff /proc/self/status" },
  { "an agents' runtime: the host read-only, the project writable", "--new-session --die-with-parent --unshare-net --ro-bind "
    .. "/ / --bind HERE/tree HERE/tree --ro-bind HERE/tree/inner HERE/tree/inner --dev /dev --unshare-pid --proc /proc",
    "cd HERE/tree; touch made && rm made && echo made; echo > inner || echo no; test $$ -lt 9 && echo own; "
    .. "grep -c : /proc/net/dev" },
  { "an agents' runtime: a Python file of a user's", "--ro-bind /usr /usr --ro-bind /lib /lib --ro-bind /lib64 /lib64 "
    .. "--symlink usr/bin /bin --proc /proc --dev /dev --unshare-all --die-with-parent --new-session --ro-bind HERE/tree /app",
    "/usr/bin/python3 -c 'print(open(\"/app/inner\").read())'" },
  { "a fuzzer's wrapper", "--clearenv --unshare-all --share-net --new-session --ro-bind / / --dev /dev --mqueue /dev/mqueue "
    .. "--perms 1777 --tmpfs /dev/shm --proc /proc --tmpfs /run --ro-bind /sys /sys --setenv PATH /usr/bin:/bin",
    "ls /run; stat -c %a /dev/shm; stat -f -c %T /dev/mqueue; echo $HOME; ls -d /sys/kernel" },
  { "a print service's converters", "--ro-bind / / --tmpfs /home --tmpfs /run --tmpfs /tmp --bind HERE/tree HERE/tree --proc "
    .. "/proc --dev /dev --chdir / --unshare-pid --unshare-net", "ls /home /run /tmp; pwd; cat HERE/tree/inner" },
  { "a build of packages", "--unshare-user --uid 0 --gid 0 --ro-bind / / --tmpfs /tmp --dev /dev --proc /proc --unshare-pid",
    "id -u; id -g; ls -A /tmp" },
  { "another user", "--unshare-user --uid 65534 --gid 65534 --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 "
    .. "/lib64 --symlink usr/bin /bin --dev /dev --proc /proc --unshare-all", "id -u; id -g" },
  { "flatpak's helpers", "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin --proc "
    .. "/proc --dev /dev --tmpfs /tmp --ro-bind-data 7 /etc/config --perms 0700 --dir /run/user/7 --remount-ro / --unshare-all "
    .. "7<data", "cat /etc/config; echo > /etc/config || echo no; stat -c %a /run/user/7; touch /x || echo no" },
  { "a desktop's launcher", "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin "
    .. "--proc /proc --dev /dev --dev-bind-try /dev/dri /dev/dri --tmpfs /tmp --ro-bind-try /nope/X11 /tmp/.X11-unix "
    .. "--unsetenv LANG --unshare-all --share-net", "ls /tmp; echo $LANG; readlink /proc/self/ns/net" },
  { "a layered tree", "--ro-bind / / --tmpfs /mnt --overlay-src HERE/tree --tmp-overlay /mnt/tree --dev /dev --proc /proc "
    .. "--unshare-pid", "ls /mnt/tree; echo x > /mnt/tree/new && cat /mnt/tree/new" },
  { "the whole host, with processes of its own", "--dev-bind / / --unshare-pid --proc /proc --die-with-parent",
    "ls /; test $$ -lt 9 && echo own; pwd" },
  { "the caller's processes", "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin "
    .. "--proc /proc --dev /dev --ro-bind HERE/tree /src --chdir /src", "pwd; cat inner; readlink /proc/self/ns/pid" },
}

local GOLDEN <const> = {
  { "the system, a project and the network", "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --proc /proc "
    .. "--dev /dev --tmpfs /tmp --bind /srv /src --ro-bind /opt /opt --unshare-all --share-net --die-with-parent "
    .. "--new-session --setenv CC clang --chdir /src -- make -j4", [[
-- Besides, bubblewrap would
--   pass the whole environment                 env = { inherit = "all" }
--   pass open descriptors                      fds = { … } of a run
--   keep root root, and supplementary groups   namespaces = { user = false }, inherit = { "groups" }
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

  for _, line in ipairs(LINES) do
    it("prints what comes to the same: " .. line[1], function()
      if line.made then probe.write(directory .. "/tree/" .. line.made, "") end
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

  for _, case in ipairs(GOLDEN) do
    it("writes as a person would: " .. case[1], function()
      assert.equal(case[3], (shell(nslua .. " from-bwrap " .. case[2])))
    end)
  end

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

  it("keeps the order where that says what is seen", function()
    local recipe, output = converted(SYSTEM .. "--ro-bind tree /tmp/tree --tmpfs /tmp ls /tmp")
    assert.falsy(recipe:find("fs.os", 1, true))
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

  it("keeps a filter, which comes upon the profile", function()
    shell(([[/usr/bin/python3 -c "import struct, sys; sys.stdout.buffer.write(b''.join(struct.pack('=HBBI', *line) for line in
      [(0x20, 0, 0, 0), (0x15, 0, 1, %d), (6, 0, 0, 0x5000c), (6, 0, 0, 0x7fff0000)]))" > filter]])
      :format(sys.syscall_number "mkdir"))
    local recipe, output = converted(SYSTEM .. "--tmpfs /tmp --seccomp 7 mkdir /tmp/x 7<filter")
    assert.truthy(recipe:find(('seccomp = { programs = { read "%s/filter" } }'):format(directory), 1, true), recipe)
    assert.truthy(output:find("Cannot allocate memory", 1, true), output)
  end)

  it("refuses what nslua bwrap does", function()
    assert.same({ "nslua: --userns is not supported yet\n", 125 }, { shell(nslua .. " from-bwrap --userns 3 true") })
    assert.same({ "nslua: Unknown option --nope\n", 125 }, { shell(nslua .. " from-bwrap --nope") })
    assert.same({ "nslua: from-bwrap: the command is missing\n", 125 }, { shell(nslua .. " from-bwrap --ro-bind / /") })
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
