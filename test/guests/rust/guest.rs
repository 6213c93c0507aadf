//! A capsule in Rust, with the Extism Rust PDK.
//!
//! What each action does is written in ../README.md.
use extism_pdk::*;
use serde::Deserialize;
use serde_json::{json, Value};

#[host_fn]
extern "ExtismHost" {
    fn astrid_log(level: String, message: String);
    fn astrid_get_config(key: String) -> String;
    fn astrid_get_caller() -> String;
    fn astrid_signal_ready();
    fn astrid_clock_ms() -> String;
    fn astrid_trigger_hook(request: Vec<u8>) -> Vec<u8>;
    fn astrid_check_capsule_capability(request: String) -> String;
}

#[derive(Deserialize, FromBytes)]
#[encoding(Json)]
struct Invocation {
    name: String,
    arguments: Vec<u8>,
}

fn tagged(tag: u8, data: &[u8]) -> Vec<u8> {
    [&[tag], data].concat()
}

#[plugin_fn]
pub fn astrid_hook_trigger(call: Invocation) -> FnResult<Vec<u8>> {
    match call.name.as_str() {
        "seven" => {
            let words: String = serde_json::from_slice(&call.arguments)?;
            let words: Vec<&str> = words.split(' ').collect();
            Ok(tagged(0, &unsafe { seven(words[0], words[1], words[2]) }?))
        }
        "extism" => {
            let count = var::get::<String>("count")?.map_or(0, |n| n.parse::<u32>().unwrap()) + 1;
            var::set("count", count.to_string())?;
            info!("by the {}", "PDK");
            let level = unsafe { extism::get_log_level() };
            let config = config::get("greeting")?.unwrap_or_default();
            let out = json!({ "config": config, "count": count, "level": level });
            Ok(tagged(1, out.to_string().as_bytes()))
        }
        "echo" => Ok(tagged(0, &call.arguments)),
        "deny" => Ok(tagged(2, b"not today")),
        "fail" => Err(Error::msg("out of ink").into()),
        "crash" => panic!("a bug in Rust"),
        _ => Err(WithReturnCode::new(Error::msg(""), 2)),
    }
}

unsafe fn seven(key: &str, uuid: &str, topic: &str) -> Result<Vec<u8>, Error> {
    astrid_log("Warning".into(), "all seven from Rust".into())?;
    astrid_signal_ready()?;
    let config = astrid_get_config(key.into())?;
    let caller = astrid_get_caller()?;
    let clock = astrid_clock_ms()?;
    let request = json!({ "hook": topic, "payload": { "from": "Rust" } });
    let trigger = astrid_trigger_hook(request.to_string().into_bytes())?;
    let request = json!({ "source_uuid": uuid, "capability": "allow_prompt_injection" });
    let capability = astrid_check_capsule_capability(request.to_string())?;
    Ok(serde_json::to_vec(&json!({
        "config": config,
        "caller": serde_json::from_str::<Value>(&caller)?,
        "clock": clock.parse::<u64>()?,
        "trigger": serde_json::from_slice::<Value>(&trigger)?,
        "capability": serde_json::from_str::<Value>(&capability)?,
    }))?)
}
