local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, fs, sys = nslua.sandbox, nslua.fs, nslua.sys
local ENOENT <const>, ELOOP <const>, ENOSPC <const> = 2, 40, 28

--- The error of a run that must not start; and its text without "spec/…_spec.lua:7: ".
local function failure(box, options)
  options = options or { "true" }
  local result, _, err = inside.run(box, options)
  assert.is_nil(result, "it ran")
  return err, (tostring(err):gsub("^%S-error_spec%.lua:%d+: ", ""))
end

--- The output of a recipe run by another process, which a command line starts.
local function elsewhere(prefix, code)
  local directory = probe.directory()
  probe.write(directory .. "/case.lua", 'dofile "spec/support/setup.lua"\nlocal nslua = require "nslua"\n' .. code)
  local output = probe.shell(("%s lua5.4 %s/case.lua"):format(prefix, directory))
  probe.remove(directory)
  return output
end

describe("an error", function()
  local tree

  setup(function()
    tree = probe.directory()
    probe.shell(("ln -s /etc %s/link && mkdir %s/plain && touch %s/file"):format(tree, tree, tree))
  end)
  teardown(function() probe.remove(tree) end)

  it("of a missing source has its line, step, object, errno, name and a hint", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local entry = fs.ro("/no/sdk", "/sdk")
    local err, text = failure(sandbox { fs = { fs.os(), entry } })
    assert.equal("bind /no/sdk on /sdk", err.step)
    assert.equal("open_tree", err.op)
    assert.equal("/no/sdk", err.path)
    assert.equal(ENOENT, err.errno)
    assert.equal("ENOENT", err.code)
    assert.matches("error_spec.lua:" .. line .. "$", err.at)
    assert.equal("the source does not exist; { optional = true } skips it then", err.hint)
    assert.equal("bind /no/sdk on /sdk: No such file or directory (ENOENT);\n"
      .. "  the source does not exist; { optional = true } skips it then", text)
    assert.matches("error_spec.lua:" .. line .. ": bind ", tostring(err))
  end)

  it("of a missing mount point names it, and how to make it", function()
    local err, text = failure(sandbox { fs = { fs.os(), fs.ro(tree, "/src"), fs.tmpfs "/src/missing" } })
    assert.equal("attach", err.op)
    assert.equal("/src/missing", err.path)
    assert.equal("ENOENT", err.code)
    assert.equal("tmpfs on /src/missing: No such file or directory (ENOENT);\n  the mount point does not exist in what is "
      .. "mounted there, and nothing is created in it unasked:\n  make it there, or say { create = true }", text)
  end)

  it("of a missing parent of a mount point names the component", function()
    local err, text = failure(sandbox { fs = { fs.os(), fs.ro(tree, "/src"), fs.tmpfs "/src/missing/below" } })
    assert.equal("/src/missing", err.path)
    assert.matches("^tmpfs on /src/missing/below: /src/missing: No such file or directory %(ENOENT%);", text)
  end)

  it("of a symbolic link in a foreign tree names the link and says why", function()
    local err, text = failure(sandbox { fs = { fs.os(), fs.ro(tree, "/src"), fs.tmpfs "/src/link/below" } })
    assert.equal(ELOOP, err.errno)
    assert.equal("/src/link", err.path)
    assert.equal("tmpfs on /src/link/below: /src/link: is a symbolic link (ELOOP);\n"
      .. "  a symbolic link of a foreign tree is not followed; { links = \"inside\" } does it, but for the target itself", text)
    err, text = failure(sandbox { fs = { fs.os(), fs.ro(tree, "/src"), fs.tmpfs "/src/link" } })
    assert.equal("ELOOP", err.code)
    assert.equal("tmpfs on /src/link: is a symbolic link (ELOOP);\n"
      .. "  a symbolic link of a foreign tree is not followed; { links = \"inside\" } does it, but for the target itself", text)
  end)

  it("of a directory on a file says what goes on what", function()
    local reason = inside.failure(function()
      local _, text = failure(sandbox { fs = { fs.os(), fs.ro(tree, "/src"), fs.tmpfs "/src/file" } })
      assert.matches("a file is mounted on a file, a directory on a directory$", text)
    end)
    if reason then pending(reason) end
  end)

  it("of a command that is not found says where it was looked for", function()
    local err, text = failure(sandbox {}, { "nosuch", "argument" })
    assert.equal("execve", err.op)
    assert.equal("nosuch", err.path)
    assert.equal("ENOENT", err.code)
    assert.equal("command nosuch: No such file or directory (ENOENT);\n"
      .. "  the command is not found in the sandbox's PATH", text)
    text = select(2, failure(sandbox {}, { "/no/such" }))
    assert.equal("command /no/such: No such file or directory (ENOENT);\n  there is no such file in the sandbox", text)
  end)

  it("of a missing interpreter is not that of a missing file", function()
    local _, text = failure(sandbox { fs = { fs.os(), fs.file("/script", "#!/no/such\n", { mode = 493 }) } }, { "/script" })
    assert.equal("command /script: No such file or directory (ENOENT);\n"
      .. "  the file is there, but its interpreter (ELF loader or #! line) is not in the sandbox", text)
  end)

  it("of a file that may not be executed says so", function()
    local err, text = failure(sandbox { fs = { fs.os(), fs.file("/script", "#!/bin/sh\n") } }, { "/script" })
    assert.equal("EACCES", err.code)
    assert.matches("the file is not executable for the sandbox's user, or on a noexec mount$", text)
    err = failure(sandbox { fs = { fs.os(), fs.file("/noise", "noise", { mode = 493 }) } }, { "/noise" })
    assert.equal("ENOEXEC", err.code)
  end)

  it("of a working directory that is not there names it", function()
    local err, text = failure(sandbox { cwd = "/no/where" })
    assert.equal("chdir", err.op)
    assert.equal("/no/where", err.path)
    assert.equal("cwd /no/where: No such file or directory (ENOENT);\n  the directory does not exist in the sandbox", text)
  end)

  it("of forbidden user namespaces names the sysctl", function()
    local allowed = probe.shell "unshare -Ur true" == ""
    if not allowed then return pending "this user may not make user namespaces" end
    local output = elsewhere("unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"' -",
      [[
      local user = { uid = 0, gid = 0, uid_map = { { 0, 0, 1 } }, gid_map = { { 0, 0, 1 } } }
      local r, e = nslua.sandbox { user = user, namespaces = { "user" } }:run { "true" }
      print(r, e.op, e.errno, e.code)
      print(e)
    ]])
    assert.equal(("nil\tclone3\t%d\tENOSPC\nclone3: No space left on device (ENOSPC);\n"
      .. "  see sysctl user.max_user_namespaces, which is 0\n"):format(ENOSPC), output)
  end)

  it("of an id that the caller may not map says what it may", function()
    if probe.is_root then return pending "root may map any id" end
    local err, text = failure(sandbox { user = { uid_map = { { 0, 0, 1 } } } })
    assert.equal("uid_map", err.op)
    assert.matches("^uid_map: newuidmap refuses the map 0 0 1: .*;\n  /etc/subuid must give the caller these ids", text)
  end)

  it("has the line of the field that it comes of, and of the step what that tried", function()
    local directory <const> = probe.directory()
    local recipes <const> = {
      ['cwd = "/nope",'] = "cwd /nope: No such file", ['command = { "nope" },'] = "command nope: No such file",
      ['steps = { function(p) p:chdir "/nope" end },'] = "step 1: chdir /nope: No such file",
      ['fs = { fs.os(), function(p) p:chdir "/nope" end },'] = "function in fs: chdir /nope: No such file",
      ['namespaces = { net = "/nope" },'] = "namespace net /nope: No such file",
      ['clock = { boottime = -9999999999 },'] = "clock: Numerical result out of range",
    }
    for line, message in pairs(recipes) do
      probe.write(directory .. "/box.lua", 'return sandbox "box" {\n  umask = 18,\n\n  ' .. line .. "\n}\n", "644")
      local box <const> = nslua.load(directory .. "/box.lua")
      local text = select(2, failure(box, not line:find "command" and { "true" } or {}))
      assert.equal(directory .. "/box.lua:4: " .. message, text:sub(1, #directory + #"/box.lua:4: " + #message), line)
    end
    probe.write(directory .. "/box.lua", 'return sandbox "box" {\n  namespaces = { uts = false },\n\n  hostname = "x" }\n', "644")
    local output = probe.shell(("%s check %s/box.lua"):format(probe.nslua, directory))
    assert.equal("nslua: " .. directory .. "/box.lua:4: sandbox<box>: hostname and domainname need a new UTS namespace\n", output)
    local text = select(2, failure(sandbox { cwd = "/tmp" }, { "true", cwd = "/nope" }))
    assert.matches("^cwd /nope: ", text)
    probe.remove(directory)
  end)

  it("escapes control bytes of names", function()
    local err, text = failure(sandbox { fs = { fs.os(), fs.ro("/no\27[31m\nsuch\127", "/x") } })
    assert.equal("/no\27[31m\nsuch\127", err.path)
    assert.matches("^bind /no\\x1b%[31m\\x0asuch\\x7f on /x: ", text)
    text = select(2, failure(sandbox {}, { "no\r\nsuch" }))
    assert.matches("^command no\\x0d\\x0asuch: ", text)
    text = select(2, failure(sandbox { cwd = "/\8" }))
    assert.matches("^cwd /\\x08: ", text)
  end)

  it("escapes what a hostile tree has", function()
    local hostile <const> = probe.directory()
    assert(sys.symlink("X\27]0;title\7\nnslua: forged \u{9b}31m \x9b ä", nil, hostile .. "/l"))
    local link = fs.symlink("want", "/tree/l", { create = true })
    local _, text = failure(sandbox { fs = { fs.os(), fs.rw(hostile, "/tree"), link } })
    assert.matches("a link to X\\x1b%]0;title\\x07\\x0anslua: forged \\xc2\\x9b31m \\x9b ä has that name already", text)
    probe.remove(hostile)
  end)

  it("shows neither the environment nor arguments", function()
    local box = sandbox { env = { TOKEN = "hunter2" } }
    local err = failure(box, { "nosuch", "--password=hunter2", env = { OTHER = "hunter2" } })
    assert.is_nil(tostring(err):find("hunter2", 1, true))
    for _, value in pairs(err) do assert.is_nil(tostring(value):find("hunter2", 1, true)) end
    local _, why = pcall(function() return box:run { "true", "hunter2\0" } end)
    assert.is_nil(tostring(why):find("hunter2", 1, true))
    local result = inside.run(box, { "false", "hunter2" })
    _, why = pcall(result.check, result)
    assert.equal("command false: exited with 1", tostring(why))
  end)

  it("leaves nothing behind", function()
    failure(sandbox {}, { "nosuch" })
    local before = probe.footprint()
    for _ = 1, 20 do
      failure(sandbox {}, { "nosuch" })
      failure(sandbox { fs = { fs.os(), fs.ro("/no", "/x") } })
      failure(sandbox { fs = { fs.os(), fs.ro(tree, "/src"), fs.tmpfs "/src/link/below" } })
    end
    local after = probe.footprint()
    assert.is_true(after.fds <= before.fds)
    after.fds = before.fds
    assert.same(before, after)
  end)
end)

describe("a wait that takes too long", function()
  it("is an error that says so, and the sandbox goes on", function()
    local process <close> = assert(sandbox {}:spawn { "sleep", "5", stdout = "null", stderr = "null" })
    local started = sys.clock()
    local result, err = process:wait(0.1)
    assert.is_nil(result)
    assert.equal("ETIMEDOUT", err.code)
    assert.is_true(sys.clock() - started < 2)
    assert.is_number(process.pid)
  end)
end)
