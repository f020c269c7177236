local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local running = require "nslua.running"
local watch = require "watch"

local sandbox, sys = nslua.sandbox, nslua.sys

--- A recipe's running payload; and what the list has of it.
local function spawned(box, ...)
  local marker = watch.marker()
  local argv = select("#", ...) > 0 and { ... } or { "sleep", marker }
  argv.stdout, argv.stderr = "null", "null"
  return assert(box:spawn(argv)), marker
end

local function entry_of(pid)
  for _, one in ipairs(running.list()) do
    if one.pid == pid then return one end
  end
end

local function ps(arguments, before)
  return probe.shell(("%s timeout 60 %s ps %s < /dev/null"):format(before or "", probe.nslua, arguments or ""))
end

describe("the list of what runs", function()
  it("has a sandbox with its payload, maker, user, name, age, memory, processes and command", function()
    local process <close> = spawned(sandbox "listed" {}, "sh", "-c", "sleep 30 & sleep 31; :")
    assert.is_true(watch.within(5, function() return (entry_of(process.pid) or {}).processes == 3 end))
    sys.poll(0.2)
    local one = entry_of(process.pid)
    assert.same({ "listed", sys.getpid(), { "sh", "-c", "sleep 30 & sleep 31; :" } }, { one.name, one.maker, one.command })
    assert.equal(process.stage:pid(), one.reaper)
    assert.is_true(one.seconds >= 0.1 and one.seconds < 30, one.seconds)
    assert.is_true(one.rss > 100000 and one.rss < 1 << 27)
    local uid = sys.stat("/proc/" .. process.pid).uid
    assert.same({ uid, sys.user_name(uid) }, { one.uid, one.user })
    local pid = process.pid
    process:close()
    assert.is_nil(entry_of(pid))
  end)

  it("has those without a PID namespace, with a payload that is PID 1, without any name, and that count calls", function()
    for _, fields in ipairs {
      { namespaces = { pid = false } }, { init = false }, {}, { seccomp = { mode = "log" } }, { namespaces = { "uts" } },
      { seccomp = { mode = "log" }, init = false },
    } do
      if not (fields.namespaces and fields.namespaces[1]) or probe.is_root then
        local process <close> = spawned(sandbox(fields))
        assert.same({ "", sys.getpid() }, { entry_of(process.pid).name, entry_of(process.pid).maker })
        local ours = 0
        for _, one in ipairs(running.list()) do ours = ours + (one.maker == sys.getpid() and 1 or 0) end
        assert.equal(1, ours)
      end
    end
  end)

  it("has a sandbox in a sandbox, and not the one that we are in", function()
    local code = [[
      local inner <close> = assert(sandbox "inner" {}:spawn { "sleep", "20", stdout = "null", stderr = "null" })
      for _, one in ipairs(require "nslua.running".list()) do print(one.name, inner.pid) end
      sys.poll(2)]]
    local outer = sandbox "outer" { nesting = true, fs = { nslua.fs.os(), nslua.fs.ro(probe.nslua, "/nslua") } }
    local process <close> = assert(outer:spawn { "/nslua", "-e", code, stdout = "capture", stderr = "stdout", timeout = 30 })
    assert.is_true(watch.within(5, function()
      process:wait(0)
      local makers = {}
      for _, one in ipairs(running.list()) do makers[one.maker or 0] = one.name end
      return makers[sys.getpid()] == "outer" and makers[process.pid] == "inner"
    end))
    assert.equal("", process:wait().stdout) -- /proc in there shows nobody that may not be looked into
  end)

  it("has a sandbox once, whatever further commands run in it", function()
    local process <close> = spawned(sandbox {})
    local command <close> = assert(process:exec { "sleep", "30", stdout = "null", stderr = "null" })
    local listed = {}
    for _, one in ipairs(running.list()) do listed[one.pid] = one end
    assert.truthy(command.pid)
    assert.is_nil(listed[command.pid])
    assert.equal(3, listed[process.pid].processes) -- with the stage of the command
  end)

  it("tells when the maker is gone", function()
    local marker = watch.marker()
    local output = watch.host(([[
      local box = sandbox "kept" { lifetime = "detached", namespaces = { "user", "pid" } }
      print(assert(box:spawn { "sleep", "%s", stdout = "null", stderr = "null" }).pid)]]):format(marker))
    local pid = math.tointeger(tonumber(output))
    assert.is_true(watch.within(5, function() return entry_of(pid) and entry_of(pid).maker ~= sys.getpid() end))
    local one = entry_of(pid)
    local adopted = one.maker == nil or probe.shell("ps -o pid= -p " .. one.maker) ~= "" -- by a subreaper
    assert.is_true(adopted)
    assert.equal("kept", one.name)
    probe.shell("kill -9 " .. pid)
    assert.is_true(watch.vanish(marker, 5))
  end)

  it("has no process that only calls itself so", function()
    local marker = watch.marker()
    local directory = probe.directory()
    probe.write(directory .. "/sandbox<fake>", ("sleep %s; :\n"):format(marker), "644")
    local output = probe.shell(
      ("cd %s; bash -c \"exec -a nslua sh 'sandbox<fake>'\" > /dev/null 2>&1 & echo $!"):format(directory))
    local pid = assert(math.tointeger(tonumber(output)), output)
    assert.is_true(watch.appear(marker))
    assert.equal("nslua\0sandbox<fake>\0", probe.read(("/proc/%d/cmdline"):format(pid)))
    for _, one in ipairs(running.list()) do assert.not_equal(pid, one.reaper) end
    probe.shell("kill -9 " .. pid)
    watch.vanish(marker, 0)
    probe.remove(directory)
  end)
end)

describe("nslua ps", function()
  it("shows a table, and nothing that a name or a word does to a terminal", function()
    local process <close> = spawned(sandbox "n\u{9b}31m \xff ü" {}, "sh", "-c", "sleep 30; : '\27[31m\n'")
    local output, status = ps()
    assert.equal(0, status)
    assert.matches("^ *PID +MAKER  USER +NAME +TIME  MEMORY  PROCS  COMMAND\n", output)
    local line = output:match("\n *(" .. process.pid .. " [^\n]*)")
    assert.matches("^%d+ +" .. sys.getpid() .. "  %S+ +n\\xc2\\x9b31m \\xff ü +0:%d%d +%d+[KM] +%d  sh %-c ", line)
    assert.truthy(line:find("sleep 30; : '\\x1b[31m\\x0a'", 1, true), line)
  end)

  it("reads no more of a process' words than a line has room for", function()
    local process <close> = spawned(sandbox {}, "sh", "-c", "sleep 30; : " .. ("x"):rep(100000))
    local output = ps()
    assert.truthy(output:find("\n *" .. process.pid .. " "))
    local command
    for _, one in ipairs(running.list()) do command = one.pid == process.pid and one.command or command end
    assert.equal("sleep 30; : xxx", command[3]:sub(1, 15))
    assert.is_true(#command[3] < 4096)
  end)

  it("is JSON for machines", function()
    local process <close> = spawned(sandbox "n\u{9b} \xff" {})
    local output = ps("--json", "") -- valid, whatever the names
    local path = probe.directory()
    probe.write(path .. "/json", output)
    local found, status = probe.shell(([[python3 -c 'import json, sys
for box in json.load(open("%s/json")):
  if box["pid"] == %d: print(ascii(box["name"]), box["maker"], box["command"][0], box["processes"])']]):format(path, process.pid))
    probe.remove(path)
    assert.equal(0, status, found)
    assert.equal(("'n\\x9b \\udcff' %d sleep 1\n"):format(sys.getpid()), found)
  end)

  it("cuts its lines to the terminal", function()
    local process <close> = spawned(sandbox {}, "sh", "-c", "sleep 30; : " .. ("ü"):rep(200))
    local box = sandbox { namespaces = { "user" }, seccomp = false, landlock = false, user = not probe.is_root and "self" or nil }
    if probe.is_root then box = sandbox { namespaces = {}, seccomp = false, landlock = false } end
    local result = assert(inside.run(box, {
      sys.getcwd() .. "/" .. probe.build .. "/nslua", "ps", tty = { rows = 24, columns = 60 }, stdin = "null", stderr = "null",
    }))
    local widest = 0
    for line in result.stdout:gmatch "[^\r\n]+" do widest = math.max(widest, utf8.len(line)) end
    assert.equal(60, widest, result.stdout)
    assert.truthy(process.pid)
  end)

  it("refuses what it does not know, with 125", function()
    assert.equal(125, select(2, ps "-x"))
    assert.equal(125, select(2, ps "--json x"))
  end)
end)
