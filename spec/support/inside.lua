--- Looking from inside a sandbox, and at what a recipe's mistakes say.
local M = {}

--- Runs a box with its output captured; the result, or the error as text.
function M.run(box, options)
  options.stdout, options.stderr = options.stdout or "capture", options.stderr or "capture"
  options.timeout = options.timeout or 30
  local result, err = box:run(options)
  return result, tostring(err), err
end

--- Output (both streams) and result of a program; raises when it could not be started.
local function output_of(box, program, code, options)
  options = options or {}
  options[1], options[2], options[3] = program, "-c", code
  local result, message = M.run(box, options)
  if not result then error(message, 3) end
  return result.stdout .. result.stderr, result
end

function M.sh(box, code, options) return output_of(box, "sh", code, options) end
function M.python(box, code, options) return output_of(box, "python3", code, options) end

--- What sandbox{ … } says of a recipe: the text of the error, or nil when it is accepted.
function M.mistake(f, ...)
  local ok, err = pcall(f, ...)
  return not ok and tostring(err) or nil
end

--- Options of the mount at a target, from a mountinfo text: a set, and the source's root, or nil.
function M.mount_at(mountinfo, target)
  local found, root
  for line in mountinfo:gmatch "[^\n]+" do
    local from, at, options = line:match "^%d+ %d+ %S+ (%S+) (%S+) (%S+)"
    if at == target then
      found, root = {}, from
      for option in options:gmatch "[^,]+" do found[option] = true end
    end
  end
  return found, root
end

--- Why f fails, or nil: for a spec of what is reported as a bug, which is skipped until it passes.
function M.failure(f)
  local ok, err = pcall(f)
  return not ok and "reported: " .. tostring(type(err) == "table" and err.message or err):sub(1, 200) or nil
end

return M
