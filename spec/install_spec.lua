-- luacheck: no max line length
local probe = require "probe"

local directory, tree

--- In the copied tree, with no network, as a user finds it: nothing preloaded, a home of its own.
local function offline(command)
  local network = probe.is_root and "unshare --net" or "unshare --net --map-current-user"
  return probe.shell(("cd %s && env -u LD_PRELOAD -u MAKEFLAGS HOME=%s timeout 240 %s sh -c '%s'"):format(
    tree, directory, network, command))
end

local function files_below(path)
  return (probe.shell(("cd %s && find . ! -type d | sort"):format(path)))
end

--- A plain program of lua5.4 that finds the module in a tree, and only there.
local function plain_program(share, lib)
  return ([[cd / && env -u LD_PRELOAD LUA_PATH="%s/?.lua;%s/?/init.lua" LUA_CPATH="%s/?.so" lua5.4 -e '
    local nslua = require "nslua"
    local result = assert(nslua.sandbox { hostname = "plain" }:run { "hostname", stdout = "capture" })
    assert(select(2, nslua.sandbox { fs = {} }:call(function(n) return n * 2 end, 21)) == 42)
    io.write(result.stdout, debug.getinfo(nslua.sandbox, "S").source)']]):format(share, share, lib)
end

describe("an installed nslua", function()
  setup(function()
    directory = probe.directory()
    tree = directory .. "/source"
    probe.shell(("mkdir %s && cp -r Makefile LICENSE csrc lua rockspec %s"):format(tree, tree))
  end)
  teardown(function() probe.remove(directory) end)

  describe("by make install", function()
    local root

    setup(function()
      root = directory .. "/root"
      local output, status = offline("make -j2 install WITH_BWRAP=1 PREFIX=/usr DESTDIR=" .. root)
      assert.equal(0, status, output)
    end)

    it("runs, with its own sources, also where neither tree nor modules are", function()
      local program = root .. "/usr/bin/nslua"
      assert.equal("sandbox\n", (probe.shell(("cd / && timeout 60 %s run -- hostname"):format(program))))
      assert.equal("nslua/sandbox.lua\n", (probe.shell(([[cd / && timeout 60 %s -e '
        print(select(2, package.searchers[2] "nslua.sandbox"))']]):format(program))))
    end)

    it("has bubblewrap's command line as a program of its own, if that is wanted", function()
      assert.equal("bin/bwrap\nbin/nslua\n", (probe.shell(("cd %s/usr && ls -l bin | grep ^l; ls bin/*"):format(root))))
      assert.equal("PWD=/\n", (probe.shell(("cd / && env -i %s/usr/bin/bwrap --ro-bind / / env"):format(root))))
    end)

    it("has that run where there is nothing else but /proc, no library either", function()
      local bwrap = root .. "/usr/bin/bwrap"
      local words = "--unshare-pid --proc /proc --ro-bind %s /bwrap /bwrap --version"
      local told = probe.shell(("cd / && env -i %s " .. words):format(bwrap, bwrap))
      assert.matches("^bubblewrap [%d.]+ %(nslua%)\n$", told)
    end)

    it("makes sandboxes in sandboxes with that, as /proc/self/exe, which is nowhere inside", function()
      if probe.is_root then pending "in root's sandbox /proc is covered in part, as bubblewrap does: none inside can have its own" end
      local bwrap = root .. "/usr/bin/bwrap"
      local shared = "--unshare-all --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 "
        .. "--dev /dev --proc /proc -- "
      local words = shared .. "/proc/self/exe " .. shared .. "/proc/self/exe " .. shared
      local output, status = probe.shell(("cd / && %s %s sh -c 'echo $$; ls -d %s 2>&- || echo absent; exit 6'"):format(bwrap, words, bwrap))
      assert.equal("2\nabsent\n", output)
      assert.equal(6, status)
    end)

    it("is a module for a plain Lua program", function()
      local output, status = probe.shell(plain_program(root .. "/usr/share/lua/5.4", root .. "/usr/lib/lua/5.4"))
      assert.equal(0, status, output)
      assert.equal("plain\n@" .. root .. "/usr/share/lua/5.4/nslua/sandbox.lua", output)
    end)

    it("is gone after make uninstall", function()
      assert.truthy(files_below(root):find "nslua/sys%.so")
      local output, status = offline("make uninstall WITH_BWRAP=1 PREFIX=/usr DESTDIR=" .. root)
      assert.equal(0, status, output)
      assert.equal("", files_below(root))
      assert.equal("", (probe.shell(("find %s -name nslua"):format(root))))
    end)
  end)

  describe("by luarocks make --tree", function()
    local rocks

    setup(function()
      rocks = directory .. "/rocks"
      local output, status = offline("make clean >/dev/null; luarocks --lua-version 5.4 make --tree " .. rocks
        .. " rockspec/nslua-scm-1.rockspec")
      assert.equal(0, status, output)
    end)

    it("is a module for a plain Lua program", function()
      local output, status = probe.shell(plain_program(rocks .. "/share/lua/5.4", rocks .. "/lib/lua/5.4"))
      assert.equal(0, status, output)
      assert.equal("plain\n@" .. rocks .. "/share/lua/5.4/nslua/sandbox.lua", output)
    end)

    it("runs", function()
      assert.equal("sandbox\n", (probe.shell(("cd / && timeout 60 %s/bin/nslua run -- hostname"):format(rocks))))
    end)

    it("is gone after luarocks remove", function()
      local output, status = offline("luarocks --lua-version 5.4 remove --tree " .. rocks .. " nslua")
      assert.equal(0, status, output)
      assert.equal("", (probe.shell(("find %s -name \"nslua*\" ! -type d"):format(rocks))))
    end)
  end)
end)
