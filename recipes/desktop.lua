-- A verb for the sockets of a desktop session: what a program needs to show a window and to be heard, where the session has
-- it, and no file of yours. Only public names are used.
--   nslua recipes/desktop.lua xclock
-- What is shared here speaks for you: a program that may talk to X11 can read what you type.

local runtime = os.getenv "XDG_RUNTIME_DIR" or "/run/user/" .. sys.identity().uid

--- The session's sockets at their own places, each where it exists.
local function desktop()
  local entries = { fs.dir(runtime, { mode = tonumber("700", 8), writable = true }) }
  for _, socket in ipairs {
    runtime .. "/" .. (os.getenv "WAYLAND_DISPLAY" or "wayland-0"), runtime .. "/pipewire-0", runtime .. "/pulse/native",
  } do
    entries[#entries + 1] = fs.ro(socket, nil, { optional = true })
  end
  local display = (os.getenv "DISPLAY" or ""):match "^:(%d+)"
  if display then entries[#entries + 1] = fs.ro("/tmp/.X11-unix/X" .. display, nil, { optional = true }) end
  for _, shared in ipairs { "/etc/fonts", "/var/cache/fontconfig" } do
    entries[#entries + 1] = fs.ro(shared, nil, { optional = true })
  end
  return entries
end

return sandbox "desktop" {
  fs = { fs.os(), desktop() },
  env = { XDG_RUNTIME_DIR = runtime, inherit = { "DISPLAY", "WAYLAND_DISPLAY" } },
  command = { "sh", "-c", 'echo "sockets: $(find $XDG_RUNTIME_DIR /tmp -type s | wc -l)"' },
}
