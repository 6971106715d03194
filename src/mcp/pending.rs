//! The requests of one conversation that are being worked on, and how each is stopped.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use serde_json::Value;

use super::input::InputRequest;
use super::jsonrpc::RequestId;
use crate::cancel::{Cancel, Reason};
use crate::worker::lock;

/// Requests in flight; one for a session.
#[derive(Debug, Default)]
pub struct InFlight {
    calls: Mutex<HashMap<RequestId, Cancel>>,
}

impl InFlight {
    /// Enters a request. `None`: one with this id is in flight already, which JSON-RPC forbids.
    #[must_use]
    pub fn enter(&self, id: &RequestId) -> Option<Cancel> {
        let mut calls = lock(&self.calls);
        if calls.contains_key(id) {
            return None;
        }
        let cancel = Cancel::new();
        calls.insert(id.clone(), cancel.clone());
        Some(cancel)
    }

    /// Takes a finished request out.
    pub fn leave(&self, id: &RequestId) {
        lock(&self.calls).remove(id);
    }

    /// Stops one request; an unknown or finished id is ignored (all revisions, cancellation).
    pub fn cancel(&self, id: &RequestId, reason: Reason) {
        let cancel = lock(&self.calls).get(id).cloned();
        if let Some(cancel) = cancel {
            cancel.fire(reason);
        }
    }

    /// Stops all of them.
    pub fn cancel_all(&self, reason: Reason) {
        let all: Vec<Cancel> = lock(&self.calls).drain().map(|(_, cancel)| cancel).collect();
        Cancel::fire_all(&all, reason);
    }

    /// How many are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.calls).len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Requests of ours that a client has not answered yet; one for a session.
#[derive(Debug, Default)]
pub struct Asked {
    waiting: Mutex<HashMap<RequestId, Sender<Heard>>>,
    numbers: AtomicU64,
}

type Heard = Result<Value, String>;

impl Asked {
    /// Asks with `send`, which gets the request as one line of JSON, and waits for the answer.
    /// Errors: the client refused, the call was cancelled, or `limit` passed.
    pub fn ask(
        &self,
        request: &InputRequest,
        cancel: &Cancel,
        limit: Duration,
        send: impl FnOnce(String),
    ) -> Result<Value, String> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let id = RequestId::String(format!("server-{number}"));
        // One answer, and one word that there will be none. Full: a second answer, dropped.
        let (sender, heard) = bounded(2);
        lock(&self.waiting).insert(id.clone(), sender.clone());
        let _stops = cancel.hook(move || drop(sender.try_send(Err("it was cancelled".to_owned()))));
        send(super::jsonrpc::request(&id, request.method(), request.params()));
        let answer = heard.recv_timeout(limit).unwrap_or_else(|_late| {
            Err(format!("the limit answer_s_max ({} s) passed", limit.as_secs()))
        });
        lock(&self.waiting).remove(&id);
        answer
    }

    /// Takes an answer of the client's; one that nobody waits for is dropped.
    pub fn answer(&self, id: &RequestId, outcome: Result<Value, Value>) {
        let waiting = lock(&self.waiting).remove(id);
        if let Some(waiting) = waiting {
            let said = |error: Value| {
                let message = error.get("message").and_then(Value::as_str).unwrap_or("no reason");
                format!("the client refused: {message}")
            };
            drop(waiting.try_send(outcome.map_err(said)));
        }
    }
}
