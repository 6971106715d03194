//! Event framing (HTML, "Server-sent events"): pure text, one event a message.

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

/// Brings the next message that waits, as an event.
pub(super) fn pull(sent: &Sent, out: &mut Vec<u8>) -> Pull {
    match sent.next() {
        Next::Message(message) => {
            event("message", &message, out);
            Pull::Some
        }
        Next::Nothing => Pull::None,
        Next::End => Pull::End,
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
