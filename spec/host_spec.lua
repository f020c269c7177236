local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"

-- A sanitized build takes long, and sees in a few rounds what it can see.
local function rounds(all, some) return watch.full and all or probe.sanitized and some // 4 or some end

local IN_A_ROW <const> = rounds(10000, 500)
local AT_ONCE <const> = rounds(200, 60)
local MAKERS <const> = rounds(1000, 200)
local ROUNDS_OF_THREADS <const> = rounds(2000, 300)

--- A host program that checks itself: it prints "well" when nothing raised.
local function expect_well(code, options)
  local output, status = watch.host(code .. "\nio.stderr:write 'well\\n'", options)
  assert.same({ "well\n", 0 }, { output, status })
end

--- Exit statuses, signals and usage are right in four kinds of box.
local CHECK_RESULTS <const> = [[
  local boxes = { light, sandbox {}, sandbox { namespaces = { "user" } },
    sandbox { namespaces = { "user", "pid" }, init = false } }
  for i, box in ipairs(boxes) do
    for _ = 1, 5 do
      local result = assert(box:run { "sh", "-c", "echo text; exit 7", stdout = "capture", stderr = "null" })
      assert(result.code == 7 and result.stdout == "text\n" and result.usage.maxrss > 0, "status of box " .. i)
      if i < 4 then
        result = assert(box:run { "sh", "-c", "kill -KILL $$", stderr = "null", stdout = "null" })
        assert(result.signal == 9, "signal of box " .. i)
      end
      local process <close> = assert(box:spawn { "sleep", "5", stdout = "null", stderr = "null" })
      assert(not process:wait(0.01))
      process:stop()
      assert(process:wait(5).signal == 9, "stop of box " .. i)
    end
  end
]]

describe("in a host application", function()
  local before
  setup(function() assert(nslua.sandbox { namespaces = { "user", "pid" } }:run { "true" }) end) -- the stage's image is made once
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  describe("that is messy, results are right:", function()
    it("it ignores SIGCHLD", function()
      expect_well(CHECK_RESULTS, { through = "env --ignore-signal=CHLD" })
    end)

    it("it blocks every signal", function()
      expect_well(CHECK_RESULTS, { through = "env --block-signal" })
    end)

    it("its stdio is closed", function()
      expect_well("io.stderr:close() io.stderr = io.open('/dev/null', 'w')\n" .. CHECK_RESULTS
        .. "io.open(arg[1], 'w'):write 'well\\n'\n" .. "io.stderr = { write = function() end }",
        { around = "f=$(mktemp); %s $f <&- >&- 2>&-; cat $f; rm $f" })
    end)

    it("some of its stdio is closed: the payload has all three, and none of our own", function()
      for _, closed in ipairs { "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-" } do
        local output = watch.host([[
          for _, box in ipairs { light, sandbox {} } do
            local result = assert(box:run { "sh", "-c", "ls -l /proc/self/fd; cat", stdin = "text", stdout = "capture",
              stderr = "capture" })
            local fds = {}
            for fd in result.stdout:gmatch " (%d+) %->" do fds[#fds + 1] = fd end
            local list = table.concat(fds)
            local file = io.open(arg[1], "a")
            file:write(list, result.stdout:match "text$" or "no text", result.stderr, "\n")
            file:close()
          end
        ]], { around = "f=$(mktemp); %s $f " .. closed .. "; cat $f; rm $f" })
        assert.equal("0123text\n0123text\n", output, closed)
      end
    end)

    it("it has 20 fds: a right result, or an error that says so", function()
      for _, limit in ipairs { 20, 64, 70, 100, 256 } do
        local output, status = watch.host([[
          for _, box in ipairs { light, sandbox {} } do
            local result, err = box:run { "echo", "right", stdout = "capture" }
            io.write(result and result.stdout or tostring(err):gsub("\n", " ") .. "\n")
          end
        ]], { around = "ulimit -n " .. limit .. "; %s", seconds = 10 })
        assert.equal(0, status, output)
        for line in output:gmatch "[^\n]+" do
          assert.is_truthy(line == "right" or line:find "ulimit %-n", limit .. ": " .. line)
        end
        if limit == 256 then assert.equal("right\nright\n", output) end
      end
    end)

    it("its fds are used up in the middle: an error, never a hang", function()
      local output, status = watch.host([[
        local open = {}
        for _ = 1, 300 do
          local file = io.open "/dev/null"
          if not file then break end
          open[#open + 1] = file
        end
        for left = 0, 30 do
          local result, err = light:run { "echo", "right", stdout = "capture" }
          io.stderr:write(left, " ", result and result.stdout or tostring(err):gsub("\n", " ") .. "\n")
          open[#open]:close()
          open[#open] = nil
          collectgarbage()
        end
      ]], { around = "ulimit -n 200; %s", seconds = 20 })
      assert.equal(0, status, output)
      for line in output:gmatch "[^\n]+" do
        assert.is_truthy(line:find "right$" or line:find "EMFILE" or line:find "ulimit %-n", line)
      end
      assert.matches("30 right\n$", output)
    end)

    it("its garbage collector is off", function()
      expect_well([[
        collectgarbage "stop"
        for _ = 1, 100 do assert(light:run { "true" }) end
      ]], { around = "ulimit -n 128; %s" })
    end)

    it("its /proc/self/fd numbers are high", function()
      expect_well("for _ = 1, 500 do local f = io.open '/dev/null' keep = { f, keep } end\n" .. CHECK_RESULTS)
    end)

  end)

  -- A C program around liblua5.4: what Lua alone cannot be.
  describe("in C:", function()
    local directory, program
    setup(function()
      directory = probe.directory()
      program = directory .. "/host"
      probe.write(directory .. "/host.c", [[
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int done, children;

static void *allocate(void *unused) {
  (void)unused;
  while (!done) {
    void *p[64];
    for (int i = 0; i < 64; i++) memset(p[i] = malloc((size_t)i * 700 + 1), 1, (size_t)i * 700 + 1);
    for (int i = 0; i < 64; i++) free(p[i]);
  }
  return NULL;
}

static void *reap_all(void *unused) {
  (void)unused;
  while (!done) if (waitpid(-1, NULL, __WALL) < 0) usleep(50);
  return NULL;
}

static void on_child(int signal) { (void)signal; children++; }

static int own_children(lua_State *L) {
  lua_pushinteger(L, children);
  return 1;
}

static void *run(void *path) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_register(L, "own_children", own_children);
  int failed = luaL_dofile(L, path);
  if (failed) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return failed ? "failed" : NULL;
}

/* host SCRIPT what threads: each of "runners" runs the script in a state of its own */
int main(int argc, char **argv) {
  int threads = argc > 3 ? atoi(argv[3]) : 0, status = 0;
  const char *what = argc > 2 ? argv[2] : "";
  pthread_t thread[64];
  void *result = NULL;
  if (strcmp(what, "handler") == 0) {
    struct sigaction action = { .sa_handler = on_child };
    sigaction(SIGCHLD, &action, NULL);
  }
  for (int i = 0; i < threads; i++)
    pthread_create(&thread[i], NULL, strcmp(what, "reapers") == 0 ? reap_all
                                     : strcmp(what, "runners") == 0 ? run : allocate, argv[1]);
  if (strcmp(what, "runners") != 0) result = run(argv[1]);
  if (result) status = 1;
  done = 1;
  if (strcmp(what, "reapers") == 0) _exit(status);
  for (int i = 0; i < threads; i++) {
    pthread_join(thread[i], &result);
    if (result) status = 1;
  }
  return status;
}
]])
      local output, status = probe.shell(("cc -O1 -o %s %s.c $(pkg-config --cflags lua5.4) -llua5.4 -lpthread"):format(
        program, program))
      assert.equal(0, status, output)
    end)
    teardown(function() probe.remove(directory) end)

    local function run_in_c(code, what, threads, seconds)
      local script = watch.program(directory, code)
      local output, status = probe.shell(("timeout -s KILL %d %s %s %s %d"):format(seconds or 30, program, script,
        what or "''", threads or 0))
      assert.same({ "", 0 }, { output, status })
    end

    it("threads that reap every child take no result away", function() run_in_c(CHECK_RESULTS, "reapers", 2) end)

    it("8 threads that allocate all the time hang no spawn", function()
      run_in_c(("for _ = 1, %d do assert(light:run { '/bin/true' }) end"):format(ROUNDS_OF_THREADS), "allocators", 8, 60)
    end)

    it("8 threads spawn at once, each in its own state", function()
      run_in_c("for i = 1, 50 do assert(assert(light:run { 'sh', '-c', 'exit ' .. i % 256 }).code == i % 256) end",
        "runners", 8, 60)
    end)

    it("a SIGCHLD handler stays, and hears of its own children only as ever", function()
      run_in_c([[
        local count = own_children()
        assert(os.execute "true")
        local own = own_children() - count
        for _ = 1, 5 do
          local result = assert(light:run { "sh", "-c", "sleep 0.02; exit 3" })
          assert(result.code == 3)
        end
        local caught = assert(io.popen("grep SigCgt /proc/" .. sys.getpid() .. "/status")):read "a"
        assert(tonumber(caught:match "(%x+)%s*$", 16) & 1 << 16 ~= 0, "the handler is gone")
        assert(own == 0 or own == 1)
      ]], "handler")
    end)
  end)

  it("nothing of the caller changes: cwd, umask, ids, dumpable, mask, handlers, session, limits", function()
    expect_well([[
      -- Read by the process itself: a child of popen would see it in the middle of making that child.
      local function state()
        local lines = {}
        for _, name in ipairs { "status", "limits" } do
          for line in io.lines("/proc/self/" .. name) do
            local field = line:match "^[%w_]+"
            if not field:find "^Vm" and not field:find "^Rss" and not field:find "ctxt" and not field:find "^Huge"
              and field ~= "State" and field ~= "SigQ" and field ~= "SigPnd" and field ~= "FDSize" then
              lines[#lines + 1] = line
            end
          end
        end
        for _, link in ipairs { "cwd", "root", "ns/mnt", "ns/user", "ns/pid", "ns/net", "ns/uts", "ns/ipc", "ns/cgroup" } do
          lines[#lines + 1] = sys.readlink("/proc/self/" .. link)
        end
        lines[#lines + 1] = "owner " .. sys.stat("/proc/self/fd").uid -- root when it is not dumpable
        return table.concat(lines, "\n")
      end
      local before = state()
      for _, recipe in ipairs { {}, { namespaces = { "user", "pid" } }, { namespaces = { "user" } }, { init = false },
        { umask = 0 } } do
        assert(sandbox(recipe):run { "true", cwd = "/", timeout = 5 })
        assert(not sandbox(recipe):run { "no-such-command" })
      end
      local after = state()
      local lines = {}
      for line in before:gmatch "[^\n]+" do lines[line] = true end
      for line in after:gmatch "[^\n]+" do assert(lines[line], line) end
    ]], { through = "env --block-signal=USR1" })
  end)

  it("require does nothing: no fd, handler, mask, thread, process", function()
    local directory = probe.directory()
    local here = sys.getcwd()
    probe.write(directory .. "/require.lua", ([[
      package.path = "%s/lua/?.lua;%s/lua/?/init.lua;" .. package.path
      package.cpath = "%s/%s/lib/?.so;" .. package.cpath
      io.open("/proc/self/comm"):close()
      local nslua = require "nslua"
      local box = nslua.sandbox { hostname = "none" }
      io.open("/proc/self/statm"):close()
    ]]):format(here, here, here, probe.build))
    local trace = probe.shell(("strace -f -o %s/trace lua5.4 %s/require.lua; cat %s/trace"):format(directory, directory,
      directory))
    probe.remove(directory)
    local part = trace:match "/proc/self/comm.-\n(.*)/proc/self/statm"
    assert.is_string(part)
    local open, seen = {}, {}
    for name, fd in part:gmatch "%d+%s+(%l[%w_]*)%([^\n]-= (%-?%d+)" do
      seen[name] = true
      if name == "openat" and tonumber(fd) >= 0 then open[fd] = true end
    end
    for fd in part:gmatch "%sclose%((%d+)" do open[fd] = nil end
    open[part:match "openat%([^\n]*= (%d+)[^\n]*$" or ""] = nil
    assert.same({}, open)
    for _, name in ipairs { "rt_sigaction", "rt_sigprocmask", "clone", "clone3", "fork", "vfork", "execve", "socket",
      "memfd_create", "pipe2", "umask", "chdir", "getenv", "unshare", "setsid" } do
      assert.is_nil(seen[name], name)
    end
  end)

  describe("that makes many", function()
    local function ipcs_and_temporaries()
      return (probe.shell("find /dev/shm /tmp -maxdepth 1 -user $(id -u) -name '*nslua*'; "
        .. "cat /proc/sysvipc/*; wc -l < /proc/mounts"))
    end

    it("in a row, nothing is left", function()
      local fds = watch.footprint()
      local files = ipcs_and_temporaries()
      local function run_all()
        local cheap, full = nslua.sandbox { namespaces = { "user", "pid" } }, nslua.sandbox {}
        for i = 1, IN_A_ROW do
          local box = i % 5 == 0 and full or cheap
          local result = assert(box:run { "sh", "-c", "exit " .. i % 256 })
          assert.equal(i % 256, result.code)
        end
      end
      run_all()
      assert.same(fds, watch.footprint(fds))
      assert.equal(files, ipcs_and_temporaries())
    end)

    it("at once, each ends as it should and nothing is left", function()
      local marker = watch.marker()
      local box = nslua.sandbox { namespaces = { "user", "pid" } }
      local running = {}
      for i = 1, AT_ONCE do
        running[i] = assert(box:spawn { "sh", "-c", "sleep 0.2; exit $0", tostring(i % 256), marker })
      end
      for i = 1, AT_ONCE do assert.equal(i % 256, running[i]:wait(20).code) end
      running = {}
      for i = 1, AT_ONCE do running[i] = assert(box:spawn { "sleep", marker }) end
      assert.is_true(watch.appear(marker, AT_ONCE))
      for i = 1, AT_ONCE do running[i] = nil end
      collectgarbage()
      collectgarbage()
      assert.is_true(watch.vanish(marker, 0.5))
    end)

    it("that fail, nothing is left", function()
      local full = nslua.sandbox {}
      for _ = 1, IN_A_ROW // 5 do
        assert.is_nil((full:run { "no-such-command" }))
        assert.is_nil((nslua.sandbox { fs = { nslua.fs.os(), nslua.fs.ro "/no/such/source" } }:run { "true" }))
      end
    end)
  end)

  describe("that is killed while it starts a sandbox", function()
    --- Starts many makers, each killed after a random time below 8 ms from when it begins.
    local function kill_makers(recipe, count, marker)
      local directory = probe.directory()
      local maker = watch.program(directory, ([[
        local box = sandbox %s
        box:plan()
        io.write "x" io.flush()
        box:spawn { "sleep", "%s", stdout = "null", stderr = "null" }
        sys.poll(10)
      ]]):format(recipe, marker))
      probe.write(directory .. "/killer.py", [=[
import os, random, subprocess, sys, time, signal
random.seed(os.getpid())
for _ in range(int(sys.argv[2])):
    maker = subprocess.Popen(["lua5.4", sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    maker.stdout.read(1)
    until = time.monotonic() + random.random() * 0.008
    while time.monotonic() < until: pass
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
]=])
      local output, status = probe.shell(("timeout -s KILL 300 python3 %s/killer.py %s %d"):format(directory, maker, count))
      assert.same({ "", 0 }, { output, status })
      probe.remove(directory)
    end

    for name, recipe in pairs {
      ["everything new"] = "{}",
      ["a PID namespace"] = "{ namespaces = { 'user', 'pid' } }",
      ["no PID namespace"] = "{ namespaces = { 'user' } }",
      ["the payload as PID 1"] = "{ init = false }",
    } do
      it("leaves no process a second later: " .. name, function()
        local marker = watch.marker()
        kill_makers(recipe, MAKERS // 4, marker)
        assert.is_true(watch.vanish(marker, 1))
        assert.equal("", (probe.shell "ps -u $(id -u) -o pid=,ppid=,comm= | awk '$2 == 1 && $3 == \"nslua\"'"))
      end)
    end
  end)
end)
