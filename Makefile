# nslua: make, make test, make install. See README.md.

CC       ?= cc
CFLAGS   ?= -O2 -g
PREFIX   ?= /usr/local
DESTDIR  ?=
LUA      ?= lua5.4
LUAROCKS ?= luarocks
BUILD    ?= build

# Lua: found by pkg-config unless LUA_INCDIR (and LUA_LIBDIR) are given, as luarocks does.
LUA_CFLAGS ?= $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(shell pkg-config --cflags lua5.4))
# The host links Lua statically where it can: C modules find its API in the program itself.
LUA_LIBS   ?= $(if $(LUA_LIBDIR),-L$(LUA_LIBDIR)) \
	-Wl,--whole-archive -l:liblua5.4.a -Wl,--no-whole-archive -lm -ldl
CAP_LIBS   ?= -lcap

INSTALL_BIN = $(DESTDIR)$(or $(INST_BINDIR),$(PREFIX)/bin)
INSTALL_LUA = $(DESTDIR)$(or $(INST_LUADIR),$(PREFIX)/share/lua/5.4)
INSTALL_LIB = $(DESTDIR)$(or $(INST_LIBDIR),$(PREFIX)/lib/lua/5.4)

WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes $(WERROR)
# Kernel and stage: no libc, no sanitizer, no stack protector (there is nobody to call).
FREESTANDING = -std=c11 $(WARNINGS) -ffreestanding -fno-stack-protector -fno-builtin \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns
STAGE_CFLAGS = $(FREESTANDING) -Os -fno-pie -ffunction-sections -fdata-sections
STAGE_LDFLAGS = -nostdlib -static -no-pie -s \
	-Wl,--gc-sections,--build-id=none,-z,noseparate-code,-z,norelro,-z,noexecstack
SYS_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARNINGS) -fPIC -fvisibility=hidden $(LUA_CFLAGS) $(CFLAGS)

KERNEL_C = $(wildcard csrc/kernel/*.c)
STAGE_C  = $(wildcard csrc/stage/*.c)
SYS_C    = $(wildcard csrc/sys/*.c)
HEADERS  = $(wildcard csrc/*/*.h csrc/*/*.def)
LUA_SRC  = $(sort $(wildcard lua/nslua/*.lua lua/nslua/*/*.lua))

SYS_O = $(SYS_C:csrc/%.c=$(BUILD)/%.o) $(KERNEL_C:csrc/%.c=$(BUILD)/%.o) $(BUILD)/stage/execute.o

all: $(BUILD)/nslua $(BUILD)/lib/nslua/sys.so

# -- the freestanding stage, embedded in the C module --
$(BUILD)/stage.bin: $(KERNEL_C) $(STAGE_C) $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(STAGE_CFLAGS) $(STAGE_LDFLAGS) -o $@ $(KERNEL_C) $(STAGE_C)

# -- the C module --
$(BUILD)/kernel/%.o: csrc/kernel/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(FREESTANDING) -fPIC -fvisibility=hidden -O2 -c -o $@ $<

$(BUILD)/stage/%.o: csrc/stage/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(FREESTANDING) -fPIC -fvisibility=hidden -O2 -c -o $@ $<

$(BUILD)/sys/image.o: $(BUILD)/stage.bin
$(BUILD)/sys/%.o: csrc/sys/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(SYS_CFLAGS) -Wa,-I$(BUILD) -c -o $@ $<

$(BUILD)/lib/nslua/sys.so: $(SYS_O)
	@mkdir -p $(@D)
	$(CC) -shared $(CFLAGS) $(LDFLAGS) -o $@ $(SYS_O) $(CAP_LIBS)

# -- the host: interpreter, C module and Lua sources in one program --
$(BUILD)/embedded.c: csrc/host/embed.lua $(LUA_SRC)
	@mkdir -p $(@D)
	$(LUA) csrc/host/embed.lua $(LUA_SRC) > $@.new && mv $@.new $@

$(BUILD)/host/%.o: csrc/host/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(SYS_CFLAGS) -c -o $@ $<

# In the build tree the sources on the disk win over the embedded ones.
$(BUILD)/host/main-development.o: csrc/host/main.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(SYS_CFLAGS) -DNSLUA_SOURCES='"$(CURDIR)/lua"' -c -o $@ $<

$(BUILD)/host/embedded.o: $(BUILD)/embedded.c csrc/host/embedded.h
	$(CC) $(SYS_CFLAGS) -Icsrc/host -c -o $@ $<

HOST_O = $(BUILD)/host/embedded.o $(SYS_O)
LINK_HOST = $(CC) $(CFLAGS) $(LDFLAGS) -Wl,-E -o $@ $^ $(LUA_LIBS) $(CAP_LIBS)

$(BUILD)/nslua: $(BUILD)/host/main-development.o $(HOST_O)
	$(LINK_HOST)

$(BUILD)/nslua-installed: $(BUILD)/host/main.o $(HOST_O)
	$(LINK_HOST)

include Makefile.targets
