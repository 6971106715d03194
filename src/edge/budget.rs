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

    /// A share of nothing, to be grown.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { of: Arc::clone(self), bytes: 0 }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn take(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max)
            })
            .is_ok()
    }
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Makes the share at least this large; says whether the budget had room. A small buffer needs
    /// none, so that a few large ones never keep a `cancelled` or a `/health` from anybody; the
    /// connections bound how many of them there are.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        if bytes <= SMALL_BYTES_MAX {
            return true;
        }
        let more = bytes.saturating_sub(self.bytes);
        let granted = more == 0 || self.of.take(more);
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
        let mut first = budget.share();
        let mut second = budget.share();
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
        let mut large = budget.share();
        assert!(large.grow_to(10_000));
        let mut small = budget.share();
        assert!(small.grow_to(SMALL_BYTES_MAX));
        assert!(!small.grow_to(SMALL_BYTES_MAX + 1));
    }
}
