local inside = require "inside"
local nslua = require "nslua"
local probe = require "probe"
local sys = require "nslua.sys"

local sandbox, fs = nslua.sandbox, nslua.fs

--- A sandbox that has nslua in it.
local function with_nslua(fields)
  fields.fs = { fs.os(), fs.ro(probe.nslua, "/nslua") }
  return sandbox(fields)
end

describe("a sandbox in a sandbox", function()
  it("is refused: by the filter, and by the kernel's limit where there is none", function()
    local seen = inside.sh(with_nslua {}, "unshare -U true; /nslua run -- true; cat /proc/sys/user/max_user_namespaces")
    assert.matches("^0\nunshare: unshare failed: Operation not permitted\nnslua: clone3: Operation not permitted", seen)
    seen = inside.sh(with_nslua { seccomp = false }, "unshare -U true; /nslua run -- true; "
      .. "echo 9 > /proc/sys/user/max_user_namespaces")
    assert.matches("unshare failed: No space left on device\nnslua: clone3: No space left on device", seen)
    assert.matches("user.max_user_namespaces, which is 0\n.*cannot create", seen)
  end)

  it("is refused with capabilities over the sandbox too", function()
    local seen = inside.sh(sandbox { user = "root", caps = { "sys_admin" } }, "unshare -U true; unshare -m true && echo mounts")
    assert.equal("mounts\nunshare: unshare failed: No space left on device\n", seen)
  end)

  it("that is to be impossible is an error where it is not, whatever the filter refuses", function()
    for _, fields in ipairs { {}, { seccomp = false }, { user = "root", caps = "all" }, { init = false } } do
      local result, message = inside.run(sandbox(fields):with { nesting = "impossible" }, { "true" })
      assert.is_nil(result)
      assert.matches("nesting: .*%(EEXIST%);\n  the payload could make a user namespace", message)
    end
    assert.matches("nested sandboxes: no, or it does not start", sandbox { nesting = "impossible" }:explain())
  end)

  it("that is to be impossible is none where what is around it sees to that", function()
    local function disable(plan)
      plan:need "sys_resource"
      local limit = plan.setup:open(nil, "/proc/sys/user/max_user_namespaces", "write")
      plan.setup:write(limit, "0")
    end
    local box = sandbox { nesting = "impossible", fs = { fs.os(), disable } }
    assert.matches("begun\nunshare: unshare failed", (inside.sh(box, "echo begun; unshare -U true")))
    local process <close> = assert(box:spawn { "sleep", "20" })
    assert.is_true(assert(process:exec { "true" }):wait().ok)
  end)

  it("changes nothing outside", function()
    local before = probe.read "/proc/sys/user/max_user_namespaces"
    inside.run(sandbox {}, { "true" })
    assert.equal(before, probe.read "/proc/sys/user/max_user_namespaces")
    if probe.is_root then -- without a user namespace of its own the limit would be the caller's
      inside.run(sandbox { namespaces = { "uts", "mount" }, fs = { fs.host() } }, { "true" })
      assert.equal(before, probe.read "/proc/sys/user/max_user_namespaces")
    end
  end)

  it("wants setfcap of a user that is 0, and says so", function()
    local seen = inside.sh(with_nslua { nesting = true, user = "root" }, "/nslua run -- true")
    assert.matches("uid_map: Operation not permitted %(EPERM%);\n  uid 0 maps itself with the capability setfcap", seen)
  end)

  for user, caps in pairs { self = {}, root = { "setfcap" } } do
    it("works with nesting, for user = " .. user, function()
      local box = with_nslua { nesting = true, user = user, caps = caps }
      local seen, result = inside.sh(box, [[/nslua run -- sh -c '
        echo $$ of $(ls -d /proc/[0-9]* | wc -l) on $(hostname); touch /usr/x; ls /nslua; id -u
        cat /proc/sys/user/max_user_namespaces; head -c1 /proc/timer_list; unshare -U true']])
      assert.matches("^2 of %d on sandbox\n%d+\n0\n", seen)
      for _, refused in ipairs { "Read%-only file", "/nslua.*No such file", "timer_list.*Permission denied", "not permitted" } do
        assert.matches(refused, seen)
      end
      assert.is_nil(result.enforced.landlock and result.enforced.landlock.files)
    end)
  end

  it("can have another one in it, four deep", function()
    local recipe = [[local depth = tonumber(arg[1])
      local box = sandbox { nesting = true, hostname = "deep" .. depth,
        fs = { fs.os(), fs.ro("%s", "/nslua"), fs.ro("%s", "/deep.lua") } }
      assert(box:run { "sh", "-c", "hostname; " .. (depth < 4 and "/nslua /deep.lua " .. depth + 1 or "id -u") }):check()]]
    local directory = probe.directory()
    probe.write(directory .. "/deep.lua", recipe:format("/nslua", "/deep.lua"))
    probe.write(directory .. "/first.lua", recipe:format(probe.nslua, directory .. "/deep.lua"))
    local output, status = probe.shell(("timeout 30 %s %s/first.lua 1"):format(probe.nslua, directory))
    probe.remove(directory)
    assert.matches("^deep1\ndeep2\ndeep3\ndeep4\n%d+\n$", output)
    assert.equal(0, status)
  end)

  it("may be another tool's: unshare with its own /proc, bubblewrap", function()
    local box = sandbox { nesting = true }
    assert.equal("1\n", (inside.sh(box, "unshare -Urmpf --mount-proc sh -c 'echo $$'")))
    if not inside.run(box, { "sh", "-c", "command -v bwrap" }).ok then return pending "bubblewrap is not installed" end
    assert.equal("in\n", (inside.sh(box, "bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev echo in")))
  end)

  it("leaves the rest as it is: no capability, no key, no other kernel surface", function()
    local box = sandbox { nesting = true }
    local names = { "bpf", "keyctl", "add_key", "io_uring_setup", "perf_event_open", "open_by_handle_at", "reboot" }
    local list = {}
    for i, name in ipairs(names) do list[i] = ("%d"):format(sys.syscall_number(name)) end
    local seen = inside.python(box, ([[
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for n in (%s): print(libc.syscall(n, 0, 0, 0, 0, 0, 0), ctypes.get_errno())]]):format(table.concat(list, ",")))
    assert.equal(("-1 1\n"):rep(#names), seen)
    assert.matches("CapEff:%s+0+\nCapBnd:%s+0+\n", (inside.sh(box, "grep -E 'Cap(Eff|Bnd)' /proc/self/status")))
  end)

  it("is a loosening that explain names", function()
    assert.matches("nested sandboxes: yes", sandbox { nesting = true }:explain())
    assert.matches("nested sandboxes: no", sandbox {}:explain())
    assert.matches("nesting must be true or false, or 'impossible'", inside.mistake(sandbox, { nesting = 1 }))
  end)
end)
