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
HOST_CAP_LIBS ?= -l:libcap.a

INSTALL_BIN = $(DESTDIR)$(or $(INST_BINDIR),$(PREFIX)/bin)
INSTALL_LUA = $(DESTDIR)$(or $(INST_LUADIR),$(PREFIX)/share/lua/5.4)
INSTALL_LIB = $(DESTDIR)$(or $(INST_LIBDIR),$(PREFIX)/lib/lua/5.4)

WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes $(WERROR)
include csrc/stage/flags.mk
SYS_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARNINGS) -fPIC -fvisibility=hidden $(LUA_CFLAGS) $(CFLAGS)

KERNEL_C = $(wildcard csrc/kernel/*.c)
STAGE_C  = $(wildcard csrc/stage/*.c)
SYS_C    = $(wildcard csrc/sys/*.c)
HEADERS  = $(wildcard csrc/*/*.h csrc/*/*.def)
LUA_SRC  = $(sort $(wildcard lua/nslua/*.lua lua/nslua/*/*.lua))

SYS_O = $(SYS_C:csrc/%.c=$(BUILD)/%.o) $(KERNEL_C:csrc/%.c=$(BUILD)/%.o) $(BUILD)/stage/execute.o $(BUILD)/filter.o

all: $(BUILD)/nslua $(BUILD)/lib/nslua/sys.so

# -- the freestanding stage, embedded in the C module --
$(BUILD)/stage.bin: $(KERNEL_C) $(STAGE_C) $(HEADERS) csrc/stage/flags.mk
	@mkdir -p $(@D)
	$(CC) $(STAGE_CFLAGS) $(STAGE_LDFLAGS) -o $@ $(KERNEL_C) $(STAGE_C)

# -- the program that runs functions in a sandbox, embedded too --
CALLEE_LUA = $(addprefix lua/nslua/,copy.lua callee.lua)
$(BUILD)/callee.c: csrc/host/embed.lua $(CALLEE_LUA)
	@mkdir -p $(@D)
	$(LUA) csrc/host/embed.lua $(CALLEE_LUA) > $@.new && mv $@.new $@

# Without shared libraries, which a sandbox may not have; nor a sanitizer, as the stage.
LINK_CALLEE = $(CC) -std=c11 -D_GNU_SOURCE -O2 $(WARNINGS) $(LUA_CFLAGS) -Icsrc/host -s -o $@ $(filter %.c,$^) $(LUA_LIBS)
$(BUILD)/callee.bin: csrc/callee/main.c $(BUILD)/callee.c csrc/host/embedded.h
	$(LINK_CALLEE) -static -Wl,--gc-sections,--no-warnings || \
	  { echo "no static libraries here: functions are going to need shared ones in their sandbox"; $(LINK_CALLEE); }

# -- the default filter, for the machine that is compiled for --
FILTER_LUA = $(addprefix lua/nslua/,filter.lua bpf.lua profile.lua)
$(BUILD)/filter.c: csrc/filter/generate.lua $(FILTER_LUA)
	@mkdir -p $(@D)
	echo '#include <asm/unistd.h>' | $(CC) -E -dM - | $(LUA) csrc/filter/generate.lua lua > $@.new && mv $@.new $@

$(BUILD)/filter.o: $(BUILD)/filter.c $(HEADERS)
	$(CC) $(SYS_CFLAGS) -I. -c -o $@ $<

# -- the C module --
$(BUILD)/kernel/%.o: csrc/kernel/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(FREESTANDING) -fPIC -fvisibility=hidden -O2 -c -o $@ $<

$(BUILD)/stage/%.o: csrc/stage/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(FREESTANDING) -fPIC -fvisibility=hidden -O2 -c -o $@ $<

$(BUILD)/sys/image.o: $(BUILD)/stage.bin $(BUILD)/callee.bin
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

HOST_O = $(BUILD)/host/embedded.o $(addprefix $(BUILD)/host/, appended.o bundle.o heap.o snapshot.o) $(SYS_O)
LINK_HOST = $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LUA_LIBS) $(HOST_CAP_LIBS)
FOR_C_MODULES = -Wl,-E

$(BUILD)/nslua: $(BUILD)/host/main-development.o $(HOST_O)
	$(LINK_HOST) $(FOR_C_MODULES)

$(BUILD)/nslua-installed: $(BUILD)/host/main.o $(HOST_O)
	$(LINK_HOST) $(FOR_C_MODULES)

# -- bubblewrap's command line as a program of its own, which loads nothing --

# It starts sooner without shared libraries, and in a sandbox that has none; and at addresses known here, for its snapshot.
# The linker warns of what it never does.
$(BUILD)/nslua-static: $(BUILD)/host/main.o $(HOST_O)
	$(LINK_HOST) -static -no-pie -Wl,-z,noseparate-code,--no-warnings || { echo "no static libraries here: bwrap is going to need shared ones"; $(LINK_HOST); }

# All that a run of bwrap requires, with what these require themselves.
IN_SNAPSHOT = $(addprefix nslua., cli bundle load cli.bwrap fs sandbox compile process)

$(BUILD)/nslua-ready: csrc/host/snapshot.lua $(BUILD)/nslua-static
	$(BUILD)/nslua-static csrc/host/snapshot.lua $(BUILD)/nslua-static $@ $(IN_SNAPSHOT)

$(BUILD)/bwrap: csrc/host/bwrap.lua $(BUILD)/nslua-ready
	$(BUILD)/nslua-ready bundle csrc/host/bwrap.lua -o $@

# -- installing: WITH_BWRAP=1 also that --

install: $(BUILD)/nslua-installed $(BUILD)/lib/nslua/sys.so $(if $(WITH_BWRAP),$(BUILD)/bwrap)
	install -d $(INSTALL_BIN) $(INSTALL_LIB)/nslua
	install -m 755 $(BUILD)/nslua-installed $(INSTALL_BIN)/nslua
	$(if $(WITH_BWRAP),install -m 755 $(BUILD)/bwrap $(INSTALL_BIN)/bwrap)
	install -m 755 $(BUILD)/lib/nslua/sys.so $(INSTALL_LIB)/nslua/sys.so
	for f in $(LUA_SRC:lua/%=%); do install -D -m 644 lua/$$f $(INSTALL_LUA)/$$f || exit 1; done

uninstall:
	rm -f $(INSTALL_BIN)/nslua $(if $(WITH_BWRAP),$(INSTALL_BIN)/bwrap) $(INSTALL_LIB)/nslua/sys.so $(addprefix $(INSTALL_LUA)/,$(LUA_SRC:lua/%=%))
	-rmdir $(INSTALL_LIB)/nslua $(addprefix $(INSTALL_LUA)/nslua/,bwrap cli verbs) $(INSTALL_LUA)/nslua 2>/dev/null

dist:
	git archive --prefix=nslua-scm/ -o nslua-scm.tar.gz HEAD

clean:
	rm -rf $(BUILD) nslua-scm.tar.gz

# -- developing --

# What Debian has to have installed: to build, to test, to compare with.
PACKAGES = gcc make libc6-dev linux-libc-dev pkg-config lua5.4 liblua5.4-dev libcap-dev
TEST_PACKAGES = lua-busted lua-check lua-ldoc luarocks strace procps tmux util-linux iproute2 python3 git lua-luv lua-cqueues lua-filesystem \
	libcap2-bin uidmap curl nodejs default-jre-headless bubblewrap gcc-aarch64-linux-gnu libc6-dev-arm64-cross clang-format
BENCH_PACKAGES = golang-go
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo)

deps:
	@missing=$$(for p in $(PACKAGES) $(TEST_PACKAGES) $(BENCH_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing:" $$missing; \
	  $(AS_ROOT) apt-get update -q && \
	  DEBIAN_FRONTEND=noninteractive $(AS_ROOT) apt-get install -q -y --no-install-recommends $$missing; \
	fi

demo: all
	$(BUILD)/nslua recipes/walkthrough/6-net.lua

test: all
	spec/run

# What depends on the kernel, on Debian's own ones in virtual machines (vm.sh boots one in seconds).
VM      ?= ../shared/vm.sh
KERNELS ?= 6.1 6.12
VM_SPECS ?= $(patsubst %,spec/%_spec.lua,sys namespace inner ns identity fs links error process security walkthrough cgroup limits landlock \
	nesting scheduling exec enter ps bundle call)
test-vm: all $(BUILD)/bwrap
	for k in $(KERNELS); do echo "== Linux $$k"; \
	  $(VM) -k $$k -t 1500 -m 2048 -c 2 'cd $(CURDIR) && NSLUA_BUILDS=build NSLUA_LIMIT=1400 spec/run $(VM_SPECS)' \
	  || exit 1; done

# Everything again with AddressSanitizer and UndefinedBehaviorSanitizer.
SANITIZE = -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
sanitized:
	$(MAKE) all BUILD=build/sanitized CFLAGS="-O1 -g $(SANITIZE)"

lint:
	luacheck -q lua spec recipes bench $(wildcard csrc/host/*.lua) csrc/filter/generate.lua
	clang-format --dry-run --Werror $(KERNEL_C) $(STAGE_C) $(SYS_C) $(wildcard csrc/host/*.c csrc/callee/*.c) $(wildcard csrc/*/*.h)
	$(MAKE) all BUILD=build/lint WERROR=-Werror
	$(MAKE) build/aarch64/stage.bin BUILD=build/aarch64 CC=aarch64-linux-gnu-gcc WERROR=-Werror

bench: all
	$(MAKE) -C bench

doc: all
	$(BUILD)/nslua doc/reference.lua > doc/reference.md
	ldoc -q -c doc/config.ld -d ../$(BUILD)/doc .

.PHONY: all install uninstall dist clean deps demo test test-vm sanitized lint bench doc
.DELETE_ON_ERROR:
