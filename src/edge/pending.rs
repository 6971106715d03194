//! Requests on their way to a worker: what the front knows of each, findable only by the number and
//! the secret that stand in the request. Knows no socket.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ring::rand::SecureRandom;

use super::Admitted;
use crate::worker::{Latch, lock};

/// A request that was sent and that no worker has taken yet.
struct Waiting {
    admitted: Arc<Admitted>,
    /// The number of the tiny_http that it went to.
    generation: u64,
    /// Opened when a worker takes it; only the first request of a connection is waited for.
    taken: Option<Arc<Latch>>,
}

/// All of them.
pub(super) struct Pending {
    /// Stands in every request; whoever else reaches the socket does not know it.
    secret: String,
    numbers: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

impl Pending {
    /// An empty table with a new secret. `None`: the system has no random bytes.
    pub(super) fn new() -> Option<Self> {
        let mut random = [0; 16];
        ring::rand::SystemRandom::new().fill(&mut random).ok()?;
        let secret = random.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Some(Self { secret, numbers: AtomicU64::new(1), waiting: Mutex::default() })
    }

    /// Puts a request in and returns its number; `taken` is opened when a worker asks for it.
    pub(super) fn insert(
        &self,
        admitted: Arc<Admitted>,
        generation: u64,
        taken: Option<Arc<Latch>>,
    ) -> u64 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(number, Waiting { admitted, generation, taken });
        number
    }

    /// What stands in a request so that its worker can ask for it.
    pub(super) fn ticket(&self, number: u64) -> String {
        format!("{number}.{}", self.secret)
    }

    /// What the front knows of the request with this ticket, once.
    pub(super) fn redeem(&self, ticket: &str) -> Option<Arc<Admitted>> {
        let (number, secret) = ticket.split_once('.')?;
        let number = (secret == self.secret).then(|| number.parse().ok())??;
        let Waiting { admitted, taken, .. } = lock(&self.waiting).remove(&number)?;
        if let Some(taken) = taken {
            taken.open();
        }
        Some(admitted)
    }

    /// Whether some request to the tiny_http of this number waits for a worker.
    pub(super) fn waits_at(&self, generation: u64) -> bool {
        lock(&self.waiting).values().any(|waiting| waiting.generation == generation)
    }

    /// Takes a request back; says whether it still waited, so that no worker will ever have it.
    pub(super) fn forget(&self, number: u64) -> bool {
        lock(&self.waiting).remove(&number).is_some()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("waiting", &lock(&self.waiting).len())
            .finish_non_exhaustive()
    }
}
