//! The only file that names tiny_http: its listener on a Unix socket, the workers that answer its
//! requests, and the pool of connections over which the front sends them.
//!
//! The front opens a connection under one lock, held until a worker has taken its first request:
//! tiny_http's task pool loses wake-ups when several connections arrive at once. At most one
//! request of a connection is outstanding, which bounds tiny_http's unbounded queues.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::rand::SecureRandom;
use tiny_http::{Header, Request, Response, Server, StatusCode};

use super::error::{Refusal, reason_phrase};
use super::{Admitted, Handler, Reply};
use crate::worker::{Latch, Worker, lock};

/// An admitted request that waits for its answer.
pub struct Exchange {
    /// What the front knows of it.
    pub admitted: Admitted,
    /// The whole body.
    pub body: Vec<u8>,
    request: Request,
}

impl Exchange {
    /// Answers it. The front takes the whole reply at once, so this does not wait for the client.
    pub fn respond(self, reply: Reply) {
        let mut headers = Vec::with_capacity(reply.fields.len() + 1);
        if !reply.content_type.is_empty() {
            headers.extend(header("Content-Type", reply.content_type));
        }
        for (name, value) in &reply.fields {
            headers.extend(header(name, value.as_str()));
        }
        let length = reply.body.len();
        let response = Response::new(
            StatusCode(reply.status),
            headers,
            io::Cursor::new(reply.body),
            Some(length),
            None,
        )
        .with_chunked_threshold(usize::MAX);
        if let Err(error) = self.request.respond(response) {
            log::debug!("the front no longer waits for a reply: {error}");
        }
    }

    /// Begins an event stream: 200 with `fields`, then whatever is written to the writer, until it
    /// is dropped. Errors: the front no longer waits.
    pub fn into_stream(self, fields: &[(&'static str, &'static str)]) -> io::Result<EventWriter> {
        let mut head = format!("HTTP/1.1 200 {}\r\n", reason_phrase(200));
        for (name, value) in fields {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut writer = EventWriter(self.request.into_writer());
        writer.write(head.as_bytes())?;
        Ok(writer)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("admitted", &self.admitted)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The open end of an event stream; dropped, it ends the stream in an orderly way.
pub struct EventWriter(Box<dyn Write + Send>);

impl EventWriter {
    /// Writes and flushes. Blocks while the client does not read, at most until the front gives it
    /// up after `write_ms_max`. Errors: the stream is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }
}

impl fmt::Debug for EventWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventWriter")
    }
}

/// A request that was sent and that no worker has taken yet.
struct Pending {
    admitted: Admitted,
    taken: Arc<Latch>,
}

/// tiny_http's server, and which one in the row of its rebuilds it is.
#[derive(Clone)]
struct Generation {
    number: u64,
    server: Arc<Server>,
    path: PathBuf,
}

/// The front's side of tiny_http.
pub(super) struct House {
    folder: PathBuf,
    /// Stands in every request; whoever else reaches the socket does not know it.
    secret: String,
    numbers: AtomicU64,
    pending: Mutex<HashMap<u64, Pending>>,
    idle: Mutex<Vec<UnixStream>>,
    opening: Mutex<()>,
    current: Mutex<Generation>,
    closing: AtomicBool,
    handler: Arc<dyn Handler>,
}

impl House {
    /// Starts tiny_http below `folder`, which is made with mode 0700.
    /// Errors: the folder or the socket cannot be made.
    pub(super) fn open(folder: &Path, handler: Arc<dyn Handler>) -> io::Result<Arc<Self>> {
        std::fs::DirBuilder::new().mode(0o700).create(folder)?;
        let mut random = [0; 16];
        ring::rand::SystemRandom::new()
            .fill(&mut random)
            .map_err(|_unspecified| io::Error::other("the system has no random bytes"))?;
        let secret = random.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let current = Mutex::new(generation(folder, 0)?);
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            secret,
            numbers: AtomicU64::new(1),
            pending: Mutex::default(),
            idle: Mutex::default(),
            opening: Mutex::default(),
            current,
            closing: AtomicBool::new(false),
            handler,
        }))
    }

    /// Starts the threads that answer requests. Errors: the system refuses a thread.
    pub(super) fn start_workers(self: &Arc<Self>) -> io::Result<Vec<Worker>> {
        (0..WORKERS)
            .map(|n| {
                let house = Arc::clone(self);
                Worker::spawn(&format!("edge-{n}"), WORKER_STACK_BYTES, move || house.work())
            })
            .collect()
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

    /// Sends a request and returns the connection that will bring the reply. `stream`: the
    /// connection will belong to an event stream for good.
    ///
    /// Errors: [`Refusal::Unavailable`] when no worker takes it.
    pub(super) fn send(
        &self,
        admitted: &Admitted,
        body: &[u8],
        stream: bool,
    ) -> Result<UnixStream, Refusal> {
        let pooled = lock(&self.idle).pop();
        if let Some(connection) = pooled {
            // It may have died with a former tiny_http; then a new one is opened below.
            if self.write(&connection, admitted, body, stream).is_ok() {
                return Ok(connection);
            }
        }
        for attempt in 0..OPEN_ATTEMPTS {
            if self.closing.load(Ordering::Acquire) {
                break;
            }
            match self.open_and_send(admitted, body, stream) {
                Ok(connection) => return Ok(connection),
                Err(error) => log::warn!("the inner listener, attempt {attempt}: {error}"),
            }
        }
        Err(Refusal::Unavailable)
    }

    /// Gives a connection back whose reply has been read to its end.
    pub(super) fn give_back(&self, connection: UnixStream) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_CONNECTIONS_MAX && !self.closing.load(Ordering::Acquire) {
            idle.push(connection);
        }
    }

    fn open_and_send(
        &self,
        admitted: &Admitted,
        body: &[u8],
        stream: bool,
    ) -> io::Result<UnixStream> {
        let opening = lock(&self.opening);
        let now = lock(&self.current).clone();
        let sent = UnixStream::connect(&now.path).and_then(|connection| {
            connection.set_write_timeout(Some(TAKEN_LIMIT))?;
            let (number, taken) = self.write(&connection, admitted, body, stream)?;
            Ok((connection, number, taken))
        });
        match sent {
            // Not in the table any more: it was taken in this very moment.
            Ok((connection, number, taken))
                if taken.wait(TAKEN_LIMIT) || lock(&self.pending).remove(&number).is_none() =>
            {
                drop(opening);
                Ok(connection)
            }
            Ok(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no worker took the request")),
            Err(error) => {
                self.rebuild(now.number);
                Err(error)
            }
        }
    }

    fn write(
        &self,
        connection: &UnixStream,
        admitted: &Admitted,
        body: &[u8],
        stream: bool,
    ) -> io::Result<(u64, Arc<Latch>)> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let taken = Arc::new(Latch::default());
        let waiting = Pending { admitted: admitted.clone(), taken: Arc::clone(&taken) };
        lock(&self.pending).insert(number, waiting);
        let head = &admitted.head;
        let query = head.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        let close = if stream { "Connection: close\r\n" } else { "" };
        let mut text = format!(
            "{} {}{query} HTTP/1.1\r\n{NUMBER_FIELD}: {number}.{}\r\nContent-Length: {}\r\n{close}\r\n",
            head.method.as_str(),
            head.path,
            self.secret,
            body.len(),
        )
        .into_bytes();
        let written = if body.len() <= JOINED_BYTES_MAX {
            text.extend_from_slice(body);
            (&mut &*connection).write_all(&text)
        } else {
            (&mut &*connection).write_all(&text).and_then(|()| (&mut &*connection).write_all(body))
        };
        if written.is_err() {
            lock(&self.pending).remove(&number);
        }
        written.map(|()| (number, taken))
    }

    fn work(&self) {
        let mut mine = lock(&self.current).clone();
        while !self.closing.load(Ordering::Acquire) {
            match mine.server.recv() {
                Ok(request) => self.take(request),
                Err(error) => {
                    let now = lock(&self.current).number;
                    if now == mine.number && !self.closing.load(Ordering::Acquire) {
                        log::error!("the inner listener failed: {error}; building a new one");
                        self.rebuild(mine.number);
                    }
                    mine = lock(&self.current).clone();
                }
            }
        }
    }

    fn take(&self, mut request: Request) {
        let number = request
            .headers()
            .iter()
            .find(|header| header.field.equiv(NUMBER_FIELD))
            .and_then(|header| header.value.as_str().split_once('.'))
            .filter(|(_, secret)| *secret == self.secret)
            .and_then(|(number, _)| number.parse().ok());
        let pending = number.and_then(|number: u64| lock(&self.pending).remove(&number));
        let Some(Pending { admitted, taken }) = pending else {
            log::warn!("a request on the inner socket that the front did not send");
            drop(request.respond(Response::empty(StatusCode(403))));
            return;
        };
        taken.open();
        let mut body = Vec::with_capacity(request.body_length().unwrap_or(0));
        if let Err(error) = request.as_reader().read_to_end(&mut body) {
            log::warn!("the front broke off a request: {error}");
            return;
        }
        let exchange = Exchange { admitted, body, request };
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
        match generation(&self.folder, dead + 1) {
            Ok(next) => {
                let old = std::mem::replace(&mut *current, next);
                drop(current);
                lock(&self.idle).clear();
                // The workers wait for the old one; each wakes once and moves on.
                for _ in 0..WORKERS {
                    old.server.unblock();
                }
                drop(std::fs::remove_file(&old.path));
            }
            Err(error) => log::error!("a new inner listener cannot be made: {error}"),
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn generation(folder: &Path, number: u64) -> io::Result<Generation> {
    let path = folder.join(format!("{number}.sock"));
    let server = Server::http_unix(&path).map_err(io::Error::other)?;
    Ok(Generation { number, server: Arc::new(server), path })
}

fn header(name: &str, value: &str) -> Option<Header> {
    Header::from_bytes(name, value).ok()
}

/// By this field a worker finds what the front knows of a request.
const NUMBER_FIELD: &str = "X-Exchange";
/// Threads that answer quick requests; none ever waits on a client, so a few serve many.
const WORKERS: usize = 4;
/// Room for parsing a large JSON body.
const WORKER_STACK_BYTES: usize = 512 * 1024;
/// Connections kept for the next request; each holds one of tiny_http's threads.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// How long a worker may take to report a new connection's first request.
const TAKEN_LIMIT: Duration = Duration::from_secs(2);
/// How often a new connection is tried.
const OPEN_ATTEMPTS: usize = 3;
/// Bodies up to this size go out in one write with their head.
const JOINED_BYTES_MAX: usize = 64 * 1024;
