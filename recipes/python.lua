-- Evaluates Python that strangers send: a second each, no files, no network.
local box = sandbox "python" { limits = { time = 1 } }

local function evaluate(expression)
  local program = "import sys, os; print(eval(sys.stdin.read()))"
  local result = assert(box:run {
    "python3", "-I", "-c", program, stdin = { data = expression }, stdout = "capture", stderr = "capture",
  })
  if result.ok then return (result.stdout:gsub("\n$", "")) end
  return result.reason == "exit" and result.stderr:match "([^\n]+)\n$" or tostring(result)
end

for _, expression in ipairs {
  "2 ** 100",
  "sorted('sandbox')",
  "open('/etc/shadow').read()",
  "os.listdir('/home')",
  "os.kill(1, 9)",
  "sum(iter(int, 1))",
} do
  print(("%-28s -> %s"):format(expression, evaluate(expression)))
end
