//! HTTP+SSE (2024-11-05, transports): `GET /sse` opens a session, whose client's thread then serves it alone,
//! `POST /messages?sessionId=…` is answered 202 and its reply comes on the stream.
//!
//! A session that nobody initialized is served: clients reconnect and do not initialize again.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::event_stream::{EVENT_STREAM_FIELDS, event};
use super::lanes::{Lanes, queue_full};
use crate::cancel::{Cancel, Hook, Reason};
use crate::edge::{Bell, EventSource, Exchange, Pull, Reply};
use crate::mcp::{
    Call, CallContext, Dispatcher, ErrorCode, Incoming, Malformed, Message, Progress,
    ProgressToken, Revision, RpcError, Step, error_reply, progress, read,
};
use crate::observe::escaped;
use crate::session::{Ended, Next, Refused, Registry, Sent, Session, SessionId};
use crate::worker::lock;

/// What this transport needs to know.
#[derive(Clone, Copy, Debug)]
pub struct SseSettings {
    /// Milliseconds of silence after which a comment goes out.
    pub heartbeat_ms: u64,
    /// JSON values that one body may hold.
    pub body_values_max: usize,
    /// The system's random source, for session ids.
    pub random: fn() -> Option<[u8; 16]>,
}

/// The transport.
pub struct Sse {
    settings: SseSettings,
    dispatcher: Dispatcher,
    registry: Arc<Registry>,
    lanes: Arc<Lanes>,
}

impl Sse {
    /// A transport over what `server` built.
    #[must_use]
    pub fn new(
        settings: SseSettings,
        dispatcher: Dispatcher,
        registry: Arc<Registry>,
        lanes: Arc<Lanes>,
    ) -> Self {
        Self { settings, dispatcher, registry, lanes }
    }

    /// `GET /sse`.
    pub(super) fn open(&self, exchange: Exchange) {
        let Some(principal) = exchange.admitted.principal.clone() else {
            return log::error!("a stream without a principal; please report it");
        };
        let Some(random) = (self.settings.random)() else {
            return log::error!("the system has no random bytes for a session id");
        };
        let id = SessionId::mint(random);
        let hang_up = exchange.admitted.hang_up.clone();
        let (session, sent) = self.registry.open(id, principal, hang_up, Instant::now());
        let gone = exchange.admitted.gone.clone();
        let (registry, own) = (Arc::clone(&self.registry), Arc::clone(&session));
        let stream = Stream {
            heartbeat: Duration::from_millis(self.settings.heartbeat_ms),
            announced: false,
            sent,
            _leaves: gone.hook(move || registry.end(&own, Ended::ClientLeft)),
            session: Arc::clone(&session),
            registry: Arc::clone(&self.registry),
        };
        if let Err(error) = exchange.stream(EVENT_STREAM_FIELDS, Box::new(stream)) {
            log::error!("session={} has no stream: {error}", session.id().short());
        }
    }

    /// `POST /messages?sessionId=…`.
    pub(super) fn post(self: &Arc<Self>, exchange: Exchange) {
        let (session, messages) = match self.check(&exchange) {
            Ok(checked) => checked,
            Err(reply) => return exchange.respond(reply),
        };
        session.touch(Instant::now());
        // Clients of 2025 send what they negotiated with every POST, also after a reconnect.
        let version = exchange.admitted.head.field("mcp-protocol-version");
        if let Some(revision) = version.and_then(Revision::known) {
            self.registry.hint(&session, revision);
        }
        // What a later message may refer to is noted before its sender hears that this one was
        // accepted: another worker may take that one first.
        let noted: Vec<Noted> = messages
            .into_iter()
            .filter_map(|message| match message {
                Ok(message) => self.note(&session, message),
                Err(malformed) => Some(Noted::Reply(malformed.reply())),
            })
            .collect();
        // The answer comes before the work (2024-11-05, transports).
        exchange.respond(Reply::text(202, "Accepted"));
        for noted in noted {
            match noted {
                Noted::Reply(reply) => self.send(&session, reply),
                Noted::Call(call, cancel) => self.call(&session, call, cancel),
            }
        }
    }

    fn check(&self, exchange: &Exchange) -> Result<(Arc<Session>, Messages), Reply> {
        let head = &exchange.admitted.head;
        let id = head.query.as_deref().and_then(session_id).ok_or_else(|| {
            problem(400, "session_id_missing", "POST to the URL that GET /sse announced")
        })?;
        let session = exchange
            .admitted
            .principal
            .as_ref()
            .and_then(|principal| self.registry.find(id, principal))
            .ok_or_else(|| {
                problem(404, "session_unknown", "this session has ended; open GET /sse again")
            })?;
        let media_type = head.field("content-type").and_then(|value| value.split(';').next());
        if !media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
            return Err(problem(415, "media_type", "send application/json"));
        }
        let malformed = |malformed: Malformed| Reply::json(400, malformed.reply().into_bytes());
        match read(&exchange.body, self.settings.body_values_max).map_err(malformed)? {
            Incoming::One(message) => Ok((session, vec![Ok(message)])),
            Incoming::Batch(messages) if session.revision().has_batches() => {
                Ok((session, messages))
            }
            Incoming::Batch(_) => {
                let error = RpcError::new(
                    ErrorCode::INVALID_REQUEST,
                    "batches exist in revision 2025-03-26 only",
                );
                Err(malformed(Malformed { id: None, error }))
            }
        }
    }

    /// Notes what a message changes in its session, and says what is left to do for it.
    fn note(&self, session: &Session, message: Message) -> Option<Noted> {
        match self.dispatcher.step(message, session.revision()) {
            Step::Reply(reply) => Some(Noted::Reply(reply)),
            Step::Initialized { revision, client, reply } => {
                self.registry.settle(session, revision);
                let short = session.id().short();
                log::info!("session={short} {} speaks {revision}", escaped(&client));
                Some(Noted::Reply(reply))
            }
            Step::Call(call) => Some(match session.in_flight.enter(&call.id) {
                Some(cancel) => Noted::Call(call, cancel),
                None => {
                    let what = "a request with this id is still being worked on";
                    let error = RpcError::new(ErrorCode::INVALID_REQUEST, what);
                    Noted::Reply(error_reply(Some(&call.id), &error))
                }
            }),
            Step::Cancel(id) => {
                session.in_flight.cancel(&id, Reason::Requested);
                None
            }
            Step::Nothing => None,
        }
    }

    fn call(self: &Arc<Self>, session: &Arc<Session>, call: Call, cancel: Cancel) {
        // Ended between the POST's check and here: nobody else would stop this call.
        if session.has_ended() {
            return session.in_flight.leave(&call.id);
        }
        let (id, lane) = (call.id.clone(), call.lane);
        let (house, own) = (Arc::clone(self), Arc::clone(session));
        let fired = cancel.clone();
        let run = move || house.run(&own, &call, &cancel);
        if self.lanes.submit(lane, &fired, run).is_err() {
            session.in_flight.leave(&id);
            self.send(session, Dispatcher::finish(&id, &queue_full(lane), session.revision()));
        }
    }

    /// Runs on a lane's thread.
    fn run(&self, session: &Arc<Session>, call: &Call, cancel: &Cancel) {
        let revision = session.revision();
        let reporter = call.progress_token.clone().map(|token| Reporter {
            session,
            registry: &self.registry,
            token,
            last: Mutex::new(None),
        });
        let context = CallContext {
            cancel,
            progress: reporter.as_ref().map(|reporter| reporter as &dyn Progress),
        };
        let begun = Instant::now();
        let run = std::panic::AssertUnwindSafe(|| {
            if cancel.is_fired() {
                String::new()
            } else {
                self.dispatcher.run(call, revision, &context)
            }
        });
        let reply = std::panic::catch_unwind(run).unwrap_or_else(|_panic| {
            log::error!("the tool {} panicked; please report it", escaped(&call.tool.name));
            let error = RpcError::new(ErrorCode::INTERNAL_ERROR, "a bug of this server");
            error_reply(Some(&call.id), &error)
        });
        session.in_flight.leave(&call.id);
        log::debug!(
            "session={} request={} tool={} ms={}",
            session.id().short(),
            escaped(&call.id.to_string()),
            escaped(&call.tool.name),
            begun.elapsed().as_millis()
        );
        // A cancelled request gets no response (all revisions with a handshake, cancellation).
        if !cancel.is_fired() {
            self.send(session, reply);
        }
    }

    fn send(&self, session: &Session, message: String) {
        if let Err(Refused::Full(limit)) = session.send(message) {
            self.registry.end(session, Ended::SlowReader(limit));
        }
    }
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// The messages of one body; in a batch, each may be malformed on its own.
type Messages = Vec<Result<Message, Malformed>>;

/// What is left to do for a message after its POST was answered.
enum Noted {
    /// Send this.
    Reply(String),
    /// Run this; it can be cancelled already.
    Call(Call, Cancel),
}

/// What one session's stream brings; its reader is the client's own thread.
struct Stream {
    heartbeat: Duration,
    announced: bool,
    sent: Sent,
    _leaves: Hook,
    session: Arc<Session>,
    registry: Arc<Registry>,
}

impl EventSource for Stream {
    fn begin(&mut self, bell: Bell) {
        self.sent.wake_with(move || bell.ring());
    }

    fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        if !self.announced {
            self.announced = true;
            // Relative, so that it is right behind every proxy and under every name.
            let endpoint = format!("/messages?sessionId={}", self.session.id().as_str());
            event("endpoint", &endpoint, out);
            return Pull::Some;
        }
        match self.sent.next() {
            Next::Message(message) => {
                event("message", &message, out);
                Pull::Some
            }
            Next::Nothing => Pull::None,
            Next::End => Pull::End,
        }
    }

    fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    fn name(&self) -> String {
        format!("sse-{}", self.session.id().short())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.registry.end(&self.session, Ended::ClientLeft);
    }
}

/// Progress of one call, on its session's stream.
struct Reporter<'a> {
    session: &'a Session,
    registry: &'a Registry,
    token: ProgressToken,
    last: Mutex<Option<f64>>,
}

impl Progress for Reporter<'_> {
    fn report(&self, value: f64, total: Option<f64>, message: &str) {
        {
            let mut last = lock(&self.last);
            // Values must rise (all revisions, progress).
            if last.is_some_and(|last| value <= last) {
                return;
            }
            *last = Some(value);
        }
        let text = progress(&self.token, value, total, message, self.session.revision());
        if let Err(Refused::Full(limit)) = self.session.send(text) {
            self.registry.end(self.session, Ended::SlowReader(limit));
        }
    }
}

/// The value of `sessionId` in a query.
fn session_id(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("sessionId=")).filter(|id| !id.is_empty())
}

fn problem(status: u16, code: &str, what: &str) -> Reply {
    let body = serde_json::json!({ "error": code, "error_description": what });
    Reply::json(status, body.to_string().into_bytes())
}
