//! MCP over stdin and stdout (all revisions, transports, "stdio"): one message a line, for the one
//! client that started us. Both eras, told apart message by message.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::house::{Carried, House};
use super::line_pipe::{Line, LineQueue, LineReader};
use crate::cancel::{Cancel, Reason};
use crate::chime::Chime;
use crate::mcp::{
    Call, ClientFeatures, Envelope, ErrorCode, Filter, Incoming, InputRequest, Lane, Malformed,
    Message, Peer, Reader, RequestId, Response, Revision, RpcError, Step, error_reply, read,
};
use crate::observe::escaped;
use crate::session::Talk;
use crate::worker::{Worker, lock};

/// The limits of this transport; explained where all are listed, in `config`.
#[derive(Clone, Copy, Debug)]
pub struct StdioLimits {
    /// `body_bytes_max`: one line.
    pub line_bytes_max: usize,
    /// Milliseconds that quick calls have to finish in after the input has ended.
    pub drain_ms_max: u64,
}

/// The running transport: one thread reads, one writes.
pub struct Stdio {
    conversation: Arc<Conversation>,
    stopping: Cancel,
    reading: Arc<Chime>,
    writing: Arc<Chime>,
    reader: Mutex<Option<Worker>>,
    writer: Mutex<Option<Worker>>,
}

impl Stdio {
    /// Starts to serve. `left` is called once when the client has gone by itself, with whether it
    /// ever said anything; its replies have been written then. Errors: no thread or descriptor.
    pub fn start(
        house: Arc<House>,
        limits: StdioLimits,
        (input, output): (OwnedFd, OwnedFd),
        left: impl FnOnce(bool) + Send + 'static,
    ) -> io::Result<Self> {
        let conversation = Arc::new(Conversation::new(house, limits.line_bytes_max));
        let (reading, writing, stopping) =
            (Arc::new(Chime::new()?), Arc::new(Chime::new()?), Cancel::new());
        let (lines, wake, gone) =
            (Arc::clone(&conversation.lines), Arc::clone(&writing), Arc::clone(&reading));
        let writer = Worker::spawn("stdio-out", OUT_STACK_BYTES, move || {
            if let Err(error) = lines.write_to(&output, &wake) {
                log::info!("stdout cannot be written: {error}");
                gone.strike();
            }
        })?;
        let stdio = Self {
            conversation,
            stopping,
            reading,
            writing,
            reader: Mutex::default(),
            writer: Mutex::new(Some(writer)),
        };
        let mut lines = LineReader::new(input, Arc::clone(&stdio.reading), limits.line_bytes_max);
        let (own, stopping) = (Arc::clone(&stdio.conversation), stdio.stopping.clone());
        let writing = Arc::clone(&stdio.writing);
        let reader = Worker::spawn("stdio-in", IN_STACK_BYTES, move || {
            let heard = own.read_from(&mut lines);
            if !stopping.is_fired() {
                own.left(Duration::from_millis(limits.drain_ms_max), &writing);
                left(heard);
            }
        })?;
        *lock(&stdio.reader) = Some(reader);
        Ok(stdio)
    }

    /// Stops every call, writes what waits until `deadline`, joins both threads.
    pub fn stop(&self, deadline: Instant) {
        let talk = &self.conversation.talk;
        self.stopping.fire(Reason::Shutdown);
        self.reading.strike();
        self.conversation.lines.hurry();
        talk.in_flight.cancel_all(Reason::Shutdown);
        drop(lock(&self.reader).take());
        self.conversation.end(Reason::Shutdown, deadline, &self.writing);
        drop(lock(&self.writer).take());
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdio").field("lines", &self.conversation.lines).finish_non_exhaustive()
    }
}

/// What there is of the one client.
struct Conversation {
    house: Arc<House>,
    line_bytes_max: usize,
    talk: Talk,
    /// What `initialize` settled.
    revision: Mutex<Revision>,
    listening: Mutex<HashMap<RequestId, Listening>>,
    lines: Arc<LineQueue>,
    /// Fires when the client has gone: nobody waits for what generates.
    gone: Cancel,
    running: Arc<Running>,
}

/// An open `subscriptions/listen`.
struct Listening {
    /// Held while a change is queued, so that nothing is sent for one that was ended.
    open: Arc<Mutex<bool>>,
    _reader: Reader,
}

impl Conversation {
    fn new(house: Arc<House>, line_bytes_max: usize) -> Self {
        let settings = &house.settings;
        let lines = LineQueue::new(settings.outbox_events_max, settings.outbox_bytes_max);
        Self {
            house,
            line_bytes_max,
            talk: Talk::new(ClientFeatures::default()),
            revision: Mutex::new(Revision::NEWEST),
            listening: Mutex::default(),
            lines,
            gone: Cancel::new(),
            running: Arc::default(),
        }
    }

    /// Takes every line until the input ends or is woken; says whether there was any.
    fn read_from(self: &Arc<Self>, input: &mut LineReader) -> bool {
        let mut heard = false;
        while let Some(line) = input.next() {
            heard = true;
            self.lines.wait_for_room();
            if catch_unwind(AssertUnwindSafe(|| self.line(line))).is_err() {
                log::error!("a message on stdin made us panic; please report it");
                self.refuse(None, ErrorCode::INTERNAL_ERROR, "a bug of this server".to_owned());
            }
        }
        heard
    }

    fn line(self: &Arc<Self>, line: Line) {
        let Line::Whole(bytes) = line else {
            let limit = self.line_bytes_max;
            let what = format!("the line passes the limit body_bytes_max ({limit} bytes)");
            return self.refuse(None, ErrorCode::INVALID_REQUEST, what);
        };
        match read(&bytes, self.house.settings.body_values_max) {
            Err(malformed) => self.lines.reply(malformed.reply()),
            Ok(Incoming::One(message)) => self.message(message),
            Ok(Incoming::Batch(messages)) if lock(&self.revision).has_batches() => {
                for message in messages {
                    self.lines.wait_for_room();
                    match message {
                        Ok(message) => self.message(message),
                        Err(malformed) => self.lines.reply(malformed.reply()),
                    }
                }
            }
            Ok(Incoming::Batch(_)) => self.lines.reply(Malformed::batch().reply()),
        }
    }

    /// Finds the era of a message: its own envelope says so, else it belongs to the handshake.
    fn message(self: &Arc<Self>, message: Message) {
        let Message::Request { id, method, params } = &message else {
            let revision = *lock(&self.revision);
            return self.step(message, revision, None);
        };
        let read = Envelope::is_claimed(params).then(|| Envelope::read(params));
        let envelope = match read {
            None => None,
            Some(Err(_)) if method == "initialize" => None,
            Some(read) => match read.and_then(|it| it.check_version().map(|()| it)) {
                Ok(envelope) => Some(envelope),
                Err(error) => return self.lines.reply(error_reply(Some(id), &error)),
            },
        };
        let revision = if envelope.is_some() { Revision::MODERN } else { *lock(&self.revision) };
        self.step(message, revision, envelope.as_ref());
    }

    fn step(self: &Arc<Self>, message: Message, revision: Revision, envelope: Option<&Envelope>) {
        match self.house.dispatcher.step(message, revision, envelope) {
            Step::Reply(reply) => self.lines.reply(reply.text),
            Step::Initialized { revision, features, client, reply } => {
                *lock(&self.revision) = revision;
                self.talk.introduce(features);
                log::info!("stdio: {} speaks {revision}", escaped(&client));
                self.lines.reply(reply.text);
                self.tell_changes();
            }
            Step::Call(call) => self.call(call, revision),
            Step::Cancel(id) => {
                self.talk.in_flight.cancel(&id, Reason::Requested);
                if let Some(listening) = lock(&self.listening).remove(&id) {
                    *lock(&listening.open) = false;
                    self.talk.in_flight.leave(&id);
                }
            }
            Step::SetLevel(level, reply) => {
                self.talk.set_level(level);
                self.lines.reply(reply.text);
            }
            Step::Subscribe { uri, wanted, reply } => {
                self.tell_changes();
                // A resource that cannot be watched any more is one that does not change.
                if let Err(why) = self.talk.want(&uri, wanted) {
                    log::warn!("stdio: {why}");
                }
                self.lines.reply(reply.text);
            }
            Step::Answered(id, outcome) => self.talk.asked.answer(&id, outcome),
            Step::Listen(id, filter) => self.listen(id, filter),
            Step::Nothing => {}
        }
    }

    /// From now on the client hears of the changes that it wants.
    fn tell_changes(&self) {
        self.talk.reader.get_or_init(|| {
            let lines = Arc::clone(&self.lines);
            self.house.bulletin.read(Filter::lists(), move |change| {
                tell(&lines, change.notification(None));
            })
        });
    }

    /// `subscriptions/listen` (2026-07-28, subscriptions): the acknowledgement first, then every
    /// change that passes the filter, until the client cancels the request.
    fn listen(&self, id: RequestId, filter: Filter) {
        if self.talk.in_flight.enter(&id).is_none() {
            return self.lines.reply(Response::in_use(&id).text);
        }
        let mut listening = lock(&self.listening);
        let limit = self.house.settings.listens_max;
        if listening.len() >= limit {
            self.talk.in_flight.leave(&id);
            let what = format!("the limit listens_max ({limit}) is reached");
            return self.refuse(Some(&id), ErrorCode::INTERNAL_ERROR, what);
        }
        self.lines.reply(filter.acknowledgement(&id));
        let open = Arc::new(Mutex::new(true));
        let (lines, is_open, about) = (Arc::clone(&self.lines), Arc::clone(&open), id.clone());
        let reader = self.house.bulletin.read(filter, move |change| {
            let is_open = lock(&is_open);
            if *is_open {
                tell(&lines, change.notification(Some(&about)));
            }
        });
        listening.insert(id, Listening { open, _reader: reader });
    }

    fn call(self: &Arc<Self>, mut call: Box<Call>, revision: Revision) {
        let begun = if revision.is_modern() {
            self.talk.in_flight.enter(&call.id)
        } else {
            self.talk.begin(&mut call)
        };
        let Some(cancel) = begun else {
            return self.lines.reply(Response::in_use(&call.id).text);
        };
        let call = Arc::<Call>::from(call);
        let leaving = cancel.clone();
        let leaves = (call.lane == Lane::Slow).then(|| {
            self.gone.hook(move || {
                leaving.fire(Reason::ClientLeft);
            })
        });
        let place = self.running.enter();
        let (own, running, fired) = (Arc::clone(self), Arc::clone(&call), cancel.clone());
        let run = move || {
            own.run(&running, revision, &cancel);
            drop((leaves, place));
        };
        if self.house.lanes.submit_elsewhere(call.lane, &fired, run).is_err() {
            self.talk.in_flight.leave(&call.id);
            self.lines.reply(House::busy(&call, revision).text);
        }
    }

    /// Runs on a lane's thread.
    fn run(&self, call: &Call, revision: Revision, cancel: &Cancel) {
        let carried = Carried { revision, cancel, principal: "stdio", session: Some("stdio") };
        let leave = || self.talk.in_flight.leave(&call.id);
        if let Some(reply) = self.house.run(call, &carried, self, leave) {
            self.lines.reply(reply.text);
        }
    }

    fn refuse(&self, id: Option<&RequestId>, code: ErrorCode, what: String) {
        self.lines.reply(error_reply(id, &RpcError::new(code, what)));
    }

    /// The client has gone: what generates is stopped, the rest may finish.
    fn left(&self, limit: Duration, writing: &Chime) {
        let deadline = Instant::now() + limit;
        self.lines.hurry();
        self.gone.fire(Reason::ClientLeft);
        self.running.wait_for_none(deadline);
        self.end(Reason::ClientLeft, deadline, writing);
    }

    /// Stops what still runs and writes what waits, until `deadline`.
    fn end(&self, reason: Reason, deadline: Instant, writing: &Chime) {
        self.talk.in_flight.cancel_all(reason);
        self.running.wait_for_none(deadline);
        let all: Vec<_> = lock(&self.listening).drain().collect();
        for (id, listening) in all {
            *lock(&listening.open) = false;
            self.lines.reply(Response::listened(&id).text);
        }
        self.lines.close();
        if !self.lines.wait_written(deadline) {
            writing.strike();
        }
    }
}

impl Peer for Conversation {
    fn notify(&self, message: String) {
        tell(&self.lines, message);
    }

    fn ask(&self, request: &InputRequest, cancel: &Cancel) -> Result<Value, String> {
        let send = |message| self.lines.reply(message);
        self.talk.asked.ask(request, cancel, self.house.answer_limit(), send)
    }
}

fn tell(lines: &LineQueue, message: String) {
    if !lines.notice(message) {
        log::debug!("stdio: the client does not read, and a notification was dropped");
    }
}

/// How many calls run or wait to.
#[derive(Default)]
struct Running {
    calls: Mutex<usize>,
    fewer: Condvar,
}

impl Running {
    fn enter(self: &Arc<Self>) -> Place {
        *lock(&self.calls) += 1;
        Place(Arc::clone(self))
    }

    fn wait_for_none(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.fewer.wait_timeout_while(lock(&self.calls), left, |calls| *calls > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// One running call; over when this is dropped.
struct Place(Arc<Running>);

impl Drop for Place {
    fn drop(&mut self) {
        *lock(&self.0.calls) -= 1;
        self.0.fewer.notify_all();
    }
}

/// JSON of a client is parsed on it, and quick answers are made.
const IN_STACK_BYTES: usize = 512 * 1024;
const OUT_STACK_BYTES: usize = 64 * 1024;
