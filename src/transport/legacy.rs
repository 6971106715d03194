//! Streamable HTTP with sessions: 2025-03-26 to 2025-11-25, and 2024-11-05 for whoever asks for it
//! here. A client that leaves does not cancel: its call goes on, and its answer waits for it.
//!
//! The session id says itself whose it is and what it speaks, so that a session outlives a restart
//! of this program.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::answer::{Accepts, Answer, InSession, KeptSource, reply};
use super::event_stream::{EVENT_STREAM_FIELDS, EventId};
use super::house::{Carried, House, now_s};
use super::lanes::Taker;
use super::replies::{problem, refusal};
use super::streamable::identity;
use crate::cancel::{Cancel, Reason};
use crate::edge::{Exchange, HeaderText, Reply};
use crate::mcp::{
    Call, ErrorCode, Filter, Lane, Malformed, Message, RequestId, Response, Revision, RpcError,
    Step,
};
use crate::observe::escaped;
use crate::session::{Kept, KeptSessions, LegacyTickets, Ticket};

/// The sessions of `/mcp`.
pub struct Legacy {
    house: Arc<House>,
    tickets: LegacyTickets,
    sessions: Arc<KeptSessions>,
}

impl Legacy {
    /// Sessions over what `server` built.
    #[must_use]
    pub fn new(house: Arc<House>, tickets: LegacyTickets, sessions: Arc<KeptSessions>) -> Self {
        Self { house, tickets, sessions }
    }

    pub(super) fn close(&self) {
        self.sessions.close();
    }

    /// A POST with one message.
    pub(super) fn message(
        self: &Arc<Self>,
        exchange: Exchange,
        message: Message,
        accepts: Accepts,
    ) {
        if matches!(&message, Message::Request { method, .. } if method == "initialize") {
            return self.initialize(exchange, message, accepts);
        }
        let ticket = match self.ticket(&exchange, request_id(&message)) {
            Ok(ticket) => ticket,
            Err(refusal) => return exchange.respond(refusal),
        };
        match self.note(&ticket, message) {
            Noted::Nothing => exchange.respond(Reply::empty(202)),
            Noted::Reply(response) => {
                let session = || Some(self.in_session(self.keep(&ticket)));
                Answer::at_once(&self.house, exchange, accepts, response, ticket.revision, session);
            }
            Noted::Call(call, cancel, kept) => {
                let lane = call.lane;
                self.run(exchange, vec![Part::Call(call, cancel)], &kept, accepts, lane, false);
            }
        }
    }

    /// A POST with several messages (2025-03-26, and only there).
    pub(super) fn batch(
        self: &Arc<Self>,
        exchange: Exchange,
        messages: Vec<Message>,
        accepts: Accepts,
    ) {
        let ticket = match self.ticket(&exchange, None) {
            Ok(ticket) => ticket,
            Err(refusal) => return exchange.respond(refusal),
        };
        if !ticket.revision.has_batches() {
            let body = Malformed::batch().reply().into_bytes();
            return exchange.respond(Reply::json(400, body));
        }
        let mut parts = Vec::new();
        let mut lane = Lane::Quick;
        for message in messages {
            match self.note(&ticket, message) {
                Noted::Nothing => {}
                Noted::Reply(response) => parts.push(Part::Done(response)),
                Noted::Call(call, cancel, _kept) => {
                    if call.lane == Lane::Slow {
                        lane = Lane::Slow;
                    }
                    parts.push(Part::Call(call, cancel));
                }
            }
        }
        if parts.is_empty() {
            return exchange.respond(Reply::empty(202));
        }
        let kept = self.keep(&ticket);
        self.run(exchange, parts, &kept, accepts, lane, true);
    }

    /// `GET /mcp`: what belongs to no request, or the rest of a stream that broke.
    pub(super) fn get(&self, exchange: Exchange) {
        let head = &exchange.admitted.head;
        if head.field("mcp-session-id").is_none() {
            // Clients that look for HTTP+SSE take any other answer for it, or for a fault.
            let what = "POST to this endpoint; a stream needs the session that initialize gave";
            let reply = problem(405, "session_missing", what);
            return exchange.respond(reply.with("Allow", "POST, DELETE, OPTIONS"));
        }
        if !Accepts::read(head.field("accept")).stream {
            let what = "accept text/event-stream";
            return exchange.respond(problem(406, "not_acceptable", what));
        }
        let ticket = match self.ticket(&exchange, None) {
            Ok(ticket) => ticket,
            Err(refusal) => return exchange.respond(refusal),
        };
        let last = match head.field("last-event-id").map(EventId::read) {
            Some(None) => {
                let what = "Last-Event-ID is none of this server's";
                return exchange.respond(problem(400, "event_id_unknown", what));
            }
            other => other.flatten(),
        };
        let mut source = None;
        let kept = self.keep_with(&ticket, &mut |kept| source = self.source(kept, last));
        self.tell_changes(&kept);
        let Some(source) = source else {
            let what = "this stream is not kept any more; send the request again";
            return exchange.respond(problem(400, "event_id_unknown", what));
        };
        if let Err(error) = exchange.stream(EVENT_STREAM_FIELDS, Box::new(source)) {
            log::error!("a session has no stream: {error}");
        }
    }

    /// A session's stream that belongs to no request, or another one behind the event `last`.
    /// `None`: it is not kept any more.
    fn source(&self, kept: &Arc<Kept>, last: Option<EventId>) -> Option<KeptSource> {
        let (stream, from) = match last {
            None => {
                let standing = kept.standing();
                let unread = standing.unread_number();
                (standing, unread)
            }
            // What was read of it before a restart is not known any more.
            Some(id) if id.stream == 0 => (kept.standing(), id.message),
            Some(id) => (kept.find(id.stream)?, id.message),
        };
        let from = from.min(stream.next_number()).max(stream.oldest_number());
        Some(KeptSource::new(&stream, from, kept, &self.sessions, self.house.heartbeat()))
    }

    /// `DELETE /mcp`: the client is done with its session.
    pub(super) fn delete(&self, exchange: Exchange) {
        match self.ticket(&exchange, None) {
            Ok(ticket) => {
                self.tickets.end(&ticket, now_s());
                self.sessions.end(&ticket.nonce);
                log::info!("session={} ended by its client", ticket.short());
                exchange.respond(Reply::empty(204));
            }
            Err(refusal) => exchange.respond(refusal),
        }
    }

    fn initialize(&self, exchange: Exchange, message: Message, accepts: Accepts) {
        let id = request_id(&message).cloned();
        if self.ticket(&exchange, None).is_ok() {
            let what = "this session is initialized; send initialize without its id for a new one";
            let error = RpcError::new(ErrorCode::INVALID_REQUEST, what);
            return exchange.respond(refusal(400, id.as_ref(), &error));
        }
        let step = self.house.dispatcher.step(message, Revision::NEWEST, None);
        let Step::Initialized { revision, features, client, reply: response } = step else {
            let Step::Reply(response) = step else {
                return log::error!("initialize led to no reply; please report it");
            };
            let revision = Revision::NEWEST;
            return Answer::at_once(&self.house, exchange, accepts, response, revision, || None);
        };
        let principal = exchange.admitted.principal.clone();
        let Some((principal, random)) = principal.zip((self.house.settings.random)()) else {
            return log::error!("a session needs a principal and random bytes");
        };
        let issued = self.tickets.issue(&principal, revision, features, now_s(), random);
        log::info!("{} speaks {revision} on /mcp", escaped(&client));
        let mut answer = reply(response, revision);
        if let Some(id) = HeaderText::new(&issued) {
            answer.fields.push(("Mcp-Session-Id", id));
        }
        exchange.respond(answer);
    }

    /// Whose request this is. Errors: the reply that refuses it.
    fn ticket(&self, exchange: &Exchange, id: Option<&RequestId>) -> Result<Ticket, Reply> {
        let Some(session) = exchange.admitted.head.field("mcp-session-id") else {
            let what = "the header Mcp-Session-Id is missing; initialize gives it";
            return Err(refusal(400, id, &RpcError::new(ErrorCode(-32000), what)));
        };
        let principal = exchange.admitted.principal.as_ref();
        principal.and_then(|principal| self.tickets.check(session, principal, now_s())).ok_or_else(
            || {
                // Clients take this status for "begin anew" (2025-03-26, "Session Management").
                let what = "this session has ended or never was; send initialize again";
                refusal(404, id, &RpcError::new(ErrorCode(-32001), what))
            },
        )
    }

    fn keep(&self, ticket: &Ticket) -> Arc<Kept> {
        self.keep_with(ticket, &mut |_| ())
    }

    fn keep_with(&self, ticket: &Ticket, then: &mut dyn FnMut(&Arc<Kept>)) -> Arc<Kept> {
        let Ticket { nonce, revision, features, .. } = *ticket;
        self.sessions.keep_with(nonce, revision, features, Instant::now(), then)
    }

    fn in_session(&self, kept: Arc<Kept>) -> InSession {
        InSession { kept, sessions: Arc::clone(&self.sessions) }
    }

    /// Notes what a message changes in its session, and says what is left to do for it.
    fn note(&self, ticket: &Ticket, message: Message) -> Noted {
        match self.house.dispatcher.step(message, ticket.revision, None) {
            Step::Reply(response) => Noted::Reply(response),
            Step::Initialized { reply, .. } => Noted::Reply(reply),
            Step::Call(mut call) => {
                // From its first moment a call can be cancelled: its session must not be forgotten
                // between the two.
                let mut cancel = None;
                let kept = self.keep_with(ticket, &mut |kept| cancel = kept.talk.begin(&mut call));
                match cancel {
                    Some(cancel) => Noted::Call(call, cancel, kept),
                    None => Noted::Reply(Response::in_use(&call.id)),
                }
            }
            Step::Cancel(id) => {
                if let Some(kept) = self.sessions.find(&ticket.nonce) {
                    kept.talk.in_flight.cancel(&id, Reason::Requested);
                }
                Noted::Nothing
            }
            Step::SetLevel(level, response) => {
                self.keep_with(ticket, &mut |kept| kept.talk.set_level(level));
                Noted::Reply(response)
            }
            Step::Subscribe { uri, wanted, reply } => {
                let kept = self.keep(ticket);
                self.tell_changes(&kept);
                // A resource that cannot be watched any more is one that does not change.
                if let Err(why) = kept.talk.want(&uri, wanted) {
                    log::warn!("session={}: {why}", ticket.short());
                }
                Noted::Reply(reply)
            }
            Step::Answered(id, outcome) => {
                if let Some(kept) = self.sessions.find(&ticket.nonce) {
                    kept.talk.asked.answer(&id, outcome);
                }
                Noted::Nothing
            }
            Step::Listen(..) | Step::Nothing => Noted::Nothing,
        }
    }

    /// From now on the session hears of the changes that it wants.
    fn tell_changes(&self, kept: &Arc<Kept>) {
        kept.talk.reader.get_or_init(|| {
            let told = Arc::downgrade(kept);
            self.house.bulletin.read(Filter::lists(), move |change| {
                if let Some(kept) = told.upgrade() {
                    kept.standing().push(change.notification(None));
                }
            })
        });
    }

    /// Answers a POST with the responses to its parts, one after the other.
    fn run(
        self: &Arc<Self>,
        exchange: Exchange,
        parts: Vec<Part>,
        kept: &Arc<Kept>,
        accepts: Accepts,
        lane: Lane,
        batch: bool,
    ) {
        let principal = identity(&exchange.admitted);
        let key = format!("{:032x}", u128::from_be_bytes(kept.key));
        let session = self.in_session(Arc::clone(kept));
        let taker = Taker::of(&exchange);
        let answer = Answer::new(Arc::clone(&self.house), exchange, accepts, Some(session));
        let fired = match parts.as_slice() {
            [Part::Call(_, cancel)] => cancel.clone(),
            _ => Cancel::new(),
        };
        let parts = Arc::<[Part]>::from(parts);
        let (own, running) = (Arc::clone(self), Arc::clone(&parts));
        let (answering, own_kept) = (Arc::clone(&answer), Arc::clone(kept));
        let run = move || {
            let respond = |call: &Call, cancel: &Cancel| {
                let revision = own_kept.revision;
                let session = Some(key.as_str());
                let carried = Carried { revision, cancel, principal: &principal, session };
                let leave = || own_kept.talk.in_flight.leave(&call.id);
                own.house.run(call, &carried, &*answering, leave)
            };
            own.respond(&running, &own_kept, &answering, batch, respond);
        };
        if answer.run(lane, taker, &fired, run).is_err() {
            let busy = |call: &Call, _: &Cancel| {
                kept.talk.in_flight.leave(&call.id);
                Some(House::busy(call, kept.revision))
            };
            self.respond(&parts, kept, &answer, batch, busy);
        }
    }

    fn respond(
        &self,
        parts: &[Part],
        kept: &Arc<Kept>,
        answer: &Answer,
        batch: bool,
        respond: impl Fn(&Call, &Cancel) -> Option<Response>,
    ) {
        let mut whole = Vec::new();
        let mut last = None;
        for part in parts {
            let response = match part {
                Part::Done(response) => Some(response.clone()),
                Part::Call(call, cancel) => respond(call, cancel),
            };
            if batch {
                whole.extend(response.and_then(|response| answer.send_one(response)));
            } else {
                last = response;
            }
        }
        if batch {
            let texts: Vec<String> = whole.into_iter().map(|response| response.text).collect();
            answer.finish_with(|| Reply::json(200, format!("[{}]", texts.join(",")).into_bytes()));
        } else {
            answer.finish(last, kept.revision);
        }
        self.sessions.release(kept);
    }
}

impl fmt::Debug for Legacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Legacy").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

/// What is left to do for a message.
enum Noted {
    Reply(Response),
    /// It can be cancelled already.
    Call(Box<Call>, Cancel, Arc<Kept>),
    Nothing,
}

/// One part of what a POST asks for.
enum Part {
    Done(Response),
    Call(Box<Call>, Cancel),
}

fn request_id(message: &Message) -> Option<&RequestId> {
    match message {
        Message::Request { id, .. } => Some(id),
        _ => None,
    }
}
