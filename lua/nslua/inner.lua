--- One more user namespace below the sandbox's, for when all is set up: the mounts belong to the outer one.
-- @module nslua.inner
local M = {}

--- Records keeping what is out of reach later: the own files of /proc.
-- @tparam nslua.plan plan
function M.prepare(plan)
  if not plan.identity.inner then return end
  plan.own_process = plan.setup:open(nil, "/proc/self", { "path", "directory" })
  plan.own_namespaces = plan.own_namespaces or plan.setup:open(nil, "/proc/thread-self/ns", { "path", "directory" })
end

--- A new user namespace below the sandbox's, with the same ids. The files of /proc by which that is said are the
--- process's own only while it could be looked into; nobody else is in the sandbox yet.
local function record_new_inner(plan)
  local drop, identity = plan.drop, plan.identity
  drop:unshare "user"
  drop:dumpable(1)
  for _, file in ipairs {
    { "setgroups", "deny" }, { "gid_map", ("%d %d 1"):format(identity.gid, identity.gid) },
    { "uid_map", ("%d %d 1"):format(identity.uid, identity.uid) },
  } do
    local fd = drop:open(plan.own_process, file[1], "write")
    drop:write(fd, file[2])
    drop:close(fd)
  end
  drop:dumpable(0)
end

--- Records going there: from here on what is held is held over nothing that has been set up.
-- @tparam nslua.plan plan
function M.record(plan)
  local inner = plan.identity.inner
  if not inner then return end
  plan:owner "inner user namespace"
  if inner == true then record_new_inner(plan) else plan.drop:setns(inner, "user") end
  plan.drop:note_namespaces(plan.own_namespaces)
end

return M
