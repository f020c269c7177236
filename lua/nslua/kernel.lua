--- Which kernel this is.
-- @module nslua.kernel
local sys = require "nslua.sys"

local M = {}

--- Whether the running kernel is of this version or newer.
function M.at_least(major, minor)
  local have_major, have_minor = sys.release():match "^(%d+)%.(%d+)"
  return tonumber(have_major) * 1000 + tonumber(have_minor) >= major * 1000 + minor
end

return M
