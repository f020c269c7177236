-- luacheck: no max line length
local kernel = require "nslua.kernel"
local nslua = require "nslua"
local probe = require "probe"

local sandbox, fs = nslua.sandbox, nslua.fs

--- The warnings of a recipe as one text, a line each; but for what concerns an old kernel only.
local function said(list, more)
  local recipe = more or {}
  recipe.fs = list
  local lines = {}
  for _, warning in ipairs(assert(sandbox(recipe):lint())) do
    if not warning.message:find "before Linux" then lines[#lines + 1] = tostring(warning) end
  end
  return table.concat(lines, "\n")
end

describe("lint", function()
  it("has nothing to say of what is as it should be", function()
    assert.equal("", said { fs.os() })
    assert.equal("", said { fs.os(), fs.rw("/var/tmp", "/work"), fs.symlink("/work", "/w"), fs.symlink("/usr/bin/env", "/e"),
      fs.symlink("relative/nowhere", "/r"), fs.overlay({ lower = { "/usr" }, upper = "tmp" }, "/usr"), fs.mask "/usr/bin/id",
      fs.tmpfs "/deep/place", fs.file("/deep/place/f", "x"), fs.sys() })
  end)

  it("has nothing to say of the recipes that come with nslua", function()
    local elsewhere, here = probe.directory(), assert(nslua.sys.getcwd())
    for path in probe.shell "ls recipes/*.lua recipes/walkthrough/[1-6]*.lua":gmatch "[^\n]+" do
      local output, status = probe.shell(("cd %s && %s/%s check %s/%s < /dev/null"):format(elsewhere, here, probe.nslua, here, path))
      if status == 0 then assert.equal("", output, path) end
    end
    probe.remove(elsewhere)
  end)

  it("finds that the recipe itself may be changed by who it runs", function()
    local inside <const> = "the recipe lies in it, and who changes that says what is done outside next time"
    assert.matches(inside .. "; fs.ro%(\"spec/lint_spec.lua\", \"/src/lint_spec.lua\"%)", said { fs.os(), fs.rw("spec", "/src") })
    assert.equal("", said { fs.os(), fs.rw("spec", "/src"), fs.ro("spec/lint_spec.lua", "/src/lint_spec.lua") })
    assert.matches(inside, said { fs.os(), fs.ro("spec/lint_spec.lua", "/src/lint_spec.lua"), fs.rw("./spec/", "/src") })
    assert.equal("", said { fs.os(), fs.rw("recipes", "/src"), fs.ro("spec", "/spec") })
    local upper = nslua.sys.getcwd() .. "/spec"
    assert.matches(inside, said { fs.overlay({ lower = { "/usr" }, upper = upper, work = "/no/work" }, "/src") })
  end)

  it("gives each warning its line, its entry and its words", function()
    local warning = sandbox { fs = { fs.os(), fs.ro("/no/such", "/here") } }:lint()[1]
    assert.matches("^spec/lint_spec.lua:%d+$", warning.at)
    assert.equal("bind /no/such on /here", warning.entry)
    assert.equal("bind /no/such on /here: the source /no/such does not exist; { optional = true } would skip it", warning.message)
    assert.equal(warning.at .. ": " .. warning.message, tostring(warning))
  end)

  it("finds a missing source, but not an optional one", function()
    assert.matches("the source /no/such does not exist", said { fs.rw("/no/such", "/here") })
    assert.equal("", said { fs.os(), fs.rw("/no/such", "/here", { optional = true }) })
    assert.matches("/no/layer does not exist", said { fs.overlay({ lower = { "/usr", "/no/layer" } }, "/x") })
    assert.matches("/no/upper does not exist.*/no/work does not exist",
      said { fs.overlay({ lower = { "/usr" }, upper = "/no/upper", work = "/no/work" }, "/x") })
  end)

  it("finds an entry that a later one covers", function()
    assert.matches("file /data/f: it is covered by tmpfs on /data %(spec/lint_spec.lua:%d+%), which comes later",
      said { fs.os(), fs.file("/data/f", "x"), fs.tmpfs "/data" })
    assert.equal("", said { fs.os(), fs.tmpfs "/data", fs.file("/data/f", "x") })
    assert.equal("", said { fs.os(), fs.file("/database", "x"), fs.tmpfs "/data" })
  end)

  it("finds what cannot be made in a read-only tree, or is not made unasked in a writable one", function()
    assert.matches("tmpfs on /u/none: /u/none cannot be made in the read%-only tree at /u: make /usr/none on the host",
      said { fs.ro("/usr", "/u"), fs.tmpfs "/u/none" })
    assert.matches("/u/none does not exist in the tree of the host at /u: { create = true } makes it there",
      said { fs.rw("/usr", "/u"), fs.tmpfs "/u/none" })
    assert.equal("", said { fs.ro("/usr", "/u"), fs.tmpfs "/u/share" })
    assert.equal("", said { fs.rw("/usr", "/u"), fs.tmpfs("/u/none", { create = true }) })
    assert.equal("", said { fs.image("/usr", { upper = "tmp" }), fs.tmpfs "/none" })
  end)

  it("finds what is to be below a file", function()
    assert.matches("file /h/x: it is to be below /h, which is a file", said { fs.os(), fs.ro("/etc/passwd", "/h"), fs.file("/h/x", "") })
    assert.matches("directory /f/d: it is to be below /f, which is a file", said { fs.os(), fs.file("/f", ""), fs.dir "/f/d" })
  end)

  it("finds an absolute link that leads nowhere inside", function()
    assert.matches("symlink /l to /home/you/x: it leads to /home/you/x, where nothing will be",
      said { fs.os(), fs.symlink("/home/you/x", "/l") })
    assert.equal("", said { fs.os(), fs.symlink("/home/you/x", "/l"), function() end })
  end)

  it("finds a sysfs without a network of its own", function()
    assert.matches("sysfs on /sys: without a network namespace", said({ fs.os(), fs.sys() }, { net = "host" }))
  end)

  it("finds a lower directory that contains upper or work", function()
    local text = said { fs.overlay({ lower = { "/var" }, upper = "/var/tmp/u", work = "/var/tmp/w" }, "/x") }
    assert.matches("the lower directory /var contains upper, /var/tmp/u", text)
    assert.matches("the lower directory /var contains work, /var/tmp/w", text)
    assert.not_matches("contains", said { fs.overlay({ lower = { "/var/lib" }, upper = "/var/tmp/u", work = "/var/tmp/w" }, "/x") })
  end)

  it("finds what the kernel is too old for", function()
    local warnings = sandbox { fs = { fs.os(), fs.overlay({ lower = { "/usr" }, upper = "tmp" }, "/usr") } }:lint()
    if kernel.at_least(6, 6) then return assert.same({}, warnings) end
    assert.matches("before Linux 6.6 directories of the lower layers cannot be removed in it", tostring(warnings[1]))
  end)

  it("finds masks that the payload could take away, and what it could make writable again", function()
    local ro = said({ fs.os(), fs.ro("/etc", "/x") }, { caps = { "sys_admin" } })
    assert.matches("bind /etc on /x: the payload holds sys_admin over the sandbox, so it can make this writable", ro)
    assert.matches("mask /usr/bin/id: the payload holds sys_admin", said({ fs.os(), fs.mask "/usr/bin/id" }, { caps = { "sys_admin" } }))
  end)

  it("finds layers and trees in which root's payload could read what only root may", function()
    local text = said { fs.os(), fs.overlay({ lower = { "/etc" }, upper = "tmp" }, "/x"), fs.rw("/var", "/y"), fs.rw("/root", "/z", { idmap = false }) }
    if not probe.is_root then return assert.equal("", text) end
    assert.matches("overlay on /x: the payload can read all that root can in /etc", text)
    assert.matches("bind /var on /y: the payload can read all that root can in /var", text)
    assert.not_matches("in /root", text)
  end)

  it("finds a read-only tree that what comes later is not read-only in", function()
    assert.matches("what is mounted there later comes as the host mounts it", said { fs.os(), fs.ro("/usr", "/u", { propagation = "slave" }) })
  end)

  it("escapes what a path brings", function()
    assert.not_matches("\27", said { fs.ro("/no/\27[31m", "/here") })
  end)

  it("runs nothing, and is shown by explain and check", function()
    local box = sandbox { fs = { fs.os(), fs.ro("/no/such", "/here") } }
    assert.matches("\n└─ warnings\n   └─ spec/lint_spec.lua:%d+: bind /no/such on /here: the source", box:explain())
    assert.matches('"warnings":%["spec/lint_spec.lua:%d+: bind', box:explain { json = true })
    local directory = probe.directory()
    probe.write(directory .. "/r.lua", 'return sandbox { fs = { fs.os(),\n  fs.ro("/no/such", "/here") } }\n')
    local output, status = probe.shell(("%s check %s/r.lua"):format(probe.nslua, directory))
    probe.remove(directory)
    assert.equal(0, status)
    assert.matches("^warning: .*/r.lua:2: bind /no/such on /here: the source /no/such does not exist", output)
  end)
end)
