//! What was generated since the start, counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::tools::generate::tenths;
use crate::tools::outcome::object;
use crate::upstream::ChatAnswer;
use crate::worker::lock;

/// The counters.
#[derive(Debug)]
pub(super) struct Counters {
    begun: Instant,
    models: Mutex<BTreeMap<String, Count>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    calls: u64,
    failed: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Of the answers whose tokens were counted.
    writing: Duration,
    written: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { begun: Instant::now(), models: Mutex::default() }
    }
}

impl Counters {
    /// Since the start.
    pub(super) fn uptime(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A question was put to a model, with this answer, or none.
    pub(super) fn note(&self, model: Option<&str>, answer: Option<&ChatAnswer>) {
        let name = answer.map(|answer| answer.model.as_str()).or(model).unwrap_or("none");
        let mut models = lock(&self.models);
        let known = models.len() < MODELS_MAX || models.contains_key(name);
        let count = models.entry(if known { name } else { OTHERS }.to_owned()).or_default();
        count.calls += 1;
        let Some(answer) = answer else {
            count.failed += 1;
            return;
        };
        count.prompt_tokens += u64::from(answer.usage.prompt_tokens.unwrap_or(0));
        let Some(written) = answer.usage.completion_tokens else { return };
        count.completion_tokens += u64::from(written);
        if let Some(writing) = answer.first_token.and_then(|first| answer.total.checked_sub(first))
        {
            count.writing += writing;
            count.written += u64::from(written);
        }
    }

    /// As the resource shows them.
    pub(super) fn shown(&self) -> Value {
        let models = lock(&self.models).clone();
        let mut all = Count::default();
        let told: Map<String, Value> = models
            .into_iter()
            .map(|(name, count)| {
                all.calls += count.calls;
                all.failed += count.failed;
                all.prompt_tokens += count.prompt_tokens;
                all.completion_tokens += count.completion_tokens;
                (name, one(&count))
            })
            .collect();
        let mut shown = one(&all);
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("tokensPerSecond");
            shown.insert("uptimeSeconds".to_owned(), self.uptime().as_secs().into());
            shown.insert("models".to_owned(), told.into());
        }
        shown
    }
}

fn one(count: &Count) -> Value {
    let seconds = count.writing.as_secs_f64();
    let written = u32::try_from(count.written).map_or(0.0, f64::from);
    object!({
        "calls": count.calls,
        "failed": count.failed,
        "promptTokens": count.prompt_tokens,
        "completionTokens": count.completion_tokens,
        "tokensPerSecond": (seconds > 0.0).then(|| tenths(written / seconds)),
    })
}

/// A home has a few models; upstreams that make names up must not fill the memory.
const MODELS_MAX: usize = 64;
const OTHERS: &str = "others";
