--- One program of the host and a script.
local probe = require "probe"

describe("nslua bundle", function()
  local directory, program

  before_each(function()
    directory = probe.directory()
    program = directory .. "/program"
  end)
  after_each(function() probe.remove(directory) end)

  --- Bundles a script; its output and status.
  local function bundle(code, modules)
    probe.write(directory .. "/script.lua", code)
    return probe.shell(("%s bundle %s/script.lua %s -o %s"):format(probe.nslua, directory, modules or "", program))
  end

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
    assert.matches("No such file", (probe.shell(("%s bundle %s/none.lua -o %s"):format(probe.nslua, directory, program))))
  end)

  it("writes to nothing that is there already under the name of its new file", function()
    local victim = directory .. "/victim"
    probe.write(victim, "precious")
    probe.write(directory .. "/script.lua", "print 'whole'")
    local make = ("exec %s bundle %s/script.lua -o %s"):format(probe.nslua, directory, program)
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
      local output, status = probe.shell(("%s bundle %s"):format(probe.nslua, words))
      assert.matches("^nslua: bundle: ", output)
      assert.equal(125, status)
    end
  end)
end)

describe("the program bwrap", function()
  local directory, bwrap

  setup(function()
    directory = probe.directory()
    bwrap = directory .. "/bwrap"
    probe.shell(("%s bundle csrc/host/bwrap.lua -o %s"):format(probe.nslua, bwrap))
  end)
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
