--- The bwrap command line for a sandbox's files, read from its plan: the same binds, file systems, links
-- and contents (as binds of files written to a directory), then the default recipe's other fields.
local sys = require("nslua").sys

local KINDS <const> = { tmpfs = "--tmpfs", proc = "--proc" }

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

local function below(path, directory) return path:sub(1, #directory + 1) == directory .. "/" end

--- bwrap's own --dev and --proc make what is in there.
local function is_inner(path) return below(path, "/dev") or below(path, "/proc") end

local function write(directory, index, content)
  local path = directory .. "/content" .. index
  local file = assert(io.open(path, "w"))
  file:write(content)
  file:close()
  return path
end

--- One function an operation of the plan: what it adds to the words. `known` says what a register holds.
local recorded = {}

--- A clone of a directory of ours (no path) is a writable place in a root that becomes read-only.
function recorded.open_tree(op, known)
  known[op.result:number()] = op[2] and { "--ro-bind", op[2] } or { "--tmpfs" }
end

function recorded.fsopen(op, known) known[op.result:number()] = { KINDS[op[1]] } end

function recorded.fsmount(op, known) known[op.result:number()] = known[op[1]:number()] end

function recorded.attach(op, known, words)
  local target = op[3]
  if is_inner(target) then return end
  local source = target == "/dev" and { "--dev" } or known[op[1]:number()]
  table.move(source, 1, #source, #words + 1, words)
  words[#words + 1] = target
end

function recorded.directory(op, _, words)
  -- Any other directory of the default recipe is a place for a --tmpfs.
  if op[2] == "/dev" then table.move({ "--dev", "/dev" }, 1, 2, #words + 1, words) end
end

function recorded.symlink(op, _, words)
  if not is_inner(op[3]) then table.move({ "--symlink", op[1], op[3] }, 1, 3, #words + 1, words) end
end

function recorded.write_file(op, _, words, directory)
  if op[2]:sub(1, 1) ~= "/" then return end -- a mask
  table.move({ "--ro-bind", write(directory, #words, op[3]), op[2] }, 1, 3, #words + 1, words)
end

local function identity_words()
  local id = sys.identity()
  local home = "/home/sandbox"
  local uid, gid = id.uid == 0 and 1000 or id.uid, id.uid == 0 and 1000 or id.gid
  return ("--remount-ro /dev --remount-ro / --uid %d --gid %d --chdir %s --clearenv --setenv HOME %s "
    .. "--setenv PATH /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
    .. "--setenv LANG C.UTF-8 --setenv TERM dumb"):format(uid, gid, home, home)
end

return function(box, directory)
  local words, known = {}, {}
  for _, op in ipairs(assert(box:plan())) do
    if recorded[op.name] then recorded[op.name](op, known, words, directory) end
  end
  for i, word in ipairs(words) do words[i] = quote(word) end
  return table.concat({
    "bwrap --unshare-user --unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup",
    "--hostname sandbox --die-with-parent --new-session --cap-drop ALL",
    table.concat(words, " "), identity_words(), "/bin/true",
  }, " ")
end
