//! The answer to one POST on `/mcp`: JSON when it is quick, an event stream when something else
//! has to be said before the result or when it may take long.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::event_stream::{EVENT_STREAM_FIELDS, EventId, FIRST_COMMENT, Framing, prime};
use super::house::House;
use super::lanes::Taker;
use crate::cancel::Cancel;
use crate::edge::{Bell, EventSource, Exchange, Pull, Reply, Work};
use crate::mcp::{ErrorCode, InputRequest, Lane, Peer, Response, Revision, RpcError};
use crate::session::{Heard, Kept, KeptSessions, Outbox, Replay, ReplayReader, Sent};
use crate::worker::{PoolFull, lock};

/// What a client takes (`Accept`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepts {
    pub(super) json: bool,
    pub(super) stream: bool,
}

impl Accepts {
    /// Reads the header leniently: without one, or with `*/*`, a client takes both.
    pub(super) fn read(header: Option<&str>) -> Self {
        let Some(header) = header else { return Self { json: true, stream: true } };
        let mut accepts = Self { json: false, stream: false };
        for part in header.split(',') {
            let media = part.split(';').next().unwrap_or_default().trim();
            let is = |name: &str| media.eq_ignore_ascii_case(name);
            accepts.json |= is("application/json") || is("application/*") || is("*/*");
            accepts.stream |= is("text/event-stream") || is("text/*") || is("*/*");
        }
        accepts
    }
}

/// The session that a POST belongs to, if its revision has sessions.
pub(super) struct InSession {
    pub(super) kept: Arc<Kept>,
    pub(super) sessions: Arc<KeptSessions>,
}

/// The answer to one POST, still open.
pub(super) struct Answer {
    house: Arc<House>,
    exchange: Mutex<Option<Exchange>>,
    sink: OnceLock<Sink>,
    accepts: Accepts,
    session: Option<InSession>,
}

enum Sink {
    /// Of a session: kept for a client that comes back.
    Kept(Arc<Replay>),
    /// Of a request that stands alone: gone with its client.
    Once(Outbox),
}

impl Answer {
    pub(super) fn new(
        house: Arc<House>,
        exchange: Exchange,
        accepts: Accepts,
        session: Option<InSession>,
    ) -> Arc<Self> {
        let exchange = Mutex::new(Some(exchange));
        Arc::new(Self { house, exchange, sink: OnceLock::new(), accepts, session })
    }

    /// Answers with a response that is there already: in one piece, unless the client takes only
    /// streams.
    pub(super) fn at_once(
        house: &Arc<House>,
        exchange: Exchange,
        accepts: Accepts,
        response: Response,
        revision: Revision,
        session: impl FnOnce() -> Option<InSession>,
    ) {
        if accepts.json {
            return exchange.respond(reply(response, revision));
        }
        Self::new(Arc::clone(house), exchange, accepts, session()).finish(Some(response), revision);
    }

    /// Has a call run that answers by this: a slow one as a stream, on its client's own thread where
    /// that took it and there is a place, else on its lane. Errors: all places of the lane are taken, or
    /// there are no descriptors for a stream; it is not run.
    pub(super) fn run(
        &self,
        lane: Lane,
        taker: Taker,
        cancel: &Cancel,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), PoolFull> {
        let lanes = &self.house.lanes;
        let place = self.accepts.stream.then(|| lanes.on_stream(lane, taker)).flatten();
        if let Some(place) = place {
            let work = Box::new(move || {
                run();
                drop(place);
            });
            return if self.open(Some(work)) { Ok(()) } else { Err(PoolFull) };
        }
        if lane == Lane::Slow || !self.accepts.json {
            self.stream();
        }
        lanes.submit(lane, taker, cancel, run)
    }

    /// Answers as a stream from here on, if the client takes one.
    pub(super) fn stream(&self) -> bool {
        self.sink.get().is_some() || (self.accepts.stream && self.open(None))
    }

    /// Opens the stream, if nothing has been answered yet, for what `work` brings; says whether there is
    /// one.
    fn open(&self, work: Option<Work>) -> bool {
        let mut place = lock(&self.exchange);
        let Some(exchange) = place.take() else { return self.sink.get().is_some() };
        let heartbeat = self.house.heartbeat();
        let (sink, source): (_, Box<dyn EventSource>) = match &self.session {
            Some(InSession { kept, sessions }) => {
                let stream = kept.stream();
                let source = KeptSource::new(&stream, 0, kept, sessions, heartbeat);
                (Sink::Kept(stream), Box::new(source))
            }
            None => {
                let limits = &self.house.settings;
                let (outbox, sent) = Outbox::new(limits.outbox_events_max, limits.outbox_bytes_max);
                (Sink::Once(outbox), Box::new(OnceSource::new(sent, heartbeat)))
            }
        };
        // Before the stream's thread begins, which may be at work at once.
        drop(self.sink.set(sink));
        drop(place);
        let opened = exchange.answer_with(EVENT_STREAM_FIELDS, source, work);
        if let Err(error) = &opened {
            log::error!("a reply has no stream: {error}");
        }
        opened.is_ok()
    }

    /// Sends something before the result.
    fn send(&self, message: String) {
        match self.sink.get() {
            Some(Sink::Kept(stream)) => stream.push(message),
            // Its client does not read, and what comes before the result can be missed.
            Some(Sink::Once(outbox)) => outbox.send(message).unwrap_or_default(),
            None => {}
        }
    }

    /// Sends one response of several on the stream; gives it back where there is no stream.
    pub(super) fn send_one(&self, response: Response) -> Option<Response> {
        if self.sink.get().is_none() {
            return Some(response);
        }
        self.send(response.text);
        None
    }

    /// Ends the stream, or answers with `whole`.
    pub(super) fn finish_with(&self, whole: impl FnOnce() -> Reply) {
        match self.sink.get() {
            Some(Sink::Kept(stream)) => stream.end(),
            Some(Sink::Once(outbox)) => outbox.close(),
            None => {
                let exchange = lock(&self.exchange).take();
                if let Some(exchange) = exchange {
                    exchange.respond(whole());
                }
            }
        }
    }

    /// Sends the result and ends. Nothing is a request that was cancelled: its stream ends without
    /// a response; where only JSON can be sent, something has to be.
    pub(super) fn finish(&self, response: Option<Response>, revision: Revision) {
        if !self.accepts.json {
            self.stream();
        }
        match (self.sink.get(), response) {
            (Some(Sink::Kept(stream)), Some(response)) => stream.push_last(response.text),
            (Some(Sink::Once(outbox)), Some(response)) => outbox.send_last(response.text),
            (_, response) => self.finish_with(|| {
                let cancelled = || {
                    let what = "the request was cancelled";
                    Response::error(None, &RpcError::new(ErrorCode::INTERNAL_ERROR, what))
                };
                reply(response.unwrap_or_else(cancelled), revision)
            }),
        }
    }
}

/// A response as an HTTP reply. Before 2026-07-28 an error of a method is a 200; since then some
/// of them have a status of their own (2026-07-28, transports).
pub(super) fn reply(response: Response, revision: Revision) -> Reply {
    let status = match response.error {
        Some(error) if revision.is_modern() => match error {
            ErrorCode::METHOD_NOT_FOUND => 404,
            ErrorCode::HEADER_MISMATCH
            | ErrorCode::MISSING_CAPABILITY
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::PARSE_ERROR
            | ErrorCode::INVALID_REQUEST => 400,
            _ => 200,
        },
        _ => 200,
    };
    Reply::json(status, response.text.into_bytes())
}

impl Peer for Answer {
    fn notify(&self, message: String) {
        if self.stream() {
            self.send(message);
        }
    }

    fn ask(&self, request: &InputRequest, cancel: &Cancel) -> Result<Value, String> {
        let Some(InSession { kept, .. }) = &self.session else {
            return Err("this revision has no requests of the server".to_owned());
        };
        if !self.stream() {
            return Err("the client takes no text/event-stream".to_owned());
        }
        let limit = self.house.answer_limit();
        kept.talk.asked.ask(request, cancel, limit, |message| self.send(message))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("accepts", &self.accepts).finish_non_exhaustive()
    }
}

/// The stream of a request that stands alone.
#[derive(Debug)]
pub(super) struct OnceSource {
    sent: Sent,
    framing: Framing,
    begun: bool,
    heartbeat: Duration,
}

impl OnceSource {
    /// Brings what is sent, and a first comment while that is nothing.
    pub(super) fn new(sent: Sent, heartbeat: Duration) -> Self {
        Self { sent, framing: Framing::default(), begun: false, heartbeat }
    }
}

impl EventSource for OnceSource {
    fn begin(&mut self, bell: Bell) {
        self.sent.wake_with(move || bell.ring());
    }

    fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        let begun = std::mem::replace(&mut self.begun, true);
        match self.framing.pull(&self.sent, out) {
            Pull::None if !begun => {
                out.extend_from_slice(FIRST_COMMENT);
                Pull::Some
            }
            brought => brought,
        }
    }

    fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    fn name(&self) -> String {
        "mcp-stream".to_owned()
    }
}

/// A stream of a session, read by one client at a time.
pub(super) struct KeptSource {
    /// Let go before the session is looked at.
    reader: Option<ReplayReader>,
    at: EventId,
    framing: Framing,
    begun: bool,
    heartbeat: Duration,
    kept: Arc<Kept>,
    sessions: Arc<KeptSessions>,
}

impl KeptSource {
    /// Reads from the message after number `from` on.
    pub(super) fn new(
        stream: &Arc<Replay>,
        from: u64,
        kept: &Arc<Kept>,
        sessions: &Arc<KeptSessions>,
        heartbeat: Duration,
    ) -> Self {
        Self {
            reader: Some(stream.read(from)),
            at: EventId { stream: stream.number(), message: from },
            framing: Framing::default(),
            begun: false,
            heartbeat,
            kept: Arc::clone(kept),
            sessions: Arc::clone(sessions),
        }
    }
}

impl EventSource for KeptSource {
    fn begin(&mut self, bell: Bell) {
        if let Some(reader) = &self.reader {
            reader.wake_with(move || bell.ring());
        }
    }

    fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        if !self.begun {
            self.begun = true;
            if self.kept.revision.primes_streams() {
                prime(self.at, out);
            } else {
                out.extend_from_slice(FIRST_COMMENT);
            }
            return Pull::Some;
        }
        if self.framing.go_on(out) {
            return Pull::Some;
        }
        match self.reader.as_mut().map_or(Heard::End, ReplayReader::hear) {
            Heard::Message(number, message) => {
                self.at.message = number;
                // 2024-11-05 knows no resumption.
                if self.kept.revision > Revision::V2024_11_05 {
                    self.at.write(out);
                }
                self.framing.begin(message, out);
                Pull::Some
            }
            Heard::Nothing => Pull::None,
            Heard::End => Pull::End,
        }
    }

    fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    fn name(&self) -> String {
        format!("mcp-{}", self.at.stream)
    }
}

impl Drop for KeptSource {
    fn drop(&mut self) {
        self.reader = None;
        self.sessions.release(&self.kept);
    }
}
