-- The script of the program bwrap that `make install WITH_BWRAP=1` installs.
return require "nslua.cli.bwrap"({ ... }, arg[0])
