//! An MCP client that does just what is measured: it opens a session, calls `list_models`, holds still.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::Outcome;
use crate::tls::Identity;
use crate::wire::{Head, Wire};

/// The two ways of carrying sessions over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// HTTP+SSE of revision 2024-11-05: answers come on the event stream.
    Sse,
    /// Streamable HTTP of revision 2025-06-18: answers come as the reply.
    Streamable,
}

/// Where a server listens and what its answers must contain.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) transport: Transport,
    pub(crate) model: &'a str,
    /// `None`: plain HTTP.
    pub(crate) identity: Option<&'a Identity>,
}

/// One initialized session.
pub(crate) struct Session<'a> {
    place: Place<'a>,
    messages: Wire,
    stream: Option<Wire>,
    target: String,
    headers: String,
    last_id: u64,
}

/// A session of which only the event stream is kept open, as of a client that has nothing to say.
pub(crate) struct Held {
    _stream: Wire,
}

impl<'a> Session<'a> {
    /// Connects and shakes hands.
    pub(crate) fn open(place: Place<'a>) -> Outcome<Self> {
        let (stream, target) = match place.transport {
            Transport::Sse => {
                let (stream, target) = open_stream(place)?;
                (Some(stream), target)
            }
            Transport::Streamable => (None, place.path.to_owned()),
        };
        let messages = Wire::open(place.port, place.identity)?;
        let mut session =
            Self { place, messages, stream, target, headers: POST_HEADERS.to_owned(), last_id: 0 };
        let (version, hello) = (session.version(), json!({"name": "bench_load", "version": "1"}));
        session.request(
            "initialize",
            &json!({"protocolVersion": version, "capabilities": {}, "clientInfo": hello}),
        )?;
        session.notify("notifications/initialized")?;
        Ok(session)
    }

    /// Calls the tool once and checks that the answer names the model.
    pub(crate) fn list_models(&mut self) -> Outcome<()> {
        let answer =
            self.request("tools/call", &json!({"name": "list_models", "arguments": {}}))?;
        if answer.contains(self.place.model) && !answer.contains(r#""isError":true"#) {
            Ok(())
        } else {
            Err(format!("list_models answered: {answer}").into())
        }
    }

    /// Lets the model answer; with `told` progress is asked for and given to `on`.
    pub(crate) fn chat(
        &mut self,
        model: &str,
        told: bool,
        on: &mut dyn FnMut(&str),
    ) -> Outcome<()> {
        let meta = if told { json!({"progressToken": self.last_id}) } else { json!({}) };
        let params = json!({
            "name": "chat",
            "arguments": {"model": model, "message": "go on"},
            "_meta": meta,
        });
        let answer = self.request_heard("tools/call", &params, on)?;
        if answer.contains("word ") && !answer.contains(r#""isError":true"#) {
            Ok(())
        } else {
            Err(format!("chat answered: {answer}").into())
        }
    }

    /// Ends the session, as a client does that leaves for good.
    pub(crate) fn end(&mut self) -> Outcome<()> {
        let head = self.messages.exchange(&format!("DELETE {}", self.target), &self.headers, "")?;
        expect_status(&head, 204)?;
        self.messages.rest()?;
        Ok(())
    }

    /// Asks for nothing.
    pub(crate) fn ping(&mut self) -> Outcome<()> {
        let answer = self.request("ping", &json!({}))?;
        let fits = answer.contains(r#""result":{}"#);
        if fits { Ok(()) } else { Err(format!("ping answered: {answer}").into()) }
    }

    /// Closes what only messages need and keeps the stream, which a Streamable HTTP session opens for it.
    pub(crate) fn hold(mut self) -> Outcome<Held> {
        if let Some(stream) = self.stream.take() {
            return Ok(Held { _stream: stream });
        }
        let mut stream = Wire::open(self.place.port, self.place.identity)?;
        let head = stream.exchange(&format!("GET {}", self.target), &self.headers, "")?;
        expect_status(&head, 200)?;
        Ok(Held { _stream: stream })
    }

    fn version(&self) -> &'static str {
        match self.place.transport {
            Transport::Sse => "2024-11-05",
            Transport::Streamable => "2025-06-18",
        }
    }

    fn request(&mut self, method: &str, params: &Value) -> Outcome<String> {
        self.request_heard(method, params, &mut |_| ())
    }

    /// The reply; what comes before it on its stream is given to `on`.
    fn request_heard(
        &mut self,
        method: &str,
        params: &Value,
        on: &mut dyn FnMut(&str),
    ) -> Outcome<String> {
        self.last_id += 1;
        let head = self.post(
            &json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}),
        )?;
        if let Some(stream) = &mut self.stream {
            expect_status(&head, 202)?;
            self.messages.rest()?;
            return reply_of(stream, on);
        }
        expect_status(&head, 200)?;
        if let Some(session) = head.session {
            let version = self.version();
            self.headers = format!(
                "{POST_HEADERS}Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {version}\r\n"
            );
        }
        if !head.is_event_stream {
            return self.messages.rest();
        }
        let answer = reply_of(&mut self.messages, on)?;
        self.messages.rest()?;
        if head.closes {
            // As a client does that needs the next one at once; its cost is the call's.
            self.messages = Wire::open(self.place.port, self.place.identity)?;
        }
        Ok(answer)
    }

    fn notify(&mut self, method: &str) -> Outcome<()> {
        let head = self.post(&json!({"jsonrpc": "2.0", "method": method}))?;
        expect_status(&head, 202)?;
        self.messages.rest()?;
        Ok(())
    }

    fn post(&mut self, message: &Value) -> Outcome<Head> {
        self.messages.exchange(
            &format!("POST {}", self.target),
            &self.headers,
            &message.to_string(),
        )
    }
}

/// The event stream and the target for messages that its first event names.
fn open_stream(place: Place<'_>) -> Outcome<(Wire, String)> {
    let mut stream = Wire::open(place.port, place.identity)?;
    let head =
        stream.exchange(&format!("GET {}", place.path), "Accept: text/event-stream\r\n", "")?;
    expect_status(&head, 200)?;
    let target = data_line(&mut stream)?;
    Ok((stream, target))
}

/// The data of the next event that is a reply; notifications before it are given to `on`.
fn reply_of(stream: &mut Wire, on: &mut dyn FnMut(&str)) -> Outcome<String> {
    loop {
        let data = data_line(stream)?;
        if !data.contains(r#""method":"#) {
            return Ok(data);
        }
        on(&data);
    }
}

/// The data of the next event that has any.
fn data_line(stream: &mut Wire) -> Outcome<String> {
    while let Some(line) = stream.line()? {
        match line.strip_prefix("data:").map(str::trim_start) {
            Some("") | None => {}
            Some(data) => return Ok(data.to_owned()),
        }
    }
    Err("the event stream ended".into())
}

fn expect_status(head: &Head, wanted: u16) -> Outcome<()> {
    if head.status == wanted {
        Ok(())
    } else {
        Err(format!("status {}, wanted {wanted}", head.status).into())
    }
}

const POST_HEADERS: &str =
    "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
