//! A client that speaks raw HTTP/1.1 and HTTP+SSE, plain or over TLS. Every wait has a limit.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail here"
)]

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::witness::Witness;

/// How long anything may take that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Who asks, and where.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    /// Header lines that go with every request.
    fields: String,
    receive_bytes: Option<usize>,
}

impl Client {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, fields: String::new(), receive_bytes: None }
    }

    /// Over TLS, wanting `name` and trusting every certificate of `roots` (PEM).
    pub(crate) fn tls(address: SocketAddr, name: &str, roots: &str) -> Self {
        let mut trusted = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            trusted.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        // A resumed session would not show the certificate that is served now.
        config.resumption = rustls::client::Resumption::disabled();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self { tls: Some((name, Arc::new(config))), ..Self::plain(address) }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        self.with_field("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn with_field(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        write!(client.fields, "{name}: {value}\r\n").unwrap();
        client
    }

    /// The system keeps few bytes for it that it has not read.
    pub(crate) fn with_small_buffers(&self) -> Self {
        Self { receive_bytes: Some(4096), ..self.clone() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn try_connect(&self) -> io::Result<Connection> {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
        let family =
            if self.address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let plain = socket(family, SocketType::STREAM, None)?;
        if let Some(bytes) = self.receive_bytes {
            // Before connecting: afterwards the system grows it by itself.
            sockopt::set_socket_recv_buffer_size(&plain, bytes)?;
        }
        connect(&plain, &self.address)?;
        let socket = TcpStream::from(plain);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SOON))?;
        socket.set_write_timeout(Some(SOON))?;
        let wire = match &self.tls {
            None => Wire::Plain(socket),
            Some((name, config)) => {
                let tls = ClientConnection::new(Arc::clone(config), name.clone()).unwrap();
                let mut stream = StreamOwned::new(tls, socket);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Wire::Tls(Box::new(stream))
            }
        };
        Ok(Connection { wire, inbound: Vec::new(), witness: Witness::default() })
    }

    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().unwrap()
    }

    /// The text of a request; `fields` are whole lines.
    pub(crate) fn request(&self, method: &str, path: &str, fields: &str, body: &str) -> String {
        let host = if self.fields.contains("Host: ") { "" } else { "Host: localhost\r\n" };
        let length = match method {
            "POST" | "PUT" => format!("Content-Length: {}\r\n", body.len()),
            _ => String::new(),
        };
        let own = &self.fields;
        format!("{method} {path} HTTP/1.1\r\n{host}{own}{fields}{length}\r\n{body}")
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Got {
        let mut connection = self.connect();
        connection.send(&self.request(method, path, fields, body));
        connection.reply(method)
    }

    pub(crate) fn get(&self, path: &str) -> Got {
        self.ask("GET", path, "", "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Got {
        self.ask("POST", path, JSON, body)
    }

    /// Asks for an event stream and reads its head; of another reply also the body.
    pub(crate) fn stream(&self, method: &str, path: &str, fields: &str, body: &str) -> Stream {
        let mut connection = self.connect();
        connection.send(&self.request(method, path, fields, body));
        let mut head = connection.head();
        if head.field("content-type") != Some("text/event-stream") {
            let length = head.field("content-length").map_or(0, |length| length.parse().unwrap());
            connection.body(&mut head, length);
        }
        Stream::new(connection, head)
    }

    /// Opens a stream and reads its first event.
    pub(crate) fn open(&self) -> Session {
        let stream = self.stream("GET", "/sse", "Accept: text/event-stream\r\n", "");
        assert_eq!(stream.head.status, 200, "{:?}", stream.head);
        let mut session = Session {
            client: self.clone(),
            stream,
            poster: self.connect(),
            endpoint: String::new(),
            asked: 0,
        };
        match session.next() {
            Some(Event::Named(name, endpoint)) if name == "endpoint" => session.endpoint = endpoint,
            other => panic!("the first event is {other:?}"),
        }
        session
    }
}

/// What a POST of JSON says of itself.
pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

/// What a client was sent.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// A field's value; `name` in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection.
pub(crate) struct Connection {
    wire: Wire,
    inbound: Vec<u8>,
    witness: Witness,
}

impl Connection {
    pub(crate) fn send(&mut self, text: &str) {
        self.try_send(text).unwrap();
    }

    pub(crate) fn try_send(&mut self, text: &str) -> io::Result<()> {
        self.witness.sent(text.as_bytes());
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(text.as_bytes()),
            Wire::Tls(stream) => stream.write_all(text.as_bytes()).and_then(|()| stream.flush()),
        }
    }

    /// Reads the body behind a head; `None` when the connection ends before.
    pub(crate) fn try_rest(&mut self, got: &mut Got) -> Option<()> {
        let length: usize = got.field("content-length")?.parse().ok()?;
        self.fill(|inbound| inbound.len() >= length).ok()?;
        got.body = self.inbound.drain(..length).collect();
        Some(())
    }

    /// Says that nothing more will be sent, and goes on reading (plain only).
    pub(crate) fn half_close(&self) {
        let Wire::Plain(socket) = &self.wire else { panic!("only plain") };
        socket.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The leaf that the server showed, in DER.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        let Wire::Tls(stream) = &self.wire else { panic!("no TLS") };
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// The next reply with its whole body.
    pub(crate) fn reply(&mut self, method: &str) -> Got {
        let mut got = self.head();
        self.rest(&mut got, method);
        got
    }

    /// Reads what a reply has behind its head.
    pub(crate) fn rest(&mut self, got: &mut Got, method: &str) {
        if method != "HEAD" && got.status != 204 {
            let length: usize = got.field("content-length").unwrap().parse().unwrap();
            self.body(got, length);
        }
    }

    /// Reads the body behind a head.
    fn body(&mut self, got: &mut Got, length: usize) {
        self.fill(|inbound| inbound.len() >= length).unwrap();
        got.body = self.inbound.drain(..length).collect();
        if got.field("content-type") == Some("application/json") {
            self.witness.json(got.status, &got.body);
        }
    }

    /// The head of the next reply; its body stays to be read.
    pub(crate) fn head(&mut self) -> Got {
        self.try_head().unwrap()
    }

    /// The same; `None` when the connection ends before.
    pub(crate) fn try_head(&mut self) -> Option<Got> {
        let text = match self.through(b"\r\n\r\n") {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) => {
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no reply");
                return None;
            }
        };
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let got = Got { status, fields, body: Vec::new() };
        // What comes before the reply proper answers nothing.
        if status >= 200 {
            self.witness.head(got.field("mcp-session-id"));
        }
        Some(got)
    }

    /// The next chunk of a chunked reply; `None` at its orderly end. Errors: it was cut off.
    fn chunk(&mut self) -> io::Result<Option<String>> {
        let line = String::from_utf8(self.through(b"\r\n")?).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        self.fill(|inbound| inbound.len() >= length + 2)?;
        let chunk: Vec<u8> = self.inbound.drain(..length + 2).take(length).collect();
        Ok((length > 0).then(|| String::from_utf8(chunk).unwrap()))
    }

    fn through(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let find = |inbound: &[u8]| inbound.windows(end.len()).position(|part| part == end);
        self.fill(|inbound| find(inbound).is_some())?;
        let length = find(&self.inbound).unwrap() + end.len();
        Ok(self.inbound.drain(..length).collect())
    }

    fn fill(&mut self, enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while !enough(&self.inbound) {
            let length = match &mut self.wire {
                Wire::Plain(socket) => socket.read(&mut buffer)?,
                Wire::Tls(stream) => stream.read(&mut buffer)?,
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.inbound.extend_from_slice(&buffer[..length]);
        }
        Ok(())
    }
}

/// What a stream brings.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// Its name and data.
    Named(String, String),
    Comment(String),
}

/// An event stream of any kind; closed when dropped.
pub(crate) struct Stream {
    connection: Connection,
    pub(crate) head: Got,
    text: String,
}

impl Stream {
    /// The stream behind a head.
    pub(crate) fn new(connection: Connection, head: Got) -> Self {
        Self { connection, head, text: String::new() }
    }

    /// The lines of the next event, without comments; `None` at the orderly end.
    pub(crate) fn lines(&mut self) -> Option<Vec<String>> {
        loop {
            let block = self.block().unwrap()?;
            let lines: Vec<String> =
                block.lines().filter(|line| !line.starts_with(':')).map(str::to_owned).collect();
            if !lines.is_empty() {
                return Some(lines);
            }
        }
    }

    /// What stands before the next empty line; `None` at the orderly end. Errors: it was cut off.
    fn block(&mut self) -> io::Result<Option<String>> {
        while !self.text.contains("\n\n") {
            match self.connection.chunk()? {
                Some(chunk) => self.text.push_str(&chunk),
                None => return Ok(None),
            }
        }
        let (block, rest) = self.text.split_once("\n\n").unwrap();
        let (block, rest) = (block.to_owned(), rest.to_owned());
        self.text = rest;
        self.connection.witness.event(&block);
        Ok(Some(block))
    }

    /// The next message with its event id; an event without data is passed over.
    pub(crate) fn message(&mut self) -> Option<(String, Value)> {
        loop {
            let lines = self.lines()?;
            let field = |name: &str| {
                lines.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
            };
            let data = field("data: ");
            if !data.is_empty() {
                return Some((field("id: "), serde_json::from_str(&data).unwrap()));
            }
        }
    }

    /// The next event or comment; `None` at the orderly end. Errors: it was cut off.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if let Some(comment) = block.strip_prefix(':') {
            return Ok(Some(Event::Comment(comment.trim().to_owned())));
        }
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let (name, data) = (field("event: ").unwrap_or("message"), field("data: ").unwrap());
        Ok(Some(Event::Named(name.to_owned(), data.to_owned())))
    }

    /// Whether the connection ends now, in an orderly way and without another byte.
    pub(crate) fn is_hung_up(&mut self) -> bool {
        let ended = self.connection.fill(|inbound| !inbound.is_empty());
        ended.is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    }

    /// Reads to the end of the stream, whatever comes before.
    pub(crate) fn end(&mut self) -> End {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => return End::Orderly,
                Err(error) => {
                    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "it goes on");
                    return End::Cut;
                }
            }
        }
    }

    /// Says that nothing more will be sent, and goes on reading (plain only).
    pub(crate) fn half_close(&self) {
        self.connection.half_close();
    }

    /// The connection that goes on behind the stream.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last chunk.
    Orderly,
    /// In the middle.
    Cut,
}

/// An open stream with its session; closed when dropped.
pub(crate) struct Session {
    client: Client,
    pub(crate) stream: Stream,
    /// Kept alive, as clients do.
    poster: Connection,
    pub(crate) endpoint: String,
    asked: u64,
}

impl Session {
    /// The next event or comment; `None` at the orderly end.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.stream.next().unwrap()
    }

    /// The text of the next message.
    pub(crate) fn raw_message(&mut self) -> String {
        loop {
            match self.next() {
                Some(Event::Named(name, data)) if name == "message" => return data,
                Some(Event::Comment(_)) => {}
                other => panic!("no message but {other:?}"),
            }
        }
    }

    pub(crate) fn message(&mut self) -> Value {
        serde_json::from_str(&self.raw_message()).unwrap()
    }

    /// Reads until the stream ends, and says how.
    pub(crate) fn end(&mut self) -> End {
        self.stream.end()
    }

    /// POSTs any text; `fields` are whole lines.
    pub(crate) fn post_with(&mut self, fields: &str, body: &str) -> Got {
        let request = self.client.request("POST", &self.endpoint, fields, body);
        self.poster.send(&request);
        self.poster.reply("POST")
    }

    pub(crate) fn post(&mut self, body: &str) -> Got {
        self.post_with(JSON, body)
    }

    /// POSTs a message that is accepted.
    pub(crate) fn send(&mut self, message: &Value) {
        let got = self.post(&message.to_string());
        assert_eq!(got.status, 202, "{}", got.text());
    }

    pub(crate) fn notify(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request and returns its id.
    pub(crate) fn begin(&mut self, method: &str, params: &Value) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// Sends a request and returns the next message, which answers it.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        let message = self.message();
        assert_eq!(message["id"], id, "{message}");
        message
    }

    /// Calls a tool and returns its result.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let reply = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert!(reply["result"].is_object(), "{reply}");
        reply["result"].clone()
    }

    pub(crate) fn begin_chat(&mut self, message: &str) -> u64 {
        let arguments = json!({ "message": message });
        self.begin("tools/call", &json!({ "name": "chat", "arguments": arguments }))
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        self.notify("notifications/cancelled", &json!({ "requestId": id, "reason": "stop" }));
    }

    pub(crate) fn initialize(&mut self, version: &str) -> Value {
        let client = json!({ "name": "a test", "version": "1" });
        let params =
            json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
        let reply = self.ask("initialize", &params);
        self.notify("notifications/initialized", &json!({}));
        reply["result"].clone()
    }
}
