--- process:exec: further commands in a running sandbox.
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"
local fs, sandbox = nslua.fs, nslua.sandbox

--- Calls f with a running sandbox, which ends behind it.
local function with(fields, f, options)
  options = options or {}
  options[1], options[2] = options[1] or "sleep", options[2] or "600"
  local process <close> = assert(sandbox(fields):spawn(options))
  return f(process)
end

--- The result of a further command, both outputs captured.
local function exec(process, options)
  options.stdout, options.stderr = options.stdout or "capture", options.stderr or "stdout"
  options.timeout = options.timeout or 30
  local command <close> = assert(process:exec(options))
  return assert(command:wait())
end

--- What a further shell command prints.
local function sh(process, code, options)
  options = options or {}
  options[1], options[2], options[3] = "sh", "-c", code
  return exec(process, options).stdout
end

--- What the same shell command prints as the payload of a sandbox, and as a further one of another.
local function both(fields, code)
  return inside.sh(sandbox(fields), code), with(fields, function(process) return sh(process, code) end)
end

describe("exec", function()
  local before
  setup(function() with({}, function(process) exec(process, { "true" }) end) end)
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  describe("runs a command in the sandbox:", function()
    it("in the same namespaces, which its result names", function()
      with({ clock = { boottime = 99 } }, function(process)
        local code = "for k in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$k; done"
        local seen = exec(process, { "sh", "-c", code })
        local theirs = probe.shell(("for k in cgroup ipc mnt net pid time user uts; do readlink /proc/%d/ns/$k; done"):format(
          process.pid))
        assert.equal(theirs, seen.stdout)
        assert.same(process.enforced.namespaces, seen.enforced.namespaces)
        assert.is_true(seen.enforced.namespaces.time > 0)
      end)
    end)

    it("with the same root, names and processes, and what has changed in them", function()
      with({ hostname = "inside", fs = { fs.os(), fs.tmpfs "/scratch" } }, function(process)
        assert.equal("", sh(process, "echo kept > /scratch/file"))
        assert.equal("inside kept\n", sh(process, "echo $(hostname) $(cat /scratch/file)"))
        assert.matches("sleep", sh(process, "ps -e -o comm="))
        assert.equal(probe.read(("/proc/%d/mountinfo"):format(process.pid)), sh(process, "cat /proc/self/mountinfo"))
      end)
    end)

    it("with the environment, directory and mask of the recipe, and its own", function()
      local fields = { env = { A = "1", B = "2" }, cwd = "/usr", umask = 63 }
      with(fields, function(process)
        assert.equal("1 2 /usr 0077\n", sh(process, "echo $A $B $PWD $(umask)"))
        assert.equal("1 3 /etc 0077\n", sh(process, "echo $A $B $PWD $(umask)", { env = { B = "3" }, cwd = "/etc" }))
      end)
    end)

    it("as the same user, for every kind of recipe", function()
      for _, user in ipairs { "self", "root", "auto", { uid = 33, gid = 44 } } do
        local as_payload, as_further = both({ user = user }, "id; cut -c 1-10 /proc/self/uid_map")
        assert.equal(as_payload, as_further)
      end
    end)

    it("with the capabilities of the recipe, in all five sets", function()
      local list = sys.identity().uid == 0 and { false, { "net_bind_service" }, { "sys_ptrace", "kill" }, "all" }
        or { false, { "net_bind_service" }, "all" }
      for _, caps in ipairs(list) do
        local as_payload, as_further = both({ caps = caps or nil }, "grep Cap /proc/self/status")
        assert.equal(as_payload, as_further)
      end
      with({ caps = { "net_bind_service" } }, function(process)
        assert.same({ "net_bind_service" }, exec(process, { "true" }).enforced.capabilities)
        assert.is_true(exec(process, { "python3", "-c", "import socket; socket.socket().bind(('', 80))" }).ok)
      end)
    end)

    it("with no new privileges, one filter, and the bits locked", function()
      local as_payload, as_further = both({}, "grep -E 'NoNewPrivs|Seccomp' /proc/self/status")
      assert.matches("NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1", as_further)
      assert.equal(as_payload, as_further)
      with({ no_new_privs = false }, function(process)
        local held = exec(process, { "grep", "NoNewPrivs", "/proc/self/status" })
        assert.matches("1\n$", held.stdout)
        assert.is_true(held.enforced.no_new_privs)
      end)
      with({}, function(process)
        assert.same(process.enforced.securebits, exec(process, { "true" }).enforced.securebits)
        assert.is_false(exec(process, { "unshare", "--user", "true" }).ok)
      end)
    end)

    it("with the limits and the priority of the recipe", function()
      local fields = { limits = { nofile = 30, fsize = "1M", as = "3G" }, scheduling = { nice = 5, oom_score_adj = 100 } }
      local as_payload, as_further = both(fields, "ulimit -Sa; ulimit -Ha; nice; cat /proc/self/oom_score_adj")
      assert.equal(as_payload, as_further)
      with(fields, function(process)
        assert.same(process.enforced.limits, exec(process, { "true" }).enforced.limits)
        assert.is_true(exec(process, { "true", fds = { [20] = 0 } }).ok)
      end)
      as_payload, as_further = both({}, "ulimit -Sa; ulimit -Ha")
      assert.equal(as_payload, as_further)
    end)

    it("under Landlock: a directory that has leaked in is of no use", function()
      if (sys.landlock_abi() or 0) < 2 then return pending "there is no Landlock here" end
      local root <close> = assert(sys.open(nil, "/", "path"))
      local options = { "sh", "-c", "cat /proc/self/fd/9/proc/version", fds = { [9] = { root, directory = true } } }
      with({}, function(process) assert.matches("Permission denied", exec(process, options).stdout) end)
      with({ landlock = false }, function(process) assert.matches("^Linux", exec(process, options).stdout) end)
    end)

    it("in a sandbox without a PID namespace, and without any", function()
      for _, namespaces in ipairs { { "user" }, { "user", "mount" }, {} } do
        with({ namespaces = namespaces }, function(process)
          assert.equal("here\n", sh(process, "echo here"))
          assert.equal(7, exec(process, { "sh", "-c", "exit 7" }).code)
        end)
      end
    end)

    it("beside the payload, whose signals it does not get where there is no PID namespace", function()
      if (sys.landlock_abi() or 0) < 6 then return pending "Landlock keeps no signals here" end
      with({ namespaces = { "user" } }, function(process)
        local refused = exec(process, { "sh", "-c", ("kill -0 %d; kill -0 $PPID"):format(process.pid) })
        assert.equal(2, select(2, refused.stdout:gsub("Operation not permitted", "")))
      end)
      with({}, function(process)
        exec(process, { "sh", "-c", "kill -TERM $(pgrep -x sleep)" }) -- which may be its own end
        assert.equal(15, process:wait(30).signal)
      end)
    end)

    it("from another command, too", function()
      with({}, function(process)
        local first <close> = assert(process:exec { "sleep", "600" })
        local second <close> = assert(first:exec { "sh", "-c", "exit 4" })
        first:close()
        assert.equal(4, second:wait().code)
      end)
    end)
  end)

  describe("has the options of a run:", function()
    it("captures what is large, and gives text", function()
      with({}, function(process)
        assert.equal(50000000, #exec(process, { "head", "-c", "50000000", "/dev/zero" }).stdout)
        assert.equal("LOUD", exec(process, { "tr", "a-z", "A-Z", stdin = "loud" }).stdout)
        local limited = exec(process, { "seq", "100000", capture_limit = 100 })
        assert.same({ 100, true }, { #limited.stdout, limited.truncated })
      end)
    end)

    it("pipes, functions and descriptors", function()
      with({}, function(process)
        local command <close> = assert(process:exec { "cat", stdin = "pipe", stdout = "pipe" })
        command.stdin:write "through"
        command.stdin:close()
        assert.equal("through", command.stdout:read "a")
        assert.equal(0, command:wait().code)
        local chunks = {}
        exec(process, { "echo", "chunk", stdout = function(chunk) chunks[#chunks + 1] = chunk end })
        assert.equal("chunk\n", table.concat(chunks))
        local reader, writer = sys.pipe()
        assert.is_true(exec(process, { "sh", "-c", "echo three >&3", fds = { [3] = writer } }).ok)
        assert.equal("three\n", sys.read(reader, 100))
        reader:close()
        writer:close()
        assert.equal("0\n1\n2\n", sh(process, "for fd in $(seq 0 200); do test -e /proc/$$/fd/$fd && echo $fd; done; :"))
      end)
    end)

    it("descriptors that end with it, whatever the sandbox itself keeps open", function()
      local held = {}
      for i = 1, 8 do held[i] = assert(io.open "/dev/null") end
      with({ namespaces = { "user", "pid" } }, function(process)
        local reader, writer = sys.pipe()
        local fds = {}
        for number = 3, 9 do fds[number] = writer:fileno() end
        local code = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec sleep 600"
        local command <close> = assert(process:exec { "sh", "-c", code, fds = fds })
        writer:close()
        assert.is_true(sys.poll(30, reader, "r"))
        assert.equal("", sys.read(reader))
        assert.is_nil(command.result)
        reader:close()
      end, { hold = held })
      for _, file in ipairs(held) do file:close() end
    end)

    it("all the descriptors that there may be", function()
      with({}, function(process)
        local null <close> = assert(io.open "/dev/null")
        local fds = {}
        for number = 3, 63 do fds[number] = null end
        -- Without a pipe or a redirection, which the shell itself has for a moment.
        local count = "n=0; i=0; while [ $i -lt 99 ]; do [ -e /proc/$$/fd/$i ] && n=$((n + 1)); i=$((i + 1)); done; echo $n"
        assert.equal("64\n", sh(process, count, { fds = fds }))
      end)
    end)

    it("streams that it may open again", function()
      with({}, function(process)
        assert.equal("out\nerror\nin\n", sh(process, "echo out > /dev/stdout; echo error > /dev/stderr; cat /dev/stdin",
          { stdin = "in\n" }))
      end)
    end)

    it("a time limit, that is not the sandbox's", function()
      with({}, function(process)
        local result = exec(process, { "sleep", "600", timeout = 1 })
        assert.same({ "timeout", 9 }, { result.reason, result.signal })
        local asked = exec(process, { "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done", timeout = 1, grace = 10 })
        assert.same({ "timeout", 5 }, { asked.reason, asked.code })
        assert.is_true(exec(process, { "true" }).ok)
      end)
    end)

    it("a time limit that is the sandbox's, where that is shorter", function()
      with({ limits = { time = 0.5 } }, function(process)
        assert.equal("timeout", exec(process, { "sleep", "600" }).reason)
      end)
    end)

    it("a terminal of the sandbox's own devpts, or one of the host's", function()
      with({}, function(process)
        local options = { tty = { rows = 11, columns = 22 }, stdin = "null", stderr = nil }
        options[1], options[2], options[3] = "sh", "-c", "tty; stty size; echo a > /dev/tty; ps -o tty= -p $$"
        options.stdout, options.timeout = "capture", 30
        local command <close> = assert(process:exec(options))
        assert.equal("/dev/pts/0\r\n11 22\r\na\r\npts/0\r\n", command:wait().stdout)
      end)
      with({ namespaces = { "user", "pid" } }, function(process)
        local command <close> = assert(process:exec { "sh", "-c", "tty; stty size", tty = { rows = 11, columns = 22 },
          stdin = "null", stdout = "capture", timeout = 30 })
        assert.matches("^/dev/pts/%d+\r\n11 22\r\n$", command:wait().stdout)
      end)
    end)

    it("a terminal that is driven", function()
      with({}, function(process)
        local command <close> = assert(process:exec { "sh", tty = true, stdin = "pipe", stdout = "pipe" })
        command:resize(50, 132)
        command.terminal:write "stty size; exit 6\n"
        local shown = ""
        for part in function() return command.terminal:read() end do shown = shown .. part end
        assert.matches("50 132", shown)
        assert.equal(6, command:wait().code)
      end)
    end)

    it("what its own filter would have refused", function()
      with({ seccomp = { mode = "log" } }, function(process)
        local result = exec(process, { "unshare", "--user", "true" })
        assert.is_true(result.ok)
        assert.equal("unshare", result.refused[1].name)
        assert.is_nil(result.refused.incomplete)
        assert.same({}, { table.unpack(exec(process, { "true" }).refused) })
      end)
    end)
  end)

  describe("tells how it ended:", function()
    it("by status, by signal, with its usage", function()
      with({}, function(process)
        assert.equal(3, exec(process, { "sh", "-c", "exit 3" }).code)
        assert.equal(15, exec(process, { "sh", "-c", "kill -TERM $$" }).signal)
        local busy = exec(process, { "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done" })
        assert.is_true(busy.usage.user > 0 and busy.usage.maxrss > 0 and busy.usage.wall > 0)
      end)
    end)

    it("after a signal of ours, to it or to its group", function()
      with({}, function(process)
        local command <close> = assert(process:exec { "sleep", "600" })
        assert.is_true(command:kill "USR1")
        assert.equal(10, command:wait(30).signal)
        assert.equal("ESRCH", select(2, command:kill()).code)
        local group <close> = assert(process:exec { "sh", "-c", "sleep 600 & wait" })
        assert.is_true(group:kill("HUP", true))
        assert.equal(1, group:wait(30).signal)
      end)
    end)

    it("is seen from outside under its pid, as long as it runs", function()
      with({}, function(process)
        local marker = watch.marker()
        local command <close> = assert(process:exec { "sleep", marker })
        assert.is_true(watch.appear(marker))
        assert.same(watch.processes(marker), { command.pid })
        command:kill()
        command:wait(30)
        assert.is_nil(command.pid)
        assert.is_nil(command.pollfd)
      end)
    end)

    it("in wait_any, with others", function()
      with({}, function(process)
        local slow <close> = assert(process:exec { "sleep", "600" })
        local quick <close> = assert(process:exec { "sh", "-c", "exit 3" })
        local first, result = nslua.wait_any({ process, slow, quick }, 30)
        assert.equal(quick, first)
        assert.equal(3, result.code)
      end)
    end)
  end)

  describe("says why not:", function()
    it("a command that is missing", function()
      with({}, function(process)
        local command, err = process:exec { "no-such-command" }
        assert.same({ nil, "ENOENT", "execve" }, { command, err.code, err.op })
        assert.matches("PATH", err.hint)
      end)
    end)

    it("a directory that is missing", function()
      with({}, function(process)
        local command, err = process:exec { "true", cwd = "/nowhere" }
        assert.same({ nil, "ENOENT", "cwd /nowhere" }, { command, err.code, err.step })
      end)
    end)

    it("a wrong option raises, at the caller", function()
      with({}, function(process)
        assert.matches("exec_spec.lua:%d+: unknown option 'stdou' %(did you mean 'stdout'%?%)",
          inside.mistake(function() process:exec { "true", stdou = "null" } end))
      end)
    end)

    it("a payload that is PID 1 itself", function()
      with({ init = false }, function(process)
        local command, err = process:exec { "true" }
        assert.is_nil(command)
        assert.matches("init = false.*leave init out", tostring(err))
      end)
    end)

    it("a sandbox that has ended, whether we know that already or not", function()
      local process <close> = assert(sandbox {}:spawn { "true" })
      assert.is_true(watch.within(10, function()
        local command <close>, err = process:exec { "true" } -- luacheck: ignore
        return err and err.code == "ESRCH" and tostring(err):find "the sandbox has ended" ~= nil
      end))
      assert.is_true(process:wait().ok)
      assert.equal("ESRCH", select(2, process:exec { "true" }).code)
    end)

    it("a handle that is closed", function()
      local process = assert(sandbox {}:spawn { "sleep", "600" })
      process:close()
      assert.equal("ESRCH", select(2, process:exec { "true" }).code)
    end)

    it("a limit on processes or files that keeps the stage from being made", function()
      for limit, code in pairs { ["nproc=2:2"] = "EAGAIN", ["nofile=3:3"] = "EPROTO", ["nofile=4:4"] = "EBADF" } do
        with({}, function(process)
          local _, status = probe.shell(("prlimit --pid=%d --%s"):format(process.stage:pid(), limit))
          assert.equal(0, status)
          local command, err = process:exec { "true" }
          assert.is_nil(command)
          assert.matches("^exec: start of the stage: .*" .. code, tostring(err))
          assert.is_true(process:kill())
          assert.equal(15, process:wait(30).signal)
        end)
      end
    end)

    it("a terminal that the recipe's Landlock does not allow", function()
      if (sys.landlock_abi() or 0) < 1 then return pending "there is no Landlock here" end
      local rules = { exec = { "/usr", "/bin", "/lib", { "/lib64", optional = true } }, best_effort = true }
      local options = { "tty", tty = true, stdin = "null", stdout = "capture", timeout = 30 }
      with({ landlock = rules }, function(process)
        local command, err = process:exec(options)
        assert.same({ nil, "terminal", "EACCES" }, { command, err.step, err.code })
      end)
      rules.rw = { "/dev/pts" }
      with({ landlock = rules }, function(process)
        local command <close> = assert(process:exec(options))
        assert.matches("^/dev/pts/0\r\n", command:wait().stdout)
      end)
    end)

    it("a priority that cannot be had again", function()
      if not probe.is_root then return pending "only root raises a priority" end
      with({ namespaces = { "pid", "mount" }, scheduling = { nice = -5 } }, function(process)
        local command, err = process:exec { "true" }
        assert.same({ nil, "scheduling" }, { command, err.step })
      end)
    end)
  end)

  describe("ends", function()
    it("when it is closed, with its process group, and the sandbox goes on", function()
      for _, fields in ipairs { {}, { namespaces = { "user" } } } do
        with(fields, function(process)
          local marker = watch.marker()
          local command = assert(process:exec { "sh", "-c", ("sleep %s & sleep %s"):format(marker, marker) })
          assert.is_true(watch.appear(marker, 3))
          command:close()
          assert.is_true(watch.vanish(marker))
          assert.is_true(exec(process, { "true" }).ok)
        end)
      end
    end)

    it("before what it leaves in the background, which is the sandbox's then", function()
      for _, fields in ipairs { {}, { namespaces = { "user" } } } do
        local marker = watch.marker()
        with(fields, function(process)
          local code = ("yes & sleep %s & sleep 0.2; exit 3"):format(marker)
          local result = exec(process, { "sh", "-c", code, capture_limit = 1000 })
          assert.same({ 3, 1000 }, { result.code, #result.stdout })
          assert.is_true(watch.appear(marker))
        end)
        assert.is_true(watch.vanish(marker))
      end
    end)

    it("with the sandbox, whatever ends that", function()
      for _, fields in ipairs { {}, { namespaces = { "user" } }, { namespaces = {} } } do
        local ends = {
          function(process) process:kill "KILL" assert(process:wait(30)) end,
          function(process) process:close() end,
          function(process) process:stop() assert(process:wait(30)) end,
        }
        for _, finish in ipairs(ends) do
          local marker = watch.marker()
          local process <close> = assert(sandbox(fields):spawn { "sleep", "600" })
          local command <close> = assert(process:exec { "sleep", marker })
          assert.is_true(watch.appear(marker))
          finish(process)
          local result = assert(command:wait(30))
          assert.same({ 9, "signal" }, { result.signal, result.reason })
          assert.is_true(watch.vanish(marker))
        end
      end
    end)

    it("with its stage, whoever ends that", function()
      for _, fields in ipairs { {}, { caps = { "kill" } }, { namespaces = { "user" } } } do
        with(fields, function(process)
          local marker = watch.marker()
          local command <close> = assert(process:exec { "sleep", marker })
          local stage = probe.read(("/proc/%d/status"):format(command.pid)):match "PPid:%s*(%d+)"
          probe.shell("kill -9 " .. stage)
          assert.equal(9, command:wait(30).signal)
          assert.is_true(watch.vanish(marker))
          assert.is_true(exec(process, { "true" }).ok)
        end)
      end
    end)

    it("with its maker", function()
      for _, fields in ipairs { "{}", "{ namespaces = { 'user' } }" } do
        local marker = watch.marker()
        watch.host(([[
          local process = assert(sandbox(%s):spawn { "sleep", "%s" })
          local command = assert(process:exec { "sleep", "%s" })
          os.execute("kill -9 " .. sys.getpid())
        ]]):format(fields, marker, marker))
        assert.is_true(watch.vanish(marker))
      end
    end)

    it("not with its maker in a detached sandbox, but when it is killed", function()
      local marker, other = watch.marker(), watch.marker()
      local output = watch.host(([[
        local box = sandbox { namespaces = { "user", "pid" }, lifetime = "detached" }
        local process = assert(box:spawn { "sleep", "%s" })
        local command = assert(process:exec { "sleep", "%s" })
        local late = assert(process:exec { "sleep", "%s", timeout = 1 })
        print(late:wait().reason)
        process:close()
        command:close()
      ]]):format(marker, marker, other))
      assert.equal("timeout\n", output)
      assert.is_true(watch.vanish(other, 0))
      assert.is_true(watch.appear(marker, 2))
      watch.vanish(marker, 0)
    end)

    it("not by a forked copy of its maker, which can start none either", function()
      with({}, function(process)
        local command <close> = assert(process:exec { "sleep", "600" })
        local status = assert(sys.clone({}, function()
          command:close()
          local none, err = process:exec { "true" }
          return not none and tostring(err) == "exec: the sandbox is that of another process (EPERM)" and 0 or 1
        end)):wait()
        assert.equal(0, status)
        assert.is_true(command:kill())
        assert.equal(15, command:wait(30).signal)
      end)
    end)
  end)

  describe("among processes that stop or kill all others", function()
    local CODE <const> = [[
import os, sys
while True:
    for pid in range(os.getpid() + 1, os.getpid() + 400):
        try: os.kill(pid, int(sys.argv[1]))
        except OSError: pass
]]

    --- A further command, without any limit of time.
    local function attempt(signal)
      return with({}, function(process)
        sys.poll(0.5)
        local command, err = process:exec { "true" }
        if command then command:close() end
        return command, tostring(err)
      end, { "python3", "-c", CODE, tostring(signal), stdout = "null", stderr = "null" })
    end

    it("is given up, and does not make us wait for ever", function()
      local command, message
      for _ = 1, 30 do
        command, message = attempt(19)
        if not command then break end
      end
      assert.is_nil(command)
      assert.matches("not answered for 10 s", message)
    end)

    it("ends in time, also when it is stopped on its last steps", function()
      local directory <const> = probe.directory()
      probe.program(directory, "stopper", [[
        #include <signal.h>
        #include <stdlib.h>
        #include <unistd.h>
        int main(void) {
          for (int stage = getpid() + 1;; stage++) {
            while (kill(stage, 0) != 0 || kill(stage + 1, 0) != 0) continue;
            while (kill(stage + 1, 0) == 0) continue;
            for (volatile int n = rand() % 3000; n > 0;) n = n - 1;
            kill(stage++, SIGSTOP);
          }
        } ]])
      with({ fs = { fs.os(), fs.ro(directory, "/x") } }, function(process)
        for _ = 1, 50 do
          local command <close> = process:exec { "true", timeout = 1 }
          if command then assert(command:wait(30)) end
        end
      end, { "/x/stopper", stdout = "null", stderr = "null" })
      probe.remove(directory)
    end)

    it("is not taken for the end of the sandbox", function()
      for _ = 1, 5 do
        local command, message = attempt(9)
        if not command then assert.not_matches("has ended", message) end
      end
    end)
  end)

  describe("shows nothing of its stage", function()
    it("to a payload, whatever that holds", function()
      for _, caps in ipairs { false, { "sys_ptrace" }, "all" } do
        with({ caps = caps or nil, fs = { fs.os(), fs.proc("/proc", { hidepid = "off" }) } }, function(process)
          local secret = watch.marker()
          local command <close> = assert(process:exec { "sleep", "600", env = { SECRET = secret } })
          local code = [[
import os
stages = [p for p in os.listdir('/proc') if p.isdigit() and open('/proc/%s/comm' % p).read().startswith('memfd')]
print(len(stages))
for stage in stages:
    for name in 'mem', 'maps', 'environ', 'auxv', 'pagemap', 'stack':
        try:
            data = open('/proc/%s/%s' % (stage, name), 'rb').read(1)
            if data: print(stage, name)
        except OSError: pass
    for name in 'exe', 'cwd', 'root':
        try: print(stage, os.readlink('/proc/%s/%s' % (stage, name)))
        except OSError: pass
    try: print(stage, os.listdir('/proc/%s/fd' % stage))
    except OSError: pass
    if open('/proc/%s/cmdline' % stage).read() != 'nslua\0sandbox<>\0': print(stage, 'cmdline')
]]
          assert.equal("3\n", exec(process, { "python3", "-c", code }).stdout)
          assert.is_nil(command.result)
        end)
      end
    end)
  end)

  describe("many times", function()
    it("when the maker is killed meanwhile leaves nothing", function()
      local marker = watch.marker()
      for i = 1, watch.full and 200 or 20 do
        watch.host(([[
          local process = assert(sandbox(%s):spawn { "sleep", "%s" })
          os.execute("(sleep 0.0%d; kill -9 " .. sys.getpid() .. ") &")
          for _ = 1, 10000 do process:exec { "sleep", "%s" } end
        ]]):format(i % 2 == 0 and "{}" or "{ namespaces = { 'user' } }", marker, i % 7, marker))
      end
      assert.is_true(watch.vanish(marker))
    end)

    it("in a row leaves nothing", function()
      with({}, function(process)
        local inner = watch.footprint()
        for i = 1, 200 do assert.equal(i % 100, exec(process, { "sh", "-c", "exit " .. i % 100 }).code) end
        assert.same(inner, watch.footprint(inner))
        assert.equal("ps\nsleep\n", exec(process, { "ps", "-e", "-o", "comm=", "--sort=comm" }).stdout)
      end)
    end)

    it("at once loses nothing", function()
      with({}, function(process)
        local running = {}
        for i = 1, 20 do
          running[i] = assert(process:exec { "sh", "-c", "echo $0; exit $0", tostring(i), stdout = "capture", timeout = 60 })
        end
        for i, command in ipairs(running) do
          local result = assert(command:wait())
          assert.same({ i, i .. "\n" }, { result.code, result.stdout })
        end
      end)
    end)
  end)
end)
