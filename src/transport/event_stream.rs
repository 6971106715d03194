//! Event framing (HTML, "Server-sent events"): pure text, one event a message.

use std::sync::Arc;

use crate::edge::Pull;
use crate::session::{Next, Sent};

/// The fields of every event stream: nothing on the way may buffer, cache or rewrite it.
pub(super) const EVENT_STREAM_FIELDS: &[(&str, &str)] =
    &[("Cache-Control", "no-cache, no-transform"), ("X-Accel-Buffering", "no")];

/// The first byte of a stream that has nothing to say yet: some clients and proxies believe in a
/// stream only when something came.
pub(super) const FIRST_COMMENT: &[u8] = b":\n\n";

/// Appends one event. `data` must be one line, as JSON from this program is.
pub(super) fn event(name: &str, data: &str, out: &mut Vec<u8>) {
    out.reserve(name.len() + data.len() + 16);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(data.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// An event on its way. What is long goes out piece by piece, so that it is not held a second time.
#[derive(Debug, Default)]
pub(super) struct Framing {
    left: Option<(Arc<String>, usize)>,
}

impl Framing {
    /// Begins the event of a message, which must be one line, and appends its first piece. To be
    /// called when nothing is left of the one before.
    pub(super) fn begin(&mut self, message: Arc<String>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: message\ndata: ");
        self.left = Some((message, 0));
        self.go_on(out);
    }

    /// Appends the next piece of what is left; says whether anything was.
    pub(super) fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((message, at)) = self.left.take() else { return false };
        let rest = message.as_bytes().get(at..).unwrap_or_default();
        let (piece, more) = rest.split_at(rest.len().min(PIECE_BYTES));
        out.extend_from_slice(piece);
        if more.is_empty() {
            out.extend_from_slice(b"\n\n");
        } else {
            self.left = Some((message, at + PIECE_BYTES));
        }
        true
    }

    /// Goes on with the message that has begun, or begins the next one that waits.
    pub(super) fn pull(&mut self, sent: &Sent, out: &mut Vec<u8>) -> Pull {
        if self.go_on(out) {
            return Pull::Some;
        }
        match sent.next() {
            Next::Message(message) => {
                self.begin(Arc::new(message), out);
                Pull::Some
            }
            Next::Nothing => Pull::None,
            Next::End => Pull::End,
        }
    }
}

/// Where a client stands in a stream: which one, and the number of the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) stream: u64,
    pub(super) message: u64,
}

impl EventId {
    /// Reads a `Last-Event-ID`; nothing when it is none of ours.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (stream, message) = text.trim().split_once('-')?;
        Some(Self { stream: stream.parse().ok()?, message: message.parse().ok()? })
    }

    /// Appends the `id` line of the event that follows.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("id: {}-{}\n", self.stream, self.message).as_bytes());
    }
}

/// Appends an event with an id and no data, by which a client can resume before it got anything, and
/// after how many milliseconds it is to try (2025-11-25, transports, "Sending Messages to the
/// Server").
pub(super) fn prime(id: EventId, out: &mut Vec<u8>) {
    id.write(out);
    out.extend_from_slice(b"retry: 1000\ndata: \n\n");
}

/// As much of a long message as is framed at once: a few writes to the socket.
const PIECE_BYTES: usize = 64 * 1024;
