//! Every client connection, counted and findable: the caps, whom to close when one is reached, and
//! the end of all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::worker::lock;

/// One connection as the caps see it.
#[derive(Debug)]
struct Entry {
    socket: Arc<TcpStream>,
    address: IpAddr,
    /// Since when it waits for its next request; `None` while it works.
    idle_since: Option<Instant>,
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
    /// closed; where all work, it waits for one to leave, at most `limit`.
    pub(super) fn room(&self, limit: Duration) -> bool {
        let entries = lock(&self.entries);
        if entries.len() < self.connections_max {
            return true;
        }
        if let Some(oldest) = oldest_idle(&entries, None) {
            self.evict(&oldest, "connections_max");
        }
        let (entries, _) = self
            .left
            .wait_timeout_while(entries, limit, |entries| {
                entries.len() >= self.connections_max && !self.is_closing()
            })
            .unwrap_or_else(PoisonError::into_inner);
        entries.len() < self.connections_max
    }

    /// Closes the oldest idle connection to give its descriptors back; waits a moment for it.
    pub(super) fn relieve(&self, limit: Duration) {
        let entries = lock(&self.entries);
        let before = entries.len();
        if let Some(oldest) = oldest_idle(&entries, None) {
            self.evict(&oldest, "the descriptors");
        }
        drop(
            self.left
                .wait_timeout_while(entries, limit, |now| {
                    now.len() >= before && !self.is_closing()
                })
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Takes a connection in.
    pub(super) fn enter(self: &Arc<Self>, socket: &Arc<TcpStream>, address: IpAddr) -> Entered {
        let mut entries = lock(&self.entries);
        let max = if address.to_canonical().is_loopback() {
            self.per_loopback_max
        } else {
            self.per_address_max
        };
        if entries.values().filter(|entry| entry.address == address).count() >= max {
            match oldest_idle(&entries, Some(address)) {
                Some(oldest) => self.evict(&oldest, "connections_per_address_max"),
                None => return Entered::AddressFull,
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        entries.insert(id, Entry { socket: Arc::clone(socket), address, idle_since: None });
        Entered::In(Place { of: Arc::clone(self), id })
    }

    /// Ends what is idle, and tells the rest to end after its exchange.
    pub(super) fn begin_close(&self) {
        self.closing.store(true, Ordering::Release);
        for entry in lock(&self.entries).values() {
            if entry.idle_since.is_some() {
                drop(entry.socket.shutdown(Shutdown::Read));
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

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn evict(&self, socket: &TcpStream, limit: &str) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
        log::debug!("closing the oldest idle connection: the limit {limit} is reached");
        // Its thread wakes, sees the end and leaves in an orderly way.
        drop(socket.shutdown(Shutdown::Read));
    }
}

fn oldest_idle(entries: &HashMap<u64, Entry>, address: Option<IpAddr>) -> Option<Arc<TcpStream>> {
    entries
        .values()
        .filter(|entry| address.is_none_or(|address| entry.address == address))
        .filter_map(|entry| entry.idle_since.map(|since| (since, entry)))
        .min_by_key(|(since, _)| *since)
        .map(|(_, entry)| Arc::clone(&entry.socket))
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

    /// Says that it waits for its next request. Returns whether it may: not while all is closing.
    pub(super) fn idle(&self) -> bool {
        if let Some(entry) = lock(&self.of.entries).get_mut(&self.id) {
            entry.idle_since = Some(Instant::now());
        }
        !self.of.is_closing()
    }

    /// Says that it works.
    pub(super) fn busy(&self) {
        if let Some(entry) = lock(&self.of.entries).get_mut(&self.id) {
            entry.idle_since = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.of.entries).remove(&self.id);
        self.of.left.notify_all();
    }
}
