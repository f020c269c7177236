#!/bin/sh
# A runtime and an app of busybox, from a repository of our own: built, installed, run, entered.
for program in flatpak ostree busybox dbus-run-session; do
  command -v $program > /dev/null || { echo "there is no $program"; exit 77; }
done
ldd "$(command -v busybox)" > /dev/null 2>&1 && { echo "busybox is not static"; exit 77; }
[ "$DBUS_SESSION_BUS_ADDRESS" ] || exec dbus-run-session sh "$0" 2> /dev/null
export DBUS_SYSTEM_BUS_ADDRESS="$DBUS_SESSION_BUS_ADDRESS" # where nobody answers for parental controls
cd "$HOME" || exit
exec 2>&1

mkdir -p runtime/files runtime/export runtime/var runtime/usr/bin runtime/usr/lib runtime/usr/etc
cp "$(command -v busybox)" runtime/usr/bin/busybox
for name in sh id ls cat env sort grep sleep pwd touch mkdir chmod kill wc; do ln -s busybox runtime/usr/bin/$name; done
printf '[Runtime]\nname=org.nslua.Runtime\n' > runtime/metadata
{
  ostree --repo=repo init --mode=archive
  flatpak build-export --runtime --disable-sandbox repo runtime 1
  flatpak remote-add --user --no-gpg-verify local "$HOME/repo"
  flatpak install --user -y --noninteractive local org.nslua.Runtime//1
  flatpak build-init app org.nslua.App org.nslua.Runtime org.nslua.Runtime 1
} > /dev/null
flatpak build app sh -c 'mkdir /app/bin; printf "#!/bin/sh\necho hello \$*\n" > /app/bin/hello; chmod 755 /app/bin/hello; ls /app'
{
  flatpak build-finish app --command=hello
  flatpak build-export repo app 1
  flatpak install --user -y --noninteractive local org.nslua.App//1
} > /dev/null

inside() { flatpak run "$@"; echo "status $?"; }
inside org.nslua.App there
inside --command=none org.nslua.App
inside --command=sh org.nslua.App -c 'id; pwd; env | sort | grep -v -e BWRAP -e DBUS; ls / /dev /run /run/host; touch /usr/x; cat /proc/1/task/1/children; exit 3'
inside --command=sh org.nslua.App -c 'kill -9 $$'
inside --share=network --filesystem=host --command=sh org.nslua.App -c 'ls /run/host; wc -l < /proc/net/dev; grep -E "Cap|Priv|Seccomp" /proc/self/status'
inside --sandbox --unshare=ipc --persist=.kept --command=sh org.nslua.App -c 'ls -A ~'
inside --device=all --allow=devel --command=ls org.nslua.App /dev/shm

mkfifo "$HOME/go"
flatpak run --instance-id-fd=3 --filesystem=home --command=sh org.nslua.App -c "echo > $HOME/up; cat $HOME/go; exit 4" 3> instance &
while [ ! -e up ]; do sleep 0.1; done
pid=$(grep -o 'child-pid": [0-9]*' "$XDG_RUNTIME_DIR/.flatpak/$(cat instance)/bwrapinfo.json" | grep -o '[0-9]*$')
for how in expose share; do
  flatpak run --parent-pid="$pid" "--parent-$how-pids" --command=sh org.nslua.App -c 'id -u; cat /proc/1/cmdline > /dev/null; echo $?; exit 6'
  echo "status $?"
done
flatpak enter "$(cat instance)" sh -c 'id; ls /app; cat /proc/1/task/1/children | wc -w'
echo "status $?"
echo > go
wait $!
echo "status $?"
