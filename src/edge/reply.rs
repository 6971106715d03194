//! Takes a worker's reply off its hands and brings it to the client at the client's pace. Meanwhile
//! it watches the client and tells the house when it left.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags};

use super::budget::{Budget, Share};
use super::error::{Refusal, reason_phrase};
use super::head::{Head, Method};
use super::http::House;
use super::inner::Inner;
use super::relay;
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
    pub(super) inner: Option<Inner>,
}

/// A reply as the worker wrote it.
pub(super) struct Taken {
    pub(super) status: u16,
    /// Header lines to pass on, each with its line end.
    pub(super) lines: String,
    /// As tiny_http announced it.
    length: Option<usize>,
    /// The body.
    body: Vec<u8>,
    share: Share,
}

/// Waits for the reply and brings it to the client. Never fails: a client that left or does not
/// read ends its own connection only.
pub(super) fn bring(
    wire: &mut Wire,
    inner: Inner,
    admitted: &Admitted,
    house: &House,
    limits: &EdgeLimits,
    budget: &Arc<Budget>,
) -> Finished {
    let lost = Finished { status: 0, bytes: 0, keep: false, inner: None };
    if !await_reply(wire, &inner.socket, admitted) {
        admitted.gone.fire(Reason::ClientLeft);
        return lost;
    }
    let taken = match take(&inner.socket, limits, budget) {
        Ok(taken) => taken,
        Err(refusal) => {
            house.forget(&inner);
            let keep = admitted.head.keep_alive && !refusal.closes();
            let reply = Reply::from(&refusal);
            let written = send(wire, &reply, Some(&admitted.head), keep, limits);
            let bytes = reply.body.len() as u64;
            return Finished { status: refusal.status(), bytes, keep: keep && written, ..lost };
        }
    };
    match admitted.handed_over() {
        // The inner connection has done its work; the stream does not hold it.
        Some(handed) if admitted.head.method != Method::Head => {
            house.give_back(inner);
            // The stream owns the client's end until it is over.
            let own = std::mem::replace(wire, Wire::new(wire.socket(), None));
            let finished;
            (*wire, finished) = relay::stream(own, handed, &taken, admitted, limits);
            finished
        }
        _ => Finished { inner: Some(inner), ..whole(wire, &taken, admitted, limits) },
    }
}

/// Writes a reply of the front's own; `request` is the head that it answers, where one could be
/// read. Says whether it went out.
pub(super) fn send(
    wire: &mut Wire,
    reply: &Reply,
    request: Option<&Head>,
    keep: bool,
    limits: &EdgeLimits,
) -> bool {
    // RFC 9110, section 6.6.1; in the replies of the house tiny_http has put it.
    let mut lines = format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    if !reply.content_type.is_empty() {
        lines.push_str(&format!("Content-Type: {}\r\n", reply.content_type));
    }
    for (name, value) in &reply.fields {
        lines.push_str(&format!("{name}: {}\r\n", value.as_str()));
    }
    let http_1_0 = request.is_some_and(|request| request.http_1_0);
    let mut bytes = head(reply.status, &lines, Some(reply.body.len()), http_1_0, keep);
    if request.is_none_or(|request| request.method != Method::Head) {
        bytes.extend_from_slice(&reply.body);
    }
    wire.write(&bytes, write_deadline(limits)).is_ok()
}

/// Polls both ends until the reply begins; `false` when the client left before.
fn await_reply(wire: &mut Wire, inner: &UnixStream, admitted: &Admitted) -> bool {
    let mut watched = !wire.has_ended();
    loop {
        let (reply, client) = poll_both(inner, wire, watched, None);
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

/// Reads the whole reply; the worker is done with it then. Errors: the worker was lost, or a limit;
/// the inner connection is given up.
fn take(inner: &UnixStream, limits: &EdgeLimits, budget: &Arc<Budget>) -> Result<Taken, Refusal> {
    let lost = |error: io::Error| {
        log::debug!("no reply from a worker: {error}");
        Refusal::Unavailable
    };
    let mut bytes = Vec::with_capacity(INNER_READ_BYTES);
    let (mut taken, length) = loop {
        read_some(inner, &mut bytes).map_err(lost)?;
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
        if !taken.share.grow_to(length) {
            return Err(Refusal::RepliesFull(budget.bytes_max()));
        }
        bytes.reserve_exact(length.saturating_sub(bytes.len()));
        while bytes.len() < length {
            read_some(inner, &mut bytes).map_err(lost)?;
        }
    }
    taken.body = bytes;
    Ok(taken)
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
    Taken { status, lines, length, body: Vec::new(), share: budget.share() }
}

fn read_some(mut inner: &UnixStream, bytes: &mut Vec<u8>) -> io::Result<()> {
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
    let body = if request.method == Method::Head { &[][..] } else { &taken.body };
    let deadline = write_deadline(limits);
    let written = if body.len() <= JOINED_BYTES_MAX {
        bytes.extend_from_slice(body);
        wire.write(&bytes, deadline)
    } else {
        // Each piece has the whole time: a limit for the sum would cut off slow readers of long
        // replies, who do read.
        wire.write(&bytes, deadline).and_then(|()| {
            body.chunks(WRITTEN_BYTES)
                .try_for_each(|piece| wire.write(piece, write_deadline(limits)))
        })
    };
    if let Err(error) = &written {
        left(admitted, error);
    }
    Finished {
        status: taken.status,
        bytes: length as u64,
        keep: keep && written.is_ok(),
        inner: None,
    }
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

pub(super) fn head(
    status: u16,
    lines: &str,
    length: Option<usize>,
    http_1_0: bool,
    keep: bool,
) -> Vec<u8> {
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

pub(super) fn write_deadline(limits: &EdgeLimits) -> Instant {
    Instant::now() + Duration::from_millis(limits.write_ms_max)
}

/// What is read from the inner connection at once; on the stack of a thread that lives long, so
/// it is kept to one page.
const INNER_READ_BYTES: usize = 4096;
/// Bodies up to this size go out in one write with their head.
const JOINED_BYTES_MAX: usize = 64 * 1024;
/// How much of the next requests is read while a reply is pending.
const PIPELINED_BYTES_MAX: usize = 16 * 1024;
/// A reader that takes less than this within `write_ms_max` is cut off.
const WRITTEN_BYTES: usize = 1024 * 1024;
