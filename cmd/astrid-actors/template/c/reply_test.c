#include <stdio.h>
#include <string.h>

#include "reply.h"

int main(void) {
  const char *payload = "{\"name\":\"Ada\"}";
  const char *want = "{\"say\":\"hej\",\"to\":{\"name\":\"Ada\"}}";
  char answer[100] = {0};
  *greet(answer, "hej", 3, payload, strlen(payload)) = 0;
  if (strcmp(answer, want) != 0) {
    fprintf(stderr, "got %s, want %s\n", answer, want);
    return 1;
  }
  puts("ok");
  return 0;
}
