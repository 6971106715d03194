//! Sends an event stream to its client as it comes, keeps it alive through silence, and notices
//! when the client left.

use std::io;
use std::time::Instant;

use rustix::event::PollFlags;

use super::reply::{Finished, Seen, Taken, head, left, look, poll_both, write_deadline};
use super::stream::{Handed, Pull};
use super::wire::Wire;
use super::{Admitted, EdgeLimits};
use crate::cancel::Reason;

/// Brings an event stream to the client until one side ends it.
pub(super) fn stream(
    wire: &mut Wire,
    mut handed: Handed,
    taken: &Taken,
    admitted: &Admitted,
    limits: &EdgeLimits,
) -> Finished {
    call_this_thread(&handed.source.name());
    let chunked = !admitted.head.http_1_0;
    // The stream keeps its connection busy for good, so it is not offered for another request.
    let opening = head(taken.status, &taken.lines, None, !chunked, chunked);
    let mut relay = Relay { wire, chunked, limits, bytes: 0 };
    if let Err(error) = relay.run(opening, &mut handed, admitted) {
        left(admitted, &error);
    }
    let bytes = relay.bytes;
    admitted.gone.fire(Reason::ClientLeft);
    Finished { status: taken.status, bytes, keep: false, inner: None }
}

/// An event stream on its way.
struct Relay<'a> {
    wire: &'a mut Wire,
    chunked: bool,
    limits: &'a EdgeLimits,
    bytes: u64,
}

impl Relay<'_> {
    /// Sends what the source brings until its end (`Ok`), or until the client left (`Err`).
    fn run(&mut self, head: Vec<u8>, handed: &mut Handed, admitted: &Admitted) -> io::Result<()> {
        let mut watched = !self.wire.has_ended();
        // The head goes out with the first event, at once.
        let mut ended = self.send_waiting(head, handed)?;
        let mut spoken = Instant::now();
        while !ended {
            let silence = handed.source.heartbeat().saturating_sub(spoken.elapsed());
            let (rung, client) = poll_both(handed, self.wire, watched, Some(silence));
            if rung {
                handed.hear();
                ended = self.send_waiting(Vec::new(), handed)?;
                spoken = Instant::now();
            } else if spoken.elapsed() >= handed.source.heartbeat() {
                self.comment(HEARTBEAT)?;
                spoken = Instant::now();
            }
            if client.intersects(PollFlags::ERR | PollFlags::HUP) || admitted.gone.is_fired() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if client.contains(PollFlags::IN) {
                match look(self.wire) {
                    // A stream's client has nothing more to say; what it says is dropped.
                    Seen::More => self.wire.take(usize::MAX),
                    // A plain client sent FIN: if it is gone altogether it answers the next bytes
                    // with a reset, and a comment is the smallest thing to ask with.
                    Seen::HalfClosed => {
                        watched = false;
                        self.comment(PROBE)?;
                    }
                    Seen::Left => return Err(io::ErrorKind::ConnectionReset.into()),
                }
            }
        }
        if self.chunked {
            self.wire.write(LAST_CHUNK, write_deadline(self.limits))?;
        }
        Ok(())
    }

    /// Sends all that waits, several events in one write; `true` at the source's end.
    fn send_waiting(&mut self, mut framed: Vec<u8>, handed: &mut Handed) -> io::Result<bool> {
        loop {
            let mut events = Vec::new();
            let mut pulled = Pull::Some;
            while pulled == Pull::Some && events.len() < TOGETHER_BYTES {
                pulled = handed.source.pull(&mut events);
            }
            self.frame(&events, &mut framed);
            drop(events);
            if !framed.is_empty() {
                self.wire.write(&framed, write_deadline(self.limits))?;
                framed.clear();
            }
            match pulled {
                Pull::Some => {}
                Pull::None => return Ok(false),
                Pull::End => return Ok(true),
            }
        }
    }

    fn comment(&mut self, comment: &[u8]) -> io::Result<()> {
        let mut framed = Vec::new();
        self.frame(comment, &mut framed);
        self.wire.write(&framed, write_deadline(self.limits))
    }

    fn frame(&mut self, events: &[u8], out: &mut Vec<u8>) {
        if events.is_empty() {
            return;
        }
        self.bytes += events.len() as u64;
        if self.chunked {
            out.reserve(events.len() + 16);
            out.extend_from_slice(format!("{:x}\r\n", events.len()).as_bytes());
        }
        out.extend_from_slice(events);
        if self.chunked {
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(target_os = "linux")]
fn call_this_thread(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        // Only for whoever looks at the threads.
        rustix::thread::set_name(&name).unwrap_or_default();
    }
}

#[cfg(not(target_os = "linux"))]
fn call_this_thread(_name: &str) {}

/// Comments count as bytes for the idle clocks of clients and proxies, and every event parser
/// drops them.
const HEARTBEAT: &[u8] = b": keep-alive\n\n";
const PROBE: &[u8] = b":\n\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Events are gathered up to this size before they are written.
const TOGETHER_BYTES: usize = 16 * 1024;
