//! The host's calls that this capsule needs. Blocks of the memory that is shared with the
//! host are named by their offset; docs/capsules.md of astrid-actors describes all calls.

mod env {
    #[link(wasm_import_module = "extism:host/env")]
    extern "C" {
        pub fn alloc(size: u64) -> u64;
        pub fn length(block: u64) -> u64;
        pub fn load_u8(at: u64) -> u8;
        pub fn store_u8(at: u64, byte: u8);
        pub fn input_length() -> u64;
        pub fn input_load_u8(index: u64) -> u8;
        pub fn output_set(at: u64, size: u64);
        pub fn error_set(block: u64);
    }
}

mod user {
    #[link(wasm_import_module = "extism:host/user")]
    extern "C" {
        pub fn astrid_get_config(key: u64) -> u64;
    }
}

/// A new block with these bytes.
fn block(bytes: &[u8]) -> u64 {
    unsafe {
        let at = env::alloc(bytes.len() as u64);
        for (i, byte) in bytes.iter().enumerate() {
            env::store_u8(at + i as u64, *byte);
        }
        at
    }
}

/// The action and the payload of the call: {"name":"greet","arguments":[123,34,...]}, one
/// number for each byte of the payload.
pub fn invocation() -> Option<(String, String)> {
    let bytes: Vec<u8> = unsafe { (0..env::input_length()).map(|i| env::input_load_u8(i)).collect() };
    let input = String::from_utf8(bytes).ok()?;
    let (_, rest) = input.split_once(r#""name":""#)?;
    let (action, rest) = rest.split_once('"')?;
    let (_, numbers) = rest.split_once(r#""arguments":["#)?;
    let (numbers, _) = numbers.split_once(']')?;
    let payload: Result<Vec<u8>, _> = numbers.split(',').map(str::parse).collect();
    Some((action.to_owned(), String::from_utf8(payload.ok()?).ok()?))
}

/// A configuration value; empty if there is none.
pub fn config(key: &str) -> String {
    unsafe {
        let value = user::astrid_get_config(block(key.as_bytes()));
        let bytes = (0..env::length(value)).map(|i| env::load_u8(value + i)).collect();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// Answers Continue with JSON.
pub fn answer(json: &str) {
    let mut bytes = vec![0]; // Continue
    bytes.extend(json.as_bytes());
    unsafe { env::output_set(block(&bytes), bytes.len() as u64) }
}

/// Reports a failure. The instance goes on.
pub fn fail(reason: &str) {
    unsafe { env::error_set(block(reason.as_bytes())) }
}
