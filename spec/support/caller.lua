--- Who runs the command lines of others: a home with what they share, and a program in bwrap's place.
local look = require "look"
local probe = require "probe"

local M = {}

--- Stands for bwrap: what this machine has not is not bound, and what comes to run is what looks around.
local STAND_IN <const> = [=[#!/bin/bash
words=()
while [[ ${1-} == --?* ]]; do
  case $1 in
    --unshare-* | --share-net | --new-session | --die-with-parent | --clearenv | --level-prefix) count=1 ;;
    --*bind* | --symlink | --setenv | --file) count=3 ;;
    *) count=2 ;;
  esac
  [[ ( $1 == --*bind || "$1 $2" == "--tmpfs /usr/"* ) && ! -e $2 ]] || words+=("${@:1:count}")
  shift $count
done
exec TOOL BESIDES "${words[@]}" -- sh -c "$(<LOOK)"
]=]

--- A home with what the lines share, and in `system` a small root, whose programs are enough to look around.
local HOME <const> = [=[
mkdir -p project out switch/.opam-switch .claude .config/{rua,dconf} nixroot .nix .mozilla .cache/mozilla ../runtime ../bin
echo '{}' >.claude.json
touch in.pdf project/.env project/.env.local
printf '[Application]\nname=org.gnome.Weather\nruntime=org.gnome.Platform/x86_64/3.24\n' >flatpak-info
mkdir -p system/{usr/{bin,sbin,lib,lib64,etc},dev,proc,tmp,var,void-packages}
for name in bin sbin lib lib64 etc; do ln -s usr/$name system/$name; done
for name in sh id uname env readlink rm; do
  program=$(command -v $name)
  for file in $(readlink -f $program) $(ldd $program | grep -o '/[^ ]*'); do
    mkdir -p system$(dirname $file)
    cp -L $file system$file
  done
  [ -e system/usr/bin/$name ] || ln -s $(basename $(readlink -f $program)) system/usr/bin/$name
done
touch system/usr/{.ref,etc/{passwd,group,machine-id}}
flatpak=.local/share/flatpak
mkdir -p $flatpak/runtime/org.gnome.Platform/x86_64/3.24/active $flatpak/app/org.gnome.Weather/x86_64/stable/active/files
touch $flatpak/app/org.gnome.Weather/x86_64/stable/active/files/.ref
ln -s $PWD/system/usr $flatpak/runtime/org.gnome.Platform/x86_64/3.24/active/files
]=]

--- A filter that lets everything pass.
local FILTER <const> = string.pack("=I2BBI4", 6, 0, 0, 0x7fff0000)

--- The caller's variables, and no others.
function M.variables(directory)
  return {
    HOME = directory .. "/home", PWD = directory .. "/home/project", XDG_RUNTIME_DIR = directory .. "/runtime",
    PATH = directory .. "/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", LANG = "C", TERM = "xterm",
  }
end

--- @tparam string directory empty
function M.prepare(directory)
  local home = directory .. "/home"
  probe.shell("mkdir " .. home)
  probe.write(directory .. "/prepare", HOME)
  local output, status = probe.shell(("cd %s && bash -e ../prepare"):format(home))
  assert(status == 0, output)
  probe.write(home .. "/filter", FILTER)
  local script = look.SCRIPT:gsub("HOME", { HOME = home }):gsub("MARK", ".look" .. directory:match "%w+$")
  probe.write(directory .. "/look", script)
end

--- What comes of a command line, or another shell's, in the project.
-- @tparam string directory prepared
-- @tparam string words a shell's
-- @treturn string
-- @treturn integer status
function M.run(directory, words)
  probe.write(directory .. "/line", words .. "\n")
  local variables = {}
  for name, value in pairs(M.variables(directory)) do variables[#variables + 1] = name .. "=" .. value end
  return probe.shell(("cd %s/home/project && env -i %s bash ../../line </dev/null"):format(directory,
    table.concat(variables, " ")))
end

--- The same of one of command_lines, with a program in bwrap's place.
-- @tparam string directory prepared
-- @tparam table line
-- @tparam string tool the program's words
function M.call(directory, line, tool)
  local values = { TOOL = tool, BESIDES = line.besides or "", LOOK = directory .. "/look" }
  probe.write(directory .. "/bin/bwrap", STAND_IN:gsub("%u+", values), "755")
  return M.run(directory, (line.given or "") .. "\n" .. line.line:gsub("\n%s*", " "))
end

return M
