local probe = require "probe"

local directory

local function nslua(arguments, input)
  return probe.shell(("timeout 60 %s %s < %s"):format(probe.nslua, arguments, input or "/dev/null"))
end

--- stdout and stderr apart, and the status.
local function apart(arguments)
  local _, status = probe.shell(("(timeout 60 %s %s < /dev/null > %s/out 2> %s/errors)"):format(
    probe.nslua, arguments, directory, directory))
  return probe.read(directory .. "/out"), probe.read(directory .. "/errors"), status
end

local function script(code, name)
  local path = directory .. "/" .. (name or "script.lua")
  probe.write(path, code, "644")
  return path
end

local function json(text)
  return probe.shell(("python3 -m json.tool < %s"):format(script(text, "json")))
end

describe("nslua", function()
  setup(function() directory = probe.directory() end)
  teardown(function() probe.remove(directory) end)

  describe("SCRIPT", function()
    it("runs with its arguments in arg and as its own", function()
      local path = script "print(arg[0], arg[1], #arg, ...)"
      assert.equal(path .. "\tone\t2\tone\ttwo words\n", (nslua(path .. " one 'two words'")))
    end)

    it("knows sandbox, fs, sys and nslua without require, and require too", function()
      assert.equal("true\tfunction\ttrue\n", (nslua(script [[
        print(nslua == require "nslua", type(sandbox), fs == nslua.fs and sys == require "nslua.sys")]])))
    end)

    it("runs with little memory, too", function()
      if probe.sanitized then return pending "a sanitizer needs much itself" end
      local path = script "print 'enough'"
      for kib = 800, 4800, 400 do
        assert.equal("enough\n", (probe.shell(("ulimit -d %d; %s %s"):format(kib, probe.nslua, path))))
      end
    end)

    it("has an allocator that may be asked for too much", function()
      if probe.sanitized then return pending "a sanitizer ends it itself" end
      local path = script [[
        io.read(1)
        local full = {}
        for i = 1, 30000 do full[i] = { i } end
        print(pcall(io.read, -1))
      ]]
      assert.equal("false\tnot enough memory\n", (probe.shell(("head -c 5000 /dev/zero | %s %s"):format(probe.nslua, path))))
    end)

    it("shares its allocator with the threads of a C module", function()
      script([[
        #include <lauxlib.h>
        #include <lualib.h>
        #include <pthread.h>

        static lua_Alloc allocate;
        static void *data;
        static int failures;

        static void *work(void *code) {
          for (int i = 0; i < 20; i++) {
            lua_State *L = lua_newstate(allocate, data);
            luaL_openlibs(L);
            if (luaL_dostring(L, code)) failures++;
            lua_close(L);
          }
          return NULL;
        }

        static int run(lua_State *L) {
          static char code[] =
            "local t = {} for i = 1, 9999 do t[i % 100] = { tostring(i) } end for i = 0, 99 do assert(tonumber(t[i][1])) end";
          pthread_t threads[3];
          allocate = lua_getallocf(L, &data);
          for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work, code);
          if (luaL_dostring(L, code)) failures++;
          for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
          lua_pushinteger(L, failures);
          return 1;
        }

        int luaopen_threads(lua_State *L) { return run(L); }
      ]], "threads.c")
      local output, status = probe.shell(("cd %s && cc -O1 -shared -fPIC -o threads.so threads.c "
        .. "$(pkg-config --cflags lua5.4) -lpthread"):format(directory))
      assert.equal(0, status, output)
      local path = script(("package.cpath = %q print((require 'threads'))"):format(directory .. "/?.so"))
      assert.equal("0\n", (nslua(path)))
    end)

    it("that returns an integer ends with it", function()
      assert.equal(7, select(2, nslua(script "return 7")))
      assert.equal(0, select(2, nslua(script "return 'text'")))
    end)

    it("ends when all finalizers have run, the last object's first, however it ends", function()
      local setup = [[
        for i = 1, 3 do _G[i] = setmetatable({}, { __gc = function() io.write(i, " ") end }) end
        collectgarbage()
      ]]
      for ending, status in pairs { ["return 5"] = 5, ["os.exit(6, true)"] = 6, ["error 'here'"] = 125, [""] = 0 } do
        local out, _, actual = apart(script(setup .. ending))
        assert.equal("3 2 1 ", out)
        assert.equal(status, actual)
      end
      assert.equal("", (apart(script(setup .. "os.exit(7)"))))
    end)

    it("that returns a sandbox runs its arguments in it, or its command", function()
      local path = script 'return sandbox { hostname = "inner", command = { "hostname" } }'
      assert.equal("inner\n", (nslua(path)))
      assert.equal("two words\n", (nslua(path .. " echo 'two words'")))
    end)

    it("may begin with #!, and comes from stdin with -", function()
      assert.equal("ran\n", (nslua(script "#!/usr/bin/env nslua\nprint 'ran'")))
      assert.equal("from stdin\ta\n", (nslua("- a", script "print('from stdin', ...)")))
      assert.equal("from stdin\n", (nslua("", script "print 'from stdin'")))
    end)

    it("that fails says where, on stderr, with 125", function()
      local out, errors, status = apart(script "local x = nil\nprint(x.y)")
      assert.equal("", out)
      assert.truthy(errors:find "^nslua: .*script%.lua:2: ", errors)
      assert.equal(125, status)
      assert.equal(125, select(2, nslua(script "return +")))
      assert.equal(125, select(2, nslua "/nonexistent/script.lua"))
    end)

    it("with a bad recipe is told all mistakes, with their lines", function()
      local _, errors, status = apart(script 'return sandbox "bad" {\n  hostnam = "x",\n  cwd = "src",\n}')
      assert.equal(125, status)
      local first = "script.lua:2: sandbox<bad>: unknown field 'hostnam' (did you mean 'hostname'?)"
      assert.truthy(errors:find(first, 1, true), errors)
      assert.truthy(errors:find "script%.lua:3: .*cwd must be an absolute path")
      assert.is_nil(errors:find "traceback")
    end)
  end)

  describe("run", function()
    it("runs a command in the default sandbox", function()
      assert.equal("sandbox\n", (nslua "run -- hostname"))
    end)

    it("runs a command, or the recipe's own, in a recipe's sandbox", function()
      local path = script 'return sandbox { hostname = "inner", command = { "hostname" } }'
      assert.equal("inner\n", (nslua("run " .. path)))
      assert.equal("-n --\n", (nslua("run " .. path .. " -- printf '%s\\n' '-n --'")))
    end)

    it("passes stdin in, stdout and stderr out, apart", function()
      local input = script("typed\n", "input")
      assert.equal("typed\n", (nslua("run -- cat", input)))
      local out, errors = apart "run -- sh -c 'echo out; echo err >&2'"
      assert.equal("out\n", out)
      assert.equal("err\n", errors)
    end)

    it("ends with the payload's status", function()
      for _, code in ipairs { 0, 1, 3, 255 } do
        assert.equal(code, select(2, nslua("run -- sh -c 'exit " .. code .. "'")))
      end
    end)

    it("ends with 128+n when signal n killed the payload", function()
      assert.equal(128 + 9, select(2, nslua "run -- sh -c 'kill -9 $$'"))
      assert.equal(128 + 15, select(2, nslua "run -- sh -c 'kill -15 $$'"))
    end)

    it("--stats says on stderr what it used, whatever came of it", function()
      local out, errors, status = apart "run --stats -- sh -c 'echo out; exit 3'"
      assert.same({ "out\n", 3 }, { out, status })
      local time <const>, two <const> = "%d+%.%d%d%d s\n", "%d+ %a+, %d+ %a+\n"
      assert.matches("^nslua: wall +" .. time .. "nslua: user +" .. time .. "nslua: system +" .. time
        .. "nslua: memory +%d+ KiB at most\nnslua: page faults +" .. two .. "nslua: context switches +" .. two .. "$", errors)
      out, errors, status = apart("run --stats " .. script "return sandbox { limits = { time = 0.2 } }" .. " -- sleep 30")
      assert.same({ "", 124 }, { out, status })
      assert.matches("^nslua: timed out\nnslua: wall ", errors)
      out, errors, status = apart "run --stat -- true"
      assert.same({ "", 125 }, { out, status })
      assert.matches("^nslua: run: unrecognized option '%-%-stat'\nusage: ", errors)
    end)

    it("--stats=json says the same to machines, as the last line", function()
      local function told(arguments)
        local _, errors = apart("run --stats=json " .. arguments)
        local pretty, valid = json(errors:match "([^\n]*)\n$")
        assert.equal(0, valid, errors)
        return pretty, errors
      end
      local stats = told "-- sh -c 'exit 3'"
      for _, fact in ipairs { '"code": 3', '"ok": false', '"reason": "exit"', '"wall": 0.', '"maxrss": %d' } do
        assert.matches(fact, stats)
      end
      assert.matches('"signal": 9', (told "-- sh -c 'kill -9 $$'"))
      assert.matches('"reason": "timeout"', (told(script "return sandbox { limits = { time = 0.2 } }" .. " -- sleep 30")))
      local failed, errors = told "-- no-such-command"
      assert.matches('"error": "command no%-such%-command: [^"]*ENOENT', failed)
      assert.matches("^nslua: command no%-such%-command", errors)
    end)

    it("--time-steps shows what each step of the set-up took, or is in the JSON", function()
      local out, errors, status = apart "run --time-steps -- sh -c 'echo out; exit 3'"
      assert.same({ "out\n", 3 }, { out, status })
      assert.matches("^nslua: +%d+ µs +%d+%.%d %%  compile\n", errors)
      assert.matches("bind /usr on /usr %(attach%), ", errors)
      assert.matches("command sh %(execve%)\nnslua: +%d+ µs 100%.0 %%  in all, until the program runs\n$", errors)
      errors = select(2, apart "run --time-steps --stats=json -- true")
      assert.matches('^{"code":0,.*"steps":%[{"seconds":[%d.e-]+,"step":"compile"},', errors)
    end)

    describe("passes on", function()
      --- What a payload prints, a shell command, after a signal to nslua; and nslua's status.
      local function signalled(signal, payload, before)
        local path = script(payload .. "\n", "payload.sh")
        local command = ([[
          %s %s run %s -- sh /payload.sh > %s/out 2>&1 < /dev/null & pid=$!
          i=0; until grep -q ready %s/out || [ $i -gt 500 ]; do sleep 0.01; i=$((i + 1)); done
          kill -%s $pid; wait $pid]]):format(before or "env --default-signal", probe.nslua,
          script(('return sandbox { fs = { fs.os(), fs.ro(%q, "/payload.sh") } }'):format(path), "payload.lua"), directory,
          directory, signal)
        probe.write(directory .. "/out", "")
        local _, status = probe.shell(command)
        local said = probe.read(directory .. "/out"):gsub("Quit[^\n]*\n", "") -- the shell's own
        return said:match "ready\n(%l*)", status
      end

      it("the signals that end a program, with the payload's status", function()
        for signal, number in pairs { HUP = 1, INT = 2, QUIT = 3, TERM = 15 } do
          assert.equal(128 + number, select(2, signalled(signal, "echo ready; exec sleep 98")), signal)
        end
      end)

      it("signals that the payload handles as it likes", function()
        for _, signal in ipairs { "HUP", "INT", "QUIT", "TERM", "CONT", "WINCH" } do
          local payload = ("trap 'echo got; exit 7' %s; echo ready; while :; do sleep 0.05; done"):format(signal)
          assert.same({ "got", 7 }, { signalled(signal, payload) }, signal)
        end
        assert.same({ "survived", 0 }, { signalled("TERM", "trap '' TERM; echo ready; sleep 0.5; echo survived") })
      end)

      it("the signals of keys to all of the payload's process group, as a terminal does", function()
        local payload = "trap 'echo got; exit 7' %s; echo ready; sleep 98; echo slept"
        for _, signal in ipairs { "INT", "QUIT" } do
          assert.same({ "got", 7 }, { signalled(signal, payload:format(signal)) }, signal)
        end
      end)

      it("no signal that nslua was told to ignore", function()
        local payload = "trap 'echo got; exit 7' HUP; echo ready; sleep 0.5; echo slept"
        assert.same({ "slept", 0 }, { signalled("HUP", payload, "env --ignore-signal=HUP") })
      end)
    end)

    it("ends with 124 when the time is up", function()
      local _, errors, status = apart("run " .. script "return sandbox { limits = { time = 0.2 } }" .. " -- sleep 30")
      assert.equal(124, status)
      assert.equal("nslua: timed out\n", errors)
    end)

    it("ends with 125 when nslua fails, and says what", function()
      local path = script 'return sandbox {\n  fs = { fs.os(),\n    fs.ro("/nonexistent", "/x") },\n}'
      local _, errors, status = apart("run " .. path .. " -- true")
      assert.equal(125, status)
      assert.truthy(errors:find "^nslua: .*script%.lua:3: bind /nonexistent on /x: No such file or directory %(ENOENT%)", errors)
      assert.equal(125, select(2, nslua "run /nonexistent.lua -- true"))
      assert.equal(125, select(2, nslua("run " .. script "return 1")))
    end)

    it("ends with 126 when the command is not executable", function()
      local _, errors, status = apart "run -- /etc/passwd"
      assert.equal(126, status)
      assert.truthy(errors:find "^nslua: .*EACCES", errors)
    end)

    it("ends with 127 when the command is not found", function()
      for _, command in ipairs { "no-such-command", "/no/such/command" } do
        local _, errors, status = apart("run -- " .. command)
        assert.equal(127, status)
        assert.truthy(errors:find("^nslua: command .*" .. command:gsub("%W", "%%%0") .. ".*ENOENT"), errors)
      end
    end)
  end)

  describe("explain", function()
    it("shows a recipe as a tree", function()
      local output, status = nslua("explain " .. script 'return sandbox "shown" { hostname = "inner", net = "none" }')
      assert.equal(0, status)
      assert.truthy(output:find "^sandbox<shown>\n")
      for _, pattern in ipairs { "hostname +inner\n", "net +none\n", "/usr +ro" } do
        assert.truthy(output:find(pattern), pattern)
      end
    end)

    it("shows it as JSON that others can read", function()
      local output, status = nslua("explain " .. script 'return sandbox { env = { ODD = "quote\\" \\1 ü \\xff" } }' .. " --json")
      assert.equal(0, status)
      local pretty, valid = json(output)
      assert.equal(0, valid, pretty)
      assert.truthy(pretty:find '"namespaces": {')
      assert.truthy(pretty:find('"ODD": "quote\\" \\u0001 \\u00fc \\udcff"', 1, true), pretty)
    end)

    it("fails with 125", function()
      assert.equal(125, select(2, nslua("explain " .. script "return sandbox { x = 1 }")))
      assert.equal(125, select(2, nslua "explain"))
      assert.equal(125, select(2, nslua "explain a b"))
    end)
  end)

  describe("check", function()
    it("is silent about a good recipe, runs nothing, and tells the mistakes of a bad one", function()
      local good = script 'return sandbox { command = { "touch", "/nonexistent" } }'
      assert.same({ "", "", 0 }, { apart("check " .. good) })
      local _, errors, status = apart("check " .. script "return sandbox { fs = { fs.rw(1) } }")
      assert.equal(125, status)
      assert.truthy(errors:find "^nslua: .*script%.lua:1: .*fs%.rw: source must be", errors)
    end)
  end)

  describe("options", function()
    it("-e runs code, in order, before a script", function()
      assert.equal("1\n2\n3\n", (nslua("-e 'print(1)' -e'print(2)' " .. script "print(3)")))
    end)

    it("-l requires a module", function()
      assert.equal("scm-1\n", (nslua "-l nslua -e 'print(nslua._VERSION:match \"%S+$\")'"))
      local _, errors, status = apart "-l no_such_module"
      assert.equal(125, status)
      assert.truthy(errors:find "^nslua: .*module 'no_such_module' not found")
    end)

    it("-v says the version", function()
      assert.equal("nslua scm-1  Lua 5.4\n", (nslua "-v"))
      assert.equal("nslua scm-1  Lua 5.4\n", (nslua "--version"))
    end)

    it("-E ignores LUA_PATH, and LUA_INIT is never read", function()
      local module = script("return 'found'", "given.lua"):gsub("given", "?")
      local with = ("env LUA_PATH='%s' LUA_INIT='print(666)' timeout 60 %s "):format(module, probe.nslua)
      assert.equal("found\n", (probe.shell(with .. "-e 'print((require \"given\"))'")))
      assert.equal("false\n", (probe.shell(with .. "-E -e 'print((pcall(require, \"given\")))'")))
    end)

    it("-- ends them", function()
      probe.write(directory .. "/-odd.lua", "print 'odd'", "644")
      local program = probe.nslua:gsub("^%.", probe.shell "pwd":match "%S+")
      assert.equal("odd\n", (probe.shell(("cd %s && timeout 60 %s -- -odd.lua"):format(directory, program))))
    end)

    it("-h shows the usage; a wrong one shows it on stderr, with 125", function()
      assert.truthy(nslua "-h":find "^usage: nslua ")
      local out, errors, status = apart "-x"
      assert.same({ "", 125 }, { out, status })
      assert.truthy(errors:find "^nslua: unrecognized option '%-x'\nusage: ")
      assert.equal(125, select(2, nslua "-e"))
    end)

    it("modules are not looked for in the current directory", function()
      probe.write(directory .. "/stray.lua", "return 1", "644")
      local program = probe.nslua:gsub("^%.", probe.shell "pwd":match "%S+")
      local output = probe.shell(("cd %s && timeout 60 %s -e 'print((pcall(require, \"stray\")))'"):format(directory, program))
      assert.equal("false\n", output)
    end)
  end)

  describe("-i", function()
    it("reads, evaluates and prints until the end of its input", function()
      local typed = script("1 + 1\nx = 'set'\nx\nfor i = 1, 2 do\nprint(i)\nend\nsandbox 'repl' {}\n", "typed")
      local output, status = nslua("-i", typed)
      assert.equal(0, status)
      for _, shown in ipairs { "> 2\n", "> set\n", ">> 1\n2\n", "> sandbox<repl>\n" } do
        assert.truthy(output:find(shown, 1, true), shown .. " in " .. output)
      end
    end)

    it("shows errors and goes on", function()
      local output = nslua("-i", script("error 'first'\nsandbox { x = 1 }\n)\n'still here'\n", "typed"))
      for _, shown in ipairs { "first", "unknown field 'x'", "near ')'", "> still here\n" } do
        assert.truthy(output:find(shown, 1, true), shown .. " in " .. output)
      end
    end)

    it("runs sandboxes", function()
      assert.truthy(nslua("-i", script("sandbox {}:run { 'echo', 'inside' }.code\n", "typed")):find "inside\n0\n")
    end)
  end)
end)
