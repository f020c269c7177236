local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"

local sandbox <const> = nslua.sandbox
local light <const> = sandbox { namespaces = { "user", "pid" } }
local without_pids <const> = sandbox { namespaces = { "user" } }
local payload_first <const> = sandbox { namespaces = { "user", "pid" }, init = false }

--- One of each kind of box, which end their processes in different ways.
local BOXES <const> = {
  ["in a PID namespace"] = light,
  ["without a PID namespace"] = without_pids,
  ["with the payload as PID 1"] = payload_first,
}

local function shell(box, script, options)
  local call = { "sh", "-c", script, stdout = "capture", stderr = "capture" }
  for key, value in pairs(options or {}) do call[key] = value end
  return assert(box:run(call))
end

--- Several ways to get away from a parent.
local function runaway(marker)
  return ("trap '' TERM HUP INT; setsid sleep %s & (sleep %s & ) ; setsid sh -c '(sleep %s &)' & sleep %s")
    :format(marker, marker, marker, marker)
end

describe("running a program", function()
  local before
  setup(function() assert(light:run { "true" }) end) -- the stage's image is made once
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  describe("tells how it ended:", function()
    it("every exit status from 0 to 255", function()
      for code = 0, 255 do
        local result = assert(light:run { "sh", "-c", "exit " .. code })
        assert.same({ code, nil, "exit", code == 0 }, { result.code, result.signal, result.reason, result.ok })
      end
    end)

    for name, box in pairs(BOXES) do
      it("a signal is no exit, " .. name, function()
        if name == "with the payload as PID 1" then return end -- it gets no signal it has not asked for
        local result = shell(box, "kill -TERM $$; sleep 1")
        assert.same({ 15, "signal", false }, { result.signal, result.reason, result.ok })
        assert.is_nil(result.code)
        assert.equal(143, shell(box, "exit 143").code)
      end)
    end

    it("a core-dumping signal has its own number, too", function()
      assert.equal(11, shell(light, "ulimit -c 0; kill -SEGV $$").signal)
    end)

    it("check() raises unless all is well", function()
      assert.equal(0, shell(light, "true"):check().code)
      local ok, err = pcall(function() shell(light, "exit 3"):check() end)
      assert.is_false(ok)
      assert.matches("exited with 3", tostring(err))
    end)

    it("the processor time, memory and duration it took", function()
      local busy = shell(light, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").usage
      assert.is_true(busy.user > 0.02 and busy.user <= busy.wall + 0.05)
      local idle = shell(light, "sleep 0.2").usage
      assert.is_true(idle.wall >= 0.2 and idle.wall < 2 and idle.user < busy.user / 8)
      assert.is_true(idle.maxrss > 500e3 and idle.maxrss < 100e6)
    end)

    it("the usage of the payload's children counts", function()
      local usage = shell(light, "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; true").usage
      assert.is_true(usage.user > 0.02)
    end)
  end)

  describe("gives it streams:", function()
    it("nothing to read by default", function()
      assert.equal("0\n", shell(light, "wc -c").stdout)
      assert.equal("/dev/null\n", shell(light, "readlink /proc/self/fd/0").stdout)
    end)

    it("null", function()
      local result = shell(light, "echo out; echo err >&2; readlink /proc/self/fd/1 >&2", { stdout = "null", stderr = "null" })
      assert.is_nil(result.stdout)
      assert.is_true(result.ok)
    end)

    it("capture keeps every byte, the two streams apart", function()
      local result = shell(light, [[printf 'a\000b\377\n'; printf 'e\001' >&2]])
      assert.same({ "a\0b\255\n", "e\1" }, { result.stdout, result.stderr })
    end)

    it("20 MB on both at once do not block", function()
      local result = shell(light, "head -c 20971520 /dev/zero >&2 & head -c 20971520 /dev/zero; wait", { timeout = 30 })
      assert.same({ 20 << 20, 20 << 20, true }, { #result.stdout, #result.stderr, result.ok })
    end)

    it("20 MB in, 20 MB out", function()
      local text = ("0123456789abcde\n"):rep(20 << 16)
      local result = shell(light, "cat", { stdin = text, timeout = 30 })
      assert.is_true(result.stdout == text)
    end)

    it("a big string to a program that reads nothing of it", function()
      local text = ("x"):rep(20 << 20)
      for _, script in ipairs { "true", "exec <&-; sleep 0.1", "head -c 3 >/dev/null" } do
        assert.is_true(shell(light, script, { stdin = text, timeout = 10 }).ok)
      end
    end)

    it("a string that is the name of a kind, as data", function()
      assert.equal("null", shell(light, "cat", { stdin = { data = "null" } }).stdout)
      assert.equal("", shell(light, "cat", { stdin = { data = "" } }).stdout)
    end)

    it("pipes are Lua files", function()
      local process <close> = assert(light:spawn { "sh", "-c", "cat; echo done >&2", stdin = "pipe", stdout = "pipe",
        stderr = "pipe" })
      assert.equal("file", io.type(process.stdin))
      process.stdin:write("one\ntwo\n")
      process.stdin:flush()
      assert.equal("one", process.stdout:read "l")
      process.stdin:close()
      assert.same({ "two\n", "done\n" }, { process.stdout:read "a", process.stderr:read "a" })
      assert.equal(0, process:wait().code)
      process.stdout:close()
      process.stderr:close()
    end)

    it("Lua files and fd handles", function()
      local directory = probe.directory()
      probe.write(directory .. "/in", "content")
      local input = assert(io.open(directory .. "/in"))
      local output = assert(io.open(directory .. "/out", "w"))
      assert(light:run { "cat", stdin = input, stdout = output })
      local second <close> = assert(sys.open(nil, directory .. "/out", { "write", "append" }))
      assert(light:run { "echo", "-handle", stdout = second })
      input:close()
      output:close()
      assert.equal("content-handle\n", probe.read(directory .. "/out"))
      probe.remove(directory)
    end)

    it("relay copies to our own; the payload does not hold them", function()
      local output = watch.host [[
        local result = assert(light:run { "sh", "-c", "echo out; echo err >&2; readlink /proc/self/fd/1 /proc/self/fd/2" })
        io.write(result.stdout == nil and "nil" or "text")
      ]]
      assert.matches("out", output)
      assert.matches("err", output)
      assert.matches("pipe:.*pipe:.*nil$", output)
    end)

    it("relay to a reader that has gone ends the payload, not us", function()
      local output = watch.host([[
        local result = assert(light:run { "sh", "-c", "while :; do echo y; done", timeout = 20 })
        io.stderr:write(result.reason, " ", result.signal or result.code, "\n")
      ]], { around = "%s | head -n 1" })
      assert.matches("signal 13", output)
    end)

    it("relay to a reader that does not read holds up no timeout", function()
      local output = watch.host([[
        local result = assert(light:run { "sh", "-c", "while :; do echo y; done", timeout = 1 })
        io.stderr:write(result.reason, "\n")
      ]], { around = "exec 3>&1; { %s 2>&3; } | sleep 3", seconds = 6 })
      assert.matches("timeout", output)
    end)

    it("inherit passes our own", function()
      local output = watch.host([[
        assert(light:run { "sh", "-c", "cat; echo err >&2; readlink /proc/self/fd/1", stdin = "inherit",
          stdout = "inherit", stderr = "inherit" })
      ]], { around = "f=$(mktemp); echo input | { %s; } >$f 2>&1; cat $f; rm $f" })
      assert.matches("^input\nerr\n/tmp/tmp", output)
    end)

    it("misuse is said before anything starts", function()
      local marker = watch.marker()
      for option, value in pairs { stdin = 5.5, stdout = "captur", stderr = {}, timeout = "soon", cwd = 5, env = 3 } do
        local ok, err = pcall(light.spawn, light, { "sleep", marker, [option] = value })
        assert.is_false(ok, option .. " was accepted")
        assert.matches(option, tostring(err), 1, true)
      end
      collectgarbage()
      assert.is_true(watch.vanish(marker, 0))
    end)

    it("words that are no strings, unknown options, no command: misuse", function()
      assert.has_error(function() light:run { "echo", 5 } end)
      assert.has_error(function() light:run { "echo", "a\0b" } end)
      local ok, err = pcall(light.run, light, { "true", stdou = "capture" })
      assert.is_false(ok)
      assert.matches("did you mean 'stdout'", tostring(err), 1, true)
      assert.has_error(function() light:run {} end)
    end)
  end)

  describe("ends it:", function()
    for name, box in pairs(BOXES) do
      it("a timeout ends everything, however it was started, " .. name, function()
        local marker = watch.marker()
        local started = sys.clock()
        local result = shell(box, runaway(marker), { timeout = 0.5 })
        assert.same({ "timeout", false }, { result.reason, result.ok })
        assert.is_true(sys.clock() - started < 5)
        assert.is_true(watch.vanish(marker, 0.1))
      end)

      it("what outlives the payload ends with it, " .. name, function()
        local marker = watch.marker()
        local result = shell(box, ("setsid sleep %s & (sleep %s &) ; sleep 0.1; exit 7"):format(marker, marker))
        assert.equal(7, result.code)
        assert.is_true(watch.vanish(marker, 0.1))
      end)

      it("<close> kills and reaps, " .. name, function()
        local marker = watch.marker()
        do
          local process <close> = assert(box:spawn { "sh", "-c", runaway(marker) })
          assert.is_true(watch.appear(marker, 2))
          assert.is_number(process.pid)
        end
        assert.is_true(watch.vanish(marker, 0.1))
      end)

      it("so does the garbage collector, " .. name, function()
        local marker = watch.marker()
        assert(box:spawn { "sh", "-c", runaway(marker) })
        assert.is_true(watch.appear(marker))
        collectgarbage()
        collectgarbage()
        assert.is_true(watch.vanish(marker, 0.1))
      end)

      it("stop() ends everything; wait tells, " .. name, function()
        local marker = watch.marker()
        local process <close> = assert(box:spawn { "sh", "-c", runaway(marker) })
        assert.is_true(watch.appear(marker, 2))
        process:stop()
        assert.same({ 9, "signal" }, { process:wait(5).signal, process:wait().reason })
        assert.is_true(watch.vanish(marker, 0.1))
      end)

      it("its maker's death ends everything, " .. name, function()
        local marker = watch.marker()
        local recipe = ({ [light] = [[{ "user", "pid" } ]], [without_pids] = [[{ "user" }]],
          [payload_first] = [[{ "user", "pid" }, init = false]] })[box]
        watch.host(([[
          local process = assert(sandbox { namespaces = %s }:spawn { "sh", "-c", %q })
          sys.poll(0.3)
          os.execute("kill -9 " .. sys.getpid())
        ]]):format(recipe, runaway(marker)))
        assert.is_true(watch.vanish(marker, 1))
      end)
    end

    for name, box in pairs(BOXES) do
      it("a stopped payload times out nevertheless, " .. name, function()
        local marker = watch.marker()
        local process <close> = assert(box:spawn { "sleep", marker, timeout = 0.5 })
        process:kill "STOP"
        assert.equal("timeout", process:wait(5).reason)
        assert.is_true(watch.vanish(marker, 0.1))
      end)
    end

    it("a payload that stops or kills its reaper gains nothing", function()
      for _, signal in ipairs { "STOP", "KILL" } do
        local marker = watch.marker()
        local output = watch.host(([[
          local box = sandbox { namespaces = { "user" }, landlock = false }
          local result = assert(box:run { "sh", "-c", "kill -%s $PPID; exec sleep %s", timeout = 1 })
          print(result.reason)
        ]]):format(signal, marker), { seconds = 4 })
        local gone = watch.vanish(marker, 1)
        -- It may act before the reaper has told of the start.
        local told = signal == "STOP" and output:find "time" or output:find "signal" or output:find "killed"
        assert.truthy(told, output)
        assert.is_true(gone, signal)
      end
    end)

    it("kill takes names and numbers", function()
      for signal, number in pairs { TERM = 15, SIGTERM = 15, INT = 2, KILL = 9, [1] = 1, [10] = 10 } do
        local process <close> = assert(light:spawn { "sleep", "5" })
        assert.is_true(process:kill(signal))
        assert.equal(number, process:wait(5).signal)
      end
      local process <close> = assert(light:spawn { "sleep", "5" })
      assert.is_true(process:kill())
      assert.equal(15, process:wait(5).signal)
      assert.has_error(function() process:kill "NOPE" end)
      assert.has_error(function() process:kill(-9) end)
      assert.has_error(function() process:kill(9.5) end)
    end)

    it("kill while it ends costs no result", function()
      for _ = 1, 50 do
        local process <close> = assert(light:spawn { "true" })
        while process:kill "WINCH" do sys.poll(0) end
        assert.is_true(assert(process:wait(30)).ok)
      end
    end)

    it("kill after the end is ESRCH, not somebody else's end", function()
      local process <close> = assert(light:spawn { "true" })
      assert(process:wait(5))
      local ok, err = process:kill "TERM"
      assert.is_nil(ok)
      assert.equal("ESRCH", err.code)
      assert.is_nil(process.pid)
    end)

    it("wait has a limit, and may be asked again and again", function()
      local process <close> = assert(light:spawn { "sh", "-c", "sleep 2; exit 9" })
      local started = sys.clock()
      local result, err = process:wait(0.1)
      assert.is_nil(result)
      assert.equal("ETIMEDOUT", err.code)
      assert.is_true(sys.clock() - started < 1.8)
      assert.is_nil((process:wait(0)))
      assert.equal(9, process:wait().code)
      assert.equal(process:wait(), process:wait(0))
    end)

    it("waiting for no time or no fd is misuse, said to the caller, and ends nothing", function()
      local process <close> = assert(light:spawn { "sleep", "9" })
      for _, bad in ipairs { { "x" }, { {} }, { 0 / 0 }, { 0, "x" }, { nil, {} } } do
        local ok, err = pcall(function() local _ = process:wait(bad[1], bad[2]) end)
        assert.is_false(ok)
        assert.matches("process_spec%.lua:%d+: wait: .* expected, got ", err)
      end
      assert.is_number(process.pid)
    end)

    it("a process says whether it runs, has ended or is closed", function()
      local process = assert(light:spawn { "true" })
      local closed = assert(light:spawn { "sleep", "9" })
      assert.equal("process (running)", tostring(process))
      process:wait()
      closed:close()
      assert.same({ "process (ended)", "process (closed)" }, { tostring(process), tostring(closed) })
      process:close()
      assert.equal("process (ended)", tostring(process))
    end)

    it("wait after close is an error that tells, not a crash", function()
      local process = assert(light:spawn { "sleep", "5" })
      process:close()
      process:close()
      local result, err = process:wait(1)
      assert.is_true(result ~= nil or err ~= nil)
      assert.is_nil((process:kill()))
    end)

    it("a time limit that is no number of seconds is misuse, not for ever", function()
      for _, limit in ipairs { 0 / 0, -1, math.huge } do
        local output, status = watch.host(([[
          print(pcall(light.run, light, { "sleep", "0.1", timeout = tonumber %q or 0/0 }))
        ]]):format(tostring(limit)), { seconds = 3 })
        assert.equal(0, status, tostring(limit) .. ": " .. output)
      end
    end)

    it("a recipe's limit holds, and a call's wins", function()
      local box = light:with { limits = { time = 0.2 } }
      assert.equal("timeout", assert(box:run { "sleep", "5" }).reason)
      assert.equal("exit", assert(box:run { "sleep", "0.4", timeout = 5 }).reason)
    end)
  end)

  describe("says why it could not start:", function()
    local directory
    setup(function() directory = probe.directory() end)
    teardown(function() probe.remove(directory) end)

    local function failure(...)
      local result, err = light:run { ... }
      assert.is_nil(result)
      assert.equal("execve", err.op)
      return err
    end

    it("command not found", function()
      local err = failure "no-such-command"
      assert.equal("ENOENT", err.code)
      assert.matches("command no%-such%-command: .*ENOENT.*not found in the sandbox's PATH", tostring(err))
      assert.matches("no such file", tostring(failure "/no/such/file"))
    end)

    it("a script whose interpreter is missing", function()
      probe.write(directory .. "/script", "#!/no/such/interpreter\n", "755")
      local err = failure(directory .. "/script")
      assert.equal("ENOENT", err.code)
      assert.matches("interpreter", err.hint)
    end)

    it("not executable", function()
      probe.write(directory .. "/plain", "echo hello\n", "644")
      assert.equal("EACCES", failure(directory .. "/plain").code)
      assert.equal("EACCES", failure(directory).code)
    end)

    it("no program format", function()
      probe.write(directory .. "/noformat", "\1\2\3\4 nothing that runs\n", "755")
      local err = failure(directory .. "/noformat")
      assert.equal("ENOEXEC", err.code)
      assert.is_string(err.hint)
    end)

    it("a directory of PATH that may not be searched does not hide a later one", function()
      local result = assert(light:run { "true", env = { PATH = "/root:/nowhere:/etc/passwd:/usr/bin:/bin" } })
      assert.is_true(result.ok)
    end)

    it("magic links lead out", function()
      for _, command in ipairs { "/proc/self/exe", "/proc/self/fd/0", "/dev/fd/0", "/dev/stdin" } do
        assert.equal("ELOOP", failure(command).code, command)
      end
      local result, err = light:run { "true", cwd = "/proc/self/cwd" }
      assert.is_nil(result)
      assert.equal("ELOOP", err.code)
    end)

    it("a working directory that is not there", function()
      local result, err = light:run { "true", cwd = "/no/such/directory" }
      assert.is_nil(result)
      assert.same({ "chdir", "ENOENT" }, { err.op, err.code })
    end)

    it("an argument list that is too long", function()
      local words = { "true" }
      for i = 2, 100 do words[i] = ("x"):rep(60000) end
      assert.equal("E2BIG", failure(table.unpack(words)).code)
    end)
  end)

  describe("starts it clean:", function()
    it("0, 1, 2 and nothing else, whatever we have open", function()
      local open = {}
      for i = 1, 100 do open[i] = assert(io.open "/proc/self/status") end
      for name, box in pairs { full = sandbox {}, light = light, without = without_pids, first = payload_first } do
        local result = assert(box:run { "ls", "/proc/self/fd", stdout = "capture" }, name)
        assert.equal("0\n1\n2\n3\n", result.stdout, name) -- 3 is the directory that ls reads
      end
      for _, file in ipairs(open) do file:close() end
    end)

    it("works whatever number our fds have", function()
      for count = 1, 130 do
        local open = {}
        for i = 1, count do open[i] = assert(io.open "/dev/null") end
        local result, err = light:run { "true" }
        for _, file in ipairs(open) do file:close() end
        assert.is_truthy(result, ("%d more fds open: %s"):format(count, tostring(err)))
      end
    end)

    it("four variables", function()
      local result = assert(sandbox {}:run { "env", stdout = "capture" })
      local names = {}
      for name in result.stdout:gmatch "([^\n=]+)=[^\n]*\n" do names[#names + 1] = name end
      table.sort(names)
      assert.same({ "HOME", "LANG", "PATH", "TERM" }, names)
    end)

    it("environment may be the caller's, whole or by name, of a recipe and of a run", function()
      local code = [[
        for _, how in ipairs { "all", { "MINE" } } do
          local env = { inherit = how, OTHER = "2" }
          local function seen(box, options)
            options[1], options[2], options[3] = "/bin/sh", "-c", "echo $MINE $OTHER"
            options.stdout = "capture"
            io.write(assert(box:run(options)).stdout)
          end
          seen(light:with { env = env }, {})
          seen(light, { env = env })
        end
      ]]
      assert.equal(("1 2\n"):rep(4), (watch.host(code, { through = "env MINE=1" })))
    end)

    it("variables of the call on top, false takes one away", function()
      local result = assert(light:run { "/usr/bin/env", env = { A = "b=c\n", PATH = false, LANG = false, TERM = false,
        HOME = false }, stdout = "capture" })
      assert.equal("A=b=c\n\n", result.stdout)
    end)

    it("default signal dispositions, nothing blocked, no pending death signal", function()
      for _, recipe in ipairs { "light", "sandbox {}", "sandbox { namespaces = { 'user' } }",
        "sandbox { namespaces = { 'user', 'pid' }, init = false }" } do
        local output = watch.host(([[
          local box = %s
          io.write(assert(box:run { "grep", "^Sig[BI]", "/proc/self/status", stdout = "capture" }).stdout)
        ]]):format(recipe), { through = "env --ignore-signal=HUP,INT,PIPE,CHLD,USR2 --block-signal=USR1,TERM,CHLD" })
        assert.matches("SigBlk:%s*0+\nSigIgn:%s*0+\n", output, 1, false, recipe)
      end
    end)

    it("umask 022, whatever ours is", function()
      local output = watch.host([[
        for _, umask in ipairs { false, tonumber("027", 8) } do
          local box = light:with { umask = umask or nil }
          io.write(assert(box:run { "sh", "-c", "umask", stdout = "capture" }).stdout)
        end
      ]], { around = "umask 077; %s" })
      assert.equal("0022\n0027\n", output)
    end)

    it("a session of its own, apart from ours and the reaper's", function()
      for name, box in pairs(BOXES) do
        local words = {}
        local stat = shell(box, "cat /proc/self/stat").stdout
        for word in stat:gsub("^.*%) ", ""):gmatch "%S+" do words[#words + 1] = word end
        local group, session = words[3], words[4]
        assert.equal(group, session, name)
        assert.not_equal("0", session, name)
        assert.not_equal(probe.shell "ps -o sid= -p $$":match "%d+", session, name)
      end
    end)

    it("PID 1 is the reaper; init = false makes it the payload", function()
      assert.not_equal("1\n", shell(light, "echo $$").stdout)
      assert.equal("1\n", shell(payload_first, "echo $$").stdout)
      assert.equal("1\n", shell(sandbox { init = false }, "echo $$").stdout)
    end)

    it("orphans are reaped while it runs", function()
      local result = shell(sandbox {},
        "for i in 1 2 3 4 5; do (sh -c 'exit 0' &) ; done; sleep 0.3; ps -eo stat,comm --no-headers")
      assert.is_nil(result.stdout:find "Z")
    end)
  end)

  describe("handles:", function()
    it("poll when something has happened: pollfd, events, timeout", function()
      local process <close> = assert(light:spawn { "sleep", "0.2", timeout = 10 })
      assert.equal("r", process:events())
      assert.equal(process.pollfd, process:fileno())
      assert.is_true(process:timeout() > 5 and process:timeout() <= 10)
      assert.is_false((sys.poll(0.01, process.pollfd, "r")))
      local result
      repeat -- its streams may end before it does
        assert.is_true((sys.poll(5, process.pollfd, "r")))
        result = process:wait(0)
      until result
      assert.equal(0, result.code)
    end)

    it("wait in cqueues", function()
      local found, cqueues = pcall(require, "cqueues")
      if not found then return pending "cqueues is not installed" end
      local process <close> = assert(light:spawn { "sh", "-c", "sleep 0.1; exit 4" })
      local loop, code = cqueues.new(), nil
      loop:wrap(function()
        local result
        repeat
          cqueues.poll(process)
          cqueues.cancel(process.pollfd) -- wait may close it
          result = process:wait(0)
        until result
        code = result.code
      end)
      assert(loop:loop(5))
      assert.equal(4, code)
    end)

    it("wait in luv", function()
      if not package.searchpath("luv", package.cpath) then return pending "luv is not installed" end
      local output = watch.host [[
        local uv = require "luv"
        local process = assert(light:spawn { "sh", "-c", "sleep 0.1; exit 5" })
        local poll = uv.new_poll(process:fileno())
        poll:start("r", function()
          local result = process:wait(0)
          if result then poll:close() print(result.code) end
        end)
        uv.run()
      ]]
      assert.equal("5\n", output)
    end)

    it("the pid is the payload's, as we see it", function()
      for name, box in pairs(BOXES) do
        local marker = watch.marker()
        local process <close> = assert(box:spawn { "sleep", marker })
        assert.same({ process.pid }, watch.processes(marker), name)
      end
    end)

    it("a detached sandbox outlives its handle and its maker", function()
      local marker = watch.marker()
      watch.host(([[
        local box = light:with { lifetime = "detached" }
        local process <close> = assert(box:spawn { "sleep", "%s", stdout = "null", stderr = "null" })
      ]]):format(marker))
      sys.poll(0.2)
      assert.equal(1, #watch.processes(marker))
      watch.vanish(marker, 0)
      assert.is_true(watch.within(1, function() return #watch.processes(marker) == 0 end))
    end)

    it("a detached sandbox ends at stop()", function()
      local marker = watch.marker()
      local process <close> = assert(light:with { lifetime = "detached" }:spawn { "sleep", marker })
      process:stop()
      assert.equal("signal", process:wait(5).reason)
      assert.is_true(watch.vanish(marker, 0.1))
    end)

    it("a forked copy neither kills nor reaps", function()
      local marker = watch.marker()
      local process <close> = assert(light:spawn { "sleep", marker })
      assert.equal(0, assert(sys.clone({}, function()
        process:close()
        return 0
      end)):wait())
      assert.equal(1, #watch.processes(marker))
      process:stop()
      assert.equal(9, process:wait(5).signal)
    end)
  end)

  describe("the stage makes another one (exec_spec has what that is good for)", function()
    it("for a command, its streams, its descriptors, its terminal", function()
      local process <close> = assert(sandbox {}:spawn { "sleep", "600" })
      local null <close> = assert(io.open "/dev/null")
      for _ = 1, 3 do
        local command <close> = assert(process:exec { "sh", "-c", "cat; test -e /dev/fd/9 && exit 5", stdin = "text",
          stdout = "capture", fds = { [9] = null } })
        local result = command:wait(30)
        assert.same({ 5, "text" }, { result.code, result.stdout })
        local shown <close> = assert(process:exec { "tty", tty = true, stdin = "null", stdout = "capture" })
        assert.equal("/dev/pts/0\r\n", shown:wait(30).stdout)
        assert.equal("ENOENT", select(2, process:exec { "no-such-command" }).code)
      end
    end)

    it("and goes on when it cannot use what it gets", function()
      local process <close> = assert(sandbox {}:spawn { "sleep", "600" })
      for registers = 3, 20, 17 do
        local stage <close> = assert(process.stage:exec { operations = "", registers = registers })
        assert.equal("joined", stage:receive(true))
        local kind, failure = stage:receive(true)
        assert.same({ "failed", 8 }, { kind, failure.errno }) -- ENOEXEC: the plan ends
      end
      local garbage <close> = assert(process.stage:exec { operations = ("\255"):rep(64), registers = 3 })
      assert.equal("joined", garbage:receive(true))
      local abandoned = assert(process.stage:exec { operations = "", registers = 3 })
      abandoned:close()
      local command <close> = assert(process:exec { "true" })
      assert.is_true(command:wait(30).ok)
    end)
  end)
end)
