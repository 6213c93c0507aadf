//! Uses the host through the types of the real SDK. Each interceptor answers with JSON
//! that says what it has seen.

use astrid_sdk::kv::Versioned;
use astrid_sdk::prelude::*;
use astrid_sdk::types::{IpcMessage, IpcPayload};
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

    /// record appends the payload, a number, to a list in the state, and publishes it: what
    /// a durable interceptor does whose every call should leave a trace.
    #[astrid::interceptor("record")]
    fn record(&self, payload: Value) -> Result<Value, SysError> {
        let mut list = kv::get_bytes("recorded")?;
        list.extend_from_slice(format!("{payload} ").as_bytes());
        kv::set_bytes("recorded", &list)?;
        Ok(Value::Null)
    }

    /// bus publishes, and reads back what it has subscribed to, by poll and by recv.
    #[astrid::interceptor("bus")]
    fn bus(&self, _payload: Value) -> Result<Value, SysError> {
        let all = ipc::subscribe("sdk.echo.*")?;
        let one = ipc::subscribe("sdk.echo.one")?;
        ipc::publish_json("sdk.echo.one", &Note { text: "<ünïcode>".into(), stars: 1 })?;
        ipc::publish_bytes("sdk.echo.two", b"[1, 2.50, null]")?;
        ipc::publish_json("sdk.echo.three", &IpcPayload::RawJson(json!({ "k": "v" })))?;
        let polled = envelope(&ipc::poll_bytes(&one)?)?;
        let received = envelope(&ipc::recv_bytes(&all, 1000)?)?;
        let empty = envelope(&ipc::poll_bytes(&all)?)?;
        let late = envelope(&ipc::recv_bytes(&one, 1)?)?;
        ipc::unsubscribe(&one)?;
        ipc::unsubscribe(&all)?;
        Ok(json!({
            "polled": polled, "received": received, "empty": empty, "late": late,
            "bindings": interceptors::bindings()?.len(), "handle": all.as_bytes().len() > 0,
        }))
    }

    /// msgpack publishes in the SDK's third way, which no host of the 0.5 line accepts.
    #[astrid::interceptor("msgpack")]
    fn msgpack(&self, _payload: Value) -> Result<Value, SysError> {
        ipc::publish_msgpack("sdk.echo.one", &json!({ "n": 1 }))?;
        Ok(json!("published"))
    }
}

/// envelope returns the messages of an envelope, each with the fields that do not change
/// from run to run, as the types of the SDK's own crate read them.
fn envelope(bytes: &[u8]) -> Result<Vec<Value>, SysError> {
    #[derive(Deserialize)]
    struct Envelope {
        messages: Vec<Value>,
        dropped: u64,
        lagged: u64,
    }
    let read: Envelope = serde_json::from_slice(bytes)?;
    if read.dropped + read.lagged > 0 {
        return Err(SysError::ApiError(format!("{} dropped, {} lagged", read.dropped, read.lagged)));
    }
    read.messages
        .into_iter()
        .map(|message| {
            let typed: IpcMessage = serde_json::from_value(message.clone())?;
            Ok(json!({ "topic": typed.topic, "payload": typed.payload, "principal": message["principal"] }))
        })
        .collect()
}
