//! The edge under test with a handler that the test drives, and a client that speaks raw bytes.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use local_llm_mcp::auth::{Authenticator, HostNames, Interfaces, TokenSources};
use local_llm_mcp::edge::{
    Access, Admitted, Bell, Cors, Edge, EdgeLimits, EventSource, Exchange, Handler, HeaderText,
    Listening, Policy, Pull, Reply, Route, Site, bind, server_config,
};
use local_llm_mcp::worker::lock;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use crate::scratch::Scratch;

/// How long anything may take that should happen at once.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) const LIMITS: EdgeLimits = EdgeLimits {
    connections_max: 700,
    connections_per_address_max: 700,
    connections_per_loopback_max: 700,
    handshake_ms_max: 10_000,
    head_bytes_max: 4096,
    head_ms_max: 10_000,
    body_bytes_max: 1024 * 1024,
    body_ms_max: 10_000,
    bodies_bytes_max: 64 * 1024 * 1024,
    reply_bytes_max: 8 * 1024 * 1024,
    replies_bytes_max: 64 * 1024 * 1024,
    write_ms_max: 10_000,
    keep_alive_ms_max: 30_000,
};

/// Every route of the tests, answered on a worker or on the client's own thread.
pub(super) fn routes(alone: bool) -> Arc<[Route]> {
    let open = |path, allow, streams| Route {
        path,
        allow,
        access: Access::Open,
        streams,
        alone,
        resource: "",
    };
    [
        open("/", "GET, HEAD, OPTIONS", false),
        open("/echo", "POST, OPTIONS", false),
        open("/big", "GET, HEAD, OPTIONS", false),
        open("/hold", "GET, POST, OPTIONS", false),
        open("/events", "GET, OPTIONS", true),
        open("/no-events", "GET, OPTIONS", true),
        open("/fields", "GET, OPTIONS", false),
        open("/drop", "GET, OPTIONS", false),
        open("/panic", "GET, OPTIONS", false),
        open("/method", "POST, DELETE, OPTIONS", true),
        open("/base", "GET, OPTIONS", false),
        open("/stay", "GET, OPTIONS", false),
        Route {
            path: "/private",
            allow: "POST, OPTIONS",
            access: Access::Principals,
            streams: false,
            alone,
            resource: "/private",
        },
        Route {
            path: "/public",
            allow: "POST, OPTIONS",
            access: Access::Public { any_origin: true },
            streams: false,
            alone,
            resource: "",
        },
    ]
    .into()
}

/// An open stream as the house sees it.
pub(super) struct Stream {
    pub(super) admitted: Arc<Admitted>,
    feed: Arc<Mutex<Feed>>,
}

impl Stream {
    /// Hands it bytes to bring.
    pub(super) fn say(&self, bytes: &str) {
        self.change(|feed| feed.waiting.extend_from_slice(bytes.as_bytes()));
    }

    /// Ends it from the house's side.
    pub(super) fn end(&self) {
        self.change(|feed| feed.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut Feed)) {
        let mut feed = lock(&self.feed);
        change(&mut feed);
        let bell = feed.bell.clone();
        // The ring may pull from this very thread.
        drop(feed);
        bell.ring();
    }

    /// Whether the edge has dropped its source.
    pub(super) fn is_over(&self) -> bool {
        Arc::strong_count(&self.feed) == 1
    }
}

struct Feed {
    waiting: Vec<u8>,
    ended: bool,
    bell: Bell,
}

/// A source that brings what the test says.
struct Source {
    opened: Option<(Sender<Stream>, Arc<Admitted>)>,
    heartbeat: Duration,
    feed: Option<Arc<Mutex<Feed>>>,
}

impl EventSource for Source {
    fn begin(&mut self, bell: Bell) {
        let feed = Arc::new(Mutex::new(Feed { waiting: Vec::new(), ended: false, bell }));
        self.feed = Some(Arc::clone(&feed));
        let (opened, admitted) = self.opened.take().unwrap();
        opened.try_send(Stream { admitted, feed }).unwrap();
    }

    fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        let mut feed = lock(self.feed.as_ref().unwrap());
        if !feed.waiting.is_empty() {
            out.append(&mut feed.waiting);
            Pull::Some
        } else if feed.ended {
            Pull::End
        } else {
            Pull::None
        }
    }

    fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    fn name(&self) -> String {
        "stream".to_owned()
    }
}

thread_local! {
    static STAYS: Cell<Option<Arc<()>>> = const { Cell::new(None) };
}

/// Answers at once, or hands the exchange to the test.
struct Answering {
    handled: AtomicUsize,
    /// Kept by each thread that answered `/stay`, until it ends.
    stayed: Arc<()>,
    held: Sender<Exchange>,
    streams: Sender<Stream>,
}

impl Handler for Answering {
    fn handle(&self, exchange: Exchange) {
        self.handled.fetch_add(1, Ordering::SeqCst);
        let admitted = Arc::clone(&exchange.admitted);
        let size = admitted.head.query.as_deref().and_then(|size| size.parse().ok());
        match routes(true)[admitted.route].path {
            "/echo" | "/private" | "/public" => {
                let body = exchange.body.clone();
                exchange.respond(Reply::json(200, body));
            }
            "/big" => exchange.respond(Reply::json(200, vec![b'x'; size.unwrap_or(4 << 20)])),
            "/hold" => self.held.try_send(exchange).unwrap(),
            "/events" => {
                let heartbeat =
                    size.map_or(Duration::from_secs(60), |ms| Duration::from_millis(ms as u64));
                let opened = Some((self.streams.clone(), admitted));
                let source = Source { opened, heartbeat, feed: None };
                exchange.stream(&[("Cache-Control", "no-cache")], Box::new(source)).unwrap();
            }
            "/no-events" => exchange.respond(Reply::text(503, "no place for another stream")),
            "/fields" => {
                let mut reply = Reply::text(200, "fields").with("X-Accel-Buffering", "no");
                reply.fields.push(("Mcp-Session-Id", HeaderText::new("abc").unwrap()));
                exchange.respond(reply);
            }
            "/method" => {
                let text = format!("{} {}", admitted.head.method.as_str(), exchange.body.len());
                exchange.respond(Reply::text(200, &text));
            }
            "/base" => exchange.respond(Reply::text(200, &format!("base {}", admitted.base()))),
            "/stay" => {
                STAYS.set(Some(Arc::clone(&self.stayed)));
                exchange.respond(Reply::text(200, "stayed"));
            }
            "/drop" => drop(exchange),
            "/panic" => panic!("this panic belongs to the test"),
            _ => exchange.respond(Reply::text(200, "hello")),
        }
    }
}

/// A running edge with a plain and a TLS listener on loopback.
pub(super) struct Rig {
    pub(super) edge: Edge,
    pub(super) scratch: Scratch,
    plain: SocketAddr,
    tls: SocketAddr,
    handler: Arc<Answering>,
    held: Receiver<Exchange>,
    streams: Receiver<Stream>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With limits of the test's own.
    pub(super) fn with(change: impl FnOnce(&mut EdgeLimits)) -> Self {
        let mut limits = LIMITS;
        change(&mut limits);
        Self::start(limits, None, "", false)
    }

    /// Has a test run both ways: answered on the workers, and on the clients' own threads.
    pub(super) fn each_way(test: impl Fn(&Self)) {
        for alone in [false, true] {
            test(&Self::start(LIMITS, None, "", alone));
        }
    }

    /// With a token, and under the path of a public URL.
    pub(super) fn behind(token: Option<&str>, prefix: &str) -> Self {
        Self::start(LIMITS, token, prefix, false)
    }

    /// Whose every request is answered on its client's own thread.
    pub(super) fn alone(change: impl FnOnce(&mut EdgeLimits)) -> Self {
        let mut limits = LIMITS;
        change(&mut limits);
        Self::start(limits, None, "", true)
    }

    fn start(limits: EdgeLimits, token: Option<&str>, prefix: &str, alone: bool) -> Self {
        let scratch = Scratch::new();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let (plain, tls) = (bind(loopback).unwrap(), bind(loopback).unwrap());
        let addresses = (plain.local_addr().unwrap(), tls.local_addr().unwrap());
        let listening = vec![
            Listening { listener: plain, tls: None },
            Listening { listener: tls, tls: Some(Arc::clone(&identity().server)) },
        ];
        let (held_in, held) = bounded(1000);
        let (streams_in, streams) = bounded(1000);
        let handler = Arc::new(Answering {
            handled: AtomicUsize::new(0),
            stayed: Arc::default(),
            held: held_in,
            streams: streams_in,
        });
        let edge = Edge::start(
            listening,
            &scratch.file("inner"),
            policy(&scratch, token, prefix, alone),
            Arc::new(Interfaces::new()),
            limits,
            Arc::clone(&handler) as Arc<dyn Handler>,
        )
        .unwrap();
        Self { edge, scratch, plain: addresses.0, tls: addresses.1, handler, held, streams }
    }

    /// How many exchanges have reached the handler.
    pub(super) fn handled(&self) -> usize {
        self.handler.handled.load(Ordering::SeqCst)
    }

    /// How many threads that answered `/stay` have not ended.
    pub(super) fn staying(&self) -> usize {
        Arc::strong_count(&self.handler.stayed) - 1
    }

    pub(super) fn plain_address(&self) -> SocketAddr {
        self.plain
    }

    pub(super) fn plain(&self) -> Client {
        Client::plain(self.plain)
    }

    pub(super) fn tls(&self) -> Client {
        Client::tls(self.tls)
    }

    /// Plain bytes to the HTTPS port.
    pub(super) fn plain_on_tls(&self) -> Client {
        Client::plain(self.tls)
    }

    /// One client of each kind.
    pub(super) fn both(&self) -> [Client; 2] {
        [self.plain(), self.tls()]
    }

    /// The next exchange at `/hold`.
    pub(super) fn held(&self) -> Exchange {
        self.held.recv_timeout(SOON).unwrap()
    }

    /// The next stream at `/events`.
    pub(super) fn stream(&self) -> Stream {
        self.streams.recv_timeout(SOON).unwrap()
    }

    /// Whether a request on a new connection is answered.
    pub(super) fn answers(&self) -> bool {
        let mut client = self.plain();
        client.send(&get("/"));
        client.reply().status == 200
    }

    /// Sends bytes on a new plain connection: they are refused with this status and a sentence
    /// that has these words, the connection is closed, and the handler hears nothing.
    pub(super) fn refuses(&self, bytes: impl AsRef<[u8]>, status: u16, words: &str) {
        let before = self.handled();
        let mut client = self.plain();
        client.send(bytes.as_ref());
        let reply = client.reply();
        assert_eq!(reply.status, status, "{reply:?}");
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let sentence = body["error_description"].as_str().unwrap();
        assert!(sentence.contains(words), "{sentence:?} has no {words:?}");
        assert_eq!(reply.field("connection"), Some("close"));
        assert!(client.has_ended());
        assert_eq!(self.handled(), before);
    }

    /// Stops it as the house does; says how long that took.
    pub(super) fn finish(&self) -> Duration {
        let begun = Instant::now();
        self.edge.finish(begun + SOON);
        begun.elapsed()
    }
}

pub(super) const CORS: Cors = Cors {
    allow_headers: "Content-Type, Authorization",
    allow_header_prefix: "mcp-param-",
    expose_headers: "Mcp-Session-Id, WWW-Authenticate",
};

fn policy(scratch: &Scratch, token: Option<&str>, prefix: &str, alone: bool) -> Policy {
    let value = token.map(str::to_owned);
    let sources = TokenSources { state_folder: scratch.file("state"), file: None, value };
    Policy {
        routes: routes(alone),
        authenticator: Arc::new(Authenticator::open(sources, false).unwrap()),
        hosts: HostNames::new("", ["home.example"]),
        origins: vec!["https://allowed.example".to_owned()],
        cors: CORS,
        sites: vec![Arc::new(Site::new(&format!("https://home.example{prefix}")).unwrap())],
        proxies: Vec::new(),
    }
}

struct Identity {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// One throw-away certificate for all tests.
fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let key = provider.key_provider.load_private_key(key.into()).unwrap();
        let certificate = made.cert.der().clone();
        let certified = CertifiedKey::new(vec![certificate.clone()], key);
        let server = server_config(Arc::new(SingleCertAndKey::from(certified))).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Identity { server, client: Arc::new(client) }
    })
}

/// A GET as a browser-less client sends it.
pub(super) fn get(path: &str) -> Vec<u8> {
    request("GET", path, "", b"")
}

/// A POST with its length.
pub(super) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    request("POST", path, &format!("Content-Length: {}\r\n", body.len()), body)
}

/// Any request with a Host; `fields` are whole lines.
pub(super) fn request(method: &str, path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection to the edge.
pub(super) struct Client {
    wire: Wire,
    inbound: Vec<u8>,
}

impl Client {
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { wire: Wire::Plain(connect(address)), inbound: Vec::new() }
    }

    /// With the handshake done.
    pub(super) fn tls(address: SocketAddr) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(&identity().client), name).unwrap();
        let mut stream = StreamOwned::new(tls, connect(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Self { wire: Wire::Tls(Box::new(stream)), inbound: Vec::new() }
    }

    fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub(super) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Sends nothing more, and reads on.
    pub(super) fn half_close(&mut self) {
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends it with a reset instead of a FIN.
    pub(super) fn reset(self) {
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(self.socket(), linger).unwrap();
    }

    /// Says `close_notify`, as TLS clients do before they close.
    pub(super) fn close_notify(&mut self) {
        if let Wire::Tls(stream) = &mut self.wire {
            stream.conn.send_close_notify();
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
    }

    /// The next reply with its whole body.
    pub(super) fn reply(&mut self) -> Got {
        let mut got = self.head();
        if got.status != 204 {
            got.body = self.body(&got);
        }
        got
    }

    /// The body behind a head that has come.
    pub(super) fn body(&mut self, head: &Got) -> Vec<u8> {
        let length = head.field("content-length").unwrap().parse().unwrap();
        self.until(|inbound| inbound.len() >= length);
        self.inbound.drain(..length).collect()
    }

    /// The status of the next reply; `None` when the connection ends before.
    pub(super) fn try_status(&mut self) -> Option<u16> {
        while !self.inbound.contains(&b'\n') {
            if !self.more().unwrap_or(false) {
                return None;
            }
        }
        std::str::from_utf8(self.inbound.get(9..12)?).ok()?.parse().ok()
    }

    /// The head of the next reply; its body stays to be read.
    pub(super) fn head(&mut self) -> Got {
        let end = self.through(b"\r\n\r\n");
        let text = String::from_utf8(self.inbound.drain(..end).collect()).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Got { status, fields, body: Vec::new() }
    }

    /// The next chunk of a chunked reply; empty at its end.
    pub(super) fn chunk(&mut self) -> String {
        let end = self.through(b"\r\n");
        let line = String::from_utf8(self.inbound.drain(..end).collect()).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        self.until(|inbound| inbound.len() >= length + 2);
        let chunk: Vec<u8> = self.inbound.drain(..length + 2).collect();
        assert!(chunk.ends_with(b"\r\n"));
        String::from_utf8(chunk[..length].to_vec()).unwrap()
    }

    /// Whatever comes until the server closes.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        while self.more().unwrap() {}
        std::mem::take(&mut self.inbound)
    }

    /// Whether the server closes now and sends nothing before.
    pub(super) fn has_ended(&mut self) -> bool {
        self.inbound.is_empty() && matches!(self.more(), Ok(false))
    }

    /// Whether a reply begins, and not the end of the connection.
    pub(super) fn is_answered(&mut self) -> bool {
        matches!(self.more(), Ok(true))
    }

    /// Whether the server ends the connection now, in whatever way.
    pub(super) fn is_cut(&mut self) -> bool {
        loop {
            match self.more() {
                Ok(true) => self.inbound.clear(),
                Ok(false) => return true,
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    fn through(&mut self, end: &[u8]) -> usize {
        let find = |inbound: &[u8]| inbound.windows(end.len()).position(|w| w == end);
        self.until(|inbound| find(inbound).is_some());
        find(&self.inbound).unwrap() + end.len()
    }

    fn until(&mut self, enough: impl Fn(&[u8]) -> bool) {
        while !enough(&self.inbound) {
            match self.more() {
                Ok(more) => assert!(more, "the connection ended behind {}", self.so_far()),
                Err(error) => panic!("{error} behind {}", self.so_far()),
            }
        }
    }

    fn so_far(&self) -> String {
        let tail = self.inbound.len().saturating_sub(1000);
        format!("{:?}", String::from_utf8_lossy(&self.inbound[tail..]))
    }

    /// Reads once; `false` at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 64 * 1024];
        let length = match &mut self.wire {
            Wire::Plain(socket) => socket.read(&mut buffer)?,
            Wire::Tls(stream) => stream.read(&mut buffer)?,
        };
        self.inbound.extend_from_slice(&buffer[..length]);
        Ok(length > 0)
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.set_write_timeout(Some(SOON)).unwrap();
    socket
}

/// What a client was sent.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Got {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
