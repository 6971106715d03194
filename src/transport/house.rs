//! What every transport needs to have a call run: the protocol, the lanes, the bulletin.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::lanes::{Lanes, queue_full};
use crate::cancel::Cancel;
use crate::mcp::{
    Bulletin, Call, Conversation, Dispatcher, ErrorCode, Peer, Response, Revision, RpcError,
};
use crate::observe::escaped;

/// What transports need to know; limits are explained where all are listed, in `config`.
#[derive(Clone, Copy, Debug)]
pub struct HouseSettings {
    /// Milliseconds of silence after which a comment goes out.
    pub heartbeat_ms: u64,
    /// JSON values that one body may hold.
    pub body_values_max: usize,
    /// Seconds that a client may take to answer a request of ours.
    pub answer_s_max: u64,
    /// `subscriptions/listen` open at once.
    pub listens_max: usize,
    /// Events that wait for one stream of a request.
    pub outbox_events_max: usize,
    /// Their bytes.
    pub outbox_bytes_max: usize,
    /// The system's random source, for session ids.
    pub random: fn() -> Option<[u8; 16]>,
}

/// The house, as transports see it.
pub struct House {
    /// Limits and the random source.
    pub settings: HouseSettings,
    /// The protocol.
    pub dispatcher: Dispatcher,
    /// Where calls run.
    pub lanes: Arc<Lanes>,
    /// Who hears of changes.
    pub bulletin: Arc<Bulletin>,
}

/// How a call is carried: what is spoken, who asks, and how it is stopped.
pub(super) struct Carried<'a> {
    pub(super) revision: Revision,
    pub(super) cancel: &'a Cancel,
    pub(super) principal: &'a str,
    pub(super) session: Option<&'a str>,
}

impl House {
    /// Runs a call on this thread; a panic is a reply too. A call that was cancelled before `leave`,
    /// which takes it out of those in flight, gets none (all revisions, cancellation).
    pub(super) fn run(
        &self,
        call: &Call,
        carried: &Carried<'_>,
        peer: &dyn Peer,
        leave: impl FnOnce(),
    ) -> Option<Response> {
        let response = (!carried.cancel.is_fired()).then(|| self.respond(call, carried, peer));
        leave();
        response.filter(|_| !carried.cancel.is_fired())
    }

    fn respond(&self, call: &Call, carried: &Carried<'_>, peer: &dyn Peer) -> Response {
        let begun = Instant::now();
        let with = Conversation {
            revision: carried.revision,
            cancel: carried.cancel,
            peer,
            principal: carried.principal,
            session: carried.session,
            now_s: now_s(),
        };
        let run = std::panic::AssertUnwindSafe(|| self.dispatcher.run(call, &with));
        let response = std::panic::catch_unwind(run).unwrap_or_else(|_panic| {
            log::error!("{} panicked; please report it", escaped(call.work.name()));
            let error = RpcError::new(ErrorCode::INTERNAL_ERROR, "a bug of this server");
            Response::error(Some(&call.id), &error)
        });
        log::debug!(
            "request={} {} ms={}",
            escaped(&call.id.to_string()),
            escaped(call.work.name()),
            begun.elapsed().as_millis()
        );
        response
    }

    /// What a call gets that finds its lane full.
    pub(super) fn busy(call: &Call, revision: Revision) -> Response {
        Dispatcher::refuse(call, queue_full(call.lane), revision)
    }

    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.settings.heartbeat_ms)
    }

    pub(super) fn answer_limit(&self) -> Duration {
        Duration::from_secs(self.settings.answer_s_max)
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Seconds since 1970, as ids and sealed states count them.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
