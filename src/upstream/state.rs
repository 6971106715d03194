//! What is known about an upstream without asking it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::upstream::error::UpstreamError;
use crate::upstream::models::Kind;
use crate::worker::lock;

/// A snapshot, as `/health` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamState {
    /// Whether the last request reached it; `None` before the first.
    pub reachable: Option<bool>,
    /// What it was found to be.
    pub kind: Option<Kind>,
    /// Time since it last answered without a fault of its own.
    pub last_success_age: Option<Duration>,
    /// The newest failure that was the upstream's.
    pub last_error: Option<PastError>,
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
    pub(super) fn note<T>(&self, outcome: &Result<T, UpstreamError>) {
        let now = Instant::now();
        let failure = match outcome {
            Ok(_) => None,
            Err(UpstreamError::Cancelled) => return,
            Err(error) if error.blames_upstream() => {
                Some((error.was_reached(), error.code(), error.to_string()))
            }
            Err(_) => None,
        };
        let mut known = lock(&self.0);
        let was_well = known.well.replace(failure.is_none());
        match &failure {
            None => {
                known.reachable = Some(true);
                known.success = Some(now);
            }
            Some((reached, code, text)) => {
                known.reachable = Some(*reached);
                known.error = Some((code, text.clone(), now));
            }
        }
        drop(known);
        // Once a change, because callers come again and again while it lasts.
        match failure {
            None if was_well == Some(false) => log::info!("the model server answers again"),
            Some((_, _, text)) if was_well != Some(false) => log::warn!("{text}"),
            Some((_, _, text)) => log::debug!("{text}"),
            None => {}
        }
    }

    /// The kind that was found, if any.
    pub(super) fn kind(&self) -> Option<Kind> {
        lock(&self.0).kind
    }

    /// Remembers or forgets the kind.
    pub(super) fn set_kind(&self, kind: Option<Kind>) {
        lock(&self.0).kind = kind;
    }

    /// The state as of now.
    pub(super) fn snapshot(&self) -> UpstreamState {
        let known = lock(&self.0);
        UpstreamState {
            reachable: known.reachable,
            kind: known.kind,
            last_success_age: known.success.map(|at| at.elapsed()),
            last_error: known.error.as_ref().map(|(code, text, at)| PastError {
                code,
                text: text.clone(),
                age: at.elapsed(),
            }),
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Whether the newest request went without a fault of the upstream's.
    well: Option<bool>,
    reachable: Option<bool>,
    kind: Option<Kind>,
    success: Option<Instant>,
    error: Option<(&'static str, String, Instant)>,
}
