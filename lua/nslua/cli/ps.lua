--- nslua ps: the sandboxes that run, as a table or as JSON.
local sys = require "nslua.sys"

local printable = sys.escape

local function duration(seconds)
  local s = math.tointeger(seconds // 1)
  if s < 3600 then return ("%d:%02d"):format(s // 60, s % 60) end
  if s < 86400 then return ("%d:%02d:%02d"):format(s // 3600, s // 60 % 60, s % 60) end
  return ("%dd%02d:%02d"):format(s // 86400, s // 3600 % 24, s // 60 % 60)
end

local function memory(bytes)
  return bytes < 10 << 20 and ("%dK"):format(bytes >> 10) or ("%dM"):format(bytes >> 20)
end

local COLUMNS <const> = {
  { "PID", function(box) return tostring(box.pid) end, right = true },
  { "MAKER", function(box) return box.maker and tostring(box.maker) or "detached" end, right = true },
  { "USER", function(box) return printable(box.user or tostring(box.uid)) end },
  { "NAME", function(box) return printable(box.name) end },
  { "TIME", function(box) return duration(box.seconds) end, right = true },
  { "MEMORY", function(box) return memory(box.rss) end, right = true },
  { "PROCS", function(box) return tostring(box.processes) end, right = true },
  { "COMMAND", function(box) return printable(table.concat(box.command, " ")) end },
}

--- The cells, a row of heads first; and how wide the columns are.
local function table_of(list)
  local rows, widths = { {} }, {}
  for i, column in ipairs(COLUMNS) do
    for n = 0, #list do
      local cell = n == 0 and column[1] or column[2](list[n])
      rows[n + 1] = rows[n + 1] or {}
      rows[n + 1][i] = cell
      widths[i] = math.max(widths[i] or 0, utf8.len(cell))
    end
  end
  return rows, widths
end

local function line_of(row, widths)
  local cells = {}
  for i, cell in ipairs(row) do
    local space = (" "):rep(widths[i] - utf8.len(cell))
    cells[i] = COLUMNS[i].right and space .. cell or i < #row and cell .. space or cell
  end
  return table.concat(cells, "  ")
end

--- As much of a line as the terminal is wide.
local function cut(line, width)
  local stop = width and width > 0 and utf8.offset(line, width + 1)
  return stop and line:sub(1, stop - 1) or line
end

return function(words, usage_error)
  local json = words[1] == "--json"
  if #words > (json and 1 or 0) then usage_error("ps: unrecognized '" .. words[json and 2 or 1] .. "'") end
  local list = require "nslua.running".list()
  if json then
    print(require "nslua.json".encode(list))
    return 0
  end
  local _, width = sys.get_window_size(1)
  if not sys.isatty(1) then width = nil end
  local rows, widths = table_of(list)
  for _, row in ipairs(rows) do print(cut(line_of(row, widths), width)) end
  return 0
end
