-- The script of the program bwrap that `make install WITH_BWRAP=1` installs.
collectgarbage "stop" -- it is over before there is much
return require "nslua.cli.bwrap"({ ... }, arg[0])
