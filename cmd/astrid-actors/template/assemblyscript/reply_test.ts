import { greet } from "./reply";

export function test(): void {
  const answer = greet("hej", `{"name":"Ada"}`);
  assert(answer == `{"say":"hej","to":{"name":"Ada"}}`, answer);
}
