//! One map of all sessions: open, find, end, and whom to end when there are too many.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::id::SessionId;
use super::outbox::{Outbox, Refused, Sent};
use super::talk::Talk;
use crate::auth::Principal;
use crate::cancel::{Cancel, Reason};
use crate::mcp::{ClientFeatures, Revision};
use crate::worker::lock;

/// The limits of this room; explained where all are listed, in `config`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "documented once, on config::Limits")]
pub struct SessionLimits {
    pub streams_max: usize,
    pub outbox_events_max: usize,
    pub outbox_bytes_max: usize,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client closed its stream.
    ClientLeft,
    /// The client did not read; the limit of this name was reached.
    SlowReader(&'static str),
    /// A newer stream needed its place (`streams_max`).
    Evicted,
    /// The server is stopping.
    Shutdown,
}

impl Ended {
    fn reason(self) -> Reason {
        match self {
            Self::ClientLeft => Reason::ClientLeft,
            Self::SlowReader(_) | Self::Evicted => Reason::SessionEnded,
            Self::Shutdown => Reason::Shutdown,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientLeft => f.write_str("its client left"),
            Self::SlowReader(limit) => {
                write!(f, "its client does not read and the limit {limit} is reached")
            }
            Self::Evicted => f.write_str("its place was needed: the limit streams_max is reached"),
            Self::Shutdown => f.write_str("the server is stopping"),
        }
    }
}

/// What a session speaks.
#[derive(Clone, Copy, Debug)]
struct Spoken {
    revision: Revision,
    /// Whether its client has said so in this session.
    certain: bool,
}

/// One session with its open stream.
pub struct Session {
    id: SessionId,
    principal: Principal,
    outbox: Outbox,
    /// What its conversation carries along.
    pub talk: Talk,
    spoken: Mutex<Spoken>,
    used: AtomicBool,
    touched: Mutex<Instant>,
    ended: AtomicBool,
    /// Ends the client's connection at once.
    hang_up: Cancel,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Whom it belongs to.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What it speaks.
    #[must_use]
    pub fn revision(&self) -> Revision {
        lock(&self.spoken).revision
    }

    /// Notes a message of the client: it is no ghost, and not idle now.
    pub fn touch(&self, now: Instant) {
        self.used.store(true, Ordering::Release);
        *lock(&self.touched) = now;
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Queues a message for its stream. Errors: it is full or has ended; the caller ends a session
    /// whose reader is slow ([`Registry::end`]).
    pub fn send(&self, message: String) -> Result<(), Refused> {
        self.outbox.send(message)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("principal", &self.principal)
            .field("in_flight", &self.talk.in_flight.len())
            .finish_non_exhaustive()
    }
}

/// Numbers for `/health`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Open now.
    pub open: usize,
    /// Opened since the start.
    pub opened: u64,
    /// Ended because their client did not read.
    pub slow: u64,
    /// Ended because a newer one needed the place.
    pub evicted: u64,
}

#[derive(Default)]
struct Map {
    sessions: HashMap<SessionId, Arc<Session>>,
    /// The newest that each principal negotiated: a client that reconnects does not initialize
    /// again, and all clients at home without a token are one principal.
    spoken: HashMap<Principal, Revision>,
}

/// All sessions.
pub struct Registry {
    map: Mutex<Map>,
    limits: SessionLimits,
    closed: AtomicBool,
    opened: AtomicU64,
    slow: AtomicU64,
    evicted: AtomicU64,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(limits: SessionLimits) -> Self {
        Self {
            map: Mutex::default(),
            limits,
            closed: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Opens a session. Nobody is refused: at `streams_max` the oldest ghost (a stream that never
    /// sent a message) is ended first, else the one that has been idle longest.
    #[must_use]
    pub fn open(
        &self,
        id: SessionId,
        principal: Principal,
        hang_up: Cancel,
        now: Instant,
    ) -> (Arc<Session>, Sent) {
        let (outbox, sent) =
            Outbox::new(self.limits.outbox_events_max, self.limits.outbox_bytes_max);
        let mut map = lock(&self.map);
        // Taken out under the lock: of streams that open together each makes room of its own.
        let full = map.sessions.len() >= self.limits.streams_max;
        let evicted = full.then(|| expendable(&map)).flatten();
        if let Some(evicted) = &evicted {
            map.sessions.remove(&evicted.id);
        }
        // A client that reconnects goes on with what it negotiated before, perhaps with a server
        // that has been restarted since: it may insist on the fields of that revision, while no
        // client minds fields of a newer one.
        let revision = map.spoken.get(&principal).copied().unwrap_or(Revision::NEWEST);
        let session = Arc::new(Session {
            id: id.clone(),
            principal,
            outbox,
            talk: Talk::new(ClientFeatures::default()),
            spoken: Mutex::new(Spoken { revision, certain: false }),
            used: AtomicBool::new(false),
            touched: Mutex::new(now),
            ended: AtomicBool::new(false),
            hang_up,
        });
        map.sessions.insert(id, Arc::clone(&session));
        drop(map);
        self.opened.fetch_add(1, Ordering::Relaxed);
        if let Some(evicted) = evicted {
            self.end(&evicted, Ended::Evicted);
        }
        // Looked at after the session is in the map: either this sees it, or `close` the session.
        if self.closed.load(Ordering::SeqCst) {
            self.end(&session, Ended::Shutdown);
        }
        (session, sent)
    }

    /// The session with this id, if it belongs to `principal`; somebody else's is as unknown as one
    /// that never was.
    #[must_use]
    pub fn find(&self, id: &str, principal: &Principal) -> Option<Arc<Session>> {
        lock(&self.map).sessions.get(id).filter(|session| session.principal == *principal).cloned()
    }

    /// Notes what the client of a session that did not initialize says that it speaks.
    pub fn hint(&self, session: &Session, revision: Revision) {
        if !lock(&session.spoken).certain {
            self.settle(session, revision);
        }
    }

    /// Notes what a session has negotiated.
    pub fn settle(&self, session: &Session, revision: Revision) {
        *lock(&session.spoken) = Spoken { revision, certain: true };
        let mut map = lock(&self.map);
        if map.spoken.len() >= SPOKEN_MAX && !map.spoken.contains_key(&session.principal) {
            map.spoken.clear();
        }
        let newest = map.spoken.entry(session.principal.clone()).or_insert(revision);
        *newest = revision.max(*newest);
    }

    /// Ends a session once: stops its calls, closes its stream after what waits; a slow reader's
    /// and an evicted one's connection is cut at once.
    pub fn end(&self, session: &Session, why: Ended) {
        if session.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        lock(&self.map).sessions.remove(&session.id);
        session.talk.in_flight.cancel_all(why.reason());
        if matches!(why, Ended::SlowReader(_) | Ended::Evicted) {
            // Before the outbox is closed: a stream that ends in an orderly way first is no longer
            // there to be cut, and keeps its place while it waits for its client to go.
            session.hang_up.fire(Reason::SessionEnded);
        }
        session.outbox.close();
        match why {
            Ended::SlowReader(_) => {
                self.slow.fetch_add(1, Ordering::Relaxed);
                log::warn!("session={} ended: {why}", session.id.short());
            }
            Ended::Evicted => {
                self.evicted.fetch_add(1, Ordering::Relaxed);
                log::info!("session={} ended: {why}", session.id.short());
            }
            Ended::ClientLeft | Ended::Shutdown => {
                log::debug!("session={} ended: {why}", session.id.short());
            }
        }
    }

    /// Ends all of them, and whatever is opened from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let all: Vec<Arc<Session>> = lock(&self.map).sessions.values().cloned().collect();
        for session in all {
            self.end(&session, Ended::Shutdown);
        }
    }

    /// Numbers as of now.
    #[must_use]
    pub fn counts(&self) -> SessionCounts {
        SessionCounts {
            open: lock(&self.map).sessions.len(),
            opened: self.opened.load(Ordering::Relaxed),
            slow: self.slow.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// Ghosts before sessions without work before all others; among equals the one idle longest.
fn expendable(map: &Map) -> Option<Arc<Session>> {
    map.sessions
        .values()
        .min_by_key(|session| {
            let used = session.used.load(Ordering::Acquire);
            (used, !session.talk.in_flight.is_empty(), *lock(&session.touched))
        })
        .cloned()
}

/// How many principals' last revisions are remembered; past it they are forgotten together, which
/// costs a reconnecting client of theirs the newer fields until it initializes.
const SPOKEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::super::outbox::Next;
    use super::*;
    use std::time::Duration;

    fn registry(streams_max: usize) -> Registry {
        Registry::new(SessionLimits { streams_max, outbox_events_max: 2, outbox_bytes_max: 100 })
    }

    fn open(registry: &Registry, n: u8, at: Instant) -> Arc<Session> {
        registry.open(SessionId::mint([n; 16]), Principal::Home, Cancel::new(), at).0
    }

    #[test]
    fn the_oldest_ghost_goes_before_anyone_who_works() {
        let registry = registry(2);
        let start = Instant::now();
        let worker = open(&registry, 1, start);
        worker.touch(start);
        let ghost = open(&registry, 2, start + Duration::from_secs(1));
        let third = open(&registry, 3, start + Duration::from_secs(2));
        assert!(ghost.has_ended() && !worker.has_ended() && !third.has_ended());
        third.touch(start + Duration::from_secs(3));
        let _busy = third.talk.in_flight.enter(&crate::mcp::RequestId::String("a".into()));
        let _fourth = open(&registry, 4, start + Duration::from_secs(4));
        assert!(worker.has_ended() && !third.has_ended());
        assert_eq!(registry.counts().evicted, 2);
    }

    #[test]
    fn sessions_that_open_at_once_keep_the_limit() {
        let registry = registry(4);
        let together = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (registry, together) = (&registry, &together);
                scope.spawn(move || {
                    together.wait();
                    for n in 0..100 {
                        let mut random = [n; 16];
                        random[0] = thread;
                        let id = SessionId::mint(random);
                        drop(registry.open(id, Principal::Home, Cancel::new(), Instant::now()));
                    }
                });
            }
        });
        let counts = registry.counts();
        assert_eq!((counts.open, counts.evicted), (4, 796));
    }

    #[test]
    fn ending_stops_the_calls_and_a_reconnect_keeps_the_revision() {
        let registry = registry(4);
        let session = open(&registry, 1, Instant::now());
        assert_eq!(session.revision(), Revision::NEWEST);
        registry.hint(&session, Revision::V2024_11_05);
        assert_eq!(session.revision(), Revision::V2024_11_05);
        registry.settle(&session, Revision::V2025_06_18);
        registry.hint(&session, Revision::V2025_11_25);
        let call =
            session.talk.in_flight.enter(&crate::mcp::RequestId::String("a".into())).unwrap();
        registry.end(&session, Ended::ClientLeft);
        assert_eq!(call.reason(), Some(Reason::ClientLeft));
        assert!(registry.find(session.id().as_str(), &Principal::Home).is_none());
        let again = open(&registry, 2, Instant::now());
        assert_eq!(again.revision(), Revision::V2025_06_18);
    }
    #[test]
    fn a_slow_or_evicted_session_is_cut_before_its_stream_could_end_in_an_orderly_way() {
        for why in [Ended::Evicted, Ended::SlowReader("outbox_events_max")] {
            let registry = registry(4);
            let hang_up = Cancel::new();
            let id = SessionId::mint([1; 16]);
            let (session, sent) =
                registry.open(id, Principal::Home, hang_up.clone(), Instant::now());
            let (cut, heard) = crossbeam_channel::bounded(1);
            let _hook = hang_up.hook(move || cut.send(sent.next()).unwrap());
            registry.end(&session, why);
            assert_eq!(heard.try_recv(), Ok(Next::Nothing), "{why}");
        }
    }

    #[test]
    fn a_closed_registry_ends_what_is_opened() {
        let registry = registry(4);
        let before = open(&registry, 1, Instant::now());
        registry.close();
        let after = open(&registry, 2, Instant::now());
        assert!(before.has_ended() && after.has_ended());
        assert_eq!(registry.counts().open, 0);
    }
}
