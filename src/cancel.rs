//! The one way to stop work: a flag that can be fired once, with hooks that run when it is.
//!
//! Knows nothing of what is stopped. A hook closes a socket, drops a sender or fires another
//! `Cancel`; it must be short and must not block.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::worker::lock;

/// Why work was stopped; the first reason given stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The client asked (`notifications/cancelled`).
    Requested = 1,
    /// The client's connection or stream is gone.
    ClientLeft = 2,
    /// The session ended under the call.
    SessionEnded = 3,
    /// The server is stopping.
    Shutdown = 4,
    /// A deadline passed.
    Deadline = 5,
}

impl Reason {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Requested, Self::ClientLeft, Self::SessionEnded, Self::Shutdown, Self::Deadline]
            .into_iter()
            .find(|reason| *reason as u8 == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "the client cancelled it",
            Self::ClientLeft => "the client left",
            Self::SessionEnded => "the session ended",
            Self::Shutdown => "the server is stopping",
            Self::Deadline => "its deadline passed",
        })
    }
}

type Action = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Hooks {
    next: u64,
    waiting: Vec<(u64, Action)>,
}

#[derive(Default)]
struct Shared {
    /// 0, or the code of the [`Reason`]; written under the lock of `hooks`.
    fired: AtomicU8,
    hooks: Mutex<Hooks>,
    watch: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A cheap handle to one stoppable piece of work; clones share the flag.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Shared>);

impl Cancel {
    /// A handle that nobody has fired.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fires once: sets the reason and runs every hook on this thread.
    /// Returns whether this call was the one that fired it.
    pub fn fire(&self, reason: Reason) -> bool {
        let actions = self.set(reason);
        let is_first = actions.is_some();
        for (_, action) in actions.into_iter().flatten() {
            action();
        }
        is_first
    }

    /// Fires all of these, each before the hook of any: what one of them gives up, another that is to
    /// stop as well must not take up.
    pub fn fire_all(all: &[Self], reason: Reason) {
        let actions: Vec<_> = all.iter().filter_map(|cancel| cancel.set(reason)).collect();
        for (_, action) in actions.into_iter().flatten() {
            action();
        }
    }

    /// Sets the reason, and takes the hooks out; nothing when it was fired before.
    fn set(&self, reason: Reason) -> Option<Vec<(u64, Action)>> {
        let mut hooks = lock(&self.0.hooks);
        if self.0.fired.load(Ordering::Acquire) != 0 {
            return None;
        }
        self.0.fired.store(reason as u8, Ordering::Release);
        Some(std::mem::take(&mut hooks.waiting))
    }

    /// Why it was fired, or `None` while it was not.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_code(self.0.fired.load(Ordering::Acquire))
    }

    /// Whether it was fired.
    #[must_use]
    pub fn is_fired(&self) -> bool {
        self.reason().is_some()
    }

    /// Gives a thread that waits something to look after: it calls [`Cancel::look`] now and then, and
    /// `watch` fires whatever has to be. For threads that nobody else looks after. Only the first
    /// watch counts.
    pub fn watch_with(&self, watch: impl Fn() + Send + Sync + 'static) {
        drop(self.0.watch.set(Box::new(watch)));
    }

    /// Whether there is something to look after.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.watch.get().is_some()
    }

    /// Looks after what was given with [`Cancel::watch_with`], and says whether this is fired.
    pub fn look(&self) -> bool {
        if let Some(watch) = self.0.watch.get() {
            watch();
        }
        self.is_fired()
    }

    /// Runs `action` when this is fired, at once if it was already; dropping the hook takes the
    /// action back. A fire that has begun may still be running the action when the drop returns.
    #[must_use = "dropping the hook takes the action back"]
    pub fn hook(&self, action: impl FnOnce() + Send + 'static) -> Hook {
        let mut hooks = lock(&self.0.hooks);
        if self.0.fired.load(Ordering::Acquire) != 0 {
            drop(hooks);
            action();
            return Hook { of: self.clone(), id: 0 };
        }
        hooks.next += 1;
        let id = hooks.next;
        hooks.waiting.push((id, Box::new(action)));
        drop(hooks);
        Hook { of: self.clone(), id }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.reason()).finish()
    }
}

/// An action that waits for a [`Cancel`]; dropped, it waits no more.
#[derive(Debug)]
pub struct Hook {
    of: Cancel,
    id: u64,
}

impl Drop for Hook {
    fn drop(&mut self) {
        lock(&self.of.0.hooks).waiting.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn fires_once_and_keeps_the_first_reason() {
        let cancel = Cancel::new();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let _hook = cancel.hook(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert!(cancel.fire(Reason::Requested));
        assert!(!cancel.fire(Reason::Shutdown));
        assert_eq!(cancel.reason(), Some(Reason::Requested));
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn several_are_all_fired_before_a_hook_runs() {
        let all = [Cancel::new(), Cancel::new()];
        let seen = Arc::new(AtomicUsize::new(0));
        let watch = |of: usize, other: usize| {
            let (other, count) = (all[other].clone(), Arc::clone(&seen));
            all[of].hook(move || {
                count.fetch_add(usize::from(other.is_fired()), Ordering::SeqCst);
            })
        };
        let _hooks = [watch(0, 1), watch(1, 0)];
        Cancel::fire_all(&all, Reason::Shutdown);
        assert_eq!(seen.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_dropped_hook_does_not_run_and_a_late_one_runs_at_once() {
        let cancel = Cancel::new();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        drop(cancel.hook(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        cancel.fire(Reason::Deadline);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        let count = Arc::clone(&ran);
        let _late = cancel.hook(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}
