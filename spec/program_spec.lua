-- luacheck: no max line length
--- What is executed: a run's options `program` and `scripts`; and descriptors with the numbers that the stage has of its own.
local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys

local directory
before_each(function() directory = probe.directory() end)
after_each(function() probe.remove(directory) end)

local function at(name) return directory .. "/" .. name end

--- Output of a run, and its error.
local function output(box, options)
  local result, _, err = inside.run(box, options)
  return result and result.stdout .. result.stderr, err
end

describe("program", function()
  local box = sandbox { fs = { fs.os() } }
  local program
  before_each(function() program = assert(sys.open(nil, "/usr/bin/ls", "path")) end)
  after_each(function() program:close() end)

  it("is executed whatever the command says, and finds the command's words", function()
    assert.equal("/usr/bin/env\n", output(box, { "none", "-d", "/usr/bin/env", program = program }))
    local sh <close> = assert(io.open "/usr/bin/sh")
    assert.equal("none a\n", output(box, { "none", "-c", "echo $0 $1", "none", "a", program = sh }))
    assert.equal("other\n", output(box, { "/no/such", "-c", "echo $0", program = sh, argv0 = "other" }))
  end)

  it("need not be in the sandbox", function()
    probe.shell(("cp /usr/bin/true %s && chmod 755 %s"):format(at "own", at "own"))
    local own <close> = assert(sys.open(nil, at "own", "path"))
    assert.equal("", output(box, { at "own", program = own }))
    assert.equal("ENOENT", select(2, output(box, { at "own" })).code)
  end)

  it("is not passed on, with whatever descriptors beside it", function()
    local null <close> = assert(io.open "/dev/null")
    for _, numbers in ipairs { {}, { 3 }, { 3, 5, 63 }, { 64 }, { 65, 67 }, { 3, 4, 64, 65, 66, 67, 68, 69, 70, 71 }, { 500 } } do
      local fds, expected = {}, { "0", "1", "2" }
      for _, number in ipairs(numbers) do fds[number], expected[#expected + 1] = null, ("%d"):format(number) end
      local seen = output(box, { "ls", "/proc/self/fd", program = program, fds = fds })
      local free = 3 -- ls's own of the directory
      while fds[free] do free = free + 1 end
      table.insert(expected, ("%d"):format(free))
      table.sort(expected)
      local list = {}
      for number in seen:gmatch "%d+" do list[#list + 1] = number end
      table.sort(list)
      assert.same(expected, list)
    end
  end)

  it("is executed where few files may be open, too", function()
    local few = sandbox { fs = { fs.os() }, limits = { nofile = 20 } }
    local null <close> = assert(io.open "/dev/null")
    for _, fds in ipairs { {}, { [7] = null } } do
      assert.equal("/usr/bin/env\n", output(few, { "ls", "-d", "/usr/bin/env", program = program, fds = fds }))
    end
  end)

  it("can be of a further command, too", function()
    local process <close> = assert(sandbox { fs = { fs.os() }, landlock = false }:spawn { "sleep", "9" })
    local further <close> = assert(process:exec { "none", "-d", "/usr/bin/env", program = program, stdout = "capture" })
    assert.equal("/usr/bin/env\n", further:wait().stdout)
  end)

  it("cannot be a script, nor what cannot be executed", function()
    probe.write(at "script", "#!/bin/sh\necho ran\n", "755")
    probe.write(at "text", "text\n", "644")
    for name, code in pairs { script = "ENOENT", text = "EACCES" } do
      local file <close> = assert(sys.open(nil, at(name), "path"))
      local text, err = output(box, { at(name), program = file })
      assert.same({ nil, code, "execve" }, { text, err.code, err.op })
    end
  end)

  it("is subject to the sandbox's filter", function()
    local program_of_mkdir <close> = assert(sys.open(nil, "/usr/bin/mkdir", "path"))
    local refusing = sandbox { fs = { fs.os() }, seccomp = { deny = { "mkdir", "mkdirat" } } }
    assert.matches("Operation not permitted", output(refusing, { "mkdir", "/tmp/x", program = program_of_mkdir }))
  end)

  it("must be a file or an fd", function()
    assert.matches("program must be a file or fd", inside.mistake(box.run, box, { "true", program = "/bin/true" }))
  end)
end)

describe("scripts", function()
  local box
  before_each(function()
    probe.write(at "plain", "echo \"$0 $*\"\n", "755")
    probe.write(at "marked", "#!/bin/echo marked\n", "755")
    probe.write(at "empty", "", "755")
    box = sandbox { fs = { fs.os(), fs.ro(directory, "/d") } }
  end)

  it("names what executes a file that is no program", function()
    assert.equal("/d/plain a b\n", output(box, { "/d/plain", "a", "b", scripts = "/bin/sh" }))
    assert.equal("/d/plain \n", output(box, { "plain", scripts = "/bin/sh", env = { PATH = "/usr/bin:/d" } }))
    assert.equal("/d/plain a\n", output(box, { "/d/plain", "a", scripts = "/bin/sh", argv0 = "other" }))
    assert.equal("", output(box, { "/d/empty", scripts = "/bin/sh" }))
  end)

  it("are no others: what the kernel can execute it does", function()
    assert.equal("marked /d/marked a\n", output(box, { "/d/marked", "a", scripts = "/bin/sh" }))
    assert.equal("x\n", output(box, { "echo", "x", scripts = "/bin/sh" }))
    assert.equal("x\n", output(box, { "sh", "-c", "echo $0", argv0 = "x", scripts = "/bin/sh" }))
  end)

  it("are an error otherwise, and where what executes them is not there", function()
    local _, err = output(box, { "/d/plain" })
    assert.same({ "execve", "ENOEXEC" }, { err.op, err.code })
    _, err = output(box, { "/d/plain", scripts = "/none" })
    assert.same({ "execve", "ENOENT" }, { err.op, err.code })
    assert.matches("scripts must be an absolute path", inside.mistake(box.run, box, { "true", scripts = "sh" }))
  end)

  it("go through the filter once", function()
    local logging = sandbox { fs = { fs.os(), fs.ro(directory, "/d") }, seccomp = { deny = { "mkdir", "mkdirat" } } }
    probe.write(at "makes", "mkdir /tmp/x\n", "755")
    assert.matches("Operation not permitted", output(logging, { "/d/makes", scripts = "/bin/sh" }))
  end)
end)

describe("a descriptor with a number of the stage's own", function()
  it("is the payload's, and the error of its exec is told all the same", function()
    local box = sandbox { fs = { fs.os() } }
    for number = 63, 68 do
      probe.write(at "file", "content\n", "644")
      local file <close> = assert(io.open(at "file"))
      assert.equal("content\n", output(box, { "cat", ("/proc/self/fd/%d"):format(number), fds = { [number] = file } }))
      local _, err = output(box, { "none", fds = { [number] = file } })
      assert.same({ "execve", "ENOENT" }, { err.op, err.code })
    end
  end)

  it("can be had with as many others as there may be, and no more", function()
    local box = sandbox { fs = { fs.os() } }
    local null <close> = assert(io.open "/dev/null")
    local fds = {}
    for number = 3, 59 do fds[number] = null end
    fds[64] = null
    assert.equal("62\n", output(box, { "sh", "-c", "set -- /proc/self/fd/*; echo $#", fds = fds }))
    fds[60] = null
    assert.matches("at most 58", inside.mistake(box.run, box, { "true", fds = fds }))
  end)

  it("is of a further command, too", function()
    local process <close> = assert(sandbox { fs = { fs.os() } }:spawn { "sleep", "9" })
    probe.write(at "file", "content\n", "644")
    local file <close> = assert(io.open(at "file"))
    local further <close> = assert(process:exec { "bash", "-c", "cat <&64", fds = { [64] = file }, stdout = "capture" })
    assert.equal("content\n", further:wait().stdout)
    local err = select(2, process:exec { "none", fds = { [64] = file } })
    assert.equal("ENOENT", err.code)
  end)
end)

describe("cwd", function()
  it("may go up again: the kernel looks for it in the sandbox", function()
    local box = sandbox { fs = { fs.os() } }
    assert.equal("/usr\n", output(box, { "pwd", cwd = "/usr/bin/.." }))
    assert.equal("/\n", output(box, { "pwd", cwd = "/../../.." }))
    assert.equal("/usr\n/usr/lib/..\n", output(box, { "sh", "-c", "pwd -P; echo $PWD", cwd = { "/none/..", "/usr/lib/.." } }))
    assert.equal("ENOENT", select(2, output(box, { "pwd", cwd = "/none/.." })).code)
    local other <close> = assert(sandbox { fs = { fs.os() }, cwd = "/usr/../usr/bin" }:spawn { "pwd", stdout = "capture" })
    assert.equal("/usr/bin\n", other:wait().stdout)
  end)
end)
