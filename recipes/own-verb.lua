-- Verbs of your own. One is a function that gives entries; the other is called with the plan, at its
-- place, and records what the sandbox's child is to do.

--- A home with these files in it.
local function home(files)
  local entries = { fs.tmpfs("/home/me", { size = "16M" }) }
  for name, content in pairs(files) do entries[#entries + 1] = fs.file("/home/me/" .. name, content) end
  return entries
end

--- A file system that `fs` has no verb for: the control groups, seen from the own one.
local function cgroups(target)
  return function(plan)
    plan:place(plan:filesystem("cgroup2", {}, { "ro", "nosuid", "nodev", "noexec" }), target)
  end
end

return sandbox "own-verb" {
  fs = {
    fs.os(),
    home { ["notes.txt"] = "made by a verb of my own\n" },
    fs.dir "/cgroups", cgroups "/cgroups",
  },
  cwd = "/home/me",
  command = { "sh", "-c", "cat notes.txt; head -1 /proc/self/cgroup; ls /cgroups | head -3" },
}
