--- What to do about a failure whose usual cause is known: op and errno -> a sentence, or a function
-- of the failure { op=, errno=, code=, path=, step= } and its operation (as of sys.decode) that may look at
-- the system first.
-- @module nslua.hints

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "l"
  file:close()
  return text
end

local function is(path, value) return read(path) == value end

local function user_namespaces_refused()
  if is("/proc/sys/kernel/unprivileged_userns_clone", "0") then
    return "unprivileged user namespaces are forbidden; see sysctl kernel.unprivileged_userns_clone"
  end
  if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") then
    return "unprivileged user namespaces are restricted by AppArmor;\n"
      .. "  see sysctl kernel.apparmor_restrict_unprivileged_userns"
  end
  if is("/proc/sys/user/max_user_namespaces", "0") then
    return "user namespaces are forbidden; see sysctl user.max_user_namespaces"
  end
end

local function namespaces_refused()
  return user_namespaces_refused()
    or "the caller may not make these namespaces: an ordinary user needs a user namespace with them, "
    .. "and\n  a chroot or a security module (container, seccomp) can forbid that too"
end

local function namespaces_exhausted()
  for _, kind in ipairs { "user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time" } do
    if is("/proc/sys/user/max_" .. kind .. "_namespaces", "0") then
      return ("see sysctl user.max_%s_namespaces, which is 0"):format(kind)
    end
  end
  return "too many namespaces exist or they are nested too deeply; "
    .. "see the sysctls user.max_*_namespaces"
end

local too_old = "this kernel lacks the call or the option; nslua needs Linux 5.12 or newer"

local processes_exhausted = "the limit on processes is reached (ulimit -u, cgroup pids.max)"

local CAP_SETFCAP <const> = 31

local function map_refused()
  local caller = require "nslua.sys".identity()
  if caller.uid == 0 and caller.capabilities >> CAP_SETFCAP & 1 == 0 then
    return "uid 0 maps itself with the capability setfcap only (since Linux 5.12): in a sandbox that nests others,\n  "
      .. "caps = { \"setfcap\" } or another user"
  end
  return user_namespaces_refused()
    or "an ordinary user can map the own uid and gid only, one line of count 1; root can map any"
end

local proc_masked = "something covers parts of the caller's own /proc (a container's masks), so the "
  .. "kernel\n  refuses a fresh one in a user namespace"

local H = {
  clone3 = {
    EPERM = namespaces_refused, EACCES = namespaces_refused,
    ENOSPC = namespaces_exhausted, EUSERS = namespaces_exhausted,
    EINVAL = "this kernel lacks one of the namespaces, or the call; nslua needs Linux 5.12 or newer",
    ENOSYS = too_old,
    EAGAIN = processes_exhausted,
  },
  unshare = { EPERM = namespaces_refused, ENOSPC = namespaces_exhausted, EINVAL = too_old },
  fork = {
    EPERM = namespaces_refused, ENOSPC = namespaces_exhausted,
    EAGAIN = processes_exhausted,
  },
  setns = {
    EPERM = "who joins needs sys_admin over it: it belongs to root, or to a user namespace that the caller did not make",
    EINVAL = "it is of another kind, or the caller's own user namespace",
  },
  record = { EAGAIN = processes_exhausted },
  uid_map = { EPERM = map_refused, EINVAL = "an entry overlaps another, or there are too many" },
  gid_map = { EPERM = map_refused, EINVAL = "an entry overlaps another, or there are too many" },
  setgroups = { EPERM = map_refused, EACCES = map_refused },
  ["execveat of the stage"] = {
    EACCES = "a memfd may not be executed here; see sysctl vm.memfd_noexec",
    EPERM = "a memfd may not be executed here; see sysctl vm.memfd_noexec",
  },
  ["memfd_create of the stage"] = { EACCES = "see sysctl vm.memfd_noexec" },
  ["fds of the stage"] = { EBADF = "the limit on open files is too low (ulimit -n)" },
  mount_setattr = {
    ENOSYS = too_old,
    EINVAL = function(_, operation)
      if tostring(operation[3]):find "idmap" then
        return "this file system cannot be idmapped, which is how root's writable binds are shared "
          .. "with the\n  sandbox's own user; { idmap = false } shares it with the ids as they are"
      end
    end,
    EPERM = "the host mounted it with more restrictions than are asked for here, and locks them (and atime) in a "
      .. "user\n  namespace: only root without one may lift them",
  },
  fsmount = { EPERM = proc_masked, ENOSYS = too_old },
  fsopen = { ENODEV = "this kernel has no such file system (a module may be missing: modprobe overlay)" },
  fsconfig = {
    EPERM = function(failure)
      return failure.step:find "^overlay" and "this kernel does not let an ordinary user mount an overlay (before Linux "
        .. "5.11, or forbidden):\n  share a copy with fs.rw, or run as root" or proc_masked
    end,
    EINVAL = function(failure)
      if not failure.step:find "^overlay" and not failure.step:find "^image" then return end
      return "the layers do not go together: upper and work have to be on one file system that has extended attributes\n  "
        .. "and is no overlay itself; neither may lie in the other; a layer may not be used twice; idmapped layers\n  "
        .. "(root's default) need Linux 5.19, or { idmap = false }"
    end,
    ENOENT = "upper or work does not exist",
    ELOOP = "a layer is used twice, or lies in another one; or upper or work is a symbolic link",
    EBUSY = "upper or work is in use by another overlay",
  },
  reopen = {
    ESTALE = "what the fd refers to is not at its path any more: it was moved, deleted, or something is mounted over it",
  },
  expect_no_user_namespaces = { EEXIST = "the payload could make a user namespace; nesting = false refuses it" },
  open = {
    ENOENT = function(failure)
      return failure.step:find "^remount" and "there is nothing to remount; { optional = true } skips it then" or nil
    end,
    ELOOP = function(failure)
      return failure.step:find "^landlock"
        and "in a tree that the recipe shares no link is followed: name what it leads to"
        or failure.step:find "^%a+ .* on " and "in a tree that the sandbox can write no link is followed, for an earlier run may "
          .. "have made it:\n  name what it leads to, or say { follow = true }" or nil
    end,
  },
  symlink = {
    EEXIST = function(failure)
      return failure.found and "a link to " .. failure.found .. " has that name already"
        or "something has that name already, and a link cannot be laid over it"
    end,
  },
  directory = { ENOTDIR = "something else has that name already", ELOOP = "a symbolic link has that name already" },
  expect_mount = {
    EROFS = "the kernel can use upper or work only for reading: both must belong to the sandbox's user, or who it stands for",
  },
  seccomp = {
    EINVAL = "the kernel does not take it as a filter: seccomp(2) says which instructions it may have",
    EBUSY = "who runs nslua has a filter with a listener itself, as in another sandbox with mode = \"log\"",
  },
  setrlimit = { EPERM = "a limit above the caller's own hard one is root's to give, without a new user namespace" },
  landlock_restrict = {
    EPERM = "without no_new_privs it takes sys_admin, which the caller has not; landlock = false does without",
    E2BIG = "sixteen rulesets hold already, and the kernel takes no more; landlock = false does without another one",
  },
  setpriority = {
    EACCES = "a nice value below the caller's own is root's to give, without a new user namespace; or the caller's\n  "
      .. "limit on it has to allow it (ulimit -e)",
  },
  ioprio_set = { EPERM = "the class realtime is root's to give, without a new user namespace" },
  oom_score_adj = { EACCES = "a value below the caller's own is root's to give, without a new user namespace" },
  sched_setaffinity = { EINVAL = "a CPU is not there, or the caller may not use it (taskset -cp $$; a cpuset)" },
  core_scheduling = { EINVAL = "this kernel is older than Linux 5.14, or built without CONFIG_SCHED_CORE" },
  chown = { EINVAL = "the id is not mapped in the sandbox (see the field user)" },
  open_tree = {
    ENOENT = function(failure)
      return failure.step:find "^overlay" and "a layer does not exist"
        or "the source does not exist; { optional = true } skips it then"
    end,
    EINVAL = function(_, operation)
      if not tostring(operation[3]):find "recursive" then
        return "without what is mounted below it, it cannot be cloned by an ordinary user: that would uncover what is hidden"
      end
      return "the source cannot be cloned: it is not mounted in the caller's mount namespace"
    end,
    EACCES = "the caller may not reach the source",
    ENOSYS = too_old,
  },
  attach = {
    ENOENT = "the mount point does not exist in what is mounted there, and nothing is created in "
      .. "it unasked:\n  make it there, or say { create = true }",
    ELOOP = function(_, operation)
      return operation[6] == "inside" and "a link on the way is followed, but the target itself must be none"
        or "a symbolic link of a foreign tree is not followed; { links = \"inside\" } does it, but for the target itself"
    end,
    ENOTDIR = "a file is mounted on a file, a directory on a directory",
    EINVAL = "a file is mounted on a file, a directory on a directory",
    EROFS = "the mount point would have to be made in a read-only tree",
  },
  mask = { ENOENT = "there is nothing to mask; { optional = true } skips it then" },
  execve = {
    ENOENT = function(failure)
      if failure.detail == 1 then
        return "the file is there, but its interpreter (ELF loader or #! line) is not in the sandbox"
      end
      return failure.path and failure.path:find "/" and "there is no such file in the sandbox"
        or "the command is not found in the sandbox's PATH"
    end,
    ENOEXEC = "the file is no program for this machine, or a script without a #! line (see the option scripts)",
    ELOOP = "a command may not be reached through /proc/*/fd, /proc/self/exe or the like",
    EACCES = "the file is not executable for the sandbox's user, or on a noexec mount",
  },
  look_up = { ELOOP = "a rule may not be about what is reached through /proc/*/fd, /proc/*/cwd or the like" },
  chdir = {
    ENOENT = "the directory does not exist in the sandbox",
    ELOOP = "a directory may not be reached through /proc/*/fd, /proc/*/cwd or the like",
  },
  expect_device = { ENODEV = "it is not the device that it should be" },
}

local M = {}

--- The hint for a failure, or nil.
function M.of(failure, operation)
  local of_op = H[failure.op]
  local hint = of_op and of_op[failure.code]
  if type(hint) == "function" then return hint(failure, operation) end
  if not hint and failure.code == "EMFILE" then return "the limit on open files is reached (ulimit -n)" end
  return hint
end

return M
