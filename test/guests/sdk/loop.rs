//! A run loop that uses the bus through the types of the real SDK.

use astrid_sdk::prelude::*;
use astrid_sdk::types::{IpcMessage, IpcPayload};
use serde::Deserialize;
use serde_json::json;

#[derive(Default)]
pub struct Loop;

/// Envelope is what a subscription has.
#[derive(Deserialize)]
struct Envelope {
    messages: Vec<IpcMessage>,
}

#[capsule]
impl Loop {
    /// run answers requests, and tells what its interceptors have received. An interceptor
    /// of a run loop is a subscription with a handle.
    #[astrid::run]
    fn run(&self) -> Result<(), SysError> {
        let requests = ipc::subscribe("sdk.request.*")?;
        let bindings = interceptors::bindings()?;
        runtime::signal_ready()?;
        loop {
            let envelope: Envelope = serde_json::from_slice(&ipc::recv_bytes(&requests, 50)?)?;
            for request in envelope.messages {
                let answer = json!({ "answer_to": request.payload });
                ipc::publish_json(request.topic.replace("request", "response"), &answer)?;
            }
            let mut intercepted = Vec::new();
            interceptors::poll(&bindings, |action, bytes| {
                if let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes) {
                    for message in envelope.messages {
                        intercepted.push(json!({ "action": action, "topic": message.topic, "payload": message.payload }));
                    }
                }
            })?;
            for message in intercepted {
                ipc::publish_json("sdk.intercepted", &IpcPayload::RawJson(message))?;
            }
        }
    }
}
