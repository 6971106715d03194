//! Where calls run, so that generations never delay a listing: slow ones on the thread of the client's
//! stream, which has nothing else to do, else on a pool of their own, so many at once of both; quick
//! ones on the very thread that took them while not too many do, else on a second pool. Measured, the
//! hand-over to another thread costs more than the rest of a quick call, and a third of what a short
//! chat is longer than the model.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde_json::json;

use crate::cancel::Cancel;
use crate::edge::Exchange;
use crate::mcp::{CallToolResult, Content, Lane};
use crate::worker::{Pool, PoolFull, PoolPlace};

/// The limits of the lanes; explained where all are listed, in `config`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "documented once, on config::Limits")]
pub struct LaneLimits {
    pub calls_running_max: usize,
    pub calls_waiting_max: usize,
    pub quick_calls_running_max: usize,
    pub quick_calls_waiting_max: usize,
    pub quick_calls_alone_max: usize,
    pub quick_calls_on_workers_max: usize,
}

/// What thread takes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// One of the edge's few workers, on which others wait.
    Worker,
    /// The client's own thread.
    Client,
}

impl Taker {
    /// Of a call that came with this exchange.
    pub(super) fn of(exchange: &Exchange) -> Self {
        if exchange.is_alone() { Self::Client } else { Self::Worker }
    }
}

/// Both lanes.
#[derive(Debug)]
pub struct Lanes {
    slow: Pool,
    quick: Pool,
    /// Quick calls that run on the threads that took them.
    on_workers: Places,
    on_clients: Places,
    calls: AtomicU64,
    refused: AtomicU64,
}

impl Lanes {
    /// Both lanes, without a thread yet.
    #[must_use]
    pub fn new(limits: &LaneLimits) -> Self {
        Self {
            slow: Pool::new(
                "slow",
                limits.calls_running_max,
                limits.calls_waiting_max,
                CALL_STACK_BYTES,
            ),
            quick: Pool::new(
                "quick",
                limits.quick_calls_running_max,
                limits.quick_calls_waiting_max,
                CALL_STACK_BYTES,
            ),
            on_workers: Places::new(limits.quick_calls_on_workers_max),
            on_clients: Places::new(limits.quick_calls_alone_max),
            calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Runs a call on its lane; a quick one perhaps on this thread, before this returns. Where there
    /// is no place, calls that were cancelled while they waited make room; `run` must return soon
    /// once `cancel` is fired.
    /// Errors: all its places are taken.
    pub fn submit(
        &self,
        lane: Lane,
        taker: Taker,
        cancel: &Cancel,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), PoolFull> {
        let places = match taker {
            Taker::Worker => &self.on_workers,
            Taker::Client => &self.on_clients,
        };
        let place = (lane == Lane::Quick).then(|| places.take()).flatten();
        let Some(place) = place else { return self.submit_elsewhere(lane, cancel, run) };
        self.calls.fetch_add(1, Ordering::Relaxed);
        run();
        drop(place);
        Ok(())
    }

    /// Runs a call on its lane, never on this thread: it has more to do than to wait for a quick
    /// one. Errors: all places of the lane are taken.
    pub fn submit_elsewhere(
        &self,
        lane: Lane,
        cancel: &Cancel,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), PoolFull> {
        let cancel = cancel.clone();
        let stale = move || cancel.is_fired();
        self.calls.fetch_add(1, Ordering::Relaxed);
        let pool = match lane {
            Lane::Slow => &self.slow,
            Lane::Quick => &self.quick,
        };
        let submitted = pool.submit(run, stale);
        if submitted.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        submitted
    }

    /// A place for a slow call on the thread of its client's stream. `None`: its taker is a worker,
    /// or all places are taken; [`Self::submit`] may still have one to wait at.
    pub(super) fn on_stream(&self, lane: Lane, taker: Taker) -> Option<PoolPlace> {
        let fits = lane == Lane::Slow && taker == Taker::Client;
        let place = fits.then(|| self.slow.enter()).flatten()?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        Some(place)
    }

    /// Takes no more calls and joins the threads of both lanes.
    pub fn close(&self) {
        self.slow.close();
        self.quick.close();
    }

    /// Calls since the start, and how many of them found their lane full.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

/// Places for calls that run where they were taken.
#[derive(Debug)]
struct Places {
    taken: AtomicUsize,
    max: usize,
}

impl Places {
    fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    fn take(&self) -> Option<Place<'_>> {
        let before = self.taken.fetch_add(1, Ordering::AcqRel);
        let place = Place(&self.taken);
        (before < self.max).then_some(place)
    }
}

/// One of them.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a call gets that finds its lane full: a tool result that says so, not an HTTP error, which
/// clients take for the end of the session.
pub(super) fn queue_full(lane: Lane) -> CallToolResult {
    let limit = match lane {
        Lane::Slow => "calls_waiting_max",
        Lane::Quick => "quick_calls_waiting_max",
    };
    let message = format!(
        "Too many calls at once: all are busy and the limit {limit} is reached. Try again shortly."
    );
    let error = json!({ "code": "QUEUE_FULL", "message": message, "retryable": true });
    CallToolResult {
        content: vec![Content::Text(message), Content::Text(json!({ "error": error }).to_string())],
        structured: None,
        is_error: true,
    }
}

/// JSON of an upstream is parsed on these threads.
const CALL_STACK_BYTES: usize = 512 * 1024;
