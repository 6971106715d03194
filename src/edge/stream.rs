//! How an event stream gets from the house to its client: the house says what is to be sent, and
//! the client's own connection thread, which has nothing else to do from then on, sends it; or
//! whoever rings its bell does, while that takes no waiting.
//!
//! Measured against a second thread a stream that writes through tiny_http: half the memory of a
//! session, and two hand-overs less for every event.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::chime::Chime;

/// What an event stream is to bring. Dropped when the stream has ended, for whatever reason.
pub trait EventSource: Send {
    /// Called once, before everything else: the bell is to be rung whenever a pull would bring
    /// something that the one before did not.
    fn begin(&mut self, bell: Bell);

    /// Appends what is to be sent next, in whole events.
    fn pull(&mut self, out: &mut Vec<u8>) -> Pull;

    /// After how long a silence a comment is sent.
    fn heartbeat(&self) -> Duration;

    /// What the stream's thread is called from now on: at most 15 bytes.
    fn name(&self) -> String;
}

/// What a pull brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Something was appended; there may be more.
    Some,
    /// There is nothing now.
    None,
    /// There will be nothing more: the stream ends in an orderly way.
    End,
}

/// Says that a stream has something to send. Never waits for the client; rings before the stream's
/// thread wakes count as one.
#[derive(Clone)]
pub struct Bell(Arc<Rope>);

struct Rope {
    bell: Chime,
    rung: AtomicBool,
    /// Sends what waits from the ringing thread, where that can be done at once.
    deliver: OnceLock<Deliver>,
}

/// Says whether nothing is left to do for the stream's own thread.
type Deliver = Box<dyn Fn() -> bool + Send + Sync>;

impl Bell {
    /// Has what waits sent: from this thread while the client's socket takes it at once, else by the
    /// stream's own thread, which is woken. Does nothing when the stream is over. Not to be called
    /// under a lock that the source's `pull` takes.
    pub fn ring(&self) {
        let delivered = self.0.deliver.get().is_some_and(|deliver| deliver());
        if !delivered && !self.0.rung.swap(true, Ordering::AcqRel) {
            self.0.bell.strike();
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bell").field(&self.0.rung.load(Ordering::Relaxed)).finish()
    }
}

/// What makes the words that a stream brings, to be run once on the stream's own thread.
pub type Work = Box<dyn FnOnce() + Send>;

/// A stream that the house has handed over: its source, the ear for its bell, and what makes its
/// words, where that is not done elsewhere.
pub(super) struct Handed {
    pub(super) source: Box<dyn EventSource>,
    pub(super) ear: Ear,
    pub(super) work: Option<Work>,
    /// It answers something, and ends with that.
    pub(super) has_end: bool,
}

/// The end of a bell at which it is heard.
pub(super) struct Ear(Arc<Rope>);

impl Handed {
    /// Ties a bell to a source. Errors: no descriptors.
    pub(super) fn new(mut source: Box<dyn EventSource>) -> io::Result<Self> {
        let rope = Arc::new(Rope {
            bell: Chime::new()?,
            rung: AtomicBool::new(false),
            deliver: OnceLock::new(),
        });
        source.begin(Bell(Arc::clone(&rope)));
        Ok(Self { source, ear: Ear(rope), work: None, has_end: false })
    }
}

impl Ear {
    /// Lets ringing threads send by themselves.
    pub(super) fn deliver_with(&self, deliver: impl Fn() -> bool + Send + Sync + 'static) {
        drop(self.0.deliver.set(Box::new(deliver)));
    }

    /// Takes the ring that woke this thread; whatever was sent before it is there to be pulled.
    pub(super) fn hear(&self) {
        self.0.bell.hear();
        // Reads what the ringer wrote, so that what it did before is seen after this.
        self.0.rung.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("name", &self.source.name()).finish_non_exhaustive()
    }
}
