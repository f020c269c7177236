--- A read-eval-print loop; with history where lua-readline or linenoise is installed.
local HISTORY <const> = ".nslua_history"

local function plain_reader()
  return function(prompt)
    io.write(prompt)
    io.flush()
    return io.read "l"
  end
end

local function readline_reader()
  local ok, readline = pcall(require, "readline")
  if not ok then return nil end
  local home = os.getenv "HOME"
  readline.set_options { histfile = home and home .. "/" .. HISTORY or "", keeplines = 1000, completion = false }
  return readline.readline, readline.save_history
end

local function linenoise_reader()
  local ok, linenoise = pcall(require, "linenoise")
  if not ok then return nil end
  local home = os.getenv "HOME"
  local path = home and home .. "/" .. HISTORY
  if path then linenoise.historyload(path) end
  return function(prompt)
    local line = linenoise.linenoise(prompt)
    if line and line ~= "" then linenoise.historyadd(line) end
    return line
  end, function() if path then linenoise.historysave(path) end end
end

--- An expression is shown; anything else is a statement; an unfinished one asks for more lines.
local function compile(code)
  local chunk = load("return " .. code, "=stdin")
  if chunk then return chunk end
  local message
  chunk, message = load(code, "=stdin")
  if chunk then return chunk end
  return nil, message, message:find "<eof>" ~= nil
end

local function show(ok, ...)
  if not ok then
    io.stderr:write(tostring((...)), "\n")
  elseif select("#", ...) > 0 then
    print(...)
  end
end

return function()
  local read, save
  if require("nslua.sys").isatty(0) then
    read, save = readline_reader()
    if not read then read, save = linenoise_reader() end
  end
  read = read or plain_reader()
  print(require("nslua")._VERSION .. " on " .. _VERSION .. "; sandbox, fs and sys are loaded, Ctrl-D ends")
  local code = ""
  while true do
    local line = read(code == "" and "> " or ">> ")
    if not line then break end
    code = code == "" and line or code .. "\n" .. line
    local chunk, message, unfinished = compile(code)
    if chunk then show(xpcall(chunk, debug.traceback))
    elseif not unfinished then io.stderr:write(message, "\n") end
    if not unfinished then code = "" end
  end
  if save then save() end
  print()
end
