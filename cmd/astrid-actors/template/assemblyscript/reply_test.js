// Runs reply_test.ts, which was compiled to reply_test.wasm.
import { readFile } from "node:fs/promises";

let exports;

// text returns a string of AssemblyScript's: UTF-16, with its size before it.
function text(at) {
  const size = new Uint32Array(exports.memory.buffer)[(at - 4) >>> 2];
  return String.fromCharCode(...new Uint16Array(exports.memory.buffer, at, size >>> 1));
}

const env = {
  abort(message) {
    throw new Error("got " + text(message));
  },
};
const module = await WebAssembly.instantiate(await readFile("reply_test.wasm"), { env });
exports = module.instance.exports;
exports.test();
console.log("ok");
