//! HTTP+SSE (2024-11-05, transports): `GET /sse` opens a session, whose client's thread then serves it alone,
//! `POST /messages?sessionId=…` is answered 202 and its reply comes on the stream.
//!
//! A session that nobody initialized is served: clients reconnect and do not initialize again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::event_stream::{EVENT_STREAM_FIELDS, Framing, event};
use super::house::{Carried, House};
use super::lanes::Taker;
use super::replies::{check_media_type, problem};
use crate::cancel::{Cancel, Hook, Reason};
use crate::edge::{Bell, EventSource, Exchange, Pull, Reply};
use crate::mcp::{
    Call, Filter, Incoming, InputRequest, Malformed, Message, Peer, Response, Revision, Step, read,
};
use crate::observe::escaped;
use crate::session::{Ended, Refused, Registry, Sent, Session, SessionId};

/// The transport.
pub struct Sse {
    house: Arc<House>,
    registry: Arc<Registry>,
}

impl Sse {
    /// A transport over what `server` built.
    #[must_use]
    pub fn new(house: Arc<House>, registry: Arc<Registry>) -> Self {
        Self { house, registry }
    }

    /// `GET /sse`.
    pub(super) fn open(&self, exchange: Exchange) {
        let Some(principal) = exchange.admitted.principal.clone() else {
            return log::error!("a stream without a principal; please report it");
        };
        let Some(random) = (self.house.settings.random)() else {
            return log::error!("the system has no random bytes for a session id");
        };
        let id = SessionId::mint(random);
        let hang_up = exchange.admitted.hang_up.clone();
        let (session, sent) = self.registry.open(id, principal, hang_up, Instant::now());
        let gone = exchange.admitted.gone.clone();
        let (registry, own) = (Arc::clone(&self.registry), Arc::clone(&session));
        let stream = Stream {
            heartbeat: self.house.heartbeat(),
            announced: false,
            base: exchange.admitted.base().to_owned(),
            sent,
            framing: Framing::default(),
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
        check_media_type(head)?;
        let malformed = |malformed: Malformed| Reply::json(400, malformed.reply().into_bytes());
        match read(&exchange.body, self.house.settings.body_values_max).map_err(malformed)? {
            Incoming::One(message) => Ok((session, vec![Ok(message)])),
            Incoming::Batch(messages) if session.revision().has_batches() => {
                Ok((session, messages))
            }
            Incoming::Batch(_) => Err(malformed(Malformed::batch())),
        }
    }

    /// Notes what a message changes in its session, and says what is left to do for it.
    fn note(&self, session: &Arc<Session>, message: Message) -> Option<Noted> {
        match self.house.dispatcher.step(message, session.revision(), None) {
            Step::Reply(reply) => Some(Noted::Reply(reply.text)),
            Step::Initialized { revision, features, client, reply } => {
                self.registry.settle(session, revision);
                session.talk.introduce(features);
                let short = session.id().short();
                log::info!("session={short} {} speaks {revision}", escaped(&client));
                self.tell_changes(session);
                Some(Noted::Reply(reply.text))
            }
            Step::Call(mut call) => Some(match session.talk.begin(&mut call) {
                Some(cancel) => Noted::Call(call, cancel),
                None => Noted::Reply(Response::in_use(&call.id).text),
            }),
            Step::Cancel(id) => {
                session.talk.in_flight.cancel(&id, Reason::Requested);
                None
            }
            Step::SetLevel(level, reply) => {
                session.talk.set_level(level);
                Some(Noted::Reply(reply.text))
            }
            Step::Subscribe { uri, wanted, reply } => {
                self.tell_changes(session);
                // A resource that cannot be watched any more is one that does not change.
                if let Err(why) = session.talk.want(&uri, wanted) {
                    log::warn!("session={}: {why}", session.id().short());
                }
                Some(Noted::Reply(reply.text))
            }
            Step::Answered(id, outcome) => {
                session.talk.asked.answer(&id, outcome);
                None
            }
            Step::Listen(..) | Step::Nothing => None,
        }
    }

    /// From now on the session hears of the changes that it wants.
    fn tell_changes(&self, session: &Arc<Session>) {
        session.talk.reader.get_or_init(|| {
            let told = Arc::downgrade(session);
            self.house.bulletin.read(Filter::lists(), move |change| {
                // A slow reader is ended by the next reply; a change is not worth it.
                if let Some(session) = told.upgrade() {
                    session.send(change.notification(None)).unwrap_or_default();
                }
            })
        });
    }

    fn call(self: &Arc<Self>, session: &Arc<Session>, call: Box<Call>, cancel: Cancel) {
        // Ended between the POST's check and here: nobody else would stop this call.
        if session.has_ended() {
            return session.talk.in_flight.leave(&call.id);
        }
        let call = Arc::<Call>::from(call);
        let (sse, own, fired) = (Arc::clone(self), Arc::clone(session), cancel.clone());
        let running = Arc::clone(&call);
        let run = move || sse.run(&own, &running, &cancel);
        if self.house.lanes.submit(call.lane, Taker::Worker, &fired, run).is_err() {
            session.talk.in_flight.leave(&call.id);
            self.send(session, House::busy(&call, session.revision()).text);
        }
    }

    /// Runs on a lane's thread.
    fn run(&self, session: &Session, call: &Call, cancel: &Cancel) {
        let principal = session.principal().identity();
        let carried = Carried {
            revision: session.revision(),
            cancel,
            principal: &principal,
            session: Some(session.id().as_str()),
        };
        let peer = SsePeer { sse: self, session };
        let leave = || session.talk.in_flight.leave(&call.id);
        let reply = self.house.run(call, &carried, &peer, leave);
        if let Some(reply) = reply {
            self.send(session, reply.text);
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
    Call(Box<Call>, Cancel),
}

/// What one session's stream brings; its reader is the client's own thread.
struct Stream {
    heartbeat: Duration,
    announced: bool,
    /// The public prefix where the client came by it.
    base: String,
    sent: Sent,
    framing: Framing,
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
            // Without a host, so that it is right behind every proxy and under every name.
            let endpoint =
                format!("{}/messages?sessionId={}", self.base, self.session.id().as_str());
            event("endpoint", &endpoint, out);
            return Pull::Some;
        }
        self.framing.pull(&self.sent, out)
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

/// The client of one session, on its one stream.
struct SsePeer<'a> {
    sse: &'a Sse,
    session: &'a Session,
}

impl Peer for SsePeer<'_> {
    fn notify(&self, message: String) {
        self.sse.send(self.session, message);
    }

    fn ask(&self, request: &InputRequest, cancel: &Cancel) -> Result<Value, String> {
        let send = |message| self.sse.send(self.session, message);
        self.session.talk.asked.ask(request, cancel, self.sse.house.answer_limit(), send)
    }
}

/// The value of `sessionId` in a query.
fn session_id(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("sessionId=")).filter(|id| !id.is_empty())
}
