local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"

local sandbox <const> = nslua.sandbox
local light <const> = sandbox { namespaces = { "user", "pid" } }

local function shell(script, options)
  local call = { "sh", "-c", script, stdout = "capture", stderr = "capture", timeout = 30 }
  for key, value in pairs(options or {}) do call[key] = value end
  return assert(light:run(call))
end

describe("the streams of a run:", function()
  local before
  setup(function() assert(light:run { "true" }) end)
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  describe("both outputs in one:", function()
    it("stderr = \"stdout\" keeps the order they were written in", function()
      local lines = {}
      for i = 1, 50 do lines[i] = ("out %d\nerr %d\n"):format(i, i) end
      local script = "for i in $(seq 50); do echo out $i; echo err $i >&2; done"
      local result = shell(script, { stderr = "stdout" })
      assert.same({ table.concat(lines), nil }, { result.stdout, result.stderr })
    end)

    it("goes wherever stdout goes", function()
      local chunks = {}
      shell("echo out; echo err >&2", { stdout = function(chunk) chunks[#chunks + 1] = chunk end, stderr = "stdout" })
      assert.equal("out\nerr\n", table.concat(chunks))
      assert.matches("out\nerr\n", watch.host([[
        assert(light:run { "sh", "-c", "echo out; echo err >&2", stderr = "stdout" })
      ]], { around = "%s 2>/dev/null" }))
      local process <close> = assert(light:spawn { "sh", "-c", "echo out; echo err >&2", stdout = "pipe", stderr = "stdout" })
      assert.same({ "out\nerr\n", nil }, { process.stdout:read "a", process.stderr })
      process.stdout:close()
      assert.is_true(process:wait().ok)
    end)

    it("stdout = \"stdout\" is misuse", function()
      assert.has_error(function() light:run { "true", stdout = "stdout" } end)
    end)
  end)

  describe("a function as output", function()
    it("gets every byte, in order, while the program runs", function()
      local chunks, first = {}, nil
      local result = shell("echo now; sleep 0.3; head -c 3000000 /dev/zero; echo end", { stdout = function(chunk)
        first = first or sys.clock()
        chunks[#chunks + 1] = chunk
      end })
      assert.is_true(sys.clock() - first > 0.25)
      assert.equal("now\n" .. ("\0"):rep(3000000) .. "end\n", table.concat(chunks))
      assert.is_nil(result.stdout)
    end)

    it("is called for both streams apart", function()
      local seen = { out = "", err = "" }
      local function to(name) return function(chunk) seen[name] = seen[name] .. chunk end end
      shell("echo 1; echo 2 >&2", { stdout = to "out", stderr = to "err" })
      assert.same({ out = "1\n", err = "2\n" }, seen)
    end)

    it("may end the sandbox", function()
      local process
      process = assert(light:spawn { "yes", stdout = function() process:stop() end })
      local _running <close> = process
      assert.equal("signal", process:wait(5).reason)
    end)

    it("may close its own process: wait tells that it is gone", function()
      local process
      process = assert(light:spawn { "yes", stdout = function() process:close() end })
      local _running <close> = process
      assert.equal("ECHILD", select(2, process:wait(5)).code)
    end)

    it("that raises ends the sandbox; wait raises the same", function()
      local marker, mistake = watch.marker(), { "mine" }
      local process <close> = assert(light:spawn { "sh", "-c", "echo; sleep " .. marker, stdout = function() error(mistake) end })
      local ok, raised = pcall(process.wait, process, 5)
      assert.is_false(ok)
      assert.equal(mistake, raised)
      assert.is_true(watch.vanish(marker, 0))
      assert.equal("ECHILD", select(2, process:wait(1)).code)
    end)

    it("that raises at the very end counts, too", function()
      assert.error_matches(function()
        light:run { "sh", "-c", "echo", stdout = function() error "at the end" end }
      end, "at the end")
    end)

    it("may yield: it is called in the coroutine that waits", function()
      local run = coroutine.wrap(function()
        return assert(light:run { "echo", "x", stdout = function(chunk) coroutine.yield(chunk) end }).code
      end)
      assert.same({ "x\n", 0 }, { run(), run() })
    end)
  end)

  describe("a function as input", function()
    it("gives chunks until nil", function()
      local n = 0
      local result = shell("cat", { stdin = function()
        n = n + 1
        return n <= 1000 and ("%07d\n"):format(n):rep(100) or nil
      end })
      assert.equal(800000, #result.stdout)
      assert.equal("0001000\n", result.stdout:sub(-8))
      assert.equal(1001, n)
    end)

    it("that gives nothing is an empty input; an empty chunk is not the end", function()
      assert.equal("", shell("cat", { stdin = function() end }).stdout)
      local chunks = { "", "a", "", "b" }
      assert.equal("ab", shell("cat", { stdin = function() return table.remove(chunks, 1) end }).stdout)
    end)

    it("is asked no more when nobody reads", function()
      assert.is_true(shell("head -n 1 > /dev/null", { stdin = function() return ("line\n"):rep(1000) end }).ok)
    end)

    it("that raises, or gives what is no string, ends the sandbox", function()
      assert.error_matches(function() shell("cat", { stdin = function() error "no more" end }) end, "no more")
      assert.error_matches(function() shell("cat", { stdin = function() return 5 end }) end, "gave a number")
    end)
  end)

  describe("what is kept:", function()
    it("capture_limit cuts, and the result says so; the program notices nothing", function()
      local result = shell("head -c 300000 /dev/zero; echo done >&2", { capture_limit = "100K" })
      assert.same({ 100 << 10, "done\n", true, true }, { #result.stdout, result.stderr, result.truncated, result.ok })
      assert.is_nil(shell("head -c 1000 /dev/zero", { capture_limit = 1000 }).truncated)
      assert.is_true(shell("head -c 1001 /dev/zero", { capture_limit = 1000 }).truncated)
    end)

    it("all sizes come through whole", function()
      for _, size in ipairs { 0, 1, 16383, 16384, 16385, 65536, 4 << 20, (8 << 20) + 1 } do
        local text = shell(("head -c %d /dev/zero | tr '\\0' x"):format(size)).stdout
        assert.is_true(text == ("x"):rep(size), size)
      end
    end)

    it("\"spool\" is a file, at its beginning, that nobody else sees", function()
      local directory = probe.directory()
      local output = watch.host([[
        local result = assert(light:run { "sh", "-c", "head -c 3000000 /dev/zero; echo end; echo error >&2", stdout = "spool",
          stderr = "spool" })
        local text = result.stdout:read "a"
        print(io.type(result.stdout), #text, text:sub(-4), result.stderr:read "l", result.truncated)
        print((io.popen("ls -A " .. os.getenv "TMPDIR"):read "a"))
        print(sys.fstat(result.stdout).size, result.stdout:close(), result.stderr:close())
      ]], { through = "env TMPDIR=" .. directory })
      probe.remove(directory)
      assert.equal("file\t3000004\tend\n\terror\tnil\n\n3000004\ttrue\ttrue\n", output)
    end)

    it("a spool has a limit, too", function()
      local result = shell("head -c 300000 /dev/zero", { stdout = "spool", capture_limit = 1000 })
      assert.same({ 1000, true }, { #result.stdout:read "a", result.truncated })
      result.stdout:close()
    end)

    it("a spool that cannot be made is an error that says what to do", function()
      local output = watch.host([[
        local result, err = light:run { "true", stdout = "spool" }
        print(result, err, err.code, err.path)
      ]], { through = "env TMPDIR=/proc/self" })
      assert.matches("nil\tspool file in /proc/self: .*TMPDIR names another directory.*\t/proc/self\n", output)
    end)

    it("what is relayed to where nobody reads is dropped at the time limit, which the result says", function()
      local path = os.tmpname()
      probe.shell(([[timeout 60 %s -e '
        local began = sys.clock()
        local result = sandbox {}:run { "head", "-c", "300000", "/dev/zero", timeout = 2 }
        io.stderr:write(result.code, " ", tostring(result.truncated), " ", sys.clock() - began < 5 and "in time" or "late", "\n")
      ' 2> %s < /dev/null | sleep 6]]):format(probe.nslua, path))
      assert.equal("0 true in time\n", probe.read(path))
      os.remove(path)
    end)

    it("what is relayed to where there is no room ends the sandbox with an error", function()
      local recipe <const> = [[io.stdout:setvbuf "no"; local box = sandbox { namespaces = { "user", "pid" } };
        io.%s:write(tostring(select(2, box:run { "sh", "-c", "%s >&%d", timeout = 30 })))]]
      for _, code in ipairs { "echo said", "yes" } do
        local errors = probe.shell(("{ %s -e '%s' 2>&1 > /dev/full; }"):format(probe.nslua, recipe:format("stderr", code, 1)))
        assert.equal("relay of stdout: No space left on device (ENOSPC)", errors)
        local output = probe.shell(("{ %s -e '%s' 2> /dev/full; }"):format(probe.nslua, recipe:format("stdout", code, 2)))
        assert.equal("relay of stderr: No space left on device (ENOSPC)", output)
      end
    end)

    it("a spool that is full ends the sandbox with an error", function()
      local output = watch.host([[
        assert(sys.setrlimit("fsize", 100000, 100000))
        local result, err = light:run { "head", "-c", "300000", "/dev/zero", stdout = "spool" }
        print(result, err.code)
      ]], { through = "env --ignore-signal=XFSZ" })
      assert.equal("nil\tEFBIG\n", output)
    end)
  end)

  describe("fds:", function()
    local directory, path
    setup(function()
      directory = probe.directory()
      path = directory .. "/file"
      probe.write(path, "content\n", "644")
    end)
    teardown(function() probe.remove(directory) end)

    local BOXES <const> = {
      full = sandbox {}, light = light, without = sandbox { namespaces = { "user" } },
      first = sandbox { namespaces = { "user", "pid" }, init = false },
      few = sandbox { limits = { nofile = 64 } },
      listed = sandbox { namespaces = { "user" }, landlock = { ro = { "/" }, exec = { "/" } } },
    }

    it("come under their numbers, and nothing else", function()
      local open = {}
      for i = 1, 100 do open[i] = assert(io.open "/dev/null") end
      local handle <close> = assert(sys.open(nil, path, "read"))
      for name, box in pairs(BOXES) do
        local result = assert(box:run { "ls", "/proc/self/fd", stdout = "capture",
          fds = { [3] = open[1], [5] = handle, [9] = handle:fileno(), [63] = open[100] } }, name)
        assert.equal("0 1 2 3 4 5 63 9 ", (result.stdout:gsub("\n", " ")), name) -- 4 is the directory that ls reads
      end
      for _, file in ipairs(open) do file:close() end
    end)

    it("read and write what they are, without anything of the path inside", function()
      local output = assert(io.open(directory .. "/written", "w"))
      local input = assert(io.open(path))
      for name, box in pairs(BOXES) do
        input:seek "set"
        local result = assert(box:run { "sh", "-c", "cat <&3; echo $0 >&4", name, stdout = "capture",
          fds = { [3] = input, [4] = output } })
        assert.equal("content\n", result.stdout, name)
      end
      input:close()
      output:close()
      assert.equal(6, select(2, probe.read(directory .. "/written"):gsub("\n", "")))
    end)

    it("can be opened again for what they are open for, and no more", function()
      local input = assert(io.open(path))
      local box = sandbox { user = "root" }
      local result = assert(box:run { "sh", "-c", "cat /dev/fd/3; (echo bad > /dev/fd/3) 2>/dev/null || echo refused",
        stdout = "capture", fds = { [3] = input } })
      input:close()
      assert.equal("content\nrefused\n", result.stdout)
      assert.equal("content\n", probe.read(path))
    end)

    it("of a pipe, too", function()
      local reader, writer = sys.pipe()
      assert.is_true(assert(light:run { "sh", "-c", "echo status >&3", fds = { [3] = writer } }).ok)
      writer:close()
      assert.equal("status\n", sys.read(reader))
      reader:close()
    end)

    it("of directories only when asked for; then what is beneath", function()
      local tree <close> = assert(sys.open(nil, directory, { "read", "directory" }))
      local bare <close> = assert(sys.open(nil, path, "path"))
      for _, fd in ipairs { tree, bare } do
        local result, err = light:run { "true", fds = { [3] = fd } }
        assert.is_nil(result)
        assert.equal("fds[3]: a directory or O_PATH descriptor is not passed to a payload", tostring(err))
        assert.is_true(assert(light:run { "true", fds = { [3] = { fd, directory = true } } }).ok)
      end
      local script = "cat /proc/self/fd/3/file; ls /proc/self/fd/3/../../../etc >/dev/null 2>&1 && echo out"
      local result = assert(sandbox { user = "root" }:run { "sh", "-c", script, stdout = "capture",
        fds = { [3] = { tree, directory = true } } })
      local has_belt = (result.enforced.landlock or {}).files
      assert.equal(has_belt and "content\n" or "content\nout\n", result.stdout)
    end)

    it("that are none: misuse", function()
      local closed = assert(io.open(path))
      closed:close()
      for _, fds in ipairs { { [2] = io.stdout }, { [1 << 20] = io.stdout }, { [3] = "file" }, { [3] = closed }, { [3] = -1 },
        { [3] = { io.stdout, direktory = true } }, { [3] = { io.stdout, directory = 1 } }, { [3] = {} }, { io.stdout }, 3 } do
        assert.error_matches(function() light:run { "true", fds = fds } end, "fds must be")
      end
      local result, err = light:run { "true", fds = { [3] = 9999 } }
      assert.same({ nil, "EBADF" }, { result, err.code })
    end)

    it("do not stay for the next run of the same words", function()
      local input = assert(io.open(path))
      local words = { "sh", "-c", "cat <&3 || true", stdout = "capture", stderr = "null", fds = { [3] = input } }
      assert.equal("content\n", assert(light:run(words)).stdout)
      words.fds = nil
      assert.equal("", assert(light:run(words)).stdout)
      input:close()
    end)
  end)

  describe("a timeout with a grace", function()
    it("asks first: the payload may end as it likes, and it counts as a timeout", function()
      local result = shell("trap 'echo cleaned; exit 3' TERM; while :; do sleep 0.05; done", { timeout = 1, grace = 10 })
      assert.same({ "cleaned\n", 3, "timeout", false }, { result.stdout, result.code, result.reason, result.ok })
      assert.is_true(result.usage.wall < 9)
      assert.equal("timed out", tostring(result))
    end)

    it("ends what does not listen, after the grace", function()
      local marker = watch.marker()
      local result = shell("trap '' TERM; echo ready; sleep " .. marker, { timeout = 1, grace = 0.5 })
      assert.same({ "ready\n", 9, "timeout" }, { result.stdout, result.signal, result.reason })
      assert.is_true(result.usage.wall >= 1.5)
      assert.is_true(watch.vanish(marker, 0))
    end)

    it("asks nobody without one", function()
      assert.equal("", shell("trap 'echo cleaned' TERM; while :; do sleep 0.05; done", { timeout = 0.5 }).stdout)
    end)

    it("changes nothing for what ends in time, or when there is no time limit", function()
      assert.equal("exit", shell("exit 0", { timeout = 5, grace = 1 }).reason)
      assert.equal("exit", shell("exit 0", { grace = 1 }).reason)
      assert.has_error(function() light:run { "true", grace = -1 } end)
    end)

    it("holds for the recipe's limit, and for event loops", function()
      local process <close> = assert(light:with { limits = { time = 0.3 } }:spawn { "sleep", "30", grace = 10 })
      local ended
      repeat
        sys.poll(process:timeout(), process:fileno(), "r")
        ended = process:wait(0)
      until ended
      assert.same({ 15, "timeout" }, { ended.signal, ended.reason })
    end)
  end)
end)
