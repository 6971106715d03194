//! Every client connection, counted and findable: the caps, whom to close when one is reached, and
//! the end of all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::auth::network;
use crate::worker::lock;

/// One connection as the caps see it.
#[derive(Debug)]
struct Entry {
    socket: Arc<TcpStream>,
    address: IpAddr,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Came then and has sent no request yet; ended to make room only when it had its chance and
    /// nobody is idle.
    Fresh(Instant),
    /// Works since then on a request of somebody who is not known; ended to make room like one that
    /// said nothing, or strangers who send or read slowly would hold all places.
    Stranger(Instant),
    /// Waits for its next request; the one before began then.
    Idle(Instant),
    /// Works on a request.
    Busy,
    /// Was told to end; what it still sends is not looked at.
    Ended,
}

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    entries: Mutex<HashMap<u64, Entry>>,
    left: Condvar,
    next: AtomicU64,
    accepted: AtomicU64,
    evicted: AtomicU64,
    closing: AtomicBool,
    connections_max: usize,
    per_address_max: usize,
    per_loopback_max: usize,
}

/// What became of a new connection.
#[derive(Debug)]
pub(super) enum Entered {
    /// It may go on.
    In(Place),
    /// Its address has as many as it may, all of them at work.
    AddressFull,
    /// All is closing.
    Closing,
}

impl Connections {
    pub(super) fn new(
        connections_max: usize,
        per_address_max: usize,
        per_loopback_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            left: Condvar::new(),
            next: AtomicU64::new(1),
            accepted: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            connections_max,
            per_address_max,
            per_loopback_max,
        })
    }

    /// Makes room for one more and says whether there is: at the cap the oldest idle connection is
    /// closed, else the oldest that never spoke; where all work, it waits for one to leave, at most
    /// `limit`.
    pub(super) fn room(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut entries = lock(&self.entries);
        loop {
            if entries.len() < self.connections_max {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_closing() {
                return false;
            }
            // One is enough: whoever was told to end makes room.
            if !entries.values().any(|entry| entry.state == State::Ended) {
                self.evict(&mut entries, None, "connections_max");
            }
            let waited = self.left.wait_timeout(entries, left);
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Closes the oldest idle connection to give its descriptors back; waits a moment for it.
    pub(super) fn relieve(&self, limit: Duration) {
        let mut entries = lock(&self.entries);
        let before = entries.len();
        self.evict(&mut entries, None, "the descriptors");
        drop(
            self.left
                .wait_timeout_while(entries, limit, |now| now.len() >= before && !self.is_closing())
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Takes a connection in. A proxy of the owner's, which speaks for everybody, may have as many as
    /// there are.
    pub(super) fn enter(
        self: &Arc<Self>,
        socket: &Arc<TcpStream>,
        address: IpAddr,
        is_proxy: bool,
    ) -> Entered {
        let address = network(address);
        let mut entries = lock(&self.entries);
        // Asked under the lock: `begin_close` sees the entry, or this sees that it has begun.
        if self.is_closing() {
            return Entered::Closing;
        }
        let max = if address.is_loopback() { self.per_loopback_max } else { self.per_address_max };
        let counts = |entry: &&Entry| entry.address == address && entry.state != State::Ended;
        if !is_proxy
            && entries.values().filter(counts).count() >= max
            && !self.evict(&mut entries, Some(address), "connections_per_address_max")
        {
            return Entered::AddressFull;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let entry =
            Entry { socket: Arc::clone(socket), address, state: State::Fresh(Instant::now()) };
        entries.insert(id, entry);
        Entered::In(Place { of: Arc::clone(self), id })
    }

    /// Ends what is idle, and tells the rest to end after its exchange.
    pub(super) fn begin_close(&self) {
        self.closing.store(true, Ordering::Release);
        for entry in lock(&self.entries).values_mut() {
            if matches!(entry.state, State::Fresh(_) | State::Idle(_)) {
                entry.end();
            }
        }
        self.left.notify_all();
    }

    /// Ends every connection at once.
    pub(super) fn force_close(&self) {
        for entry in lock(&self.entries).values() {
            drop(entry.socket.shutdown(Shutdown::Both));
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    pub(super) fn idle(&self) -> usize {
        let is_idle = |entry: &&Entry| matches!(entry.state, State::Idle(_));
        lock(&self.entries).values().filter(is_idle).count()
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Ends the oldest idle connection (of an address), or else the oldest that never spoke; says
    /// whether there was one.
    fn evict(
        &self,
        entries: &mut HashMap<u64, Entry>,
        address: Option<IpAddr>,
        limit: &str,
    ) -> bool {
        let oldest = entries
            .values_mut()
            .filter(|entry| address.is_none_or(|address| entry.address == address))
            .filter_map(|entry| match entry.state {
                State::Idle(since) => Some(((false, since), entry)),
                State::Fresh(since) | State::Stranger(since)
                    if since.elapsed() >= SPEAKS_WITHIN =>
                {
                    Some(((true, since), entry))
                }
                State::Fresh(_) | State::Stranger(_) | State::Busy | State::Ended => None,
            })
            .min_by_key(|(rank, _)| *rank);
        let Some((_, entry)) = oldest else { return false };
        entry.end();
        self.evicted.fetch_add(1, Ordering::Relaxed);
        log::debug!("closing the oldest idle connection: the limit {limit} is reached");
        true
    }
}

impl Entry {
    /// Its thread wakes, sees the end and leaves in an orderly way; a stranger may be one that does
    /// not read.
    fn end(&mut self) {
        let stranger = matches!(self.state, State::Stranger(_));
        self.state = State::Ended;
        let end = if stranger { Shutdown::Both } else { Shutdown::Read };
        drop(self.socket.shutdown(end));
    }
}

/// A connection's place among the others; dropped, it is free.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Connections>,
    id: u64,
}

impl Place {
    /// The number of the connection, for its thread's name.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Says that it waits for its next request, after one that began at `used`. Returns whether it
    /// may: not while all is closing.
    pub(super) fn idle(&self, used: Instant) -> bool {
        let may = self.enter(State::Idle(used)) && !self.of.is_closing();
        if self.of.len() >= self.of.connections_max {
            // Somebody may wait for one that can be closed.
            self.of.left.notify_all();
        }
        may
    }

    /// Says that it works on a stranger's request since then. Returns whether it may, as
    /// [`Self::busy`] does.
    pub(super) fn serves_stranger(&self, since: Instant) -> bool {
        self.enter(State::Stranger(since))
    }

    /// Says that it works. Returns whether it may: not when it was told to end.
    pub(super) fn busy(&self) -> bool {
        self.enter(State::Busy)
    }

    fn enter(&self, state: State) -> bool {
        match lock(&self.of.entries).get_mut(&self.id) {
            Some(entry) if entry.state != State::Ended => {
                entry.state = state;
                true
            }
            _ => false,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.of.entries).remove(&self.id);
        self.of.left.notify_all();
    }
}

/// Clients send their handshake and their first request at once; one that has not by then may be
/// ended for somebody who does.
const SPEAKS_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_network_of_ipv6_has_the_places_of_one_address_and_a_proxy_all() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let connections = Connections::new(100, 2, 3);
        let mut places = Vec::new();
        let mut enters = |address: &str, is_proxy| {
            let entered = connections.enter(&socket, address.parse().unwrap(), is_proxy);
            let Entered::In(place) = entered else { return false };
            // One that had its chance to speak would make room.
            assert!(place.busy());
            places.push(place);
            true
        };
        assert!(enters("2a02:1:1:1::1", false) && enters("2a02:1:1:1::2", false));
        assert!(!enters("2a02:1:1:1:ffff::3", false), "it has as many addresses as it likes");
        assert!(enters("2a02:1:1:2::1", false));
        assert!(
            (1..=5).all(|last| enters(&format!("fd00::{last}"), false)),
            "those at home share one"
        );
        assert!(enters("::ffff:8.8.8.8", false) && enters("8.8.8.8", false));
        assert!(!enters("::ffff:8.8.8.8", false), "it is the same");
        assert!((0..3).all(|_| enters("::1", false)) && !enters("::1", false));
        assert!((0..9).all(|_| enters("::1", true)));
    }
}
