--- From the index of an operation and an errno back to the recipe: what was tried, where, and why not.
-- @module nslua.failure
local Error = require "nslua.error"
local sys = require "nslua.sys"

local M = {}

--- A hint, if there is one. In a process out of fds a module may not load: then the error goes without.
local function hint_of(failure, operation)
  local ok, hints = pcall(require, "nslua.hints")
  return ok and hints.of(failure, operation) or nil
end

--- The object of an operation: its last absolute path; of execve the command.
local function path_of(operation)
  if operation.name == "execve" then return operation[1] end
  local path
  for _, argument in ipairs(operation) do
    if type(argument) == "string" and argument:find "^/" then path = argument end
  end
  return path
end

--- Operations that walk a path below a root: detail is how far they came.
local WALKS <const> = {
  attach = true, mask = true, mkdir = true, mknod = true, directory = true, symlink = true, write_file = true, open = true,
}

--- @tparam table operation as of sys.decode
-- @param owner the entry or the words that it was recorded for
-- @tparam table failure { errno, detail }
function M.of_operation(operation, owner, failure)
  local op = operation.name == "write" and tostring(owner) or operation.name
  local reason, code = sys.strerror(failure.errno)
  local described = {
    op = op, errno = failure.errno, code = code, reason = reason, path = path_of(operation),
    detail = failure.detail, found = failure.found, step = tostring(owner or op), at = type(owner) == "table" and owner.at or nil,
  }
  if op == "open_tree" and described.path and not described.step:find(described.path, 1, true) then
    described.step = described.step .. ": " .. described.path
  end
  if type(owner) == "string" and (owner:find "^step %d" or owner == "function in fs") then -- which of its calls
    described.step = described.step .. ": " .. op .. (described.path and " " .. described.path or "")
  end
  if op == "execve" and failure.detail > 1 then -- a filter of the command's
    described.op, described.path = "seccomp", nil
    described.step = failure.detail == 2 and "seccomp" or ("program %d of seccomp"):format(failure.detail - 2)
  end
  if WALKS[op] then
    described.target = type(owner) == "table" and owner.target or described.path
    if failure.detail > 0 and described.path and failure.detail < #described.path then
      described.on_the_way = true
      described.path = described.path:sub(1, failure.detail)
      described.step = described.step .. ": " .. described.path
    end
    if code == "ELOOP" then described.reason = "is a symbolic link" end
  end
  described.hint = hint_of(described, operation)
  return Error.new(described)
end

--- The failed one of a plan's operations.
-- @tparam string operations bytes
-- @tparam table owners by note
-- @tparam table failure { operation, errno, detail }
function M.of_plan(operations, owners, failure)
  local operation = sys.operation(operations, failure.operation + 1)
  return M.of_operation(operation, owners[operation.note], failure)
end

--- A failure before there was a stage.
function M.of_spawn(step, errno)
  local _, code = sys.strerror(errno)
  return Error.new { step = step, op = step, errno = errno, hint = hint_of { op = step, code = code } }
end

return M
