local document = require "document"
local probe = require "probe"

describe("the README", function()
  local place, directory, run

  setup(function()
    place = document.workplace()
    directory, run = place.directory, place.run
  end)
  teardown(function() probe.remove(directory) end)

  document.specs("README.md", function() return place end)

  it("shows the errors as they are", function()
    local path = directory .. "/bad.lua"
    probe.write(path, 'return sandbox "bad" {\n  hostnam = "x",\n  cwd = "src",\n}\n', "644")
    local output = run "nslua bad.lua"
    assert.truthy(probe.read "README.md":find(output, 1, true), output)
    local build = probe.read(directory .. "/build.lua"):gsub(", { optional = true }", ""):gsub("/opt/sdk", "/nonexistent")
    probe.write(path, build, "644")
    local message = run "nslua bad.lua":gsub("^nslua: bad%.lua:%d+: ", ""):gsub("/nonexistent", "/opt/sdk")
    assert.truthy(probe.read "README.md":find(message, 1, true), message)
  end)

  it("names every field and every verb", function()
    local text = probe.read "README.md"
    local fields = text:match "Fields: `([%w_%s]+)`"
    local verbs = text:match "Verbs of `fs`: `([%w_%s]+)`"
    local known, listed = {}, {}
    for name in fields:gmatch "%S+" do listed[#listed + 1] = name end
    assert.same(require "nslua.schema".names, listed)
    listed = {}
    for name in verbs:gmatch "%S+" do listed[#listed + 1] = name end
    for name in pairs(require "nslua.fs".verbs) do known[#known + 1] = name end
    table.sort(known)
    table.sort(listed)
    assert.same(known, listed)
  end)

  it("has a first command that ends with the walk-through's last step, running", function()
    assert.truthy(probe.read "README.md":find "\nmake deps demo ")
    local output, status = probe.shell "timeout 240 make demo < /dev/null"
    assert.equal(0, status, output)
    assert.truthy(output:match "[^\n]*\n$":find "^6%-net: ok", output)
  end)
end)
