--- Environments as tables of variables.
-- @module nslua.environment
local sys = require "nslua.sys"

--- The caller's whole environment, over what is there.
local function add_all(env)
  for _, variable in ipairs(sys.environment()) do
    local name, value = variable:match "^([^=]+)=(.*)$"
    if name then env[name] = value end
  end
end

local M = {}

--- What comes of an environment by what a recipe or a run says: of `inherit` the caller's values, "all" of them or those of
--- some names; then what is named itself, where false takes a variable away.
-- @tparam table base
-- @tparam ?table more the field env
-- @treturn table a new one
function M.over(base, more)
  local env, inherit = {}, more and more.inherit or {}
  for name, value in pairs(base) do env[name] = value end
  if inherit == "all" then add_all(env) else
    for _, name in ipairs(inherit) do env[name] = os.getenv(name) end
  end
  for name, value in pairs(more or {}) do
    if name ~= "inherit" then env[name] = value or nil end
  end
  return env
end

return M
