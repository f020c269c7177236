local document = require "document"
local probe = require "probe"

describe("doc/files.md", function()
  local place
  setup(function() place = document.workplace() end)
  teardown(function() probe.remove(place.directory) end)

  document.specs("doc/files.md", function() return place end)

  it("names every verb, and no other", function()
    local verbs, named = require "nslua.fs".verbs, {}
    for name in probe.read "doc/files.md":gmatch "`fs%.([%w_]+)" do
      assert.truthy(verbs[name], name)
      named[name] = true
    end
    for name in pairs(verbs) do assert.truthy(named[name], name) end
  end)
end)
