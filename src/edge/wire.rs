//! A client's socket, plain or under TLS, read and written under deadlines.
//!
//! The socket does not block: whoever uses it tries first and polls when there is nothing, so that
//! no thread stays in a call it cannot leave. Knows no HTTP.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ServerConnection;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// Bytes were appended to the inbound buffer.
    Data,
    /// The peer will send no more.
    End,
    /// Nothing came before the deadline.
    Late,
    /// There is nothing at this moment (only from [`Wire::read_now`]).
    Nothing,
}

/// One connection's bytes in both directions.
pub(super) struct Wire {
    socket: Arc<TcpStream>,
    tls: Option<Box<ServerConnection>>,
    /// Decrypted bytes that no request has taken yet.
    inbound: Vec<u8>,
    ended: bool,
}

impl Wire {
    /// Takes over a socket that does not block, with its finished handshake if it has one.
    pub(super) fn new(socket: Arc<TcpStream>, tls: Option<Box<ServerConnection>>) -> Self {
        Self { socket, tls, inbound: Vec::new(), ended: false }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Bytes that have come and were not taken.
    pub(super) fn inbound(&self) -> &[u8] {
        &self.inbound
    }

    /// Takes bytes from the front; the buffer is given back when it is empty, so that a kept-alive
    /// connection costs no memory for it.
    pub(super) fn take(&mut self, length: usize) {
        if length >= self.inbound.len() {
            self.inbound = Vec::new();
        } else {
            self.inbound.drain(..length);
        }
    }

    /// Whether the peer has said that it will send no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Like [`Self::read`], for bytes that are not expected yet: waits before it tries.
    pub(super) fn read_later(&mut self, deadline: Instant) -> io::Result<Got> {
        let decrypted = self.tls.as_mut().is_some_and(|tls| !tls.wants_read());
        if !decrypted && !self.ended {
            let Some(left) = time_left(deadline) else { return Ok(Got::Late) };
            wait(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(left))?;
        }
        self.read(deadline)
    }

    /// Waits for bytes and appends them to the inbound buffer.
    /// Errors: the connection is broken.
    pub(super) fn read(&mut self, deadline: Instant) -> io::Result<Got> {
        loop {
            match self.read_now()? {
                Got::Nothing => {}
                got => return Ok(got),
            }
            let Some(left) = time_left(deadline) else { return Ok(Got::Late) };
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            wait(&mut fds, Some(left))?;
        }
    }

    /// Appends what is there without waiting. Errors: the connection is broken.
    pub(super) fn read_now(&mut self) -> io::Result<Got> {
        if self.ended {
            return Ok(Got::End);
        }
        let mut buffer = [0; READ_BYTES];
        let got = match &mut self.tls {
            None => interrupted(|| (&*self.socket).read(&mut buffer)),
            Some(tls) => read_tls(tls, &self.socket, &mut buffer),
        };
        match got {
            Ok(0) => {
                self.ended = true;
                Ok(Got::End)
            }
            Ok(length) => {
                self.inbound.extend_from_slice(buffer.get(..length).unwrap_or_default());
                Ok(Got::Data)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Writes all of it. Errors: the connection is broken, or `TimedOut` when the peer does not
    /// take it before the deadline.
    pub(super) fn write(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        match &mut self.tls {
            None => write_plain(&self.socket, bytes, deadline),
            Some(tls) => {
                for piece in bytes.chunks(TLS_PIECE_BYTES) {
                    tls.writer().write_all(piece)?;
                    flush_tls(tls, &self.socket, deadline)?;
                }
                Ok(())
            }
        }
    }

    /// Writes what can be written without waiting and returns how much of it was taken; under TLS
    /// what was taken may still wait for a [`Self::flush`]. Errors: the connection is broken.
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        for piece in bytes.chunks(TLS_PIECE_BYTES) {
            let written = match &mut self.tls {
                None => interrupted(|| (&*self.socket).write(piece)),
                Some(tls) => tls.writer().write_all(piece).map(|()| piece.len()),
            };
            match written {
                Ok(length) => taken += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            match self.flush(Instant::now()) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                flushed => flushed?,
            }
            if taken % TLS_PIECE_BYTES != 0 {
                // A short write: the socket is full.
                break;
            }
        }
        Ok(taken)
    }

    /// Whether encrypted bytes wait for the socket.
    pub(super) fn is_behind(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes the encrypted bytes that wait. Errors: as of [`Self::write`].
    pub(super) fn flush(&mut self, deadline: Instant) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => flush_tls(tls, &self.socket, deadline),
        }
    }

    /// The socket, to be polled.
    pub(super) fn socket(&self) -> Arc<TcpStream> {
        Arc::clone(&self.socket)
    }

    /// Says that nothing more will be sent (`close_notify` under TLS, then FIN), and drops what
    /// still comes (a refused body), so that the peer reads our last reply instead of a reset: as
    /// long as it goes on sending without a pause of `pause`, and at most `linger`.
    pub(super) fn close(mut self, pause: Duration, linger: Duration) {
        let end = Instant::now() + linger;
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The peer may be gone already; there is nobody to tell.
            drop(flush_tls(tls, &self.socket, Instant::now() + pause));
        }
        drop(self.socket.shutdown(Shutdown::Write));
        loop {
            self.inbound.clear();
            let now = Instant::now();
            if now >= end || !matches!(self.read(end.min(now + pause)), Ok(Got::Data)) {
                return;
            }
        }
    }
}

/// What a socket shows without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// The peer is there.
    There,
    /// The peer has closed its sending side; under TLS that is its end.
    SaysNoMore,
    /// The connection is broken.
    Gone,
}

/// Looks at a socket from outside of its [`Wire`], without waiting.
pub(super) fn seen_from_outside(socket: &TcpStream) -> Outside {
    #[cfg(target_os = "linux")]
    const NO_MORE: PollFlags = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    const NO_MORE: PollFlags = PollFlags::empty();
    let mut fds = [PollFd::new(socket, NO_MORE)];
    if wait(&mut fds, Some(Duration::ZERO)).is_err() {
        return Outside::Gone;
    }
    let [seen] = fds;
    if seen.revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        Outside::Gone
    } else if seen.revents().intersects(NO_MORE) {
        Outside::SaysNoMore
    } else {
        Outside::There
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("tls", &self.is_tls())
            .field("inbound", &self.inbound.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Does the server's side of a TLS handshake. Errors: the peer is no TLS client, refuses our
/// certificate, or is not done before the deadline (`TimedOut`).
pub(super) fn handshake(
    tls: &mut ServerConnection,
    socket: &TcpStream,
    deadline: Instant,
) -> io::Result<()> {
    while tls.is_handshaking() {
        let got = tls.read_tls(&mut &*socket);
        match got {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => process(tls, socket)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = time_left(deadline).ok_or(io::ErrorKind::TimedOut)?;
                wait(&mut [PollFd::new(socket, PollFlags::IN)], Some(left))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        flush_tls(tls, socket, deadline)?;
    }
    flush_tls(tls, socket, deadline)
}

/// Polls, again after an interruption. Returns whether anything is ready.
pub(super) fn wait(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<bool> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(fds, limit.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What is left until a deadline; `None` when it has passed.
pub(super) fn time_left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

fn read_tls(
    tls: &mut ServerConnection,
    socket: &TcpStream,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // An end without close_notify is an end all the same: HTTP has its own framing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            other => return other,
        }
        // An end of the socket makes the reader above say so.
        interrupted(|| tls.read_tls(&mut &*socket))?;
        process(tls, socket)?;
        if tls.wants_write() {
            flush_now(tls, socket)?;
        }
    }
}

fn process(tls: &mut ServerConnection, socket: &TcpStream) -> io::Result<()> {
    if let Err(error) = tls.process_new_packets() {
        // The alert tells the peer why; it may not be there to read it.
        drop(flush_now(tls, socket));
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(())
}

/// Writes what the socket takes at once; the rest goes out with what is written next. Whoever reads
/// does not wait for a peer that does not.
fn flush_now(tls: &mut ServerConnection, socket: &TcpStream) -> io::Result<()> {
    match flush_tls(tls, socket, Instant::now()) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
        flushed => flushed,
    }
}

fn flush_tls(tls: &mut ServerConnection, socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut &*socket) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                writable(socket, deadline)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_plain(socket: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match (&mut &*socket).write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                writable(socket, deadline)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn writable(socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    let left = time_left(deadline).ok_or(io::ErrorKind::TimedOut)?;
    wait(&mut [PollFd::new(socket, PollFlags::OUT)], Some(left)).map(drop)
}

fn interrupted(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A head of a real client is 400 to 900 bytes; a stack buffer this small costs one page.
const READ_BYTES: usize = 2048;
/// The plaintext of one TLS record (RFC 8446, section 5.1).
const TLS_PIECE_BYTES: usize = 16 * 1024;
