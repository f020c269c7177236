#include "execute.h"

#include "../kernel/syscall.h"

#include <asm-generic/errno.h>
#include <linux/time.h>
#include <linux/time_types.h>

static primitive *const table[] = {
#define PRIMITIVE(name, result, parameters) kernel_##name,
#include "../kernel/primitives.def"
#undef PRIMITIVE
#define PRIMITIVE(name, result, parameters) stage_##name,
#include "primitives.def"
#undef PRIMITIVE
};

enum { TABLE_SIZE = sizeof table / sizeof *table, SKIPPED = 1 };

static int tolerates(const struct operation *op, long failure) {
  for (int i = 0; i < MAX_TOLERATED; i++)
    if (op->tolerated[i] && op->tolerated[i] == -failure) return 1;
  return 0;
}

/* A list travels as offsets; here they become pointers, in place, once. */
static char **relocate(struct operation *op, const struct wire_argument *wire) {
  intptr_t *entries = (intptr_t *)((char *)op + wire->value);
  for (uint32_t i = 0; i < wire->size; i++) entries[i] += (intptr_t)op;
  return (char **)entries;
}

/* Turns the arguments of an operation into those of a call. An fd register that holds nothing,
   because the operation that fills it was skipped, makes this one skipped too. */
static long load_arguments(struct machine *machine, struct operation *op, struct call *call) {
  for (int i = 0; i < op->arguments; i++) {
    const struct wire_argument *wire = &op->argument[i];
    struct argument *argument = &call->arguments[i];
    argument->size = wire->size;
    switch ((enum wire_kind)wire->kind) {
    case WIRE_REGISTER:
      argument->value = machine->registers[wire->value];
      if (argument->value == REGISTER_ABSENT) return SKIPPED;
      break;
    case WIRE_DATA: argument->value = (long)((char *)op + wire->value); break;
    case WIRE_LIST: argument->value = (long)relocate(op, wire); break;
    case WIRE_INTEGER:
    case WIRE_ABSENT: argument->value = wire->value; break;
    }
  }
  return 0;
}

static void note_skipped(struct machine *machine, const struct operation *op) {
  if (!(op->flags & OPERATION_NOTED)) return;
  if (machine->skipped_count < MAX_SKIPPED)
    machine->skipped[machine->skipped_count] = (uint16_t)machine->index;
  machine->skipped_count++;
}

static long execute_operation(struct machine *machine, struct operation *op) {
  struct call call = { .found = machine->found, .listener = machine->listener };
  if (op->primitive >= TABLE_SIZE) return -ENOSYS;
  if (load_arguments(machine, op, &call) == SKIPPED) return 0;
  long r = table[op->primitive](&call);
  machine->detail = call.detail;
  if (r < 0 && tolerates(op, r)) {
    note_skipped(machine, op);
    return 0;
  }
  if (r >= 0 && op->result >= 0) machine->registers[op->result] = (int32_t)r;
  return r;
}

void note_time(struct machine *machine, unsigned slot) {
  struct __kernel_timespec now;
  if (slot >= machine->time_count) return;
  SYSCALL(clock_gettime, CLOCK_REALTIME, &now);
  machine->times[slot] = (plan_time)now.tv_sec * 1000000000 + (plan_time)now.tv_nsec;
}

void finish_operation(struct machine *machine) { note_time(machine, ++machine->index); }

long execute_operations(struct machine *machine) {
  while (machine->next < machine->end) {
    struct operation *op = (struct operation *)machine->next;
    machine->next += op->size;
    long r = execute_operation(machine, op);
    if (r < 0) return r;
    finish_operation(machine);
  }
  return 0;
}
