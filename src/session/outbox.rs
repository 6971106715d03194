//! What waits to be sent on one stream: a bounded channel with one reader, the client's thread.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use crate::worker::lock;

/// The sending side. Full or closed, it refuses; it never blocks the one who sends.
#[derive(Debug)]
pub struct Outbox {
    /// Taken out to close it: the reader's loop ends when it has sent what waits.
    sender: Mutex<Option<Sender<String>>>,
    shared: Arc<Shared>,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Shared {
    /// Bytes that wait.
    bytes: AtomicUsize,
    /// How the reader is woken. The channel's own waiting spins and yields before it sleeps, and
    /// cannot watch the client's socket beside it.
    wake: OnceLock<Wake>,
}

type Wake = Box<dyn Fn() + Send + Sync>;

impl Shared {
    fn wake(&self) {
        // Pairs with the fence in `Sent::wake_with`: either the reader's first look sees what was
        // sent, or this sees how to wake it.
        fence(Ordering::SeqCst);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// The reading side, for the client's own thread alone.
#[derive(Debug)]
pub struct Sent {
    messages: Receiver<String>,
    shared: Arc<Shared>,
}

/// What the reader hears.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A message, in the order in which they were sent.
    Message(String),
    /// There is nothing now.
    Nothing,
    /// The session has ended and everything was read.
    End,
}

impl Sent {
    /// Has `wake` called after every message and at the end, from the thread that sends. Set once,
    /// before the first look.
    pub fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        drop(self.shared.wake.set(Box::new(wake)));
        fence(Ordering::SeqCst);
    }

    /// The next message, without waiting.
    #[must_use]
    pub fn next(&self) -> Next {
        match self.messages.try_recv() {
            Ok(message) => {
                self.shared.bytes.fetch_sub(message.len(), Ordering::AcqRel);
                Next::Message(message)
            }
            Err(TryRecvError::Empty) => Next::Nothing,
            Err(TryRecvError::Disconnected) => Next::End,
        }
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
        // Full: the session ends (`Session::send`). Reader: the client's thread, `sse-…`.
        // One place more, for the last message.
        let (sender, messages) = bounded(events_max.saturating_add(1));
        let shared = Arc::<Shared>::default();
        let outbox = Self {
            sender: Mutex::new(Some(sender)),
            shared: Arc::clone(&shared),
            events_max,
            bytes_max,
        };
        (outbox, Sent { messages, shared })
    }

    /// Queues a message. Errors: [`Refused`], and the message is dropped.
    pub fn send(&self, message: String) -> Result<(), Refused> {
        let length = message.len();
        let before = self.shared.bytes.fetch_add(length, Ordering::AcqRel);
        let refused = if before > 0 && before.saturating_add(length) > self.bytes_max {
            Refused::Full("outbox_bytes_max")
        } else {
            match self.put(message, self.events_max) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            }
        };
        self.shared.bytes.fetch_sub(length, Ordering::AcqRel);
        Err(refused)
    }

    /// Queues the one message that must not be lost behind others that nobody read, and closes:
    /// there is always a place for it.
    pub fn send_last(&self, message: String) {
        self.shared.bytes.fetch_add(message.len(), Ordering::AcqRel);
        // Closed, there is nobody to read it.
        self.put(message, usize::MAX).unwrap_or_default();
        self.close();
    }

    /// Under the lock, so that no sender outlives `close`: while one does, the reader that `close`
    /// wakes sees no end, and nobody would wake it again.
    fn put(&self, message: String, events_max: usize) -> Result<(), Refused> {
        {
            let sender = lock(&self.sender);
            let Some(sender) = sender.as_ref() else { return Err(Refused::Closed) };
            if sender.len() >= events_max {
                return Err(Refused::Full("outbox_events_max"));
            }
            sender.try_send(message).map_err(|refused| match refused {
                TrySendError::Full(_) => Refused::Full("outbox_events_max"),
                TrySendError::Disconnected(_) => Refused::Closed,
            })?;
        }
        self.shared.wake();
        Ok(())
    }

    /// Takes nothing more; the reader ends after what waits.
    pub fn close(&self) {
        drop(lock(&self.sender).take());
        self.shared.wake();
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
        assert_eq!(sent.next(), Next::Message("a".repeat(20)));
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
        assert_eq!(sent.next(), Next::Message("a".to_owned()));
        assert_eq!(sent.next(), Next::End);
    }

    #[test]
    fn the_last_message_has_a_place_behind_all_that_was_not_read() {
        let (outbox, sent) = Outbox::new(1, 10);
        outbox.send("a".into()).unwrap();
        assert_eq!(outbox.send("b".into()), Err(Refused::Full("outbox_events_max")));
        outbox.send_last("a result of more bytes than the limit".into());
        assert_eq!(sent.next(), Next::Message("a".into()));
        assert_eq!(sent.next(), Next::Message("a result of more bytes than the limit".into()));
        assert_eq!(sent.next(), Next::End);
    }

    #[test]
    fn the_reader_is_woken_for_every_message_and_for_the_end() {
        let (outbox, sent) = Outbox::new(4, 100);
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        outbox.send("before".into()).unwrap();
        sent.wake_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        outbox.send("after".into()).unwrap();
        outbox.close();
        assert_eq!(woken.load(Ordering::SeqCst), 2);
        assert_eq!(sent.next(), Next::Message("before".into()));
        assert_eq!(sent.next(), Next::Message("after".into()));
        assert_eq!(sent.next(), Next::End);
    }

    #[test]
    fn an_end_in_the_middle_of_a_send_is_heard() {
        let (outbox, sent) = Outbox::new(4, 100);
        let (outbox, sent) = (Arc::new(outbox), Arc::new(sent));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (ending, reader, hears) = (Arc::clone(&outbox), Arc::clone(&sent), Arc::clone(&heard));
        sent.wake_with(move || {
            let next = reader.next();
            let first = next == Next::Message("a".into());
            lock(&hears).push(next);
            if first {
                ending.close();
            }
        });
        outbox.send("a".into()).unwrap();
        // Nobody wakes the reader after this.
        assert_eq!(*lock(&heard), [Next::Message("a".into()), Next::End]);
    }
}
