//! The queue before an upstream: so many generations at once, so many that wait, first come,
//! first served.
//!
//! Model servers queue too, but silently, and their callers' time runs out meanwhile.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::worker::lock;

/// How many generations run and wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// At the upstream.
    pub running: usize,
    /// Before it.
    pub waiting: usize,
}

/// Why nobody gets a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many wait as may.
    Full {
        waiting: usize,
    },
    Cancelled,
    /// The caller's time was over before its turn.
    TooLate,
}

pub(super) struct Queue {
    running_max: usize,
    waiting_max: usize,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: VecDeque<u64>,
    next: u64,
}

impl Queue {
    pub(super) fn new(running_max: usize, waiting_max: usize) -> Self {
        Self { running_max: running_max.max(1), waiting_max, line: Arc::default() }
    }

    pub(super) fn load(&self) -> Load {
        let state = lock(&self.line.state);
        Load { running: state.running, waiting: state.waiting.len() }
    }

    /// Waits for a turn, which lasts until the result is dropped. `on` hears how many are before
    /// this caller: at once, when that changes, and every `beat`.
    pub(super) fn enter(
        &self,
        cancel: &Cancel,
        beat: Duration,
        until: Instant,
        on: &mut dyn FnMut(usize),
    ) -> Result<Turn, Refused> {
        let mut state = lock(&self.line.state);
        if cancel.is_fired() {
            return Err(Refused::Cancelled);
        }
        if state.waiting.is_empty() && state.running < self.running_max {
            return Ok(self.begin(&mut state));
        }
        if state.waiting.len() >= self.waiting_max {
            return Err(Refused::Full { waiting: state.waiting.len() });
        }
        let me = state.next;
        state.next += 1;
        state.waiting.push_back(me);
        drop(state);
        let waker = Arc::clone(&self.line);
        // The lock makes sure that this caller either sees the flag or is woken.
        let _hook = cancel.hook(move || {
            drop(lock(&waker.state));
            waker.changed.notify_all();
        });
        let _place = Place { line: &self.line, me };
        self.wait(me, cancel, beat, until, on)
    }

    fn wait(
        &self,
        me: u64,
        cancel: &Cancel,
        beat: Duration,
        until: Instant,
        on: &mut dyn FnMut(usize),
    ) -> Result<Turn, Refused> {
        let mut told = None;
        let mut due = Instant::now();
        let mut state = lock(&self.line.state);
        loop {
            if cancel.is_fired() {
                return Err(Refused::Cancelled);
            }
            let before = state.waiting.iter().position(|other| *other == me).unwrap_or_default();
            if before == 0 && state.running < self.running_max {
                state.waiting.pop_front();
                return Ok(self.begin(&mut state));
            }
            let now = Instant::now();
            if now >= until {
                return Err(Refused::TooLate);
            }
            let ahead = before + state.running;
            if now >= due || told != Some(ahead) {
                (told, due) = (Some(ahead), now + beat);
                drop(state);
                on(ahead);
                state = lock(&self.line.state);
                continue;
            }
            let left = due.min(until) - now;
            state = self
                .line
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn begin(&self, state: &mut State) -> Turn {
        state.running += 1;
        Turn(Arc::clone(&self.line))
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

/// A place in the line, given up however the wait ends.
struct Place<'a> {
    line: &'a Line,
    me: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.line.state).waiting.retain(|other| *other != self.me);
        self.line.changed.notify_all();
    }
}

/// A place at the upstream; the next in line gets it when this is dropped.
pub(super) struct Turn(Arc<Line>);

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.0.state).running -= 1;
        self.0.changed.notify_all();
    }
}

/// Waits for a while; says whether it was not cancelled meanwhile.
pub(super) fn pause(cancel: &Cancel, length: Duration) -> bool {
    let line = Arc::<Line>::default();
    let waker = Arc::clone(&line);
    let _hook = cancel.hook(move || {
        drop(lock(&waker.state));
        waker.changed.notify_all();
    });
    let until = Instant::now() + length;
    let mut state = lock(&line.state);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if cancel.is_fired() || left.is_zero() {
            return !cancel.is_fired();
        }
        state = line.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::cancel::Reason;

    const LONG: Duration = Duration::from_secs(60);

    fn later() -> Instant {
        Instant::now() + LONG
    }

    #[test]
    fn turns_are_given_in_the_order_of_coming_and_the_place_in_the_line_is_told() {
        let queue = Queue::new(1, 2);
        let never = Cancel::new();
        let first = queue.enter(&never, LONG, later(), &mut |_| panic!("nobody is before")).ok();
        assert!(first.is_some());
        let (told, hears) = sync_channel(16);
        std::thread::scope(|scope| {
            let mut waiters = Vec::new();
            for name in ["second", "third"] {
                let (queue, never, told) = (&queue, &never, told.clone());
                waiters.push(scope.spawn(move || {
                    let mut on = |before| told.send((name, before)).unwrap();
                    let turn = queue.enter(never, LONG, later(), &mut on);
                    assert!(turn.is_ok());
                    told.send((name, 0)).unwrap();
                }));
                let expected = if name == "second" { 1 } else { 2 };
                assert_eq!(hears.recv().unwrap(), (name, expected));
            }
            assert_eq!(queue.load(), Load { running: 1, waiting: 2 });
            let full = queue.enter(&never, LONG, later(), &mut |_| ());
            assert_eq!(full.err(), Some(Refused::Full { waiting: 2 }));
            drop(first);
            let heard: Vec<_> = hears.iter().take_while(|heard| *heard != ("third", 0)).collect();
            assert!(heard.contains(&("second", 0)), "{heard:?}");
        });
        assert_eq!(queue.load(), Load::default());
    }

    #[test]
    fn a_cancelled_or_late_waiter_leaves_the_line() {
        let queue = Queue::new(1, 8);
        let never = Cancel::new();
        let turn = queue.enter(&never, LONG, later(), &mut |_| ()).ok();
        let cancel = Cancel::new();
        let mut told = 0;
        let entered = queue.enter(&cancel, LONG, later(), &mut |before| {
            assert_eq!(before, 1);
            told += 1;
            cancel.fire(Reason::Requested);
        });
        assert_eq!((entered.err(), told), (Some(Refused::Cancelled), 1));
        let soon = Instant::now() + Duration::from_millis(20);
        let mut beats = 0;
        let beat = Duration::from_millis(5);
        let entered = queue.enter(&never, beat, soon, &mut |_| beats += 1);
        assert_eq!(entered.err(), Some(Refused::TooLate));
        assert!(beats >= 2, "{beats}");
        assert_eq!(queue.load(), Load { running: 1, waiting: 0 });
        drop(turn);
        assert!(queue.enter(&never, LONG, later(), &mut |_| ()).is_ok());
    }

    #[test]
    fn a_pause_ends_with_its_cancel() {
        let cancel = Cancel::new();
        assert!(pause(&cancel, Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| pause(&cancel, LONG));
            cancel.fire(Reason::Requested);
            assert!(!waits.join().unwrap());
        });
    }
}
