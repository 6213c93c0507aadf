// What the capsule does, apart from its host, so that it can be tested without one.

// greet answers with the configured greeting, and what it was given, which is JSON.
export function greet(greeting: string, payload: string): string {
  return `{"say":"${greeting}","to":${payload}}`;
}
