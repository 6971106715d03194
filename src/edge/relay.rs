//! Sends an event stream to its client as it comes, keeps it alive through silence, and notices
//! when the client left.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::minder::{Minded, Minder};
use super::reply::{Finished, PIPELINED_BYTES_MAX, Seen, head, left, look, poll_both};
use super::stream::{Ear, EventSource, Handed, Pull};
use super::wire::Wire;
use super::{Admitted, EdgeLimits, Method, Reply};
use crate::auth::Principal;
use crate::cancel::Reason;
use crate::worker::lock;

/// Brings an event stream to the client until one side ends it.
pub(super) fn stream(
    wire: Wire,
    handed: Handed,
    reply: &Reply,
    admitted: &Arc<Admitted>,
    limits: &EdgeLimits,
    minder: &Minder,
) -> (Wire, Finished) {
    let Handed { source, ear, work } = handed;
    call_this_thread(&source.name());
    let chunked = !admitted.head.http_1_0;
    // Behind a call's answer the next one comes; a stream that was asked for alone ends with its
    // connection.
    let keep = chunked && admitted.head.keep_alive && admitted.head.method == Method::Post;
    let (socket, heartbeat) = (wire.socket(), source.heartbeat());
    let now = Instant::now();
    let relay = Relay {
        wire,
        source,
        heartbeat,
        chunked,
        // Clients that pool their connections have to know before. The head goes out with the first
        // event, at once.
        unsent: head(reply, None, !chunked, keep),
        keep,
        write_limit: Duration::from_millis(limits.write_ms_max),
        spoken: now,
        looked: now,
        watched: true,
        bytes: 0,
        state: State::Open,
    };
    let relay = Arc::new(Mutex::new(Some(relay)));
    let is_working = Arc::new(AtomicBool::new(work.is_some()));
    let (other, working) = (Arc::clone(&relay), Arc::clone(&is_working));
    ear.deliver_with(move || {
        // Nobody waits for the client under the lock while the stream's own thread is at work, and
        // that looks after the rest when it has done it; else whoever comes while it sends wakes it.
        let is_working = working.load(Ordering::Acquire);
        let mut relay = if is_working { Some(lock(&other)) } else { try_lock(&other) };
        let relay = relay.as_mut().and_then(|relay| relay.as_mut());
        relay.is_some_and(Relay::send_at_once) || is_working
    });
    if let Some(work) = work {
        if let Some(relay) = lock(&relay).as_mut() {
            relay.send_at_once();
        }
        let minding = minder.mind(Minded::new(&relay, &socket, admitted));
        work();
        drop(minding);
        is_working.store(false, Ordering::Release);
    }
    let ended = watch(&relay, &socket, &ear, admitted);
    let last = lock(&relay).take();
    let keep = keep && ended.is_ok();
    if let Err(error) = ended {
        left(admitted, &error);
    }
    admitted.gone.fire(Reason::ClientLeft);
    // It serves on as the connection's thread that it was.
    call_this_thread(std::thread::current().name().unwrap_or_default());
    let status = reply.status;
    match last {
        Some(relay) => (relay.wire, Finished { status, bytes: relay.bytes, keep }),
        None => (Wire::new(socket, None), Finished { status, bytes: 0, keep: false }),
    }
}

/// What the stream's own thread does when it has no work: waits for rings, for silence, and for the
/// client to leave. Until the source's end (`Ok`), or until the client left (`Err`).
fn watch(
    relay: &Mutex<Option<Relay>>,
    socket: &TcpStream,
    ear: &Ear,
    admitted: &Admitted,
) -> io::Result<()> {
    let mut client = PollFlags::empty();
    loop {
        let (watched, silence) = {
            let mut relay = lock(relay);
            let Some(relay) = relay.as_mut() else { return Ok(()) };
            relay.turn(client, admitted)?;
            relay.send_waiting()?;
            if relay.state == State::Ended {
                return Ok(());
            }
            (relay.watched, relay.silence(admitted))
        };
        let rung;
        (rung, client) = poll_both(ear, socket, watched, Some(silence));
        if rung {
            ear.hear();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be more.
    Open,
    /// The source has ended.
    Ended,
    /// A write failed; the stream's own thread ends it.
    Broken,
}

/// An event stream on its way. Whoever holds its lock sends, in the order of the source.
pub(super) struct Relay {
    wire: Wire,
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
    /// When it was last asked whether the client may still be here.
    looked: Instant,
    /// Whether the client may have something to say.
    watched: bool,
    bytes: u64,
    state: State,
}

impl Relay {
    /// Whether the client may have something to say.
    pub(super) fn is_watched(&self) -> bool {
        self.watched
    }

    /// What is due without a ring: hears the client, breaks a silence, ends the stream of somebody whose
    /// token was revoked, who counts as gone. Nothing is sent yet. Errors: the client left.
    fn turn(&mut self, client: PollFlags, admitted: &Admitted) -> io::Result<()> {
        if self.state != State::Open {
            return Ok(());
        }
        if client.intersects(PollFlags::ERR | PollFlags::HUP) || admitted.gone.is_fired() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if client.contains(PollFlags::IN) {
            self.watched = self.hear_client(admitted)?;
        }
        if self.spoken.elapsed() >= self.heartbeat && !self.is_behind() {
            self.frame(HEARTBEAT);
        }
        if self.looked.elapsed() >= LOOK_PAUSE {
            self.looked = Instant::now();
            if !admitted.stands() {
                log::info!("a stream ends: what let its client in was revoked");
                self.close();
                admitted.gone.fire(Reason::ClientLeft);
            }
        }
        Ok(())
    }

    /// The same for whoever must not wait, with what can be sent at once; says whether the client is to
    /// take more. Errors: the client left, or does not read.
    pub(super) fn mind(&mut self, client: PollFlags, admitted: &Admitted) -> io::Result<bool> {
        if let Err(error) = self.turn(client, admitted) {
            self.state = State::Broken;
            return Err(error);
        }
        self.go_on()
    }

    /// Sends what can be sent at once; says whether the client is to take more. Errors: it does not.
    fn go_on(&mut self) -> io::Result<bool> {
        self.send_at_once();
        let is_behind = self.is_behind();
        match self.state {
            State::Broken => Err(io::ErrorKind::ConnectionReset.into()),
            _ if is_behind && self.spoken.elapsed() >= self.write_limit => {
                self.state = State::Broken;
                Err(io::ErrorKind::TimedOut.into())
            }
            _ => Ok(is_behind),
        }
    }

    /// How long nothing need be done without a ring.
    fn silence(&self, admitted: &Admitted) -> Duration {
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
    fn send_at_once(&mut self) -> bool {
        while self.state != State::Broken {
            if self.unsent.is_empty() && self.state == State::Open {
                self.gather();
            }
            if !self.is_behind() {
                break;
            }
            match self.write_at_once() {
                Ok(true) => self.spoken = Instant::now(),
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
    fn send_waiting(&mut self) -> io::Result<()> {
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
    fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Ended;
            if self.chunked {
                self.unsent.extend_from_slice(LAST_CHUNK);
            }
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
                self.frame(PROBE);
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

#[cfg(target_os = "linux")]
fn call_this_thread(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        // Only for whoever looks at the threads.
        rustix::thread::set_name(&name).unwrap_or_default();
    }
}

#[cfg(not(target_os = "linux"))]
fn call_this_thread(_name: &str) {}

/// How often a busy stream asks whether its client may still be here.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
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
    use std::net::TcpListener;

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
        Relay {
            wire: Wire::new(Arc::new(server), None),
            source: Box::new(Endless),
            heartbeat: Duration::from_secs(15),
            chunked: true,
            keep: true,
            unsent: Vec::new(),
            write_limit: Duration::from_secs(10),
            spoken: Instant::now(),
            looked: Instant::now(),
            watched: true,
            bytes: 0,
            state: State::Open,
        }
    }

    #[test]
    fn a_client_that_does_not_read_is_given_up_at_the_limit_without_waiting_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut relay = endless(listener.accept().unwrap().0);
        assert!(relay.go_on().unwrap(), "it has not taken all");
        relay.write_limit = Duration::ZERO;
        assert_eq!(relay.go_on().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(relay.state, State::Broken);
        assert!(!relay.send_at_once(), "nothing is sent behind the end");
        drop(client);
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
