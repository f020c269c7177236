--- The verb os: the running system's programs. What of the host it shares as it is: top, and etc.
local sys = require "nslua.sys"
local verb = require "nslua.verb"

local inner, inner_ro, inner_dir = verb.inner, verb.inner_ro, verb.inner_dir

-- Of /etc only what programs need to start and look things up; nothing that is anybody's data.
local ETC <const> = {
  "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs",
  "/etc/services", "/etc/protocols",
}
local TOP <const> = { "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" }

-- What is the sandbox's own: files, links, and directories that can be written, by their modes.
local FILES <const> = { "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf" }
local LINKS <const> = { { "/var/tmp", "../tmp" }, { "/var/run", "../run" } }
local DIRECTORIES <const> = { { "/tmp", tonumber("1777", 8) }, { "/run" } }

local NSSWITCH <const> = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"

--- A directory or file of the host as it is there: a symbolic link, or shared.
local function like_host(list, path)
  local link = sys.readlink(path)
  if link then list[#list + 1] = inner("symlink", path, { link = link })
  elseif sys.lstat(path) then list[#list + 1] = inner_ro(path) end
end

local function add_etc(list, plan)
  for _, path in ipairs(ETC) do
    if sys.stat(path) then list[#list + 1] = inner_ro(path, { optional = true }) end
  end
  like_host(list, "/etc/localtime")
  local host = plan.hostname and (" " .. plan.hostname) or ""
  local files = {
    ["/etc/passwd"] = plan.identity:passwd(), ["/etc/group"] = plan.identity:group(), ["/etc/nsswitch.conf"] = NSSWITCH,
    ["/etc/hosts"] = "127.0.0.1 localhost" .. host .. "\n::1 localhost" .. host .. "\n",
  }
  for _, path in ipairs(FILES) do list[#list + 1] = inner("file", path, { content = files[path] }) end
  if plan.net == "host" then list[#list + 1] = inner_ro("/etc/resolv.conf", { optional = true }) end
end

verb.rows.os = {
  parameters = {}, options = {}, summary = function() return "os" end,
  doc = "The running system's programs and libraries, read-only; of /etc only what programs need, with "
    .. "the sandbox's own users; /proc, /dev, private /tmp and /run, an empty home. Nothing of anybody's data.",
  expand = function(_, plan)
    local list = { inner_ro "/usr" }
    for _, directory in ipairs(TOP) do like_host(list, directory) end
    add_etc(list, plan)
    if plan.new.pid then list[#list + 1] = inner("proc", "/proc") end
    list[#list + 1] = inner("dev", "/dev")
    for _, one in ipairs(DIRECTORIES) do list[#list + 1] = inner_dir(one[1], one[2], { writable = true }) end
    for _, one in ipairs(LINKS) do list[#list + 1] = inner("symlink", one[1], { link = one[2] }) end
    list[#list + 1] = inner_dir(plan.identity.home, 448, { writable = true })
    plan.home = plan.identity.home
    return list
  end,
}

return { top = TOP, etc = ETC, directories = DIRECTORIES, links = LINKS }
