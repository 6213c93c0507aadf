//! A capsule without dependencies; extism-pdk and astrid-sdk work as well.

#[cfg(target_arch = "wasm32")]
mod host;

/// Answers with the configured greeting, and what it was given, which is JSON.
pub fn greet(greeting: &str, payload: &str) -> String {
    format!(r#"{{"say":"{greeting}","to":{payload}}}"#)
}

#[cfg(target_arch = "wasm32")]
#[no_mangle]
pub extern "C" fn astrid_hook_trigger() -> i32 {
    match host::invocation() {
        Some((action, payload)) if action == "greet" => {
            host::answer(&greet(&host::config("greeting"), &payload));
            0
        }
        _ => {
            host::fail("there is no such action");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn greets() {
        let answer = super::greet("hej", r#"{"name":"Ada"}"#);
        assert_eq!(answer, r#"{"say":"hej","to":{"name":"Ada"}}"#);
    }
}
