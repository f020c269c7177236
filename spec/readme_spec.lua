local probe = require "probe"

--- The fenced blocks of the README: { language=, text= }, in order.
local function blocks()
  local list, current = {}, nil
  for line in io.lines "README.md" do
    local language = line:match "^```(%w*)$"
    if language and current then
      current = nil
    elseif language then
      current = { language = language, text = "" }
      list[#list + 1] = current
    elseif current then
      current.text = current.text .. line .. "\n"
    end
  end
  return list
end

--- Numbers may differ from run to run.
local function without_numbers(text) return (text:gsub("%d+", "N")) end

describe("the README", function()
  local directory, environment

  setup(function()
    directory = probe.directory()
    local here = probe.shell "pwd":match "[^\n]+"
    environment = ("cd %s && ln -sfn %s/recipes recipes && PATH=%s/%s:$PATH"):format(directory, here, here, probe.build)
  end)
  teardown(function() probe.remove(directory) end)

  local function run(command) return probe.shell(("%s timeout 60 %s < /dev/null"):format(environment, command)) end

  local all = blocks()
  for i, block in ipairs(all) do
    local text = block.text
    local name = text:match "^%-%- ([%w-]+%.lua)\n"
    if block.language == "lua" then
      it("has the script " .. tostring(name) .. ", which runs", function()
        assert.truthy(name, "a script says its name in its first line")
        probe.write(directory .. "/" .. name, text, "644")
        local output, status = run("nslua " .. name)
        assert.equal(0, status, output)
      end)
    elseif block.language == "sh" then
      it("has commands that run: " .. text:match "[^\n]+", function()
        probe.write(directory .. "/commands", "set -e\n" .. text)
        local output, status = run "sh commands"
        assert.equal(0, status, output)
        local shown = all[i + 1]
        if shown and shown.language == "text" and shown.text:find "^%$ " then
          assert.equal(without_numbers(shown.text), without_numbers(output))
        end
      end)
    else
      it("marks a block as lua, sh or text", function() assert.equal("text", block.language) end)
    end
  end

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
