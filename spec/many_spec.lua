local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"

local light <const> = nslua.sandbox { namespaces = { "user", "pid" } }

--- A host program with room for five fds a sandbox: control socket, pidfd, two pipes, and one to poll.
-- start() starts one with something to say, every fiftieth with more than a pipe holds;
-- check(i, result) sees that nothing is lost.
local HOST <const> = [[
assert(sys.setrlimit("nofile", 4096, select(2, sys.getrlimit "nofile")))
local MANY <const> = %d
local function size(i) return i %% 50 == 0 and 200000 or 10 end
local function start(i)
  local script = 'printf "%%0${1}d\n" $0; echo error $0 >&2; exit $(($0 %% 100))'
  return assert(light:spawn { "sh", "-c", script, tostring(i), tostring(size(i)), stdout = "capture", stderr = "capture",
    timeout = 100 })
end
local seen = 0
local function check(i, result)
  assert(result.code == i %% 100, result)
  assert(tonumber(result.stdout) == i and #result.stdout == size(i) + 1)
  assert(result.stderr == "error " .. i .. "\n")
  seen = seen + 1
end
local function finish()
  collectgarbage()
  collectgarbage()
  local fds = 0
  for fd = 0, 4095 do fds = fds + (sys.fstat(fd) and 1 or 0) end
  print(seen, fds < 20 and "all closed" or fds .. " fds are open", (io.popen("ps --no-headers --ppid " .. sys.getpid()
    .. " -o comm | grep -v -e sh -e ps"):read "a"))
end
]]

local function run_many(count, code)
  if probe.sanitized then count = count // 10 end
  local output = watch.host(HOST:format(count) .. code .. "\nfinish()\n", { seconds = 120 })
  assert.equal(("%d\tall closed\t\n"):format(count), output)
end

describe("many sandboxes", function()
  local before
  setup(function() assert(light:run { "true" }) end)
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  describe("at once, with all they write,", function()
    it("through wait_any", function()
      run_many(100, [[
        local list, index = {}, {}
        for i = 1, MANY do
          list[i] = start(i)
          index[list[i] ] = i
        end
        while #list > 0 do
          local process, result = assert(nslua.wait_any(list, 100))
          check(index[process], result)
          for i, other in ipairs(list) do
            if other == process then table.remove(list, i) break end
          end
        end
      ]])
    end)

    it("in cqueues", function()
      if not pcall(require, "cqueues") then return pending "cqueues is not installed" end
      run_many(500, [[
        local cqueues = require "cqueues"
        local loop = cqueues.new()
        for i = 1, MANY do
          loop:wrap(function()
            local process <close>, result = start(i), nil
            repeat
              cqueues.poll(process)
              cqueues.cancel(process.pollfd)
              result = process:wait(0)
            until result
            check(i, result)
          end)
        end
        assert(loop:loop())
      ]])
    end)

    it("in luv", function()
      if not package.searchpath("luv", package.cpath) then return pending "luv is not installed" end
      run_many(250, [[
        local uv = require "luv"
        for i = 1, MANY do
          local process = start(i)
          local poll = uv.new_poll(process:fileno())
          poll:start("r", function()
            local result, err = process:wait(0)
            if result then poll:close() check(i, result) else assert(err.code == "ETIMEDOUT", err) end
          end)
        end
        uv.run()
      ]])
    end)
  end)

  describe("wait_any", function()
    it("gives the first that ends, and those that have ended already", function()
      local slow <close> = assert(light:spawn { "sleep", "30" })
      local quick <close> = assert(light:spawn { "sh", "-c", "exit 3" })
      local process, result = nslua.wait_any { slow, quick }
      assert.equal(quick, process)
      assert.equal(3, result.code)
      assert.equal(quick, (nslua.wait_any { slow, quick }))
    end)

    it("has a limit of its own, and keeps those of the processes", function()
      local slow <close> = assert(light:spawn { "sleep", "30" })
      local started = sys.clock()
      local process, err = nslua.wait_any({ slow }, 0.2)
      assert.same({ nil, "ETIMEDOUT" }, { process, err.code })
      assert.is_true(sys.clock() - started >= 0.2)
      assert.is_nil((nslua.wait_any({ slow }, 0)))
      local limited <close> = assert(light:spawn { "sleep", "30", timeout = 1 })
      local ended, result = nslua.wait_any { slow, limited }
      assert.equal(limited, ended)
      assert.equal("timeout", result.reason)
    end)

    it("tells of what cannot be waited for, and of nothing to wait for", function()
      local closed = assert(light:spawn { "true" })
      closed:close()
      local process, result, err = nslua.wait_any { closed }
      assert.same({ closed, nil, "ECHILD" }, { process, result, err.code })
      assert.equal("ECHILD", select(2, nslua.wait_any {}).code)
      assert.matches("^spec/many_spec.lua:%d+: wait_any: seconds expected", select(2, pcall(function()
        local ended = nslua.wait_any({ closed }, "x")
        return ended
      end)))
    end)

    it("moves streams of every kind", function()
      local given, text = 0, ("x"):rep(300000)
      local a <close> = assert(light:spawn { "cat", stdin = text, stdout = "capture" })
      local b <close> = assert(light:spawn { "cat", stdin = function()
        given = given + 1
        return given < 40 and ("y"):rep(10000) or nil
      end, stdout = "spool" })
      local list = { a, b }
      while #list > 0 do
        local process = assert(nslua.wait_any(list, 30))
        table.remove(list, process == list[1] and 1 or 2)
      end
      assert.is_true(a:wait().stdout == text)
      assert.is_true(b:wait().stdout:read "a" == ("y"):rep(390000))
      b:wait().stdout:close()
    end)
  end)

  describe("in an event loop", function()
    it("relay to files, which no epoll takes, and to pipes that are full", function()
      local output = watch.host([[
        local process = assert(light:spawn { "sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2" })
        local n = 0
        repeat
          assert(sys.poll(20, process:fileno(), "r"))
          n = n + 1
        until process:wait(0)
        io.stderr:write(n < 5000 and "well" or n)
      ]], { around = "f=$(mktemp); { %s 3>&2 2>$f; cat $f; rm $f; } | { sleep 0.5; wc -c; }" })
      assert.equal("600004\n", output)
    end)

    it("what is polled is quiet while nothing happens", function()
      local process <close> = assert(light:spawn { "cat", stdin = "pipe", stdout = "capture" })
      assert.is_false((sys.poll(0.1, process:fileno(), "r")))
      process.stdin:write "text"
      process.stdin:flush()
      assert.is_true((sys.poll(5, process:fileno(), "r")))
      assert.is_nil((process:wait(0)))
      assert.is_false((sys.poll(0.1, process:fileno(), "r")))
      process.stdin:close()
      assert.is_true((sys.poll(5, process:fileno(), "r")))
      assert.equal("text", process:wait(5).stdout)
      assert.same({ nil, -1 }, { process.pollfd, process:fileno() })
    end)
  end)

  -- A C program around liblua5.4.
  it("of several threads, each with a Lua state, do not disturb each other", function()
    local directory = probe.directory()
    probe.write(directory .. "/threads.c", [[
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4 };
static const char *script;

static void *run(void *number) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_pushinteger(L, *(int *)number);
  lua_setglobal(L, "thread");
  int failed = luaL_dofile(L, script);
  if (failed) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return NULL;
}

int main(int argc, char **argv) {
  pthread_t thread[THREADS];
  int number[THREADS];
  if (argc < 2) return 1;
  script = argv[1];
  for (int i = 0; i < THREADS; i++) {
    number[i] = i + 1;
    pthread_create(&thread[i], NULL, run, &number[i]);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  return 0;
}
]])
    local script = watch.program(directory, [[
      local list, index = {}, {}
      for i = 1, 50 do
        local word = thread .. ":" .. i
        list[i] = assert(light:spawn { "sh", "-c", "cat; echo $0; exit 7", word, stdin = "in " .. word .. "\n",
          stdout = "capture", stderr = "stdout", timeout = 60 })
        index[list[i] ] = word
      end
      while #list > 0 do
        local process, result = assert(nslua.wait_any(list))
        local word = index[process]
        assert(result.stdout == "in " .. word .. "\n" .. word .. "\n" and result.code == 7, result.stdout)
        for i, other in ipairs(list) do
          if other == process then table.remove(list, i) break end
        end
      end
      io.write("done ", thread, "\n")
    ]])
    local build, status = probe.shell(
      ("cc -O1 -o %s/threads %s/threads.c $(pkg-config --cflags lua5.4) -llua5.4 -lpthread"):format(directory, directory))
    assert.equal(0, status, build)
    local output
    output, status = probe.shell(("timeout -s KILL 60 %s/threads %s | sort"):format(directory, script))
    probe.remove(directory)
    assert.same({ "done 1\ndone 2\ndone 3\ndone 4\n", 0 }, { output, status })
  end)
end)
