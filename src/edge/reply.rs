//! Takes a worker's reply off its hands and brings it to the client at the client's pace; relays
//! an event stream as it flows. Meanwhile it watches the client and tells the house when it left.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::budget::{Budget, Share};
use super::error::{Refusal, reason_phrase};
use super::wire::{Got, Wire, wait};
use super::{Admitted, EdgeLimits, Reply};
use crate::cancel::Reason;

/// How an exchange ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// The status that the client was sent; 0 when it left before.
    pub(super) status: u16,
    /// Bytes of body.
    pub(super) bytes: u64,
    /// Whether the client's connection can take another request.
    pub(super) keep: bool,
    /// The inner connection, when its reply has been read to its end.
    pub(super) inner: Option<UnixStream>,
}

/// A reply as the worker wrote it.
struct Taken {
    status: u16,
    /// Header lines to pass on, each with its line end.
    lines: String,
    /// `None`: an event stream.
    length: Option<usize>,
    /// What came behind the head.
    body: Vec<u8>,
    _share: Share,
}

/// Waits for the reply and brings it to the client. Never fails: a client that left or does not
/// read ends its own connection only.
pub(super) fn bring(
    wire: &mut Wire,
    inner: UnixStream,
    admitted: &Admitted,
    limits: &EdgeLimits,
    budget: &Arc<Budget>,
) -> Finished {
    let lost = Finished { status: 0, bytes: 0, keep: false, inner: None };
    if !await_reply(wire, &inner, admitted) {
        admitted.gone.fire(Reason::ClientLeft);
        return lost;
    }
    let (taken, inner) = match take(inner, limits, budget) {
        Ok(taken) => taken,
        Err(refusal) => {
            let keep = admitted.head.keep_alive;
            let written = refuse(wire, &refusal, admitted.head.http_1_0, keep, limits);
            return Finished { status: refusal.status(), keep: keep && written, ..lost };
        }
    };
    let finished = if taken.length.is_some() {
        whole(wire, &taken, admitted, limits)
    } else {
        stream(wire, &inner, &taken, admitted, limits)
    };
    let reusable = taken.length.is_some();
    Finished { inner: reusable.then_some(inner), ..finished }
}

/// Writes a refusal; says whether it went out.
pub(super) fn refuse(
    wire: &mut Wire,
    refusal: &Refusal,
    http_1_0: bool,
    keep: bool,
    limits: &EdgeLimits,
) -> bool {
    send(wire, &Reply::from(refusal), http_1_0, keep, limits)
}

/// Writes a reply of the front's own; says whether it went out.
pub(super) fn send(
    wire: &mut Wire,
    reply: &Reply,
    http_1_0: bool,
    keep: bool,
    limits: &EdgeLimits,
) -> bool {
    let mut lines = String::new();
    if !reply.content_type.is_empty() {
        lines = format!("Content-Type: {}\r\n", reply.content_type);
    }
    for (name, value) in &reply.fields {
        lines.push_str(&format!("{name}: {}\r\n", value.as_str()));
    }
    let mut bytes = head(reply.status, &lines, Some(reply.body.len()), http_1_0, keep);
    bytes.extend_from_slice(&reply.body);
    wire.write(&bytes, write_deadline(limits)).is_ok()
}

/// Polls both ends until the reply begins; `false` when the client left before.
fn await_reply(wire: &mut Wire, inner: &UnixStream, admitted: &Admitted) -> bool {
    let mut watched = !wire.has_ended();
    loop {
        let (reply, client) = poll_both(inner, wire, watched);
        if reply {
            return true;
        }
        if client.intersects(PollFlags::ERR | PollFlags::HUP) {
            return false;
        }
        if client.contains(PollFlags::IN) {
            match look(wire) {
                Seen::More => watched = wire.inbound().len() < PIPELINED_BYTES_MAX,
                // A plain client may close its sending side and wait for the reply.
                Seen::HalfClosed => watched = false,
                Seen::Left => return false,
            }
        }
        if admitted.gone.is_fired() {
            return false;
        }
    }
}

enum Seen {
    More,
    HalfClosed,
    Left,
}

/// Reads what the client sent while a reply is pending. Under TLS an end is a leave; a plain
/// client that only sends FIN may still be reading.
fn look(wire: &mut Wire) -> Seen {
    match wire.read_now() {
        Ok(Got::Data | Got::Nothing | Got::Late) => Seen::More,
        Ok(Got::End) if wire.is_tls() => Seen::Left,
        Ok(Got::End) => Seen::HalfClosed,
        Err(_) => Seen::Left,
    }
}

/// Whether the inner connection is ready, and what the client's socket says.
fn poll_both(inner: &UnixStream, wire: &Wire, watched: bool) -> (bool, PollFlags) {
    let flags = if watched { PollFlags::IN } else { PollFlags::empty() };
    let mut fds = [PollFd::new(inner, PollFlags::IN), PollFd::new(wire, flags)];
    if wait(&mut fds, None).is_err() {
        return (true, PollFlags::empty());
    }
    let [inner, client] = fds;
    (!inner.revents().is_empty(), client.revents())
}

/// Reads the reply's head, and its whole body unless it is an event stream. The worker is done with
/// it then. Errors: the worker was lost, or a limit; the inner connection is given up.
fn take(
    mut inner: UnixStream,
    limits: &EdgeLimits,
    budget: &Arc<Budget>,
) -> Result<(Taken, UnixStream), Refusal> {
    let lost = |error: io::Error| {
        log::debug!("no reply from a worker: {error}");
        Refusal::Unavailable
    };
    inner.set_read_timeout(Some(INNER_LIMIT)).map_err(lost)?;
    let mut bytes = Vec::with_capacity(INNER_READ_BYTES);
    let (mut taken, length) = loop {
        read_some(&mut inner, &mut bytes).map_err(lost)?;
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(&bytes) {
            Ok(httparse::Status::Complete(length)) => break (passed_on(&response, budget), length),
            Ok(httparse::Status::Partial) => {}
            Err(error) => return Err(lost(io::Error::other(error))),
        }
    };
    bytes.drain(..length.min(bytes.len()));
    if let Some(length) = taken.length {
        if length > limits.reply_bytes_max {
            return Err(Refusal::ReplyTooLarge(limits.reply_bytes_max));
        }
        if !taken._share.grow_to(length) {
            return Err(Refusal::RepliesFull(budget.bytes_max()));
        }
        bytes.reserve_exact(length.saturating_sub(bytes.len()));
        while bytes.len() < length {
            read_some(&mut inner, &mut bytes).map_err(lost)?;
        }
    }
    taken.body = bytes;
    Ok((taken, inner))
}

fn passed_on(response: &httparse::Response<'_, '_>, budget: &Arc<Budget>) -> Taken {
    let mut lines = String::new();
    let mut length = None;
    for field in response.headers.iter() {
        let value = std::str::from_utf8(field.value).unwrap_or_default();
        match field.name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok(),
            // Ours to say, or nobody's business.
            "connection" | "server" | "transfer-encoding" => {}
            _ => lines.push_str(&format!("{}: {value}\r\n", field.name)),
        }
    }
    let status = response.code.unwrap_or(500);
    Taken { status, lines, length, body: Vec::new(), _share: budget.share() }
}

fn read_some(inner: &mut UnixStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; INNER_READ_BYTES];
    match inner.read(&mut buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(length) => {
            bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}

fn whole(wire: &mut Wire, taken: &Taken, admitted: &Admitted, limits: &EdgeLimits) -> Finished {
    let request = &admitted.head;
    let keep = request.keep_alive && !wire.has_ended();
    let length = taken.body.len();
    let mut bytes = head(taken.status, &taken.lines, Some(length), request.http_1_0, keep);
    let body = if request.method == super::Method::Head { &[][..] } else { &taken.body };
    let deadline = write_deadline(limits);
    let written = if body.len() <= JOINED_BYTES_MAX {
        bytes.extend_from_slice(body);
        wire.write(&bytes, deadline)
    } else {
        wire.write(&bytes, deadline).and_then(|()| wire.write(body, deadline))
    };
    if let Err(error) = &written {
        left(admitted, error);
    }
    Finished { status: taken.status, bytes: length as u64, keep: keep && written.is_ok(), inner: None }
}

fn stream(
    wire: &mut Wire,
    inner: &UnixStream,
    taken: &Taken,
    admitted: &Admitted,
    limits: &EdgeLimits,
) -> Finished {
    let chunked = !admitted.head.http_1_0;
    // The stream keeps its connection busy for good, so it is not offered for another request.
    let opening = head(taken.status, &taken.lines, None, !chunked, chunked);
    let mut relay = Relay { wire, chunked, limits, bytes: 0, boundary: true };
    let relayed = relay.first(opening, &taken.body).and_then(|()| relay.run(inner, admitted));
    let bytes = relay.bytes;
    if let Err(error) = relayed {
        left(admitted, &error);
    }
    admitted.gone.fire(Reason::ClientLeft);
    Finished { status: taken.status, bytes, keep: false, inner: None }
}

/// An event stream on its way.
struct Relay<'a> {
    wire: &'a mut Wire,
    chunked: bool,
    limits: &'a EdgeLimits,
    bytes: u64,
    /// Whether the last bytes ended an event, so that a comment can stand behind them.
    boundary: bool,
}

impl Relay<'_> {
    fn first(&mut self, mut opening: Vec<u8>, body: &[u8]) -> io::Result<()> {
        self.frame(body, &mut opening);
        self.wire.write(&opening, write_deadline(self.limits))
    }

    /// Relays until the worker's end (`Ok`), or until the client left (`Err`).
    fn run(&mut self, inner: &UnixStream, admitted: &Admitted) -> io::Result<()> {
        let mut watched = !self.wire.has_ended();
        loop {
            let (more, client) = poll_both(inner, self.wire, watched);
            if more && !self.pass(inner)? {
                if self.chunked {
                    self.wire.write(LAST_CHUNK, write_deadline(self.limits))?;
                }
                return Ok(());
            }
            if client.intersects(PollFlags::ERR | PollFlags::HUP) || admitted.gone.is_fired() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if client.contains(PollFlags::IN) {
                match look(self.wire) {
                    // A stream's client has nothing more to say; it is not read for ever.
                    Seen::More => {
                        self.wire.take(usize::MAX);
                    }
                    Seen::HalfClosed => {
                        watched = false;
                        self.probe()?;
                    }
                    Seen::Left => return Err(io::ErrorKind::ConnectionReset.into()),
                }
            }
        }
    }

    /// Passes on what is there; `false` at the worker's end.
    fn pass(&mut self, mut inner: &UnixStream) -> io::Result<bool> {
        let mut buffer = [0; INNER_READ_BYTES];
        let length = match inner.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            // The worker's end broke; for the client the stream has ended.
            Err(_) => return Ok(false),
        };
        let mut framed = Vec::with_capacity(length + 16);
        self.frame(buffer.get(..length).unwrap_or_default(), &mut framed);
        self.wire.write(&framed, write_deadline(self.limits))?;
        Ok(true)
    }

    /// A plain client sent FIN: if it is gone altogether it answers the next bytes with a reset,
    /// and a comment is the smallest thing to ask with.
    fn probe(&mut self) -> io::Result<()> {
        if !self.boundary {
            return Ok(());
        }
        let mut framed = Vec::new();
        self.frame(b":\n\n", &mut framed);
        self.wire.write(&framed, write_deadline(self.limits))
    }

    fn frame(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len() as u64;
        self.boundary = bytes.ends_with(b"\n\n");
        if self.chunked {
            out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        }
        out.extend_from_slice(bytes);
        if self.chunked {
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn left(admitted: &Admitted, error: &io::Error) {
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

fn head(status: u16, lines: &str, length: Option<usize>, http_1_0: bool, keep: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256 + length.unwrap_or(0).min(JOINED_BYTES_MAX));
    // Writing to a Vec cannot fail.
    drop(write!(bytes, "HTTP/1.1 {status} {}\r\n{lines}", reason_phrase(status)));
    match length {
        // RFC 9110, section 8.6: a 204 has no length.
        Some(_) if status == 204 => {}
        Some(length) => drop(write!(bytes, "Content-Length: {length}\r\n")),
        None if http_1_0 => {}
        None => bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    let connection = if keep { "keep-alive" } else { "close" };
    drop(write!(bytes, "Connection: {connection}\r\n\r\n"));
    bytes
}

fn write_deadline(limits: &EdgeLimits) -> Instant {
    Instant::now() + Duration::from_millis(limits.write_ms_max)
}

/// What is read from the inner connection at once; on the stack of a thread that lives long, so
/// it is kept to one page.
const INNER_READ_BYTES: usize = 4096;
/// A worker writes its reply from memory; this is for a bug, not for a wait.
const INNER_LIMIT: Duration = Duration::from_secs(30);
/// Bodies up to this size go out in one write with their head.
const JOINED_BYTES_MAX: usize = 64 * 1024;
/// How much of the next requests is read while a reply is pending.
const PIPELINED_BYTES_MAX: usize = 16 * 1024;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
