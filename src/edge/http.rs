//! The only file that names tiny_http: its listener on a Unix socket, the workers that answer its
//! requests, and the pool of connections over which the front sends them.
//!
//! The front opens a connection under one lock, held until a worker has taken its first request:
//! tiny_http's task pool loses wake-ups when several connections arrive at once. At most one
//! request of a connection is outstanding, which bounds tiny_http's unbounded queues.

use std::fmt;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use tiny_http::{Request, Response, Server, StatusCode};

use super::error::Refusal;
use super::exchange::Exchange;
use super::inner::{self, Inner, TICKET_FIELD};
use super::pending::Pending;
use super::reply::NOD;
use super::wire::wait;
use super::{Admitted, Handler};
use crate::worker::{Latch, Worker, lock};

/// A request in tiny_http's hands, through which the front is told that the answer is there.
pub(super) struct Carrier(Request);

impl Carrier {
    /// Tells it. Dropped untold, tiny_http answers in its own words.
    pub(super) fn nod(self) {
        let mut front = self.0.into_writer();
        // Unflushed, it would wait in tiny_http for the next request's.
        if let Err(error) = front.write_all(&[NOD]).and_then(|()| front.flush()) {
            log::debug!("the front no longer waits for a reply: {error}");
        }
    }
}

/// tiny_http's server, and which one in the row of its rebuilds it is.
#[derive(Clone)]
struct Generation {
    number: u64,
    server: Arc<Server>,
    path: PathBuf,
    /// How many workers have left it for a newer one.
    left: Arc<AtomicUsize>,
}

/// The front's side of tiny_http.
pub(super) struct House {
    pending: Pending,
    idle: Mutex<Vec<Inner>>,
    opening: Mutex<()>,
    current: Mutex<Generation>,
    closing: AtomicBool,
    handler: Arc<dyn Handler>,
    /// Dropped last: tiny_http ends its threads by connecting to its own socket.
    folder: Folder,
}

impl House {
    /// Starts tiny_http below `folder`, which is made with mode 0700.
    /// Errors: the folder or the socket cannot be made.
    pub(super) fn open(folder: &Path, handler: Arc<dyn Handler>) -> io::Result<Arc<Self>> {
        private_folder().create(folder)?;
        let pending =
            Pending::new().ok_or_else(|| io::Error::other("the system has no random bytes"))?;
        let current = Mutex::new(generation(folder, 0)?);
        Ok(Arc::new(Self {
            pending,
            idle: Mutex::default(),
            opening: Mutex::default(),
            current,
            closing: AtomicBool::new(false),
            handler,
            folder: Folder(folder.to_owned()),
        }))
    }

    /// Starts the threads that answer requests and adds each to `workers` as it runs, so that
    /// after an error the caller can end those that do. Errors: the system refuses a thread.
    pub(super) fn start_workers(self: &Arc<Self>, workers: &mut Vec<Worker>) -> io::Result<()> {
        for n in 0..WORKERS {
            let house = Arc::clone(self);
            let run = move || house.work();
            workers.push(Worker::spawn(&format!("edge-{n}"), WORKER_STACK_BYTES, run)?);
        }
        Ok(())
    }

    /// Ends the workers after what they are doing; call it once, then drop them.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        lock(&self.idle).clear();
        let server = Arc::clone(&lock(&self.current).server);
        for _ in 0..WORKERS {
            server.unblock();
        }
    }

    /// Sends a request and returns the connection that will bring the reply.
    ///
    /// Errors: [`Refusal::Unavailable`] when no worker takes it.
    pub(super) fn send(&self, admitted: &Arc<Admitted>, body: &[u8]) -> Result<Inner, Refusal> {
        if let Some(inner) = self.borrow(admitted) {
            // It may have died with a former tiny_http; then a new one is opened below.
            if self.write(&inner, admitted, body).is_ok() {
                return Ok(inner);
            }
        }
        for attempt in 0..OPEN_ATTEMPTS {
            if self.closing.load(Ordering::Acquire) {
                break;
            }
            match self.open_and_send(admitted, body) {
                Ok(connection) => return Ok(connection),
                Err(error) => log::warn!("the inner listener, attempt {attempt}: {error}"),
            }
        }
        Err(Refusal::Unavailable)
    }

    /// Takes a pooled connection, its request already in the table: both under the lock of `idle`, so
    /// that a rebuild, which takes it too, sees the connection here or the request there.
    fn borrow(&self, admitted: &Arc<Admitted>) -> Option<Inner> {
        let mut idle = lock(&self.idle);
        let Inner { socket, generation, .. } = idle.pop()?;
        let number = self.pending.insert(Arc::clone(admitted), generation, None);
        Some(Inner { socket, generation, number })
    }

    /// Gives a connection back whose reply has been read to its end.
    pub(super) fn give_back(&self, inner: Inner) {
        let mut idle = lock(&self.idle);
        // To a former tiny_http nobody listens any more. Asked under the lock of `idle`, which a
        // rebuild takes after it has put the new number in place.
        let current = lock(&self.current).number == inner.generation;
        let closing = self.closing.load(Ordering::Acquire);
        if idle.len() < IDLE_CONNECTIONS_MAX && current && !closing {
            idle.push(inner);
        }
    }

    /// Takes the request of a connection back that broke before its reply.
    pub(super) fn forget(&self, inner: &Inner) {
        self.pending.forget(inner.number);
    }

    fn open_and_send(&self, admitted: &Arc<Admitted>, body: &[u8]) -> io::Result<Inner> {
        let opening = lock(&self.opening);
        let now = lock(&self.current).clone();
        let taken = Arc::new(Latch::default());
        let sent = UnixStream::connect(&now.path).and_then(|socket| {
            socket.set_write_timeout(Some(TAKEN_LIMIT))?;
            socket.set_read_timeout(Some(NOD_SOON))?;
            let told = Some(Arc::clone(&taken));
            let number = self.pending.insert(Arc::clone(admitted), now.number, told);
            let inner = Inner { socket, generation: now.number, number };
            self.write(&inner, admitted, body).map(|()| inner)
        });
        match sent {
            // Not in the table any more: it was taken in this very moment.
            Ok(inner) if is_taken(&inner.socket, &taken) || !self.pending.forget(inner.number) => {
                drop(opening);
                Ok(inner)
            }
            Ok(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no worker took the request")),
            Err(error) => {
                // Other errors (no descriptors, busy workers) are not tiny_http's, and a new one
                // would not help.
                let gone = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
                if gone.contains(&error.kind()) {
                    self.rebuild(now.number);
                }
                Err(error)
            }
        }
    }

    fn write(&self, inner: &Inner, admitted: &Admitted, body: &[u8]) -> io::Result<()> {
        let ticket = self.pending.ticket(inner.number);
        let written = inner::write_request(&inner.socket, &ticket, &admitted.head, body);
        if written.is_err() {
            self.forget(inner);
        }
        written
    }

    fn work(&self) {
        let mut mine = lock(&self.current).clone();
        while !self.closing.load(Ordering::Acquire) {
            match mine.server.recv() {
                Ok(request) => self.take(request),
                Err(error) => {
                    let next = lock(&self.current).clone();
                    if next.number != mine.number {
                        self.leave(&mine);
                        mine = next;
                    } else if !self.closing.load(Ordering::Acquire) {
                        // Its connections go on. Whoever wants a new one is refused and builds a
                        // new listener; before that it would only fail for the same reason.
                        log::error!("the inner listener failed: {error}");
                    }
                }
            }
        }
    }

    /// Leaves a former tiny_http. The last worker to do so takes the requests that were on their
    /// way to it while the new one was built, over connections that nobody uses again.
    fn leave(&self, old: &Generation) {
        if old.left.fetch_add(1, Ordering::AcqRel) + 1 < WORKERS {
            return;
        }
        let deadline = Instant::now() + LATE_LIMIT;
        while self.pending.waits_at(old.number)
            && Instant::now() < deadline
            && !self.closing.load(Ordering::Acquire)
        {
            if let Ok(Some(request)) = old.server.recv_timeout(LOOK_AGAIN_AFTER) {
                self.take(request);
            }
        }
    }

    fn take(&self, mut request: Request) {
        let ticket = request.headers().iter().find(|header| header.field.equiv(TICKET_FIELD));
        let admitted = ticket.and_then(|ticket| self.pending.redeem(ticket.value.as_str()));
        let Some(admitted) = admitted else {
            log::warn!("a request on the inner socket that the front did not send");
            drop(request.respond(Response::empty(StatusCode(403))));
            return;
        };
        let length = request.body_length().unwrap_or(0);
        let mut body = Vec::with_capacity(length);
        let read = request.as_reader().read_to_end(&mut body);
        // tiny_http takes a connection that breaks in the middle of a body for the body's end.
        if read.is_err() || body.len() != length {
            log::warn!("the front broke off a request after {} bytes of {length}", body.len());
            return;
        }
        self.handle(Exchange::carried(admitted, body, Carrier(request)));
    }

    /// Has a request answered on this thread, the client's own. Its slot has the answer then, or
    /// will have it.
    pub(super) fn answer_alone(&self, admitted: &Arc<Admitted>, body: Vec<u8>) {
        self.handle(Exchange::alone(Arc::clone(admitted), body));
    }

    fn handle(&self, exchange: Exchange) {
        let handler = std::panic::AssertUnwindSafe(|| self.handler.handle(exchange));
        if std::panic::catch_unwind(handler).is_err() {
            log::error!("answering a request panicked; please report it");
        }
    }

    /// Builds a new tiny_http in place of the one with this number, unless somebody has already.
    fn rebuild(&self, dead: u64) {
        let mut current = lock(&self.current);
        if current.number != dead || self.closing.load(Ordering::Acquire) {
            return;
        }
        // A cleaner of temporary files may have taken the folder with the socket.
        let folder = private_folder().recursive(true).create(&self.folder.0);
        match folder.and_then(|()| generation(&self.folder.0, dead + 1)) {
            Ok(next) => {
                let old = std::mem::replace(&mut *current, next);
                drop(current);
                lock(&self.idle).clear();
                // The workers wait for the old one; each wakes once and moves on.
                for _ in 0..WORKERS {
                    old.server.unblock();
                }
            }
            Err(error) => log::error!("a new inner listener cannot be made: {error}"),
        }
    }
}

/// The folder of the sockets, gone when this is.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("folder", &self.folder.0).finish_non_exhaustive()
    }
}

fn generation(folder: &Path, number: u64) -> io::Result<Generation> {
    let path = folder.join(format!("{number}.sock"));
    // Left by an attempt that got no further than this.
    drop(std::fs::remove_file(&path));
    let server = Server::http_unix(&path).map_err(io::Error::other)?;
    Ok(Generation { number, server: Arc::new(server), path, left: Arc::default() })
}

/// Waits until a worker has taken a new connection's request, or the connection is dead: a
/// listener that ends takes those with it that it has not accepted yet.
fn is_taken(connection: &UnixStream, taken: &Latch) -> bool {
    let deadline = Instant::now() + TAKEN_LIMIT;
    while Instant::now() < deadline {
        if taken.wait(LOOK_AGAIN_AFTER) {
            return true;
        }
        let mut fds = [PollFd::new(connection, PollFlags::IN)];
        if wait(&mut fds, Some(Duration::ZERO)).is_ok_and(|ready| ready) {
            return false;
        }
    }
    false
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Threads that answer requests; none ever waits on a client, so a few serve many.
pub const WORKERS: usize = 8;
/// Room for parsing a large JSON body.
const WORKER_STACK_BYTES: usize = 512 * 1024;
/// Connections kept for the next request; each holds one of tiny_http's threads.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// How long a worker may take to report a new connection's first request.
const TAKEN_LIMIT: Duration = Duration::from_secs(2);
/// How long the front waits for a worker alone before it also watches the client: most replies are
/// there by then, and one system call is saved on each.
const NOD_SOON: Duration = Duration::from_millis(5);
/// How often a new connection is looked at in that time; it is taken in well under a millisecond.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How long a former tiny_http is waited for to read what was sent to it: it does so at once, if its
/// threads get to run.
const LATE_LIMIT: Duration = Duration::from_secs(10);
/// How often a new connection is tried.
const OPEN_ATTEMPTS: usize = 3;
