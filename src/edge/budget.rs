//! A shared number of bytes that buffers may use together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all connections share for one purpose.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), bytes_max })
    }

    /// A share of nothing, to be grown. Strangers' shares find room only while a quarter is not used
    /// up, so that they never take it from those who are known.
    pub(super) fn share(self: &Arc<Self>, stranger: bool) -> Share {
        let bytes_max = if stranger { self.bytes_max / 4 } else { self.bytes_max };
        Share { of: Arc::clone(self), bytes: 0, bytes_max }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn take(&self, bytes: usize, bytes_max: usize) -> bool {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= bytes_max)
            })
            .is_ok()
    }
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Budget>,
    bytes: usize,
    /// Of all shares together, when this one grows.
    bytes_max: usize,
}

impl Share {
    /// What it and all others may have together.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Makes the share at least this large; says whether the budget had room. A small buffer needs
    /// none, so that a few large ones never keep a `cancelled` or a `/health` from anybody; the
    /// connections bound how many of them there are.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        if bytes <= SMALL_BYTES_MAX {
            return true;
        }
        let more = bytes.saturating_sub(self.bytes);
        let granted = more == 0 || self.of.take(more, self.bytes_max);
        if granted {
            self.bytes += more;
        }
        granted
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Buffers up to this size are free.
const SMALL_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let budget = Budget::new(10_000);
        let mut first = budget.share(false);
        let mut second = budget.share(false);
        assert!(first.grow_to(5000) && first.grow_to(5000));
        assert!(!second.grow_to(5001));
        assert!(second.grow_to(5000));
        drop(first);
        assert!(second.grow_to(10_000));
        assert!(!second.grow_to(usize::MAX));
    }

    #[test]
    fn a_small_share_is_granted_when_the_budget_is_used_up() {
        let budget = Budget::new(10_000);
        let mut large = budget.share(false);
        assert!(large.grow_to(10_000));
        let mut small = budget.share(false);
        assert!(small.grow_to(SMALL_BYTES_MAX));
        assert!(!small.grow_to(SMALL_BYTES_MAX + 1));
    }

    #[test]
    fn strangers_leave_most_of_it_to_others() {
        let budget = Budget::new(40_000);
        let mut strangers = [budget.share(true), budget.share(true)];
        assert!(strangers[0].grow_to(6000) && !strangers[1].grow_to(6000));
        assert!(strangers[1].grow_to(SMALL_BYTES_MAX));
        let mut known = budget.share(false);
        assert!(known.grow_to(34_000));
        assert!(!strangers[0].grow_to(6001));
    }
}
