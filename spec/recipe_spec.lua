local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, fs, unset = nslua.sandbox, nslua.fs, nslua.unset
local mistake = inside.mistake
local HERE <const> = "recipe_spec%.lua:%d+: "

--- The line of this file that calls it.
local function line() return debug.getinfo(2, "l").currentline end

local function lines_of(text)
  local count = 0
  for _ in (text .. "\n"):gmatch "[^\n]*\n" do count = count + 1 end
  return count
end

--- A table every use of which but a raw one is noted in `ran`.
local function trapped(ran)
  local meta = {}
  for _, event in ipairs { "index", "newindex", "len", "pairs", "eq", "lt", "le", "concat", "call", "tostring", "close" } do
    meta["__" .. event] = function() ran[#ran + 1] = event end
  end
  return setmetatable({}, meta)
end

--- Empties the plain tables of what is handed out.
local function wreck(value)
  for key, item in next, value do
    if getmetatable(value) == nil then value[key] = nil end
    if type(item) == "table" then wreck(item) end
  end
end

--- The operations of a sandbox as text.
local function operations_of(box)
  local lines = {}
  for i, operation in ipairs(box:plan()) do
    local words = { operation.name }
    for _, argument in ipairs(operation) do words[#words + 1] = tostring(argument) end
    lines[i] = table.concat(words, " ")
  end
  return table.concat(lines, "\n")
end

describe("a bad recipe", function()
  it("with an unknown field is told the nearest name", function()
    assert.matches("^.*" .. HERE .. "sandbox<build>: unknown field 'hostnam' %(did you mean 'hostname'%?%)$",
      mistake(function() local _ = sandbox "build" { hostnam = "x" } end))
    assert.matches("unknown field 'colour'$", mistake(sandbox, { colour = "red" }))
    assert.matches("unknown field 7$", mistake(sandbox, { [7] = "red" }))
    assert.matches("unknown field 1$", mistake(sandbox, { fs.os() }))
  end)

  it("is no table", function()
    for _, bad in ipairs { 7, true, print } do assert.matches("a recipe is a table", mistake(sandbox, bad)) end
    assert.matches("a recipe is a table %(got 7%)", mistake(sandbox "x", 7))
    assert.matches("a recipe is a table", mistake(sandbox))
  end)

  it("has a name of more than 64 bytes, or with control bytes", function()
    assert.matches("64 bytes", mistake(sandbox, ("x"):rep(65)))
    assert.matches("64 bytes", mistake(sandbox, "a\nb"))
    assert.matches("64 bytes", mistake(sandbox, "a\0b"))
  end)

  it("is told the line of each field and of each entry", function()
    local first
    local text = mistake(function()
      first = line()
      local _ = sandbox "x" {
        hostname = 7,
        fs = { fs.os(),
          fs.ro "/usr" },
        umask = "022",
      }
    end)
    assert.matches(("recipe_spec.lua:%d: sandbox<x>: hostname must be"):format(first + 2), text)
    assert.matches(("recipe_spec.lua:%d: sandbox<x>: umask must be"):format(first + 5), text)
    text = mistake(function()
      first = line()
      local _ = sandbox "x" {
        fs = { fs.os(),
          fs.ro "usr",
          fs.tmpfs("/tmp", { size = "12X" }) },
      }
    end)
    assert.matches(("recipe_spec.lua:%d: fs.ro: target must be an absolute path"):format(first + 3), text)
    assert.matches(("recipe_spec.lua:%d: fs.tmpfs: options must be a table where size is a size above 0"):format(first + 4), text)
  end)

  it("is told in a file by the line of the file", function()
    local directory = probe.directory()
    local path = directory .. "/file.lua"
    probe.write(path, "-- a recipe\n\n\n\n\nreturn sandbox 'f' {\n  hostnam = 'x',\n}\n")
    local text = mistake(nslua.load, path)
    probe.remove(directory)
    assert.matches("file.lua:7: sandbox<f>: unknown field 'hostnam'", text)
  end)

  it("is told all its mistakes at once", function()
    local text = mistake(function()
      local _ = sandbox { hostnam = "x", net = "hots", umask = "u", fs = { fs.ro "x", fs.tmpfs "y", fs.ro("/a", "/../b") } }
    end)
    assert.equal(6, lines_of(text), text)
    local _, err = pcall(function() local _ = sandbox { hostnam = "x", net = "hots" } end)
    assert.equal(2, #err.problems)
    for _, problem in ipairs(err.problems) do
      assert.is_string(problem.at)
      assert.is_string(problem.message)
    end
  end)

  it("is told all the mistakes of a field and of a verb, in the same order each time", function()
    local function text()
      return mistake(function()
        local _ = sandbox "x" {
          limits = { memory = "1X", pids = "a", nofile = -1 },
          env = { A = 1, B = {}, ["C="] = "x", inherit = { 1, 2 } },
          fs = { fs.tmpfs("/a", { size = "q", mode = "q", foo = 1 }), fs.ro(7, "b"), fs.ro(7), 42, { print, "x", key = 1 } },
          landlock = { ro = { 7, { "/a", optional = 2, opt = 1 } } },
          user = { uid_map = { { "a", 2 }, { "c" } }, uid = -1 },
          namespaces = { "usr", foo = 1, uts = 3 },
        }
      end)
    end
    local told = text()
    for _, part in ipairs {
      "where memory is", "where pids is", "where nofile is", "where A is", "where B is", "not 'C='", "entry 1 is 1",
      "entry 2 is 2", "where size is", "where mode is", "not 'foo'", "target must be", "entry 4 is 42", "entry 2 is 'x'",
      "the key 'key'", "entry 1 is 7", "where optional is", "not 'opt'", "entry 1 is 'a'", "entry 1 is 'c'", "where uid is",
      "not 'usr'", "where uts is",
    } do
      assert.matches(part, told, 1, true)
    end
    assert.equal(26, lines_of(told), told) -- 7 is no source twice, and 'foo' neither an option nor a namespace
    for _ = 1, 5 do assert.equal(told, text()) end
  end)

  it("is told what contradicts itself, too, as far as that does not hang on what is mistaken", function()
    local tmpfs = { fs.tmpfs "/x", fs.tmpfs "/x" }
    local cases = {
      { 3, { hostname = "x", umask = "u", namespaces = { "user" }, init = false } },
      { 3, { fs = { 42, fs.ro(7), tmpfs } } },
      { 2, { namespaces = { mount = false }, fs = { fs.ro(7) } } },
      { 2, { namespaces = 7, hostname = "x", init = false, net = "none", fs = tmpfs } },
      { 1, { namespaces = { user = "/proc/self/ns/user" }, user = 7 } },
      { 1, { namespaces = { user = "/proc/self/ns/user" }, usr = { uid = 1, gid = 1 } } },
      { 1, { namespaces = 7, landlock = { ro = { "/a/../b" } } } },
    }
    for i, case in ipairs(cases) do
      local text = mistake(sandbox, case[2])
      assert.equal(case[1], lines_of(text), ("case %d: %s"):format(i, text))
    end
    local base = sandbox { namespaces = { "user" } }
    assert.equal(1, lines_of(mistake(base.with, base, { namespaces = 7, hostname = "x" })))
  end)

  it("is told no more mistakes of one table than anybody reads", function()
    local limits, fields = {}, {}
    for i = 1, 100000 do limits["memor" .. i], fields["hostnam" .. i] = 1, 1 end
    local started = os.clock()
    assert.equal(100, lines_of(mistake(sandbox, { limits = limits })))
    assert.equal(100, lines_of(mistake(sandbox, fields)))
    assert.is_true(os.clock() - started < 5)
  end)

  it("has sizes and targets that mean nothing", function()
    local bad = {
      { function() return fs.tmpfs("/t", { size = "1.5G" }) end, "size is a size above 0" },
      { function() return fs.tmpfs("/t", { size = 0 }) end, "size is a size above 0" },
      { function() return fs.tmpfs("/t", { inodes = -1 }) end, "inodes is an integer" },
      { function() return fs.tmpfs("/t", { sise = 1 }) end, "did you mean 'size'%?" },
      { function() return fs.tmpfs "t" end, "target must be an absolute path" },
      { function() return fs.ro("/usr", "usr") end, "target must be an absolute path" },
      { function() return fs.ro("/usr", "/a/../b") end, "target must be a path without '%.%.'" },
      { function() return fs.rw("/usr", "/a\0b") end, "without NUL bytes" },
      { function() return fs.rw "/u\0sr" end, "without NUL bytes" },
      { function() return fs.ro "" end, "not empty" },
      { function() return fs.ro() end, "source must be a string %(got a nil%)" },
      { function() return fs.ro(7) end, "source must be a string %(got 7%)" },
      { function() return fs.file "/f" end, "content must be a string" },
      { function() return fs.file("/f", "x", { mode = 0.5 }) end, "mode is permission bits" },
      { function() return fs.symlink("a\0", "/l") end, "without NUL bytes" },
      { function() return fs.proc("/proc", { hidepid = "always" }) end, "hidepid is 'off'" },
      { function() return fs.image "" end, "not empty" },
      { function() return fs.ro("/usr", "/usr", {}, {}) end, "at most 2 arguments" },
    }
    for i, case in ipairs(bad) do
      local text = mistake(function() return sandbox { fs = { case[1]() } } end)
      assert.is_string(text, "case " .. i)
      assert.matches(case[2], text)
    end
  end)

  it("has NUL bytes in its strings", function()
    assert.matches("without NUL bytes", mistake(sandbox, { hostname = "a\0b" }))
    assert.matches("without NUL bytes", mistake(sandbox, { cwd = "/a\0b" }))
    assert.matches("without NUL bytes", mistake(sandbox, { env = { A = "a\0b" } }))
    assert.matches("a variable's name", mistake(sandbox, { env = { ["A\0"] = "b" } }))
    assert.matches("without NUL bytes", mistake(sandbox, { command = { "a\0b" } }))
    assert.matches("NUL", mistake(function() return sandbox {}:run { "true", "a\0b" } end))
    assert.matches("NUL", mistake(function() return sandbox {}:run { "true", env = { A = "a\0b" } } end))
    assert.matches("NUL", mistake(function() return sandbox {}:run { "true", cwd = "/\0" } end))
  end)

  it("has a million entries, and is refused in no time", function()
    local words, entries, variables = {}, {}, {}
    local entry = fs.dir "/d"
    for i = 1, 1000000 do
      words[i], entries[i], variables["V" .. i] = "x", entry, "x"
    end
    local started = os.clock() -- processor time; making them takes longer
    assert.matches("at most 20000 entries", mistake(sandbox, { command = words }))
    assert.matches("at most 20000 entries", mistake(sandbox, { fs = entries }))
    assert.matches("at most 20000 entries", mistake(sandbox, { env = variables }))
    assert.matches("a list of", mistake(sandbox, { steps = words }))
    assert.is_true(os.clock() - started < 10)
  end)

  it("has tables that contain themselves", function()
    local cyclic = {}
    cyclic[1] = cyclic
    cyclic.a = cyclic
    assert.matches("cyclic", mistake(sandbox, { fs = cyclic }))
    for _, field in ipairs { "namespaces", "user", "env", "caps", "clock", "limits", "command", "steps", "hostname" } do
      assert.is_string(mistake(sandbox, { [field] = cyclic }), field)
    end
    local wide = {}
    for i = 1, 100 do wide[i] = wide end
    assert.matches("nested at most 8 deep", mistake(sandbox, { fs = wide }))
  end)

  it("has few lists that contain each other many times, and is refused in no time", function()
    local list = {}
    for _ = 1, 7 do
      local outer = {}
      for i = 1, 60 do outer[i] = list end
      list = outer
    end
    local started = os.clock()
    assert.matches("at most 20000 entries", mistake(sandbox, { fs = list }))
    assert.is_true(os.clock() - started < 1)
  end)

  it("has entries where no list has any", function()
    for _, key in ipairs { 0, -1, 3, 1.5 } do
      assert.matches("it has the key " .. key, mistake(sandbox, { fs = { fs.os(), [key] = fs.tmpfs "/x" } }), 1, true)
    end
  end)

  it("has two entries for one target", function()
    assert.matches(HERE .. "fs.tmpfs: the target /x is already taken by bind /usr on /x",
      mistake(function() local _ = sandbox { fs = { fs.ro("/usr", "/x"), fs.tmpfs "//x/" } } end))
    assert.matches("target / is already taken", mistake(function() return sandbox { fs = { fs.host(), fs.image "/usr" } } end))
  end)

  it("contradicts itself", function()
    local contradictions = {
      { { hostname = "x", namespaces = { "user", "pid" } }, "need a new UTS namespace" },
      { { domainname = "x", namespaces = { uts = false } }, "need a new UTS namespace" },
      { { lifetime = "detached", limits = { time = 1 } }, "limits.time goes with lifetime = \"maker\" only" },
      { { lifetime = "last", limits = { time = 1 } }, "limits.time goes with lifetime = \"maker\" only" },
      { { fs = { fs.os() }, namespaces = { "user", "pid" } }, "fs needs a new mount namespace" },
      { { net = "host", namespaces = { "net" } }, "names a new one" },
      { { net = "host", namespaces = { net = true } }, "names a new one" },
      { { net = "none", namespaces = { net = false } }, "needs a new network namespace" },
      { { net = "loopback", namespaces = { "user" } }, "needs a new network namespace" },
      { { clock = { boottime = 1 }, namespaces = { time = false } }, "clock needs a new time namespace" },
      { { init = false, namespaces = { pid = false } }, "init = false needs a new PID namespace" },
    }
    for i, case in ipairs(contradictions) do
      local text = mistake(sandbox, case[1])
      assert.is_string(text, "case " .. i)
      assert.matches(case[2], text)
    end
    local text = mistake(sandbox, { hostname = "x", init = false, namespaces = { "user" } })
    assert.equal(2, lines_of(text), text)
  end)

  it("asks for a user without a new user namespace: that shows when it runs", function()
    local box = sandbox { user = "root", namespaces = { user = false } }
    assert.matches("user needs a new user namespace", mistake(function() return box:run { "true" } end))
  end)

  it("asks for /proc without a new PID namespace", function()
    assert.matches("fs.proc needs a new pid namespace", mistake(sandbox, { fs = { fs.proc() }, namespaces = { pid = false } }))
  end)

  it("makes nothing happen before it is refused", function()
    local directory = probe.directory()
    local before = probe.footprint()
    local ran = false
    mistake(function()
      return sandbox { hostnam = "x", steps = { function() ran = true end },
        fs = { fs.dir(directory .. "/made"), function() ran = true end } }
    end)
    mistake(function() return sandbox { fs = { fs.tmpfs("/x", { size = "-" }) } }:run { "touch", directory .. "/f" } end)
    local left = probe.shell("ls -A " .. directory)
    probe.remove(directory)
    assert.equal("", left)
    assert.is_false(ran)
    assert.same(before, probe.footprint())
  end)

  it("escapes control bytes in what it quotes", function()
    local text = mistake(sandbox, { ["host\27[31m\nname"] = 1, hostname = ("\27[2J"):rep(40) })
    assert.is_nil((text:gsub("\n", "")):find "%c", "a control byte in the message")
    assert.equal(2, lines_of(text))
  end)

  it("with a root of files, links or masks is refused in words", function()
    for _, entry in ipairs { fs.file("/", "x"), fs.dir "/", fs.symlink("x", "/"), fs.mask "/" } do
      local text = mistake(function() return assert(sandbox { fs = { entry } }:run { "true" }) end)
      assert.is_string(text)
      assert.is_nil(text:find("attempt to", 1, true), text)
    end
  end)
end)

describe("a call of run", function()
  it("refuses unknown options and words that are no strings", function()
    local box = sandbox {}
    assert.matches("unknown option 'stdou' %(did you mean 'stdout'%?%)",
      mistake(function() return box:run { "true", stdou = "capture" } end))
    assert.matches("word 2 .*must be a string", mistake(function() return box:run { "true", 7 } end))
    assert.matches("no command", mistake(function() return box:run {} end))
    assert.matches("stdout must be", mistake(function() return box:run { "true", stdout = "captured" } end))
    assert.matches("stdin must be", mistake(function() return box:run { "true", stdin = 7 } end))
    assert.matches("variable's name", mistake(function() return box:run { "true", env = { ["A=B"] = "x" } } end))
    assert.matches("A .* a string", mistake(function() return box:run { "true", env = { A = 7 } } end))
    assert.matches("call its methods with ':'", mistake(function() return box.run { "true" } end))
  end)

  it("is told all its mistakes at once, in the same order each time", function()
    local box = sandbox {}
    local function text()
      return mistake(function()
        local _ = box:run { "true", 7, stdou = 1, stdin = 7, env = { A = 1, B = 2 }, tty = true, stdout = "pipe", timeout = "x" }
      end)
    end
    local told = text()
    assert.matches("^.*" .. HERE, told)
    for _, part in ipairs { "word 2", "unknown option 'stdou'", "stdin must be", "A is", "B is", "timeout must be" } do
      assert.matches(part, told, 1, true)
    end
    assert.equal(6, lines_of(told), told)
    for _ = 1, 5 do assert.equal(told, text()) end
    told = mistake(function() return box:run { tty = true, stdout = "spool", stdin = "inherit", stderr = 1 } end)
    assert.equal(4, lines_of(told), told)
  end)
end)

describe("a method of a sandbox", function()
  it("is called with a sandbox", function()
    local box = sandbox {}
    for _, name in ipairs { "with", "run", "spawn", "plan", "lint", "explain" } do
      for _, other in ipairs { {}, "box", box.name } do
        assert.matches("^.*" .. HERE .. "not a sandbox", mistake(function() local _ = box[name](other, {}) end), name)
      end
    end
  end)

  it("refuses options that it has not", function()
    local box = sandbox {}
    assert.matches("^.*" .. HERE .. "explain: options must be a table of json", mistake(function() local _ = box:explain(5) end))
    assert.matches("a table of json %(not 'jso'; did you mean 'json'%?%)$", mistake(box.explain, box, { jso = true }))
    assert.matches("json is true or false %(not 1%)$", mistake(box.explain, box, { json = 1 }))
  end)
end)

describe("a recipe is read raw", function()
  it("so neither its tables nor the values in them are asked anything", function()
    local ran = {}
    local hidden = setmetatable({}, { __index = { hostname = "hidden" }, __pairs = function() ran[1] = "pairs" end })
    assert.is_nil(mistake(sandbox, hidden))
    for _, field in ipairs { "hostname", "net", "user", "command", "caps", "cwd" } do
      mistake(sandbox, { [field] = { trapped(ran) } })
    end
    mistake(sandbox, trapped(ran))
    mistake(fs.ro, trapped(ran))
    mistake(fs.tmpfs, "/x", trapped(ran))
    assert.same({}, ran)
  end)

  it("not by == nor by a look for a method either", function()
    local ran = {}
    for _, field in ipairs { "hostname", "net", "user", "command", "caps", "cwd", "namespaces", "env", "fs", "steps" } do
      mistake(sandbox, { [field] = trapped(ran) })
      mistake(sandbox, { [field] = { trapped(ran) } })
      mistake(sandbox, { [field] = { net = trapped(ran) } })
    end
    assert.same({}, ran)
  end)

  it("and copied: later changes of its tables change nothing", function()
    local recipe = { hostname = "first", env = { A = "1" }, fs = { fs.os() }, command = { "sh", "-c", "hostname; echo $A" } }
    local box = sandbox(recipe)
    recipe.hostname, recipe.env.A, recipe.command[3], recipe.fs[1] = "second", "2", "false", nil
    assert.equal("first\n1\n", inside.run(box, {}).stdout)
  end)

  it("with its entries: they do not change after it was checked", function()
    local entry = fs.tmpfs "/here"
    local box = sandbox { fs = { fs.os(), entry } }
    pcall(function() entry.target = "/there" end)
    assert.equal("/here\n", (inside.sh(box, "ls -d /here /there 2>/dev/null")))
  end)
end)

describe("a sandbox", function()
  it("shows its name", function()
    assert.equal("sandbox<build>", tostring(sandbox "build" {}))
    assert.equal("sandbox<>", tostring(sandbox {}))
    assert.equal("sandbox<build>", tostring(sandbox "build" {}:with { hostname = "x" }))
    assert.equal("build", sandbox "build" {}.name)
  end)

  it("cannot be changed", function()
    local box = sandbox "b" {}
    assert.matches("immutable", mistake(function() box.hostname = "x" end))
    assert.matches("immutable", mistake(function() box.run = print end))
    assert.is_nil(box.hostname)
  end)

  it("is not changed by what is done to the tables in its entries", function()
    local overlay = fs.overlay({ lower = { "/usr/share", "/etc" } }, "/o")
    local proc = fs.proc("/proc", { full = true, read_only = { "sys" } })
    local box, same = sandbox { fs = { overlay, proc } }, sandbox { fs = { overlay, proc } }
    local plan = operations_of(same)
    overlay.layers.lower[1], overlay.layers.upper, proc.options.read_only[1] = "/usr/bin", "tmp", "irq"
    assert.equal(plan, operations_of(box))
  end)

  it("is not changed by what is done to what it hands out", function()
    local box = sandbox "b" {
      fs = { fs.os(), fs.overlay({ lower = { "/usr/share", "/etc" } }, "/o") }, hostname = "h",
      command = { "sh", "-c", "hostname; echo $A" }, env = { A = "1" }, limits = { nofile = 100, time = 30 },
      landlock = { exec = { "/" }, rw = { "/" }, best_effort = true }, seccomp = { deny = { "mkdir" } },
      scheduling = { nice = 3 }, user = { uid = 7, gid = 7 },
    }
    local explained = box:explain()
    local process <close> = assert(box:spawn { "cat", stdin = "pipe", time_steps = true })
    local further <close> = assert(process:exec { stdout = "capture" })
    further:wait()
    process.stdin:close()
    local result = process:wait()
    for _, given in ipairs { process, further, result, box:plan(), box:lint() } do wreck(given) end
    local again = inside.run(box, {})
    assert.equal("h\n1\n", again.stdout)
    assert.same({ "sh", "-c", "hostname; echo $A" }, again.command)
    assert.equal(100, again.enforced.limits.nofile.hard)
    assert.equal(explained, box:explain())
  end)

  it("is not changed by a derived one", function()
    local box = sandbox { hostname = "base", env = { A = "1" }, fs = { fs.os() } }
    local derived = box:with { hostname = "derived", env = { A = "2" }, fs = { fs.tmpfs "/more" } }
    assert.equal("base\n1\nno\n", (inside.sh(box, "hostname; echo $A; test -d /more || echo no")))
    assert.equal("derived\n2\nyes\n", (inside.sh(derived, "hostname; echo $A; test -d /more && echo yes")))
  end)
end)

describe("with", function()
  local function plan_of(box)
    return box:explain { json = true }
  end

  it("replaces scalars and lists of words", function()
    local box = sandbox { hostname = "a", umask = 63, command = { "one" } }:with { hostname = "b", command = { "two" } }
    assert.matches('"hostname":%s*"b"', plan_of(box))
    assert.matches('"umask":%s*"077"', plan_of(box))
    assert.matches("command two: ", tostring(select(2, box:run {})))
  end)

  it("merges the environment by name", function()
    local box = sandbox { env = { A = "1", B = "2", C = "3" } }:with { env = { B = "two", C = unset, D = "4", LANG = false } }
    local seen = inside.sh(box, "env")
    for _, want in ipairs { "A=1\n", "B=two\n", "D=4\n" } do assert.matches(want, seen) end
    assert.not_matches("\nC=", "\n" .. seen)
    assert.not_matches("\nLANG=", "\n" .. seen)
  end)

  it("appends entries, and replaces the one of the same target in its place", function()
    local box = sandbox { fs = { fs.os(), fs.file("/a", "first"), fs.tmpfs "/b" } }
      :with { fs = { fs.tmpfs "/c", fs.file("/a", "second") } }
    assert.equal("second\n/b\n/c\n", (inside.sh(box, "cat /a; echo; ls -d /b /c")))
    local text = plan_of(box)
    local a, b, c = text:find('"/a"', 1, true), text:find('"/b"', 1, true), text:find('"/c"', 1, true)
    assert.is_true(a < b and b < c)
  end)

  it("removes what is unset", function()
    local box = sandbox { hostname = "a", domainname = "d", namespaces = { "user", "uts" } }
      :with { hostname = unset, domainname = unset, namespaces = unset }
    assert.matches('"hostname":%s*"sandbox"', plan_of(box))
    box = sandbox { hostname = "a" }:with { hostname = unset, namespaces = { "user" } }
    assert.is_table(box)
  end)

  it("checks the whole that comes of it", function()
    local box = sandbox "whole" { hostname = "a" }
    assert.matches(HERE .. "sandbox<whole>: hostname and domainname need",
      mistake(function() local _ = box:with { namespaces = { "user" } } end))
    assert.matches("unknown field 'hostnam'", mistake(function() return box:with { hostnam = "x" } end))
    assert.matches("already taken", mistake(function()
      return box:with { fs = { fs.tmpfs "/x", fs.dir "/x" } }
    end))
  end)

  it("compiles each sandbox once", function()
    local calls = 0
    local box = sandbox { steps = { function() calls = calls + 1 end } }
    inside.sh(box, "true")
    inside.sh(box, "true")
    box:plan()
    assert.equal(1, calls)
  end)
end)
