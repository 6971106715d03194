//! Lines over a pair of descriptors: one reader that can be woken, one queue with one writer.
//!
//! Nothing here blocks for ever: both ends are polled together with a [`Chime`] that is
//! never heard: once struck, it ends every poll. Knows no JSON.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::chime::Chime;
use crate::worker::lock;

/// What a line was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Its bytes, without what ends it.
    Whole(Vec<u8>),
    /// It passed the limit; what is left of it is dropped.
    TooLong,
}

/// Reads lines until the end, or until it is woken.
pub(super) struct LineReader {
    input: OwnedFd,
    wake: Arc<Chime>,
    splitter: Splitter,
    buffer: Box<[u8]>,
    ended: bool,
}

impl LineReader {
    pub(super) fn new(input: OwnedFd, wake: Arc<Chime>, line_bytes_max: usize) -> Self {
        let splitter = Splitter::new(line_bytes_max);
        Self { input, wake, splitter, buffer: vec![0; READ_BYTES].into(), ended: false }
    }

    /// Waits for the next line that is not empty. `None`: the input has ended, or this was woken.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.splitter.ready.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            match readiness(PollFd::new(&self.input, PollFlags::IN), &self.wake) {
                Ok(Ready { struck: true, .. }) => return None,
                Ok(Ready { other: false, .. }) => continue,
                Ok(_) => {}
                Err(error) => return self.broken(error),
            }
            match rustix::io::read(&self.input, &mut *self.buffer) {
                Ok(0) => self.end(),
                Ok(length) => self.splitter.feed(self.buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return self.broken(error),
            }
        }
    }

    /// A last line may lack its end.
    fn end(&mut self) {
        self.ended = true;
        self.splitter.feed(b"\n");
    }

    fn broken(&mut self, error: Errno) -> Option<Line> {
        log::warn!("stdin cannot be read: {error}");
        self.ended = true;
        None
    }
}

/// Cuts bytes into lines of at most `bytes_max` bytes.
#[derive(Debug)]
struct Splitter {
    begun: Vec<u8>,
    skips: bool,
    ready: VecDeque<Line>,
    bytes_max: usize,
}

impl Splitter {
    fn new(bytes_max: usize) -> Self {
        Self { begun: Vec::new(), skips: false, ready: VecDeque::new(), bytes_max }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if !self.skips && self.begun.len() + text.len() > self.bytes_max {
                self.begun = Vec::new();
                self.skips = true;
                self.ready.push_back(Line::TooLong);
            }
            if !self.skips {
                self.begun.extend_from_slice(text);
            }
            if ends && !std::mem::take(&mut self.skips) {
                // What ends with CR LF has its CR cut off here.
                let line = std::mem::take(&mut self.begun);
                if !line.trim_ascii().is_empty() {
                    self.ready.push_back(Line::Whole(line));
                }
            }
        }
    }
}

/// Lines that wait to be written. Replies are always taken: what asks for them is bounded, since
/// the reader of requests waits for room before each. Notices are dropped when there is none.
pub(super) struct LineQueue {
    state: Mutex<Waiting>,
    changed: Condvar,
    lines_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    /// Nobody waits for room any more.
    hurried: bool,
    closed: bool,
    written: bool,
}

impl LineQueue {
    pub(super) fn new(lines_max: usize, bytes_max: usize) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { state, changed, lines_max, bytes_max })
    }

    /// Queues a reply; dropped after [`Self::close`].
    pub(super) fn reply(&self, line: String) {
        self.put(line, &mut lock(&self.state));
    }

    /// Queues a notice, or drops it and says so with `false`.
    pub(super) fn notice(&self, line: String) -> bool {
        let mut state = lock(&self.state);
        let has_room = self.has_room(&state);
        if has_room {
            self.put(line, &mut state);
        }
        has_room
    }

    fn put(&self, line: String, state: &mut Waiting) {
        if state.closed {
            return;
        }
        // Outside of strings, where JSON writes it as an escape, a line's end is but white space.
        let line = if line.contains(['\n', '\r']) { line.replace(['\n', '\r'], " ") } else { line };
        state.bytes += line.len();
        state.lines.push_back(line);
        self.changed.notify_all();
    }

    fn has_room(&self, state: &Waiting) -> bool {
        state.lines.len() < self.lines_max && state.bytes < self.bytes_max
    }

    /// Waits while the other end does not read and too much waits for it already.
    pub(super) fn wait_for_room(&self) {
        let full = |state: &mut Waiting| !state.hurried && !state.closed && !self.has_room(state);
        let state = lock(&self.state);
        drop(self.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner));
    }

    /// From now on nobody waits for room.
    pub(super) fn hurry(&self) {
        lock(&self.state).hurried = true;
        self.changed.notify_all();
    }

    /// Takes nothing more; the writer ends after what waits.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// Waits until the writer has ended; says whether it did before the deadline.
    pub(super) fn wait_written(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, left, |state| !state.written);
        waited.unwrap_or_else(PoisonError::into_inner).0.written
    }

    fn next(&self) -> Option<String> {
        let state = lock(&self.state);
        let nothing = |state: &mut Waiting| state.lines.is_empty() && !state.closed;
        let waited = self.changed.wait_while(state, nothing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let line = state.lines.pop_front()?;
        state.bytes = state.bytes.saturating_sub(line.len());
        self.changed.notify_all();
        Some(line)
    }

    /// Writes every line until the queue is closed and empty, or `wake` is struck. Errors: the
    /// output is broken, as when the other end has gone.
    pub(super) fn write_to(&self, output: &OwnedFd, wake: &Chime) -> Result<(), Errno> {
        let mut result = Ok(());
        while let Some(line) = self.next() {
            let mut bytes = line.into_bytes();
            bytes.push(b'\n');
            match write_all(output, wake, &bytes) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let mut state = lock(&self.state);
        *state = Waiting { hurried: true, closed: true, written: true, ..Waiting::default() };
        self.changed.notify_all();
        result
    }
}

impl fmt::Debug for LineQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineQueue").field("bytes", &lock(&self.state).bytes).finish_non_exhaustive()
    }
}

/// Writes in pieces that fit when a poll says so, since the descriptor may block. `false`: cut
/// short by `wake`.
fn write_all(output: &OwnedFd, wake: &Chime, mut bytes: &[u8]) -> Result<bool, Errno> {
    while !bytes.is_empty() {
        match readiness(PollFd::new(output, PollFlags::OUT), wake)? {
            Ready { other: true, .. } => {}
            Ready { struck: true, .. } => return Ok(false),
            _ => continue,
        }
        let piece = bytes.get(..bytes.len().min(WRITE_BYTES)).unwrap_or_default();
        match rustix::io::write(output, piece) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// What a poll found.
struct Ready {
    other: bool,
    struck: bool,
}

/// Waits until there is something to do, or a signal came.
fn readiness(other: PollFd<'_>, wake: &Chime) -> Result<Ready, Errno> {
    let mut polled = [other, PollFd::new(wake, PollFlags::IN)];
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    let [other, ear] = polled.map(|polled| !polled.revents().is_empty());
    Ok(Ready { other, struck: ear })
}

const READ_BYTES: usize = 16 * 1024;
/// `PIPE_BUF`: a pipe that polls as writable takes as much without blocking.
#[cfg(target_os = "linux")]
const WRITE_BYTES: usize = 4096;
#[cfg(not(target_os = "linux"))]
const WRITE_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn split(bytes_max: usize, pieces: &[&str]) -> Vec<String> {
        let mut splitter = Splitter::new(bytes_max);
        for piece in pieces {
            splitter.feed(piece.as_bytes());
        }
        let text = |line| match line {
            Line::Whole(bytes) => String::from_utf8(bytes).unwrap(),
            Line::TooLong => "too long".to_owned(),
        };
        splitter.ready.into_iter().map(text).collect()
    }

    #[test]
    fn lines_are_cut_wherever_the_pieces_end() {
        assert_eq!(split(9, &["ab", "c\nd", "\n\n \r\n", "e\n", "f"]), ["abc", "d", "e"]);
    }

    #[test]
    fn a_long_line_is_told_once_and_the_next_one_is_read() {
        assert_eq!(split(3, &["abc\nab", "cd", "ef", "gh\nij\n"]), ["abc", "too long", "ij"]);
    }

    #[test]
    fn a_writer_whose_reader_sleeps_is_cut_short() {
        let (near, far) = UnixStream::pair().unwrap();
        let queue = LineQueue::new(2, 10);
        let wake = Arc::new(Chime::new().unwrap());
        queue.reply("x".repeat(1 << 22));
        assert!(!queue.notice("dropped".to_owned()));
        let (own, bell) = (Arc::clone(&queue), Arc::clone(&wake));
        let output = OwnedFd::from(near);
        let writer =
            crate::worker::start("test", 64 * 1024, move || own.write_to(&output, &bell)).unwrap();
        queue.close();
        assert!(!queue.wait_written(Instant::now()));
        wake.strike();
        assert!(queue.wait_written(Instant::now() + Duration::from_secs(10)));
        assert_eq!(writer.join().unwrap(), Ok(()));
        drop(far);
    }
}
