local document = require "document"
local probe = require "probe"

describe("doc/payload.md", function()
  local place
  setup(function() place = document.workplace() end)
  teardown(function() probe.remove(place.directory) end)

  document.specs("doc/payload.md", function() return place end)

  it("names no field that is none", function()
    local fields = require "nslua.schema".by_name
    for name in probe.read "doc/payload.md":gmatch "`([%a_]+) = " do
      local of_field = { best_effort = true, suid = true, groups = true, mode = true, programs = true }
      assert.truthy(fields[name] or of_field[name], name)
    end
  end)
end)
