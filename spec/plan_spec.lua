--- Plans are recorded and read back without any privilege, and nothing happens.
local probe = require "probe"
local sys = require "nslua.sys"

local function decoded(plan) return sys.decode(plan:bytes()) end

describe("a plan", function()
  it("is empty at first", function()
    local plan = sys.plan()
    assert.same({ 0, "", "plan (0 operations)", {} }, { #plan, plan:bytes(), tostring(plan), decoded(plan) })
  end)

  it("gives back what was recorded, absent arguments as false", function()
    local plan = sys.plan()
    plan:mount("none", "/mnt", "tmpfs", { "nosuid", "nodev" }, "size=1m")
    plan:mount(nil, "/x", nil, "rbind")
    plan:sethostname "name"
    plan:write_file(nil, "/f", "\0bytes\255", 420)
    plan:execve("sh", { "sh", "-c", "" }, {}, nil)
    plan:capset(-1, 1 << 40, 0)
    assert.equal(6, #plan)
    local list = decoded(plan)
    local first = list[1]
    assert.same({ "mount", "none", "/mnt", "tmpfs", "nosuid,nodev", "size=1m" }, { first.name, table.unpack(first) })
    assert.same({ false, "/x", false, "bind,rec", false }, { table.unpack(list[2], 1, 5) })
    assert.same({ "sethostname", "name" }, { list[3].name, list[3][1] })
    assert.same({ false, "/f", "\0bytes\255" }, { table.unpack(list[4], 1, 3) })
    assert.same({ "sh", { "sh", "-c", "" }, {}, false }, { table.unpack(list[5], 1, 4) })
    assert.same({ -1, 1 << 40, 0 }, { table.unpack(list[6], 1, 3) })
  end)

  it("records every row without doing it", function()
    local cwd = sys.getcwd()
    local plan = sys.plan()
    plan:chdir "/":chroot "/nowhere":umask(0):setsid():close_range(0, 100):no_new_privs():setresuid(5, 5, 5)
    assert.equal(7, #plan)
    assert.equal(cwd, sys.getcwd())
    assert.matches("NoNewPrivs:%s*0", probe.read "/proc/self/status")
  end)

  it("returns registers for what opens something, itself otherwise", function()
    local plan = sys.plan()
    assert.equal(plan, plan:chdir "/")
    local first = plan:open(nil, "/", "path")
    local second = plan:open_tree(first, "etc", "clone")
    assert.matches("^register %d+$", tostring(first))
    assert.equal(first:number() + 1, second:number())
    local list = decoded(plan)
    assert.equal(first:number(), list[2].result:number())
    assert.equal(first:number(), list[3][1]:number())
    assert.equal(second:number(), list[3].result:number())
  end)

  it("shows its operations one by one, too", function()
    local plan = sys.plan()
    plan:chdir "/usr"
    plan:sethostname "host"
    local bytes = plan:bytes()
    assert.same({ "chdir", "/usr" }, { sys.operation(bytes, 1).name, sys.operation(bytes, 1)[1] })
    assert.equal("sethostname", sys.operation(bytes, 2).name)
    for _, index in ipairs { 0, 3, -1 } do assert.is_nil(sys.operation(bytes, index)) end
  end)

  it("shares registers and notes with its sections, but not operations", function()
    local plan = sys.plan()
    local section = plan:section()
    local a = plan:open(nil, "/", "path")
    local b = section:open(a, "etc", "path")
    local c = plan:register()
    assert.same({ a:number() + 1, a:number() + 2 }, { b:number(), c:number() })
    assert.same({ plan:registers(), c:number() + 1 }, { section:registers(), section:registers() })
    plan:note(7)
    section:chdir "/"
    assert.equal(7, decoded(section)[2].note)
    assert.same({ 1, 2 }, { #plan, #section })
    local both = sys.decode(plan:bytes() .. section:bytes())
    assert.same({ "open", "open", "chdir" }, { both[1].name, both[2].name, both[3].name })
  end)

  it("can begin behind registers that exist", function()
    assert.equal(17, sys.plan(17):register():number())
    assert.has_error(function() sys.plan(0) end)
    assert.has_error(function() sys.plan(1 << 40) end)
  end)

  it("passes fds of the host", function()
    local plan = sys.plan()
    local fd <close> = assert(sys.open(nil, "/dev/null", "read"))
    local register = plan:pass(fd)
    plan:fchdir(fd)
    plan:fchdir(io.stdout)
    plan:fchdir(2)
    local passed = plan:passed()
    assert.equal(fd, passed[register:number()])
    local list = decoded(plan)
    assert.same({ fd, io.stdout, 2 }, { passed[list[1][1]:number()], passed[list[2][1]:number()], passed[list[3][1]:number()] })
    fd:close()
    assert.has_error(function() plan:fchdir(fd) end)
    assert.has_error(function() plan:pass(fd) end)
    assert.has_error(function() plan:pass "x" end)
  end)

  it("skips an operation that may fail, and those that use what it would have opened", function()
    local plan = sys.plan()
    local missing = plan:optional("ENOENT"):open(nil, "/no/such/file", "path")
    plan:open(missing, "below", "path")
    plan:tolerate("ENOENT"):chdir "/no/such/directory"
    local there = plan:open(nil, "/dev/null", "path")
    local opened, skipped = sys.execute(plan:bytes(), plan:registers())
    assert.same({ 0 }, skipped)
    assert.is_nil(opened[missing:number()])
    assert.equal("char", sys.fstat(opened[there:number()]).type)
    for _, fd in pairs(opened) do fd:close() end
  end)

  it("tolerates only what was named, only once", function()
    local plan = sys.plan()
    plan:optional("EPERM", "EINVAL"):open(nil, "/no/such/file", "path")
    local opened, failure = sys.execute(plan:bytes(), plan:registers())
    assert.is_nil(opened)
    assert.same({ operation = 0, errno = 2, detail = failure.detail }, failure)
    plan = sys.plan()
    plan:optional("ENOENT"):open(nil, "/no/such/file", "path")
    plan:open(nil, "/no/such/file", "path")
    assert.equal(1, select(2, sys.execute(plan:bytes(), plan:registers())).operation)
    assert.has_error(function() plan:optional "ENOSUCH" end)
    assert.has_error(function() plan:optional("EPERM", "EPERM", "EPERM", "EPERM", "EPERM") end)
  end)

  it("misuse raises and records nothing", function()
    local plan = sys.plan()
    for _, call in ipairs {
      function() plan:chdir() end, function() plan:chdir("a", "b") end, function() plan:chdir "a\0" end,
      function() plan:mount("a", "b", "c", "nosuch") end, function() plan:umask "x" end, function() plan.chdir({}, "/") end,
      function() plan:note(-1) end, function() plan:note(1 << 16) end, function() plan:fchdir {} end,
      function() plan:execve("a", { 1 }, {}) end, function() plan:no_such_primitive() end,
    } do assert.has_error(call) end
    assert.equal(0, #plan)
  end)

  it("has a limit on registers and on size", function()
    local plan = sys.plan()
    assert.has_error(function() for _ = 1, 40000 do plan:register() end end)
    local large = ("x"):rep(100 << 20)
    plan = sys.plan()
    assert.has_error(function() for _ = 1, 4 do plan:write_file(nil, "f", large, 420) end end)
    large, plan = nil, nil
    collectgarbage()
    assert.same({}, { large, plan })
  end)

  it("bytes that are no plan are refused, whatever they are", function()
    local plan = sys.plan()
    plan:mount("none", "/mnt", "tmpfs", { "nosuid" }, "size=1m")
    plan:execve("sh", { "sh", "-c", "exit" }, { "A=b" }, "/bin")
    local bytes = plan:bytes()
    for i = 1, #bytes - 1 do pcall(sys.decode, bytes:sub(1, i)) end
    for _, read in ipairs { sys.decode, sys.operation } do
      assert.has_error(function() read(bytes:sub(1, -9), 2) end)
      assert.has_error(function() read("x", 1) end)
    end
    local unchecked = { arguments = ("<I2I1I1I4i2I2I4"):pack(0, 200, 0, 24, -1, 0, 0) .. ("\0"):rep(4) }
    assert.has_error(function() sys.decode(unchecked.arguments) end)
  end)

  --- A plan with every way that an argument travels.
  local function various()
    local plan = sys.plan()
    plan:mount(nil, "/mnt", "tmpfs", { "nosuid" }, "size=1m")
    plan:execve("sh", { "sh", "-c", "exit" }, { "A=b" }, "/bin")
    plan:fchdir(plan:open(nil, "/", "path"))
    plan:setgroups { 1, 2 }
    plan:capset(-1, 1 << 40, 0)
    return plan:bytes()
  end

  it("bytes of which one is another give an error or a table", function()
    local bytes <const> = various()
    local child <close> = assert(sys.clone({}, function()
      for i = 1, #bytes do
        local byte = bytes:byte(i)
        for _, other in ipairs { 0, 1, 0x7f, 0xff, byte ~ 1, byte ~ 8, byte ~ 0x80 } do
          local changed = bytes:sub(1, i - 1) .. string.char(other) .. bytes:sub(i + 1)
          local ok, result = pcall(sys.decode, changed)
          assert(type(result) == (ok and "table" or "string"))
          pcall(sys.operation, changed, 2)
        end
      end
    end))
    assert.same({ n = 1, 0 }, table.pack(child:wait()))
  end)

  it("an argument lies in its operation, and is of its parameter's kind", function()
    local HEADER <const>, ARGUMENT <const> = 16, 16
    local DATA <const>, LIST <const>, REGISTER <const>, INTEGER <const> = 3, 4, 2, 1
    local plan = sys.plan()
    plan:execve("sh", { "sh", "-c", "exit" }, { "A=b" }, "/bin")
    local bytes = plan:bytes()
    local size, list = #bytes, ("<i8"):unpack(bytes, HEADER + ARGUMENT + 8 + 1)
    --- The same with another argument (from 0), or with other bytes of its data.
    local function with(index, kind, n, value)
      local at = HEADER + index * ARGUMENT
      return bytes:sub(1, at) .. ("<I4I4i8"):pack(kind, n, value) .. bytes:sub(at + ARGUMENT + 1)
    end
    local function with_offset(offset) return bytes:sub(1, list) .. ("<i8"):pack(offset) .. bytes:sub(list + 9) end
    assert.equal(1, #sys.decode(with(1, LIST, 3, list)))
    assert.equal(1, #sys.decode(with(7, REGISTER, 0, 29999)))
    for _, crafted in ipairs {
      with(0, DATA, 2, size), with(0, DATA, 2, -8), with(0, DATA, size, 0), with(0, DATA, 0xffffffff, 8),
      with(0, DATA, 2, math.maxinteger), with(0, INTEGER, 0, 0), with(0, 0, 0, 0), with(0, 5, 0, 0),
      with(1, LIST, 0xffffffff, list), with(1, LIST, 3, list + 1), with(1, LIST, 3, size), with(1, LIST, 3, math.mininteger),
      with(1, DATA, 2, list), with(7, REGISTER, 0, -1), with(7, REGISTER, 0, 30000), with(7, REGISTER, 0, 1 << 32),
      with_offset(size), with_offset(-1), with_offset(math.maxinteger), with_offset(math.mininteger),
      bytes:sub(1, 2) .. "\9" .. bytes:sub(4), bytes:sub(1, 2) .. "\7" .. bytes:sub(4),
    } do
      assert.matches("not the bytes of a plan", select(2, pcall(sys.decode, crafted)))
      assert.matches("not the bytes of a plan", select(2, pcall(sys.operation, crafted, 1)))
    end
  end)
end)
