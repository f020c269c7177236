-- Runs a shell script that you do not trust. It gets the system's programs and nothing of yours.
--   nslua untrusted.lua downloaded.sh
local hostile = [[
echo "me:       $(id -un) on $(hostname), as PID $$"
echo "keys:     $(cat ~/.ssh/id_* /home/*/.ssh/id_* 2>&1 | head -1)"
echo "shadow:   $(cat /etc/shadow 2>&1)"
echo "backdoor: $(touch /usr/bin/backdoor 2>&1)"
echo "network:  $(ip route get 192.0.2.1 2>&1)"
echo "others:   $(ls -d /proc/[0-9]* | wc -l) processes are all there is"
sleep 1000 & echo "and I leave a process behind"
]]

local script = hostile
if arg and arg[1] then
  local file <close> = assert(io.open(arg[1]))
  script = file:read "a"
end

local box = sandbox "untrusted" {
  fs = { fs.os(), fs.file("/script", script) },
  limits = { time = 10 },
}
local result = assert(box:run { "sh", "/script" })
print(("%s after %.2f s; nothing of it is left"):format(result, result.usage.wall))
return result.code or 1
