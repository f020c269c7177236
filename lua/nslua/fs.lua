--- The verbs of `fs`: source first, then target, as mount(8). Each is a row of nslua.verb; the rows are in
-- nslua.verbs, a file for each family.
-- @module nslua.fs
local entry = require "nslua.entry"
local verb = require "nslua.verb"

for _, family in ipairs { "bind", "kernel", "small", "os" } do require("nslua.verbs." .. family) end

local fs = {}
for name, row in pairs(verb.rows) do
  row.name = name
  fs[name] = entry.constructor(row)
end

--- The rows, for the reference; not a verb.
return setmetatable(fs, { __index = { verbs = verb.rows } })
