//! Streamable HTTP: `/mcp`, both eras on one endpoint. What stands alone (2026-07-28) is served
//! here; what belongs to a session goes to [`Legacy`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::answer::{Accepts, Answer, OnceSource, reply};
use super::era::{self, Era, Fields};
use super::event_stream::EVENT_STREAM_FIELDS;
use super::house::{Carried, House};
use super::lanes::Taker;
use super::legacy::Legacy;
use super::replies::{check_media_type, problem, refusal};
use crate::cancel::Reason;
use crate::edge::{Admitted, Bell, EventSource, Exchange, Method, Pull, Reply};
use crate::mcp::{
    Call, Envelope, ErrorCode, Filter, InFlight, Incoming, Malformed, Message, Reader, RequestId,
    Response, Revision, RpcError, Step, read,
};
use crate::session::{Outbox, Refused};
use crate::worker::lock;

/// The endpoint.
pub struct Streamable {
    house: Arc<House>,
    legacy: Arc<Legacy>,
    /// Calls of 2026-07-28, by a number of ours: their ids are not unique among clients.
    running: InFlight,
    numbers: AtomicU64,
    listening: Arc<Mutex<HashMap<u64, Listening>>>,
}

/// A `subscriptions/listen` that is open.
struct Listening {
    id: RequestId,
    outbox: Arc<Outbox>,
}

impl Streamable {
    /// The endpoint over what `server` built.
    #[must_use]
    pub fn new(house: Arc<House>, legacy: Arc<Legacy>) -> Self {
        Self {
            house,
            legacy,
            running: InFlight::default(),
            numbers: AtomicU64::new(1),
            listening: Arc::default(),
        }
    }

    pub(super) fn answer(self: &Arc<Self>, exchange: Exchange) {
        match exchange.admitted.head.method {
            Method::Post => self.post(exchange),
            Method::Delete => self.legacy.delete(exchange),
            _ => self.legacy.get(exchange),
        }
    }

    fn post(self: &Arc<Self>, exchange: Exchange) {
        let admitted = Arc::clone(&exchange.admitted);
        let head = &admitted.head;
        if let Err(refusal) = check_media_type(head) {
            return exchange.respond(refusal);
        }
        if let Some(name) = ONCE.iter().find(|name| head.has_twice(name)) {
            let what = format!("the header {name} came twice");
            return exchange.respond(problem(400, "header_twice", &what));
        }
        let accepts = Accepts::read(head.field("accept"));
        if !accepts.json && !accepts.stream {
            let what = "accept application/json and text/event-stream";
            return exchange.respond(problem(406, "not_acceptable", what));
        }
        let body = match read(&exchange.body, self.house.settings.body_values_max) {
            Ok(Incoming::One(message)) => Ok(message),
            Ok(Incoming::Batch(messages)) => match whole(messages) {
                Ok(messages) => return self.legacy.batch(exchange, messages, accepts),
                Err(malformed) => Err(malformed),
            },
            Err(malformed) => Err(malformed),
        };
        match body {
            Ok(message) => self.message(exchange, message, accepts),
            Err(malformed) => exchange.respond(Reply::json(400, malformed.reply().into_bytes())),
        }
    }

    fn message(self: &Arc<Self>, exchange: Exchange, message: Message, accepts: Accepts) {
        let head = &exchange.admitted.head;
        // The head has cut off the white space around each.
        let fields = Fields {
            version: head.field("mcp-protocol-version"),
            method: head.field("mcp-method"),
            name: head.field("mcp-name"),
        };
        match era::of(&message, fields) {
            Era::Modern(envelope) => self.modern(exchange, message, &envelope, accepts),
            Era::Dropped => exchange.respond(Reply::empty(202)),
            Era::Legacy => self.legacy.message(exchange, message, accepts),
            Era::Refused(status, id, error) => {
                exchange.respond(refusal(status, id.as_ref(), &error));
            }
        }
    }

    fn modern(
        self: &Arc<Self>,
        exchange: Exchange,
        message: Message,
        envelope: &Envelope,
        accepts: Accepts,
    ) {
        match self.house.dispatcher.step(message, Revision::MODERN, Some(envelope)) {
            Step::Call(call) => self.call(exchange, call, accepts),
            Step::Listen(id, filter) => self.listen(exchange, id, filter, accepts),
            Step::Reply(response) => {
                Answer::at_once(&self.house, exchange, accepts, response, Revision::MODERN, || {
                    None
                });
            }
            // Only a request comes here, and those steps are of revisions with a handshake.
            _ => exchange.respond(Reply::empty(202)),
        }
    }

    fn call(self: &Arc<Self>, exchange: Exchange, call: Box<Call>, accepts: Accepts) {
        let admitted = Arc::clone(&exchange.admitted);
        let number = RequestId::Number(self.numbers.fetch_add(1, Ordering::Relaxed).into());
        let Some(cancel) = self.running.enter(&number) else {
            return log::error!("a number was given twice; please report it");
        };
        // A closed response stream is a cancellation (2026-07-28, cancellation).
        admitted.half_close_is_leaving();
        let leaving = cancel.clone();
        let leaves = admitted.gone.hook(move || {
            leaving.fire(Reason::ClientLeft);
        });
        // On its own thread nobody else sees it leave.
        let client = Arc::downgrade(&admitted);
        cancel.watch_with(move || {
            if let Some(client) = client.upgrade() {
                client.look();
            }
        });
        let taker = Taker::of(&exchange);
        let answer = Answer::new(Arc::clone(&self.house), exchange, accepts, None);
        let call = Arc::<Call>::from(call);
        let (own, running, fired) = (Arc::clone(self), Arc::clone(&call), cancel.clone());
        let (answering, left) = (Arc::clone(&answer), number.clone());
        let run = move || {
            let principal = identity(&admitted);
            let carried = Carried {
                revision: Revision::MODERN,
                cancel: &cancel,
                principal: &principal,
                session: None,
            };
            let response = own.house.run(&running, &carried, &*answering, || {
                own.running.leave(&left);
                drop(leaves);
            });
            answering.finish(response, Revision::MODERN);
        };
        if answer.run(call.lane, taker, &fired, run).is_err() {
            self.running.leave(&number);
            answer.finish(Some(House::busy(&call, Revision::MODERN)), Revision::MODERN);
        }
    }

    /// `subscriptions/listen` (2026-07-28, subscriptions): the acknowledgement first, then every
    /// change that passes the filter, until the client leaves.
    fn listen(&self, exchange: Exchange, id: RequestId, filter: Filter, accepts: Accepts) {
        let refuse = |exchange: Exchange, what: String| {
            let error = RpcError::new(ErrorCode::INTERNAL_ERROR, what);
            exchange.respond(reply(Response::error(Some(&id), &error), Revision::MODERN));
        };
        if !accepts.stream {
            return refuse(exchange, "accept text/event-stream to listen".to_owned());
        }
        let settings = &self.house.settings;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (outbox, sent) = Outbox::new(settings.outbox_events_max, settings.outbox_bytes_max);
        let outbox = Arc::new(outbox);
        {
            let mut listening = lock(&self.listening);
            if listening.len() >= settings.listens_max {
                drop(listening);
                let limit = settings.listens_max;
                return refuse(exchange, format!("the limit listens_max ({limit}) is reached"));
            }
            listening.insert(number, Listening { id: id.clone(), outbox: Arc::clone(&outbox) });
        }
        outbox.send(filter.acknowledgement(&id)).unwrap_or_default();
        let admitted = Arc::clone(&exchange.admitted);
        admitted.half_close_is_leaving();
        let reader = self.house.bulletin.read(filter, move |change| {
            if let Err(Refused::Full(limit)) = outbox.send(change.notification(Some(&id))) {
                log::warn!("a listener does not read and the limit {limit} is reached");
                admitted.hang_up.fire(Reason::SessionEnded);
            }
        });
        let heartbeat = self.house.heartbeat();
        let source = ListenSource {
            once: OnceSource::new(sent, heartbeat),
            number,
            listening: Arc::clone(&self.listening),
            _reader: reader,
        };
        if let Err(error) = exchange.stream(EVENT_STREAM_FIELDS, Box::new(source)) {
            log::error!("a listener has no stream: {error}");
        }
    }

    /// How many `subscriptions/listen` are open.
    #[must_use]
    pub fn listeners(&self) -> usize {
        lock(&self.listening).len()
    }

    /// Ends what is open: calls are stopped, listeners get their result.
    pub fn close(&self) {
        self.running.cancel_all(Reason::Shutdown);
        let all: Vec<Listening> = lock(&self.listening).drain().map(|(_, open)| open).collect();
        for Listening { id, outbox } in all {
            outbox.send(Response::listened(&id).text).unwrap_or_default();
            outbox.close();
        }
        self.legacy.close();
    }
}

impl fmt::Debug for Streamable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamable")
            .field("running", &self.running.len())
            .field("listening", &lock(&self.listening).len())
            .finish_non_exhaustive()
    }
}

/// The stream of one listener.
struct ListenSource {
    once: OnceSource,
    number: u64,
    listening: Arc<Mutex<HashMap<u64, Listening>>>,
    _reader: Reader,
}

impl EventSource for ListenSource {
    fn begin(&mut self, bell: Bell) {
        self.once.begin(bell);
    }

    fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        self.once.pull(out)
    }

    fn heartbeat(&self) -> Duration {
        self.once.heartbeat()
    }

    fn name(&self) -> String {
        "mcp-listen".to_owned()
    }
}

impl Drop for ListenSource {
    fn drop(&mut self) {
        lock(&self.listening).remove(&self.number);
    }
}

/// A batch, if every part is a message and none is of an era without batches.
fn whole(parts: Vec<Result<Message, Malformed>>) -> Result<Vec<Message>, Malformed> {
    let messages = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let claimed = |message: &Message| match message {
        Message::Request { params, .. } | Message::Notification { params, .. } => {
            Envelope::is_claimed(params)
        }
        Message::Response { .. } => false,
    };
    if messages.iter().any(claimed) {
        let what = "a message of 2026-07-28 cannot be part of a batch";
        return Err(Malformed { id: None, error: RpcError::new(ErrorCode::INVALID_REQUEST, what) });
    }
    Ok(messages)
}

/// Who asks, as text that stays the same.
pub(super) fn identity(admitted: &Admitted) -> String {
    admitted.principal.as_ref().map(|principal| principal.identity()).unwrap_or_default()
}

/// Headers of which two would leave open which one counts.
const ONCE: [&str; 4] = ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id"];
