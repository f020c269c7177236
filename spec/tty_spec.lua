--- Terminals of the payload's own: what it finds, what we type and see, what becomes of our terminal.
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"
local sandbox = nslua.sandbox

local directory

--- What Python code prints that uses a terminal (see terminal.py) on which a command runs.
local function on_terminal(command, code)
  probe.write(directory .. "/dialogue.py", code)
  return (probe.shell(("timeout 60 python3 spec/support/terminal.py \"$(cat %s/dialogue.py)\" %s < /dev/null"):format(
    directory, command)))
end

local function run(command) return ("%s run %s"):format(probe.nslua, command) end

--- What a terminal shows on which a shell command runs.
local function shown_by(code, box, tty)
  local result = assert((box or sandbox {}):run { "sh", "-c", code, tty = tty or true, stdin = "null", stdout = "capture",
    timeout = 30 })
  return (result.stdout:gsub("\r\n", "\n"))
end

describe("tty", function()
  setup(function() directory = probe.directory() end)
  teardown(function() probe.remove(directory) end)

  describe("in the sandbox", function()
    it("is of its own devpts, the controlling terminal of a new session, and the console", function()
      local shown = shown_by "tty; ls -1 /dev/pts; echo a > /dev/tty; echo b > /dev/console; ps -o pid=,sid=,tty= -p $$"
      assert.matches("^/dev/pts/0\n0\nptmx\na\nb\n +(%d+) +%1 pts/0\n$", shown)
    end)

    it("is there in any recipe, as one of the host's where it has no devpts", function()
      for _, fields in ipairs { { namespaces = {} }, { namespaces = { "user", "pid" } }, { fs = { nslua.fs.host() } },
        { fs = { nslua.fs.image "/" } }, { init = false }, { session = false }, { caps = "all" }, { user = "root" },
        { limits = { nofile = 20 } } } do
        local shown = shown_by("tty; test -t 1 && test -t 2 && stty size", sandbox(fields), { rows = 33, columns = 44 })
        assert.matches("^/dev/pts/%d+\n33 44\n$", shown)
      end
    end)

    it("is the payload's", function()
      assert.equal("same crw--w----\n", shown_by "test $(stat -c %u /dev/pts/0) = $(id -u) && echo same $(stat -c %A /dev/pts/0)")
    end)

    it("has no master there, and no other fd", function()
      assert.equal(("/dev/pts/0\n"):rep(3), shown_by "for fd in /proc/$$/fd/?; do readlink $fd; done; ls /proc/1/fd 2> /dev/null")
    end)

    it("is not the streams that are said: stderr", function()
      local result = inside.run(sandbox {}, { "sh", "-c", "echo shown; echo apart >&2; test -t 2 || echo no >&2", tty = true,
        stdin = "null" })
      assert.same({ "shown\r\n", "apart\nno\n" }, { result.stdout, result.stderr })
    end)

    it("shows everything, in order, of a payload that writes a megabyte and ends", function()
      local result = assert(sandbox {}:run { "seq", "150000", tty = true, stdin = "null", stdout = "capture" })
      local lines = {}
      for line in result.stdout:gmatch "(%d+)\r\n" do lines[#lines + 1] = line end
      assert.equal(150000, #lines)
      assert.equal("150000", lines[150000])
      assert.equal(1088895 - 150000 + 150000, #result.stdout)
    end)

    it("is typed a text, and its end", function()
      for text, shown in pairs { ["one\ntwo\n"] = "<one><two>", ["no end"] = "<no end>", [""] = "" } do
        local result = assert(sandbox {}:run { "sh", "-c", "sed 's/.*/<&>/' | tr -d '\n'", tty = true, stdin = { data = text },
          stdout = "capture", timeout = 20 })
        assert.is_true(result.ok)
        assert.equal(shown, result.stdout:sub(-#shown)) -- behind the echo
      end
    end)

    it("is not lost to a payload that lets go of it for a moment", function()
      local result = inside.run(sandbox {}, { "python3", "-c", [[
import os, time
os.closerange(0, 3); time.sleep(0.2); fd = os.open("/dev/tty", os.O_RDWR); os.write(fd, b"back")]], tty = true, stdin = "null",
        stderr = "capture" })
      assert.equal("back", result.stdout)
    end)

    it("takes no input from the payload by TIOCSTI", function()
      local shown = shown_by [[python3 -c 'import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b"x")' 2>&1 | tail -1]]
      assert.matches("PermissionError", shown)
    end)
  end)

  describe("process", function()
    it("is driven through process.terminal, and resized", function()
      local process <close> = assert(sandbox {}:spawn { "sh", tty = true, stdin = "pipe", stdout = "pipe" })
      local shown = ""
      local function expect(pattern)
        while not shown:find(pattern) do shown = shown .. assert(process.terminal:read(10), "not shown: " .. pattern) end
      end
      assert.is_true(process.terminal:write "stty size; echo $((6 * 7))\n")
      expect "24 80\r\n42\r\n"
      assert.is_false(process.terminal:read(0.01) and process.terminal:read(0.01))
      assert.is_true(process:resize(50, 132))
      process.terminal:write "stty size\n"
      expect "50 132"
      process.terminal:write "\4"
      while process.terminal:read(10) do end
      assert.is_nil(process.terminal:read(1))
      assert.is_true(process:wait(10).ok)
      local ok, err = process:resize(1, 1)
      assert.is_nil(ok)
      assert.matches("no terminal", tostring(err))
    end)

    it("leaves nothing behind", function()
      local box = sandbox {}
      local function once()
        assert(box:run { "true", tty = true, stdin = "null", stdout = "capture" })
        assert(box:spawn { "cat", tty = true, stdin = "pipe", stdout = "pipe" }):close()
        assert(box:spawn { "cat", tty = true, stdin = "null", stdout = "capture" }):close()
        box:run { "/nonexistent", tty = true, stdin = "null", stdout = "capture" }
      end
      once()
      local before = watch.footprint()
      for _ = 1, 5 do once() end
      assert.same(before, watch.footprint(before))
    end)

    it("holds up a payload that shows more than is taken, and no more", function()
      local process <close> = assert(sandbox {}:spawn { "sh", "-c", "seq 1000000; echo done", tty = true, stdin = "null",
        stdout = "capture" })
      assert.is_nil((process:wait(0.01)))
      probe.shell "sleep 0.3"
      local result = assert(process:wait(30))
      assert.matches("1000000\r\ndone\r\n$", result.stdout)
    end)

    it("cannot have streams that a terminal has not", function()
      local box = sandbox {}
      for expected, options in pairs {
        ["with tty, stdin must be"] = { stdin = "inherit" }, ["with tty, stdout must be"] = { stdout = "null" },
        ["or none is"] = { stdin = "pipe" }, ["tty must be true"] = { tty = 1 },
        ["tty must be true, false"] = { tty = { row = 1 } },
      } do
        options[1], options.tty = "true", options.tty or true
        assert.matches(expected, (inside.mistake(box.run, box, options)))
      end
    end)

    it("without a number for one of its fds is an error", function()
      local output = watch.host(watch.WITH_FEW_FDS .. [[
        for _, box in ipairs { sandbox {}, light } do
          with_few_fds(box == light and 1 or 4, function()
            local result, err = box:run { "true", tty = true, stdin = "null", stdout = "capture" }
            return result and result.ok, err
          end)
        end
        print "held"
      ]])
      assert.equal("held\n", output)
    end)
  end)

  describe("our own terminal", function()
    it("works through: prompts, size, job control, ^C, ^Z, ^D", function()
      local output = on_terminal(run "-- bash --norc -i", [[
expect("bash-5"); keys("PS1='ready> '; bind 'set enable-bracketed-paste off'\r"); expect("ready> "); expect("ready> ")
keys("tty; stty size\r"); expect("/dev/pts/0\n24 80\nready> ")
resize(50, 120); keys("until stty size | grep 50; do sleep 0.05; done\r"); expect("\n50 120\nready> ")
keys("sh -c 'trap \"echo goes on\" CONT; echo begun; read one; read two'\r")
expect("\nbegun\n"); keys("\x1a"); expect("Stopped"); expect("ready> ")
keys("jobs\r"); expect("Stopped"); expect("trap"); expect("ready> ")
keys("fg\r"); expect("\ngoes on\n"); keys("\x03"); expect("^C"); expect("ready> ")
keys("jobs; echo status $?\r"); expect("echo status $?\nstatus 0\nready> ")
keys("echo reads; cat\r"); expect("\nreads\n"); keys("typed\r"); expect("typed\ntyped\n"); keys("\x04"); expect("ready> ")
print("raw", is_raw()); keys("exit 5\r"); print("status", status()); print("as before", settings() == before)]])
      assert.equal("raw True\nstatus 5\nas before True\n", output)
    end)

    it("shows a megabyte, of which nothing is missing", function()
      local output = on_terminal(run "-- seq 150000", [[
print(status(30), shown == "".join("%d\n" % i for i in range(1, 150001)))]])
      assert.equal("0 True\n", output)
    end)

    it("is as before when nslua is ended by a signal, and when it is killed", function()
      for number, status in pairs { [1] = 129, [15] = 143, [9] = -9 } do
        local output = on_terminal(run "-- sleep 98", ([[
print(becomes(is_raw)); time.sleep(0.3); program.send_signal(%d)
print(status(), becomes(lambda: settings() == before))]]):format(number))
        assert.equal(("True\n%d True\n"):format(status), output)
      end
    end)

    it("is as before when a program that uses the library is ended", function()
      local code = [[sandbox {}:run { "sleep", "98", tty = true }]]
      local output = on_terminal(("lua5.4 %s"):format(watch.program(directory, code)), [[
print(becomes(is_raw)); time.sleep(0.3); program.terminate(); print(status(), becomes(lambda: settings() == before))]])
      assert.equal("True\n-15 True\n", output)
    end)

    it("keeps what others have set since", function()
      local output = on_terminal(run "-- sleep 98", [[
becomes(is_raw); other = settings(); other[3] |= termios.ECHO; termios.tcsetattr(slave, termios.TCSANOW, other)
other = settings(); program.kill(); status(); time.sleep(0.2); print(settings() == other)]])
      assert.equal("True\n", output)
    end)

    it("is raw only while it is waited for, and again after a stop", function()
      local output = on_terminal(run "-- sleep 98", [[
print(becomes(is_raw)); program.send_signal(signal.SIGSTOP); time.sleep(0.1)
termios.tcsetattr(slave, termios.TCSANOW, before); print(is_raw()); program.send_signal(signal.SIGCONT)
print(becomes(is_raw)); program.terminate(); print(status())]])
      assert.equal("True\nFalse\nTrue\n143\n", output)
      local code = [[
        local process <close> = assert(sandbox {}:spawn { "sleep", "98", tty = true })
        print(process:wait(0.5)); io.read(); process:stop(); print(process:wait().signal)]]
      output = on_terminal(("lua5.4 %s"):format(watch.program(directory, code)), [[
print(becomes(is_raw)); expect("ETIMEDOUT"); print(settings() == before); keys("\r"); print(status(), settings() == before)]])
      assert.equal("True\nTrue\n0 True\n", output)
    end)

    it("is not the payload's: neither what it reads nor what it writes to", function()
      local output = on_terminal(run [[-- sh -c '
  python3 -c "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b\"x\")"; exec sleep 1']], [[
print(status(), "PermissionError" in shown, settings() == before)
import array; n = array.array("i", [0]); fcntl.ioctl(slave, termios.FIONREAD, n); print(n[0])]])
      assert.equal("0 True True\n0\n", output)
    end)

    it("does not get into its shell what it answers to the payload", function()
      local output = on_terminal(run [[-- sh -c 'printf \\033[c; sleep 0.5']], [[
expect("\x1b[c"); time.sleep(0.1); keys("\x1b[?1;2c"); print(status())
flags = fcntl.fcntl(slave, fcntl.F_GETFL); fcntl.fcntl(slave, fcntl.F_SETFL, flags | os.O_NONBLOCK)
try: print("read", os.read(slave, 100))
except BlockingIOError: print("nothing")]])
      assert.equal("0\nnothing\n", output)
    end)

    it("is not needed: stdin at its end is ^D, and --no-tty gives none", function()
      assert.equal("/dev/pts/0\r\nend\r\n", (probe.shell(run "--tty -- sh -c 'tty; cat; echo end' < /dev/null")))
      local output = on_terminal(run "--no-tty -- sh -c 'test -t 1 || echo none'", [[print(status(), shown.strip())]])
      assert.equal("0 none\n", output)
      assert.equal("", (probe.shell(run "-- sh -c 'test -t 1 && echo terminal' < /dev/null")))
    end)

    it("that nobody reads any more hangs up", function()
      local command = "{ timeout 20 %s < /dev/null; } 2> /dev/null | head -1"
      assert.equal("y\r\n", (probe.shell(command:format(run "--tty -- yes"))))
    end)

    it("may have stderr apart", function()
      local output = on_terminal(("sh -c '%s 2> %s/apart'"):format(run "-- sh -c \"echo shown; echo apart >&2\"", directory),
        [[print(status(), shown.strip())]])
      assert.equal("0 shown\n", output)
      assert.equal("apart\n", probe.read(directory .. "/apart"))
    end)
  end)

  it("works in tmux", function()
    if select(2, probe.shell "command -v tmux") ~= 0 then return pending "there is no tmux" end
    local tmux = ("env -u TMUX TMUX_TMPDIR=%s SHELL=/bin/sh tmux -f /dev/null -L nslua "):format(directory)
    finally(function() probe.shell(tmux .. "kill-server") end)
    probe.shell(("%s new-session -d -x 80 -y 24 'env -u ENV %s; echo status $?; exec sh'"):format(tmux, run "-- sh"))
    local function screen() return (probe.shell(tmux .. "capture-pane -p")) end
    local function shows(text)
      local found = watch.within(10, function() return screen():find(text, 1, true) end)
      if not found then error("not shown: " .. text .. "\n" .. screen(), 2) end
    end
    local function keys(...) probe.shell(tmux .. "send-keys '" .. table.concat({ ... }, "' '") .. "'") end
    shows "$"
    keys("tty; stty size", "Enter")
    shows "/dev/pts/0\n24 80\n"
    probe.shell(tmux .. "resize-window -x 100 -y 30")
    shows "/dev/pts/0\n24 80\n"
    keys("sleep 98", "Enter")
    shows "sleep 98\n"
    sys.poll(0.3)
    keys "C-c"
    shows "^C\n"
    keys("clear; stty size", "Enter")
    shows "30 100\n"
    keys("exit 5", "Enter")
    shows "status 5\n"
    keys("stty -a | grep -o \" icanon\"", "Enter")
    shows "\n icanon\n"
  end)
end)
