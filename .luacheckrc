std = "lua54"
max_line_length = 130
files["spec"] = { std = "+busted", ignore = { "211/_.*", "241", "331" } }
files["recipes"] = { globals = { "sandbox", "fs", "sys", "ns", "nslua", "unset" } }
files["bench"] = { globals = { "sandbox", "fs", "sys", "ns", "nslua", "unset" } }
