//! The requests of one conversation that are being worked on, and how each is stopped.

use std::collections::HashMap;
use std::sync::Mutex;

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
        for cancel in all {
            cancel.fire(reason);
        }
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
