//! Takes a worker's reply off its hands and brings it to the client at the client's pace. Meanwhile
//! it watches the client and tells the house when it left.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags};

use super::budget::Budget;
use super::error::{Refusal, reason_phrase};
use super::head::{Head, Method};
use super::http::House;
use super::inner::Inner;
use super::minder::Minder;
use super::slot::Found;
use super::stream::Handed;
use super::streaming::stream;
use super::wire::{Got, Wire, wait};
use super::{Admitted, EdgeLimits, Reply};
use crate::cancel::Reason;

/// How an exchange ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// The status that the client was sent; 0 when it left before.
    pub(super) status: u16,
    /// Whether the client was gone before it had all of its answer.
    pub(super) left: bool,
    /// Bytes of body.
    pub(super) bytes: u64,
    /// Whether the client's connection can take another request.
    pub(super) keep: bool,
}

impl Finished {
    /// How an exchange with a whole reply ended, by what became of sending it.
    pub(super) fn after(sent: &io::Result<()>, status: u16, bytes: u64, keep: bool) -> Self {
        let left = sent.is_err();
        Self { status, left, bytes, keep: keep && !left }
    }
}

/// What a worker answered with, left where the front finds it.
#[derive(Debug)]
pub(super) enum Answer {
    /// All of it.
    Whole(Reply),
    /// The head of an event stream, and the stream.
    Stream(Reply, Handed),
}

/// What a worker writes to the inner connection: the answer is there. The answer itself does not
/// pass through tiny_http, whose replies would be written and read again for nothing.
pub(super) const NOD: u8 = b'+';

/// How the front hears that an answer is there.
#[derive(Debug)]
pub(super) enum Awaiting {
    /// By a byte on a connection to tiny_http.
    Inner(Inner),
    /// It is in its slot, or the slot is waited for.
    Alone,
}

/// Waits for the reply and brings it to the client. Never fails: a client that left or does not
/// read ends its own connection only.
pub(super) fn bring(
    wire: &mut Wire,
    awaiting: Awaiting,
    admitted: &Arc<Admitted>,
    house: &House,
    limits: &EdgeLimits,
    budget: &Arc<Budget>,
    minder: &Minder,
) -> Finished {
    let request = &admitted.head;
    let mut keep = request.keep_alive;
    let awaited = match awaiting {
        Awaiting::Alone => await_slot(wire, admitted),
        Awaiting::Inner(inner) => match await_nod(wire, &inner.socket, admitted) {
            Nod::Given => {
                house.give_back(inner);
                Awaited::of(admitted.slot.take())
            }
            Nod::Other => Awaited::Dropped,
            Nod::Lost => {
                house.forget(&inner);
                Awaited::Lost
            }
            Nod::Left => Awaited::Left,
        },
    };
    let answer = match awaited {
        Awaited::Answer(answer) => Some(answer),
        Awaited::Dropped => None,
        Awaited::Lost => {
            keep = false;
            Some(Answer::Whole(Reply::from(&Refusal::Unavailable)))
        }
        Awaited::Left => {
            admitted.gone.fire(Reason::ClientLeft);
            return Finished { status: 0, left: true, bytes: 0, keep: false };
        }
    };
    let reply = match answer {
        Some(Answer::Stream(mut reply, handed)) if request.method != Method::Head => {
            admitted.tell_page(&mut reply);
            // The stream owns the client's end until it is over.
            let own = std::mem::replace(wire, Wire::new(wire.socket(), None));
            let finished;
            (*wire, finished) = stream(own, handed, &reply, admitted, limits, minder);
            return finished;
        }
        Some(Answer::Whole(reply) | Answer::Stream(reply, _)) => reply,
        None => Reply::from(&Refusal::Unanswered),
    };
    let mut share = budget.share(false);
    let mut reply = if reply.body.len() > limits.reply_bytes_max {
        Reply::from(&Refusal::ReplyTooLarge(limits.reply_bytes_max))
    } else if !share.grow_to(reply.body.len()) {
        Reply::from(&Refusal::RepliesFull(budget.bytes_max()))
    } else {
        reply
    };
    admitted.tell_page(&mut reply);
    keep &= !wire.has_ended();
    let written = send(wire, &reply, Some(request), keep, limits);
    if let Err(error) = &written {
        left(admitted, error);
    }
    let bytes = reply.body.len() as u64;
    Finished::after(&written, reply.status, bytes, keep)
}

/// Writes a reply; `request` is the head that it answers, where one could be read.
/// Errors: the client left or does not read.
pub(super) fn send(
    wire: &mut Wire,
    reply: &Reply,
    request: Option<&Head>,
    keep: bool,
    limits: &EdgeLimits,
) -> io::Result<()> {
    let http_1_0 = request.is_some_and(|request| request.http_1_0);
    let mut bytes = head(reply, Some(reply.body.len()), http_1_0, keep);
    let silent = request.is_some_and(|request| request.method == Method::Head);
    let body = if silent { &[][..] } else { &reply.body };
    if body.len() <= JOINED_BYTES_MAX {
        bytes.extend_from_slice(body);
        return wire.write(&bytes, write_deadline(limits));
    }
    wire.write(&bytes, write_deadline(limits))?;
    // Each piece has the whole time: a limit for the sum would cut off slow readers of long
    // replies, who do read.
    body.chunks(WRITTEN_BYTES).try_for_each(|piece| wire.write(piece, write_deadline(limits)))
}

/// What became of the wait for a reply.
enum Awaited {
    Answer(Answer),
    /// Nobody will answer.
    Dropped,
    /// The worker was lost, or there are no descriptors to wait with.
    Lost,
    /// The client left before.
    Left,
}

impl Awaited {
    fn of(answer: Option<Answer>) -> Self {
        answer.map_or(Self::Dropped, Self::Answer)
    }
}

/// Waits for an answer that is not given through tiny_http, and watches the client meanwhile.
fn await_slot(wire: &mut Wire, admitted: &Admitted) -> Awaited {
    let mut watch = Watch::new(wire);
    loop {
        let chime = match admitted.slot.find() {
            Ok(Found::Answer(answer)) => return Awaited::Answer(answer),
            Ok(Found::Dropped) => return Awaited::Dropped,
            Ok(Found::Nothing(chime)) => chime,
            Err(error) => {
                log::error!("a reply cannot be waited for: {error}");
                return Awaited::Lost;
            }
        };
        if watch.has_left(wire, &*chime, admitted) {
            return Awaited::Left;
        }
    }
}

/// What came over an inner connection.
enum Nod {
    /// The answer is in its slot.
    Given,
    /// tiny_http's own words for a request that was dropped.
    Other,
    /// The worker was lost.
    Lost,
    /// The client left before.
    Left,
}

/// Waits for the worker, for a moment on it alone, then on the client too.
fn await_nod(wire: &mut Wire, inner: &UnixStream, admitted: &Admitted) -> Nod {
    let mut watch = Watch::new(wire);
    loop {
        match read_nod(inner) {
            Ok(Some(NOD)) => return Nod::Given,
            Ok(Some(_)) => return Nod::Other,
            Ok(None) => {}
            Err(error) => {
                log::debug!("no reply from a worker: {error}");
                return Nod::Lost;
            }
        }
        if watch.has_left(wire, inner, admitted) {
            return Nod::Left;
        }
    }
}

/// Looks after the client while a reply is pending.
struct Watch {
    /// Whether the client may have more to say.
    watched: bool,
    /// Whether it closed its sending side before this began.
    ended: bool,
}

impl Watch {
    fn new(wire: &Wire) -> Self {
        let ended = wire.has_ended();
        Self { watched: !ended, ended }
    }

    /// Waits until `answer` can be read or the client does something; says whether it has left.
    fn has_left(&mut self, wire: &mut Wire, answer: &impl AsFd, admitted: &Admitted) -> bool {
        if std::mem::take(&mut self.ended) && admitted.half_closed() {
            return true;
        }
        let (ready, client) = poll_both(answer, wire, self.watched, None);
        if ready {
            return false;
        }
        if client.intersects(PollFlags::ERR | PollFlags::HUP) {
            return true;
        }
        if client.contains(PollFlags::IN) {
            match look(wire) {
                Seen::More => self.watched = wire.inbound().len() < PIPELINED_BYTES_MAX,
                Seen::HalfClosed if admitted.half_closed() => return true,
                // A plain client may close its sending side and wait for the reply.
                Seen::HalfClosed => self.watched = false,
                Seen::Left => return true,
            }
        }
        admitted.gone.is_fired()
    }
}

/// Reads a byte, waiting as long as the socket's read timeout says. `None`: it did not come.
fn read_nod(mut inner: &UnixStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    match inner.read(&mut byte) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(byte.first().copied()),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

pub(super) enum Seen {
    More,
    HalfClosed,
    Left,
}

/// Reads what the client sent while a reply is pending. Under TLS an end is a leave; a plain
/// client that only sends FIN may still be reading.
pub(super) fn look(wire: &mut Wire) -> Seen {
    match wire.read_now() {
        Ok(Got::Data | Got::Nothing | Got::Late) => Seen::More,
        Ok(Got::End) if wire.is_tls() => Seen::Left,
        Ok(Got::End) => Seen::HalfClosed,
        Err(_) => Seen::Left,
    }
}

/// Whether the inner end is ready, and what the client's socket says.
pub(super) fn poll_both(
    inner: &impl AsFd,
    client: &impl AsFd,
    watched: bool,
    limit: Option<Duration>,
) -> (bool, PollFlags) {
    let flags = if watched { PollFlags::IN } else { PollFlags::empty() };
    let mut fds = [PollFd::new(inner, PollFlags::IN), PollFd::new(client, flags)];
    if wait(&mut fds, limit).is_err() {
        return (true, PollFlags::empty());
    }
    let [inner, client] = fds;
    (!inner.revents().is_empty(), client.revents())
}

pub(super) fn left(admitted: &Admitted, error: &io::Error) {
    if error.kind() == io::ErrorKind::TimedOut {
        log::warn!(
            "{} does not read: its connection is closed at the limit write_ms_max",
            admitted.peer.ip().to_canonical()
        );
    } else {
        log::debug!("{} left: {error}", admitted.peer.ip().to_canonical());
    }
    admitted.gone.fire(Reason::ClientLeft);
}

/// The head of a reply; without a length, of an event stream.
pub(super) fn head(reply: &Reply, length: Option<usize>, http_1_0: bool, keep: bool) -> Vec<u8> {
    let status = reply.status;
    let mut bytes = Vec::with_capacity(512 + length.unwrap_or(0).min(JOINED_BYTES_MAX));
    bytes.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)).as_bytes());
    let mut line = |name: &str, value: &str| {
        for part in [name, ": ", value, "\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    };
    // RFC 9110, section 6.6.1.
    line("Date", &httpdate::fmt_http_date(SystemTime::now()));
    if !reply.content_type.is_empty() {
        line("Content-Type", reply.content_type);
    }
    for (name, value) in &reply.fields {
        line(name, value.as_str());
    }
    match length {
        // RFC 9110, section 8.6: a 204 has no length.
        Some(_) if status == 204 => {}
        Some(length) => line("Content-Length", &length.to_string()),
        None if http_1_0 => {}
        None => line("Transfer-Encoding", "chunked"),
    }
    line("Connection", if keep { "keep-alive" } else { "close" });
    bytes.extend_from_slice(b"\r\n");
    bytes
}

pub(super) fn write_deadline(limits: &EdgeLimits) -> Instant {
    Instant::now() + Duration::from_millis(limits.write_ms_max)
}

/// Bodies up to this size go out in one write with their head.
const JOINED_BYTES_MAX: usize = 64 * 1024;
/// How much of the next requests is read while a reply is pending.
pub(super) const PIPELINED_BYTES_MAX: usize = 16 * 1024;
/// A reader that takes less than this within `write_ms_max` is cut off.
const WRITTEN_BYTES: usize = 1024 * 1024;
