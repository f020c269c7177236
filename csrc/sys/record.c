/* The records of a stage as Lua values. */
#include "handle.h"

#include <string.h>
#include <sys/wait.h>

static void set_number(lua_State *L, const char *key, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, key);
}

static void push_namespaces(lua_State *L, const uint32_t *inodes) {
  const struct flag *kind = flag_set("namespaces");
  lua_createtable(L, 0, NAMESPACE_KINDS);
  for (int i = 0; i < NAMESPACE_KINDS && kind[i].name; i++)
    if (inodes[i]) set_integer(L, kind[i].name, inodes[i]);
}

static void push_held(lua_State *L, const struct held *held) {
  lua_createtable(L, 0, 12);
  push_namespaces(L, held->namespaces);
  lua_setfield(L, -2, "namespaces");
  set_integer(L, "effective", held->effective);
  set_integer(L, "permitted", held->permitted);
  set_integer(L, "inheritable", held->inheritable);
  set_integer(L, "bounding", held->bounding);
  set_integer(L, "ambient", held->ambient);
  set_integer(L, "uid", held->uid);
  set_integer(L, "gid", held->gid);
  set_integer(L, "groups", held->groups);
  set_integer(L, "securebits", held->securebits);
  lua_pushboolean(L, held->no_new_privs != 0);
  lua_setfield(L, -2, "no_new_privs");
  lua_newtable(L);
  for (uint32_t i = 0; i < held->skipped_count && i < MAX_SKIPPED; i++) {
    lua_pushinteger(L, held->skipped[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "skipped");
}

static void push_usage(lua_State *L, const struct usage *usage) {
  lua_createtable(L, 0, 8);
  set_number(L, "user", (double)usage->user_us / 1e6);
  set_number(L, "system", (double)usage->system_us / 1e6);
  set_integer(L, "maxrss", usage->maxrss_kib * 1024);
  set_integer(L, "minor_faults", usage->minor_faults);
  set_integer(L, "major_faults", usage->major_faults);
  set_integer(L, "voluntary_switches", usage->voluntary_switches);
  set_integer(L, "involuntary_switches", usage->involuntary_switches);
}

/* How often which number was called; not all of it may be there. */
static void push_recorded(lua_State *L, const struct record *record) {
  const struct recorded *recorded = &record->recorded;
  lua_createtable(L, 0, 2);
  lua_createtable(L, 0, MAX_RECORDED);
  for (uint32_t i = 0; i < recorded->count && i < MAX_RECORDED; i++) {
    if (recorded->calls[i].number >= RECORDED_CALLS) continue;
    lua_pushinteger(L, recorded->calls[i].count);
    lua_rawseti(L, -2, recorded->calls[i].number);
  }
  lua_setfield(L, -2, "counts");
  lua_pushboolean(L, record->status != 0);
  lua_setfield(L, -2, "incomplete");
}

int push_record(lua_State *L, const struct record *record) {
  static const char *const names[] = {
    [RECORD_FAILED] = "failed", [RECORD_STARTED] = "started", [RECORD_RECORDED] = "recorded",
    [RECORD_ENDED] = "ended",   [RECORD_JOINED] = "joined",   [RECORD_READY] = "ready",
  };
  lua_pushstring(L, names[record->kind]);
  switch (record->kind) {
  case RECORD_JOINED: return 1;
  case RECORD_READY:
  case RECORD_STARTED: push_held(L, &record->held); return 2;
  case RECORD_RECORDED: push_recorded(L, record); return 2;
  case RECORD_ENDED:
    push_usage(L, &record->usage);
    if (WIFSIGNALED(record->status)) set_integer(L, "signal", (uint64_t)WTERMSIG(record->status));
    else set_integer(L, "code", (uint64_t)WEXITSTATUS(record->status));
    return 2;
  default:
    lua_createtable(L, 0, 3);
    set_integer(L, "operation", record->operation);
    set_integer(L, "errno", (uint64_t)record->status);
    set_integer(L, "detail", record->detail);
    if (record->found[0]) {
      push_escaped(L, record->found, strnlen(record->found, sizeof record->found));
      lua_setfield(L, -2, "found");
    }
    return 2;
  }
}
