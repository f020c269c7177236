std = "lua54"
max_line_length = 130
files["spec"] = { std = "+busted" }
files["recipes"] = { globals = { "sandbox", "fs", "sys", "nslua", "unset" } }
files["bench"] = { globals = { "sandbox", "fs", "sys", "nslua", "unset" } }
