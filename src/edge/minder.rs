//! Looks after the event streams whose own threads are at work. While a thread makes the words that
//! its stream brings, somebody else has to break the silence, to send on what its client did not take
//! at once, and to notice that the client has left: one thread for all of them.
//!
//! Measured against a second thread for each call: a fifth of a millisecond less for a short answer,
//! which is gone before anybody has to look.

use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::Admitted;
use super::relay::{Due, Relay, try_lock};
use super::reply::left;
use super::streaming::Standing;
use super::wire::wait;
use crate::cancel::Reason;
use crate::worker::{Worker, lock};

/// The one who looks after them. Its thread is there from the first stream on.
#[derive(Debug)]
pub(super) struct Minder {
    shared: Arc<Shared>,
    worker: Mutex<Option<Worker>>,
}

#[derive(Debug)]
struct Shared {
    look_every: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    minded: Vec<Arc<dyn Mindable>>,
    /// The thread looks by itself; else it has to be woken.
    is_awake: bool,
    closed: bool,
}

/// What can be looked after.
pub(super) trait Mindable: fmt::Debug + Send + Sync {
    /// Whose events are waited for.
    fn socket(&self) -> &TcpStream;

    /// Which of them; a hang-up is one always.
    fn wanted(&self) -> PollFlags;

    /// Does what is to be done, without waiting, as often as a look is due and when events were seen.
    fn look(&self, seen: PollFlags) -> Looked;

    /// Ends the connection.
    fn hang_up(&self);
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// There will be more to do.
    GoesOn,
    /// Somebody else has it now.
    Over,
    /// Nobody has anything to expect of its connection.
    HangUp,
}

/// A stream that is looked after.
pub(super) struct Minded {
    relay: Arc<Mutex<Option<Relay>>>,
    socket: Arc<TcpStream>,
    admitted: Arc<Admitted>,
    /// Whether its client may have something to say.
    watched: AtomicBool,
    /// Whether its client has something to take.
    behind: AtomicBool,
    standing: Mutex<Standing>,
}

/// The time during which a stream is looked after.
#[derive(Debug)]
pub(super) struct Minding {
    shared: Arc<Shared>,
    minded: Arc<dyn Mindable>,
}

impl Minder {
    /// Its thread looks at each this often, and for new ones.
    pub(super) fn new(look_every: Duration) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { look_every, state, changed }), worker: Mutex::default() }
    }

    /// Looks after a stream until the guard is dropped: at its client's events at once, but in the
    /// time of the first look, and without events as often as looks are due.
    pub(super) fn mind(&self, minded: Arc<dyn Mindable>) -> Minding {
        let is_awake = {
            let mut state = lock(&self.shared.state);
            state.minded.push(Arc::clone(&minded));
            std::mem::replace(&mut state.is_awake, true)
        };
        if !is_awake {
            self.wake();
        }
        Minding { shared: Arc::clone(&self.shared), minded }
    }

    fn wake(&self) {
        let mut worker = lock(&self.worker);
        if worker.is_some() {
            return self.shared.changed.notify_all();
        }
        let shared = Arc::clone(&self.shared);
        match Worker::spawn("minder", STACK_BYTES, move || shared.run()) {
            Ok(started) => *worker = Some(started),
            Err(error) => {
                log::error!("the system refuses another thread, so streams are silent: {error}");
                lock(&self.shared.state).is_awake = false;
            }
        }
    }

    /// Ends its thread. What is minded after that is not looked after.
    pub(super) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.is_awake = true;
        drop(state);
        self.shared.changed.notify_all();
        let worker = lock(&self.worker).take();
        drop(worker);
    }
}

impl Drop for Minder {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(all) = self.next() {
            let mut fds: Vec<_> =
                all.iter().map(|minded| PollFd::new(minded.socket(), minded.wanted())).collect();
            if wait(&mut fds, Some(self.look_every)).is_err() {
                // Short of memory; all are looked at all the same, a little later.
                drop(self.pause(lock(&self.state)));
            }
            let seen: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            for (minded, seen) in all.iter().zip(seen) {
                // A bug ends one stream.
                let looked = catch_unwind(AssertUnwindSafe(|| minded.look(seen)));
                match looked {
                    Ok(Looked::GoesOn) => {}
                    Ok(Looked::Over) => self.forget(minded),
                    Ok(Looked::HangUp) | Err(_) => {
                        self.forget(minded);
                        minded.hang_up();
                    }
                }
                if looked.is_err() {
                    log::error!("a look at a stream ended by a panic; please report it");
                }
            }
        }
    }

    /// The streams to look after, when there are any; nothing at the end. A house in which one call
    /// follows another wakes nobody for each.
    fn next(&self) -> Option<Vec<Arc<dyn Mindable>>> {
        let mut state = lock(&self.state);
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if state.closed || !state.minded.is_empty() {
                break;
            }
            state = self.pause(state);
        }
        while !state.closed && state.minded.is_empty() {
            state.is_awake = false;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.closed).then(|| state.minded.clone())
    }

    fn pause<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, self.look_every);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn forget(&self, minded: &Arc<dyn Mindable>) {
        lock(&self.state).minded.retain(|other| !Arc::ptr_eq(other, minded));
    }
}

impl Minded {
    /// Nobody may wait for the client under the relay's lock while it is looked after.
    pub(super) fn new(
        relay: &Arc<Mutex<Option<Relay>>>,
        socket: &Arc<TcpStream>,
        admitted: &Arc<Admitted>,
    ) -> Arc<Self> {
        Arc::new(Self {
            relay: Arc::clone(relay),
            socket: Arc::clone(socket),
            admitted: Arc::clone(admitted),
            watched: AtomicBool::new(true),
            behind: AtomicBool::new(false),
            standing: Mutex::new(Standing::new()),
        })
    }
}

impl Mindable for Minded {
    fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn wanted(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.watched.load(Ordering::Relaxed));
        flags.set(PollFlags::OUT, self.behind.load(Ordering::Relaxed));
        flags
    }

    fn look(&self, seen: PollFlags) -> Looked {
        let is_revoked = lock(&self.standing).is_revoked(&self.admitted);
        let minded = {
            // Who holds the lock sends, or takes the stream back.
            let Some(mut relay) = try_lock(&self.relay) else { return Looked::GoesOn };
            let Some(relay) = relay.as_mut() else { return Looked::Over };
            relay.mind(seen, &self.admitted, is_revoked)
        };
        // Without the lock: what hears of it may have something to say on this very stream.
        if is_revoked {
            self.admitted.gone.fire(Reason::SessionEnded);
        }
        match minded {
            Ok(Due { is_over: true, .. }) => Looked::HangUp,
            Ok(due) => {
                self.watched.store(due.watched, Ordering::Relaxed);
                self.behind.store(due.behind, Ordering::Relaxed);
                Looked::GoesOn
            }
            Err(error) => {
                left(&self.admitted, &error);
                Looked::HangUp
            }
        }
    }

    fn hang_up(&self) {
        // Its thread looks whether this is fired before it serves on.
        self.admitted.hang_up.fire(Reason::SessionEnded);
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

impl fmt::Debug for Minded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minded").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Drop for Minding {
    fn drop(&mut self) {
        self.shared.forget(&self.minded);
    }
}

/// How often it is looked for streams after the last one, before the thread sleeps until one comes.
const LOOKS_BEFORE_SLEEP: u32 = 4;
const STACK_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, bounded};
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Instant;

    /// Tells of every look, and has nothing more to do when its client has gone.
    #[derive(Debug)]
    struct Told(TcpStream, Sender<PollFlags>);

    /// Has a bug.
    #[derive(Debug)]
    struct Bug(TcpStream);

    impl Mindable for Bug {
        fn socket(&self) -> &TcpStream {
            &self.0
        }

        fn wanted(&self) -> PollFlags {
            PollFlags::empty()
        }

        fn look(&self, _: PollFlags) -> Looked {
            panic!("this panic belongs to the test");
        }

        fn hang_up(&self) {
            self.0.shutdown(Shutdown::Both).unwrap();
        }
    }

    impl Mindable for Told {
        fn socket(&self) -> &TcpStream {
            &self.0
        }

        fn wanted(&self) -> PollFlags {
            PollFlags::empty()
        }

        fn look(&self, seen: PollFlags) -> Looked {
            // Nobody counts more than there is room for.
            self.1.try_send(seen).unwrap_or_default();
            if seen.contains(PollFlags::HUP) { Looked::HangUp } else { Looked::GoesOn }
        }

        fn hang_up(&self) {}
    }

    fn minded() -> (Arc<Told>, TcpStream, Receiver<PollFlags>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (sender, looks) = bounded(4);
        (Arc::new(Told(listener.accept().unwrap().0, sender)), client, looks)
    }

    fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_looks_at_all_now_and_then_and_at_once_when_a_client_goes() {
        let often = Minder::new(Duration::from_millis(1));
        let (told, _client, looks) = minded();
        let minding = often.mind(told);
        for _ in 0..3 {
            assert_eq!(looks.recv_timeout(Duration::from_secs(10)), Ok(PollFlags::empty()));
        }
        drop(minding);
        often.close();
        while looks.try_recv().is_ok() {}
        assert!(looks.recv().is_err(), "what is not minded any more is let go");

        let seldom = Minder::new(Duration::from_secs(3600));
        let (told, client, looks) = minded();
        let _minding = seldom.mind(told);
        // Closed in both directions, as by a program that ended.
        client.shutdown(Shutdown::Both).unwrap();
        drop(client);
        // The other end says nothing more either, which makes it a hang-up.
        let state = Arc::clone(&seldom.shared);
        let other_end = Arc::clone(&lock(&state.state).minded[0]);
        other_end.socket().shutdown(Shutdown::Both).unwrap();
        let seen = looks.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(seen.contains(PollFlags::HUP));
        until(|| lock(&state.state).minded.is_empty());
    }

    #[test]
    fn a_bug_ends_its_own_connection_and_no_other() {
        let minder = Minder::new(Duration::from_millis(1));
        let (told, mut client, _) = minded();
        let _bug = minder.mind(Arc::new(Bug(told.0.try_clone().unwrap())));
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "it was hung up");
        let (told, _client, looks) = minded();
        let _minding = minder.mind(told);
        assert_eq!(looks.recv_timeout(Duration::from_secs(10)), Ok(PollFlags::empty()));
    }

    #[test]
    fn it_sleeps_when_there_is_nothing_and_wakes_for_what_comes() {
        let minder = Minder::new(Duration::from_millis(1));
        for _ in 0..3 {
            let (told, _client, looks) = minded();
            let minding = minder.mind(told);
            assert_eq!(looks.recv_timeout(Duration::from_secs(10)), Ok(PollFlags::empty()));
            drop(minding);
            until(|| !lock(&minder.shared.state).is_awake);
        }
    }
}
