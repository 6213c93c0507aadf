import { Host, Memory } from "@extism/as-pdk";
import { greet } from "./reply";

@external("extism:host/env", "error_set")
declare function error_set(text: u64): void;
@external("extism:host/env", "length")
declare function length(block: u64): u64;
@external("extism:host/user", "astrid_get_config")
declare function astrid_get_config(key: u64): u64;

// The compiler calls stop for a failed assertion or an uncaught error. Without it the
// module would import env.abort, which the host does not have.
function stop(message: string | null, file: string | null, line: u32, column: u32): void {
  error_set(Memory.allocateString(message ? message : "abort").offset);
  unreachable();
}

function config(key: string): string {
  const block = astrid_get_config(Memory.allocateString(key).offset);
  return new Memory(block, length(block)).toString();
}

// payload returns the payload of the call: {"name":"greet","arguments":[123,34,...]}, one
// number for each byte.
function payload(): string {
  const input = Host.inputString();
  const list = input.indexOf('"arguments":[') + 13;
  const numbers = input.substring(list, input.indexOf("]", list)).split(",");
  const bytes = new Uint8Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) bytes[i] = u8(i32.parse(numbers[i]));
  return String.UTF8.decode(bytes.buffer);
}

export function astrid_hook_trigger(): i32 {
  const bytes = Uint8Array.wrap(String.UTF8.encode(greet(config("greeting"), payload())));
  const out = new Uint8Array(bytes.length + 1);
  out[0] = 0; // Continue
  out.set(bytes, 1);
  Host.output(out);
  return 0;
}
