//! Uses the host through the types of the real SDK. Each interceptor answers with JSON
//! that says what it has seen.

use astrid_sdk::kv::Versioned;
use astrid_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

#[derive(Default)]
pub struct Guest;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Note {
    text: String,
    stars: u32,
}

#[capsule]
impl Guest {
    /// count adds one to a counter that outlives the instance.
    #[astrid::interceptor("count")]
    fn count(&self, _payload: Value) -> Result<Value, SysError> {
        let bytes = kv::get_bytes("count")?;
        let n: u64 = if bytes.is_empty() { 0 } else { serde_json::from_slice(&bytes)? };
        kv::set_json("count", &(n + 1))?;
        Ok(json!(n + 1))
    }

    /// state makes every call of the SDK's module kv.
    #[astrid::interceptor("state")]
    fn state(&self, _payload: Value) -> Result<Value, SysError> {
        kv::set_bytes("s/bytes", &[0, 255, 1])?;
        kv::set_json("s/json", &Note { text: "\"quoted\" ünïcode".into(), stars: 3 })?;
        kv::set_borsh("s/borsh", &vec![1u32, 2, 3])?;
        kv::set_versioned("s/old", &json!("one"), 1)?;
        let note: Note = kv::get_json("s/json")?;
        let numbers: Vec<u32> = kv::get_borsh("s/borsh")?;
        let migrated = kv::get_versioned_or_migrate("s/old", 2, |raw, from| {
            Ok(json!({ "was": raw, "from": from }))
        })?;
        let missing = matches!(kv::get_versioned::<Value>("s/none", 1)?, Versioned::NotFound);
        let keys = kv::list_keys("s/")?;
        kv::delete("s/bytes")?;
        kv::delete("s/bytes")?;
        let empty_key = kv::get_bytes("").is_err();
        let cleared = kv::clear_prefix("s/")?;
        Ok(json!({
            "note": note, "numbers": numbers, "migrated": migrated, "missing": missing, "keys": keys,
            "empty_key": empty_key, "cleared": cleared, "left": kv::list_keys("s/")?,
            "setting": env::var("greeting")?,
        }))
    }
}
