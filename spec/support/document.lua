--- Documentation whose fenced blocks are run: lua blocks are scripts that name their file in the first line, sh
--- blocks are commands, a text block behind one that begins with "$ " is what they print.
local assert = require "luassert"
local it = require("busted").it
local probe = require "probe"

local M = {}

--- The fenced blocks of a file: { language=, text= }, in order.
local function blocks(path)
  local list, current = {}, nil
  for line in io.lines(path) do
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

--- A directory to run the blocks of a document in, one after the other.
function M.workplace()
  local here = probe.shell "pwd":match "[^\n]+"
  local place = { directory = probe.directory() }
  local environment = ("cd %s && ln -sfn %s/recipes recipes && PATH=%s/%s:$PATH"):format(place.directory, here, here,
    probe.build)
  function place.run(command) return probe.shell(("%s timeout 60 %s < /dev/null"):format(environment, command)) end
  return place
end

--- A spec for each block of a document. `place` is a function that gives the workplace when they run.
function M.specs(path, place)
  local all = blocks(path)
  for i, block in ipairs(all) do
    local text = block.text
    local name = text:match "^%-%- ([%w-]+%.lua)\n"
    if block.language == "lua" then
      it("has the script " .. tostring(name) .. ", which runs", function()
        assert.truthy(name, "a script says its name in its first line")
        probe.write(place().directory .. "/" .. name, text, "644")
        local output, status = place().run("nslua " .. name)
        assert.equal(0, status, output)
      end)
    elseif block.language == "sh" then
      it("has commands that run: " .. text:match "[^\n]+", function()
        probe.write(place().directory .. "/commands", "set -e\n" .. text)
        local output, status = place().run "sh commands"
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
end

return M
