--- What goes wrong, in words: where in the recipe, which step, on what, why, and what to do.
-- @classmod nslua.error
-- @field at "build.lua:7", where known
-- @field step what was tried: "bind /opt/sdk on /sdk"
-- @field op the primitive: "open_tree"
-- @field path the object
-- @field target what something was to be made at, as the recipe says it
-- @field on_the_way it was not come to: path is how far
-- @field found of a symbolic link that could not be made, where the one leads to that is there
-- @field errno number
-- @field code "ENOENT"
-- @field hint what to do, where the usual cause is known
-- @field problems for a bad recipe: the list of all mistakes, each { at=, message= }
local sys = require "nslua.sys"

local Error = { __name = "nslua.error" }
Error.__index = Error

local function located(at) return at and sys.escape(at) .. ": " or "" end

function Error:__tostring()
  if self.problems then
    local lines = {}
    for i, problem in ipairs(self.problems) do
      lines[i] = located(problem.at) .. problem.message
    end
    return table.concat(lines, "\n")
  end
  local text = located(self.at) .. self.step
  if self.reason then text = text .. ": " .. self.reason end
  if self.code then text = text .. " (" .. self.code .. ")" end
  if self.hint then text = text .. ";\n  " .. self.hint end
  return text
end

local M = {}

--- An error of the world.
function M.new(fields)
  if fields.errno and not fields.code then
    local reason, code = sys.strerror(fields.errno)
    fields.reason, fields.code = fields.reason or reason, code
  end
  fields.step, fields.reason = sys.escape(fields.step), fields.reason and sys.escape(fields.reason)
  return setmetatable(fields, Error)
end

--- All mistakes of a recipe, as one error.
function M.misuse(problems)
  return setmetatable({ problems = problems, step = problems[1].message, at = problems[1].at }, Error)
end

return M
