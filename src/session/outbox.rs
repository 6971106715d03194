//! What waits to be sent on one stream: a bounded channel with one reader, the stream's thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::worker::lock;

/// The sending side. Full or closed, it refuses; it never blocks the one who sends.
#[derive(Debug)]
pub struct Outbox {
    /// Taken out to close it: the reader's loop ends when it has sent what waits.
    sender: Mutex<Option<Sender<String>>>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The reading side, for the stream's thread alone.
#[derive(Debug)]
pub struct Sent {
    /// Messages in order; disconnected when the session has ended.
    pub messages: Receiver<String>,
    bytes: Arc<AtomicUsize>,
}

impl Sent {
    /// Says that a message of this length is on its way and no longer waits.
    pub fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The client does not read: the limit of this name is reached.
    Full(&'static str),
    /// The session has ended.
    Closed,
}

impl Outbox {
    /// An outbox for `events_max` messages of together `bytes_max` bytes; one message may be larger
    /// when nothing else waits.
    #[must_use]
    pub fn new(events_max: usize, bytes_max: usize) -> (Self, Sent) {
        // Full: the session ends (`Session::send`). Reader: the thread `sse-…`.
        let (sender, messages) = bounded(events_max);
        let bytes = Arc::new(AtomicUsize::new(0));
        let outbox = Self { sender: Mutex::new(Some(sender)), bytes: Arc::clone(&bytes), bytes_max };
        (outbox, Sent { messages, bytes })
    }

    /// Queues a message. Errors: [`Refused`], and the message is dropped.
    pub fn send(&self, message: String) -> Result<(), Refused> {
        let Some(sender) = lock(&self.sender).clone() else { return Err(Refused::Closed) };
        let length = message.len();
        let before = self.bytes.fetch_add(length, Ordering::AcqRel);
        let refused = if before > 0 && before.saturating_add(length) > self.bytes_max {
            Refused::Full("outbox_bytes_max")
        } else {
            match sender.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => Refused::Full("outbox_events_max"),
                Err(TrySendError::Disconnected(_)) => Refused::Closed,
            }
        };
        self.bytes.fetch_sub(length, Ordering::AcqRel);
        Err(refused)
    }

    /// Takes nothing more; the reader ends after what waits.
    pub fn close(&self) {
        drop(lock(&self.sender).take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_refuse_by_name_and_room_comes_back() {
        let (outbox, sent) = Outbox::new(2, 10);
        assert_eq!(outbox.send("a".repeat(20)), Ok(()));
        assert_eq!(outbox.send("b".into()), Err(Refused::Full("outbox_bytes_max")));
        sent.done(sent.messages.recv().unwrap().len());
        assert_eq!(outbox.send("c".into()), Ok(()));
        assert_eq!(outbox.send("d".into()), Ok(()));
        assert_eq!(outbox.send("e".into()), Err(Refused::Full("outbox_events_max")));
    }

    #[test]
    fn closed_it_ends_the_reader_after_what_waits() {
        let (outbox, sent) = Outbox::new(2, 10);
        outbox.send("a".into()).unwrap();
        outbox.close();
        assert_eq!(outbox.send("b".into()), Err(Refused::Closed));
        assert_eq!(sent.messages.recv(), Ok("a".to_owned()));
        assert!(sent.messages.recv().is_err());
    }
}
