--- The verb os: the running system's programs. What of the host it shares as it is: top, and etc.
local sys = require "nslua.sys"
local verb = require "nslua.verb"

local inner, inner_ro, inner_dir = verb.inner, verb.inner_ro, verb.inner_dir
local SHARED_MODE <const> = 1023 -- 1777

-- Of /etc only what programs need to start and look things up; nothing that is anybody's data.
local ETC <const> = {
  "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs",
  "/etc/services", "/etc/protocols",
}
local TOP <const> = { "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" }

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
    passwd = plan.identity:passwd(), group = plan.identity:group(), ["nsswitch.conf"] = NSSWITCH,
    hosts = "127.0.0.1 localhost" .. host .. "\n::1 localhost" .. host .. "\n",
  }
  for _, name in ipairs { "passwd", "group", "hosts", "nsswitch.conf" } do
    list[#list + 1] = inner("file", "/etc/" .. name, { content = files[name] })
  end
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
    list[#list + 1] = inner_dir("/tmp", SHARED_MODE, { writable = true })
    list[#list + 1] = inner_dir("/run", nil, { writable = true })
    list[#list + 1] = inner("symlink", "/var/tmp", { link = "../tmp" })
    list[#list + 1] = inner("symlink", "/var/run", { link = "../run" })
    list[#list + 1] = inner_dir(plan.identity.home, 448, { writable = true })
    plan.home = plan.identity.home
    return list
  end,
}

return { top = TOP, etc = ETC }
