//! How an event stream gets from the house to its client: the house says what is to be sent, and
//! the client's own connection thread, which has nothing else to do from then on, sends it.
//!
//! Measured against a second thread a stream that writes through tiny_http: half the memory of a
//! session, and a hand-over less for every event.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// Wakes the thread of one stream. Cheap to ring and never blocks; rings before the thread wakes
/// count as one.
#[derive(Clone)]
pub struct Bell(Arc<Rope>);

struct Rope {
    end: UnixStream,
    rung: AtomicBool,
}

impl Bell {
    /// Wakes the stream's thread, or does nothing when the stream is over.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // A full or closed pipe means that it is awake or gone.
            drop((&self.0.end).write(&[1]));
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bell").field(&self.0.rung.load(Ordering::Relaxed)).finish()
    }
}

/// A stream that the house has handed over: its source, and the other end of its bell.
pub(super) struct Handed {
    pub(super) source: Box<dyn EventSource>,
    ear: UnixStream,
    rope: Arc<Rope>,
}

impl Handed {
    /// Ties a bell to a source. Errors: no descriptors.
    pub(super) fn new(mut source: Box<dyn EventSource>) -> io::Result<Self> {
        let (end, ear) = UnixStream::pair()?;
        end.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let rope = Arc::new(Rope { end, rung: AtomicBool::new(false) });
        source.begin(Bell(Arc::clone(&rope)));
        Ok(Self { source, ear, rope })
    }

    /// Takes the ring that woke this thread; whatever was sent before it is there to be pulled.
    pub(super) fn hear(&self) {
        let mut rings = [0; 8];
        drop((&self.ear).read(&mut rings));
        // Reads what the ringer wrote, so that what it did before is seen after this.
        self.rope.rung.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Handed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("name", &self.source.name()).finish_non_exhaustive()
    }
}
