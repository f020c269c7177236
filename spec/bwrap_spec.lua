-- luacheck: no max line length
--- nslua bwrap against bubblewrap itself: the same words under both, and what is seen from inside, the messages and the
--- status have to be the same.
local probe = require "probe"
local sys = require "nslua.sys"

local has_bwrap = os.execute "bwrap --version >/dev/null 2>&1"

--- The system's programs, as short as they go.
local OS <const> = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64"

--- What each does, and the shell's words for it: BWRAP is the program, OS the arguments above. The working directory has
--- a file `data` and a directory `tree` with a file `inner`.
local CASES <const> = {
  -- the command line
  { "an unknown option", "BWRAP --nope true" },
  { "one with a single dash", "BWRAP -x true" },
  { "a missing operand", "BWRAP --proc" },
  { "two missing operands", "BWRAP --bind /usr" },
  { "a missing directory", "BWRAP --chdir" },
  { "a missing target of --remount-ro", "BWRAP --remount-ro" },
  { "a missing value", "BWRAP --setenv A" },
  { "a bad uid", "BWRAP --uid x true; BWRAP --uid -1 true; BWRAP --uid 4294967295 true; BWRAP --gid '' true" },
  { "a bad fd", "BWRAP --args x; BWRAP --file -3 /x true; BWRAP --info-fd 1x true" },
  { "fds that are not open", "BWRAP --args 77; BWRAP OS --file 77 /x true; BWRAP OS --seccomp 77 true" },
  { "bad permissions", "BWRAP --perms 999 --dir /x true; BWRAP --perms 17777 true; BWRAP --chmod z /usr true" },
  { "permissions for what makes nothing", "BWRAP OS --perms 700 --bind /usr /x true; BWRAP OS --perms 700 --setenv A b true" },
  { "permissions given twice", "BWRAP --perms 700 --perms 711 --dir /x true" },
  { "permissions at the end", "BWRAP OS --perms 700 true" },
  { "a bad size", "BWRAP --size x --tmpfs /x true; BWRAP --size 0 --tmpfs /x true; BWRAP --size 1 --size 1 true" },
  { "a size for what has none", "BWRAP OS --size 4096 --dir /x true" },
  { "a bad capability", "BWRAP --cap-add foo true; BWRAP --cap-drop net_raw true" },
  { "a bad variable", "BWRAP --setenv A=b c true; BWRAP --unsetenv '' true" },
  { "ids without a user namespace", root = true, "BWRAP OS --uid 3 true; BWRAP OS --gid 3 true" },
  { "a host name without a namespace", "BWRAP OS --hostname a true" },
  { "--as-pid-1 without a namespace", "BWRAP OS --as-pid-1 true" },
  { "--disable-userns without a namespace", root = true, "BWRAP OS --disable-userns true" },
  { "both kinds of filters", "BWRAP OS --seccomp 7 --add-seccomp-fd 7 true 7</dev/null; "
    .. "BWRAP OS --add-seccomp-fd 7 --seccomp 7 true 7</dev/null" },
  { "half an instruction", "printf 1234 > half; BWRAP OS --add-seccomp-fd 7 true 7<half" },
  { "operands before what is in front of them", "BWRAP --perms 700 --bind; BWRAP --size 1 --bind /usr" },
  { "options of which the last holds", "BWRAP OS --chdir /usr --chdir /usr/lib pwd; BWRAP OS --unshare-user --uid 3 --uid 4 --gid 5 --gid 6 id; "
    .. "BWRAP OS --unshare-uts --hostname a --hostname b uname -n; BWRAP OS --info-fd 7 --info-fd 8 true 7>i7 8>i8; wc -l < i7; "
    .. "BWRAP OS --json-status-fd 7 --json-status-fd 8 true 7>i7 8>i8; wc -l i7 i8; BWRAP OS --block-fd 7 --block-fd 8 true 7<data 8<data; "
    .. "BWRAP OS --seccomp 77 --seccomp 7 true 7</dev/null" },
  { "numbers as strtol(3) reads them", "BWRAP OS --perms ' +0711' --dir /d stat -c %a /d; BWRAP OS --size 0x2000 --tmpfs /x stat -f -c %b /x; "
    .. "BWRAP OS --size 010000 --tmpfs /x stat -f -c %b /x; BWRAP --size 0x0 --tmpfs /x true; BWRAP --size 9999999999999999999 --tmpfs /x true; "
    .. "BWRAP OS --chdir / --args ' 7' 7</dev/null true" },
  { "the names and operands of the help", "BWRAP --help | grep -oE '^    --[a-z0-9-]+( [A-Z]+)*' | sed 's/ [A-Z]\\+/ X/g' | sort "
    .. "| grep -vE -- '--(argv0|level-prefix|not-a-|.*overlay)'; BWRAP --version | cut -d. -f1" },
  { "the end of the options", "BWRAP OS -- echo --bind" },
  { "what comes behind the command", "BWRAP OS echo --nope -- x" },
  { "arguments from a file", "printf -- '--setenv\\0A\\0x y\\0--chdir\\0/usr\\0' > words; "
    .. "BWRAP OS --args 7 sh -c 'echo $A; pwd' 7<words" },
  { "arguments from two files, in order", "printf -- '--setenv\\0A\\0one' > w1; printf -- '--setenv\\0A\\0two\\0' > w2; "
    .. "BWRAP OS --args 7 --args 8 sh -c 'echo $A' 7<w1 8<w2; BWRAP OS --args 8 --args 7 sh -c 'echo $A' 7<w1 8<w2" },
  { "too many arguments", "yes x | head -n 9001 | tr '\\n' '\\0' > many; BWRAP --args 7 true 7<many" },
  { "many arguments in several files", "/usr/bin/python3 -c \"print('--setenv\\0A\\0x\\0' * 1490, end='')\" > many; "
    .. "BWRAP OS --args 7 --args 8 sh -c 'echo $A' 7<many 8<many; BWRAP OS --args 7 --args 8 --args 9 true 7<many 8<many 9<many; rm many" },
  { "arguments in arguments", "printf -- '--args\\0008\\0' > nested; BWRAP --args 7 true 7<nested" },
  -- the end
  { "the status", "BWRAP OS sh -c 'exit 3'" },
  { "a signal", "BWRAP OS sh -c 'kill -9 $$'; echo $?" },
  { "no such command", "BWRAP OS /usr/none; BWRAP OS none" },
  { "a command that cannot be executed", "BWRAP OS --ro-bind data /data /data" },
  { "a script without a first line", "printf 'echo $0 $1 $#\\n' > script; chmod 755 script; BWRAP --ro-bind / / ./script a b; "
    .. "PATH=$PWD:$PATH BWRAP --ro-bind / / script a; rm script" },
  { "/proc/self/exe", "BWRAP --ro-bind / / --unshare-pid --dev /dev --proc /proc /proc/self/exe --ro-bind / / sh -c 'echo nested; exit 3'" },
  -- what is inherited
  { "the environment", "A='x y' B= env -u LANG BWRAP OS env | sort" },
  { "an empty environment", "env -i BWRAP_PATH OS env" },
  { "changes of the environment", "A=1 B=2 BWRAP OS --setenv C 3 --unsetenv A --setenv B 4 --unsetenv C env | sort" },
  { "clearing it in between", "BWRAP OS --setenv A 1 --clearenv --setenv B 2 env | sort" },
  { "a command that is looked for in PATH", "BWRAP OS --setenv PATH /usr/lib:/usr/bin true; "
    .. "BWRAP OS --setenv PATH /usr/lib true; BWRAP OS --clearenv true" },
  { "descriptors", "echo text > file; BWRAP OS sh -c 'cat <&5; cat <&9' 5<file 9<file" },
  { "descriptors with high numbers", "echo one > f1; echo two > f2; echo three > f3; bash -c \"exec 70<f1 65<f2 4<f3; "
    .. "BWRAP OS bash -c 'cat <&70; cat <&65; cat <&4'\"" },
  { "descriptors with the numbers around 64", "echo one > f1; echo two > f2; echo three > f3; bash -c \"exec 64<f1 63<f2 65<f3; "
    .. "BWRAP OS bash -c 'cat <&64; cat <&63; cat <&65'; BWRAP OS none\"" },
  { "a descriptor of a directory", "/usr/bin/python3 -c \"import os; fd = os.open('tree', os.O_RDONLY); os.dup2(fd, 20); "
    .. "os.execvp('sh', ['sh', '-c', 'BWRAP --ro-bind / / ls /proc/self/fd/20/'])\"" },
  { "standard input", "echo in | BWRAP OS cat" },
  { "standard output without input", "BWRAP OS sh -c 'echo out; read line; echo $?' <&- 2>/dev/null" },
  { "a long word", "BWRAP OS sh -c \"echo 'LONG' | wc -c\"" },
  { "standard error", "BWRAP OS sh -c 'echo out; echo err >&2' 2>&1 >/dev/null" },
  { "the umask", "umask 027; BWRAP OS sh -c umask" },
  { "limits", "ulimit -c 5; ulimit -n 300; BWRAP OS sh -c 'ulimit -c; ulimit -n; ulimit -l'" },
  { "ignored signals", "trap '' HUP USR1; BWRAP --ro-bind / / sh -c 'grep -E SigIgn /proc/self/status'" },
  { "the session", "BWRAP --ro-bind / / /usr/bin/python3 -c 'import os; print(os.getsid(0) == os.getsid(os.getppid()), "
    .. "os.getpgid(0) == os.getpgid(os.getppid()))'" },
  { "a session of its own", "BWRAP --ro-bind / / --new-session /usr/bin/python3 -c 'import os; print(os.getsid(0) == " ..
    tostring(sys.getpid()) .. ")'" },
  { "the working directory", "BWRAP --ro-bind / / sh -c 'pwd; echo $PWD'" },
  { "HOME where that is not there", "HOME=/usr BWRAP OS sh -c 'pwd; echo $PWD'; BWRAP OS --setenv HOME /usr/lib sh -c pwd" },
  { "the root where HOME is not there", "HOME=/nope BWRAP OS sh -c 'pwd; echo $PWD'; BWRAP OS --unsetenv HOME pwd" },
  { "a link to the working directory", "ln -sfn tree link; cd link; BWRAP --ro-bind / / sh -c 'basename $PWD'" },
  { "another working directory", "BWRAP OS --chdir /usr/lib sh -c 'pwd; echo $PWD'; BWRAP OS --chdir usr/lib sh -c pwd" },
  { "one that is not there", "BWRAP OS --chdir /nope true" },
  { "one that goes up again", "BWRAP OS --chdir /usr/lib/.. sh -c 'pwd -P; echo $PWD'; BWRAP OS --chdir ../../usr pwd" },
  -- identity
  { "who it is", "BWRAP --ro-bind / / sh -c 'id -u; id -g; id -G; cat /proc/self/uid_map'" },
  { "other ids", "BWRAP --ro-bind / / --unshare-user --uid 12 --gid 13 sh -c 'id -u; id -g; id -G; cat /proc/self/uid_map'" },
  { "root", "BWRAP --ro-bind / / --unshare-user --uid 0 --gid 0 sh -c 'id -u; id -g; cat /proc/self/gid_map'" },
  { "no new privileges", "BWRAP --ro-bind / / grep -E 'NoNewPrivs|Seccomp:' /proc/self/status" },
  { "capabilities", "BWRAP --ro-bind / / grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status" },
  { "capabilities in a user namespace", "BWRAP --ro-bind / / --unshare-user grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status" },
  { "capabilities of another uid", "BWRAP --ro-bind / / --unshare-user --uid 9 grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status" },
  { "given capabilities", "BWRAP --ro-bind / / --unshare-user --uid 9 --cap-drop all --cap-add CAP_NET_RAW "
    .. "--cap-add cap_chown --cap-drop cap_chown grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status" },
  { "capabilities by number, all but one, and none", "BWRAP --ro-bind / / --unshare-user --uid 9 --cap-add 13 --cap-add Cap_Chown "
    .. "grep CapPrm /proc/self/status; BWRAP --ro-bind / / --unshare-user --uid 9 --cap-add all --cap-drop CAP_NET_RAW grep CapPrm "
    .. "/proc/self/status; BWRAP OS --cap-add 99 true; BWRAP OS --cap-add cap_99 true" },
  { "no capabilities", "BWRAP --ro-bind / / --cap-drop ALL grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status" },
  { "a uid that is given up", root = true, "BWRAP --ro-bind / / setpriv --reuid 9 --regid 9 --clear-groups "
    .. "grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status" },
  -- namespaces
  { "which namespaces are new", "BWRAP --ro-bind / / sh -c 'cd /proc/self/ns; for n in *; do readlink $n; done' > in; "
    .. "for n in /proc/self/ns/*; do readlink $n; done | sort - in | uniq -c | sed 's/:.*//'" },
  { "which are with --unshare-all", "BWRAP --unshare-all --ro-bind / / sh -c 'cd /proc/self/ns; for n in *; do readlink $n; "
    .. "done' > in; for n in /proc/self/ns/*; do readlink $n; done | sort - in | uniq -c | sed 's/:.*//'" },
  { "which are with --unshare-cgroup and those to be tried", "BWRAP --unshare-cgroup --unshare-ipc --ro-bind / / sh -c 'cd /proc/self/ns; "
    .. "for n in *; do readlink $n; done' > in; for n in /proc/self/ns/*; do readlink $n; done | sort - in | uniq -c | sed 's/:.*//'; "
    .. "BWRAP --unshare-cgroup-try --unshare-user-try --ro-bind / / sh -c 'cd /proc/self/ns; for n in *; do readlink $n; done' > in; "
    .. "for n in /proc/self/ns/*; do readlink $n; done | sort - in | uniq -c | sed 's/:.*//'" },
  { "the network", "BWRAP --unshare-net --ro-bind / / grep -c : /proc/net/dev; "
    .. "BWRAP --unshare-all --share-net --ro-bind / / readlink /proc/self/ns/net" },
  { "a loopback interface", "BWRAP --ro-bind / / --unshare-net /usr/bin/python3 -c 'import socket; "
    .. "s = socket.create_server((\"127.0.0.1\", 0)); print(socket.create_connection(s.getsockname()) is not None)'" },
  { "the host name", "BWRAP --unshare-uts --ro-bind / / uname -n; BWRAP --unshare-uts --hostname inside --ro-bind / / uname -n" },
  { "PID 1", "BWRAP OS --unshare-pid sh -c 'echo $$'; BWRAP OS --unshare-pid --as-pid-1 sh -c 'echo $$'" },
  { "the processes", "BWRAP --ro-bind / / --unshare-pid --proc /proc sh -c 'echo /proc/[0-9]*'" },
  { "nested user namespaces", "BWRAP --ro-bind / / --unshare-user unshare -U echo nested" },
  { "none", "BWRAP --ro-bind / / --unshare-user --uid 5 --disable-userns --assert-userns-disabled "
    .. "unshare -U true 2>/dev/null || echo refused" },
  { "a user namespace that cannot be joined", "BWRAP --userns 77 OS true; BWRAP --userns 7 OS true 7</proc/self/ns/user; "
    .. "BWRAP --userns 7 OS true 7<data; BWRAP --userns 7 OS true 7</proc/self/ns/net; BWRAP --userns x OS true" },
  { "one that does not go with a new one", "exec 7</proc/self/ns/user; BWRAP --userns 7 --unshare-user OS true; "
    .. "BWRAP --userns 7 --unshare-user-try OS true; BWRAP --userns 7 --unshare-all OS true; "
    .. "BWRAP --userns 7 --disable-userns OS true" },
  { "a joined user namespace", "unshare -U --map-current-user sleep 9 & sleep 0.3; BWRAP --userns 7 --ro-bind / / sh -c 'id -u; "
    .. "id -g; readlink /proc/self/ns/user; grep -E \"Cap(Prm|Eff|Amb)\" /proc/self/status' 7</proc/$!/ns/user > in; "
    .. "[ $(readlink /proc/$!/ns/user) = $(grep user in) ] && grep -v user in; kill $!" },
  { "a joined one in which we are root", "unshare -Ur sleep 9 & sleep 0.3; BWRAP --userns 7 --unshare-pid --unshare-net "
    .. "--unshare-ipc --ro-bind / / --proc /proc --tmpfs /mnt bash -c 'id -u; id -g; echo $$; "
    .. "cat /proc/self/uid_map; exit 3' 7</proc/$!/ns/user; s=$?; kill $!; (exit $s)" },
  { "ids in a joined one", "unshare -U --map-current-user sleep 9 & sleep 0.3; BWRAP --userns 7 --uid 5 OS true "
    .. "7</proc/$!/ns/user; BWRAP --userns 7 --gid 5 OS true 7</proc/$!/ns/user; kill $!" },
  { "one that is joined at the end", "unshare -Ur sleep 9 & a=$!; sleep 0.3; nsenter -t $a -U --preserve-credentials unshare -Ur "
    .. "sleep 9 & b=$!; sleep 0.4; BWRAP --userns 7 --userns2 8 --ro-bind / / sh -c 'id -u; cat /proc/self/uid_map; readlink "
    .. "/proc/self/ns/user' 7</proc/$a/ns/user 8</proc/$b/ns/user > in; grep -v user in; "
    .. "[ $(readlink /proc/$b/ns/user) = $(grep user in) ]; s=$?; kill $a $b; (exit $s)" },
  { "a joined PID namespace, and one below it", "unshare -Urpf --kill-child sleep 9 & sleep 0.4; "
    .. "c=$(cat /proc/$!/task/$!/children); exec 7</proc/$!/ns/user 8</proc/${c% }/ns/pid; "
    .. "BWRAP --userns 7 --pidns 8 --ro-bind / / --proc /proc cat /proc/1/comm; BWRAP --userns 7 --pidns 8 --unshare-pid "
    .. "--ro-bind / / --proc /proc sh -c 'echo $$; echo $PPID'; kill $!" },
  { "ids that somebody else maps", "mkfifo go; BWRAP --ro-bind / / --unshare-all --unshare-user --uid 5 --gid 6 --info-fd 7 "
    .. "--userns-block-fd 8 sh -c 'id -u; id -g; cat /proc/self/uid_map; exit 3' 7>info 8<>go & sleep 0.5; "
    .. "grep -oE '\"[a-z-]+\"' info; pid=$(grep -oE '[0-9]+' info | head -1); echo deny > /proc/$pid/setgroups; "
    .. "echo \"6 $(id -g) 1\" > /proc/$pid/gid_map; echo \"5 $(id -u) 1\" > /proc/$pid/uid_map; echo > go; wait $!; s=$?; rm go; "
    .. "(exit $s)" },
  { "the wait for them without what it needs", "BWRAP OS --userns-block-fd 7 true 7<data; BWRAP OS --unshare-user "
    .. "--userns-block-fd 7 true 7<data" },
  { "none, with capabilities that could raise the limit", "BWRAP --ro-bind / / --unshare-user --unshare-pid --proc /proc --cap-add ALL "
    .. "--disable-userns sh -c 'echo 9 > /proc/sys/user/max_user_namespaces; unshare -U true; grep CapEff /proc/self/status' 2>&1" },
  { "labels", "BWRAP --exec-label x OS true; BWRAP OS --file-label x true; BWRAP --exec-label; BWRAP --file-label" },
  { "that there are none", "BWRAP OS --assert-userns-disabled true; BWRAP OS --unshare-all --assert-userns-disabled true; "
    .. "unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; BWRAP OS --assert-userns-disabled echo none'" },
  -- files
  { "the root", "BWRAP OS ls -la --time-style=+ / | tail -n +2" },
  { "writing to the root", "BWRAP OS sh -c 'echo x > /new && cat /new; mkdir /a && ls -d /a'" },
  { "a root that is read-only", "BWRAP OS --remount-ro / sh -c 'echo x > /new'" },
  { "a shared directory", "BWRAP OS --bind tree /t sh -c 'cat /t/inner; echo y > /t/made'; cat tree/made; rm tree/made" },
  { "a read-only one", "BWRAP OS --ro-bind tree /t sh -c 'cat /t/inner; echo y > /t/made'" },
  { "a shared file", "BWRAP OS --bind data /a/b sh -c 'cat /a/b; ls -ld --time-style=+ /a'" },
  { "relative destinations", "BWRAP OS --ro-bind tree t --dir d/e sh -c 'ls -d /t/inner /d/e'" },
  { "destinations with dots", "BWRAP OS --dir /a --ro-bind tree /a/../t/./u cat /t/u/inner" },
  { "a source that is missing", "BWRAP OS --bind /nope /x true; BWRAP OS --ro-bind nope /x true" },
  { "one that may be missing", "BWRAP OS --bind-try /nope /x --ro-bind-try nope /y --dev-bind-try nope /z ls /" },
  { "a source that is open", "BWRAP OS --bind-fd 7 /t cat /t/inner 7<tree; BWRAP OS --ro-bind-fd 7 /d sh -c 'cat /d; "
    .. "echo > /d; ls /proc/self/fd/7 2>/dev/null' 7<data" },
  { "a device", "BWRAP OS --dev-bind /dev/null /n sh -c 'echo x > /n && cat /n'" },
  { "a device that is no device", "BWRAP OS --bind /dev/zero /z head -c 1 /z" },
  { "binds over one another", "BWRAP OS --tmpfs /t --bind tree /t --dir /t/sub --tmpfs /t/sub ls -a /t /t/sub; rmdir tree/sub" },
  { "the same again", "BWRAP OS --bind tree /t --ro-bind tree /t sh -c 'echo > /t/x'" },
  { "a root over another", "BWRAP --tmpfs /x --ro-bind / / --tmpfs /mnt sh -c 'ls -a /mnt; ls -d /x'" },
  { "a mount point in a shared tree", "BWRAP OS --bind tree /t --tmpfs /t/new ls -a /t; rmdir tree/new" },
  { "one that cannot be made", "BWRAP --ro-bind / / --tmpfs /nope true; BWRAP --ro-bind / / --bind tree /proc/nope true; "
    .. "BWRAP --ro-bind / / --bind data /proc/nope true" },
  { "mount options", "BWRAP OS --unshare-pid --bind tree /t --ro-bind tree /r --dev-bind tree /d --tmpfs /m --proc /proc "
    .. "--remount-ro /m cut -d' ' -f5,6 /proc/self/mountinfo | sort" },
  { "a tmpfs", "BWRAP OS --perms 0711 --tmpfs /a/b --size 1048576 --tmpfs /c sh -c 'ls -ld --time-style=+ /a /a/b /c; "
    .. "cat /usr/bin/bash /usr/bin/bash > /c/x; stat -c %s /c/x'" },
  { "directories", "BWRAP OS --dir /a/b --perms 0700 --dir /c/d --perms 01750 --dir /e/f --dir /usr --dir / --dir /a "
    .. "sh -c 'stat -c \"%n %a\" /a /a/b /c /c/d /e /e/f'" },
  { "a directory that is a file", "BWRAP OS --ro-bind data /d --dir /d true" },
  { "files from descriptors", "BWRAP OS --file 7 /a/f --bind-data 8 /b/f --perms 0440 --ro-bind-data 9 /c/f sh -c 'cat /a/f "
    .. "/b/f /c/f; stat -c \"%n %a\" /a /b /c /a/f /b/f /c/f; echo > /c/f; echo new > /b/f; cat /b/f' 7<data 8<data 9<data" },
  { "executing such files", "printf '#!/bin/sh\\necho ran $0\\n' > script; BWRAP OS --perms 0755 --file 7 /a "
    .. "--perms 0755 --bind-data 8 /b --perms 0755 --ro-bind-data 9 /c sh -c '/a; /b; /c' 7<script 8<script 9<script" },
  { "data over a file", "BWRAP OS --ro-bind tree /t --ro-bind-data 7 /t/inner cat /t/inner 7<data" },
  { "modes of what is made on the way and mounted on", "BWRAP OS --bind tree /t --ro-bind data /t/p/f --perms 0700 --tmpfs /t/q/d "
    .. "--perms 0440 --file 7 /t/r/f --perms 0604 --ro-bind-data 8 /t/s/f --dir /t/u/d --proc /t/v/proc true 7<data 8<data; cd tree; "
    .. "stat -c '%n %a' p p/f q q/d r r/f s s/f u u/d v v/proc; rm -r p q r s u v" },
  { "a file over another", "BWRAP OS --file 7 /f --file 8 /f --perms 0711 --file 9 /f sh -c 'cat /f; stat -c %a /f' 7<data 8</dev/null 9<data; "
    .. "BWRAP OS --bind tree /t --file 7 /t/inner true 7<data; cat tree/inner; echo inner > tree/inner; BWRAP OS --ro-bind data /d --file 7 /d true 7<data; "
    .. "BWRAP OS --bind tree /t --file 7 /t true 7<data" },
  { "a file in a shared tree", "BWRAP OS --bind tree /t --file 7 /t/copied true 7<data; cat tree/copied; rm tree/copied" },
  { "a file that cannot be made", "BWRAP --ro-bind / / --file 7 /nope true 7<data" },
  { "descriptors that are used up", "BWRAP OS --file 7 /f ls /proc/self/fd/7 7<data 2>/dev/null; echo $?" },
  { "links", "BWRAP OS --symlink /usr/x /a/l --symlink b /c readlink /a/l /c" },
  { "what cannot be made behind a link of its own", "BWRAP OS --dir /bin/x true; BWRAP OS --ro-bind data /bin/x true; BWRAP OS --symlink a /bin/x true; "
    .. "BWRAP OS --tmpfs /bin/x/y true" },
  { "what lies behind a link of its own", "BWRAP OS --dir /real --symlink real /link --tmpfs /link/t ls -d /real/t" },
  { "links of a shared tree on the way", "ln -s inner tree/file; mkdir -p tree/real; ln -s real tree/rel; "
    .. "BWRAP OS --bind tree /t --tmpfs /t/rel/m --dir /t/rel/a/b --file 7 /t/rel/a/f sh -c 'ls -dF /t/real/* /t/real/a/*' 7<data; "
    .. "BWRAP OS --bind tree /t --symlink x /t/rel/l --chmod 0711 /t/rel/a readlink /t/real/l; stat -c %a tree/real/a; "
    .. "rm -r tree/real tree/rel tree/file" },
  { "parents that cannot be made", "BWRAP --ro-bind / / --tmpfs /nope/x true; BWRAP --ro-bind / / --file 7 /nope/x true 7<data; "
    .. "BWRAP --ro-bind / / --symlink a /nope/x true; BWRAP OS --ro-bind data /d --dir /d/x true" },
  { "a directory on a file, and the reverse", "BWRAP OS --dir /a --ro-bind data /a true; BWRAP OS --ro-bind data /a --tmpfs /a true; "
    .. "BWRAP OS --dir /a --ro-bind-data 7 /a true 7<data" },
  { "changed permissions", "BWRAP OS --dir /d --chmod 0710 /d --file 7 /f --chmod 0600 /f stat -c %a /d /f 7<data" },
  { "changed permissions of nothing", "BWRAP OS --chmod 0700 /nope true" },
  { "read-only after all", "BWRAP OS --bind tree /t --remount-ro /t sh -c 'echo > /t/x'" },
  { "/proc", "BWRAP OS --unshare-pid --proc /proc sh -c 'ls -d /proc/1 /proc/sys/kernel; cat /proc/self/comm; "
    .. "wc -c < /proc/version; ls /proc | grep -c kcore; stat -c %a /proc'" },
  { "/proc of the caller's processes", "BWRAP OS --proc /p sh -c 'ls -d /p/1; grep / /p/self/mountinfo | cut -d\" \" -f4-6 "
    .. "| grep /p'" },
  { "what root must not change there", root = true, "BWRAP OS --unshare-pid --proc /proc grep /proc/ /proc/self/mountinfo "
    .. "| sed 's/.* \\(\\/proc[^ ]* [^ ]*\\) .*/\\1/'" },
  { "/dev", "BWRAP OS --dev /dev sh -c 'ls -lA --time-style=+ /dev; ls -ld --time-style=+ /dev' | tail -n +2 "
    .. "| grep -v pts$" }, -- which is nobody's here: no second user namespace is made for it
  { "writing to /dev", "BWRAP OS --dev /dev sh -c 'echo x > /dev/null; echo y > /dev/shm/y; mkdir /dev/z; "
    .. "ls -d /dev/z /dev/shm/*'" },
  { "/dev on the host's root", "BWRAP --ro-bind / / --dev /dev sh -c 'ls /dev; mkdir /dev/z && ls -d /dev/z'" },
  { "/dev that is read-only", "BWRAP OS --dev /dev --remount-ro /dev sh -c 'mkdir /dev/z; echo x > /dev/null && echo yes'" },
  { "a new terminal", "BWRAP OS --dev /dev /usr/bin/python3 -c 'import os; print(os.ttyname(os.openpty()[1]))'" },
  { "message queues", "BWRAP OS --unshare-ipc --mqueue /q stat -f -c %T /q" },
  -- how long it goes on
  { "what the command leaves running", "BWRAP --dev-bind / / --unshare-pid sh -c 'sleep 0.4 && echo later > left & exit 3'; "
    .. "echo $?; ls left 2>&1; sleep 1; cat left; rm left" },
  { "the same without PIDs of its own", "BWRAP --dev-bind / / sh -c 'sleep 0.4 && echo later > left & exit 3'; echo $?; "
    .. "ls left 2>&1; sleep 1; cat left; rm left" },
  { "the same with --die-with-parent", "BWRAP --dev-bind / / --unshare-pid --die-with-parent sh -c 'sleep 0.4 && "
    .. "echo later > left & exit 3'; echo $?; sleep 1; ls left 2>&1" },
  { "that nobody waits for it any more", "BWRAP --dev-bind / / sh -c 'sleep 0.4; echo later > left' & sleep 0.2; kill -9 $!; "
    .. "sleep 1; cat left; rm left" },
  { "the same with --die-with-parent", "BWRAP --dev-bind / / --die-with-parent sh -c 'sleep 0.4; echo later > left' & sleep 0.2; "
    .. "kill -9 $!; sleep 1; ls left 2>&1" },
  { "the parent's end", "sh -c 'BWRAP --dev-bind / / --die-with-parent sleep 7.8125 & sleep 0.6; kill -9 $$' 2>/dev/null; "
    .. "for i in 1 2 3 4 5 6 7 8; do sleep 0.1; pgrep -f '^sleep 7.8125' > /dev/null || break; done; [ $i = 8 ] && echo there || echo gone" },
  { "--sync-fd", "BWRAP OS --bind tree /t --dev /dev --unshare-pid --sync-fd 7 sh -c '{ exec 1>&-; sleep 0.5; echo x > /t/x; "
    .. "} & ls /proc/self/fd/7; exit 0' 7>&1 2>/dev/null | cat; cat tree/x; rm tree/x" },
  { "--sync-fd with --as-pid-1", "BWRAP OS --unshare-pid --as-pid-1 --sync-fd 7 sh -c 'echo there >&7' 7>&1 2>/dev/null" },
  { "--lock-file", "/usr/bin/python3 -c 'import fcntl, os, struct, sys, subprocess; name = \"data\"; "
    .. "subprocess.run(sys.argv[1:]); f = os.open(name, os.O_RDWR); lock = fcntl.fcntl(f, fcntl.F_GETLK, "
    .. "struct.pack(\"hhqqi4x\", fcntl.F_WRLCK, 0, 0, 0, 0)); print(struct.unpack(\"hhqqi4x\", lock)[0])' "
    .. "BWRAP OS --bind data /d --dev /dev --unshare-pid --lock-file /d sh -c 'sleep 0.5 & exit 0'" },
  { "a lock on nothing", "BWRAP OS --lock-file /nope true; BWRAP OS --unshare-pid --as-pid-1 --lock-file /usr true" },
  -- what others are told
  { "--info-fd", "BWRAP OS --unshare-pid --unshare-net --info-fd 7 true 7>info; sed 's/[0-9]\\+/N/' info" },
  { "--json-status-fd", "BWRAP OS --unshare-all --json-status-fd 7 sh -c 'exit 4' 7>status; "
    .. "sed 's/: [0-9]\\{2,\\}/: N/g' status" },
  { "the status of a failed command", "BWRAP OS --json-status-fd 7 none 7>status; sed 's/[0-9]\\+/N/g' status" },
  { "who the pid is", "BWRAP OS --info-fd 7 sleep 9 7>info & sleep 0.5; pid=$(grep -oE '[0-9]+' info | head -1); "
    .. "cat /proc/$pid/comm; kill $pid; wait" },
  { "who it is in a PID namespace", "BWRAP OS --unshare-pid --info-fd 7 sleep 9 7>info & sleep 0.5; "
    .. "pid=$(grep -oE '[0-9]+' info | head -1); child=$(cat /proc/$pid/task/$pid/children); cat /proc/${child% }/comm; "
    .. "kill -9 $pid; wait" },
  { "joining by the pid, before and after the start", "mkfifo go; BWRAP --ro-bind / / --unshare-all --unshare-user --proc /proc "
    .. "--info-fd 7 --block-fd 8 sleep 1 7>info 8<>go & sleep 0.4; pid=$(grep -oE '[0-9]+' info | head -1); "
    .. "join() { ls -d /proc/$pid/root/usr > /dev/null; echo $?; { readlink /proc/$pid/ns/net; nsenter -t $pid -U -n -i -p "
    .. "--preserve-credentials readlink /proc/self/ns/net; } | uniq | wc -l; }; join; echo > go; sleep 0.3; join; wait; rm go" },
  { "--block-fd", "mkfifo go; BWRAP OS --block-fd 7 echo later 7<>go & sleep 0.2; echo sooner; echo > go; wait; rm go" },
  { "what both say of namespaces", "BWRAP --ro-bind / / --unshare-all --proc /proc --info-fd 7 --json-status-fd 8 sh -c 'cd /proc/self/ns; "
    .. "for n in *; do readlink $n; done' 7>info 8>status >names; /usr/bin/python3 -c \"import json; names = open('names').read().split(); "
    .. "lines = open('status').read().splitlines(); info = json.load(open('info')); status = json.loads(lines[0]); "
    .. "print(len(lines), lines[1:], info['child-pid'] == status['child-pid']); [print(k, '%s:[%d]' % (k[:-10], info[k]) in names, "
    .. "info[k] == status[k]) for k in info if k != 'child-pid']\"" },
  { "a filter that is none", "printf '\\377\\377\\0\\0\\0\\0\\0\\0' > bad; BWRAP OS --seccomp 7 true 7<bad; BWRAP OS --add-seccomp-fd 7 true 7<bad; rm bad" },
  { "two filters", "for n in NUMBER OTHER; do /usr/bin/python3 -c \"import struct, sys; sys.stdout.buffer.write(b''.join(struct.pack('=HBBI', *line) "
    .. "for line in [(0x20, 0, 0, 0), (0x15, 0, 1, $n), (6, 0, 0, 0x5000c), (6, 0, 0, 0x7fff0000)]))\" > f-$n; done; "
    .. "BWRAP OS --dir /d --add-seccomp-fd 7 --add-seccomp-fd 8 sh -c 'mkdir /x; rmdir /d' 7<f-NUMBER 8<f-OTHER; "
    .. "BWRAP OS --dir /d --seccomp 7 --seccomp 8 sh -c 'mkdir /x; rmdir /d' 7<f-NUMBER 8<f-OTHER" },
  { "a filter", "/usr/bin/python3 -c \"import struct, sys; sys.stdout.buffer.write(b''.join(struct.pack('=HBBI', *line) "
    .. "for line in [(0x20, 0, 0, 0), (0x15, 0, 1, NUMBER), (6, 0, 0, 0x5000c), (6, 0, 0, 0x7fff0000)]))\" > filter; "
    .. "BWRAP OS --seccomp 7 mkdir /x 7<filter; BWRAP OS --add-seccomp-fd 7 mkdir /x 7<filter" },
}

--- What Debian's bubblewrap does not know yet, or this does not: the words, and what comes of them.
local NEWER <const> = {
  { "argv[0]", "BWRAP OS --argv0 other sh -c 'echo $0'", "other\nstatus 0" },
  { "argv[0] only once", "BWRAP OS --argv0 a --argv0 b true; BWRAP --argv0",
    "bwrap: --argv0 used multiple times\nbwrap: --argv0 takes one argument\nstatus 1" },
  { "a level before messages", "BWRAP --level-prefix --nope; BWRAP --level-prefix OS --chdir / --chdir /usr pwd; BWRAP OS --nope --level-prefix",
    "<3>bwrap: Unknown option --nope\n<4>bwrap: Only the last --chdir option will take effect\n/usr\nbwrap: Unknown option --nope\nstatus 1" },
  { "no empty paths", "BWRAP --bind '' /x true; BWRAP --ro-bind / '' true; BWRAP --tmpfs ''; BWRAP --symlink '' /x; BWRAP --chdir '' true; "
    .. "BWRAP --overlay-src '' true; BWRAP --chmod 0700 '' true; BWRAP --lock-file '' true",
    ("bwrap: %s does not take an empty path argument\n"):rep(8):format("--bind", "--ro-bind", "--tmpfs", "--symlink", "--chdir",
      "--overlay-src", "--chmod", "--lock-file") .. "status 1" },
  { "several --sync-fd, each held until the end and none the command's", "run() { BWRAP OS --bind tree /t --dev /dev --unshare-pid --sync-fd 7 "
    .. "--sync-fd 8 sh -c '{ exec 1>&- 2>&-; sleep 0.4; echo x > /t/x; } & ls /proc/self/fd/7 /proc/self/fd/8; exit 0' 2>/dev/null; }; "
    .. "run 7>&1 8>/dev/null | cat; cat tree/x; rm tree/x; run 8>&1 7>/dev/null | cat; cat tree/x; rm tree/x", "x\nx\nstatus 0" },
  { "that no step may fail", "BWRAP --not-a-security-boundary OS echo yes", "yes\nstatus 0" },
  { "a link that is there already", "BWRAP OS --symlink a /l --symlink a /l readlink /l; BWRAP OS --symlink a /l "
    .. "--symlink b /l true",
    "a\nbwrap: Can't make symlink at /l: existing destination is a\nstatus 1" },
  { "a link over something", "BWRAP OS --ro-bind data /d --symlink a /d true; ln -s elsewhere tree/l; "
    .. "BWRAP OS --ro-bind tree /t --symlink a /t/l true; BWRAP OS --ro-bind tree /t --symlink elsewhere /t/l true && echo same; rm tree/l",
    "bwrap: Can't make symlink at /d: destination exists and is not a symlink\n"
    .. "bwrap: Can't make symlink at /t/l: existing destination is elsewhere\nsame\nstatus 0" },
  { "links that lead out of a shared tree", "ln -s /out tree/absolute; ln -s ../../../../../../../out tree/up; "
    .. "BWRAP OS --dir /out --bind tree /t --dir /t/absolute/a --dir /t/up/b ls /out; rm tree/absolute tree/up; ls -d /out 2>&1",
    "a\nb\nls: cannot access '/out': No such file or directory\nstatus 2" },
  { "a link that is the destination itself", "ln -s /usr tree/l; BWRAP OS --bind tree /t --tmpfs /t/l true; "
    .. "BWRAP OS --bind tree /t --dir /t/l true; BWRAP OS --symlink a /l --bind data /l true; BWRAP OS --remount-ro /bin true; rm tree/l",
    "bwrap: Can't mount on symlink destination /t/l\nbwrap: Destination is not a directory /t/l\n"
    .. "bwrap: Can't mount on symlink destination /l\nbwrap: Can't mount on symlink destination /bin\nstatus 0" },
  { "links that cannot be followed", "ln -s loop tree/loop; ln -s nowhere tree/dangling; BWRAP OS --bind tree /t --tmpfs /t/loop/x true; "
    .. "BWRAP OS --bind tree /t --dir /t/dangling/x true; BWRAP --ro-bind / / --tmpfs /proc/self/root/x true; rm tree/loop tree/dangling",
    "bwrap: Can't mkdir parents for /t/loop/x: Too many levels of symbolic links\n"
    .. "bwrap: Can't mkdir parents for /t/dangling/x: No such file or directory\n"
    .. "bwrap: Can't mkdir parents for /proc/self/root/x: Too many levels of symbolic links\nstatus 0" },
  { "a read-only overlay", "BWRAP OS --overlay-src low --overlay-src high --ro-overlay /o sh -c 'cat /o/a /o/b; echo > /o/c'",
    "low\nhigh\nsh: 1: cannot create /o/c: Read-only file system\nstatus 2" },
  { "an overlay in memory", "BWRAP OS --overlay-src low --overlay-src high --tmp-overlay /o sh -c 'cat /o/a; echo c > /o/c; "
    .. "cat /o/c'; ls low high", "low\nc\nhigh:\nb\n\nlow:\na\nb\nstatus 0" },
  { "an overlay that is kept", "mkdir -p kept/up kept/work; chmod 700 kept; BWRAP OS --overlay-src low --overlay kept/up "
    .. "kept/work /o sh -c 'cat /o/a; echo c > /o/c'; cat kept/up/c; chmod -R u+rwx kept; rm -r kept", "low\nc\nstatus 0" },
  { "an overlay of too little", "BWRAP --tmp-overlay /o true; BWRAP --overlay-src low --ro-overlay /o true; "
    .. "BWRAP --overlay-src low --chdir / true; BWRAP --overlay-src low true",
    "bwrap: --tmp-overlay requires at least one --overlay-src\nbwrap: --ro-overlay requires at least two --overlay-src\n"
    .. ("bwrap: --overlay-src must be followed by another --overlay-src or one of --overlay, --tmp-overlay, or --ro-overlay\n")
      :rep(2) .. "status 1" },
  { "the same user namespace twice, as flatpak names it", "unshare -Ur sleep 9 & sleep 0.3; BWRAP --userns 7 --userns2 7 --unshare-pid "
    .. "--ro-bind / / --proc /proc sh -c 'readlink /proc/self/ns/user' 7</proc/$!/ns/user > in; "
    .. "[ $(readlink /proc/$!/ns/user) = $(cat in) ]; s=$?; kill $!; (exit $s)", "status 0" },
  { "what cannot be joined", "BWRAP --pidns 77 OS true; BWRAP --pidns 7 OS true 7</proc/self/ns/net; BWRAP --userns2 77 OS true",
    "bwrap: Setting pidns failed: Bad file descriptor\nbwrap: Setting pidns failed: Invalid argument\n"
    .. "bwrap: Setting userns2 failed: Bad file descriptor\nstatus 1" },
  { "the help", "BWRAP --help | grep -c '^    --'; (BWRAP --help | head -1; BWRAP 2>&1 | head -1; BWRAP OS 2>&1 | head -1) "
    .. "| sed 's,/[^ ]*/,,'", "68\n" .. ("usage: bwrap [OPTIONS...] [--] COMMAND [ARGS...]\n"):rep(3) .. "status 0" },
}

--- Runs a case's words with one of the two; the directories' own names are all that may differ.
local function outcome(directory, words, program)
  local values = {
    BWRAP_PATH = program.path, BWRAP = program.words, OS = OS,
    LONG = ("x"):rep(100000), NUMBER = ("%d"):format(sys.syscall_number "mkdir"), OTHER = ("%d"):format(sys.syscall_number "rmdir"),
  }
  local line = words:gsub("%f[%w_]([A-Z_]+)%f[^%w_]", values)
  local output, status = probe.shell(("cd %s && { %s\n}"):format(directory, line))
  return output .. "status " .. status
end

--- The options that bubblewrap itself knows here.
local function known_options()
  local known = {}
  for name in (probe.shell "bwrap --help"):gmatch "\n    (%-%-[%w-]+)" do known[name] = true end
  return known
end

--- Whether a list of cases has an option in its words.
local function has(cases, option)
  for _, case in ipairs(cases) do
    if (case[2] .. " "):find("%f[%-]" .. option:gsub("%-", "%%-") .. "%f[^%w-]") then return true end
  end
  return false
end

describe("nslua bwrap", function()
  local build = sys.getcwd() .. "/" .. probe.build
  local path = build .. "/bwrap"
  local programs = {
    theirs = { words = "bwrap", path = "/usr/bin/bwrap" }, ours = { words = path, path = path },
  }
  local directory

  setup(function()
    directory = probe.directory()
    probe.write(directory .. "/data", "data\n", "644")
    probe.shell(("cd %s && mkdir tree low high && echo inner > tree/inner && echo low | tee low/a > low/b && echo high > high/b")
      :format(directory))
  end)
  teardown(function() probe.remove(directory) end)

  for _, case in ipairs(CASES) do
    local name, words = case[1], case[2]
    it("has the same outcome: " .. name, function()
      if not has_bwrap then pending "there is no bwrap to compare with" end
      if case.root and not probe.is_root then return end
      assert.equal(outcome(directory, words, programs.theirs), outcome(directory, words, programs.ours))
    end)
  end

  it("is compared in every option that both have, and specced in the others", function()
    if not has_bwrap then pending "there is no bwrap to compare with" end
    local known, missing = known_options(), {}
    for _, row in ipairs(require "nslua.bwrap.options".rows) do
      local is_supported = row[4] ~= nil
      if is_supported and not has(known[row[1]] and CASES or NEWER, row[1]) then missing[#missing + 1] = row[1] end
      known[row[1]] = nil
    end
    assert.same({}, missing)
    assert.is_nil(next(known), "an option that is not in the table")
  end)

  it("is a command of nslua, too", function()
    local nslua = build .. "/nslua bwrap"
    local command = { words = nslua, path = nslua }
    assert.equal("usage: nslua bwrap [OPTIONS...] [--] COMMAND [ARGS...]\nstatus 0", outcome(directory, "BWRAP 2>&1 | head -1", command))
    local words = "BWRAP OS --unshare-all --hostname inside sh -c 'hostname; exit 5'; BWRAP OS --nonsense; BWRAP OS /nope"
    assert.equal(outcome(directory, words, programs.ours), outcome(directory, words, command))
  end)

  for _, case in ipairs(NEWER) do
    it("also knows " .. case[1], function() assert.equal(case[3], outcome(directory, case[2], programs.ours)) end)
  end
end)
