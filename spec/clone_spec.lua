local probe = require "probe"
local sys = require "nslua.sys"
local watch = require "watch"

describe("sys.clone", function()
  local before
  before_each(function() before = watch.footprint() end)
  after_each(function() assert.same(before, watch.footprint(before)) end)

  local function status_of(body, ...) return assert(sys.clone({}, body, ...)):wait() end

  it("what the function returns is the exit status", function()
    for value, code in pairs { [0] = 0, [7] = 7, [255] = 255, [256] = 0, [true] = 0, [false] = 1 } do
      assert.equal(code, (status_of(function() return value end)))
    end
    assert.equal(0, (status_of(function() end)))
  end)

  it("an error is 1, with its message on stderr", function()
    local output = watch.host [[
      print(sys.clone({}, function() error "what went wrong" end):wait())
      print(sys.clone({}, function() error {} end):wait())
    ]]
    assert.matches("what went wrong", output)
    assert.matches("1\n.*1\n", output)
  end)

  it("a signal is no exit status", function()
    local child <close> = assert(sys.clone({}, function() sys.poll(20) end))
    assert.is_true(child:kill())
    assert.same({ n = 2, nil, 15 }, table.pack(child:wait()))
    assert.same({ "wait: No child processes (ECHILD)", 10 }, { select(2, child:wait()) })
    assert.equal(3, select(3, child:kill(9)))
    local killed <close> = assert(sys.clone({}, function() sys.poll(20) end))
    killed:kill(9)
    assert.equal(9, select(2, killed:wait()))
  end)

  it("<close> and the collector kill and reap", function()
    local pid
    do
      local child <close> = assert(sys.clone({}, function() sys.poll(20) end))
      pid = child.pid
      assert.is_truthy(sys.stat("/proc/" .. pid))
    end
    assert.is_nil(sys.stat("/proc/" .. pid))
    pid = assert(sys.clone({}, function() sys.poll(20) end)).pid
    collectgarbage()
    collectgarbage()
    assert.is_nil(sys.stat("/proc/" .. pid))
  end)

  it("the function is in new namespaces, we are not", function()
    local own = sys.readlink "/proc/self/ns/uts"
    local reader, writer = sys.pipe()
    local child <close> = assert(sys.clone({ "user", "uts", "pid" }, function()
      sys.write(writer, sys.readlink "/proc/self/ns/uts" .. " " .. sys.getpid())
    end))
    assert.equal(0, (child:wait()))
    local theirs, pid = sys.read(reader):match "(%S+) (%d+)"
    assert.not_equal(own, theirs)
    assert.equal("1", pid)
    assert.equal(own, sys.readlink "/proc/self/ns/uts")
    reader:close()
    writer:close()
  end)

  it("misuse raises, the kernel's refusal is returned", function()
    assert.has_error(function() sys.clone({}, 5) end)
    assert.has_error(function() sys.clone("nosuch", print) end)
    for _, namespaces in ipairs { 0x100, { "user", 0x100 }, { "user", 1 << 32 } } do -- CLONE_VM, CLONE_CLEAR_SIGHAND
      assert.matches("no flag '%d+' %(valid: cgroup, ipc", select(2, pcall(sys.clone, namespaces, print)))
    end
    if probe.is_root then return end
    assert.equal(1, select(3, sys.clone({ "uts" }, print)))
  end)

  it("buffered output is not written twice", function()
    local output = watch.host [[
      io.stdout:setvbuf "full"
      io.write "once"
      sys.clone({}, function() return 0 end):wait()
    ]]
    assert.equal("once", output)
  end)

  it("is refused with several threads, unless told otherwise", function()
    if not package.searchpath("luv", package.cpath) then return pending "luv is not installed" end
    local output = watch.host [[
      local uv = require "luv"
      local thread = uv.new_thread(function() require "luv".sleep(500) end)
      print(pcall(sys.clone, {}, function() return 0 end))
      print(sys.clone({}, function() return 4 end, { threads = true }):wait())
      thread:join()
      print(sys.clone({}, function() return 5 end):wait())
    ]]
    assert.matches("^false%s.*several threads.*\n4\n5\n$", output)
  end)
end)
