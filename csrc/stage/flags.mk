# How freestanding code is built: no libc, no sanitizer, no stack protector (there is nobody to call).
FREESTANDING = -std=c11 $(WARNINGS) -ffreestanding -fno-stack-protector -fno-builtin \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns
# On x86-64 just below the stack, so that both share page tables: they are most of what an exec and an
# exit cost. The large model keeps constant pointers in the read-only segment: a page less to copy.
STAGE_AT := $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),0x7ff000000000)
STAGE_CFLAGS = $(FREESTANDING) -Os -fno-pie $(if $(STAGE_AT),-mcmodel=large) -ffunction-sections -fdata-sections
STAGE_LDFLAGS = -nostdlib -static -no-pie -s \
	-Wl,--gc-sections,--build-id=none,-z,noseparate-code,-z,norelro,-z,noexecstack$(if $(STAGE_AT),$(comma)-Ttext-segment=$(STAGE_AT))
comma = ,
