//! One request as the transport below ureq sees it: its limits, its `Cancel`, its beat.
//!
//! ureq hands nothing of a request down to its transports, so the request that a thread is busy
//! with lies in a slot of that thread.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::Transport;

use crate::cancel::{Cancel, Hook};
use crate::upstream::limits::{Limit, Limits, Stop};
use crate::upstream::socket::Socket;
use crate::worker::lock;

/// A request in flight, on the thread that waits for it.
pub(super) struct Call {
    id: u64,
    cancel: Cancel,
    limits: Limits,
    deadline: Instant,
    beat: Option<Duration>,
    hold: Arc<Hold>,
    phase: Cell<Phase>,
    /// The last byte written or read.
    moved: Cell<Instant>,
    /// The last byte or beat.
    woken: Cell<Instant>,
    /// When the first word came, and how often was read since then.
    answering: Cell<Option<(Instant, u32)>>,
    /// The head of the answer is parsed, so that a wait may be left and taken up again.
    head_done: Cell<bool>,
    written: Cell<bool>,
    /// Behind what is written next comes a body, which may go out with it.
    body_follows: Cell<bool>,
    received: Cell<bool>,
    reused: Cell<bool>,
    parked: RefCell<Option<Box<dyn Transport>>>,
    dialed: RefCell<Option<TcpStream>>,
}

impl Call {
    /// A request that has not begun; with `beat` a silent wait returns [`Stop::Beat`] that often.
    pub(super) fn new(cancel: &Cancel, limits: Limits, beat: Option<Duration>) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            cancel: cancel.clone(),
            limits,
            deadline: now + limits.call,
            beat,
            hold: Arc::default(),
            phase: Cell::new(Phase::Asking { since: now }),
            moved: Cell::new(now),
            woken: Cell::new(now),
            answering: Cell::new(None),
            head_done: Cell::new(false),
            written: Cell::new(false),
            body_follows: Cell::new(false),
            received: Cell::new(false),
            reused: Cell::new(false),
            parked: RefCell::new(None),
            dialed: RefCell::new(None),
        })
    }

    /// Puts this request into the thread's slot until the guard is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Entered {
        let hold = Arc::clone(&self.hold);
        let id = self.id;
        let hook = self.cancel.hook(move || hold.shut_down(id));
        let outer = SLOT.with(|slot| slot.replace(Some(Rc::clone(self))));
        Entered { _hook: hook, outer }
    }

    /// Tells requests apart; never 0, which stands for nobody.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The lengths of this request's timeouts.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Remembers the socket that a `Cancel` is to shut down.
    pub(super) fn hold(&self, socket: &Arc<Socket>) {
        *lock(&self.hold.socket) = Arc::downgrade(socket);
    }

    /// How long the transport may block now, at most a second; `beats` where the wait can be left for a
    /// beat, which a half-written request cannot. Errors: it must not block, since
    /// the request is cancelled, out of time, or due for a beat.
    pub(super) fn wait(&self, beats: bool) -> Result<Duration, Stop> {
        self.check()?;
        let now = Instant::now();
        let (limit, until) = match self.phase.get() {
            Phase::Connecting { until } => (Limit::Connect, until),
            Phase::Asking { since } => (Limit::Prefill, since + self.limits.prefill),
            Phase::Answering => (Limit::Idle, self.moved.get() + self.limits.idle),
            Phase::Ending { until } => (Limit::Idle, until),
        };
        if now >= self.deadline {
            return Err(Stop::Limit(Limit::Call));
        }
        if now >= until {
            return Err(Stop::Limit(limit));
        }
        let mut left = until.min(self.deadline) - now;
        if let Some(beat) = self.beat.filter(|_| beats && self.may_beat()) {
            if self.is_beat_due(now) {
                return Err(Stop::Beat);
            }
            left = left.min(self.woken.get() + beat - now);
        }
        let longest = if self.cancel.is_watched() { LOOK_EVERY } else { WAIT_MAX };
        Ok(left.clamp(WAIT_MIN, longest))
    }

    /// Errors: the request is cancelled.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.cancel.is_fired() { Err(Stop::Cancelled) } else { Ok(()) }
    }

    /// The same after a wait that brought nothing, when there is time to look for a reason.
    pub(super) fn look(&self) -> Result<(), Stop> {
        if self.cancel.look() { Err(Stop::Cancelled) } else { Ok(()) }
    }

    /// A wait can be left only between the request and the answer's head, or inside its body:
    /// half a head would be lost with ureq's state.
    fn may_beat(&self) -> bool {
        match self.phase.get() {
            Phase::Connecting { .. } | Phase::Ending { .. } => false,
            Phase::Asking { .. } | Phase::Answering => {
                self.head_done.get() || (self.written.get() && !self.received.get())
            }
        }
    }

    /// A new connection is being made, within the returned instant.
    pub(super) fn connecting(&self) -> Instant {
        let until = (Instant::now() + self.limits.connect).min(self.deadline);
        self.phase.set(Phase::Connecting { until });
        until
    }

    /// Whether whoever waits is to be woken now, which is then done.
    pub(super) fn is_beat_due(&self, now: Instant) -> bool {
        let due = self.beat.is_some_and(|beat| now >= self.woken.get() + beat);
        if due {
            self.woken.set(now);
        }
        due
    }

    /// Keeps a connection that was made for this request, for [`Call::take_dialed`].
    pub(super) fn dialed(&self, stream: TcpStream) {
        *self.dialed.borrow_mut() = Some(stream);
    }

    /// The connection that was made.
    pub(super) fn take_dialed(&self) -> Option<TcpStream> {
        self.dialed.borrow_mut().take()
    }

    /// The connection stands; what was written and read for its handshake does not count.
    pub(super) fn connected(&self) {
        self.phase.set(Phase::Asking { since: Instant::now() });
        self.written.set(false);
        self.received.set(false);
    }

    /// Whether the connection never came to stand.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.phase.get(), Phase::Connecting { .. })
    }

    /// A connection of the pool serves this request, which may have looked for one of its own.
    pub(super) fn take_reused(&self) {
        self.reused.set(true);
        if self.is_connecting() {
            self.connected();
        }
    }

    /// The request has a body.
    pub(super) fn has_body(&self) {
        self.body_follows.set(true);
    }

    /// Whether what is written now is the head of a request whose body comes at once; a handshake
    /// is none.
    pub(super) fn body_follows(&self) -> bool {
        !self.is_connecting() && self.body_follows.take()
    }

    /// A part of the request was written.
    pub(super) fn wrote(&self) {
        self.written.set(true);
        self.moved.set(Instant::now());
    }

    /// Something of the answer itself has come; under TLS not every byte is.
    pub(super) fn heard(&self) {
        self.received.set(true);
    }

    /// Bytes were read.
    pub(super) fn read(&self) {
        let now = Instant::now();
        self.moved.set(now);
        self.woken.set(now);
        if let Some((since, reads)) = self.answering.get() {
            self.answering.set(Some((since, reads.saturating_add(1))));
        }
    }

    /// How long to let words gather before the next read. A fast model sends one every half a
    /// millisecond, and waking up for each costs far more than reading it. A short answer is not
    /// delayed, a longer one by a two-hundredth of its time at most.
    pub(super) fn rest(&self) -> Option<Duration> {
        let (since, reads) = self.answering.get()?;
        let elapsed = since.elapsed();
        let is_fast = elapsed < REST_MAX.saturating_mul(reads);
        (is_fast && elapsed >= REST_AFTER).then(|| (elapsed / 200).min(REST_MAX))
    }

    /// The head of the answer is there.
    pub(super) fn head_done(&self) {
        self.head_done.set(true);
    }

    /// The first word of the answer is there: from now on the idle limit counts.
    pub(super) fn answering(&self) {
        self.phase.set(Phase::Answering);
        self.answering.set(Some((Instant::now(), 0)));
    }

    /// The upstream has said all: the end of its body is waited for a moment longer.
    pub(super) fn ending(&self) {
        self.answering.set(None);
        self.phase.set(Phase::Ending { until: Instant::now() + ENDS_WITHIN });
    }

    /// Whether a byte of the answer was read.
    pub(super) fn has_received(&self) -> bool {
        self.received.get()
    }

    /// Whether asking again on a fresh connection is safe: a connection of the pool ended
    /// before a byte came, and the request may be repeated or never left (RFC 9110, 9.2.2).
    pub(super) fn may_retry(&self, repeatable: bool) -> bool {
        let repeatable = repeatable || !self.written.get();
        self.reused.get() && !self.received.get() && repeatable && !self.cancel.is_fired()
    }

    /// Keeps a connection whose answer has not begun, for [`Call::unpark`].
    pub(super) fn park(&self, transport: Box<dyn Transport>) {
        *self.parked.borrow_mut() = Some(transport);
    }

    /// The connection that was kept.
    pub(super) fn unpark(&self) -> Option<Box<dyn Transport>> {
        self.parked.borrow_mut().take()
    }

    /// The `Cancel` of this request.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The request that this thread is busy with. Errors: none, which is an I/O error for ureq.
pub(super) fn current() -> Result<Rc<Call>, ureq::Error> {
    SLOT.with(|slot| slot.borrow().clone())
        .ok_or_else(|| ureq::Error::Io(std::io::Error::other("used outside of a request")))
}

/// The time during which a request lies in its thread's slot.
pub(super) struct Entered {
    _hook: Hook,
    outer: Option<Rc<Call>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let outer = self.outer.take();
        drop(SLOT.with(|slot| slot.replace(outer)));
    }
}

#[derive(Clone, Copy)]
enum Phase {
    Connecting { until: Instant },
    Asking { since: Instant },
    Answering,
    Ending { until: Instant },
}

/// What the thread that fires a `Cancel` may reach.
#[derive(Default)]
struct Hold {
    socket: Mutex<Weak<Socket>>,
}

impl Hold {
    fn shut_down(&self, id: u64) {
        let socket = lock(&self.socket).upgrade();
        if let Some(socket) = socket {
            socket.shut_down_for(id);
        }
    }
}

thread_local! {
    static SLOT: RefCell<Option<Rc<Call>>> = const { RefCell::new(None) };
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// An upstream that keeps its connections ends the body right behind its last word.
const ENDS_WITHIN: Duration = Duration::from_millis(2);

/// No reader of an answer notices this.
const REST_MAX: Duration = Duration::from_millis(10);

const REST_AFTER: Duration = Duration::from_millis(100);

/// Shorter socket timeouts are refused as zero.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// How often the one who waits has to look after something.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Long waits are cut into equal pieces, so that the socket's timeout needs no system call for
/// most requests.
const WAIT_MAX: Duration = Duration::from_secs(1);
