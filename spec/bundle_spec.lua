--- One program of the host and a script.
local probe = require "probe"

local BUILD <const> = require("nslua.sys").getcwd() .. "/" .. probe.build
local HOST <const>, READY <const> = BUILD .. "/nslua-static", BUILD .. "/nslua-ready"

--- Bundles a script by a host, in a directory, as the program there; its output and status.
local function bundle_in(directory, nslua, code, modules)
  probe.write(directory .. "/script.lua", code)
  return probe.shell(("%s bundle %s/script.lua %s -o %s/program"):format(nslua, directory, modules or "", directory))
end

--- What a bundle of a host does: of nslua, or of the one with a snapshot that the program bwrap is made of.
local function bundles(name, nslua)
  describe(name, function()
    local directory, program

    before_each(function()
      directory = probe.directory()
      program = directory .. "/program"
    end)
    after_each(function() probe.remove(directory) end)

    local function bundle(code, modules) return bundle_in(directory, nslua, code, modules) end

    local function assert_output(expected, status, command)
      local output, actual = probe.shell(command)
      assert.equal(expected, output)
      assert.equal(status, actual)
    end

    it("makes a program that runs the script with its arguments, whatever the environment is", function()
      assert.equal("", (bundle "print(arg[0], ..., arg[2])\nreturn 7"))
      assert_output(program .. "\t-e\tx\n", 7, ("env -i LUA_INIT=error LUA_PATH=/ %s -e x"):format(program))
    end)

    it("runs the words in a sandbox that the script returns", function()
      bundle "return sandbox { hostname = 'bundled' }"
      assert_output("bundled\n", 0, program .. " uname -n")
      assert_output("", 3, program .. " sh -c 'exit 3'")
    end)

    it("takes modules along, and needs neither them nor the script any more", function()
      probe.write(directory .. "/words.lua", "return 'of the module'")
      bundle("print((require 'some.words'))", ("some.words=%s/words.lua"):format(directory))
      probe.shell(("rm %s/*.lua"):format(directory))
      assert_output("of the module\n", 0, program)
    end)

    it("names the script's lines in errors", function()
      bundle "\nerror 'here'"
      local output, status = probe.shell(program)
      assert.matches("script.lua:2: here", output)
      assert.equal(125, status)
    end)

    it("refuses a script that is none, and leaves nothing behind", function()
      local output, status = bundle "if"
      assert.matches("^nslua: bundle .*script.lua:1:", output)
      assert.equal(125, status)
      assert_output("script.lua\n", 0, "ls " .. directory)
      assert.matches("No such file", (probe.shell(("%s bundle %s/none.lua -o %s"):format(nslua, directory, program))))
    end)

    it("writes to nothing that is there already under the name of its new file", function()
      local victim = directory .. "/victim"
      probe.write(victim, "precious")
      probe.write(directory .. "/script.lua", "print 'whole'")
      local make = ("exec %s bundle %s/script.lua -o %s"):format(nslua, directory, program)
      assert.equal("", (probe.shell(("ln -s %s %s.new"):format(victim, program))))
      local output, status = probe.shell(("sh -c 'ln -s %s %s.$$; %s'"):format(victim, program, make))
      assert.matches("File exists", output)
      assert.equal(125, status)
      assert.equal("", (probe.shell(make)))
      assert_output("whole\n", 0, program)
      assert_output("precious", 0, "cat " .. victim)
    end)

    it("notices when what was appended is damaged", function()
      bundle "print 'whole'"
      probe.shell(("printf X | dd of=%s bs=1 seek=$(($(stat -c %%s %s) - 9)) conv=notrunc"):format(program, program))
      local output, status = probe.shell(program)
      assert.matches("the bundle cannot be read, or is damaged", output)
      assert.equal(125, status)
      bundle "print 'whole'"
      probe.shell(("truncate -s -5 %s"):format(program))
      assert.matches("damaged", (probe.shell(program)))
    end)

    it("wants a script and a program", function()
      for _, words in ipairs { "", "x.lua", "-o x", "a.lua b.lua -o x" } do
        local output, status = probe.shell(("%s bundle %s"):format(nslua, words))
        assert.matches("^nslua: bundle: ", output)
        assert.equal(125, status)
      end
    end)
  end)
end

bundles("nslua bundle", probe.nslua)
bundles("a bundle of the host with a snapshot", READY)

describe("a snapshot", function()
  local directory, program

  setup(function()
    directory = probe.directory()
    program = directory .. "/program"
  end)
  teardown(function() probe.remove(directory) end)

  --- Where memory lies tells whether it comes from the snapshot.
  local ADDRESS <const>, LIES <const> = "^0x1000[01]%x%x%x%x%x\n$", "print(('%p'):format({}))"

  local function bundle(code) return bundle_in(directory, READY, code) end

  local function need_one()
    local file = assert(io.open(HOST, "rb"))
    local type = file:read(17):byte(-1)
    file:close()
    if type ~= 2 then pending "no static libraries here" end
  end

  it("is what a program starts from", function()
    need_one()
    bundle(LIES)
    assert.matches(ADDRESS, (probe.shell(program)))
  end)

  it("has all that a run of bwrap requires", function()
    need_one()
    bundle [[
      local ready, exit = {}, os.exit
      for name in pairs(package.loaded) do ready[name] = true end
      function os.exit(...)
        for name in pairs(package.loaded) do print(ready[name] and "" or name) end
        exit(...)
      end
      os.exit(require "nslua.cli.bwrap"({ ... }, "bwrap"))
    ]]
    local output, status = probe.shell(program .. " --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp --unshare-all true")
    assert.equal("", (output:gsub("\n", "")))
    assert.equal(0, status)
  end)

  it("holds nothing of where it was made: only its own memory is looked at", function()
    need_one()
    local modules = probe.shell "cd lua && find nslua -name '*.lua' | sed 's,/init,,; s,/,.,g; s,.lua$,,'":gsub("\n", " ")
    local trace = probe.shell(("strace %s --snapshot %s/snapshot %s"):format(HOST, directory, modules))
    local calls = trace:match "\nmmap%(0x1000000000, .-\n(.*)\nopenat%([^\n]*/snapshot\""
    assert.truthy(calls)
    for call in calls:gmatch "[^\n]+" do assert.matches("^m?%l*advise%(0x1000000000, ", call) end
  end)

  it("holds nothing of the environment that it was made in", function()
    need_one()
    local path = directory .. "/snapshot"
    local environment = "HOME=/marked TERM=marked LUA_PATH=/marked/?.lua MARKED=1"
    assert.equal("", (probe.shell(("%s %s --snapshot %s nslua.start"):format(environment, HOST, path))))
    assert.is_nil(probe.read(path):find("marked", 1, true))
  end)

  it("has other random numbers at each start", function()
    need_one()
    bundle "print(math.random(0))"
    assert.are_not.equal((probe.shell(program)), (probe.shell(program)))
  end)

  it("is all of Lua", function()
    local code = [=[
      local co = coroutine.wrap(function(...) local x = coroutine.yield(...) error { x } end)
      print(co(1, 2), pcall(co, 3))
      local live = {}
      for i = 1, 300000 do live[i % 1000] = { tostring(i), function() return i end } end
      print(collectgarbage "isrunning", collectgarbage "count" < 20000, live[7][2](), #string.rep("x", 1 << 23))
      print(string.format("%q %5.2f", "a\0b", math.pi), os.time { year = 2000, month = 1, day = 1 }, table.concat({ 1, 2 }, ","))
      io.stdout:write("written\n")
      print(select("#", table.unpack({}, 1, 200)), load("return ...")(5), require "nslua" == require "nslua")
      print(setmetatable({}, { __gc = function() print "the end" end }) ~= nil, utf8.char(955), pcall(error))
    ]=]
    bundle(code)
    local function shown(command) return (probe.shell(command):gsub("table: %S+", "table")) end
    local expected = shown(("%s %s/script.lua"):format(probe.nslua, directory))
    assert.matches("the end\n$", expected)
    assert.equal(expected, shown(program))
  end)

  it("is done without where it is cut off, or has no room", function()
    need_one()
    bundle(LIES)
    local function assert_done_without(command)
      local output, status = probe.shell(command)
      assert.truthy(output:find "^0x%x+\n$" and not output:find(ADDRESS))
      assert.equal(0, status)
    end
    assert_done_without("ulimit -d 1800; " .. program)
    -- As where something was cut out of the middle of the file: the bundle is still where it was.
    probe.shell(("dd if=/dev/zero of=%s bs=1 seek=$(stat -c %%s %s) count=4096 conv=notrunc"):format(program, HOST))
    assert_done_without(program)
  end)
end)

describe("the program bwrap", function()
  local directory
  local bwrap = BUILD .. "/bwrap"

  setup(function() directory = probe.directory() end)
  teardown(function() probe.remove(directory) end)

  it("shows how it was called", function()
    assert.matches("^usage: " .. bwrap:gsub("%p", "%%%0") .. " %[OPTIONS", (probe.shell(bwrap)))
    assert.matches("^bubblewrap 0%.", (probe.shell(bwrap .. " --version")))
  end)

  it("needs no environment, and no files of nslua", function()
    assert.equal("A=1\nPWD=/\n", (probe.shell(("cd / && env -i %s --ro-bind / / --setenv A 1 env | sort"):format(bwrap))))
  end)

  it("works within its own sandbox", function()
    local inner = "%s --dev-bind / / --unshare-user "
    local output, status = probe.shell((inner .. inner .. "sh -c 'echo inner; exit 5'"):format(bwrap, bwrap))
    assert.equal("inner\n", output)
    assert.equal(5, status)
  end)

  it("leaves the numbers alone that its arguments name", function()
    assert.equal("text\n", (probe.shell(("echo text > %s/file; %s --ro-bind / / --dev /dev --tmpfs /tmp --ro-bind-data 3 /tmp/f "
      .. "cat /tmp/f 3<%s/file"):format(directory, bwrap, directory))))
  end)
end)
