#include <stdint.h>

#include "reply.h"

// The host's calls. Blocks of the memory that is shared with the host are named by their
// offset; docs/capsules.md of astrid-actors describes all calls.
#define ENV(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
#define USER(name) __attribute__((import_module("extism:host/user"), import_name(#name)))

ENV(alloc) uint64_t alloc(uint64_t size);
ENV(length) uint64_t length(uint64_t block);
ENV(load_u8) uint8_t load_u8(uint64_t at);
ENV(store_u8) void store_u8(uint64_t at, uint8_t byte);
ENV(input_length) uint64_t input_length(void);
ENV(input_load_u8) uint8_t input_load_u8(uint64_t index);
ENV(output_set) void output_set(uint64_t at, uint64_t size);
ENV(error_set) void error_set(uint64_t block);
USER(astrid_get_config) uint64_t astrid_get_config(uint64_t key);

enum { LONGEST = 1 << 20 }; // of a payload

static char payload[LONGEST], greeting[4096], answer[LONGEST + sizeof(greeting) + 32];

// block returns a new block with size bytes.
static uint64_t block(const char *bytes, uint64_t size) {
  uint64_t b = alloc(size);
  for (uint64_t i = 0; i < size; i++) store_u8(b + i, bytes[i]);
  return b;
}

// read_payload reads {"name":"greet","arguments":[123,34,...]}, one number for each byte of
// the payload, and returns the payload's size.
static uint64_t read_payload(void) {
  uint64_t end = input_length(), i = 0, size = 0;
  while (i < end && input_load_u8(i) != '[') i++;
  while (i++ < end && size < LONGEST) {
    uint8_t byte = 0;
    for (uint8_t c; (c = input_load_u8(i)) >= '0' && c <= '9'; i++) byte = byte * 10 + (c - '0');
    payload[size++] = byte;
    if (input_load_u8(i) == ']') break;
  }
  return size;
}

__attribute__((export_name("astrid_hook_trigger"))) int32_t astrid_hook_trigger(void) {
  uint64_t size = read_payload();
  uint64_t configured = astrid_get_config(block("greeting", 8)), n = length(configured);
  if (n > sizeof(greeting)) {
    error_set(block("the greeting is too long", 24));
    return 1;
  }
  for (uint64_t i = 0; i < n; i++) greeting[i] = load_u8(configured + i);
  answer[0] = 0; // Continue
  char *end = greet(answer + 1, greeting, n, payload, size);
  output_set(block(answer, end - answer), end - answer);
  return 0;
}
