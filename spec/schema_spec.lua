local check = require "nslua.check"
local nslua = require "nslua"
local schema = require "nslua.schema"

local sandbox = nslua.sandbox

local function accepts(accept, value)
  local good, expected = accept(value)
  return good ~= nil, expected
end

describe("the schema", function()
  it("says of each field what it takes, what its absence means and what it is for", function()
    for _, field in ipairs(schema.fields) do
      assert.is_function(field.type, field.name)
      for _, text in ipairs { "values", "default", "doc" } do assert.is_string(field[text], field.name) end
      assert.equal(field, schema.by_name[field.name])
    end
  end)

  it("knows how each field merges", function()
    local known = { replace = true, map = true, append = true }
    for _, field in ipairs(schema.fields) do assert.is_true(known[field.merge or "replace"], field.name) end
  end)

  it("has all eight kinds of namespaces", function()
    assert.same({ "cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts" }, schema.kinds)
  end)

  it("refuses a function, a thread and a number for every field that takes none", function()
    for _, field in ipairs(schema.fields) do
      assert.is_false(accepts(field.type, print), field.name)
      assert.is_false(accepts(field.type, coroutine.create(print)), field.name)
      if field.name ~= "umask" then assert.is_false(accepts(field.type, 7), field.name) end
    end
  end)
end)

describe("a size", function()
  it("is an integer above 0, or digits with K, M, G or T", function()
    assert.equal(4096, check.size(4096))
    assert.equal(4096, check.size "4096")
    assert.equal(65536, check.size "64K")
    assert.equal(256 << 20, check.size "256M")
    assert.equal(1 << 30, check.size "1G")
    assert.equal(3 << 40, check.size "3T")
  end)

  it("is nothing else, and says what it is", function()
    for _, bad in ipairs { 0, -1, 1.5, "", "0", "-1", "1.5G", "1g", "G", "1 G", "1GB", "0x10", "1e3", " 1", "1\n",
      "1\0", math.huge, "99999999999999999999", "999999999T", true, {}, print } do
      local ok, expected = accepts(check.size, bad)
      assert.is_false(ok, tostring(bad))
      assert.equal("a size above 0, as 4096, \"64K\", \"256M\" or \"1G\"", expected)
    end
    assert.is_false(accepts(check.size, 0 / 0))
  end)
end)

describe("a target", function()
  it("is absolute and is normalised", function()
    assert.equal("/", check.target "/")
    assert.equal("/a/b", check.target "//a/./b//")
  end)

  it("has no '..', no NUL, no endless name", function()
    for _, bad in ipairs { "", "a", "./a", "../a", "/a/..", "/../a", "/a/../b", "/a\0b", "/" .. ("x"):rep(256),
      ("/x"):rep(2001), 7, false, {} } do
      assert.is_false(accepts(check.target, bad), tostring(bad))
    end
    assert.equal("/a..b/...", check.target "/a..b/...")
  end)
end)

describe("numbers", function()
  it("are whole where ids, modes and offsets are meant", function()
    for _, accept in ipairs { check.id, check.mode, check.count, check.offset } do
      assert.is_true(accepts(accept, 7))
      for _, bad in ipairs { 1.5, "7", math.huge, {}, true, 1 << 62 } do
        if not (accept == check.count and bad == 1 << 62) then assert.is_false(accepts(accept, bad), tostring(bad)) end
      end
    end
    assert.is_true(accepts(check.offset, -7))
    for _, accept in ipairs { check.id, check.mode, check.count } do assert.is_false(accepts(accept, -1)) end
    assert.is_false(accepts(check.id, 0xffffffff))
    assert.is_false(accepts(check.mode, 4096))
  end)

  it("of seconds are above 0 and finite", function()
    assert.equal(0.5, check.seconds(0.5))
    for _, bad in ipairs { 0, -1, math.huge, 0 / 0, "1", 1e10 } do assert.is_false(accepts(check.seconds, bad)) end
  end)
end)

describe("a type of tables", function()
  local size = check.record { rows = check.count, columns = check.count }

  local function mistakes_of(accept, value)
    local good, expected = accept(value)
    assert.is_nil(good)
    table.sort(expected)
    return expected
  end

  it("tells each mistake in them, in the words of the whole", function()
    assert.same({ "a table of columns, rows (not 'row'; did you mean 'rows'?)",
      "a table where columns is an integer that is not negative (not 'x')" }, mistakes_of(size, { columns = "x", row = 1 }))
    assert.same({ "a list of a string (entry 1 is 7)", "a list of a string (entry 3 is 8)" },
      mistakes_of(check.list_of(check.text), { 7, "x", 8 }))
    assert.same({ "a table where a is a list of an integer that is not negative (entry 1 is 'x') (not a table)",
      "a table where a is a list of an integer that is not negative (entry 2 is 'y') (not a table)",
      "a table whose keys are each a string (not 1)",
    }, mistakes_of(check.map_of(check.text, check.list_of(check.count)), { a = { "x", "y" }, [1] = {} }))
  end)

  it("is the one that is meant where it has several to tell, among others", function()
    local either = check.any_of(check.boolean, size)
    assert.same({ "a table where columns is an integer that is not negative (not 'x')",
      "a table where rows is an integer that is not negative (not 'y')" }, mistakes_of(either, { rows = "y", columns = "x" }))
    assert.equal("true or false, or a table where rows is an integer that is not negative (not 'y')",
      select(2, either { rows = "y" }))
  end)
end)

describe("the nearest name", function()
  it("is proposed for a slip, not for a different word", function()
    assert.equal("hostname", check.nearest("hostnam", schema.names))
    assert.equal("hostname", check.nearest("HostName", schema.names))
    assert.equal("namespaces", check.nearest("namespace", schema.names))
    assert.equal("env", check.nearest("envs", schema.names))
    assert.is_nil(check.nearest("colour", schema.names))
    assert.is_nil(check.nearest(("x"):rep(100000), schema.names))
    assert.is_nil(check.nearest("", {}))
  end)
end)

describe("the types of fields", function()
  local function refuses(field, value, pattern)
    local ok, err = pcall(sandbox, { [field] = value })
    assert.is_false(ok, field)
    assert.matches(pattern, tostring(err))
  end

  it("names what a wrong value should be", function()
    refuses("hostname", 7, "hostname must be a string %(got 7%)")
    refuses("hostname", "", "a name of 1 to 64 bytes")
    refuses("hostname", ("x"):rep(65), "a name of 1 to 64 bytes")
    refuses("net", "hots", "net must be 'loopback', 'none' or 'host' %(got 'hots'%)")
    refuses("user", "nobody", "user must be 'self', 'root' or 'auto'")
    refuses("no_new_privs", "yes", "true or false")
    refuses("init", 1, "true or false")
    refuses("lifetime", "ever", "'maker', 'detached' or 'last'")
    refuses("umask", 1.5, "permission bits")
    refuses("cwd", "here", "an absolute path")
    refuses("caps", { "net_bind" }, "a capability's name")
    refuses("command", "true", "a list")
    refuses("command", { "a", 7 }, "entry 2 is 7")
    refuses("steps", { "x" }, "a function")
    refuses("limits", { time = 0 }, "a number of seconds above 0")
    refuses("limits", { tme = 1 }, "did you mean 'time'%?")
    refuses("clock", { monotonic = 0.5 }, "whole seconds")
    refuses("clock", { realtime = 1 }, "boottime, monotonic")
    refuses("env", { ["A=B"] = "1" }, "without '='")
    refuses("env", { A = 1 }, "A is a string")
    refuses("env", { [1] = "A" }, "a variable's name")
    refuses("env", { inherit = "HOME" }, "inherit is 'all', or a list")
    refuses("inherit", { "groop" }, "a list of 'groups', 'hostname', 'keyring', .* or 'umask'")
    refuses("seccomp", { profile = false }, "profile = false goes with programs")
    refuses("seccomp", { profile = false, programs = { ("x"):rep(8) }, deny = { "mkdir" } }, "profile = false goes with programs")
    refuses("cwd", { "here" }, "a list of an absolute path")
    refuses("namespaces", { "mnt" }, "'mount'")
    refuses("namespaces", { nte = false }, "'net'")
    refuses("namespaces", { net = 7 }, "a table where net is")
    refuses("user", { uid_map = {} }, "1 to 340 entries")
    refuses("user", { uid_map = { { 0, 0 } } }, "{ inside, outside, count }")
    refuses("user", { uid_map = { { 0, 0, 0 } } }, "count above 0")
    refuses("user", { uid = -1 }, "an id, from 0 to 4294967294")
    refuses("fs", nslua.fs.os(), "a list")
    refuses("fs", { 7 }, "entry 1 is 7")
    refuses("fs", { nslua.fs }, "entry 1 is a table")
    refuses("fs", { root = nslua.fs.os() }, "it has the key 'root'")
  end)
end)
