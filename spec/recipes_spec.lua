local nslua = require "nslua"
local probe = require "probe"

--- What the output of a recipe must hold, besides an exit status of 0.
local SAYS <const> = {
  ["build.lua"] = { "make" },
  ["landlock.lua"] = { "programs start:    Linux", "nobody.s files: .*Permission denied", "written: .*Permission denied" },
  ["desktop.lua"] = { "^sockets: %d+\n$" },
  ["formulas.lua"] = {
    "^math.sqrt%(2%) %^ 2 += 2", "1e9%) +fails: not enough memory", "passwd.* fails: .*nil value",
    "true do.* no result: .*time limit", "os.exit%(3%) +no result: .*status 3", "1 %+ +fails: .*near <eof>\n$",
  },
  ["toolchain.lua"] = { "^prefix /toolchain, from /usr/lib/python3\n/toolchain/dist%-packages /cache\n$" },
  ["nonet.lua"] = { "^lo " },
  ["own-verb.lua"] = { "made by a verb of my own", "cgroup%.controllers" },
  ["python.lua"] = { "1267650600228229401496703205376", "FileNotFoundError", "timed out" },
  ["two-boxes.lua"] = { "reader: %d+ files, then: touch: .*Read%-only", "writer: 0 files, then: mine" },
  ["untrusted.lua"] = {
    "shadow:   cat: /etc/shadow: No such file", "backdoor: .*Read%-only", "network:  .*unreachable", "nothing of it is left",
  },
}

local function recipes()
  local list = {}
  for name in probe.shell "ls recipes":gmatch "[%w-]+%.lua" do list[#list + 1] = name end
  return list
end

local function run(arguments) return probe.shell(("timeout 60 %s %s < /dev/null"):format(probe.nslua, arguments)) end

describe("every recipe", function()
  for _, name in ipairs(recipes()) do
    it(name .. " runs, and leaves nothing behind", function()
      local before = probe.footprint()
      local output, status = run("recipes/" .. name)
      assert.equal(0, status, output)
      for _, pattern in ipairs(SAYS[name] or { "." }) do assert.truthy(output:find(pattern), pattern .. " in " .. output) end
      assert.same(before, probe.footprint())
    end)
  end

  it("that returns a sandbox can be explained, checked, and run with another command", function()
    for _, name in ipairs { "build.lua", "nonet.lua", "own-verb.lua" } do
      assert.truthy(run("explain recipes/" .. name):find("sandbox<" .. name:gsub("%.lua", ">"), 1, true))
      assert.equal("hello\n", (run("recipes/" .. name .. " echo hello")))
    end
  end)
end)

describe("recipes/untrusted.lua", function()
  it("runs the script that it is given", function()
    local directory = probe.directory()
    probe.write(directory .. "/script", "echo given; exit 9\n", "644")
    local output, status = run("recipes/untrusted.lua " .. directory .. "/script")
    probe.remove(directory)
    assert.truthy(output:find "^given\n", output)
    assert.equal(9, status)
  end)

  it("ends what the script leaves running", function()
    run "recipes/untrusted.lua"
    assert.equal("", (probe.shell "ps -eo args= | grep '^sleep 100[0]$'"))
  end)
end)

describe("recipes/build.lua", function()
  it("writes into the project and nowhere else", function()
    local directory = probe.directory()
    local box = nslua.load "recipes/build.lua":with { fs = { nslua.fs.rw(directory, "/src") } }
    local result = assert(box:run { "sh", "-c", "echo made > product; touch /usr/product", stderr = "capture" })
    local made, owner = probe.read(directory .. "/product"), probe.shell("stat -c %u " .. directory .. "/product")
    probe.remove(directory)
    assert.equal("made\n", made)
    assert.equal(probe.shell "id -u", owner)
    assert.truthy(result.stderr:find "Read%-only")
  end)
end)
