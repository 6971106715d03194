//! Accepts under permits; the start and the end of the whole edge.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt;
use rustls::ServerConfig;

use super::budget::Budget;
use super::connections::{Connections, Entered};
use super::front::{Connection, Front, answer_plain_on_tls};
use super::http::House;
use super::minder::Minder;
use super::tls::{Greeting, greet, is_distrust};
use super::wire::{Wire, wait};
use super::{EdgeLimits, Handler, Policy};
use crate::auth::Interfaces;
use crate::worker::{Crew, Worker, lock};

/// A bound listener, and TLS for it or not.
#[derive(Debug)]
pub struct Listening {
    /// The bound socket.
    pub listener: TcpListener,
    /// `None`: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Numbers for `/health`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCounts {
    /// Client connections now.
    pub connections: usize,
    /// Those of them that wait for their next request.
    pub idle: usize,
    /// Client connections since the start.
    pub accepted: u64,
    /// Idle connections closed to make room.
    pub evicted: u64,
    /// Requests whose head could be read.
    pub exchanges: u64,
    /// Requests that the front refused.
    pub refused: u64,
}

/// The running edge; dropped, it ends in an orderly way.
#[derive(Debug)]
pub struct Edge {
    front: Arc<Front>,
    crew: Arc<Crew>,
    /// Closing this end wakes the accept threads.
    awake: Mutex<Option<UnixStream>>,
    accepts: Mutex<Vec<Worker>>,
    workers: Mutex<Vec<Worker>>,
}

impl Edge {
    /// Starts the inner listener, its workers and one accept thread a listener.
    /// `folder` must not exist; it will hold the inner socket (its path under 90 bytes).
    ///
    /// Errors: the folder, a socket or a thread cannot be made.
    pub fn start(
        listening: Vec<Listening>,
        folder: &Path,
        policy: Policy,
        interfaces: Arc<Interfaces>,
        limits: EdgeLimits,
        handler: Arc<dyn Handler>,
    ) -> io::Result<Self> {
        let house = House::open(folder, handler)?;
        let front = Arc::new(Front {
            house,
            policy,
            interfaces,
            throttle: Arc::default(),
            limits,
            connections: Connections::new(
                limits.connections_max,
                limits.connections_per_address_max,
                limits.connections_per_loopback_max,
            ),
            bodies: Budget::new(limits.bodies_bytes_max),
            replies: Budget::new(limits.replies_bytes_max),
            minder: Minder::new(MINDED_EVERY),
            exchanges: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let (awake, sleeper) = UnixStream::pair()?;
        // From here on an error drops the edge, which ends whatever has begun.
        let edge = Self {
            front,
            crew: Crew::new(),
            awake: Mutex::new(Some(awake)),
            accepts: Mutex::default(),
            workers: Mutex::default(),
        };
        edge.front.house.start_workers(&mut lock(&edge.workers))?;
        for (n, listening) in listening.into_iter().enumerate() {
            let accept = Accept {
                listening,
                front: Arc::clone(&edge.front),
                crew: Arc::clone(&edge.crew),
                sleeper: sleeper.try_clone()?,
                distrust_said: None,
                exhaustion_said: None,
            };
            let run = || accept.run();
            let worker = Worker::spawn(&format!("accept-{n}"), ACCEPT_STACK_BYTES, run)?;
            lock(&edge.accepts).push(worker);
        }
        Ok(edge)
    }

    /// Numbers as of now.
    #[must_use]
    pub fn counts(&self) -> EdgeCounts {
        EdgeCounts {
            connections: self.front.connections.len(),
            idle: self.front.connections.idle(),
            accepted: self.front.connections.accepted(),
            evicted: self.front.connections.evicted(),
            exchanges: self.front.exchanges.load(Ordering::Relaxed),
            refused: self.front.refused.load(Ordering::Relaxed),
        }
    }

    /// Accepts nothing more, ends idle connections, and the others after their exchange.
    pub fn stop_accepting(&self) {
        self.front.connections.begin_close();
        drop(lock(&self.awake).take());
        let accepts = std::mem::take(&mut *lock(&self.accepts));
        drop(accepts);
    }

    /// Waits for the connections to end, at most until `deadline`, then ends them and every thread.
    pub fn finish(&self, deadline: Instant) {
        self.stop_accepting();
        if !self.crew.join(deadline) {
            let cut = self.front.connections.len();
            log::warn!("{cut} connections were cut off at the limit drain_ms_max");
            self.front.connections.force_close();
            if !self.crew.join(Instant::now() + FORCED_LIMIT) {
                log::error!("{} connection threads did not end", self.crew.len());
            }
        }
        self.front.minder.close();
        let workers = std::mem::take(&mut *lock(&self.workers));
        if !workers.is_empty() {
            self.front.house.close();
        }
        drop(workers);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.finish(Instant::now() + FORCED_LIMIT);
    }
}

/// One accept thread.
struct Accept {
    listening: Listening,
    front: Arc<Front>,
    crew: Arc<Crew>,
    sleeper: UnixStream,
    distrust_said: Option<Arc<AtomicU64>>,
    exhaustion_said: Option<Instant>,
}

impl Accept {
    fn run(mut self) {
        self.distrust_said = Some(Arc::default());
        while !self.front.connections.is_closing() {
            let mut fds = [
                PollFd::new(&self.listening.listener, PollFlags::IN),
                PollFd::new(&self.sleeper, PollFlags::IN),
            ];
            drop(wait(&mut fds, None));
            let [listener, _] = fds;
            // Room is made when somebody is there to use it, not before.
            if listener.revents().is_empty() || !self.front.connections.room(ROOM_WAIT) {
                continue;
            }
            match self.listening.listener.accept() {
                Ok((socket, peer)) => self.take_in(socket, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.accept_failed(&error),
            }
        }
    }

    /// No accept error ends the loop: the peer's are its own business, and for ours something is
    /// closed first.
    fn accept_failed(&mut self, error: &io::Error) {
        let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
        let exhausted = [
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::NOBUFS,
            rustix::io::Errno::NOMEM,
        ];
        if code.is_some_and(|code| exhausted.contains(&code)) {
            // It comes again and again until descriptors are back; one line tells it.
            if self.exhaustion_said.is_none_or(|said| said.elapsed() > SAY_AGAIN_AFTER) {
                self.exhaustion_said = Some(Instant::now());
                log::warn!("cannot accept a connection: {error}; closing idle ones");
            }
            self.front.connections.relieve(RELIEF_WAIT);
        } else {
            log::debug!("a connection was gone before it was accepted: {error}");
            if error.kind() != io::ErrorKind::ConnectionAborted {
                // An error that stays must not keep a core busy.
                let mut fds = [PollFd::new(&self.sleeper, PollFlags::IN)];
                drop(wait(&mut fds, Some(ACCEPT_PAUSE)));
            }
        }
    }

    fn take_in(&self, socket: TcpStream, peer: SocketAddr) {
        if let Err(error) = prepare(&socket) {
            return log::debug!("{peer}: {error}");
        }
        let socket = Arc::new(socket);
        let (front, address) = (Arc::clone(&self.front), peer.ip().to_canonical());
        let is_proxy = front.policy.is_proxy(address);
        let place = match front.connections.enter(&socket, address, is_proxy) {
            Entered::In(place) => place,
            Entered::AddressFull => {
                return log::warn!("{address} is at the limit connections_per_address_max; closed");
            }
            Entered::Closing => return,
        };
        let id = place.id();
        let started = match self.listening.tls.clone() {
            None => {
                let wire = Wire::new(Arc::clone(&socket), None);
                serve(&self.crew, id, Connection::new(front, wire, peer, place));
                return;
            }
            Some(config) => {
                let crew = Arc::clone(&self.crew);
                let said = self.distrust_said.clone().unwrap_or_default();
                let limit = Duration::from_millis(front.limits.handshake_ms_max);
                let deadline = Instant::now() + limit;
                // A handshake needs a deep stack once; the connection's own thread begins after it
                // with a shallow one, and that is what a waiting connection costs.
                self.crew.spawn(&format!("tls-{id}"), HANDSHAKE_STACK_BYTES, move || {
                    let wire = match greet(&socket, &config, deadline) {
                        Ok(Greeting::Tls(tls)) => Wire::new(Arc::clone(&socket), Some(tls)),
                        Ok(Greeting::Plain) => {
                            answer_plain_on_tls(Wire::new(socket, None), &front.limits);
                            return;
                        }
                        Err(error) => return failed(peer, &error, &said),
                    };
                    serve(&crew, id, Connection::new(front, wire, peer, place));
                })
            }
        };
        if let Err(error) = started {
            log::error!("no thread for a connection: {error}");
        }
    }
}

/// Serves a connection on a thread of its own, and on another after each that it has outgrown.
fn serve(crew: &Arc<Crew>, id: u64, connection: Connection) {
    let next = Arc::clone(crew);
    let run = move || {
        if let Some(rested) = connection.serve() {
            serve(&next, id, rested);
        }
    };
    if let Err(error) = crew.spawn(&format!("conn-{id}"), CONNECTION_STACK_BYTES, run) {
        log::error!("no thread for a connection: {error}");
    }
}

/// No Nagle delay (an event follows its POST's 202 at once), a bound for peers that vanish, and no
/// call that blocks.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(socket, VANISHED_MS_MAX)?;
    socket.set_nonblocking(true)
}

/// Failed handshakes are everyday (clients that do not trust the certificate reset several in a
/// row), so they are debug lines; why they happen is said once a minute.
fn failed(peer: SocketAddr, error: &io::Error, said: &AtomicU64) {
    let address = peer.ip().to_canonical();
    log::debug!("{address}: no TLS handshake: {error}");
    if !is_distrust(error) {
        return;
    }
    let minute = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 60);
    if said.swap(minute, Ordering::Relaxed) != minute {
        log::info!(
            "{address} does not trust our certificate; give that program our CA (GET /ca.pem), \
             for Node-based clients: NODE_EXTRA_CA_CERTS=/path/to/ca.pem"
        );
    }
}

/// How often the streams are looked at whose threads are at work: the latest at which a client that
/// leaves at once is noticed.
const MINDED_EVERY: Duration = Duration::from_millis(250);
/// How long to wait for a connection to leave when all places are taken.
const ROOM_WAIT: Duration = Duration::from_millis(500);
/// How long to wait after an accept error whose cause is unknown.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How often a want of descriptors is told.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long to wait for descriptors to come back.
const RELIEF_WAIT: Duration = Duration::from_millis(100);
/// After force, threads only have to notice.
const FORCED_LIMIT: Duration = Duration::from_secs(3);
/// How long sent bytes may stay unacknowledged before the peer counts as vanished.
#[cfg(target_os = "linux")]
const VANISHED_MS_MAX: u32 = 45_000;
const ACCEPT_STACK_BYTES: usize = 128 * 1024;
const HANDSHAKE_STACK_BYTES: usize = 256 * 1024;
/// Room for a quick call and the JSON that it reads. What is not touched costs addresses only, of
/// which a small machine has few.
const CONNECTION_STACK_BYTES: usize =
    if cfg!(target_pointer_width = "64") { 512 * 1024 } else { 256 * 1024 };
