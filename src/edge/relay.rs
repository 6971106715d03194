//! An event stream on its way: frames what its source brings, sends it as the client takes it, keeps it
//! alive through silence, and notices when the client left. Whoever holds it sends.

use std::io;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::Admitted;
use super::reply::{PIPELINED_BYTES_MAX, Seen, look};
use super::stream::{EventSource, Pull};
use super::wire::Wire;
use crate::auth::Principal;

/// What whoever minds a stream has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Its client may have something to say.
    pub(super) watched: bool,
    /// Its client has something to take.
    pub(super) behind: bool,
    /// It has ended before its call did, and its client has had all of it.
    pub(super) is_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be more.
    Open,
    /// The source has ended.
    Ended,
    /// It has done so before its call did, so that its connection is not kept.
    Over,
    /// A write failed; the stream's own thread ends it.
    Broken,
}

/// How a stream begins.
pub(super) struct Opening {
    pub(super) head: Vec<u8>,
    pub(super) chunked: bool,
    /// The connection goes on behind the stream.
    pub(super) keep: bool,
    /// How long the client may take for what it is sent.
    pub(super) write_limit: Duration,
}

/// An event stream on its way. Whoever holds its lock sends, in the order of the source.
pub(super) struct Relay {
    pub(super) wire: Wire,
    source: Box<dyn EventSource>,
    heartbeat: Duration,
    chunked: bool,
    /// The connection goes on behind the stream.
    keep: bool,
    /// Framed bytes that the socket has not taken.
    unsent: Vec<u8>,
    write_limit: Duration,
    /// When the client last took something.
    spoken: Instant,
    /// Since when it has taken nothing of what waits, as those see it who do not wait for it.
    stuck: Option<Instant>,
    /// Whether the client may have something to say.
    watched: bool,
    pub(super) bytes: u64,
    state: State,
}

impl Relay {
    /// A stream of which nothing was sent.
    pub(super) fn new(wire: Wire, source: Box<dyn EventSource>, opening: Opening) -> Self {
        let Opening { head, chunked, keep, write_limit } = opening;
        Self {
            wire,
            heartbeat: source.heartbeat(),
            source,
            chunked,
            keep,
            unsent: head,
            write_limit,
            spoken: Instant::now(),
            stuck: None,
            watched: true,
            bytes: 0,
            state: State::Open,
        }
    }

    /// Whether its connection is not to be used for anything more.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether nothing will come behind what was framed.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Over)
    }

    /// Whether the client may have something to say.
    pub(super) fn is_watched(&self) -> bool {
        self.watched
    }

    /// Sends nothing any more.
    pub(super) fn break_off(&mut self) {
        self.state = State::Broken;
    }

    /// What is due without a ring: hears the client, breaks a silence. Nothing is sent yet.
    /// Errors: the client left.
    pub(super) fn turn(&mut self, client: PollFlags, admitted: &Admitted) -> io::Result<()> {
        if self.state != State::Open {
            return Ok(());
        }
        if client.intersects(PollFlags::ERR | PollFlags::HUP) || admitted.gone.is_fired() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if client.contains(PollFlags::IN) {
            self.watched = self.hear_client(admitted)?;
        }
        if self.spoken.elapsed() >= self.heartbeat {
            self.comment(HEARTBEAT);
        }
        Ok(())
    }

    /// The same for whoever must not wait, with what can be sent at once, while the stream's own thread
    /// is at work. Errors: the client left, or does not read; nothing will be sent any more.
    pub(super) fn mind(
        &mut self,
        client: PollFlags,
        admitted: &Admitted,
        is_revoked: bool,
    ) -> io::Result<Due> {
        if is_revoked {
            self.close();
        }
        let is_gone = client.intersects(PollFlags::ERR | PollFlags::HUP);
        let minded = match self.state {
            State::Ended if is_gone && self.is_behind() => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            _ => self.turn(client, admitted).and_then(|()| self.go_on(is_revoked || is_gone)),
        };
        if minded.is_err() {
            self.state = State::Broken;
        }
        minded
    }

    /// With `at_once`, what has ended is over when its client has had all of it.
    fn go_on(&mut self, at_once: bool) -> io::Result<Due> {
        self.send_at_once();
        let behind = self.is_behind();
        self.stuck = behind.then(|| self.stuck.unwrap_or_else(Instant::now));
        if self.state == State::Broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.stuck.is_some_and(|since| since.elapsed() >= self.write_limit) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let for_long = at_once || self.spoken.elapsed() >= OVER_AFTER;
        if self.state == State::Ended && !behind && for_long {
            self.state = State::Over;
        }
        // What it says behind the end is another request, which the stream's own thread reads.
        let watched = self.watched && self.state == State::Open;
        Ok(Due { watched, behind, is_over: self.is_over() })
    }

    /// How long nothing need be done without a ring.
    pub(super) fn silence(&self, admitted: &Admitted) -> Duration {
        // Within a heartbeat of its revocation a stream has ended.
        let look_every = match admitted.principal {
            Some(Principal::Home) | None => self.heartbeat,
            Some(_) => self.heartbeat * 2 / 3,
        };
        self.heartbeat.saturating_sub(self.spoken.elapsed()).min(look_every)
    }

    /// Whether the client has not taken all that was framed.
    fn is_behind(&self) -> bool {
        !self.unsent.is_empty() || self.wire.is_behind()
    }

    /// Sends all that waits, without waiting for the client; `false` when something is left to do for
    /// the stream's own thread.
    pub(super) fn send_at_once(&mut self) -> bool {
        while self.state != State::Broken {
            if self.unsent.is_empty() && self.state == State::Open {
                self.gather();
            }
            if !self.is_behind() {
                break;
            }
            match self.write_at_once() {
                Ok(true) => (self.spoken, self.stuck) = (Instant::now(), None),
                Ok(false) => return false,
                Err(_) => self.state = State::Broken,
            }
        }
        self.state == State::Open
    }

    /// Says whether the client took anything.
    fn write_at_once(&mut self) -> io::Result<bool> {
        if self.wire.is_behind() {
            return match self.wire.flush(Instant::now()) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
                flushed => flushed.map(|()| true),
            };
        }
        let taken = self.wire.write_now(&self.unsent)?;
        if taken == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..taken);
        }
        Ok(taken > 0)
    }

    /// Sends all that waits, for as long as the client may take.
    pub(super) fn send_waiting(&mut self) -> io::Result<()> {
        if self.state == State::Broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.wire.flush(self.deadline())?;
        loop {
            if self.state == State::Open {
                self.gather();
            }
            if self.unsent.is_empty() {
                return Ok(());
            }
            self.wire.write(&self.unsent, self.deadline())?;
            self.unsent = Vec::new();
            self.spoken = Instant::now();
        }
    }

    /// Frames what the source has, several events in one chunk.
    fn gather(&mut self) {
        let mut events = Vec::new();
        let mut last = Pull::Some;
        while last == Pull::Some && events.len() < TOGETHER_BYTES {
            last = self.source.pull(&mut events);
        }
        self.frame(&events);
        if last == Pull::End {
            self.close();
        }
    }

    /// Ends the stream, whatever its source still has: nothing comes behind what waits now but the last
    /// chunk, and that not in the middle of another one, where the next reply on the connection begins.
    /// Whoever sends the rest sends it.
    pub(super) fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Ended;
            if self.chunked {
                self.unsent.extend_from_slice(LAST_CHUNK);
            }
        }
    }

    /// Frames a comment, unless something waits that does as well: it might be a part of an event.
    fn comment(&mut self, comment: &[u8]) {
        if !self.is_behind() {
            self.frame(comment);
        }
    }

    fn frame(&mut self, events: &[u8]) {
        if events.is_empty() {
            return;
        }
        self.bytes += events.len() as u64;
        if self.chunked {
            self.unsent.reserve(events.len() + 16);
            self.unsent.extend_from_slice(format!("{:x}\r\n", events.len()).as_bytes());
        }
        self.unsent.extend_from_slice(events);
        if self.chunked {
            self.unsent.extend_from_slice(b"\r\n");
        }
    }

    /// Reads what the client sent; says whether it is still to be watched.
    fn hear_client(&mut self, admitted: &Admitted) -> io::Result<bool> {
        match look(&mut self.wire) {
            // The next request, which waits for the end of this answer.
            Seen::More if self.keep => Ok(self.wire.inbound().len() < PIPELINED_BYTES_MAX),
            // A stream's client has nothing more to say; what it says is dropped.
            Seen::More => {
                self.wire.take(usize::MAX);
                Ok(true)
            }
            Seen::HalfClosed if admitted.half_closed() => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            // A plain client sent FIN: if it is gone altogether it answers the next bytes with a
            // reset, and a comment is the smallest thing to ask with.
            Seen::HalfClosed => {
                self.comment(PROBE);
                Ok(false)
            }
            Seen::Left => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.write_limit
    }
}

/// Takes a lock that nobody has.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A stream that has ended this long while its thread is at work ended before its call, and the
/// connection cannot take another request before that ends too.
const OVER_AFTER: Duration = Duration::from_secs(1);
/// Comments count as bytes for the idle clocks of clients and proxies, and every event parser
/// drops them.
const HEARTBEAT: &[u8] = b": keep-alive\n\n";
const PROBE: &[u8] = b":\n\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Events are gathered up to this size before they are written.
const TOGETHER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Bell;
    use crate::worker::start;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    /// Brings the same event for ever.
    struct Endless;

    impl EventSource for Endless {
        fn begin(&mut self, _: Bell) {}

        fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
            out.resize(TOGETHER_BYTES, b':');
            Pull::Some
        }

        fn heartbeat(&self) -> Duration {
            Duration::from_secs(15)
        }

        fn name(&self) -> String {
            "endless".to_owned()
        }
    }

    fn endless(server: TcpStream) -> Relay {
        server.set_nonblocking(true).unwrap();
        let opening = Opening {
            head: Vec::new(),
            chunked: true,
            keep: true,
            write_limit: Duration::from_secs(10),
        };
        Relay::new(Wire::new(Arc::new(server), None), Box::new(Endless), opening)
    }

    #[test]
    fn a_client_that_does_not_read_is_given_up_at_the_limit_without_waiting_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut relay = endless(listener.accept().unwrap().0);
        assert!(relay.go_on(false).unwrap().behind, "it has not taken all");
        let waits = relay.unsent.len();
        relay.comment(PROBE);
        assert_eq!(relay.unsent.len(), waits, "nothing comes into the middle of an event");
        relay.write_limit = Duration::ZERO;
        assert_eq!(relay.go_on(false).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[test]
    fn behind_an_end_nothing_is_heard_and_after_a_while_the_connection_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut relay = endless(listener.accept().unwrap().0);
        relay.close();
        let due = Due { watched: false, behind: false, is_over: false };
        assert_eq!(relay.go_on(false).unwrap(), due);
        assert!(!relay.is_over(), "its call may end in this moment");
        relay.spoken = Instant::now().checked_sub(OVER_AFTER).unwrap();
        assert_eq!(relay.go_on(false).unwrap(), Due { is_over: true, ..due });
        assert!(relay.is_over(), "nothing is heard on the connection any more");
    }

    #[test]
    fn a_stream_that_ends_before_its_source_ends_behind_a_whole_chunk_and_for_good() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut relay = endless(server);
        assert!(!relay.send_at_once(), "a source without end never has nothing left");
        assert!(!relay.unsent.is_empty(), "the socket took a part of a chunk");
        let reading = start("reading", 512 * 1024, move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).map(|_| all)
        })
        .unwrap();
        relay.close();
        relay.send_waiting().unwrap();
        relay.send_at_once();
        drop(relay);
        let all = reading.join().unwrap().unwrap();
        let mut rest = all.as_slice();
        while let Some(behind) = rest.strip_prefix(b"4000\r\n") {
            rest = behind[TOGETHER_BYTES..].strip_prefix(b"\r\n").unwrap();
        }
        assert_eq!(String::from_utf8_lossy(rest), "0\r\n\r\n");
    }
}
