// What the capsule does, apart from its host, so that it can be tested without one.

// append copies size bytes to at, and returns the end.
static char *append(char *at, const char *bytes, unsigned long size) {
  while (size--) *at++ = *bytes++;
  return at;
}

#define APPEND(at, text) append(at, text, sizeof(text) - 1)

// greet writes an answer with the configured greeting and the payload, which is JSON, and
// returns its end. The answer is at most 32 bytes longer than both.
static char *greet(char *answer, const char *greeting, unsigned long greeting_size,
                   const char *payload, unsigned long payload_size) {
  char *at = APPEND(answer, "{\"say\":\"");
  at = append(at, greeting, greeting_size);
  at = APPEND(at, "\",\"to\":");
  at = append(at, payload, payload_size);
  return APPEND(at, "}");
}
