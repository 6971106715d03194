//! The published schema of each revision, as a check of what the server sends. The files are in
//! `tests/data/schema`.
#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonschema::Validator;
use local_llm_mcp::worker::lock;
use serde_json::{Value, json};

/// A revision by its date; dates sort as revisions do.
pub(crate) type Revision = &'static str;

/// The newest that opens with `initialize`.
pub(crate) const NEWEST_LEGACY: Revision = "2025-11-25";
/// The one that has no handshake.
pub(crate) const MODERN: Revision = "2026-07-28";

const SCHEMAS: [(Revision, &str); 5] = [
    ("2024-11-05", include_str!("../../data/schema/2024-11-05/schema.json")),
    ("2025-03-26", include_str!("../../data/schema/2025-03-26/schema.json")),
    ("2025-06-18", include_str!("../../data/schema/2025-06-18/schema.json")),
    (NEWEST_LEGACY, include_str!("../../data/schema/2025-11-25/schema.json")),
    (MODERN, include_str!("../../data/schema/2026-07-28/schema.json")),
];

/// The revision with this date.
pub(crate) fn revision(date: &str) -> Option<Revision> {
    SCHEMAS.iter().map(|(revision, _)| *revision).find(|revision| *revision == date)
}

/// Holds one message of the server against its type in `revision`. `method` is that of the request
/// which it answers, where there is one. Errors: what does not conform, in the validator's words.
pub(crate) fn check(
    revision: Revision,
    method: Option<&str>,
    message: &Value,
) -> Result<(), String> {
    let types = types(revision, method, message)?;
    for (at, name) in types {
        let part = message.pointer(at).unwrap();
        let validator = validator(revision, name);
        let wrong: Vec<String> = validator
            .iter_errors(part)
            .map(|error| format!("{at}{}: {error}", error.instance_path()))
            .collect();
        if !wrong.is_empty() {
            return Err(format!("no {name} of {revision}: {}", wrong.join("; ")));
        }
    }
    Ok(())
}

/// The types that a message, or the part of it behind a pointer, must be of.
fn types(
    revision: Revision,
    method: Option<&str>,
    message: &Value,
) -> Result<Vec<(&'static str, &'static str)>, String> {
    let has = |member: &str| message.get(member).is_some();
    let named = message.get("method").and_then(Value::as_str);
    match (has("method"), has("result"), has("error")) {
        (true, false, false) if has("id") => {
            let own = request(revision, named.unwrap_or_default())?;
            Ok(vec![("", "JSONRPCRequest"), ("", own)])
        }
        (true, false, false) => {
            let own = notification(revision, named.unwrap_or_default())?;
            Ok(vec![("", "JSONRPCNotification"), ("", own)])
        }
        (false, true, false) => {
            let method = method.ok_or("a result that answers no request")?;
            let result = message.get("result").unwrap();
            let own = result_type(revision, method, result)?;
            if own == "EmptyResult" && revision < MODERN && *result != json!({}) {
                // The schema leaves every object open, clients do not: the suite wants no member.
                return Err(format!("the result of {method} is not empty"));
            }
            let envelope =
                if revision < NEWEST_LEGACY { "JSONRPCResponse" } else { "JSONRPCResultResponse" };
            Ok(vec![("", envelope), ("/result", own)])
        }
        (false, false, true) => Ok(vec![("", error(revision, message))]),
        _ => Err("no request, notification, result or error".to_owned()),
    }
}

/// What the server may ask for.
fn request(revision: Revision, method: &str) -> Result<&'static str, String> {
    match method {
        "ping" if revision < MODERN => Ok("PingRequest"),
        "sampling/createMessage" if revision < MODERN => Ok("CreateMessageRequest"),
        "roots/list" if revision < MODERN => Ok("ListRootsRequest"),
        "elicitation/create" if ("2025-06-18"..MODERN).contains(&revision) => Ok("ElicitRequest"),
        _ => Err(format!("{revision} has no request {method:?} of a server")),
    }
}

/// What the server may tell.
fn notification(revision: Revision, method: &str) -> Result<&'static str, String> {
    match method {
        "notifications/cancelled" => Ok("CancelledNotification"),
        "notifications/progress" => Ok("ProgressNotification"),
        "notifications/message" => Ok("LoggingMessageNotification"),
        "notifications/resources/updated" => Ok("ResourceUpdatedNotification"),
        "notifications/resources/list_changed" => Ok("ResourceListChangedNotification"),
        "notifications/tools/list_changed" => Ok("ToolListChangedNotification"),
        "notifications/prompts/list_changed" => Ok("PromptListChangedNotification"),
        "notifications/elicitation/complete" if revision == NEWEST_LEGACY => {
            Ok("ElicitationCompleteNotification")
        }
        "notifications/subscriptions/acknowledged" if revision == MODERN => {
            Ok("SubscriptionsAcknowledgedNotification")
        }
        _ => Err(format!("{revision} has no notification {method:?} of a server")),
    }
}

/// What answers a method.
fn result_type(revision: Revision, method: &str, result: &Value) -> Result<&'static str, String> {
    let modern = revision == MODERN;
    let asks = result.get("resultType").is_some_and(|kind| kind == "input_required");
    match method {
        "tools/call" | "prompts/get" | "resources/read" if modern && asks => {
            Ok("InputRequiredResult")
        }
        "tools/list" => Ok("ListToolsResult"),
        "tools/call" => Ok("CallToolResult"),
        "resources/list" => Ok("ListResourcesResult"),
        "resources/templates/list" => Ok("ListResourceTemplatesResult"),
        "resources/read" => Ok("ReadResourceResult"),
        "prompts/list" => Ok("ListPromptsResult"),
        "prompts/get" => Ok("GetPromptResult"),
        "completion/complete" => Ok("CompleteResult"),
        "server/discover" if modern => Ok("DiscoverResult"),
        "subscriptions/listen" if modern => Ok("SubscriptionsListenResult"),
        "initialize" if !modern => Ok("InitializeResult"),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe"
            if !modern =>
        {
            Ok("EmptyResult")
        }
        _ => Err(format!("{revision} has no result of {method:?}")),
    }
}

/// An error by its code, where the revision has a type for it.
fn error(revision: Revision, message: &Value) -> &'static str {
    let code = message.pointer("/error/code").and_then(Value::as_i64);
    match code {
        _ if revision < NEWEST_LEGACY => "JSONRPCError",
        Some(-32042) if revision == NEWEST_LEGACY => "URLElicitationRequiredError",
        Some(-32020) if revision == MODERN => "HeaderMismatchError",
        Some(-32021) if revision == MODERN => "MissingRequiredClientCapabilityError",
        Some(-32022) if revision == MODERN => "UnsupportedProtocolVersionError",
        _ => "JSONRPCErrorResponse",
    }
}

/// The validator of one type; made once.
fn validator(revision: Revision, name: &'static str) -> Arc<Validator> {
    type Made = HashMap<(Revision, &'static str), Arc<Validator>>;
    static MADE: Mutex<Option<Made>> = Mutex::new(None);
    let mut made = lock(&MADE);
    let made = made.get_or_insert_default();
    let validator = made.entry((revision, name)).or_insert_with(|| {
        let (_, text) = SCHEMAS.iter().find(|(date, _)| *date == revision).unwrap();
        let mut schema: Value = serde_json::from_str(text).unwrap();
        let types = if revision < NEWEST_LEGACY { "definitions" } else { "$defs" };
        assert!(schema.pointer(&format!("/{types}/{name}")).is_some(), "{revision} has no {name}");
        schema.as_object_mut().unwrap().insert("$ref".into(), format!("#/{types}/{name}").into());
        let validator = jsonschema::options().should_validate_formats(true).build(&schema);
        Arc::new(validator.unwrap())
    });
    Arc::clone(validator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(result: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": 1, "result": result })
    }

    /// What the check says of a message that it must refuse.
    fn refused(revision: Revision, method: &str, message: &Value) -> String {
        let Err(why) = check(revision, Some(method), message) else {
            panic!("{message} passes as an answer to {method}");
        };
        why
    }

    #[test]
    fn a_result_without_its_type_is_refused_where_the_revision_has_one() {
        let call = json!({ "content": [{ "type": "text", "text": "hi" }] });
        for (revision, _) in SCHEMAS.iter().filter(|(revision, _)| *revision < MODERN) {
            assert_eq!(check(revision, Some("tools/call"), &response(&call)), Ok(()));
        }
        let why = refused(MODERN, "tools/call", &response(&call));
        assert!(why.contains("\"resultType\" is a required property"), "{why}");
        let mut list = json!({ "resultType": "complete", "tools": [], "ttlMs": 0 });
        let why = refused(MODERN, "tools/list", &response(&list));
        assert!(why.contains("\"cacheScope\" is a required property"), "{why}");
        list["cacheScope"] = "private".into();
        assert_eq!(check(MODERN, Some("tools/list"), &response(&list)), Ok(()));
    }

    #[test]
    fn null_is_no_id_and_no_cursor() {
        for (revision, _) in SCHEMAS {
            let error = json!({ "code": -32600, "message": "no" });
            let null = json!({ "jsonrpc": "2.0", "id": null, "error": error });
            assert!(refused(revision, "ping", &null).contains("/id: null is not"), "{revision}");
            let list = json!({
                "tools": [], "nextCursor": null,
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            });
            let why = refused(revision, "tools/list", &response(&list));
            assert!(why.contains("/result/nextCursor: null is not of type"), "{why}");
        }
        let error = json!({ "code": -32600, "message": "no" });
        let without = json!({ "jsonrpc": "2.0", "error": error });
        assert!(check("2025-06-18", None, &without).is_err());
        assert_eq!(check(NEWEST_LEGACY, None, &without), Ok(()));
        assert_eq!(check(MODERN, None, &without), Ok(()));
    }

    #[test]
    fn what_a_revision_does_not_have_is_refused() {
        let audio = json!({ "content": [{ "type": "audio", "data": "aGk=", "mimeType": "a/b" }] });
        refused("2024-11-05", "tools/call", &response(&audio));
        assert_eq!(check("2025-03-26", Some("tools/call"), &response(&audio)), Ok(()));
        refused(MODERN, "ping", &response(&json!({ "resultType": "complete" })));
        refused("2025-11-25", "server/discover", &response(&json!({})));
        refused("2025-11-25", "ping", &response(&json!({ "_meta": {} })));
        refused("2025-11-25", "no/such", &response(&json!({})));
        let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        assert_eq!(check("2025-11-25", None, &ping), Ok(()));
        assert!(check(MODERN, None, &ping).is_err());
        assert!(check("2025-11-25", None, &response(&json!({}))).is_err());
    }

    #[test]
    fn errors_and_notifications_are_held_against_their_own_types() {
        let mut error =
            json!({ "code": -32022, "message": "no", "data": { "supported": [MODERN] } });
        let whole = |error: &Value| json!({ "jsonrpc": "2.0", "id": 1, "error": error });
        refused(MODERN, "tools/list", &whole(&error));
        error["data"]["requested"] = "1.0".into();
        assert_eq!(check(MODERN, Some("tools/list"), &whole(&error)), Ok(()));
        let needs =
            json!({ "code": -32021, "message": "no", "data": { "requiredCapabilities": [] } });
        refused(MODERN, "tools/call", &whole(&needs));
        refused("2025-11-25", "ping", &whole(&json!({ "code": "x", "message": "no" })));
        let progress = |token: Value| {
            let params = json!({ "progressToken": token, "progress": 1 });
            json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
        };
        for (revision, _) in SCHEMAS {
            assert_eq!(check(revision, None, &progress(json!(7))), Ok(()));
            assert!(check(revision, None, &progress(json!(1.5))).is_err());
        }
        let unknown = json!({ "jsonrpc": "2.0", "method": "notifications/x" });
        assert!(check("2025-11-25", None, &unknown).is_err());
    }
}
