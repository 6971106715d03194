//! What both HTTP transports answer before and beside the protocol.

use serde_json::json;

use crate::edge::{Head, Reply};
use crate::mcp::{RequestId, RpcError, error_reply};

/// A refusal in the words of HTTP: an object with `error` and `error_description`.
pub(super) fn problem(status: u16, code: &str, what: &str) -> Reply {
    let body = json!({ "error": code, "error_description": what });
    Reply::json(status, body.to_string().into_bytes())
}

/// A refusal in the words of JSON-RPC, with the id of the request where it could be read.
pub(super) fn refusal(status: u16, id: Option<&RequestId>, error: &RpcError) -> Reply {
    Reply::json(status, error_reply(id, error).into_bytes())
}

/// Errors: the body is not JSON by its own account, so that no web page sends it without asking.
pub(super) fn check_media_type(head: &Head) -> Result<(), Reply> {
    let media_type = head.field("content-type").and_then(|value| value.split(';').next());
    if media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(problem(415, "media_type", "send application/json"))
}
