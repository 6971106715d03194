//! What is known about an upstream without asking it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::upstream::error::UpstreamError;
use crate::upstream::models::{Kind, ModelList};
use crate::upstream::queue::Load;
use crate::upstream::survey::Seen;
use crate::worker::lock;

/// A snapshot, as `/health` shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamState {
    /// Whether the last request reached it; `None` before the first.
    pub reachable: Option<bool>,
    /// What it was found to be.
    pub kind: Option<Kind>,
    /// Its version, where it says.
    pub version: Option<String>,
    /// How long the newest look at it took.
    pub latency: Option<Duration>,
    /// Its models as of the newest look.
    pub models: Option<Arc<ModelList>>,
    /// Time since it last answered without a fault of its own.
    pub last_success_age: Option<Duration>,
    /// The newest failure that was the upstream's.
    pub last_error: Option<PastError>,
    /// Generations at it and before it.
    pub load: Load,
}

/// A failure that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastError {
    /// As of [`UpstreamError::code`].
    pub code: &'static str,
    /// The sentence.
    pub text: String,
    /// Time since then.
    pub age: Duration,
}

/// Keeps the state up to date from every request.
#[derive(Debug, Default)]
pub(super) struct Record(Mutex<Known>);

impl Record {
    /// A request is over.
    pub(super) fn note<T>(&self, name: &str, outcome: &Result<T, UpstreamError>) {
        match outcome {
            Ok(_) => self.end(name, None),
            Err(UpstreamError::Cancelled) => {}
            Err(error) => self.end(name, Some(error)),
        }
    }

    fn end(&self, name: &str, error: Option<&UpstreamError>) {
        let now = Instant::now();
        let failure = error.filter(|error| error.blames_upstream());
        let mut known = lock(&self.0);
        let was_well = known.well.replace(failure.is_none());
        match failure {
            // A request that was never sent, or failed by itself, says nothing about the upstream.
            None if error.is_some_and(|error| !error.was_answered()) => known.well = was_well,
            None => {
                known.reachable = Some(true);
                known.success = Some(now);
            }
            Some(error) => {
                known.reachable = Some(error.was_reached());
                known.error = Some((error.code(), error.to_string(), now));
                // What answers the next time may be another server.
                known.kind = known.kind.filter(|_| error.was_answered());
                known.list = None;
            }
        }
        drop(known);
        // Once a change, because callers come again and again while it lasts.
        match failure {
            None if was_well == Some(false) => log::info!("{name}: the model server answers again"),
            Some(error) if was_well != Some(false) => log::warn!("{name}: {error}"),
            Some(error) => log::debug!("{name}: {error}"),
            None => {}
        }
    }

    /// The kind that was found, as long as that is not too long ago.
    pub(super) fn kind(&self) -> Option<Kind> {
        let known = lock(&self.0);
        known.kind.filter(|_| known.detected.is_some_and(|at| at.elapsed() < KIND_FOR))
    }

    /// A look found this.
    pub(super) fn found(
        &self,
        list: &Arc<ModelList>,
        version: Option<Option<String>>,
        took: Duration,
    ) {
        let mut known = lock(&self.0);
        known.kind = Some(list.kind);
        if let Some(version) = version {
            known.detected = Some(Instant::now());
            known.version = version;
        }
        known.latency = Some(took);
        known.list = Some((Arc::clone(list), Instant::now()));
        known.models = Some(Arc::clone(list));
    }

    /// What the look before read.
    pub(super) fn seen(&self) -> Option<Arc<Seen>> {
        lock(&self.0).seen.clone()
    }

    /// What a look read.
    pub(super) fn saw(&self, seen: Option<Arc<Seen>>) {
        lock(&self.0).seen = seen;
    }

    /// Forgets the kind.
    pub(super) fn forget_kind(&self) {
        lock(&self.0).kind = None;
    }

    /// The list, if a look was at most so long ago.
    pub(super) fn list(&self, age_max: Duration) -> Option<Arc<ModelList>> {
        let known = lock(&self.0);
        known
            .list
            .as_ref()
            .filter(|(_, at)| at.elapsed() <= age_max)
            .map(|(list, _)| Arc::clone(list))
    }

    /// What is in memory is no longer what it was.
    pub(super) fn forget_list(&self) {
        lock(&self.0).list = None;
    }

    /// Whether it could not be reached a moment ago.
    pub(super) fn was_just_down(&self) -> bool {
        let known = lock(&self.0);
        known.reachable == Some(false)
            && known.error.as_ref().is_some_and(|(.., at)| at.elapsed() < DOWN_FOR)
    }

    /// The state as of now.
    pub(super) fn snapshot(&self, load: Load) -> UpstreamState {
        let known = lock(&self.0);
        UpstreamState {
            reachable: known.reachable,
            kind: known.kind.or(known.models.as_ref().map(|list| list.kind)),
            version: known.version.clone(),
            latency: known.latency,
            models: known.models.clone(),
            last_success_age: known.success.map(|at| at.elapsed()),
            last_error: known.error.as_ref().map(|(code, text, at)| PastError {
                code,
                text: text.clone(),
                age: at.elapsed(),
            }),
            load,
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Whether the newest request went without a fault of the upstream's.
    well: Option<bool>,
    reachable: Option<bool>,
    kind: Option<Kind>,
    detected: Option<Instant>,
    version: Option<String>,
    latency: Option<Duration>,
    list: Option<(Arc<ModelList>, Instant)>,
    /// How it was written.
    seen: Option<Arc<Seen>>,
    /// The newest list, however old.
    models: Option<Arc<ModelList>>,
    success: Option<Instant>,
    error: Option<(&'static str, String, Instant)>,
}

/// A server that was replaced by another kind is noticed within this time, even when both
/// understand the same questions.
const KIND_FOR: Duration = Duration::from_secs(300);

/// A machine that is off is not waited for by every call.
const DOWN_FOR: Duration = Duration::from_secs(10);
