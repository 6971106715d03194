//! One thread that looks after time: it asks for changes while somebody wants to hear of them, and
//! has sessions forgotten that nobody uses, and it writes down when tokens were used.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::auth::Authenticator;
use crate::cancel::{Cancel, Reason};
use crate::mcp::{Bulletin, Change};
use crate::session::KeptSessions;
use crate::worker::{Latch, Worker, lock};

/// Looks once and tells what has changed since the last look.
pub(super) type Look = Box<dyn Fn(&Cancel) -> Vec<Change> + Send>;

/// The running thread.
pub(super) struct Watch {
    stopping: Cancel,
    worker: Mutex<Option<Worker>>,
}

impl Watch {
    /// Errors: the system refuses a thread.
    pub(super) fn start(
        bulletin: Arc<Bulletin>,
        kept: Arc<KeptSessions>,
        authenticator: Option<Arc<Authenticator>>,
        look: Look,
    ) -> io::Result<Self> {
        let stopping = Cancel::new();
        let stop = stopping.clone();
        let worker = Worker::spawn("watch", STACK_BYTES, move || {
            let stopped = Arc::new(Latch::default());
            let open = Arc::clone(&stopped);
            let _hook = stop.hook(move || open.open());
            let mut looks = 0;
            while !stopped.wait(LOOK_EVERY) {
                // Who only wants to hear of new models is told a little later: most want that.
                looks = (looks + 1) % LISTS_EVERY;
                if bulletin.is_read() || looks == 0 && bulletin.has_readers() {
                    for change in look(&stop) {
                        bulletin.announce(&change);
                    }
                }
                kept.sweep(Instant::now());
                if let Some(authenticator) = &authenticator {
                    authenticator.note_uses();
                }
            }
        })?;
        Ok(Self { stopping, worker: Mutex::new(Some(worker)) })
    }

    pub(super) fn stop(&self) {
        self.stopping.fire(Reason::Shutdown);
        drop(lock(&self.worker).take());
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// A person who loads a model in LM Studio and looks at the client waits no longer than this.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks of the other kind, of which one is also for the lists.
const LISTS_EVERY: u32 = 6;
const STACK_BYTES: usize = 512 * 1024;
