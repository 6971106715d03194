//! Which era a message on `/mcp` is of. The body decides, the headers only cross-check
//! (2026-07-28, versioning and transports).
//!
//! Pure: a message and its headers in, a verdict out. The order of the checks is part of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::mcp::{Envelope, ErrorCode, Message, RequestId, Revision, RpcError};

/// The headers that repeat what the body says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    /// `MCP-Protocol-Version`.
    pub(super) version: Option<&'a str>,
    /// `Mcp-Method`.
    pub(super) method: Option<&'a str>,
    /// `Mcp-Name`.
    pub(super) name: Option<&'a str>,
}

/// What a message is.
#[derive(Debug, PartialEq)]
pub(super) enum Era {
    /// A request of 2026-07-28.
    Modern(Envelope),
    /// A notification of 2026-07-28: none means anything here.
    Dropped,
    /// Of a session, or the beginning of one.
    Legacy,
    /// Answer with this status, and with this error for the request of this id.
    Refused(u16, Option<RequestId>, RpcError),
}

/// Tells the era of one message.
pub(super) fn of(message: &Message, fields: Fields<'_>) -> Era {
    let header_is_modern = fields.version.is_some_and(is_modern);
    match message {
        Message::Response { .. } => Era::Legacy,
        Message::Request { id, method, params } => {
            let refused = |status, error| Era::Refused(status, Some(id.clone()), error);
            if !Envelope::is_claimed(params) || (method == "initialize" && !is_valid(params)) {
                return unclaimed(method, params, fields, header_is_modern)
                    .map_or(Era::Legacy, |error| refused(400, error));
            }
            match claimed(method, params, fields) {
                Ok(envelope) => Era::Modern(envelope),
                Err(error) => refused(400, error),
            }
        }
        Message::Notification { method, params } if Envelope::is_claimed(params) => {
            let checked = version_and_method(method, params, fields);
            match checked.and_then(|envelope| envelope.check_version()) {
                Ok(()) => Era::Dropped,
                Err(error) => Era::Refused(400, None, error),
            }
        }
        Message::Notification { .. } if header_is_modern => Era::Dropped,
        Message::Notification { .. } => match unknown_version(fields) {
            Some(error) => Era::Refused(400, None, error),
            None => Era::Legacy,
        },
    }
}

/// A request with an envelope.
fn claimed(
    method: &str,
    params: &Map<String, Value>,
    fields: Fields<'_>,
) -> Result<Envelope, RpcError> {
    let envelope = version_and_method(method, params, fields)?;
    envelope.check_version()?;
    if fields.version.is_none() {
        return Err(mismatch("the header MCP-Protocol-Version is missing".to_owned()));
    }
    if fields.method.is_none() {
        return Err(mismatch("the header Mcp-Method is missing".to_owned()));
    }
    let named = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return Ok(envelope),
    };
    let Some(name) = fields.name else {
        return Err(mismatch("the header Mcp-Name is missing".to_owned()));
    };
    let Some(decoded) = decoded(name) else {
        return Err(mismatch("the header Mcp-Name is no canonical base64 of UTF-8".to_owned()));
    };
    if params.get(named).and_then(Value::as_str) != Some(decoded.as_str()) {
        return Err(mismatch(format!("the header Mcp-Name is not params.{named}")));
    }
    Ok(envelope)
}

/// The checks that come before the version is looked at.
fn version_and_method(
    method: &str,
    params: &Map<String, Value>,
    fields: Fields<'_>,
) -> Result<Envelope, RpcError> {
    let envelope = Envelope::read(params)?;
    if fields.version.is_some_and(|version| version != envelope.version) {
        let what = "the header MCP-Protocol-Version is not the version in params._meta";
        return Err(mismatch(what.to_owned()));
    }
    if fields.method.is_some_and(|named| named != method) {
        return Err(mismatch("the header Mcp-Method is not the method of the body".to_owned()));
    }
    Ok(envelope)
}

/// What is wrong with a request without an envelope, where anything is.
fn unclaimed(
    method: &str,
    params: &Map<String, Value>,
    fields: Fields<'_>,
    header_is_modern: bool,
) -> Option<RpcError> {
    if !header_is_modern {
        // The handshake itself says what is spoken.
        return if method == "initialize" { None } else { unknown_version(fields) };
    }
    if method == "initialize" {
        let what = "the header MCP-Protocol-Version names a revision without initialize";
        return Some(mismatch(what.to_owned()));
    }
    // Never upgraded on the word of a header alone; says which key is missing.
    Envelope::read(params).err()
}

fn unknown_version(fields: Fields<'_>) -> Option<RpcError> {
    let version = fields.version?;
    let known = Revision::known(version).is_some();
    (!known).then(|| {
        let served: Vec<&str> = Revision::LEGACY.iter().map(|it| it.as_str()).collect();
        let what = format!("MCP-Protocol-Version is none of {}", served.join(", "));
        RpcError::new(ErrorCode::INVALID_REQUEST, what)
    })
}

fn is_valid(params: &Map<String, Value>) -> bool {
    Envelope::read(params).is_ok()
}

/// A date, and not before the first revision without a handshake.
fn is_modern(version: &str) -> bool {
    let is_date = version.len() == 10
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && version >= Revision::MODERN.as_str()
}

fn mismatch(what: String) -> RpcError {
    RpcError::new(ErrorCode::HEADER_MISMATCH, what)
}

/// A header value as it is, or from `=?base64?…?=`. `None`: its base64 is not canonical.
fn decoded(value: &str) -> Option<String> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="))
    else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(method: &str, version: Option<&str>) -> Message {
        let mut params = Map::new();
        if let Some(version) = version {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.insert("_meta".into(), meta);
        }
        params.insert("name".into(), "chät".into());
        let Some(id) = RequestId::read(&json!(7)) else { panic!("no id") };
        Message::Request { id, method: method.to_owned(), params }
    }

    fn fields<'a>(version: &'a str, method: &'a str, name: &'a str) -> Fields<'a> {
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        Fields { version: some(version), method: some(method), name: some(name) }
    }

    fn code(era: &Era) -> i32 {
        match era {
            Era::Modern(_) => 1,
            Era::Legacy => 2,
            Era::Dropped => 3,
            Era::Refused(status, _, error) => {
                assert_eq!(*status, 400);
                error.code.0
            }
        }
    }

    const NEW: &str = "2026-07-28";
    const OLD: &str = "2025-11-25";

    #[test]
    fn the_rows_of_the_table_for_requests() {
        let m = message;
        let cases = [
            // initialize
            (m("initialize", None), fields("", "", ""), 2),
            (m("initialize", None), fields("1999-01-01", "", ""), 2),
            (m("initialize", None), fields(NEW, "initialize", ""), -32020),
            (m("initialize", Some(NEW)), fields(NEW, "initialize", ""), 1),
            // an envelope
            (m("tools/list", Some(NEW)), fields(NEW, "tools/list", ""), 1),
            (m("tools/list", Some("v999.0.0")), fields(NEW, "tools/list", ""), -32020),
            (m("tools/list", Some("v999.0.0")), fields("v999.0.0", "tools/list", ""), -32022),
            (m("tools/list", Some(OLD)), fields(OLD, "tools/list", ""), -32022),
            (m("tools/list", Some(NEW)), fields(NEW, "TOOLS/LIST", ""), -32020),
            (m("tools/list", Some(NEW)), fields("", "tools/list", ""), -32020),
            (m("tools/list", Some(NEW)), fields(NEW, "", ""), -32020),
            (m("tools/call", Some(NEW)), fields(NEW, "tools/call", ""), -32020),
            (m("tools/call", Some(NEW)), fields(NEW, "tools/call", "chat"), -32020),
            (m("tools/call", Some(NEW)), fields(NEW, "tools/call", "=?base64?Y2jDpHQ=?="), 1),
            (m("tools/call", Some(NEW)), fields(NEW, "tools/call", "=?base64?Y2jDpHQ?="), -32020),
            (m("tools/call", Some(NEW)), fields(NEW, "tools/call", "=?base64?Y2jD!HQ=?="), -32020),
            // none
            (m("tools/list", None), fields(NEW, "", ""), -32602),
            (m("tools/list", None), fields("2030-01-01", "", ""), -32602),
            (m("tools/list", None), fields(OLD, "", ""), 2),
            (m("tools/list", None), fields("", "", ""), 2),
            (m("tools/list", None), fields("v999.0.0", "", ""), -32600),
            (m("server/discover", None), fields("", "", ""), 2),
        ];
        for (message, fields, wanted) in cases {
            assert_eq!(code(&of(&message, fields)), wanted, "{message:?} {fields:?}");
        }
    }

    #[test]
    fn an_envelope_without_capabilities_is_refused_before_its_version() {
        let Message::Request { id, method, .. } = message("tools/list", None) else { panic!() };
        let meta = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "v9" } });
        let Value::Object(params) = meta else { panic!() };
        let era = of(&Message::Request { id, method, params }, fields(NEW, "", ""));
        assert_eq!(code(&era), -32602);
    }

    #[test]
    fn notifications_and_responses_find_their_era() {
        let note = |version| {
            let Message::Request { params, .. } = message("x", version) else { panic!() };
            Message::Notification { method: "notifications/x".into(), params }
        };
        assert_eq!(code(&of(&note(Some(NEW)), fields(NEW, "", ""))), 3);
        assert_eq!(code(&of(&note(Some(OLD)), fields(OLD, "", ""))), -32022);
        assert_eq!(code(&of(&note(None), fields(NEW, "", ""))), 3);
        assert_eq!(code(&of(&note(None), fields(OLD, "", ""))), 2);
        assert_eq!(code(&of(&note(None), fields("x", "", ""))), -32600);
        let response = Message::Response { id: None, outcome: Ok(json!({})) };
        assert_eq!(code(&of(&response, fields(NEW, "", ""))), 2);
    }
}
