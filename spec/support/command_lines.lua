--- Command lines of bubblewrap that public projects document or run, as they stand there: only the line breaks are ours, and
-- a script's parts that build one line are put together. What the shell expands in them is expanded when they run.
--
-- `source` is the repository and path, or the address. `given`: what the rest of the script has set before, and what the
-- caller has. `besides`: options that Debian needs for its programs to be found. `changed`: where it differs from the source.
-- `leads_away`: its own /var/tmp leads to the host's /tmp while bubblewrap sets up, so that a home below /var/tmp fails there.
return {
  {
    project = "bubblewrap: the README", source = "containers/bubblewrap README.md", besides = "--symlink usr/lib /lib",
    line = [[bwrap --ro-bind /usr /usr --symlink usr/lib64 /lib64 --proc /proc --dev /dev --unshare-pid --new-session bash]],
  },
  {
    project = "bubblewrap: the demo of a shell", source = "containers/bubblewrap demos/bubblewrap-shell.sh",
    line = [[(exec bwrap --ro-bind /usr /usr --dir /tmp --dir /var --symlink ../tmp var/tmp --proc /proc --dev /dev
      --ro-bind /etc/resolv.conf /etc/resolv.conf --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin
      --symlink usr/sbin /sbin --chdir / --unshare-pid --dir /run/user/$(id -u)
      --setenv XDG_RUNTIME_DIR "/run/user/`id -u`" --setenv PS1 "bwrap-demo$ " --file 11 /etc/passwd --file 12 /etc/group
      /bin/sh) 11< <(getent passwd $UID 65534) 12< <(getent group $(id -g) 65534)]],
  },
  {
    project = "bubblewrap: the demo of Flatpak", source = "containers/bubblewrap demos/flatpak-run.sh",
    changed = "the paths of the filter and of what is a here-document there",
    given = "mkdir -p ~/.var/app/org.gnome.Weather/{cache,config,data}", leads_away = true,
    line = [[( exec bwrap --ro-bind ~/.local/share/flatpak/runtime/org.gnome.Platform/x86_64/3.24/active/files /usr
      --lock-file /usr/.ref --ro-bind ~/.local/share/flatpak/app/org.gnome.Weather/x86_64/stable/active/files/ /app
      --lock-file /app/.ref --dev /dev --proc /proc --dir /tmp --symlink /tmp /var/tmp --symlink /run /var/run
      --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin --symlink usr/sbin /sbin --symlink usr/etc /etc
      --dir /run/user/`id -u` --ro-bind /etc/machine-id /usr/etc/machine-id
      --ro-bind /etc/resolv.conf /run/host/monitor/resolv.conf --ro-bind /sys/block /sys/block --ro-bind /sys/bus /sys/bus
      --ro-bind /sys/class /sys/class --ro-bind /sys/dev /sys/dev --ro-bind /sys/devices /sys/devices
      --dev-bind /dev/dri /dev/dri --bind /tmp/.X11-unix/X0 /tmp/.X11-unix/X99
      --bind ~/.var/app/org.gnome.Weather ~/.var/app/org.gnome.Weather --bind ~/.config/dconf ~/.config/dconf
      --bind /run/user/`id -u`/dconf /run/user/`id -u`/dconf --unshare-pid --setenv XDG_RUNTIME_DIR "/run/user/`id -u`"
      --setenv DISPLAY :99 --setenv GI_TYPELIB_PATH /app/lib/girepository-1.0 --setenv GST_PLUGIN_PATH /app/lib/gstreamer-1.0
      --setenv LD_LIBRARY_PATH /app/lib:/usr/lib/GL --setenv DCONF_USER_CONFIG_DIR .config/dconf --setenv PATH /app/bin:/usr/bin
      --setenv XDG_CONFIG_DIRS /app/etc/xdg:/etc/xdg --setenv XDG_DATA_DIRS /app/share:/usr/share --setenv SHELL /bin/sh
      --setenv XDG_CACHE_HOME ~/.var/app/org.gnome.Weather/cache --setenv XDG_CONFIG_HOME ~/.var/app/org.gnome.Weather/config
      --setenv XDG_DATA_HOME ~/.var/app/org.gnome.Weather/data --file 10 /run/user/`id -u`/flatpak-info
      --bind-data 11 /usr/etc/passwd --bind-data 12 /usr/etc/group --seccomp 13 /bin/sh)
      11< <(getent passwd $UID 65534 ) 12< <(getent group $(id -g) 65534) 13< ~/filter 10< ~/flatpak-info]],
  },
  {
    project = "bubblewrap: an answer to those for whom the README's line fails", source = "containers/bubblewrap issue 298",
    line = [[bwrap --ro-bind /bin /bin --ro-bind /lib /lib --ro-bind /lib64 /lib64 --unshare-pid bash]],
  },
  {
    project = "the ArchWiki: the simplest", source = "containers/bubblewrap issue 298, from wiki.archlinux.org",
    line = [[bwrap --dev-bind / / bash]],
  },
  {
    project = "a port below 1024", source = "containers/bubblewrap issue 516",
    line = [[bwrap --ro-bind / / --unshare-net --cap-add cap_net_bind_service nc -l -p 80]],
  },
  {
    project = "Copilot's sandbox for a terminal", source = "containers/bubblewrap issue 505",
    line = [[bwrap --new-session --die-with-parent --ro-bind / / --dev /dev --unshare-net --unshare-pid --proc /proc -- ls]],
  },
  {
    project = "opam: build",
    source = "ocaml/opam src/state/shellscripts/bwrap.sh", changed = "the system's mounts of a merged /usr",
    given = "OPAM_SWITCH_PREFIX=$HOME/switch",
    line = [[exec bwrap --unshare-net --new-session --proc /proc --dev /dev --bind "${TMPDIR:-/tmp}" /tmp --setenv TMPDIR /tmp
      --setenv TMP /tmp --setenv TEMPDIR /tmp --setenv TEMP /tmp --tmpfs /run --ro-bind /usr /usr --symlink /usr/bin /bin
      --symlink /usr/lib /lib --symlink /usr/lib64 /lib64 --ro-bind /etc /etc --ro-bind /opt /opt --ro-bind /home /home
      --ro-bind /var /var --ro-bind "$OPAM_SWITCH_PREFIX" "$OPAM_SWITCH_PREFIX" --bind "$PWD" "$PWD" "$@"]],
  },
  {
    project = "opam: install",
    source = "ocaml/opam src/state/shellscripts/bwrap.sh", changed = "the system's mounts of a merged /usr",
    given = "OPAM_SWITCH_PREFIX=$HOME/switch",
    line = [[exec bwrap --unshare-net --new-session --proc /proc --dev /dev --bind "${TMPDIR:-/tmp}" /tmp --setenv TMPDIR /tmp
      --setenv TMP /tmp --setenv TEMPDIR /tmp --setenv TEMP /tmp --tmpfs /run --ro-bind /usr /usr --symlink /usr/bin /bin
      --symlink /usr/lib /lib --symlink /usr/lib64 /lib64 --ro-bind /etc /etc --ro-bind /opt /opt --ro-bind /home /home
      --ro-bind /var /var --bind "$OPAM_SWITCH_PREFIX" "$OPAM_SWITCH_PREFIX"
      --ro-bind "$OPAM_SWITCH_PREFIX/.opam-switch" "$OPAM_SWITCH_PREFIX/.opam-switch" --bind "$PWD" "$PWD" "$@"]],
  },
  {
    project = "GNOME's thumbnailers", source = "GNOME/gnome-desktop libgnome-desktop/gnome-desktop-thumbnail-script.c",
    changed = "the words that the program puts together, for a merged /usr", given = "outdir=$HOME/out infile=$HOME/in.pdf",
    line = [[bwrap --ro-bind /usr /usr --ro-bind /etc/ld.so.cache /etc/ld.so.cache --symlink /usr//bin /bin
      --symlink /usr//lib64 /lib64 --symlink /usr//lib /lib --symlink /usr//sbin /sbin --proc /proc --dev /dev --chdir /
      --setenv GIO_USE_VFS local --unshare-all --die-with-parent --bind $outdir /tmp
      --ro-bind $infile /tmp/gnome-desktop-file-to-thumbnail.pdf]],
  },
  {
    project = "mat2", source = "jvoisin/mat2 libmat2/bubblewrap.py", changed = "the words that the program puts together",
    given = "tempdir=$HOME/out",
    line = [[bwrap --ro-bind /usr /usr --ro-bind /lib /lib --ro-bind /lib64 /lib64 --ro-bind /bin /bin --ro-bind /sbin /sbin
      --ro-bind /etc/alternatives /etc/alternatives --ro-bind $PWD $PWD --ro-bind /etc/ld.so.cache /etc/ld.so.cache
      --dev /dev --proc /proc --chdir $PWD --unshare-user-try --unshare-ipc --unshare-pid --unshare-net --unshare-uts
      --unshare-cgroup-try --new-session --cap-drop all --bind $tempdir /tmp --ro-bind $HOME/in.pdf $HOME/in.pdf]],
  },
  {
    project = "RUA: packages of the AUR", source = "vn971/rua res/wrap.sh", given = "RUA_SECCOMP_FILE=$HOME/filter",
    line = [[exec nice -n19 ionice -c idle bwrap --new-session --die-with-parent --ro-bind / / --dev /dev --proc /proc
      --tmpfs /tmp --tmpfs ~ --ro-bind-try "${GNUPGHOME:-$HOME/.gnupg}/pubring.kbx" "${GNUPGHOME:-$HOME/.gnupg}/pubring.kbx"
      --ro-bind-try "${GNUPGHOME:-$HOME/.gnupg}/pubring.gpg" "${GNUPGHOME:-$HOME/.gnupg}/pubring.gpg"
      --unshare-user --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup --ro-bind ~/.config/rua ~/.config/rua
      --ro-bind "$PWD" "$PWD" --seccomp 3 3< "$RUA_SECCOMP_FILE" "$@"]],
  },
  {
    project = "a server of printers: converters", source = "KSIUJ/gutenberg sandbox.sh", given = "dir=$HOME/out",
    line = [[bwrap --ro-bind / / --tmpfs /home --tmpfs /run --tmpfs /tmp --bind "$dir" "$dir" --proc /proc --dev /dev
      --chdir / --unshare-pid --unshare-net "$@"]],
  },
  {
    project = "a fuzzer's servers", source = "toralf/fuzz-utils bwrap.sh", changed = "without env -i before it",
    line = [[bwrap --clearenv --level-prefix --unshare-all --share-net --new-session --ro-bind / / --dev /dev
      --dev-bind /dev/console /dev/console --mqueue /dev/mqueue --perms 1777 --tmpfs /dev/shm --proc /proc --tmpfs /run
      --ro-bind /sys /sys -- "${@}"]],
  },
  {
    project = "a capture-the-flag: what players hand in",
    source = "PalisadeResearch/hap-ctf bwrap.sh", besides = "--symlink usr/bin /bin",
    given = "mkdir -p build; cp $HOME/filter build/seccomp.bpf",
    line = [[bwrap --ro-bind /usr /usr --ro-bind /lib /lib --ro-bind /lib64 /lib64 --proc /proc --dev /dev --unshare-all
      --die-with-parent --new-session --ro-bind . /app --seccomp 3 3<build/seccomp.bpf python3 /app/user_submission.py]],
  },
  {
    project = "a coding contest: a job",
    source = "ShreekrishnaUdupa/Coding-Contest-Project backend/execution-worker/run-in-bwrap.sh",
    given = "JOBDIR=$HOME/out COMMAND=true",
    line = [[exec bwrap --unshare-all --unshare-net --cap-drop ALL --ro-bind "$JOBDIR" /app --ro-bind /usr/bin /usr/bin
      --ro-bind /bin /bin --ro-bind /lib /lib --ro-bind /lib64 /lib64 --ro-bind /usr/lib /usr/lib --ro-bind /usr/lib64 /usr/lib64
      --dev /dev --tmpfs /tmp --dir /run --die-with-parent
      /bin/bash -c "cd /app && ulimit -v 512000 && ulimit -t 3 && exec $COMMAND"]],
  },
  {
    project = "copyparty", source = "9001/copyparty bin/bubbleparty.sh", besides = "--symlink usr/lib64 /lib64",
    line = [[bwrap --unshare-all --ro-bind /usr /usr --ro-bind /bin /bin --ro-bind /lib /lib
      --ro-bind /etc/resolv.conf /etc/resolv.conf --dev-bind /dev /dev --dir /tmp --dir /var --bind "$(pwd)" "$(pwd)" --share-net
      --die-with-parent --file 11 /etc/passwd --file 12 /etc/group "$@" 11< <(getent passwd $(id -u) 65534)
      12< <(getent group $(id -g) 65534)]],
  },
  {
    project = "an agent with its project", source = "px-pride/bubblm bubblm.sh",
    line = [[exec bwrap --ro-bind / / --bind "$(pwd)" "$(pwd)" --bind /tmp /tmp --dev /dev --proc /proc
      --bind "$HOME/.claude.json" "$HOME/.claude.json" --bind "$HOME/.claude" "$HOME/.claude" --unshare-all --share-net
      --die-with-parent claude --dangerously-skip-permissions "$@"]],
  },
  {
    project = "an agent without a network", source = "lucasgom.es/posts/trusting_ai_coding_agents.html",
    line = [[bwrap --ro-bind /usr /usr --ro-bind /bin /bin --ro-bind /lib /lib --ro-bind /lib64 /lib64 --bind "$PWD" "$PWD"
      --tmpfs /tmp --unshare-all --die-with-parent /usr/bin/bash]],
  },
  {
    project = "an agent that is not to see .env",
    source = "blog-dev.juanbretti.com/en/posts/2026-08-09_bubblewrap_sandboxing_ai_agents",
    besides = "--symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64", given = "PROJECT_DIR=$HOME/project",
    line = [[bwrap --ro-bind /usr /usr --bind "$PROJECT_DIR" "$PROJECT_DIR" --bind "$HOME/.claude" "$HOME/.claude"
      --ro-bind /dev/null "$PROJECT_DIR/.env" --ro-bind /dev/null "$PROJECT_DIR/.env.local" --share-net --unshare-pid
      --die-with-parent "$(command -v claude)" --dangerously-skip-permissions "..."]],
  },
  {
    project = "an installation of npm's",
    source = "perplexedyawdie/dependency-sentry bbl-wrap.sh", besides = "--symlink usr/bin /bin",
    line = [[bwrap --ro-bind /usr /usr --ro-bind /lib /lib --ro-bind /lib64 /lib64
      --ro-bind /home/northway/.nvm/versions/node/v22.16.0/ /home/northway/.nvm/versions/node/v22.16.0/
      --ro-bind /etc/resolv.conf /etc/resolv.conf --ro-bind /etc/ssl /etc/ssl --proc /proc --tmpfs /tmp --dev /dev --share-net
      --bind $PWD /app --chdir /app --die-with-parent npm install]],
  },
  {
    project = "a Python environment that is not trusted", source = "brandsimon/uniswap-python safe_venv.sh",
    besides = "--symlink usr/bin /bin",
    line = [[bwrap --ro-bind /usr /usr --ro-bind /etc /etc --ro-bind /lib /lib --ro-bind /lib64 /lib64
      --ro-bind "/home/admin/uniswap-python" "/home/admin/uniswap-python"
      --bind "/home/admin/uniswap-python/.insecure_venv/" "/home/admin/uniswap-python/.insecure_venv/"
      --bind "/home/admin/uniswap-python/uniswap.egg-info/" "/home/admin/uniswap-python/uniswap.egg-info/" --dev /dev
      --tmpfs /tmp --unshare-user --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup --new-session --die-with-parent
      "${@}"]],
  },
  {
    project = "Nix without its daemon", source = "ners/nix-at-home script.sh", besides = "--ro-bind /usr/lib /usr/lib",
    given = "LANG=C TERM=xterm USER=me SHELL=/bin/sh",
    line = [[exec bwrap --unshare-all --uid `id -u` --gid `id -g` --clearenv --setenv HOME $HOME --setenv LANG $LANG
      --setenv TERM $TERM --setenv USER $USER --setenv SHELL $SHELL --share-net --proc /proc --dev /dev --bind $PWD $PWD
      --bind $HOME $HOME --bind /tmp /tmp --ro-bind /bin /bin --ro-bind /usr/bin /usr/bin --ro-bind /lib /lib
      --ro-bind /lib64 /lib64 --ro-bind $(realpath /etc/resolv.conf) /etc/resolv.conf
      --ro-bind $(realpath /etc/ssl/certs) /etc/ssl/certs --bind $HOME/nixroot /nix --remount-ro / "$0" "$@"]],
  },
  {
    project = "Nix in a home", source = "tesuji/dotfiles home.d/.nix-binds.sh", changed = "$GID, which bash has not",
    given = "GID=$(id -g); mkdir -p $HOME/.local/bin; ln -sf $(command -v bwrap) $HOME/.local/bin/bwrap",
    line = [[exec $HOME/.local/bin/bwrap --unshare-user --uid $UID --gid $GID --die-with-parent --bind $HOME/.nix /nix
      --proc /proc --dev /dev --tmpfs /tmp --ro-bind /bin/ /bin/ --ro-bind /sbin/ /sbin/ --ro-bind /etc/ /etc/
      --ro-bind /lib/ /lib/ --ro-bind /lib64/ /lib64/ --ro-bind /run/ /run/ --ro-bind /usr/ /usr/
      --dev-bind /dev/kvm /dev/kvm --dev-bind /dev/dri /dev/dri --bind /tmp/.X11-unix /tmp/.X11-unix
      --bind $XDG_RUNTIME_DIR $XDG_RUNTIME_DIR --bind /var /var --bind $HOME $HOME $HOME/.local/bin/fish]],
  },
  {
    project = "a shell with a home of its own", source = "darrenldl/sandboxing bw-scripts/bash.sh",
    given = "mkdir -p ~/jails/bash",
    line = [[bwrap --ro-bind / / --ro-bind /usr/bin /usr/bin --tmpfs /usr/lib/modules --tmpfs /usr/lib/systemd --proc /proc
      --dev /dev --tmpfs /run --unshare-user
      --uid $(getent passwd | awk -F: '($3>600) && ($3<10000) && ($3>maxuid) { maxuid=$3; } END { print maxuid+1; }')
      --gid $(getent passwd | awk -F: '($4>600) && ($4<10000) && ($4>maxgid) { maxgid=$4; } END { print maxgid+1; }')
      --tmpfs /home --bind ~/jails/bash /home/jail --setenv HOME /home/jail bash]],
  },
  {
    project = "Firefox on Wayland", source = "darrenldl/sandboxing bw-scripts/firefox.sh", given = "mkdir -p ~/jails/firefox",
    line = [[bwrap --ro-bind /usr/bin /usr/bin --ro-bind /usr/share /usr/share --ro-bind /usr/lib /usr/lib
      --ro-bind /usr/lib64 /usr/lib64 --symlink /usr/lib /lib --symlink /usr/lib64 /lib64 --symlink /usr/bin /bin
      --symlink /usr/bin /sbin --ro-bind /etc /etc --tmpfs /usr/lib/modules --tmpfs /usr/lib/systemd --proc /proc --dev /dev
      --dev-bind /dev/snd /dev/snd --tmpfs /tmp --tmpfs /run --ro-bind /run/user/1000/bus /run/user/1000/bus
      --ro-bind /run/user/1000/pulse /run/user/1000/pulse --ro-bind /run/user/1000/wayland-0 /run/user/1000/wayland-0
      --bind /run/user/1000/dconf /run/user/1000/dconf --tmpfs /home --bind ~/jails/firefox /home/jail
      --setenv HOME /home/jail --bind ~/.mozilla /home/jail/.mozilla --bind ~/.cache/mozilla /home/jail/.cache/mozilla
      --chdir /home/jail --unsetenv DBUS_SESSION_BUS_ADDRESS --setenv SHELL /bin/false --setenv USER nobody
      --setenv LOGNAME nobody --setenv MOZ_ENABLE_WAYLAND 1 --hostname JAIL --unshare-user --unshare-pid --unshare-uts
      --unshare-cgroup --new-session /usr/lib/firefox/firefox --ProfileManager]],
  },
  {
    project = "Firefox with what it needs only", source = "ElBromasMC/.dotfiles ElMaquinas-overlay/.local/bin/firefox-bwrap.sh",
    besides = "--symlink usr/lib64 /lib64 --ro-bind /usr/lib64 /usr/lib64", given = "USER=me",
    line = [[bwrap --symlink usr/lib /lib --symlink usr/bin /bin --symlink usr/bin /sbin --ro-bind /usr/lib /usr/lib
      --ro-bind /usr/bin /usr/bin --ro-bind /etc/ld-musl-aarch64.path /etc/ld-musl-aarch64.path
      --ro-bind /usr/lib/firefox /usr/lib/firefox --ro-bind /usr/share/applications /usr/share/applications
      --ro-bind /usr/share/gtk-3.0 /usr/share/gtk-3.0 --ro-bind /usr/share/icu /usr/share/icu
      --ro-bind /usr/share/drirc.d /usr/share/drirc.d --ro-bind /usr/share/fonts /usr/share/fonts
      --ro-bind /usr/share/glib-2.0 /usr/share/glib-2.0 --ro-bind /usr/share/glvnd /usr/share/glvnd
      --ro-bind /usr/share/icons /usr/share/icons --ro-bind /usr/share/mime /usr/share/mime
      --ro-bind /usr/share/X11/xkb /usr/share/X11/xkb --ro-bind /usr/share/icons /usr/share/icons
      --ro-bind /etc/fonts /etc/fonts --ro-bind /etc/resolv.conf /etc/resolv.conf
      --ro-bind /usr/share/ca-certificates /usr/share/ca-certificates --ro-bind /etc/ssl /etc/ssl --tmpfs /tmp
      --dir "$XDG_RUNTIME_DIR" --ro-bind "$XDG_RUNTIME_DIR/pulse" "$XDG_RUNTIME_DIR/pulse"
      --ro-bind "$XDG_RUNTIME_DIR/wayland-1" "$XDG_RUNTIME_DIR/wayland-1" --dev /dev --dev-bind /dev/dri /dev/dri
      --ro-bind /sys/dev/char /sys/dev/char --ro-bind /sys/devices/platform /sys/devices/platform --proc /proc
      --bind "/home/${USER}/.mozilla" "/home/${USER}/.mozilla" --bind "/home/${USER}/Downloads" "/home/${USER}/Downloads"
      --setenv HOME "/home/${USER}" --setenv GTK_THEME Adwaita:dark --setenv MOZ_ENABLE_WAYLAND 1 --setenv PATH /usr/bin
      --hostname RESTRICTED --unshare-all --share-net --die-with-parent --new-session /usr/bin/firefox --no-remote]],
  },
  {
    project = "Signal's client", source = "containers/bubblewrap issue 702, up to where the excerpt ends",
    besides = "--ro-bind /usr /usr --symlink usr/bin /bin",
    line = [[bwrap --unshare-pid --unshare-uts --unshare-cgroup --unshare-user --new-session
      --ro-bind-try /etc/ssl/certs/ca-bundle.crt /etc/ssl/certs/ca-bundle.crt
      --ro-bind-try /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
      --ro-bind-try /etc/resolv.conf /etc/resolv.conf --ro-bind-try /etc/hosts /etc/hosts
      --ro-bind-try /etc/ld.so.preload /etc/ld.so.preload --ro-bind-try /etc/ld.so.conf /etc/ld.so.conf
      --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --ro-bind-try /etc/ld.so.conf.d /etc/ld.so.conf.d
      --ro-bind-try /etc/fonts /etc/fonts --ro-bind-try /etc/passwd /etc/passwd
      --ro-bind-try /etc/locale.conf /etc/locale.conf --ro-bind-try /lib64 /lib64 --ro-bind-try /lib /lib
      --ro-bind-try /proc /proc --ro-bind-try /dev /dev --dev /dev --proc /proc
      --bind-try /home/user/.var/app/signal-desktop/tmp /tmp --tmpfs /run --dir /run/user/1000
      --setenv WAYLAND_DISPLAY wayland-1 --setenv XDG_SESSION_TYPE wayland
      --ro-bind-try /run/user/1000/wayland-1 /run/user/1000/wayland-1
      --ro-bind-try /run/user/1000/pulse /run/user/1000/pulse
      --ro-bind-try /run/user/1000/pipewire-0 /run/user/1000/pipewire-0 --ro-bind-try /sys /sys]],
  },
  {
    project = "Void's packages: a tree to build in", source = "void-linux/void-packages common/chroot-style/bwrap.sh",
    given = "MASTERDIR=$HOME/system DISTDIR=$HOME/project HOSTDIR= EXTRA_ARGS=",
    line = [[bwrap --dev-bind "$MASTERDIR" / --dev-bind "$DISTDIR" /void-packages --dev /dev --tmpfs /tmp --proc /proc
      ${HOSTDIR:+--dev-bind "$HOSTDIR" /host} $EXTRA_ARGS "$@"]],
  },
  {
    project = "a manual: as root, seemingly", source = "linuxcommandlibrary.com/man/bubblewrap",
    line = [[bwrap --ro-bind / / --unshare-user --uid 0 --gid 0 ls]],
  },
  {
    project = "a manual: the current directory", source = "linuxcommandlibrary.com/man/bubblewrap",
    line = [[bwrap --ro-bind / / --bind $(pwd) $(pwd) --chdir $(pwd) ls]],
  },
  {
    project = "overlays", source = "containers/bubblewrap pull request 784", changed = "without the option that it proposes",
    line = [[bwrap --ro-bind / / --overlay-src /opt --tmp-overlay /opt true]],
  },
}
