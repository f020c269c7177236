--- An interpreter of the classic BPF that seccomp knows: what a filter says of a call.
local M = {}

--- @tparam string program array of struct sock_filter
-- @tparam table call arch, nr, and args (a list of up to six integers)
-- @treturn integer the action
function M.run(program, call)
  local data = string.pack("=I4 I4 I8", call.nr & 0xffffffff, call.arch, 0)
  for i = 1, 6 do data = data .. string.pack("=i8", call.args and call.args[i] or 0) end
  local accumulator, at = 0, 0
  for _ = 1, 5000 do
    local code, yes, no, k = string.unpack("=I2 B B I4", program, at * 8 + 1)
    at = at + 1
    if code == 0x20 then accumulator = string.unpack("=I4", data, k + 1)
    elseif code == 0x06 then return k
    elseif code == 0x05 then at = at + k
    elseif code == 0x54 then accumulator = accumulator & k
    elseif code == 0x15 then at = at + (accumulator == k and yes or no)
    elseif code == 0x35 then at = at + (accumulator >= k and yes or no)
    elseif code == 0x45 then at = at + (accumulator & k ~= 0 and yes or no)
    else error(("unknown instruction 0x%x"):format(code)) end
  end
  error "the program does not end"
end

return M
