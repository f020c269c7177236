local probe = require "probe"

describe("make doc", function()
  it("makes pages of the modules, with what C gives to Lua", function()
    local directory = probe.directory()
    local output, status = probe.shell("timeout 60 ldoc -q -c doc/config.ld -d " .. directory .. "/doc . < /dev/null")
    assert.equal(0, status, output)
    local page = probe.read(directory .. "/doc/modules/nslua.sys.html")
    for _, name in ipairs { "pipe", "poll", "callee_program", "fd:close", "plan:optional" } do
      assert.truthy(page:find(name, 1, true), name)
    end
    probe.remove(directory)
  end)
end)

describe("doc/reference.md", function()
  it("is what doc/reference.lua prints: `make doc` brings it up to date", function()
    local printed, status = probe.shell(("timeout 60 %s doc/reference.lua < /dev/null"):format(probe.nslua))
    assert.equal(0, status, printed)
    assert.equal(probe.read "doc/reference.md", printed)
  end)

  it("has every field, option, verb and primitive", function()
    local text = probe.read "doc/reference.md"
    for _, name in ipairs(require "nslua.schema".names) do
      assert.truthy(text:find("\n| `" .. name .. "` |", 1, true), name)
    end
    for _, option in ipairs(require "nslua.options".list) do
      assert.truthy(text:find("\n| `" .. option.name .. "` |", 1, true), option.name)
    end
    for _, option in ipairs(require "nslua.call".list) do
      assert.truthy(text:find("\n| `" .. option.name .. "` | " .. option.of, 1, true), option.name)
    end
    for name in pairs(require "nslua.fs".verbs) do assert.truthy(text:find("\n| `fs." .. name .. "(", 1, true), name) end
    for name in probe.read "csrc/kernel/primitives.def":gmatch "\nPRIMITIVE%(([%w_]+)" do
      assert.truthy(text:find("\n| `" .. name .. "` |", 1, true), name)
      assert.equal("function", type(require "nslua.sys"[name]), name)
    end
  end)

  it("says what each option of a verb is for", function()
    local options = probe.read "doc/reference.md":match "\n| option | is [^\n]*\n[^\n]*(.-)\n\n"
    assert.is_nil(options:find("|  |", 1, true), options)
  end)
end)
