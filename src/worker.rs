//! The one way to make a thread, a pool of them, and to take a lock.
//!
//! Every thread has a name of at most 15 bytes (the kernel cuts longer ones), an explicit stack
//! and somebody who joins it. A loop ends when what feeds it is closed; there is no stop message.

mod pool;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use pool::{Pool, PoolFull, PoolPlace};

/// Takes a lock. A panic under a lock leaves valid data behind here (every line keeps the data
/// whole), so poison is ignored.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a named thread. Errors: the system refuses another thread.
pub fn start<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(run)
}

/// A thread that is joined when this is dropped. Declare what ends its loop (the sender) before
/// it, since fields drop in order.
#[derive(Debug)]
pub struct Worker(Option<JoinHandle<()>>);

impl Worker {
    /// Starts a named thread. Errors: the system refuses another thread.
    pub fn spawn(
        name: &str,
        stack_bytes: usize,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        start(name, stack_bytes, run).map(|handle| Self(Some(handle)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let name = handle.thread().name().unwrap_or("?").to_owned();
            if handle.join().is_err() {
                log::error!("thread {name} ended by a panic; please report it");
            }
        }
    }
}

#[derive(Default)]
struct Roster {
    next: u64,
    running: HashMap<u64, JoinHandle<()>>,
    /// Ended on their own; joined by whoever comes next.
    ended: Vec<JoinHandle<()>>,
}

/// Threads that come and go (one a connection, one a stream), all of them joined in the end.
#[derive(Default)]
pub struct Crew {
    roster: Mutex<Roster>,
    left: Condvar,
}

impl Crew {
    /// An empty crew.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Starts a named thread that belongs to the crew until it ends.
    /// Errors: the system refuses another thread.
    pub fn spawn(
        self: &Arc<Self>,
        name: &str,
        stack_bytes: usize,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let crew = Arc::clone(self);
        let mut roster = lock(&self.roster);
        let ended = std::mem::take(&mut roster.ended);
        roster.next += 1;
        let id = roster.next;
        let handle = start(name, stack_bytes, move || {
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                log::error!("a thread ended by a panic; please report it");
            }
            crew.leave(id);
        })?;
        roster.running.insert(id, handle);
        drop(roster);
        join_all(ended);
        Ok(())
    }

    fn leave(&self, id: u64) {
        let mut roster = lock(&self.roster);
        if let Some(handle) = roster.running.remove(&id) {
            roster.ended.push(handle);
        }
        drop(roster);
        self.left.notify_all();
    }

    /// How many threads of the crew run.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.roster).running.len()
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for every thread of the crew, at most until `deadline`; says whether all have ended.
    pub fn join(&self, deadline: Instant) -> bool {
        let mut roster = lock(&self.roster);
        loop {
            let ended = std::mem::take(&mut roster.ended);
            if roster.running.is_empty() {
                drop(roster);
                join_all(ended);
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            roster = self.left.wait_timeout(roster, left).unwrap_or_else(PoisonError::into_inner).0;
            roster.ended.extend(ended);
        }
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("running", &self.len()).finish_non_exhaustive()
    }
}

fn join_all(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        // The body is caught in `spawn`, so a join cannot carry a panic.
        drop(handle.join());
    }
}

/// A flag that threads can wait for.
#[derive(Debug, Default)]
pub struct Latch {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Latch {
    /// Opens the latch for good and wakes every waiter.
    pub fn open(&self) {
        *lock(&self.set) = true;
        self.changed.notify_all();
    }

    /// Waits until the latch is open, at most `limit`; says whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let guard = lock(&self.set);
        *self
            .changed
            .wait_timeout_while(guard, limit, |set| !*set)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn a_crew_is_joined_whole() {
        let crew = Crew::new();
        let (gate, wait) = bounded::<()>(0);
        for n in 0..3 {
            let wait = wait.clone();
            crew.spawn(&format!("crew-{n}"), 64 * 1024, move || {
                assert!(wait.recv().is_err());
            })
            .unwrap();
        }
        assert!(!crew.join(Instant::now()));
        drop(gate);
        assert!(crew.join(Instant::now() + Duration::from_secs(10)));
        assert!(crew.is_empty());
    }
}
