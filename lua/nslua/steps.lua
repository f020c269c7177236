--- How long each step of a start took: the maker's own, then those of the stage.
--
-- The items are the steps in their order: { step =, op =, at =, seconds = }, as those of an error; `op` is the primitive
-- that took the longest of several.
-- @classmod nslua.steps
local sys = require "nslua.sys"

local Steps = { __name = "nslua.steps" }
Steps.__index = Steps

function Steps.new() return setmetatable({ list = {}, last = sys.now() }, Steps) end

--- What comes next is not counted as a step.
function Steps:skip() self.last = sys.now() end

--- A step that has ended at a time. What consecutive operations do for one owner is one step.
local function add(self, owner, op, ended)
  local step, at = sys.escape(tostring(owner)), type(owner) == "table" and owner.at or nil
  local seconds = math.max(ended - self.last, 0) / 1e9
  self.last = ended
  local last = self.list[#self.list]
  if not last or last.step ~= step or last.at ~= at then
    last = { step = step, at = at, seconds = 0 }
    self.list[#self.list + 1], self.longest = last, 0
  end
  last.seconds = last.seconds + seconds
  if seconds >= self.longest then last.op, self.longest = op, seconds end
end

--- A step of the maker's ends now.
function Steps:mark(words) add(self, words, nil, sys.now()) end

--- How many times a stage is to note for these operations, which come next.
-- @tparam string operations bytes
-- @treturn integer
function Steps:expect(operations)
  self.operations = sys.decode(operations)
  self:skip()
  return #self.operations + 1
end

--- The stage has just told that the payload has started: the end of its execve, which nobody else could note.
-- @tparam table times of stage:times
-- @tparam table owners by note
-- @treturn table the list
function Steps:finish(times, owners)
  local started = sys.now()
  add(self, "stage", "execveat", times[1])
  for i, operation in ipairs(self.operations) do
    local ended = times[i + 1]
    add(self, owners[operation.note] or operation.name, operation.name, ended > 0 and ended or started)
  end
  return self.list
end

return Steps
