use extism_pdk::*;
use serde::Deserialize;
use serde_json::{json, Value};

#[host_fn("extism:host/user")]
extern "ExtismHost" {
    fn astrid_get_config(key: String) -> String;
}

#[derive(Deserialize, FromBytes)]
#[encoding(Json)]
struct Invocation {
    name: String,       // the action
    arguments: Vec<u8>, // the payload
}

#[plugin_fn]
pub fn astrid_hook_trigger(call: Invocation) -> FnResult<Vec<u8>> {
    if call.name != "greet" {
        return Err(Error::msg(format!("no action {}", call.name)).into());
    }
    let to: Value = serde_json::from_slice(&call.arguments)?;
    let say = unsafe { astrid_get_config("greeting".into())? };
    let mut answer = vec![0]; // Continue
    answer.extend(serde_json::to_vec(&json!({ "say": say, "to": to }))?);
    Ok(answer)
}
