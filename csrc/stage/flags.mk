# How freestanding code is built: no libc, no sanitizer, no stack protector (there is nobody to call).
FREESTANDING = -std=c11 $(WARNINGS) -ffreestanding -fno-stack-protector -fno-builtin \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns
STAGE_CFLAGS = $(FREESTANDING) -Os -fpie -ffunction-sections -fdata-sections
# Just below the stack, so that both share page tables: most of what an exec and an exit cost are these.
STAGE_BASE = $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),$(comma)-Ttext-segment=0x7ff000000000)
STAGE_LDFLAGS = -nostdlib -static -no-pie -s \
	-Wl,--gc-sections,--build-id=none,-z,noseparate-code,-z,norelro,-z,noexecstack$(STAGE_BASE)
comma = ,
