--- Taking turns and what comes of it.
-- @module measure
local M = {}

--- The value below which `part` of a list lies.
local function quantile(values, part)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  return sorted[math.max(1, math.ceil(#sorted * part))]
end

function M.median(values) return quantile(values, 0.5) end

--- The columns of numbers that a command prints; an error when it prints none.
local function columns_of(command)
  local columns = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do
    local i = 0
    for number in line:gmatch "[%d.]+" do
      i = i + 1
      columns[i] = columns[i] or {}
      table.insert(columns[i], tonumber(number))
    end
  end
  if not pipe:close() or not columns[1] then error("failed: " .. command, 0) end
  return columns
end

--- What two lists of rounds say: the medians, and of the rounds' own ratios the median and the middle half;
--- drift between rounds does not touch these.
local function compare(ours, theirs)
  local all, ratios = { {}, {} }, {}
  for round = 1, #ours do
    table.move(ours[round], 1, #ours[round], #all[1] + 1, all[1])
    table.move(theirs[round], 1, #theirs[round], #all[2] + 1, all[2])
    ratios[round] = M.median(ours[round]) / M.median(theirs[round])
  end
  return {
    ours = M.median(all[1]), theirs = M.median(all[2]), ratio = M.median(ratios),
    low = quantile(ratios, 0.25), high = quantile(ratios, 0.75),
  }
end

--- Two programs that print the microseconds of `count` runs each, in turn; who starts changes.
function M.rounds(rounds, count, ours, theirs)
  local a, b = {}, {}
  ours, theirs = ours:format(count), theirs:format(count)
  for round = 1, rounds do
    if round % 2 == 0 then a[round] = columns_of(ours)[1] end
    b[round] = columns_of(theirs)[1]
    if round % 2 == 1 then a[round] = columns_of(ours)[1] end
  end
  return compare(a, b)
end

--- What one more of something costs: of two programs that print the microseconds of runs with `count` of it,
--- each given as { command, few, many }.
function M.slopes(rounds, ours, theirs)
  local function cost(program)
    local command, few, many = table.unpack(program)
    local less, more = M.median(columns_of(command:format(few))[1]), M.median(columns_of(command:format(many))[1])
    return (more - less) / (many - few)
  end
  local a, b = {}, {}
  for round = 1, rounds do a[round], b[round] = { cost(ours) }, { cost(theirs) } end
  return compare(a, b)
end

--- Two commands as processes, one run of each in turn.
function M.commands(alternate, rounds, count, ours, theirs)
  local a, b = {}, {}
  for round = 1, rounds do
    local columns = columns_of(("%s %d %s VERSUS %s"):format(alternate, count, ours, theirs))
    a[round], b[round] = columns[1], columns[2]
  end
  return compare(a, b)
end

return M
