//! A stand-in for LM Studio and its kin: their endpoints on loopback, scripted to answer, to stall
//! and to fail, and counting what it sees.
//!
//! Needs nothing of the crate under test, so that `examples/stand_in.rs` can run it alone.
#![expect(clippy::unwrap_used, reason = "a stand-in that cannot start fails its test")]
#![expect(clippy::indexing_slicing, reason = "a key that JSON does not have is null")]

#[path = "stand_in/generate.rs"]
mod generate;
#[path = "stand_in/lists.rs"]
mod lists;
#[path = "stand_in/manage.rs"]
mod manage;
#[path = "stand_in/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use generate::Style;
use wire::{Request, reset, send, send_with, stall};

/// The model that is in memory at the beginning.
pub(crate) const MODEL: &str = "openai/gpt-oss-20b";

/// What the stand-in plays.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a script are independent")]
pub(crate) struct Script {
    pub(crate) kind: Kind,
    /// Every request but the greeting must carry it.
    pub(crate) token: Option<String>,
    /// Whether a model is in memory at the beginning.
    pub(crate) loaded: bool,
    /// Loads on demand; else LM Studio refuses to chat without a loaded model.
    pub(crate) jit: bool,
    /// Between two steps of a loading.
    pub(crate) load_pace: Option<Duration>,
    /// Why no model can be loaded or downloaded.
    pub(crate) load_fault: Option<String>,
    /// The context window of servers that tell one, in tokens.
    pub(crate) window: u32,
    /// Keys of a request that it refuses by their name.
    pub(crate) refuses: Vec<&'static str>,
    /// The native API refuses the shape of whatever it is sent.
    pub(crate) native_is_strict: bool,
    /// Streams when it is asked to.
    pub(crate) streams: bool,
    /// Answers to every model's name, as LM Studio does with one loaded model.
    pub(crate) any_model: bool,
    /// The pieces of an answer; without any it repeats the question.
    pub(crate) deltas: Vec<Delta>,
    /// Without pieces it says nothing at all.
    pub(crate) says_nothing: bool,
    /// The model that answers, when it is not the asked one.
    pub(crate) answers_as: Option<String>,
    pub(crate) finish: Option<&'static str>,
    pub(crate) usage: bool,
    pub(crate) done: bool,
    /// Sends the stream in pieces of so many bytes, through characters and lines.
    pub(crate) cut: Option<usize>,
    /// Ends lines with CR LF and puts comments between events.
    pub(crate) windows: bool,
    /// Between two pieces, for people who watch, and before whole answers that are no lists.
    pub(crate) pace: Option<Duration>,
    pub(crate) chat_fault: Fault,
    pub(crate) list_fault: Fault,
    pub(crate) stall: Stall,
    /// Leaves the stream open behind the answer.
    pub(crate) lingers: bool,
    /// Closes a connection that is idle for so long.
    pub(crate) keep_alive: Option<Duration>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            kind: Kind::LmStudio,
            token: None,
            loaded: true,
            jit: false,
            load_pace: None,
            load_fault: None,
            window: 4096,
            refuses: Vec::new(),
            native_is_strict: false,
            streams: true,
            any_model: false,
            deltas: Vec::new(),
            says_nothing: false,
            answers_as: None,
            finish: Some("stop"),
            usage: true,
            done: true,
            cut: None,
            windows: false,
            pace: None,
            chat_fault: Fault::None,
            list_fault: Fault::None,
            stall: Stall::None,
            lingers: false,
            keep_alive: None,
        }
    }
}

impl Script {
    fn first_loaded(&self) -> Vec<String> {
        let first = match self.kind {
            Kind::Ollama => "llama3.2:latest",
            Kind::LlamaRouter => "tiny-bridge",
            _ => MODEL,
        };
        self.loaded.then(|| first.to_owned()).into_iter().collect()
    }

    /// Whether a generation waits before it answers at all.
    fn stalls_head(&self) -> bool {
        matches!(self.stall, Stall::BeforeHead | Stall::BeforeChatHead)
    }
}

/// Which server is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    LmStudio,
    LmStudio03,
    Ollama,
    LlamaCpp,
    LlamaRouter,
    Vllm,
    Generic,
}

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Delta {
    Content(String),
    ReasoningContent(String),
    Reasoning(String),
}

/// How a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// This status and body instead of the answer.
    Body(u16, String),
    /// An event after so many pieces, then the end; named `error` or not.
    Event {
        after: usize,
        named: bool,
        data: String,
    },
    /// Sent elsewhere.
    Redirect(String),
    /// The connection is reset behind the whole answer.
    ResetAfterDone,
    /// The connection is reset instead of answering.
    ResetBeforeHead,
    /// The connection is reset after so many pieces.
    Reset {
        after: usize,
    },
    /// The connection is closed after so many pieces.
    Truncate {
        after: usize,
    },
}

/// Where a generation waits until it is released or its client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    None,
    /// Also of lists.
    BeforeHead,
    /// Not of lists: of what generates, loads, embeds and the like.
    BeforeChatHead,
    BeforeFirst,
    After(usize),
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) connections: usize,
    pub(crate) requests: usize,
    pub(crate) lists: usize,
    pub(crate) chats: usize,
    pub(crate) started: usize,
    pub(crate) finished: usize,
    pub(crate) loads: usize,
    pub(crate) unloads: usize,
    /// The client closed the connection under a running generation.
    pub(crate) aborted: usize,
    /// Requests that are stalled now.
    pub(crate) stalled: usize,
}

impl Counts {
    /// What `GET /stand-in/counts` answers, for tests that run the example.
    fn to_json(self) -> String {
        let Self { started, finished, aborted, lists, .. } = self;
        format!(
            r#"{{"lists":{lists},"started":{started},"finished":{finished},"aborted":{aborted}}}"#
        )
    }
}

/// A running stand-in; it stops when this is dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts on a free port of loopback.
    pub(crate) fn start(script: Script) -> Self {
        Self::start_on("127.0.0.1:0", script).unwrap()
    }

    /// Starts on an address. Errors: it cannot be had.
    pub(crate) fn start_on(address: &str, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(script));
        let house = Arc::clone(&shared);
        let thread = Builder::new().name("stand-in".to_owned()).spawn(move || {
            listen(&listener, &house);
        })?;
        Ok(Self { address, shared, listener: Some(thread) })
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plays another script from the next request on.
    pub(crate) fn play(&self, script: Script) {
        let mut state = self.shared.lock();
        state.loaded = script.first_loaded();
        state.script = script;
    }

    /// Lets everything go on that stalls, now and from now on.
    pub(crate) fn release(&self) {
        self.shared.lock().released = true;
        self.shared.changed.notify_all();
    }

    /// What was seen so far.
    pub(crate) fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// How many connections there are now.
    pub(crate) fn open(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// The names of what is in memory.
    pub(crate) fn loaded(&self) -> Vec<String> {
        self.shared.lock().loaded.clone()
    }

    /// The newest requests, method and path.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.shared.lock().targets.clone()
    }

    /// The newest token that was sent.
    pub(crate) fn last_token(&self) -> Option<String> {
        self.shared.lock().last_token.clone()
    }

    /// The body of the newest chat request.
    pub(crate) fn last_chat(&self) -> String {
        self.shared.lock().last_chat.clone()
    }

    /// Waits until the counts are as asked; says whether they were before `limit` was over.
    pub(crate) fn wait_for(&self, are: impl Fn(&Counts) -> bool, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            if are(&state.counts) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Closes every connection, as LM Studio does with idle ones after 5 s.
    pub(crate) fn close_connections(&self) {
        for stream in self.shared.lock().open.values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        self.close_connections();
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.listener.take() {
            drop(thread.join());
        }
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    script: Script,
    counts: Counts,
    last_chat: String,
    last_token: Option<String>,
    loaded: Vec<String>,
    targets: Vec<String>,
    released: bool,
    stopping: bool,
    open: HashMap<usize, TcpStream>,
}

impl Shared {
    fn new(script: Script) -> Self {
        let state = State {
            loaded: script.first_loaded(),
            last_token: None,
            targets: Vec::new(),
            script,
            counts: Counts::default(),
            last_chat: String::new(),
            released: false,
            stopping: false,
            open: HashMap::new(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().counts);
        self.changed.notify_all();
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let mut state = shared.lock();
        if state.stopping {
            break;
        }
        state.counts.connections += 1;
        let id = state.counts.connections;
        let Ok(other) = stream.try_clone() else { continue };
        state.open.insert(id, other);
        drop(state);
        shared.changed.notify_all();
        let house = Arc::clone(shared);
        let serve = move || {
            drop(stream.set_nodelay(true));
            // A failed write is the client's leaving, which is counted where it matters.
            drop(serve(&stream, &house));
            // Set for a connection that is to be reset, which an orderly end would prevent.
            if rustix::net::sockopt::socket_linger(&stream).is_ok_and(|linger| linger.is_none()) {
                drop(stream.shutdown(Shutdown::Both));
            }
            house.lock().open.remove(&id);
        };
        threads.extend(Builder::new().name("stand-in-conn".to_owned()).spawn(serve).ok());
    }
    for thread in threads {
        drop(thread.join());
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let keep_alive = shared.lock().script.keep_alive;
        stream.set_read_timeout(keep_alive)?;
        let Some(request) = wire::read(&mut reader)? else { break };
        stream.set_read_timeout(None)?;
        let (script, stopping) = {
            let mut state = shared.lock();
            state.counts.requests += 1;
            if state.targets.len() < TARGETS_MAX {
                state.targets.push(request.target.clone());
            }
            state.last_token.clone_from(&request.token);
            (state.script.clone(), state.stopping)
        };
        shared.changed.notify_all();
        if stopping || !answer(stream, shared, &script, &request)? {
            break;
        }
    }
    Ok(())
}

/// Answers one request; says whether the connection can be used again.
fn answer(
    stream: &TcpStream,
    shared: &Shared,
    script: &Script,
    request: &Request,
) -> io::Result<bool> {
    let target = request.target.as_str();
    let is_studio = matches!(script.kind, Kind::LmStudio | Kind::LmStudio03);
    if target == "GET /lmstudio-greeting" && is_studio {
        return send(stream, 200, r#"{"lmstudio":true}"#);
    }
    if script.token.is_some() && script.token != request.token {
        return send(stream, 401, UNAUTHORIZED);
    }
    if target == "GET /stand-in/counts" {
        let counts = shared.lock().counts;
        return send(stream, 200, &counts.to_json());
    }
    match (target, script.kind) {
        ("POST /v1/chat/completions", _) => {
            generate::generate(stream, shared, script, request, Style::Chat)
        }
        ("POST /v1/completions", _) => {
            generate::generate(stream, shared, script, request, Style::Text)
        }
        ("POST /api/v1/chat", Kind::LmStudio) => {
            generate::generate(stream, shared, script, request, Style::Native)
        }
        _ => other(stream, shared, script, request),
    }
}

fn other(
    stream: &TcpStream,
    shared: &Shared,
    script: &Script,
    request: &Request,
) -> io::Result<bool> {
    if let Some(outcome) = manage::manage(stream, shared, script, request) {
        return outcome;
    }
    let loaded = shared.lock().loaded.clone();
    if let Some(body) = lists::list(script, &loaded, &request.target) {
        return list(stream, shared, script, &body);
    }
    let target = &request.target;
    // LM Studio says so with 200.
    if matches!(script.kind, Kind::LmStudio | Kind::LmStudio03) {
        let body = format!(r#"{{"error":"Unexpected endpoint or method. ({target})"}}"#);
        return send(stream, 200, &body);
    }
    send(stream, 404, &format!(r#"{{"error":{{"message":"no such path: {target}"}}}}"#))
}

fn list(stream: &TcpStream, shared: &Shared, script: &Script, body: &str) -> io::Result<bool> {
    shared.count(|counts| counts.lists += 1);
    if script.stall == Stall::BeforeHead && !stall(stream, shared) {
        return Ok(false);
    }
    match &script.list_fault {
        Fault::Body(status, body) => send(stream, *status, body),
        Fault::Redirect(to) => send_with(stream, 307, &format!("Location: {to}\r\n"), ""),
        Fault::None | Fault::ResetAfterDone => send(stream, 200, body),
        Fault::ResetBeforeHead => reset(stream),
        Fault::Event { .. } | Fault::Reset { .. } | Fault::Truncate { .. } => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Content-Length: 1000\r\n\r\n{\"models\":";
            (&*stream).write_all(head.as_bytes())?;
            if matches!(script.list_fault, Fault::Reset { .. }) { reset(stream) } else { Ok(false) }
        }
    }
}

const UNAUTHORIZED: &str = r#"{"error":{"type":"invalid_request","code":"invalid_api_key","message":"An LM Studio API token is required to make requests to this server, but none was provided."}}"#;

/// More would be kept for nobody.
const TARGETS_MAX: usize = 1000;
