--- Functions that are called in a sandbox: what is copied, what comes back, what a hostile one can do.
local copy = require "nslua.copy"
local nslua = require "nslua"
local sys = require "nslua.sys"
local watch = require "watch"
local fs, sandbox = nslua.fs, nslua.sandbox

local box = sandbox {}

local function identity(...) return ... end
local function which(at) return "value " .. at end

local function encoded(...) return copy.bytes_of(assert(copy.encode(table.pack(...), which, true))) end

--- Code for a function that has found the file which its results go through.
local HOSTILE <const> = [[
local file
for level = 1, 20 do
  for at = 1, 20 do
    local found, _, value = pcall(debug.getlocal, level, at)
    if found and io.type(value) == "file" and value ~= io.stdout then file = value end -- the last one is it
  end
end
]]

--- What comes of a function that uses that file.
local function hostile(code, options)
  options = options or {}
  options[1] = assert(load(HOSTILE .. code))
  return box:call(options)
end

describe("call", function()
  describe("copies", function()
    it("plain values, exactly", function()
      for _, value in ipairs { 0, -1, math.maxinteger, math.mininteger, 0.5, -0.0, 2.0 ^ 53, math.huge, -math.huge, "",
        "a\0b\255", ("x"):rep(1 << 20), true, false } do
        local ok, same = box:call(identity, value)
        assert.is_true(ok)
        assert.equal(value, same)
        assert.equal(math.type(value), math.type(same))
      end
      assert.is_true(select(2, box:call(function(x) return x ~= x end, 0 / 0)))
    end)

    it("as many as there are, nils among them", function()
      assert.same({ n = 5, true, nil, 1, nil, nil }, table.pack(box:call(identity, nil, 1, nil, nil)))
      assert.same({ n = 1, true }, table.pack(box:call(identity)))
    end)

    it("tables, with what is in them twice, and themselves", function()
      local part = { 1, 2, [10] = "ten", [1.5] = true, [false] = "no", ["a key"] = {} }
      local whole = { part, part, nil, { deep = part } }
      whole.self = whole
      whole[part] = "a table as a key"
      local _, result = assert(box:call(identity, whole))
      assert.are_not.equal(whole, result)
      assert.same(part, result[1])
      assert.equal(result[1], result[2])
      assert.equal(result[1], result[4].deep)
      assert.equal(result, result.self)
      assert.equal("a table as a key", result[result[1]])
    end)

    it("upvalues, and not back", function()
      local count, list = 1, { 5 }
      local ok, result = box:call(function()
        count = count + 1
        list[1] = list[1] + count
        return list[1]
      end)
      assert.same({ true, 7, 1, 5 }, { ok, result, count, list[1] })
    end)

    it("functions that call themselves and each other", function()
      local odd
      local function even(n) return n == 0 or odd(n - 1) end
      odd = function(n) return n ~= 0 and even(n - 1) end
      assert.same({ true, true }, { box:call(even, 100) })
      local function factorial(n) return n < 2 and 1 or n * factorial(n - 1) end
      assert.same({ true, 3628800 }, { box:call(factorial, 10) })
    end)

    it("variables that functions share as one", function()
      local count = 0
      local counter = { add = function() count = count + 1 end, get = function() return count end }
      assert.same({ true, 2 }, { box:call(function(c)
        c.add()
        c.add()
        return c.get()
      end, counter) })
      assert.equal(0, count)
    end)

    it("what the standard libraries hold by its name", function()
      local format, libraries, out = string.format, { math = math, all = _G }, io.stdout
      local ok, result = box:call(function()
        return format("%d", libraries.math.max(1, 2)) .. tostring(libraries.all.string == string) .. tostring(out == io.stdout)
      end)
      assert.same({ true, "2truetrue" }, { ok, result })
      assert.same({ true, "ababab" }, { box:call(string.rep, "ab", 3) })
    end)

    it("tables with holes, and keys that only look like a list", function()
      local list = { [1] = true, [17] = true, [0] = 0, [-1] = -1 }
      for at = 1, 62 do list[1 << at] = at end
      assert.same({ true, list }, { box:call(identity, list) })
      assert.same({ true, { 1, nil, 3, nil, nil, 6 } }, { box:call(identity, { 1, nil, 3, nil, nil, 6 }) })
    end)

    it("as many results as a function may give, and no more", function()
      assert.equal(4095, select("#", box:call(function(n) return table.unpack({}, 1, n) end, 4094)))
      assert.same({ false, "result 4096 is more than there may be" },
        { box:call(function(n) return table.unpack({}, 1, n) end, 6000) })
      assert.matches("call_spec.lua:%d+: call: argument 4096 is more than there may be", select(2, pcall(function()
        local ok = box:call(identity, table.unpack({}, 1, 6000))
        return ok
      end)))
    end)

    it("globals that a function was given as its own", function()
      local chunk = load("return (seen or 'none') .. tostring(print)", "=own", "t", { seen = "own", tostring = type })
      assert.same({ true, "ownnil" }, { box:call(chunk) })
      chunk = load("return tostring(own)", "=own", "t", setmetatable({ own = 1 }, { __index = _G }))
      assert.same({ true, "nil" }, { box:call(chunk) })
      chunk = load("return tostring(own)", "=own", "t", setmetatable({ own = 1 }, { __index = _G, __metatable = false }))
      assert.same({ true, "nil" }, { box:call(chunk) })
    end)

    it("not what cannot be: an error that says where it is, at the caller's line, before anything runs", function()
      local deep = { { thread = coroutine.create(identity) } }
      local nested = {}
      for _ = 1, 10100 do nested = { nested } end
      local numbers = {}
      for i = 1, 20000 do numbers[i * 2] = true end
      local function use() return deep end
      local pool <close> = assert(box:pool(1))
      local before = watch.footprint()
      for expected, misuse in pairs {
        ["call: argument 1 is a coroutine, which cannot be copied"] = function() box:call(identity, deep[1].thread) end,
        ["call: argument 2.deep[1].thread is a coroutine"] = function() box:call(identity, 1, { deep = deep }) end,
        ["call: argument 1 is a table with a metatable"] = function() box:call(identity, setmetatable({}, {})) end,
        ["call: argument 1 is a file, which"] = function() box:call(identity, io.tmpfile()) end,
        ["call: argument 1, a key of which is userdata"] = function() box:call(identity, { [sys.buffer()] = 1 }) end,
        ["call: argument 1[\"a b\"] is a function of C"] = function() box:call(identity, { ["a b"] = sys.getpid }) end,
        ["call: the function, whose upvalue deep[1].thread is a coroutine, which cannot be copied; what a module has, require "
          .. "in the function"] = function() box:call(use) end,
        ["call: argument 1 is nested deeper than 10000 tables"] = function() box:call(identity, nested) end,
        ["call: a function expected, or { function, options… }, got 5"] = function() box:call(5) end,
        ["call: a function expected, or { function, options… }, got a table"] = function() box:call { identity, 5 } end,
        ["timeout must be a number of seconds above 0 (got 'soon')"] = function() box:call { identity, timeout = "soon" } end,
        ["unknown option 'time_out' (did you mean 'timeout'?)"] = function() box:call { identity, time_out = 1 } end,
        ["stdout must be \"relay\", \"null\", \"inherit\", a file, or a function"] = function()
          box:call { identity, stdout = "capture" }
        end,
        ["stderr must be \"relay\""] = function() box:call { identity, stderr = "pipe" } end,
        ["not a sandbox: call its methods with ':'"] = function() box.call(identity) end,
        ["pool: how many expected, 1 to 1000, got 0"] = function() box:pool(0) end,
        ["pool: how many expected, 1 to 1000, got 1.5"] = function() box:pool(1.5) end,
        ["pool: a table of options expected, got 'x'"] = function() box:pool(1, "x") end,
        ["unknown option 'timeout'"] = function() box:pool(1, { timeout = 1 }) end,
        ["call: argument 1 is a table with"] = function() pool:call(identity, setmetatable({}, {})) end,
        ["unknown option 'cwd'"] = function() pool:call { identity, cwd = "/" } end,
        ["map: a function expected"] = function() pool:map(5, {}) end,
        ["map: a list expected, got a nil"] = function() pool:map(identity) end,
        ["map: item 2 of the list is nil"] = function() pool:map(identity, { 1, nil, 3 }) end,
        ["map: item 3.x is a coroutine"] = function() pool:map(identity, { 1, 2, { x = deep[1].thread } }) end,
        ["map: the function, whose upvalue deep"] = function() pool:map(use, {}) end,
      } do
        local ok, message = pcall(misuse)
        local info = debug.getinfo(misuse, "S")
        local line, rest = message:match "^spec/call_spec.lua:(%d+): (.*)"
        assert.equal(expected, (rest or message):sub(1, #expected))
        assert.is_true(tonumber(line) >= info.linedefined and tonumber(line) <= info.lastlinedefined, message)
        assert.is_false(ok)
      end
      assert.same(before, watch.footprint(before))
      -- Numbers hold up nobody there but who sends them.
      assert.same({ true, true }, { box:call(function(t) return t[40000] end, numbers) })
    end)

    it("a list of 9,000 links", function()
      local list = {}
      for _ = 1, 9000 do list = { next = list } end
      local ok, result = box:call(identity, list)
      assert.is_true(ok)
      local count = 0
      while result.next do count, result = count + 1, result.next end
      assert.equal(9000, count)
    end)
  end)

  describe("runs", function()
    it("in an interpreter of its own", function()
      _G.OURS = 1
      assert.same({ true, nil, nil }, { box:call(function()
        THEIRS = 2 -- luacheck: ignore
        return OURS, package.loaded.busted -- luacheck: ignore
      end) })
      _G.OURS = nil
      assert.is_nil(rawget(_G, "THEIRS"))
    end)

    it("in the sandbox", function()
      local inside = sandbox { hostname = "inside", env = { NAME = "value" }, fs = { fs.os(), fs.file("/data", "content") } }
      local ok, host, name, data, outside = inside:call(function(path)
        local file = io.open "/data"
        return io.open "/proc/sys/kernel/hostname":read "l", os.getenv "NAME", file:read "a", io.open(path)
      end, debug.getinfo(1, "S").short_src)
      assert.same({ true, "inside", "value", "content" }, { ok, host, name, data })
      assert.is_nil(outside)
    end)

    it("with Lua modules of the sandbox, and without C modules", function()
      local ok, from_module, message = sandbox { fs = { fs.os(), fs.file("/modules/mine.lua", "return 'mine'") } }:call(function()
        package.path = "/modules/?.lua;" .. package.path
        return require "mine", select(2, pcall(require, "lfs"))
      end)
      assert.same({ true, "mine" }, { ok, from_module })
      assert.matches("module 'lfs' not found", message)
    end)

    it("where there is nothing but the function", function()
      for name, fields in pairs {
        empty = { fs = {} }, host = { fs = { fs.host() } }, init = { init = false }, root = { user = "root" },
        caps = { caps = "all" }, belt = { landlock = false }, filter = { seccomp = false },
        namespaces = { namespaces = { "user", "mount", "pid" } }, files = { fs = { fs.dir "/work" }, cwd = "/work" },
        limits = { limits = { nofile = 10, memory = "256M", best_effort = true } },
      } do
        local ok, sum = sandbox(fields):call(function(a, b) return a + b end, 1, 2)
        assert.same({ name, true, 3 }, { name, ok, sum })
      end
    end)

    it("with what it prints relayed, before it returns", function()
      local shown = {}
      local ok, result = box:call { function()
        print "printed"
        io.stderr:write "apart"
        return "returned"
      end, stdout = function(data) shown[#shown + 1] = data end, stderr = function(data) shown[#shown + 1] = data end }
      table.sort(shown)
      assert.same({ true, "returned", "apart", "printed\n" }, { ok, result, shown[1], shown[2] })
    end)

    it("with the options of a run", function()
      local ok, value, directory = box:call { function()
        return os.getenv "MORE", os.getenv "PWD" or io.popen "pwd":read "l"
      end, env = { MORE = "more" }, cwd = "/tmp" }
      assert.same({ true, "more", "/tmp" }, { ok, value, directory })
      local file, shown = io.tmpfile(), {}
      assert(box:call { function() print "in a file" end, stdout = file })
      file:seek "set"
      assert.equal("in a file\n", file:read "a")
      local function show(data) shown[#shown + 1] = data end
      assert(box:call { function() io.stderr:write "both" end, stdout = show, stderr = "stdout" })
      assert.same({ "both" }, shown)
    end)

    it("without the host's files, and keeps its own from what it starts", function()
      local ok, listed = box:call(function()
        local pipe = io.popen "ls /proc/self/fd"
        return pipe:read "a"
      end)
      assert.is_true(ok)
      assert.equal("0\n1\n2\n3\n", listed) -- 3: the directory that ls reads
    end)

    it("as a program that nobody can change, nor take from others", function()
      local ok, opened, message = box:call(function()
        local file, why = io.open("/proc/self/exe", "r+")
        return file ~= nil, why
      end)
      assert.same({ true, false }, { ok, opened })
      assert.matches("denied", message)
      box:call(function() os.execute "chmod 0 /proc/$PPID/exe 2> /dev/null" end)
      assert.is_true(box:call(identity))
    end)

    it("in a coroutine, too, and one in another", function()
      local ok, result = coroutine.wrap(function() return box:call(identity, "from a coroutine") end)()
      assert.same({ true, "from a coroutine" }, { ok, result })
    end)
  end)

  describe("fails as pcall does", function()
    it("with the error, at its line", function()
      local ok, message = box:call(function() error "bad" end)
      assert.is_false(ok)
      assert.matches("^spec/call_spec.lua:%d+: bad$", message)
      ok, message = box:call(function(x) return x.y end)
      assert.is_false(ok)
      assert.matches("call_spec.lua:%d+: attempt to index a nil value %(local 'x'%)", message)
    end)

    it("with an error that is a table, an object, or nothing", function()
      assert.same({ n = 2, false, { code = 5 } }, table.pack(box:call(function() error { code = 5 } end)))
      assert.same({ n = 2, false, "told" }, table.pack(box:call(function()
        error(setmetatable({}, { __tostring = function() return "told" end }))
      end)))
      assert.same({ n = 2, false, "an error that cannot be told" }, table.pack(box:call(function()
        error(setmetatable({}, { __tostring = error }))
      end)))
      assert.same({ n = 2, false }, table.pack(box:call(error)))
    end)

    it("when a result cannot be copied", function()
      assert.same({ false, "result 2.f is a function, which cannot be copied" },
        { box:call(function() return 1, { f = print } end) })
      local ok, message = box:call(function()
        local t = {}
        for i = 1, 17000 do t[i * 3] = i end
        return t
      end)
      assert.is_false(ok)
      assert.matches("^result 1 is a table with more than 16384 numbers as keys that are no sequence", message)
    end)

    it("when memory is out there", function()
      local ok, message = sandbox { limits = { as = "64M" } }:call(function() return #("x"):rep(1 << 30) end)
      assert.same({ false, "not enough memory" }, { ok, message })
      ok, message = sandbox { limits = { as = "64M" } }:call(function() return ("x"):rep(20 << 20) end)
      assert.same({ false, "not enough memory" }, { ok, message })
    end)
  end)

  describe("tells why there is no result", function()
    local function failure(...)
      local result, err = ...
      assert.is_nil(result)
      return tostring(err), err.code
    end

    it("when the sandbox cannot be made", function()
      local result, err = sandbox { fs = { fs.ro "/nonexistent" } }:call(identity)
      assert.is_nil(result)
      assert.equal("ENOENT", err.code)
      assert.matches("call_spec.lua:%d+: bind /nonexistent", tostring(err))
    end)

    it("when the process has ended", function()
      assert.equal("call: its process ended with status 7 before the function returned (ESRCH)",
        failure(box:call(function() os.exit(7) end)))
      assert.equal("call: its process was ended by signal 9 before the function returned (ESRCH)",
        failure(box:call(function() io.popen("kill -9 $PPID"):read "a" end)))
      assert.equal(7, select(2, box:call(function() os.exit(7) end)).result.code)
    end)

    it("when the time is over", function()
      local function never() while true do end end
      local message, code = failure(box:call { never, timeout = 2 })
      assert.equal("call: the time limit passed before the function returned (ETIMEDOUT)", message)
      assert.equal("ETIMEDOUT", code)
      assert.equal(message, (failure(sandbox { limits = { time = 2 } }:call(never))))
      message, code = failure(box:call { never, timeout = 0.001 })
      assert.equal("stage: the time limit passed while it set the sandbox up (ETIMEDOUT)", message)
      assert.equal("ETIMEDOUT", code)
    end)

    it("when they are too much", function()
      local function repeated(n) return ("x"):rep(n) end
      assert.equal("call: the results are larger than result_limit, 1048576 bytes (EMSGSIZE)",
        (failure(box:call({ repeated, result_limit = "1M" }, 1 << 21))))
      local ok, text = box:call({ repeated, result_limit = "3M" }, 1 << 21)
      assert.same({ true, 1 << 21 }, { ok, #text })
      assert.same({ true, 1 }, { box:call({ identity, result_limit = math.maxinteger }, 1) })
      -- small as bytes, and large as tables
      assert.equal("call: the results are larger than result_limit, 1048576 bytes (EMSGSIZE)",
        (failure(box:call { function()
          local list = {}
          for i = 1, 20000 do list[i] = {} end
          return list
        end, result_limit = "1M" })))
    end)

    it("when what runs there sends something else", function()
      for code, expected in pairs {
        ["file:write(('z'):rep(100)):flush()"] = "EMSGSIZE",
        ["file:write(string.pack('<I8', 3), 'xyz'):flush()"] = "EBADMSG",
        ["file:write(string.pack('<I8', 0)):flush()"] = "EBADMSG",
        ["file:write(string.pack('<s8', string.pack('<c1i8c1', 'i', 1, '0'))):flush()"] = "EBADMSG",
        ["file:write(string.pack('<s8', string.pack('<c1i8c1c1s1', 'i', 2, '1', 'n', 'os.execute'))):flush()"] = "EBADMSG",
        ["file:write(string.pack('<s8', string.pack('<c1i8c1c1s8I1', 'i', 2, '1', 'f', string.dump(function() end), 0))):flush()"]
          = "EBADMSG",
        ["file:write(string.pack('<s8', string.pack('<c1i8', 'i', 2000000) .. ('1'):rep(2000000))):flush()"] = "EBADMSG",
        ["file:write(string.pack('<I8', 100), 'short'):flush() os.exit(0)"] = "ESRCH",
        ["file:close() os.exit(0)"] = "ESRCH",
        ["file:write(string.pack('<I8', 1 << 40)) while file:write(('x'):rep(65536)) do end"] = "EMSGSIZE",
      } do
        assert.same({ code, expected }, { code, select(2, failure(hostile(code))) })
      end
      -- a byte at a time
      local ok, same = hostile [[file:setvbuf "no"
        for c in string.pack("<s8", string.pack("<c1i8c1c1", "i", 2, "1", "1")):gmatch "." do file:write(c) end]]
      assert.same({ true, true }, { ok, same })
      assert.matches("time limit", (failure(hostile("file:close() while true do end", { timeout = 0.3 }))))
    end)
  end)

  it("leaves nothing behind", function()
    local function once()
      assert(box:call(identity, 1))
      assert(not box:call(error))
      assert(not box:call(function() os.exit(1) end))
      assert(not box:call { function() while true do end end, timeout = 0.05 })
      assert(not sandbox { fs = { fs.ro "/nonexistent" } }:call(identity))
      assert(not hostile "file:write(('z'):rep(100)):flush()")
      assert(not pcall(box.call, box, { print, stdout = function() error "from the sink" end }, "x"))
    end
    once()
    local before = watch.footprint()
    for _ = 1, 3 do once() end
    assert.same(before, watch.footprint(before))
  end)
end)

describe("copy", function()
  it("takes any bytes, and never more memory than is said", function()
    math.randomseed(7)
    local list = { 1, { 2, x = "text", [7.5] = 1 } }
    list.self = list
    local good = encoded(true, list, "abc")
    local refused = 0
    for _ = 1, 20000 do
      local bytes = { good:byte(1, -1) }
      for _ = 1, math.random(4) do bytes[math.random(#bytes)] = math.random(0, 255) end
      local result, problem = copy.decode(string.char(table.unpack(bytes)), 1 << 16, false)
      if not result then refused = refused + 1 end
      assert.equal(result and "nil" or "string", type(problem))
    end
    assert.is_true(refused > 10000)
    for length = 0, #good - 1 do assert.same({ nil, "malformed" }, { copy.decode(good:sub(1, length), 1 << 16, false) }) end
    local greedy = string.pack("<c1i8c1I4", "i", 1, "t", 0xffffffff)
    collectgarbage()
    local before = collectgarbage "count"
    assert.same({ nil, copy.TOO_LARGE }, { copy.decode(greedy, 64 << 20, false) })
    assert.is_true(collectgarbage "count" - before < 1024)
  end)

  it("tells nothing of how strings are hashed here", function()
    local map, keys = {}, {}
    for i = 1, 200 do
      keys[i] = ("%x"):format(i * 7919)
      map[keys[i]] = i
    end
    table.sort(keys)
    local at = 1
    for _, key in ipairs(keys) do at = assert(encoded(map):find("s" .. ("<s8"):pack(key), at, true), key) end
  end)

  it("stops when it is late", function()
    local list = {}
    for i = 1, 100000 do list[i] = i end
    local looks = 0
    assert.same({ nil, copy.LATE }, { copy.decode(encoded(list), 64 << 20, false, function()
      looks = looks + 1
      return looks == 3
    end) })
    assert.equal(3, looks)
  end)

  it("is not held up by numbers that fall on one another", function()
    local keys = { "i", ("<i8"):pack(1), "t", ("<I4"):pack(0) }
    local apart <const> = ((1 << 12) - 1) * ((1 << 13) - 1) * ((1 << 14) - 1) // 3 -- whatever the size of the table
    for i = 1, 16384 do keys[#keys + 1] = ("<c1i8c1"):pack("i", i * apart, "1") end
    local begun = os.clock()
    assert(copy.decode(table.concat(keys) .. ".", 64 << 20, false))
    assert.is_true(os.clock() - begun < 20)
    keys[#keys + 1] = ("<c1dc1"):pack("d", 0.5, "1")
    assert.same({ nil, "malformed" }, { copy.decode(table.concat(keys) .. ".", 64 << 20, false) })
  end)
end)

describe("pool", function()
  it("calls in processes that stay", function()
    local pool <close> = assert(box:pool(1))
    local function count() COUNT = (COUNT or 0) + 1 return COUNT end -- luacheck: ignore
    for i = 1, 3 do assert.same({ true, i }, { pool:call(count) }) end
    assert.same({ false, "bad" }, { pool:call(function() error("bad", 0) end) })
    assert.same({ true, 4 }, { pool:call(count) })
    assert.equal("pool (1)", tostring(pool))
  end)

  it("replaces what has ended, is late, or sends something else", function()
    local pool <close> = assert(box:pool(1))
    local function mark() MARKED = true end -- luacheck: ignore
    local function is_marked() return MARKED end -- luacheck: ignore
    for expected, f in pairs {
      ["ended with status 3"] = function() os.exit(3) end,
      ["time limit passed"] = { function() while true do end end, timeout = 0.1 },
      ["EBADMSG"] = load(HOSTILE .. "file:write(string.pack('<I8', 1), '?'):flush()"),
    } do
      assert(pool:call(mark))
      local result, err = pool:call(f)
      assert.is_nil(result)
      assert.matches(expected, tostring(err))
      assert.same({ true, nil }, { pool:call(is_marked) })
    end
    assert(pool:call(function() os.execute "(sleep 0.1; kill -9 $PPID) &" end)) -- behind its answer
    sys.poll(0.4)
    assert.same({ true, nil }, { pool:call(is_marked) })
  end)

  it("takes what has come unasked for no result", function()
    local pool <close> = assert(box:pool(1))
    pool:call(load(HOSTILE .. "file:write(string.pack('<s8', string.pack('<c1i8c1c1', 'i', 2, '1', '1'))):flush() return 'late'"))
    sys.poll(0.5)
    assert.same({ true, "second" }, { pool:call(identity, "second") })
  end)

  it("maps a list, at once, in its order", function()
    local pool <close> = assert(box:pool(3))
    local list = {}
    for i = 1, 20 do list[i] = i end
    local ok, squares = pool:map(function(n) return n * n end, list)
    assert.is_true(ok)
    for i = 1, 20 do assert.equal(i * i, squares[i]) end
    assert.same({ true, {} }, { pool:map(identity, {}) })
    local begun = sys.clock()
    assert(pool:map(function() os.execute "sleep 1" end, { 1, 2, 3 }))
    assert.is_true(sys.clock() - begun < 2.8)
  end)

  it("ends a map at its first failure", function()
    local pool <close> = assert(box:pool(2))
    local ok, message, item = pool:map(function(n)
      if n == 2 then error("two", 0) end
      os.execute "sleep 60"
    end, { 1, 2, 3 })
    assert.same({ false, "two", 2 }, { ok, message, item })
    local result, err, which_one = pool:map(function(n) if n == 3 then os.exit(4) end end, { 1, 2, 3 })
    assert.same({ 3, "call: its process ended with status 4 before the function returned (ESRCH)" }, { which_one, tostring(err) })
    assert.is_nil(result)
    result, err, which_one = pool:map({ function(n) while n == 2 do end end, timeout = 3 }, { 1, 2 })
    assert.same({ 2, "ETIMEDOUT" }, { which_one, err.code })
    assert.is_nil(result)
    assert.same({ true, { 1, 2 } }, { pool:map(identity, { 1, 2 }) })
  end)

  it("relays what is printed, with the options of its processes", function()
    local shown = {}
    local pool <close> = assert(box:pool(1, { stdout = function(data) shown[#shown + 1] = data end, env = { WHO = "pool" } }))
    assert.same({ true, "pool" }, { pool:call(function()
      print "printed"
      return os.getenv "WHO"
    end) })
    assert.same({ "printed\n" }, shown)
  end)

  it("shows all that a function has printed before it returns", function()
    local got = 0
    local pool <close> = assert(box:pool(1, { stdout = function(data) got = got + #data end }))
    for i = 1, 3 do
      assert.is_true(pool:call(function() io.write(("x"):rep(3000000)) end))
      assert.equal(i * 3000000, got)
    end
  end)

  it("takes limits.time for that of each call", function()
    local pool <close> = assert(sandbox { limits = { time = 3, nofile = 50 } }:pool(1))
    local begun = sys.clock()
    local mark = select(2, pool:call(function()
      MARK = tostring {} -- luacheck: ignore
      return MARK -- luacheck: ignore
    end))
    while sys.clock() - begun < 3.5 do assert.is_true(pool:call(identity)) end
    sys.poll(3.2)
    assert.same({ true, mark }, { pool:call(function() return MARK end) }) -- luacheck: ignore
    assert.equal("ETIMEDOUT", select(2, pool:call(function() while true do end end)).code)
    assert.same({ true, nil }, { pool:call(function() return MARK end) }) -- luacheck: ignore
  end)

  it("ends its processes whatever their lifetime", function()
    local marker = watch.marker()
    for _, lifetime in ipairs { "detached", "last" } do
      local pool = assert(sandbox { lifetime = lifetime }:pool(2))
      local call = { load(("os.execute 'sleep %s'"):format(marker)), timeout = 0.5 }
      assert.equal("ETIMEDOUT", select(2, pool:call(call)).code)
      assert.equal("ETIMEDOUT", select(2, pool:map(call, { 1, 2 })).code)
      local leave = load(("os.execute 'sleep %s >/dev/null 2>&1 &' os.exit(0)"):format(marker))
      assert.equal("ESRCH", select(2, pool:call(leave)).code)
      pool:close()
      assert.equal("ETIMEDOUT", select(2, sandbox { lifetime = lifetime }:call(call)).code)
      assert.equal("ESRCH", select(2, sandbox { lifetime = lifetime }:call(leave)).code)
      assert.is_true(watch.vanish(marker, 5))
    end
  end)

  it("is as large as it was made, called or closed by its own functions, too", function()
    local pool, calls = nil, 0
    local function shown()
      calls = calls + 1
      if calls < 4 then assert(pool:call(print, "again")) end
    end
    pool = assert(box:pool(1, { stdout = shown }))
    assert(pool:call(identity))
    local before = watch.footprint().fds
    assert(pool:call(print, "first"))
    assert.equal(4, calls)
    assert.equal(before, watch.footprint().fds)
    pool:close()
    pool = assert(box:pool(1, { stdout = function() pool:close() end }))
    local result, err, item = pool:map(print, { 1, 2, 3 })
    assert.is_nil(result)
    assert.same({ "EBADF", "call: the pool has been closed (EBADF)" }, { err.code, tostring(err), item })
    local broken <close> = assert(box:pool(1, { stdout = function() error "from the sink" end }))
    assert.matches("from the sink", select(2, pcall(broken.call, broken, print, "x")))
    assert.is_true(broken:call(identity))
  end)

  it("is not made where its sandboxes cannot be", function()
    local pool, err = sandbox { fs = { fs.ro "/nonexistent" } }:pool(2)
    assert.is_nil(pool)
    assert.equal("ENOENT", err.code)
  end)

  it("says that there are too few numbers for files", function()
    local output = watch.host(watch.WITH_FEW_FDS .. [[
      with_few_fds(1, function() return light:call(tostring, 1) end)
      with_few_fds(1, function()
        local pool, err = light:pool(1)
        if pool then pool:close() end
        return pool, err
      end)
      print "held"
    ]])
    assert.equal("held\n", output)
  end)

  it("leaves nothing behind, closed or forgotten", function()
    local function once()
      local pool = assert(box:pool(2))
      pool:map(identity, { 1, 2, 3 })
      pool:call(function() os.exit(1) end)
      pool:close()
      pool:close()
      assert.has_error(function() pool:call(identity) end, "not a pool, or closed: call its methods with ':'")
      assert.equal("pool (closed)", tostring(pool))
      pool = assert(box:pool(1)) -- luacheck: ignore
    end
    once()
    collectgarbage()
    local before = watch.footprint()
    for _ = 1, 3 do once() end
    collectgarbage()
    collectgarbage()
    assert.same(before, watch.footprint(before))
  end)
end)
