//! One stream of a session on `/mcp`: its messages wait for their reader and are kept for a while
//! after, so that a client whose connection broke takes up where it stopped (2025-03-26,
//! transports, "Resumability and Redelivery").

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::worker::lock;

/// A stream.
pub struct Replay {
    number: u64,
    events_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
}

type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    events: VecDeque<Arc<String>>,
    /// The number of the first of `events`.
    first: u64,
    bytes: usize,
    /// How far anybody has read.
    read: u64,
    ended: bool,
    /// How the present reader is woken, and which one in the row it is.
    wake: Option<Wake>,
    reader: u64,
    /// There is a present reader.
    is_read: bool,
}

/// What a reader hears.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message with its number.
    Message(u64, Arc<String>),
    /// There is nothing now.
    Nothing,
    /// The stream has ended, or somebody else reads it now.
    End,
}

impl Replay {
    /// A stream that keeps at most so many messages and bytes; the oldest go first.
    #[must_use]
    pub fn new(number: u64, events_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { number, events_max, bytes_max, state: Mutex::default() })
    }

    /// Its number in its session.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Adds a message. Never waits; what nobody reads is dropped at the limits, oldest first, so that
    /// a result is never lost behind what came before it. Who reads goes on with what is left.
    pub fn push(&self, message: String) {
        self.change(|state| self.put(state, message));
    }

    /// Adds the last message: its reader hears of it and of the end at once.
    pub fn push_last(&self, message: String) {
        self.change(|state| {
            self.put(state, message);
            state.ended = true;
        });
    }

    fn put(&self, state: &mut State, message: String) {
        state.bytes += message.len();
        // As it is: another copy of a long one costs as much as the message.
        state.events.push_back(Arc::new(message));
        while state.events.len() > self.events_max
            || (state.bytes > self.bytes_max && state.events.len() > 1)
        {
            let Some(lost) = state.events.pop_front() else { break };
            state.bytes -= lost.len();
            state.first += 1;
        }
    }

    /// No more messages will come.
    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Where a reader of only what is yet to come begins.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        let state = lock(&self.state);
        state.first + state.events.len() as u64
    }

    /// Where a reader of only what nobody has read begins.
    #[must_use]
    pub fn unread_number(&self) -> u64 {
        lock(&self.state).read
    }

    /// Where a reader of all that is left begins.
    #[must_use]
    pub fn oldest_number(&self) -> u64 {
        lock(&self.state).first
    }

    /// Whether nobody reads it and nothing waits to be read.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let state = lock(&self.state);
        !state.is_read && state.read >= state.first + state.events.len() as u64
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// Whether somebody reads it.
    #[must_use]
    pub fn is_read(&self) -> bool {
        lock(&self.state).is_read
    }

    /// How many bytes of messages it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Begins to read at the message of this number; who read it before hears the end.
    pub fn read(self: &Arc<Self>, from: u64) -> ReplayReader {
        let mut before = None;
        let mut reader = 0;
        self.change(|state| {
            state.reader += 1;
            state.is_read = true;
            reader = state.reader;
            before = state.wake.take();
        });
        if let Some(wake) = before {
            wake();
        }
        ReplayReader { stream: Arc::clone(self), reader, at: from }
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        let wake = {
            let mut state = lock(&self.state);
            how(&mut state);
            state.wake.clone()
        };
        // Without the lock: who is woken may read on this very thread.
        if let Some(wake) = wake {
            wake();
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The one who reads a stream; let go, the stream waits for another.
#[derive(Debug)]
pub struct ReplayReader {
    stream: Arc<Replay>,
    reader: u64,
    at: u64,
}

impl ReplayReader {
    /// Has `wake` called after every message and at the end, from the thread that sends.
    pub fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        let mut state = lock(&self.stream.state);
        if state.reader == self.reader {
            state.wake = Some(Arc::new(wake));
        }
    }

    /// The next message, without waiting.
    pub fn hear(&mut self) -> Heard {
        let mut state = lock(&self.stream.state);
        if state.reader != self.reader {
            return Heard::End;
        }
        self.at = self.at.max(state.first);
        let index = usize::try_from(self.at - state.first).unwrap_or(usize::MAX);
        match state.events.get(index) {
            Some(message) => {
                self.at += 1;
                let at = self.at;
                let message = Arc::clone(message);
                state.read = state.read.max(at);
                Heard::Message(at, message)
            }
            None if state.ended => Heard::End,
            None => Heard::Nothing,
        }
    }
}

impl Drop for ReplayReader {
    fn drop(&mut self) {
        let mut state = lock(&self.stream.state);
        if state.reader == self.reader {
            state.wake = None;
            state.is_read = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(reader: &mut ReplayReader) -> Vec<String> {
        let mut texts = Vec::new();
        while let Heard::Message(_, text) = reader.hear() {
            texts.push(text.to_string());
        }
        texts
    }

    #[test]
    fn a_second_reader_takes_up_where_the_first_was_cut_off() {
        let stream = Replay::new(1, 10, 1000);
        stream.push("a".into());
        let mut first = stream.read(0);
        assert_eq!(first.hear(), Heard::Message(1, Arc::new("a".to_owned())));
        stream.push("b".into());
        let mut second = stream.read(1);
        assert_eq!(first.hear(), Heard::End);
        assert_eq!(texts(&mut second), ["b"]);
        stream.end();
        assert_eq!(second.hear(), Heard::End);
        assert_eq!(texts(&mut stream.read(0)), ["a", "b"]);
        let stream = Replay::new(2, 10, 1000);
        stream.push_last("a".into());
        let mut reader = stream.read(0);
        assert_eq!(texts(&mut reader), ["a"]);
        assert_eq!(reader.hear(), Heard::End);
    }

    #[test]
    fn the_oldest_are_dropped_at_the_limits_and_who_is_slow_hears_the_rest() {
        let stream = Replay::new(1, 2, 10);
        let mut slow = stream.read(0);
        for text in ["a", "b", "c"] {
            stream.push(text.into());
        }
        assert_eq!(slow.hear(), Heard::Message(2, Arc::new("b".to_owned())));
        assert_eq!(texts(&mut slow), ["c"]);
        assert_eq!(texts(&mut stream.read(1)), ["b", "c"]);
        stream.push("0123456789".into());
        assert_eq!(texts(&mut stream.read(3)), ["0123456789"]);
    }

    #[test]
    fn a_reader_is_woken_by_messages_and_by_the_end() {
        let stream = Replay::new(1, 2, 10);
        let (sender, woken) = crossbeam_channel::bounded(4);
        let reader = stream.read(0);
        reader.wake_with(move || sender.send(()).unwrap());
        stream.push("a".into());
        stream.end();
        assert_eq!(woken.len(), 2);
        drop(reader);
        assert!(!stream.is_read());
    }
}
