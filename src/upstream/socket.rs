//! A TCP connection whose blocked reads and writes a `Cancel` ends at once, as a ureq transport.
//!
//! Every socket knows the request that uses it. A `Cancel` compares that owner with its own
//! request and shuts the socket down under one lock, so a late one never touches a connection
//! that has gone on to serve somebody else.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
#[cfg(target_os = "linux")]
use rustix::net::SendFlags;
use rustix::net::{RecvFlags, recv};
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use crate::upstream::call::{self, Call};
use crate::upstream::limits::Stop;
use crate::worker::lock;

/// The part of a connection that other threads may reach.
pub(super) struct Socket {
    stream: TcpStream,
    /// The id of the request that uses it, 0 in the pool.
    owner: Mutex<u64>,
}

impl Socket {
    /// Shuts the socket down if the request `id` still uses it. The lock is held across the
    /// system call on purpose: that is what makes comparing and shutting down one step, and the
    /// call does not block.
    pub(super) fn shut_down_for(&self, id: u64) {
        let owner = lock(&self.owner);
        if *owner == id {
            // An error means that it is closed already, which is what was wanted.
            drop(self.stream.shutdown(Shutdown::Both));
        }
    }

    /// Waits while bytes gather, at most `length`; a shutdown, such as a `Cancel`'s, ends it.
    fn rest(&self, length: Duration) {
        let Ok(length) = Timespec::try_from(length) else { return };
        // Asked for nothing, poll tells only the end.
        let _woken = poll(&mut [PollFd::new(&self.stream, PollFlags::empty())], Some(&length));
        // Many servers hold a small piece back until the one before it is acknowledged, which the
        // system puts off by 40 ms for a reader that was not waiting.
        #[cfg(target_os = "linux")]
        if let Ok(0) =
            poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&Timespec::default()))
        {
            let _acknowledged = rustix::net::sockopt::set_tcp_quickack(&self.stream, true);
        }
    }

    fn set_owner(&self, id: u64) {
        *lock(&self.owner) = id;
    }
}

/// A plain connection in ureq's hands.
pub(super) struct Wire {
    socket: Arc<Socket>,
    buffers: LazyBuffers,
    /// The owner as this side knows it, which spares the lock for most uses.
    claimed_by: u64,
    read_wait: Option<Duration>,
    write_wait: Option<Duration>,
}

impl Wire {
    /// Wraps a connected stream and claims it for `call`.
    pub(super) fn new(stream: TcpStream, call: &Call) -> Self {
        let mut wire = Self {
            socket: Arc::new(Socket { stream, owner: Mutex::new(0) }),
            buffers: LazyBuffers::new(INPUT_BYTES, OUTPUT_BYTES),
            claimed_by: 0,
            read_wait: None,
            write_wait: None,
        };
        wire.claim(call);
        wire
    }

    /// From here on a `Cancel` of `call` ends this connection. Claiming comes before looking at
    /// the flag, and firing sets the flag before it looks for the socket, so one of the two
    /// always sees the other.
    fn claim(&mut self, call: &Call) {
        if self.claimed_by != call.id() {
            self.claimed_by = call.id();
            self.socket.set_owner(call.id());
            call.hold(&self.socket);
        }
    }

    fn release(&mut self) {
        self.claimed_by = 0;
        self.socket.set_owner(0);
    }

    fn write(&mut self, amount: usize, call: &Call) -> Result<(), io::Error> {
        let mut at = 0;
        let more = call.body_follows();
        while at < amount {
            let wait = call.wait(false)?;
            if self.write_wait != Some(wait) {
                self.socket.stream.set_write_timeout(Some(wait))?;
                self.write_wait = Some(wait);
            }
            let Some(rest) = self.buffers.output().get(at..amount) else {
                return Err(ErrorKind::InvalidInput.into());
            };
            match write_some(&self.socket.stream, rest, more) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    at += n;
                    call.wrote();
                }
                Err(error) if is_pause(&error) => call.look()?,
                Err(error) => {
                    call.check()?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, call: &Call) -> Result<usize, io::Error> {
        loop {
            let wait = call.wait(true)?;
            if self.read_wait != Some(wait) {
                self.socket.stream.set_read_timeout(Some(wait))?;
                self.read_wait = Some(wait);
            }
            let space = self.buffers.input_append_buf();
            if space.is_empty() {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "the answer's head is too long",
                ));
            }
            if let Some(rest) = call.rest() {
                self.socket.rest(rest);
            }
            let read = (&self.socket.stream).read(space);
            // A socket that was shut down reads like the end of the stream.
            call.check()?;
            match read {
                Ok(0) => return Ok(0),
                Ok(n) => {
                    call.read();
                    self.buffers.input_appended(n);
                    return Ok(n);
                }
                Err(error) if is_pause(&error) => call.look()?,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let call = call::current()?;
        self.claim(&call);
        self.write(amount, &call).map_err(ureq::Error::Io)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let call = call::current()?;
        self.claim(&call);
        self.read(&call).map(|n| n > 0).map_err(ureq::Error::Io)
    }

    /// ureq asks when it takes a connection from the pool, where it must be claimed and probed,
    /// and before it puts one back, where it must be released.
    fn is_open(&mut self) -> bool {
        let Ok(call) = call::current() else { return false };
        if self.claimed_by == call.id() {
            self.release();
            return call.check().is_ok();
        }
        self.claim(&call);
        call.take_reused();
        call.check().is_ok() && is_quiet(&self.socket.stream)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("peer", &self.socket.stream.peer_addr().ok()).finish()
    }
}

/// Writes what the socket takes. When `more` comes at once it waits for that: one packet less, and
/// the upstream wakes once.
#[cfg(target_os = "linux")]
fn write_some(stream: &TcpStream, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = if more { SendFlags::MORE } else { SendFlags::empty() };
    Ok(rustix::net::send(stream, bytes, flags | SendFlags::NOSIGNAL)?)
}

#[cfg(not(target_os = "linux"))]
fn write_some(mut stream: &TcpStream, bytes: &[u8], _more: bool) -> io::Result<usize> {
    std::io::Write::write(&mut stream, bytes)
}

/// Whether an idle connection has neither ended nor brought bytes that nobody asked for.
fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [0; 1];
    matches!(
        recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT),
        Err(rustix::io::Errno::WOULDBLOCK)
    )
}

/// The socket's own timeout or a signal: look at the limits and go on.
fn is_pause(error: &io::Error) -> bool {
    Stop::within(error).is_none()
        && matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
        )
}

/// Holds the head of an answer; far more than model servers send.
pub(super) const INPUT_BYTES: usize = 16 * 1024;

/// What one write to the socket carries at most.
pub(super) const OUTPUT_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::cancel::{Cancel, Reason};
    use crate::upstream::limits::Limits;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn hear(wire: &mut Wire, mut peer: &TcpStream) -> Result<bool, ureq::Error> {
        peer.write_all(b"!").unwrap();
        wire.await_input(NextTimeout::default())
    }

    #[test]
    fn a_cancel_reaches_only_the_connection_that_its_request_uses_now() {
        let (ours, peer) = pair();
        let (first, second) = (Cancel::new(), Cancel::new());
        let one = Call::new(&first, Limits::default(), None);
        let _one = one.enter();
        let mut wire = Wire::new(ours, &one);
        assert!(wire.is_open(), "goes back to the pool");
        let two = Call::new(&second, Limits::default(), None);
        let _two = two.enter();
        assert!(wire.is_open(), "is taken from the pool");
        // Its hook still waits, as when it fires while the connection changes hands.
        assert!(first.fire(Reason::Requested));
        assert!(hear(&mut wire, &peer).unwrap());
        assert!(second.fire(Reason::Requested));
        let ended = hear(&mut wire, &peer).unwrap_err();
        let ureq::Error::Io(ended) = ended else { panic!("{ended:?}") };
        assert_eq!(Stop::within(&ended), Some(Stop::Cancelled));
        assert_eq!((&peer).read(&mut [0]).unwrap(), 0, "the peer sees the end");
    }

    #[test]
    fn a_rest_ends_with_a_cancel() {
        let (ours, _peer) = pair();
        let cancel = Cancel::new();
        let call = Call::new(&cancel, Limits::default(), None);
        let _entered = call.enter();
        let wire = Wire::new(ours, &call);
        let begun = std::time::Instant::now();
        wire.socket.rest(Duration::from_millis(1));
        assert!(begun.elapsed() >= Duration::from_millis(1));
        cancel.fire(Reason::Requested);
        wire.socket.rest(Duration::from_secs(600));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_connection_that_ended_or_talks_unasked_is_not_taken_from_the_pool() {
        for says in [&b""[..], b"HTTP/1.1 408 Too late\r\n\r\n"] {
            let (ours, mut peer) = pair();
            let (one, two) = (
                Call::new(&Cancel::new(), Limits::default(), None),
                Call::new(&Cancel::new(), Limits::default(), None),
            );
            let _one = one.enter();
            let mut wire = Wire::new(ours, &one);
            assert!(wire.is_open());
            peer.write_all(says).unwrap();
            drop(peer);
            // Bytes and the end have arrived when the socket says that it can be read.
            let mut polled = [PollFd::new(&wire.socket.stream, PollFlags::IN)];
            poll(&mut polled, None).unwrap();
            let _two = two.enter();
            assert!(!wire.is_open());
        }
    }
}
