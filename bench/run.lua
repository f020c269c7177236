--- The speed table of the design, measured: nslua run.lua OUT, with the programs that the Makefile made.
local OUT <const> = arg[1]
local directory = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = directory .. "/?.lua;" .. package.path

local nslua = require "nslua"
local measure = require "measure"

local NSLUA <const> = directory .. "/../build/nslua-installed"
local BWRAP <const> = directory .. "/../build/bwrap"
local LOOP <const> = NSLUA .. " " .. directory .. "/loop.lua %d"
local missed = 0

-- -- printing --

local function verdict(ok)
  if not ok then missed = missed + 1 end
  return ok and "ok" or "MISSED"
end

local function heading()
  print(("%-42s %10s %10s %7s %-13s %8s"):format("", "nslua", "other", "ratio", " rounds", "target"))
end

--- A comparison: medians in microseconds; the median and the middle half of the rounds' ratios.
local function row(name, target, result)
  print(("%-42s %10.0f %10.0f %7.2f (%.2f to %.2f) %8s %s"):format(name, result.ours, result.theirs, result.ratio,
    result.low, result.high, target and ("<= %.2f"):format(target) or "", target and verdict(result.ratio <= target) or ""))
end

--- A figure that has nothing beside it.
local function figure(name, unit, target, value)
  print(("%-42s %10s %40s %s"):format(name, ("%.0f %s"):format(value, unit),
    target and ("<= %d %s"):format(target, unit) or "", target and verdict(value <= target) or ""))
end

local function note(text) print("    " .. text) end
local function skip(name, reason) print(("%-42s skipped: %s"):format(name, reason)) end

local function has(program) return os.execute("command -v " .. program .. " > /dev/null 2>&1") end

--- A row that cannot be measured says so and does not end the others.
local function attempt(name, f)
  local ok, message = pcall(f)
  if not ok then skip(name, tostring(message)) end
end

-- -- the rows --

local function against_floor()
  row("box:run, against the floor", 1.15, measure.rounds(20, 20, LOOP, OUT .. "/floor-default %d"))
  note "floor: a C loop, the same system calls, no plan, no Lua (make -C bench same counts them)"
end

local function large_host()
  row("box:run with 1 GiB touched, against without", 1.10, measure.rounds(10, 30, LOOP .. " 1024", LOOP))
end

local function go()
  local size = assert(io.open(OUT .. "/clone-loop")):seek "end"
  if size == 0 then return skip("Go's exec.Cmd", "no go here") end
  local program = OUT .. "/clone-loop %d"
  row("Go's exec.Cmd, six new namespaces", 0.80, measure.rounds(15, 20, LOOP .. " 0 namespaces", program))
  row("  the floor of that, against Go", nil, measure.rounds(15, 20, OUT .. "/floor-namespaces %d", program))
  note "all: user uts ipc pid net cgroup, stdio on /dev/null, no files changed; nslua has a reaper, drops privileges"
  program = program .. " mount"
  row("the same with a new mount namespace", 0.80, measure.rounds(15, 20, LOOP .. " 0 mount", program))
  row("  the floor of that, against Go", nil, measure.rounds(15, 20, OUT .. "/floor-mount %d", program))
  note "Go: the host's mounts as copied; nslua: a clone of them (fs.host) as its root, the old one detached"
end

local function command_row(name, target, ours, theirs)
  row(name, target, measure.commands(OUT .. "/alternate", 10, 20, ours, theirs))
end

local function write_recipe(name, text)
  local path = OUT .. "/" .. name
  local file = assert(io.open(path, "w"))
  file:write(text, "\n")
  file:close()
  return ("%s run %s -- /bin/true"):format(NSLUA, path)
end

local function against_bwrap()
  if not has "bwrap" then return skip("nslua run, against bwrap", "no bwrap here") end
  local line = dofile(directory .. "/bwrap.lua")(nslua.sandbox {}, OUT)
  command_row("nslua run RECIPE, against bwrap", 0.70, write_recipe("default.lua", "return sandbox {}"), line)
  command_row("  the floor as a process, against bwrap", nil, OUT .. "/floor-default 1 0", line)
  note "both: the default recipe's binds, file systems, files, namespaces; bwrap's line is made from the plan"
  command_row("our bwrap, against bwrap", 0.75, (line:gsub("^bwrap", BWRAP)), line)
  command_row("nslua bwrap, against bwrap", 0.75, (line:gsub("^bwrap", NSLUA .. " bwrap")), line)
  note "the same words: by the program that make install WITH_BWRAP=1 installs, and by the command"
end

local function against_unshare()
  if not has "unshare" then return skip("nslua run, against unshare", "no unshare here") end
  local recipe = 'return sandbox { user = "root", net = "none", fs = { fs.host(), fs.proc { full = true } } }'
  command_row("nslua run RECIPE, against unshare", nil, write_recipe("host.lua", recipe),
    "unshare -U -r -m -u -i -n -p -f -C --mount-proc /bin/true")
  note "both: seven namespaces, 0 inside, the host's files, an own /proc"
end

local function start()
  if not has "lua5.4" then return skip("nslua -e '', against lua5.4", "no lua5.4 here") end
  row("nslua -e '', against lua5.4 -e ''", 1.15,
    measure.commands(OUT .. "/alternate", 10, 100, NSLUA .. " -e ''", "lua5.4 -e ''"))
end

local function filter()
  row("the default filter and Landlock's belt, against none", 1.10, measure.rounds(10, 30, LOOP, LOOP .. " 0 unfiltered"))
end

local function exec()
  row("process:exec, against box:run", nil, measure.rounds(10, 30, LOOP .. " 0 exec", LOOP))
end

--- A call of a function that adds two numbers.
local function calls()
  local program = ("%s %s/call.lua %%d "):format(NSLUA, directory)
  row("box:call, against box:run", nil, measure.rounds(10, 30, program .. "call", LOOP))
  local warm = measure.rounds(10, 400, program .. "pool", OUT .. "/ping %d")
  row("pool:call, warm, against a byte and back", nil, warm)
  figure("  there and back", "us", 100, warm.ours)
end

--- 100 MB through stdout = "capture", and through a plain pipe.
local function capture()
  local size, path = 100 << 20, OUT .. "/100MB"
  local file <close> = assert(io.open(path, "w"))
  for _ = 1, 100 do assert(file:write(("x"):rep(size // 100))) end
  file:flush()
  local program = ("%s %s/capture.lua %%d %s "):format(NSLUA, directory, path)
  row("100 MB captured, against cat FILE | cat", 1 / 0.7, measure.rounds(10, 6, program .. "capture", program .. "pipe"))
  row("  spooled, against the same", nil, measure.rounds(5, 3, program .. "spool", program .. "pipe"))
  row("  by a function, against the same", nil, measure.rounds(5, 3, program .. "function", program .. "pipe"))
  os.remove(path)
end

local function binds()
  local ours, floor = ("%s %s/binds.lua %%d 3 %s"):format(NSLUA, directory, OUT), ("%s/binds %%d 3 %s"):format(OUT, OUT)
  row("one of 2,000 binds, against the floor", 1.30, measure.slopes(5, { ours, 100, 2000 }, { floor, 100, 2000 }))
  row("one of 2,000 binds, against one of 500", nil, measure.slopes(5, { ours, 500, 2000 }, { ours, 100, 500 }))
  note "set-up, payload and end of a recipe that is compiled already; the difference between few and many"
end

local function compiling()
  local compile = require "compile"
  local cost, making = compile.cost()
  figure("compiling a recipe of 30 entries", "us", 200, cost)
  figure("  making its value (reading, checking)", "us", nil, making)
  figure("  compilations in ten runs", "time", 1, compile.compilations())
end

local function memory()
  local private, how, kernel = require "memory".idle()
  figure("an idle sandbox's reaper, private memory", "KiB", 100, private)
  note(how)
  note(("kernel side: about %.0f KiB a sandbox with its payload (Slab, KernelStack, PageTables, Percpu)"):format(kernel))
end

local caller = nslua.sys.identity()
print(("nslua bench: uid %d, Linux %s; median microseconds, in turn, smaller is better")
  :format(caller.uid, nslua.sys.release()))
heading()
attempt("box:run, against the floor", against_floor)
attempt("box:run with 1 GiB touched", large_host)
attempt("Go's exec.Cmd", go)
attempt("nslua run, against bwrap", against_bwrap)
attempt("nslua run, against unshare", against_unshare)
attempt("nslua -e '', against lua5.4", start)
attempt("filter", filter)
attempt("exec", exec)
attempt("calls", calls)
attempt("capture", capture)
attempt("binds", binds)
attempt("compiling", compiling)
attempt("memory", memory)
print(missed == 0 and "all targets met" or missed .. " targets missed")
