// A capsule in AssemblyScript, with the Extism AssemblyScript PDK.
//
// What each action does is written in ../README.md.
import { Config, Host, LogLevel, Memory, Var } from "@extism/as-pdk";

@external("extism:host/env", "error_set")
declare function error_set(text: u64): void;
@external("extism:host/env", "get_log_level")
declare function get_log_level(): i32;
@external("extism:host/env", "length")
declare function length(block: u64): u64;

@external("extism:host/user", "astrid_log")
declare function astrid_log(level: u64, message: u64): void;
@external("extism:host/user", "astrid_get_config")
declare function astrid_get_config(key: u64): u64;
@external("extism:host/user", "astrid_get_caller")
declare function astrid_get_caller(): u64;
@external("extism:host/user", "astrid_signal_ready")
declare function astrid_signal_ready(): void;
@external("extism:host/user", "astrid_clock_ms")
declare function astrid_clock_ms(): u64;
@external("extism:host/user", "astrid_trigger_hook")
declare function astrid_trigger_hook(request: u64): u64;
@external("extism:host/user", "astrid_check_capsule_capability")
declare function astrid_check_capsule_capability(request: u64): u64;

// stop is called by the compiler's code on a failure, instead of an import that hosts
// don't have.
function stop(message: string | null, file: string | null, line: u32, column: u32): void {
  error_set(Memory.allocateString(message ? message : "abort").offset);
  unreachable();
}

// text copies a kernel block, which it frees.
function text(block: u64): string {
  const memory = new Memory(block, length(block));
  const s = memory.toString();
  memory.free();
  return s;
}

// put copies a text into a new kernel block.
function put(s: string): u64 {
  return Memory.allocateString(s).offset;
}

// answer makes a tag and a text the output.
function answer(tag: u8, s: string): i32 {
  const bytes = Uint8Array.wrap(String.UTF8.encode(s));
  const out = new Uint8Array(bytes.length + 1);
  out[0] = tag;
  out.set(bytes, 1);
  Host.output(out);
  return 0;
}

function seven(key: string, uuid: string, topic: string): i32 {
  astrid_log(put("Warning"), put("all seven from AssemblyScript"));
  astrid_signal_ready();
  const config = text(astrid_get_config(put(key)));
  const caller = text(astrid_get_caller());
  const clock = text(astrid_clock_ms());
  const trigger = text(astrid_trigger_hook(put(`{"hook":"${topic}","payload":{"from":"AssemblyScript"}}`)));
  const capability = text(
    astrid_check_capsule_capability(put(`{"source_uuid":"${uuid}","capability":"allow_prompt_injection"}`))
  );
  return answer(
    0,
    `{"config":"${config}","caller":${caller},"clock":${clock},"trigger":${trigger},"capability":${capability}}`
  );
}

function extism(): i32 {
  const before = Var.getString("count");
  const count = (before === null ? 0 : i32.parse(before)) + 1;
  Var.set("count", Uint8Array.wrap(String.UTF8.encode(count.toString())));
  Host.log(LogLevel.Info, "by the PDK");
  const config = Config.get("greeting");
  return answer(
    1,
    `{"config":"${config === null ? "" : config}","count":${count.toString()},"level":${get_log_level().toString()}}`
  );
}

export function astrid_hook_trigger(): i32 {
  // {"name":ACTION,"arguments":[byte,byte,...]}, in either order.
  const input = Host.inputString();
  const name = input.indexOf('"name":"') + 8;
  const action = input.substring(name, input.indexOf('"', name));
  const list = input.indexOf('"arguments":[') + 13;
  const numbers = input.substring(list, input.indexOf("]", list)).split(",");
  const bytes = new Uint8Array(numbers[0] == "" ? 0 : numbers.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = u8(i32.parse(numbers[i]));
  const payload = String.UTF8.decode(bytes.buffer);

  if (action == "seven") {
    const words = payload.substring(1, payload.length - 1).split(" ");
    return seven(words[0], words[1], words[2]);
  }
  if (action == "extism") return extism();
  if (action == "echo") return answer(0, payload);
  if (action == "deny") return answer(2, "not today");
  if (action == "fail") {
    error_set(put("out of ink"));
    return 1;
  }
  if (action == "crash") throw new Error("a bug in AssemblyScript");
  return 2;
}
