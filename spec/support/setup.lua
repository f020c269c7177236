--- Runs before any spec: the modules of this tree, the C module of the build under test.
local build = os.getenv "NSLUA_BUILD" or "build"
package.path = "./lua/?.lua;./lua/?/init.lua;./spec/support/?.lua;" .. package.path
package.cpath = "./" .. build .. "/lib/?.so;" .. package.cpath
