//! Uses files, HTTP, identities, approvals, elicitation, uplinks, sockets and processes
//! through the types of the real SDK. Each interceptor answers with JSON that says what it
//! has seen.

use astrid_sdk::prelude::*;
use serde::Deserialize;
use serde_json::{json, Value};

#[derive(Default)]
pub struct Guest;

#[derive(Deserialize)]
struct Fetch {
    url: String,
}

#[capsule]
impl Guest {
    /// install asks for one value of each kind.
    #[astrid::install]
    fn install(&self) -> Result<(), SysError> {
        let seen = json!({
            "text": elicit::text("name", "Your name")?,
            "default": elicit::text_with_default("place", "Your place", "here")?,
            "select": elicit::select("network", "The network", &["main", "test"])?,
            "array": elicit::array("relays", "The relays")?,
            "before": elicit::has_secret("api_key")?,
        });
        elicit::secret("api_key", "The key")?;
        kv::set_json("before", &seen)?;
        kv::set_json("after", &elicit::has_secret("api_key")?)?;
        Ok(())
    }

    /// installed answers with what install was told.
    #[astrid::interceptor("installed")]
    fn installed(&self, _payload: Value) -> Result<Value, SysError> {
        Ok(json!({ "before": kv::get_json::<Value>("before")?, "after": kv::get_json::<bool>("after")? }))
    }

    /// files makes every call of the SDK's module fs.
    #[astrid::interceptor("files")]
    fn files(&self, _payload: Value) -> Result<Value, SysError> {
        fs::create_dir("home://notes")?;
        fs::write("home://notes/one", b"first")?;
        let text = fs::read_to_string("home://notes/one")?;
        let size = fs::metadata("home://notes/one")?.len();
        let names: Vec<String> = fs::read_dir("home://notes")?.map(|e| e.file_name().to_string()).collect();
        let denied = fs::read("home://other").is_err();
        fs::remove_file("home://notes/one")?;
        let left = fs::exists("home://notes/one")?;
        Ok(json!({ "text": text, "size": size, "names": names, "denied": denied, "left": left }))
    }

    /// fetch requests a URL, whole and as a stream.
    #[astrid::interceptor("fetch")]
    fn fetch(&self, to: Fetch) -> Result<Value, SysError> {
        let whole = http::send(&http::Request::get(&to.url))?;
        let stream = http::stream_start(&http::Request::get(&to.url))?;
        let mut streamed = Vec::new();
        while let Some(chunk) = http::stream_read(&stream.handle)? {
            streamed.extend(chunk);
        }
        http::stream_close(&stream.handle)?;
        Ok(json!({ "whole": whole.json::<Value>()?, "stream": stream.status, "streamed": String::from_utf8_lossy(&streamed) }))
    }

    /// people makes the calls about identities, and asks for an approval.
    #[astrid::interceptor("people")]
    fn people(&self, _payload: Value) -> Result<Value, SysError> {
        let id = identity::create_user(Some("Ada"))?;
        identity::link("Telegram", "42", &id, "test")?;
        let found = identity::resolve("telegram", "42")?.map(|u| u.user_id == id);
        let links = identity::list_links(&id)?.len();
        let removed = identity::unlink("telegram", "42")?;
        let asked = approval::request("deploy", "deploy to production", "high")?;
        Ok(json!({ "found": found, "links": links, "removed": removed, "approved": asked.approved, "decision": asked.decision }))
    }

    /// processes makes every call of the SDK's module process.
    #[astrid::interceptor("processes")]
    fn processes(&self, _payload: Value) -> Result<Value, SysError> {
        let whole = process::spawn("sh", &["-c", "echo out; echo err >&2; exit 3"])?;
        let background = process::spawn_background("sh", &["-c", "exec sleep 1000"])?;
        let logs = process::read_logs(background.id())?;
        let killed = process::kill(background.id())?;
        Ok(json!({
            "stdout": whole.stdout, "stderr": whole.stderr, "exit_code": whole.exit_code,
            "running": logs.running, "killed": killed.killed,
        }))
    }

    /// uplinks registers one, and hands a message over.
    #[astrid::interceptor("uplinks")]
    fn uplinks(&self, _payload: Value) -> Result<Value, SysError> {
        let id = uplink::register("bot", "Telegram", "chat")?;
        let sent: Value = serde_json::from_slice(&uplink::send_bytes(&id, "ada", b"hello")?)?;
        Ok(sent)
    }

    /// bind binds the socket, and says whether a client waits.
    #[astrid::interceptor("bind")]
    fn bind(&self, _payload: Value) -> Result<Value, SysError> {
        let listener = net::bind_unix("ignored")?;
        Ok(json!(net::try_accept(&listener)?.is_some()))
    }

    /// serve echoes one message of one client.
    #[astrid::interceptor("serve")]
    fn serve(&self, _payload: Value) -> Result<Value, SysError> {
        let listener = net::bind_unix("ignored")?;
        let stream = net::accept(&listener)?;
        let message = net::recv(&stream).map_err(|e| SysError::ApiError(e.to_string()))?;
        net::send(&stream, &message).map_err(|e| SysError::ApiError(e.to_string()))?;
        let pending = net::try_recv(&stream) == Err(net::TryRecvError::Empty);
        net::close(&stream)?;
        Ok(json!({ "message": String::from_utf8_lossy(&message), "pending": pending }))
    }
}
