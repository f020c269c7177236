-- Evaluates formulas that you do not trust, in a pool of sandboxes: a line each from a file, or some hostile ones.
--   nslua formulas.lua lines.txt
local hostile <const> = {
  "math.sqrt(2) ^ 2", "('x'):rep(1e9)", "io.open '/etc/passwd':read 'a'", "os.execute 'touch /usr/bin/backdoor'",
  "(function() while true do end end)()", "os.exit(3)", "{}", "1 +",
}

local box <const> = sandbox "formulas" {
  fs = {},                                      -- nothing but the interpreter, which comes with nslua
  limits = { as = "64M", time = 0.5 },          -- the time is that of each call
}
local pool <close> = assert(box:pool(2, { stderr = "null" }))

local function evaluate(text)
  local formula = assert(load("return " .. text, "=formula"))
  return formula()
end

local formulas = hostile
if arg and arg[1] then
  formulas = {}
  for line in io.lines(arg[1]) do formulas[#formulas + 1] = line end
end

for _, text in ipairs(formulas) do
  local ok, result = pool:call(evaluate, text)
  print(("%-40s %s %s"):format(text, ok and "=" or ok == false and "fails:" or "no result:", tostring(result)))
end
