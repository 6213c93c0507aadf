// A capsule in C, as the Extism C PDK has one built: a WASI reactor with a C
// library, whose imports and exports carry the offsets of kernel blocks.
//
// What each action does is written in ../README.md.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENV(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
#define USER(name) __attribute__((import_module("extism:host/user"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

ENV(alloc) uint64_t ext_alloc(uint64_t);
ENV(free) void ext_free(uint64_t);
ENV(length_unsafe) uint64_t ext_length(uint64_t);
ENV(load_u8) uint8_t ext_load_u8(uint64_t);
ENV(load_u64) uint64_t ext_load_u64(uint64_t);
ENV(store_u8) void ext_store_u8(uint64_t, uint8_t);
ENV(store_u64) void ext_store_u64(uint64_t, uint64_t);
ENV(input_length) uint64_t ext_input_length(void);
ENV(input_load_u8) uint8_t ext_input_load_u8(uint64_t);
ENV(output_set) void ext_output_set(uint64_t, uint64_t);
ENV(error_set) void ext_error_set(uint64_t);
ENV(config_get) uint64_t ext_config_get(uint64_t);
ENV(var_get) uint64_t ext_var_get(uint64_t);
ENV(var_set) void ext_var_set(uint64_t, uint64_t);
ENV(log_info) void ext_log_info(uint64_t);
ENV(get_log_level) int32_t ext_get_log_level(void);

USER(astrid_log) void astrid_log(uint64_t level, uint64_t message);
USER(astrid_get_config) uint64_t astrid_get_config(uint64_t key);
USER(astrid_get_caller) uint64_t astrid_get_caller(void);
USER(astrid_signal_ready) void astrid_signal_ready(void);
USER(astrid_clock_ms) uint64_t astrid_clock_ms(void);
USER(astrid_trigger_hook) uint64_t astrid_trigger_hook(uint64_t request);
USER(astrid_check_capsule_capability) uint64_t astrid_check_capsule_capability(uint64_t request);

// block copies a text into a new kernel block.
static uint64_t block(const char *text) {
  size_t n = strlen(text), i = 0;
  uint64_t p = ext_alloc(n), eight;
  for (; i + 8 <= n; i += 8) {
    memcpy(&eight, text + i, 8);
    ext_store_u64(p + i, eight);
  }
  for (; i < n; i++) ext_store_u8(p + i, text[i]);
  return p;
}

// text copies a kernel block, which it frees, into a new string.
static char *text(uint64_t p) {
  size_t n = ext_length(p), i = 0;
  char *s = calloc(n + 1, 1);
  uint64_t eight;
  for (; i + 8 <= n; i += 8) {
    eight = ext_load_u64(p + i);
    memcpy(s + i, &eight, 8);
  }
  for (; i < n; i++) s[i] = ext_load_u8(p + i);
  ext_free(p);
  return s;
}

// ask passes a text to a call and returns its answer.
static char *ask(uint64_t call(uint64_t), const char *argument) {
  uint64_t p = block(argument);
  char *answer = text(call(p));
  ext_free(p);
  return answer;
}

// answer makes a tag and a text the output.
static int32_t answer(char tag, const char *s) {
  uint64_t n = strlen(s) + 1, p = ext_alloc(n);
  ext_store_u8(p, tag);
  for (uint64_t i = 1; i < n; i++) ext_store_u8(p + i, s[i - 1]);
  ext_output_set(p, n);
  return 0;
}

static int32_t seven(char *payload) {
  char *key = strtok(payload, "\" "), *uuid = strtok(NULL, "\" "), *topic = strtok(NULL, "\" ");
  char request[1024], *out = NULL;

  uint64_t level = block("Warning"), message = block("all seven from C");
  astrid_log(level, message);
  ext_free(level);
  ext_free(message);
  astrid_signal_ready();
  char *config = ask(astrid_get_config, key);
  char *caller = text(astrid_get_caller());
  char *clock = text(astrid_clock_ms());
  snprintf(request, sizeof request, "{\"hook\":\"%s\",\"payload\":{\"from\":\"C\"}}", topic);
  char *trigger = ask(astrid_trigger_hook, request);
  snprintf(request, sizeof request, "{\"source_uuid\":\"%s\",\"capability\":\"allow_prompt_injection\"}", uuid);
  char *capability = ask(astrid_check_capsule_capability, request);

  asprintf(&out, "{\"config\":\"%s\",\"caller\":%s,\"clock\":%s,\"trigger\":%s,\"capability\":%s}",
           config, caller, clock, trigger, capability);
  return answer(0, out);
}

static int32_t extism(void) {
  char *out = NULL;
  char *count = text(ext_var_get(block("count")));
  char next[16];
  snprintf(next, sizeof next, "%d", atoi(count) + 1);
  ext_var_set(block("count"), block(next));
  ext_log_info(block("by the PDK"));
  asprintf(&out, "{\"config\":\"%s\",\"count\":%s,\"level\":%d}", text(ext_config_get(block("greeting"))), next, ext_get_log_level());
  return answer(1, out);
}

EXPORT(astrid_hook_trigger) int32_t astrid_hook_trigger(void) {
  uint64_t n = ext_input_length();
  char *input = calloc(n + 1, 1), *action, *at;
  for (uint64_t i = 0; i < n; i++) input[i] = ext_input_load_u8(i);

  // {"name":ACTION,"arguments":[byte,byte,...]}, in either order.
  char *payload = calloc(n + 1, 1);
  at = strstr(input, "\"arguments\":[") + 13;
  for (int i = 0; *at != ']'; i++) {
    payload[i] = strtol(at, &at, 10);
    if (*at == ',') at++;
  }
  action = strstr(input, "\"name\":\"") + 8;
  *strchr(action, '"') = 0;

  if (!strcmp(action, "seven")) return seven(payload);
  if (!strcmp(action, "extism")) return extism();
  if (!strcmp(action, "echo")) return answer(0, payload);
  if (!strcmp(action, "deny")) return answer(2, "not today");
  if (!strcmp(action, "fail")) {
    ext_error_set(block("out of ink"));
    return 1;
  }
  if (!strcmp(action, "crash")) {
    fprintf(stderr, "a bug in C\n");
    abort();
  }
  return 2;
}
