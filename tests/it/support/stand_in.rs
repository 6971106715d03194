//! A stand-in for LM Studio: its list and chat endpoints on loopback, scripted to answer, to
//! stall and to fail, and counting what it sees.
//!
//! Needs nothing of the crate under test, so that `examples/stand_in.rs` can run it alone.
#![expect(clippy::unwrap_used, reason = "a stand-in that cannot start fails its test")]

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// What the stand-in plays.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a script are independent")]
pub(crate) struct Script {
    pub(crate) kind: Kind,
    /// Every request but the greeting must carry it.
    pub(crate) token: Option<String>,
    /// Without a loaded model it refuses to chat, as LM Studio does with loading on demand off.
    pub(crate) loaded: bool,
    /// Answers to every model's name, as LM Studio does with one loaded model.
    pub(crate) any_model: bool,
    /// The pieces of an answer; without any it repeats the question.
    pub(crate) deltas: Vec<Delta>,
    /// The model that answers, when it is not the asked one.
    pub(crate) answers_as: Option<String>,
    pub(crate) finish: Option<&'static str>,
    pub(crate) usage: bool,
    pub(crate) done: bool,
    /// Sends the stream in pieces of so many bytes, through characters and lines.
    pub(crate) cut: Option<usize>,
    /// Ends lines with CR LF and puts comments between events.
    pub(crate) windows: bool,
    /// Between two pieces, for people who watch.
    pub(crate) pace: Option<Duration>,
    pub(crate) chat_fault: Fault,
    pub(crate) list_fault: Fault,
    pub(crate) stall: Stall,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            kind: Kind::LmStudio,
            token: None,
            loaded: true,
            any_model: false,
            deltas: Vec::new(),
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
        }
    }
}

/// Which server is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    LmStudio,
    LmStudio03,
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
        self.shared.lock().script = script;
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
    released: bool,
    stopping: bool,
    open: HashMap<usize, TcpStream>,
}

impl Shared {
    fn new(script: Script) -> Self {
        let state = State {
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

struct Request {
    line: String,
    token: Option<String>,
    body: String,
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let (script, stopping) = {
            let mut state = shared.lock();
            state.counts.requests += 1;
            (state.script.clone(), state.stopping)
        };
        shared.changed.notify_all();
        if stopping || !answer(stream, shared, &script, &request)? {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut request =
        Request { line: line.trim_end().to_owned(), token: None, body: String::new() };
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => {
                request.token = value.trim().strip_prefix("Bearer ").map(str::to_owned);
            }
            _ => {}
        }
    }
    reader.take(length).read_to_string(&mut request.body)?;
    Ok(Some(request))
}

/// Answers one request; says whether the connection can be used again.
fn answer(
    stream: &TcpStream,
    shared: &Shared,
    script: &Script,
    request: &Request,
) -> io::Result<bool> {
    let target = request.line.strip_suffix(" HTTP/1.1").unwrap_or(&request.line);
    if target == "GET /lmstudio-greeting" && script.kind != Kind::Generic {
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
        ("POST /v1/chat/completions", _) => chat(stream, shared, script, &request.body),
        ("GET /api/v1/models", Kind::LmStudio) => list(stream, shared, script, NATIVE),
        ("GET /api/v0/models", Kind::LmStudio | Kind::LmStudio03) => {
            list(stream, shared, script, LEGACY)
        }
        ("GET /v1/models", _) => list(stream, shared, script, COMPATIBLE),
        (target, Kind::Generic) => {
            send(stream, 404, &format!(r#"{{"error":{{"message":"no such path: {target}"}}}}"#))
        }
        // LM Studio says so with 200.
        (target, Kind::LmStudio | Kind::LmStudio03) => {
            let body = format!(r#"{{"error":"Unexpected endpoint or method. ({target})"}}"#);
            send(stream, 200, &body)
        }
    }
}

fn list(stream: &TcpStream, shared: &Shared, script: &Script, body: &str) -> io::Result<bool> {
    shared.count(|counts| counts.lists += 1);
    if script.stall == Stall::BeforeHead && !stall(stream, shared) {
        return Ok(false);
    }
    match &script.list_fault {
        Fault::Body(status, body) => send(stream, *status, body),
        Fault::None => {
            let body = if script.loaded { body.to_owned() } else { unloaded(body) };
            send(stream, 200, &body)
        }
        Fault::ResetBeforeHead => reset(stream),
        Fault::Event { .. } | Fault::Reset { .. } | Fault::Truncate { .. } => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Content-Length: 1000\r\n\r\n{\"models\":";
            (&*stream).write_all(head.as_bytes())?;
            if matches!(script.list_fault, Fault::Reset { .. }) { reset(stream) } else { Ok(false) }
        }
    }
}

fn unloaded(list: &str) -> String {
    let begin = list.find(r#"[{"id":"openai/gpt-oss-20b","config""#);
    let end = list.find("}}]");
    match (begin, end) {
        (Some(begin), Some(end)) => {
            let (before, rest) = list.split_at(begin);
            let after = rest.split_at(end + 3 - begin).1;
            format!("{before}[]{after}")
        }
        _ => list.replace(r#""state":"loaded""#, r#""state":"not-loaded""#),
    }
}

fn chat(stream: &TcpStream, shared: &Shared, script: &Script, body: &str) -> io::Result<bool> {
    {
        let mut state = shared.lock();
        state.counts.chats += 1;
        body.clone_into(&mut state.last_chat);
    }
    let model = field(body, "model").unwrap_or_default();
    if !script.loaded {
        return send(stream, 404, NOT_LOADED);
    }
    if !script.any_model && !MODELS.contains(&model.as_str()) {
        let body = format!(
            r#"{{"error":{{"message":"Invalid model identifier \"{model}\". Please specify a valid downloaded model.","type":"invalid_request_error","param":"model","code":"model_not_found"}}}}"#
        );
        return send(stream, 400, &body);
    }
    match &script.chat_fault {
        Fault::Body(status, body) => return send(stream, *status, body),
        Fault::ResetBeforeHead => return reset(stream),
        _ => {}
    }
    shared.count(|counts| counts.started += 1);
    let outcome = generate(stream, shared, script, body, &model);
    match &outcome {
        Ok(Ended::Finished) => shared.count(|counts| counts.finished += 1),
        Ok(Ended::Failed) => {}
        Ok(Ended::Aborted) | Err(_) => shared.count(|counts| counts.aborted += 1),
    }
    outcome.map(|ended| ended == Ended::Finished)
}

#[derive(PartialEq)]
enum Ended {
    Finished,
    Failed,
    Aborted,
}

fn generate(
    stream: &TcpStream,
    shared: &Shared,
    script: &Script,
    body: &str,
    model: &str,
) -> io::Result<Ended> {
    if script.stall == Stall::BeforeHead && !stall(stream, shared) {
        return Ok(Ended::Aborted);
    }
    let model = script.answers_as.as_deref().unwrap_or(model);
    let deltas = if script.deltas.is_empty() { echo(body) } else { script.deltas.clone() };
    if !body.contains(r#""stream":true"#) {
        let text: String = deltas.iter().filter_map(content).collect();
        let body = format!(
            r#"{{"model":{model:?},"choices":[{{"message":{{"role":"assistant","content":{}}},"finish_reason":"stop"}}],"usage":{USAGE}}}"#,
            quote(&text)
        );
        return send(stream, 200, &body).map(|_| Ended::Finished);
    }
    (&*stream).write_all(STREAM_HEAD.as_bytes())?;
    if script.stall == Stall::BeforeFirst && !stall(stream, shared) {
        return Ok(Ended::Aborted);
    }
    let opening = format!(
        r#"{{"model":{model:?},"choices":[{{"index":0,"delta":{{"role":"assistant","content":null}}}}]}}"#
    );
    event(stream, script, "", &opening)?;
    for (n, delta) in deltas.iter().enumerate() {
        if script.stall == Stall::After(n) && !stall(stream, shared) {
            return Ok(Ended::Aborted);
        }
        if let Some(ended) = fail(stream, script, n)? {
            return Ok(ended);
        }
        if !pause(stream, shared, script.pace) {
            return Ok(Ended::Aborted);
        }
        event(stream, script, "", &piece(model, delta))?;
    }
    if let Some(ended) = fail(stream, script, deltas.len())? {
        return Ok(ended);
    }
    if script.stall == Stall::After(deltas.len()) && !stall(stream, shared) {
        return Ok(Ended::Aborted);
    }
    if let Some(finish) = script.finish {
        let last = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{finish}"}}]}}"#);
        event(stream, script, "", &last)?;
    }
    if script.usage {
        event(stream, script, "", &format!(r#"{{"choices":[],"usage":{USAGE}}}"#))?;
    }
    if script.done {
        event(stream, script, "", "[DONE]")?;
    }
    (&*stream).write_all(b"0\r\n\r\n")?;
    Ok(Ended::Finished)
}

/// Fails as the script says, when it says so for this place.
fn fail(stream: &TcpStream, script: &Script, at: usize) -> io::Result<Option<Ended>> {
    match &script.chat_fault {
        Fault::Event { after, named, data } if *after == at => {
            event(stream, script, if *named { "error" } else { "" }, data)?;
            (&*stream).write_all(b"0\r\n\r\n")?;
            Ok(Some(Ended::Failed))
        }
        Fault::Reset { after } if *after == at => reset(stream).map(|_| Some(Ended::Failed)),
        Fault::Truncate { after } if *after == at => Ok(Some(Ended::Failed)),
        _ => Ok(None),
    }
}

fn content(delta: &Delta) -> Option<&str> {
    match delta {
        Delta::Content(text) => Some(text),
        Delta::ReasoningContent(_) | Delta::Reasoning(_) => None,
    }
}

fn piece(model: &str, delta: &Delta) -> String {
    let (name, text) = match delta {
        Delta::Content(text) => ("content", text),
        Delta::ReasoningContent(text) => ("reasoning_content", text),
        Delta::Reasoning(text) => ("reasoning", text),
    };
    format!(r#"{{"model":{model:?},"choices":[{{"delta":{{"{name}":{}}}}}]}}"#, quote(text))
}

/// One event in a chunk, or in many when the script cuts.
fn event(stream: &TcpStream, script: &Script, name: &str, data: &str) -> io::Result<()> {
    let end = if script.windows { "\r\n" } else { "\n" };
    let comment = if script.windows { format!(": still here{end}") } else { String::new() };
    let name = if name.is_empty() { String::new() } else { format!("event: {name}{end}") };
    let text = format!("{comment}{name}data: {data}{end}{end}");
    for bytes in text.as_bytes().chunks(script.cut.unwrap_or(text.len())) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        (&*stream).write_all(&chunk)?;
    }
    Ok(())
}

fn send(stream: &TcpStream, status: u16, body: &str) -> io::Result<bool> {
    let head = format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\nKeep-Alive: timeout=5\r\n\r\n",
        body.len()
    );
    (&*stream).write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    Ok(true)
}

/// Ends the connection so that the client sees a reset.
fn reset(stream: &TcpStream) -> io::Result<bool> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(false)
}

/// Waits until released; says whether the client is still there.
fn stall(stream: &TcpStream, shared: &Shared) -> bool {
    shared.count(|counts| counts.stalled += 1);
    let stays = loop {
        if shared.lock().released {
            break true;
        }
        if shared.lock().stopping || left(stream, Duration::from_millis(5)) {
            break false;
        }
    };
    shared.count(|counts| counts.stalled -= 1);
    stays
}

/// Waits between two pieces; says whether the client is still there.
fn pause(stream: &TcpStream, shared: &Shared, pace: Option<Duration>) -> bool {
    let Some(pace) = pace else {
        let peek = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let mut byte = [0];
        let peeked = rustix::net::recv(stream, &mut byte, peek);
        return peeked.is_err_and(|error| error == rustix::io::Errno::WOULDBLOCK);
    };
    !left(stream, pace) && !shared.lock().stopping
}

/// Watches the connection for a while; says whether the client closed it.
fn left(stream: &TcpStream, watch: Duration) -> bool {
    drop(stream.set_read_timeout(Some(watch)));
    let peeked = stream.peek(&mut [0]);
    drop(stream.set_read_timeout(None));
    match peeked {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// The words of the last question, one a piece.
fn echo(body: &str) -> Vec<Delta> {
    let asked = body.rfind(r#""content":"#).and_then(|at| body.get(at..));
    let asked = asked.and_then(|rest| field(rest, "content")).unwrap_or_default();
    let answer = format!("This is the stand-in, not a model. You said: {asked}");
    answer.split_inclusive(' ').map(|word| Delta::Content(word.to_owned())).collect()
}

/// A text field of a JSON object, well enough for requests that a test or a person makes.
fn field(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    let mut text = String::new();
    let mut escaped = false;
    for letter in rest.chars() {
        match letter {
            'n' if escaped => text.push('\n'),
            '"' if !escaped => return Some(text),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            other => text.push(other),
        }
        escaped = false;
    }
    None
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                           Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";

const USAGE: &str = r#"{"prompt_tokens":29,"completion_tokens":14,"total_tokens":43}"#;

const MODELS: [&str; 2] = ["openai/gpt-oss-20b", "google/gemma-4-e4b"];

const UNAUTHORIZED: &str = r#"{"error":{"type":"invalid_request","code":"invalid_api_key","message":"An LM Studio API token is required to make requests to this server, but none was provided."}}"#;

const NOT_LOADED: &str = r#"{"error":{"message":"No models loaded. Please load a model in the developer page or use the 'lms load' command.","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#;

const NATIVE: &str = r#"{"models":[{"type":"llm","publisher":"openai","key":"openai/gpt-oss-20b","display_name":"GPT-OSS 20B","architecture":"gpt-oss","quantization":{"name":"MXFP4","bits_per_weight":4},"size_bytes":12109566560,"params_string":"20B","loaded_instances":[{"id":"openai/gpt-oss-20b","config":{"context_length":8192,"eval_batch_size":512,"parallel":4,"flash_attention":true}}],"max_context_length":131072,"format":"gguf","capabilities":{"vision":false,"trained_for_tool_use":true,"reasoning":{"allowed_options":["low","medium","high"],"default":"low"}},"description":null},{"type":"llm","publisher":"google","key":"google/gemma-4-e4b","display_name":"Gemma 4 E4B","architecture":"gemma4","quantization":{"name":"Q4_K_M","bits_per_weight":4},"size_bytes":6330000000,"params_string":"7.9B","loaded_instances":[],"max_context_length":131072,"format":"gguf","capabilities":{"vision":true,"trained_for_tool_use":true},"description":null},{"type":"embedding","publisher":"nomic-ai","key":"text-embedding-nomic-embed-text-v1.5","display_name":"Nomic Embed Text v1.5","quantization":{"name":"Q4_K_M","bits_per_weight":4},"size_bytes":84106624,"params_string":null,"loaded_instances":[],"max_context_length":2048,"format":"gguf"}]}"#;

const LEGACY: &str = r#"{"data":[{"id":"google/gemma-4-e4b","object":"model","type":"vlm","publisher":"google","arch":"gemma4","compatibility_type":"gguf","quantization":"Q4_K_M","state":"not-loaded","max_context_length":131072,"capabilities":["tool_use"]},{"id":"openai/gpt-oss-20b","object":"model","type":"llm","publisher":"openai","arch":"gpt-oss","compatibility_type":"gguf","quantization":"MXFP4","state":"loaded","max_context_length":131072,"loaded_context_length":8192,"capabilities":["tool_use"]},{"id":"text-embedding-nomic-embed-text-v1.5","object":"model","type":"embeddings","publisher":"nomic-ai","arch":"nomic-bert","compatibility_type":"gguf","quantization":"Q4_0","state":"not-loaded","max_context_length":2048}],"object":"list"}"#;

const COMPATIBLE: &str = r#"{"data":[{"id":"text-embedding-nomic-embed-text-v1.5","object":"model","owned_by":"organization_owner"},{"id":"openai/gpt-oss-20b","object":"model","owned_by":"organization_owner"},{"id":"google/gemma-4-e4b","object":"model","owned_by":"organization_owner"}],"object":"list"}"#;
