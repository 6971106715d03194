//! The tool `server_status`, and what the resource of the status tells of one upstream.

use serde_json::Value;

use crate::mcp::{CallContext, CallToolResult, SERVER_NAME, SERVER_VERSION, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::generate::milliseconds;
use crate::tools::model_view::loaded;
use crate::tools::outcome::{Failure, data, insert, object};
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Listed, UpstreamError};

/// Asks the upstreams and tells how they are.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let name = arguments.text("upstream")?;
    let fleet = toolbox.fleet();
    let lists = match name {
        Some(_) => {
            let upstream = fleet.named(name)?;
            let models = upstream.list_models(context.cancel);
            vec![Listed { upstream: std::sync::Arc::clone(upstream), models }]
        }
        None => fleet.lists(context.cancel),
    };
    let upstreams: Vec<Value> = lists.iter().map(told).collect();
    Ok(data(&object!({
        "upstreams": upstreams,
        "server": object!({
            "name": SERVER_NAME,
            "version": SERVER_VERSION,
            "uptime_s": toolbox.usage().uptime().as_secs(),
        }),
    })))
}

fn told(listed: &Listed) -> Value {
    let upstream = &listed.upstream;
    let state = upstream.state();
    let list = listed.models.as_deref().ok();
    let needs_token = matches!(listed.models, Err(UpstreamError::Auth { .. }));
    let failed = listed.models.as_ref().err();
    object!({
        "name": upstream.name(),
        "base_url": upstream.base_url().as_str(),
        "kind": state.kind.map(|kind| kind.to_string()),
        "reachable": state.reachable,
        "latency_ms": state.latency.map(milliseconds),
        "version_hint": state.version,
        "auth": match (needs_token, upstream.has_token()) {
            (true, true) => "refused",
            (true, false) => "missing",
            (false, true) => "token",
            (false, false) => "none",
        },
        "loaded": list.and_then(loaded),
        "model_count": list.map(|list| list.models.len()),
        "queue": object!({ "running": state.load.running, "waiting": state.load.waiting }),
        "last_error": state.last_error.map(|error| object!({
            "code": error.code, "message": error.text, "age_s": error.age.as_secs(),
        })),
        "next_step": failed.map(|error| error.next_step(upstream.known_kind())),
    })
}

/// What the resource tells of one upstream.
pub(super) fn as_resource(listed: &Listed) -> Value {
    let state = listed.upstream.state();
    let list = listed.models.as_deref().ok();
    let last_error = state.last_error.map(|error| {
        object!({
            "code": error.code, "message": error.text, "ageSeconds": error.age.as_secs(),
        })
    });
    let mut told = object!({
        "name": listed.upstream.name(),
        "url": listed.upstream.base_url().as_str(),
        "kind": state.kind.map(|kind| kind.to_string()),
        "reachable": state.reachable,
        "latencyMs": state.latency.map(milliseconds),
        "modelCount": list.map(|list| list.models.len()),
        "modelsLoaded": list.and_then(loaded),
        "running": state.load.running,
        "waiting": state.load.waiting,
        "lastSuccessAgeSeconds": state.last_success_age.map(|age| age.as_secs()),
        "lastError": last_error,
    });
    insert(&mut told, "error", error_of(listed));
    told
}

/// Why its list could not be had, as data.
fn error_of(listed: &Listed) -> Option<Value> {
    let error = listed.models.as_ref().err()?;
    let told = object!({
        "code": error.code(), "message": error.to_string(),
        "details": object!({ "suggestion": error.next_step(listed.upstream.known_kind()) }),
        "upstream": listed.upstream.name(), "retryable": error.is_retryable(),
    });
    Some(told)
}
