//! Looks after the event streams whose own threads are at work. While a thread makes the words that
//! its stream brings, somebody else has to break the silence, to send on what its client did not take
//! at once, and to notice that the client has left: one thread for all of them.
//!
//! Measured against a second thread for each call: a tenth of a millisecond less for a short answer,
//! which is gone before anybody has to look.

use std::fmt;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::Admitted;
use super::relay::{Relay, try_lock};
use super::reply::left;
use super::wire::wait;
use crate::worker::{Worker, lock};

/// The one who looks after them. Its thread is there from the first stream on.
#[derive(Debug, Default)]
pub(super) struct Minder {
    shared: Arc<Shared>,
    worker: Mutex<Option<Worker>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    minded: Vec<Arc<Minded>>,
    /// The thread looks by itself every [`LOOK_EVERY`]; else it has to be woken.
    is_awake: bool,
    closed: bool,
}

/// A stream that is looked after.
pub(super) struct Minded {
    relay: Arc<Mutex<Option<Relay>>>,
    socket: Arc<TcpStream>,
    admitted: Arc<Admitted>,
    /// Whether its client may have something to say.
    watched: AtomicBool,
    /// Whether its client has something to take.
    behind: AtomicBool,
}

/// The time during which a stream is looked after.
#[derive(Debug)]
pub(super) struct Minding {
    shared: Arc<Shared>,
    minded: Arc<Minded>,
}

impl Minder {
    /// Looks after a stream until the guard is dropped: within [`LOOK_EVERY`] after it began, and at
    /// once from then on. Nobody may wait for the client under the relay's lock meanwhile.
    pub(super) fn mind(&self, minded: Minded) -> Minding {
        let minded = Arc::new(minded);
        let is_awake = {
            let mut state = lock(&self.shared.state);
            state.minded.push(Arc::clone(&minded));
            std::mem::replace(&mut state.is_awake, true)
        };
        if !is_awake {
            self.wake();
        }
        Minding { shared: Arc::clone(&self.shared), minded }
    }

    fn wake(&self) {
        let mut worker = lock(&self.worker);
        if worker.is_some() {
            return self.shared.changed.notify_all();
        }
        let shared = Arc::clone(&self.shared);
        match Worker::spawn("minder", STACK_BYTES, move || shared.run()) {
            Ok(started) => *worker = Some(started),
            Err(error) => {
                log::error!("the system refuses another thread, so streams are silent: {error}");
                lock(&self.shared.state).is_awake = false;
            }
        }
    }

    /// Ends its thread. What is minded after that is not looked after.
    pub(super) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.is_awake = true;
        drop(state);
        self.shared.changed.notify_all();
        let worker = lock(&self.worker).take();
        drop(worker);
    }
}

impl Drop for Minder {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(all) = self.next() {
            let mut fds: Vec<_> =
                all.iter().map(|minded| PollFd::new(&*minded.socket, minded.flags())).collect();
            if wait(&mut fds, Some(LOOK_EVERY)).is_err() {
                // Short of memory; the clients are looked at all the same, a little later.
                self.pause();
            }
            let seen: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            for (minded, seen) in all.iter().zip(seen) {
                if !minded.look(seen) {
                    self.forget(minded);
                }
            }
        }
    }

    /// The streams to look after, when there are any; nothing at the end. A house in which one call
    /// follows another wakes nobody for each.
    fn next(&self) -> Option<Vec<Arc<Minded>>> {
        let mut state = lock(&self.state);
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if state.closed || !state.minded.is_empty() {
                break;
            }
            state = self
                .changed
                .wait_timeout(state, LOOK_EVERY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        while !state.closed && state.minded.is_empty() {
            state.is_awake = false;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.closed).then(|| state.minded.clone())
    }

    fn pause(&self) {
        let state = lock(&self.state);
        drop(self.changed.wait_timeout(state, LOOK_EVERY));
    }

    fn forget(&self, minded: &Arc<Minded>) {
        lock(&self.state).minded.retain(|other| !Arc::ptr_eq(other, minded));
    }
}

impl Minded {
    pub(super) fn new(
        relay: &Arc<Mutex<Option<Relay>>>,
        socket: &Arc<TcpStream>,
        admitted: &Arc<Admitted>,
    ) -> Self {
        Self {
            relay: Arc::clone(relay),
            socket: Arc::clone(socket),
            admitted: Arc::clone(admitted),
            watched: AtomicBool::new(true),
            behind: AtomicBool::new(false),
        }
    }

    fn flags(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.watched.load(Ordering::Relaxed));
        flags.set(PollFlags::OUT, self.behind.load(Ordering::Relaxed));
        flags
    }

    /// Does what is to be done without waiting; says whether there will be more to do.
    fn look(&self, seen: PollFlags) -> bool {
        // Who holds the lock sends, or takes the stream back.
        let Some(mut relay) = try_lock(&self.relay) else { return true };
        let Some(relay) = relay.as_mut() else { return false };
        match relay.mind(seen, &self.admitted) {
            Ok(is_behind) => {
                self.watched.store(relay.is_watched(), Ordering::Relaxed);
                self.behind.store(is_behind, Ordering::Relaxed);
                true
            }
            Err(error) => {
                left(&self.admitted, &error);
                false
            }
        }
    }
}

impl fmt::Debug for Minded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minded").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Drop for Minding {
    fn drop(&mut self) {
        self.shared.forget(&self.minded);
    }
}

/// How often each stream is looked at while nothing wakes the thread.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked for streams after the last one, before the thread sleeps until one comes.
const LOOKS_BEFORE_SLEEP: u32 = 4;
const STACK_BYTES: usize = 128 * 1024;
