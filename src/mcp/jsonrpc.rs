//! JSON-RPC 2.0 messages: bytes to typed values and back, ids kept with their type.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::volume;

/// A request's id: a string or an integer, never null (all revisions, "Requests").
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum RequestId {
    /// An integer; comes back as the integer that it was.
    Number(Number),
    /// A string.
    String(String),
}

impl RequestId {
    /// Errors: anything but a string or an integer.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                Some(Self::Number(number.clone()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for RequestId {
    /// Strings are quoted, so that `92` and `"92"` differ in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => write!(f, "{text:?}"),
        }
    }
}

/// A JSON-RPC error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCode(pub i32);

impl ErrorCode {
    /// The bytes are not JSON.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// JSON, but no JSON-RPC message.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// No such method here.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
    /// The parameters do not fit the method.
    pub const INVALID_PARAMS: Self = Self(-32602);
    /// A bug of ours, or a limit of ours.
    pub const INTERNAL_ERROR: Self = Self(-32603);
    /// No such resource (until 2025-11-25; later it is [`Self::INVALID_PARAMS`]).
    pub const RESOURCE_NOT_FOUND: Self = Self(-32002);
    /// Headers and body of a request differ (2026-07-28, transports).
    pub const HEADER_MISMATCH: Self = Self(-32020);
    /// The client cannot do what the call needs (2026-07-28).
    pub const MISSING_CAPABILITY: Self = Self(-32021);
    /// The revision that a request names is not served (2026-07-28, versioning).
    pub const UNSUPPORTED_VERSION: Self = Self(-32022);
}

/// A protocol error as it goes out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RpcError {
    /// What kind.
    pub code: ErrorCode,
    /// For people.
    pub message: Cow<'static, str>,
    /// For programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same with data.
    #[must_use]
    pub fn with(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.0)
    }
}

impl std::error::Error for RpcError {}

/// One message from a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Wants an answer.
    Request {
        /// Its id.
        id: RequestId,
        /// What is asked.
        method: String,
        /// `params`; empty when absent.
        params: Map<String, Value>,
    },
    /// Wants none.
    Notification {
        /// What is told.
        method: String,
        /// `params`; empty when absent.
        params: Map<String, Value>,
    },
    /// An answer to a request of ours.
    Response {
        /// Which request it answers; nothing when that cannot be read.
        id: Option<RequestId>,
        /// Its `result`, or its `error`.
        outcome: Result<Value, Value>,
    },
}

/// What one body holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// One message.
    One(Message),
    /// A batch (JSON-RPC 2.0, section 6; in MCP only 2025-03-26 has it).
    Batch(Vec<Result<Message, Malformed>>),
}

/// Why bytes are no message; carries the id when it could be read, so that it is echoed.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// The id of what would have been a request.
    pub id: Option<RequestId>,
    /// What is wrong.
    pub error: RpcError,
}

impl Malformed {
    /// A batch where the conversation's revision has none.
    #[must_use]
    pub fn batch() -> Self {
        invalid(None, "batches exist in revision 2025-03-26 only")
    }

    /// The reply: an error with the id, or without one (never null, which clients refuse).
    #[must_use]
    pub fn reply(&self) -> String {
        error_reply(self.id.as_ref(), &self.error)
    }
}

/// Reads a body. Errors: not JSON, not JSON-RPC, or more than `values_max` values.
pub fn read(bytes: &[u8], values_max: usize) -> Result<Incoming, Malformed> {
    if volume::exceeds(bytes, values_max) {
        let what = format!("the body passes the limit body_values_max ({values_max} values)");
        return Err(Malformed { id: None, error: RpcError::new(ErrorCode::INVALID_REQUEST, what) });
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| Malformed {
        id: None,
        error: RpcError::new(ErrorCode::PARSE_ERROR, format!("the body is not JSON: {error}")),
    })?;
    match value {
        Value::Array(parts) if parts.is_empty() => Err(invalid(None, "an empty batch")),
        Value::Array(parts) => Ok(Incoming::Batch(parts.into_iter().map(batched).collect())),
        other => message(other).map(Incoming::One),
    }
}

/// `initialize` must not be part of a batch (2025-03-26, lifecycle, "Initialization").
fn batched(value: Value) -> Result<Message, Malformed> {
    match message(value)? {
        Message::Request { id, method, .. } if method == "initialize" => {
            Err(invalid(Some(id), "initialize cannot be part of a batch"))
        }
        message => Ok(message),
    }
}

fn message(value: Value) -> Result<Message, Malformed> {
    let Value::Object(mut object) = value else {
        return Err(invalid(None, "a message is a JSON object"));
    };
    let raw_id = object.get("id");
    let id = raw_id.and_then(RequestId::read);
    let has_id = raw_id.is_some();
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid(id, "the member \"jsonrpc\" is not \"2.0\""));
    }
    let Some(method) = object.remove("method") else {
        return match (object.remove("result"), object.remove("error")) {
            (Some(result), None) => Ok(Message::Response { id, outcome: Ok(result) }),
            (None, Some(error)) => Ok(Message::Response { id, outcome: Err(error) }),
            _ => Err(invalid(id, "neither a method nor exactly one of result and error")),
        };
    };
    let Value::String(method) = method else {
        return Err(invalid(id, "the member \"method\" is not a string"));
    };
    if has_id && id.is_none() {
        return Err(invalid(None, "the member \"id\" is neither a string nor an integer"));
    }
    let params = match object.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => {
            let error = RpcError::new(ErrorCode::INVALID_PARAMS, "params is not an object");
            return Err(Malformed { id, error });
        }
    };
    Ok(match id {
        Some(id) => Message::Request { id, method, params },
        None => Message::Notification { method, params },
    })
}

fn invalid(id: Option<RequestId>, what: &'static str) -> Malformed {
    Malformed { id, error: RpcError::new(ErrorCode::INVALID_REQUEST, what) }
}

#[derive(Serialize)]
enum Version {
    #[serde(rename = "2.0")]
    V2,
}

#[derive(Serialize)]
struct Outgoing<'a, R: Serialize> {
    jsonrpc: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RpcError>,
}

/// A result as one line of JSON.
#[must_use]
pub fn result_reply<R: Serialize>(id: &RequestId, result: &R) -> String {
    text(&Outgoing {
        jsonrpc: Version::V2,
        id: Some(id),
        method: None,
        params: None,
        result: Some(result),
        error: None,
    })
}

/// An error as one line of JSON; without an id where none could be read.
#[must_use]
pub fn error_reply(id: Option<&RequestId>, error: &RpcError) -> String {
    text::<()>(&Outgoing {
        jsonrpc: Version::V2,
        id,
        method: None,
        params: None,
        result: None,
        error: Some(error),
    })
}

/// A request of ours as one line of JSON.
#[must_use]
pub(super) fn request(id: &RequestId, method: &str, params: Option<&Value>) -> String {
    text::<()>(&Outgoing {
        jsonrpc: Version::V2,
        id: Some(id),
        method: Some(method),
        params,
        result: None,
        error: None,
    })
}

/// A notification as one line of JSON.
#[must_use]
pub(super) fn notification(method: &str, params: &Value) -> String {
    text::<()>(&Outgoing {
        jsonrpc: Version::V2,
        id: None,
        method: Some(method),
        params: Some(params),
        result: None,
        error: None,
    })
}

fn text<R: Serialize>(message: &Outgoing<'_, R>) -> String {
    // Every key is a string and no type here can fail, so the fallback is never sent.
    serde_json::to_string(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Message, Malformed> {
        match read(text.as_bytes(), 100)? {
            Incoming::One(message) => Ok(message),
            Incoming::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn ids_come_back_with_their_type() {
        for id in ["0", "-7", "18446744073709551615", "\"7\"", "\"\""] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let Ok(Message::Request { id: read, .. }) = one(&text) else { panic!("{text}") };
            let reply = result_reply(&read, &Value::Object(Map::new()));
            assert_eq!(reply, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_id_when_it_has_one() {
        let cases = [
            ("{", -32700, None),
            ("[]", -32600, None),
            ("7", -32600, None),
            (r#"{"id":1,"method":"ping"}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#, -32600, Some("\"a\"")),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600, None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#, -32602, Some("1")),
        ];
        for (text, code, id) in cases {
            let malformed = one(text).unwrap_err();
            assert_eq!(malformed.error.code.0, code, "{text}");
            assert_eq!(malformed.id.map(|id| id.to_string()).as_deref(), id, "{text}");
        }
    }

    #[test]
    fn an_error_without_an_id_has_no_id_member() {
        let malformed = one("{").unwrap_err();
        assert!(!malformed.reply().contains("\"id\""), "{}", malformed.reply());
    }

    #[test]
    fn initialize_is_refused_in_a_batch_and_the_rest_is_taken() {
        let text = r#"[{"jsonrpc":"2.0","id":1,"method":"initialize"},
                       {"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
        let Ok(Incoming::Batch(messages)) = read(text.as_bytes(), 100) else { panic!("no batch") };
        assert_eq!(messages[0].as_ref().unwrap_err().error.code, ErrorCode::INVALID_REQUEST);
        assert!(matches!(messages[1], Ok(Message::Request { .. })));
    }

    #[test]
    fn a_response_is_recognized() {
        let Ok(Message::Response { id, outcome }) = one(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
        else {
            panic!("no response")
        };
        assert_eq!((id.unwrap().to_string().as_str(), outcome), ("1", Ok(serde_json::json!({}))));
    }
}
