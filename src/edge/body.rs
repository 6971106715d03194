//! Reads one request body: bounded, under a deadline, chunks decoded, all bodies of the server
//! under one shared budget.

use std::io;
use std::time::{Duration, Instant};

use super::EdgeLimits;
use super::budget::Share;
use super::chunked::Decoder;
use super::error::Refusal;
use super::head::Framing;
use super::wire::{Got, Wire};

/// Why there is no body.
#[derive(Debug)]
pub(super) enum NoBody {
    /// The client is told so.
    Refused(Refusal),
    /// There is nobody to tell.
    Broken(io::Error),
}

impl From<Refusal> for NoBody {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for NoBody {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// A body and its share of the budget, which it keeps until the worker has it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// Held for as long as the bytes are.
    pub(super) share: Share,
}

/// Refuses a body by its announced length, before a byte of it is read or a 100 is answered.
pub(super) fn check_length(framing: Framing, limits: &EdgeLimits) -> Result<(), Refusal> {
    match framing {
        Framing::Length(length) if length > limits.body_bytes_max as u64 => {
            Err(Refusal::BodyTooLarge(limits.body_bytes_max))
        }
        Framing::Length(_) | Framing::Chunked => Ok(()),
    }
}

/// Reads the body into `share`. Errors: a limit by its name, broken framing, a broken connection.
pub(super) fn read(
    wire: &mut Wire,
    framing: Framing,
    limits: &EdgeLimits,
    mut share: Share,
) -> Result<Body, NoBody> {
    let mut bytes = Vec::new();
    let deadline = Instant::now() + Duration::from_millis(limits.body_ms_max);
    match framing {
        Framing::Length(0) => {}
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            // Memory and share grow as bytes come: an announcement alone must cost nobody anything.
            while bytes.len() < length {
                if wire.inbound().is_empty() {
                    more(wire, deadline, limits)?;
                }
                let part = wire.inbound().len().min(length - bytes.len());
                grow(&mut share, bytes.len() + part)?;
                bytes.extend_from_slice(wire.inbound().get(..part).unwrap_or_default());
                wire.take(part);
            }
        }
        Framing::Chunked => {
            let mut decoder = Decoder::new();
            while !decoder.is_done() {
                if wire.inbound().is_empty() {
                    more(wire, deadline, limits)?;
                }
                grow(&mut share, bytes.len() + wire.inbound().len())?;
                let taken = decoder.feed(wire.inbound(), &mut bytes, limits.body_bytes_max)?;
                wire.take(taken);
            }
        }
    }
    Ok(Body { bytes, share })
}

/// Reads a small body and drops it, so that a refused request does not cost its connection.
/// Says whether the connection can go on.
pub(super) fn skip(wire: &mut Wire, framing: Framing) -> bool {
    let Framing::Length(length) = framing else { return false };
    let Some(mut left) = usize::try_from(length).ok().filter(|n| *n <= SKIPPED_BYTES_MAX) else {
        return false;
    };
    let deadline = Instant::now() + SKIP_LIMIT;
    loop {
        let part = wire.inbound().len().min(left);
        wire.take(part);
        left -= part;
        if left == 0 {
            return true;
        }
        if !matches!(wire.read(deadline), Ok(Got::Data)) {
            return false;
        }
    }
}

fn grow(share: &mut Share, bytes: usize) -> Result<(), Refusal> {
    if share.grow_to(bytes) { Ok(()) } else { Err(Refusal::BodiesFull(share.bytes_max())) }
}

fn more(wire: &mut Wire, deadline: Instant, limits: &EdgeLimits) -> Result<(), NoBody> {
    match wire.read(deadline)? {
        Got::Data => Ok(()),
        Got::Late | Got::Nothing => Err(Refusal::BodyTooSlow(limits.body_ms_max).into()),
        Got::End => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// A refused body up to this size is read and dropped.
const SKIPPED_BYTES_MAX: usize = 64 * 1024;
/// For at most this long.
const SKIP_LIMIT: Duration = Duration::from_secs(2);
