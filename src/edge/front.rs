//! One client connection from its first byte to its last, on a thread of its own: head, gate,
//! body, worker, reply, and again.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::body::{self, NoBody};
use super::budget::Budget;
use super::connections::{Connections, Place};
use super::cors::Grant;
use super::error::Refusal;
use super::gate::{Access, Admission, Policy, admit_head, bearer};
use super::head::{self, Head, Method};
use super::http::House;
use super::minder::Minder;
use super::reply::{self, Awaiting, Finished};
use super::slot::Slot;
use super::wire::{Got, Wire};
use super::{Admitted, EdgeLimits, Reply};
use crate::auth::{Deed, Interfaces, Throttle, system_now_s};
use crate::cancel::{Cancel, Hook};
use crate::observe::{AccessLine, escaped};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) house: Arc<House>,
    pub(super) policy: Policy,
    pub(super) interfaces: Arc<Interfaces>,
    pub(super) throttle: Arc<Throttle>,
    pub(super) limits: EdgeLimits,
    pub(super) connections: Arc<Connections>,
    pub(super) bodies: Arc<Budget>,
    pub(super) replies: Arc<Budget>,
    pub(super) minder: Minder,
    pub(super) exchanges: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Front {
    /// A stranger never makes us buffer much, on whatever route.
    fn body_limits(&self, admission: &Admission) -> EdgeLimits {
        let most = if admission.principal.is_none() { STRANGER_BYTES_MAX } else { usize::MAX };
        EdgeLimits { body_bytes_max: self.limits.body_bytes_max.min(most), ..self.limits }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) front: Arc<Front>,
    pub(super) wire: Wire,
    pub(super) socket: Arc<TcpStream>,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
    /// Who sent the request that is being served.
    client: IpAddr,
    /// When the request before began.
    used: Option<Instant>,
    /// Until when the next one is waited for, once that has begun.
    idle_until: Option<Instant>,
    /// This thread has answered something itself, and its stack is the larger for it.
    deep: bool,
}

/// What a connection's thread does next.
enum Next {
    /// Answers a request.
    Head(Head),
    /// Leaves the waiting to a thread that costs less.
    Rest,
    /// Ends; whatever had to be said was said.
    Over,
}

impl Connection {
    /// A connection that has not been used.
    pub(super) fn new(front: Arc<Front>, wire: Wire, peer: SocketAddr, place: Place) -> Self {
        let socket = wire.socket();
        let client = peer.ip().to_canonical();
        let (used, idle_until, deep) = (None, None, false);
        Self { front, wire, socket, peer, place, client, used, idle_until, deep }
    }

    /// Serves requests until one side ends it. Returns it when it has been silent for a while on a
    /// thread whose stack has grown: to be served on by another.
    pub(super) fn serve(mut self) -> Option<Self> {
        loop {
            let head = match self.next_head() {
                Next::Head(head) => head,
                Next::Rest => {
                    self.deep = false;
                    return Some(self);
                }
                Next::Over => break,
            };
            if !self.place.busy() {
                // It was told to end in this very moment; nothing of the request was done.
                break;
            }
            let begun = Instant::now();
            self.used = Some(begun);
            if !self.exchange(head, begun) {
                break;
            }
        }
        self.wire.close(LINGER_PAUSE, LINGER);
        None
    }

    /// Waits for a head.
    fn next_head(&mut self) -> Next {
        let limits = self.front.limits;
        // The connection is idle until the first byte of the next request.
        if self.wire.inbound().is_empty() {
            match self.first_byte() {
                Ok(Got::Data) => {}
                Ok(Got::Nothing) => return Next::Rest,
                Ok(Got::End | Got::Late) | Err(_) => return Next::Over,
            }
        }
        let deadline = Instant::now() + Duration::from_millis(limits.head_ms_max);
        loop {
            match head::parse(self.wire.inbound(), limits.head_bytes_max) {
                Ok(Some((head, length))) => {
                    self.wire.take(length);
                    return Next::Head(head);
                }
                Ok(None) => {}
                Err(refusal) => return self.refuse_unread(&refusal),
            }
            match self.wire.read(deadline) {
                Ok(Got::Data) => {}
                Ok(Got::Late) => {
                    return self.refuse_unread(&Refusal::HeadTooSlow(limits.head_ms_max));
                }
                Ok(Got::End | Got::Nothing) | Err(_) => return Next::Over,
            }
        }
    }

    /// Waits for the next request to begin. Nothing: not yet, and this thread is not the one to
    /// wait on.
    fn first_byte(&mut self) -> io::Result<Got> {
        let limits = self.front.limits;
        let until = match (self.idle_until, self.used) {
            (Some(until), _) => until,
            (None, None) => Instant::now() + Duration::from_millis(limits.head_ms_max),
            (None, Some(used)) if self.place.idle(used) => {
                Instant::now() + Duration::from_millis(limits.keep_alive_ms_max)
            }
            (None, Some(_)) => return Ok(Got::End),
        };
        self.idle_until = Some(until);
        let here = if self.deep { until.min(Instant::now() + REST_AFTER) } else { until };
        let got = self.wire.read_later(here)?;
        if got == Got::Late && here < until {
            return Ok(Got::Nothing);
        }
        self.idle_until = None;
        Ok(got)
    }

    /// Refuses bytes that never became a head.
    fn refuse_unread(&mut self, refusal: &Refusal) -> Next {
        self.front.refused.fetch_add(1, Ordering::Relaxed);
        log::debug!("{}: {refusal}", self.peer.ip().to_canonical());
        let reply = Reply::from(refusal);
        // Nothing follows, so it does not matter whether it went out.
        reply::send(&mut self.wire, &reply, None, false, &self.front.limits).unwrap_or_default();
        Next::Over
    }

    /// Answers one request; says whether the connection goes on.
    fn exchange(&mut self, mut head: Head, begun: Instant) -> bool {
        let front = Arc::clone(&self.front);
        front.exchanges.fetch_add(1, Ordering::Relaxed);
        let interfaces = front.interfaces.current();
        let (peer, tls) = (self.peer, self.wire.is_tls());
        let admission =
            admit_head(&head, peer, tls, &interfaces, &front.policy).and_then(|admission| {
                body::check_length(head.framing, &front.body_limits(&admission)).map(|()| admission)
            });
        self.client = front.policy.client(&head, peer.ip());
        let admission = match admission {
            Ok(admission) => admission,
            Err(refusal) => return self.refuse(&head, &self.counted(refusal, &head), begun),
        };
        if head.method == Method::Options {
            return self.options(&head, &admission, begun);
        }
        let stranger = admission.principal.is_none();
        if stranger && !self.place.serves_stranger(begun) {
            return false;
        }
        let body = match self.body(&head, &front.body_limits(&admission), stranger) {
            Ok(body) => body,
            Err(NoBody::Refused(refusal)) => return self.refuse(&head, &refusal, begun),
            Err(NoBody::Broken(error)) => {
                log::debug!("{}: no body: {error}", peer.ip().to_canonical());
                return false;
            }
        };
        let route = front.policy.routes.get(admission.route);
        if !route.is_some_and(|route| matches!(route.access, Access::Public { .. })) {
            // The credential has done its work; nothing behind the gate sees it.
            head.fields.retain(|(name, _)| name != "authorization");
        }
        let admitted = self.admitted(head, admission);
        let _ends = route.is_some_and(|route| route.streams).then(|| self.hang_up_with(&admitted));
        let alone = route.is_some_and(|route| route.alone) && body.bytes.len() <= ALONE_BYTES_MAX;
        let awaiting = if alone {
            self.deep = true;
            front.house.answer_alone(&admitted, body.bytes);
            Awaiting::Alone
        } else {
            match front.house.send(&admitted, &body.bytes) {
                Ok(inner) => Awaiting::Inner(inner),
                Err(refusal) => return self.refuse(&admitted.head, &refusal, begun),
            }
        };
        drop(body.share);
        let finished = reply::bring(
            &mut self.wire,
            awaiting,
            &admitted,
            &front.house,
            &front.limits,
            &front.replies,
            &front.minder,
        );
        self.log(&admitted.head, admitted.principal.as_ref(), &finished, begun);
        finished.keep
    }

    fn admitted(&self, head: Head, admission: Admission) -> Arc<Admitted> {
        let policy = &self.front.policy;
        let Admission { route, principal, base, site } = admission;
        Arc::new(Admitted {
            route,
            principal,
            peer: self.peer,
            client: self.client,
            here: policy.is_here(&head, self.peer.ip()),
            house: policy.is_house(self.client, &self.front.interfaces.current()),
            site,
            tls: self.wire.is_tls(),
            grant: Grant::of(&head, policy, policy.routes.get(route)),
            head,
            gone: Cancel::new(),
            hang_up: Cancel::new(),
            base,
            half_close: AtomicU8::new(0),
            socket: Arc::clone(&self.socket),
            slot: Slot::default(),
            authenticator: Arc::clone(&policy.authenticator),
        })
    }

    fn body(
        &mut self,
        head: &Head,
        limits: &EdgeLimits,
        stranger: bool,
    ) -> Result<body::Body, NoBody> {
        if head.expects_continue && self.wire.inbound().is_empty() {
            let deadline = Instant::now() + Duration::from_millis(limits.write_ms_max);
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n", deadline)?;
        }
        body::read(&mut self.wire, head.framing, limits, self.front.bodies.share(stranger))
    }

    /// Lets the house end this connection from another thread.
    fn hang_up_with(&self, admitted: &Admitted) -> Hook {
        let socket = Arc::clone(&self.socket);
        admitted.hang_up.hook(move || drop(socket.shutdown(Shutdown::Both)))
    }

    /// RFC 9110, section 9.3.7. Answered before a token is asked for: browsers send none with it.
    fn options(&mut self, head: &Head, admission: &Admission, begun: Instant) -> bool {
        let route = self.front.policy.routes.get(admission.route);
        let allow = route.map_or("GET, POST, OPTIONS", |route| route.allow);
        let mut reply = Reply::empty(204).with("Allow", allow);
        Grant::preflight(head, &self.front.policy, route, &mut reply);
        let keep = head.keep_alive && body::skip(&mut self.wire, head.framing);
        let sent = reply::send(&mut self.wire, &reply, Some(head), keep, &self.front.limits);
        let finished = Finished::after(&sent, reply.status, 0, keep);
        self.log(head, None, &finished, begun);
        finished.keep
    }

    /// Whoever tries tokens is told to wait after a while; real clients that were revoked ask again
    /// a few times. One whose token has ended has to hear that, whoever else tries some from there.
    fn counted(&self, refusal: Refusal, head: &Head) -> Refusal {
        let ended = |token| self.front.policy.authenticator.issued(token);
        if !matches!(refusal, Refusal::TokenInvalid(_)) || bearer(head).is_some_and(ended) {
            return refusal;
        }
        let taken = self.front.throttle.take(self.client, Deed::WrongBearer, system_now_s());
        taken.map_or_else(Refusal::TooManyWrong, |()| refusal)
    }

    fn refuse(&mut self, head: &Head, refusal: &Refusal, begun: Instant) -> bool {
        self.front.refused.fetch_add(1, Ordering::Relaxed);
        // A client that waits for a 100 has not sent its body and will not.
        let keep = head.keep_alive
            && !refusal.closes()
            && !head.expects_continue
            && body::skip(&mut self.wire, head.framing);
        let limits = self.front.limits;
        let mut reply = Reply::from(refusal);
        let grant = Grant::of(head, &self.front.policy, None);
        if let Some(grant) = grant.filter(|_| !refusal.precedes_origin()) {
            grant.tell(&mut reply);
        }
        let bytes = reply.body.len() as u64;
        let sent = reply::send(&mut self.wire, &reply, Some(head), keep, &limits);
        let finished = Finished::after(&sent, refusal.status(), bytes, keep);
        self.log(head, None, &finished, begun);
        finished.keep
    }

    fn log(
        &self,
        head: &Head,
        principal: Option<&crate::auth::Principal>,
        finished: &Finished,
        begun: Instant,
    ) {
        AccessLine {
            peer: self.client,
            principal: principal.map(|principal| principal as &dyn std::fmt::Display),
            method: head.method.as_str(),
            path: &head.path,
            status: finished.status,
            left: finished.left,
            bytes: finished.bytes,
            elapsed: begun.elapsed(),
            tls: self.wire.is_tls(),
        }
        .write();
    }
}

/// Tells a plain-HTTP client of the HTTPS port what to type, and closes.
pub(super) fn answer_plain_on_tls(wire: Wire, limits: &EdgeLimits) {
    let mut wire = wire;
    let deadline = Instant::now() + PLAIN_LIMIT;
    let mut host = None;
    while let Ok(Got::Data) = wire.read(deadline) {
        match head::parse(wire.inbound(), limits.head_bytes_max) {
            Ok(Some((head, _))) => {
                host = Some(escaped(&head.host).to_string());
                break;
            }
            Ok(None) => {}
            Err(_) => break,
        }
    }
    let reply = Reply::from(&Refusal::PlainOnTls(host));
    // Nothing follows, so it does not matter whether it went out.
    reply::send(&mut wire, &reply, None, false, limits).unwrap_or_default();
    wire.close(LINGER_PAUSE, LINGER);
}

/// Whether the peer speaks HTTP where a TLS handshake is expected. `None`: nothing came.
pub(super) fn speaks_plain(socket: &TcpStream) -> io::Result<Option<bool>> {
    let mut byte = [0];
    match socket.peek(&mut byte) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        // A TLS record of a handshake begins with 22 (RFC 8446, section 5.1).
        Ok(_) => Ok(Some(byte.first().is_some_and(u8::is_ascii_alphabetic))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// After how long a silence a connection moves to a fresh thread: the stack that an answer took is
/// given back with the old one, which is a third of what an idle connection costs.
const REST_AFTER: Duration = Duration::from_millis(250);
/// The body of somebody who is not known: a registration or a form.
const STRANGER_BYTES_MAX: usize = 64 * 1024;
/// Larger bodies go to a worker, whose thread has the room that they may need; what real clients
/// send without an image is far smaller.
const ALONE_BYTES_MAX: usize = 64 * 1024;
/// How long a closed connection waits for its peer to go on or to close.
const LINGER_PAUSE: Duration = Duration::from_millis(500);
/// How long it is read at all, so that a peer that still sends its body sees our last reply.
const LINGER: Duration = Duration::from_secs(5);
/// How long a plain request on the HTTPS port is waited for.
const PLAIN_LIMIT: Duration = Duration::from_secs(2);
