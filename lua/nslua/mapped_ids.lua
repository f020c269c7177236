--- Trees whose ids are mapped, in which the payload writes as somebody else: what does not go with them, because it
-- would let it leave a program there that has that one's rights.
-- @module nslua.mapped_ids
local sys = require "nslua.sys"

local M = {}

local FUSE_MAJOR <const>, FUSE_MINOR <const> = 10, 229

--- Whether /dev/fuse may be among what the recipe shares.
local function gives_fuse(entries)
  for _, item in ipairs(entries) do
    if item.verb.name == "device" and item.depth == 0 then
      local fd = item.options.from_fd
      local status = fd and sys.fstat(fd) or not fd and sys.stat(item.source)
      if status and status.major == FUSE_MAJOR and status.minor == FUSE_MINOR then return true end
    elseif item.options and item.options.dev then
      return true
    end
  end
end

--- What a recipe says that does not go with such a tree, or nil.
function M.problem(plan, recipe, may_mount)
  local function problem(what, why)
    return what .. " does not go with a tree whose ids are mapped (root's fs.rw, or idmap; a joined mount namespace may "
      .. "have one): " .. why .. "; say { idmap = false }"
  end
  if recipe.no_new_privs == false then
    return problem("no_new_privs = false", "what keeps set-user-id files from being made there needs it")
  elseif may_mount and gives_fuse(plan.entries) then
    return problem("/dev/fuse (or dev = true) with nesting or sys_admin",
      "an overlay of what it mounts makes set-user-id files there")
  end
end

return M
