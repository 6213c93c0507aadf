//! Hosts one capsule with the reference's own functions, as its kernel would.
//!
//! The first line of the input is a scene, each further one a call: `{"action", "payload"}`. It
//! prints a line for the scene and for each call: `ready`, or the result. The reference's
//! directory is the variable ASTRID_HOME.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use astrid_capsule::capsule::{CapsuleId, InterceptResult};
use astrid_capsule::context::CapsuleContext;
use astrid_capsule::discovery::load_manifest;
use astrid_capsule::engine::wasm::host_state::LifecyclePhase;
use astrid_capsule::engine::wasm::{LifecycleConfig, run_lifecycle};
use astrid_capsule::loader::CapsuleLoader;
use astrid_capsule::registry::CapsuleRegistry;
use astrid_core::PrincipalId;
use astrid_core::dirs::AstridHome;
use astrid_core::session_token::SessionToken;
use astrid_events::ipc::{IpcMessage, IpcPayload, OnboardingFieldType};
use astrid_events::{AstridEvent, EventBus, EventMetadata};
use astrid_storage::{KvIdentityStore, KvSecretStore, KvStore, MemoryKvStore, ScopedKvStore};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

/// Scene is what is hosted.
#[derive(Deserialize)]
struct Scene {
    capsule: PathBuf,
    workspace: PathBuf,
    /// Run astrid_install first.
    install: bool,
    /// What a person says to every request for approval.
    decision: String,
}

#[derive(Deserialize)]
struct Call {
    action: String,
    payload: String,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    tokio::spawn(serve()).await?
}

async fn serve() -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let scene: Scene = serde_json::from_str(&lines.next_line().await?.ok_or("there is no scene")?)?;
    let home = AstridHome::resolve()?;
    let principal = PrincipalId::default();
    let manifest = load_manifest(&scene.capsule.join("Capsule.toml"))?;
    let id = CapsuleId::new(manifest.package.name.clone())?;
    let store: Arc<dyn KvStore> = Arc::new(MemoryKvStore::new());
    let kv = ScopedKvStore::new(store.clone(), format!("{principal}:capsule:{id}"))?;
    let bus = Arc::new(EventBus::new());
    tokio::spawn(person(bus.clone(), scene.decision.clone()));

    let home_root = home.principal_home(&principal).root().to_path_buf();
    if scene.install {
        let cfg = LifecycleConfig {
            wasm_bytes: std::fs::read(scene.capsule.join(&manifest.components[0].path))?,
            capsule_id: id.clone(),
            workspace_root: scene.workspace.clone(),
            home_root: Some(home_root.clone()),
            kv: kv.clone(),
            event_bus: EventBus::clone(&bus),
            config: Default::default(),
            secret_store: Arc::new(KvSecretStore::new(kv.clone(), tokio::runtime::Handle::current())),
        };
        tokio::task::block_in_place(|| run_lifecycle(cfg, LifecyclePhase::Install, None))?;
    }

    let token = SessionToken::generate();
    token.write_to_file(&home.token_path())?;
    let listener = tokio::net::UnixListener::bind(home.socket_path())?;
    let registry = Arc::new(tokio::sync::RwLock::new(CapsuleRegistry::new()));
    let identities = KvIdentityStore::new(ScopedKvStore::new(store.clone(), "system:identity")?);
    let context = CapsuleContext::new(
        principal,
        scene.workspace,
        Some(home_root),
        kv,
        bus.clone(),
        Some(Arc::new(tokio::sync::Mutex::new(listener))),
    )
    .with_registry(registry.clone())
    .with_session_token(Arc::new(token))
    .with_allowance_store(Arc::new(astrid_approval::AllowanceStore::new()))
    .with_identity_store(Arc::new(identities));
    let loader = CapsuleLoader::new(astrid_mcp::testing::test_secure_mcp_client());
    let mut capsule = loader.create_capsule(manifest, scene.capsule)?;
    capsule.load(&context).await?;
    registry.write().await.register(capsule)?;
    let capsule = registry.read().await.get(&id).ok_or("it is not registered")?;

    say("ready");
    while let Some(line) = lines.next_line().await? {
        let call: Call = serde_json::from_str(&line)?;
        say(&match capsule.invoke_interceptor(&call.action, call.payload.as_bytes(), None) {
            Ok(InterceptResult::Continue(text)) => format!("continue {}", String::from_utf8_lossy(&text)),
            Ok(InterceptResult::Final(text)) => format!("final {}", String::from_utf8_lossy(&text)),
            Ok(InterceptResult::Deny { reason }) => format!("deny {reason}"),
            Err(err) => format!("error {err}"),
        });
    }
    Ok(())
}

/// say prints one line, as JSON.
fn say(text: &str) {
    println!("{}", serde_json::to_string(text).expect("a text"));
    std::io::stdout().flush().expect("the output is open");
}

/// person answers what capsules ask: approvals by the decision, questions by their kind.
async fn person(bus: Arc<EventBus>, decision: String) {
    let mut events = bus.subscribe();
    while let Some(event) = events.recv().await {
        let AstridEvent::Ipc { message, .. } = &*event else { continue };
        let (topic, payload) = match &message.payload {
            IpcPayload::ApprovalRequired { request_id, .. } => (
                format!("astrid.v1.approval.response.{request_id}"),
                IpcPayload::ApprovalResponse { request_id: request_id.clone(), decision: decision.clone(), reason: None },
            ),
            IpcPayload::ElicitRequest { request_id, field, .. } => {
                let (value, values) = match &field.field_type {
                    OnboardingFieldType::Enum(options) => (Some(options[1].clone()), None),
                    OnboardingFieldType::Array => (None, Some(vec!["one".into(), "two".into()])),
                    _ => (Some(field.default.clone().unwrap_or("given".into())), None),
                };
                (
                    format!("astrid.v1.elicit.response.{request_id}"),
                    IpcPayload::ElicitResponse { request_id: *request_id, value, values },
                )
            }
            _ => continue,
        };
        bus.publish(AstridEvent::Ipc { metadata: EventMetadata::new("person"), message: IpcMessage::new(topic, payload, Uuid::nil()) });
    }
}
