//! Sees every message that a test exchanges with the server, and holds each that the server sends
//! against the published schema. The clients of this folder call it where they send and where they
//! receive, so that no test can forget it.
//!
//! A message's revision is the one that its request claims in `_meta` or in the header, or that its
//! session negotiated; before that, the newest with a handshake, or on `/sse` the one that brought
//! that endpoint.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a message that does not conform fails the test"
)]

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use local_llm_mcp::worker::lock;
use serde_json::Value;

use super::schema::{self, MODERN, NEWEST_LEGACY, Revision};

const CLAIM: &str = "/params/_meta/io.modelcontextprotocol~1protocolVersion";
const SUBSCRIPTION: &str = "/params/_meta/io.modelcontextprotocol~1subscriptionId";

/// One side of a conversation: what was asked, and what was agreed on.
#[derive(Clone, Debug, Default)]
struct Talk {
    /// As negotiated.
    revision: Option<Revision>,
    /// By the text of the id.
    asked: HashMap<String, Asked>,
}

/// A request that a client has sent.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    /// Whether it claims to stand alone.
    claims: bool,
}

impl Talk {
    /// Takes down what a body asks.
    fn ask(&mut self, body: &Value) {
        for message in body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice) {
            let method = message.get("method").and_then(Value::as_str);
            if let (Some(id), Some(method)) = (message.get("id"), method) {
                let claims = message.pointer(CLAIM).is_some();
                self.asked.insert(id.to_string(), Asked { method: method.to_owned(), claims });
            }
        }
    }

    /// What the message answers, if it answers anything of this conversation.
    fn answered(&self, message: &Value) -> Option<Asked> {
        let answers = message.get("method").is_none();
        let id = message.get("id").filter(|_| answers)?;
        self.asked.get(&id.to_string()).cloned()
    }
}

/// Holds a message against its schema. A response to a request that claims to stand alone is of the
/// revision without a handshake, any other message of `otherwise`. Returns what an initialize agreed
/// on.
fn hear(asked: Option<&Asked>, otherwise: Revision, message: &Value) -> Option<Revision> {
    let method = asked.map(|asked| asked.method.as_str());
    let agreed = message.pointer("/result/protocolVersion").and_then(Value::as_str);
    let agreed = agreed.filter(|_| method == Some("initialize")).map(|date| {
        schema::revision(date).unwrap_or_else(|| panic!("no such revision: {message}"))
    });
    let alone = asked.is_some_and(|asked| asked.claims);
    let mut revision = agreed.unwrap_or(if alone { MODERN } else { otherwise });
    if message.get("error").is_some() && message.get("id").is_none() {
        // An error for what has no readable id: transports have it since 2025-03-26, schemas since
        // this one. Before, null would be no id either.
        revision = revision.max(NEWEST_LEGACY);
    }
    if let Err(why) = schema::check(revision, method, message) {
        panic!("{why}\nin {message}");
    }
    agreed
}

/// The conversations with a session, by its id; on `/sse` and `/mcp` alike a session's messages go
/// over several connections.
fn with_session<T>(id: &str, run: impl FnOnce(&mut Talk) -> T) -> T {
    static SESSIONS: Mutex<Option<HashMap<String, Talk>>> = Mutex::new(None);
    run(lock(&SESSIONS).get_or_insert_default().entry(id.to_owned()).or_default())
}

/// A request of HTTP.
#[derive(Debug, Default)]
struct Exchange {
    /// The last segment of its path.
    endpoint: String,
    /// `MCP-Protocol-Version`.
    version: Option<String>,
    /// From the header or the query.
    session: Option<String>,
    own: Talk,
    /// Whether its body is a batch.
    batch: bool,
}

impl Exchange {
    /// Reads the head and the body of a request, as far as they are what a client would send.
    fn read(head: &str, body: &[u8]) -> Self {
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        // Documents about a resource are at its path, and are none of its messages.
        let path = if path.contains("/.well-known/") { "" } else { path };
        let field = |name: &str| field(head, name).map(str::to_owned);
        let session = query.strip_prefix("sessionId=").map(str::to_owned);
        let mut exchange = Self {
            endpoint: path.rsplit('/').next().unwrap_or_default().to_owned(),
            version: field("mcp-protocol-version"),
            session: session.or_else(|| field("mcp-session-id")),
            ..Self::default()
        };
        if let Ok(body) = serde_json::from_slice::<Value>(body) {
            exchange.own.ask(&body);
            exchange.batch = body.is_array();
            if let Some(id) = &exchange.session {
                with_session(id, |talk| talk.ask(&body));
            }
        }
        exchange
    }

    fn is_mcp(&self) -> bool {
        matches!(self.endpoint.as_str(), "mcp" | "sse" | "messages")
    }

    fn hear(&self, message: &Value) {
        let session = self
            .session
            .as_deref()
            .map(|id| with_session(id, |talk| (talk.answered(message), talk.revision)));
        let (asked, negotiated) = session.unwrap_or_default();
        let asked = self.own.answered(message).or(asked);
        let header = self.version.as_deref().and_then(schema::revision);
        let alone = header == Some(MODERN) || self.own.asked.values().any(|asked| asked.claims);
        let unknown = if self.endpoint == "sse" { "2024-11-05" } else { NEWEST_LEGACY };
        let revision = if alone { MODERN } else { negotiated.or(header).unwrap_or(unknown) };
        let agreed = hear(asked.as_ref(), revision, message);
        if let (Some(agreed), Some(id)) = (agreed, &self.session) {
            with_session(id, |talk| talk.revision = Some(agreed));
        }
    }
}

/// Watches one connection of HTTP.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    sent: Vec<u8>,
    asked: VecDeque<Exchange>,
    now: Exchange,
}

impl Witness {
    /// What a client wrote, in whatever pieces.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        while let Some(end) = self.sent.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(self.sent.get(..end).unwrap()).into_owned();
            let behind = self.sent.get(end + 4..).unwrap();
            let Some((length, body)) = body_of(&head, behind) else {
                // The server may answer the head alone.
                break;
            };
            self.asked.push_back(Exchange::read(&head, &body));
            self.sent.drain(..end + 4 + length);
        }
    }

    /// The head of a reply.
    pub(crate) fn head(&mut self, session: Option<&str>) {
        self.now = self.asked.pop_front().unwrap_or_else(|| {
            // A reply to what is not sent in full.
            Exchange::read(&String::from_utf8_lossy(&self.sent), b"")
        });
        if let Some(session) = session.filter(|_| self.now.is_mcp()) {
            self.now.session = Some(session.to_owned());
        }
    }

    /// A whole body that says it is JSON.
    pub(crate) fn json(&self, status: u16, body: &[u8]) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            panic!("no JSON: {}", String::from_utf8_lossy(body));
        };
        let is_message = body.get("jsonrpc").is_some();
        if !self.now.is_mcp() {
            assert!(!is_message, "a message where no protocol is spoken: {body}");
            return;
        }
        match &body {
            Value::Array(messages) => {
                assert!(self.now.batch && !messages.is_empty(), "nobody sent a batch: {body}");
                for message in messages {
                    self.now.hear(message);
                }
            }
            // The front's own refusals, as RFC 6750 and 6749 write them.
            refusal if status >= 400 && !is_message => {
                assert!(refusal["error"].is_string(), "no message and no refusal: {body}");
            }
            message => self.now.hear(message),
        }
    }

    /// What stands before an empty line of an event stream.
    pub(crate) fn event(&mut self, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").unwrap_or_default();
        if data.is_empty() {
            return;
        }
        assert!(self.now.is_mcp(), "an event where no protocol is spoken: {block}");
        if field("event: ") == Some("endpoint") {
            self.now.session = data.split_once("sessionId=").map(|(_, id)| id.to_owned());
            return;
        }
        let Ok(message) = serde_json::from_str(data) else { panic!("no JSON: {block}") };
        self.now.hear(&message);
    }
}

/// A request's body with the bytes that it takes; `None` as long as it is not whole.
fn body_of(head: &str, behind: &[u8]) -> Option<(usize, Vec<u8>)> {
    if field(head, "transfer-encoding").is_none() {
        let length = field(head, "content-length").and_then(|length| length.parse().ok());
        let length = length.unwrap_or(0);
        return Some((length, behind.get(..length)?.to_vec()));
    }
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let rest = behind.get(at..)?;
        let line = rest.windows(2).position(|part| part == b"\r\n")?;
        let digits = std::str::from_utf8(rest.get(..line)?).ok()?;
        let length = usize::from_str_radix(digits.trim(), 16).ok()?;
        body.extend_from_slice(rest.get(line + 2..line + 2 + length)?);
        at += line + 2 + length + 2;
        if length == 0 {
            return Some((at, body));
        }
    }
}

/// A field's value in a head, without the white space around it.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(its, _)| its.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Watches a program's stdin and stdout.
#[derive(Debug, Default)]
pub(crate) struct LineWitness {
    line: Vec<u8>,
    talk: Talk,
}

impl LineWitness {
    /// What a client wrote, in whatever pieces.
    pub(crate) fn sent(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            self.line.extend_from_slice(piece.as_bytes());
            if piece.ends_with('\n') {
                self.asked();
            }
        }
    }

    /// The client's last line has ended, or its input has.
    pub(crate) fn asked(&mut self) {
        if let Ok(body) = serde_json::from_slice(&self.line) {
            self.talk.ask(&body);
        }
        self.line.clear();
    }

    /// A line of the server, which is one message.
    pub(crate) fn heard(&mut self, line: &str) -> Value {
        let Ok(message) = serde_json::from_str::<Value>(line) else { panic!("no JSON: {line}") };
        let alone = message.pointer(SUBSCRIPTION).is_some();
        let negotiated = self.talk.revision.unwrap_or(NEWEST_LEGACY);
        let revision = if alone { MODERN } else { negotiated };
        let agreed = hear(self.talk.answered(&message).as_ref(), revision, &message);
        self.talk.revision = agreed.or(self.talk.revision);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, fields: &str, body: &str) -> Witness {
        let mut witness = Witness::default();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n");
        // In pieces, as a test may send it.
        let (first, rest) = head.split_at(9);
        for piece in [first, rest, body] {
            witness.sent(piece.as_bytes());
        }
        witness.head(None);
        witness
    }

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    const CLAIMED: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    const LISTED: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;

    #[test]
    fn a_result_of_a_session_needs_no_type() {
        asked("/mcp", "", LIST).json(200, LISTED);
    }

    #[test]
    #[should_panic(expected = "\"resultType\" is a required property")]
    fn a_result_of_a_request_that_stands_alone_does() {
        asked("/mcp", "", CLAIMED).json(200, LISTED);
    }

    #[test]
    #[should_panic(expected = "answers no request")]
    fn a_result_that_nobody_asked_for_fails() {
        asked("/llm/mcp", "", LIST).json(200, br#"{"jsonrpc":"2.0","id":"1","result":{}}"#);
    }

    #[test]
    #[should_panic(expected = "nextCursor: null is not of type")]
    fn an_event_is_held_against_what_its_session_asked() {
        let body = r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#;
        asked("/messages?sessionId=of-this-test", "", body);
        let mut stream = asked("/sse", "", "");
        stream.event("event: endpoint\ndata: /messages?sessionId=of-this-test");
        let result = r#"{"jsonrpc":"2.0","id":"a","result":{"tools":[],"nextCursor":null}}"#;
        stream.event(&format!("event: message\ndata: {result}"));
    }

    #[test]
    #[should_panic(expected = "nobody sent a batch")]
    fn a_batch_answers_a_batch_alone() {
        asked("/mcp", "", LIST).json(200, br#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}]"#);
    }

    #[test]
    #[should_panic(expected = "/id: null is not")]
    fn a_line_is_held_against_what_was_negotiated() {
        let mut witness = LineWitness::default();
        witness.sent("{\"jsonrpc\":\"2.0\",");
        witness.sent("\"id\":1,\"method\":\"ping\"}\n");
        witness.heard(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        let error = r#"{"code":-32600,"message":"no"}"#;
        witness.heard(&format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#));
    }
}
