//! One upstream: asks it what it is and what it has, and lets others ask it further.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::upstream::body::Without;
use crate::upstream::call::Call;
use crate::upstream::error::UpstreamError;
use crate::upstream::exchange::{Exchange, Reply};
use crate::upstream::fault::Said;
use crate::upstream::models::{Kind, ModelList};
use crate::upstream::pulls::Pulls;
use crate::upstream::queue::Queue;
use crate::upstream::settings::{BaseUrl, Settings, SettingsError};
use crate::upstream::state::{Record, UpstreamState};
use crate::upstream::survey::Survey;
use crate::worker::lock;

/// A model server. Its calls block, on as many threads as like, until they have an answer, a
/// named timeout fires, or their [`Cancel`] does.
pub struct Upstream {
    pub(super) settings: Settings,
    pub(super) exchange: Arc<Exchange>,
    pub(super) record: Record,
    pub(super) queue: Queue,
    pub(super) pulls: Pulls,
    without: Mutex<Without>,
}

/// What a first look at an upstream found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The API it speaks.
    pub kind: Kind,
    /// How many models it has.
    pub models: usize,
}

impl Upstream {
    /// Sets an upstream up without asking it anything. Errors: the settings cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            exchange: Arc::new(Exchange::new(&settings)?),
            record: Record::default(),
            queue: Queue::new(settings.concurrency, settings.queue),
            pulls: Pulls::default(),
            without: Mutex::default(),
            settings,
        })
    }

    /// What people and programs call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Its address.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.settings.base_url
    }

    /// The model of calls that name none, where the settings name one.
    #[must_use]
    pub fn default_model(&self) -> Option<&str> {
        self.settings.default_model.as_deref()
    }

    /// Whether it is asked with a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.exchange.sends_token()
    }

    /// What it is: as it was found, or else as the settings say.
    #[must_use]
    pub fn known_kind(&self) -> Option<Kind> {
        self.state().kind.or(self.settings.kind)
    }

    /// What is known about it without asking.
    #[must_use]
    pub fn state(&self) -> UpstreamState {
        self.record.snapshot(self.queue.load())
    }

    /// Looks what it is and how many models it has. Errors: as of [`Upstream::list_models`].
    pub fn probe(&self, cancel: &Cancel) -> Result<Probe, UpstreamError> {
        let list = self.list_models(cancel)?;
        Ok(Probe { kind: list.kind, models: list.models.len() })
    }

    /// Every model it has. Once its kind is known this is one request (two of Ollama), within
    /// 30 s. Errors: see [`UpstreamError`].
    pub fn list_models(&self, cancel: &Cancel) -> Result<Arc<ModelList>, UpstreamError> {
        self.look(cancel, None, &mut || ())
    }

    /// The same, or what it had a moment ago; `on_beat` is called every `beat` of silence.
    pub(super) fn recent_list(
        &self,
        cancel: &Cancel,
        beat: Option<Duration>,
        on_beat: &mut dyn FnMut(),
    ) -> Result<Arc<ModelList>, UpstreamError> {
        match self.record.list(RECENT) {
            Some(list) => Ok(list),
            None => self.look(cancel, beat, on_beat),
        }
    }

    /// As [`Upstream::list_models`]; `on_beat` is called every `beat` of silence.
    pub(super) fn look(
        &self,
        cancel: &Cancel,
        beat: Option<Duration>,
        on_beat: &mut dyn FnMut(),
    ) -> Result<Arc<ModelList>, UpstreamError> {
        let begun = Instant::now();
        let until = begun + LIST_TIME_MAX.min(self.settings.limits.call);
        let limits = self.settings.limits;
        let seen = self.record.seen();
        let mut survey =
            Survey { exchange: &self.exchange, limits, cancel, until, beat, on_beat, seen };
        let outcome = self.survey(&mut survey, begun);
        self.record.saw(survey.seen);
        self.record.note(self.name(), &outcome);
        outcome
    }

    fn survey(
        &self,
        survey: &mut Survey<'_>,
        begun: Instant,
    ) -> Result<Arc<ModelList>, UpstreamError> {
        if let Some(kind) = self.record.kind() {
            if let Some(list) = survey.again(kind)? {
                self.record.found(&list, None, begun.elapsed());
                return Ok(list);
            }
            // Another server than before answers here.
            self.record.forget_kind();
        }
        *lock(&self.without) = Without::default();
        let found = survey.detect(self.settings.kind)?;
        let list = found.list;
        self.record.found(&list, Some(found.version), begun.elapsed());
        Ok(list)
    }

    /// Its kind, asked for where it is not known; `on_beat` is called every `beat` of silence.
    pub(super) fn kind(
        &self,
        cancel: &Cancel,
        beat: Option<Duration>,
        on_beat: &mut dyn FnMut(),
    ) -> Result<Kind, UpstreamError> {
        match self.record.kind() {
            Some(kind) => Ok(kind),
            None => Ok(self.look(cancel, beat, on_beat)?.kind),
        }
    }

    /// What it was found to refuse.
    pub(super) fn without(&self) -> Without {
        *lock(&self.without)
    }

    /// Remembers what it refuses.
    pub(super) fn do_without(&self, without: Without) {
        *lock(&self.without) = without;
    }

    /// GETs JSON; `on_beat` is called every `beat` of silence. Errors: as of [`Upstream::ask`].
    pub(super) fn fetch(
        &self,
        path: &str,
        cancel: &Cancel,
        beat: Option<Duration>,
        on_beat: &mut dyn FnMut(),
    ) -> Result<Vec<u8>, UpstreamError> {
        let call = Call::new(cancel, self.settings.limits, beat);
        let _entered = call.enter();
        let replied = self.exchange.get(path, &call, on_beat);
        self.judge(replied, None)
    }

    /// POSTs JSON and reads the whole answer, which blocks until a limit fires; `on_beat` is
    /// called every `beat` of silence. Errors: it is one, whatever its status.
    pub(super) fn ask(
        &self,
        path: &str,
        json: &[u8],
        model: Option<&str>,
        call: &Call,
        on_beat: &mut dyn FnMut(),
    ) -> Result<Vec<u8>, UpstreamError> {
        let response = self.exchange.post(path, json, call, on_beat);
        let replied = response.and_then(|response| self.exchange.reply(response, call, on_beat));
        self.judge(replied, model)
    }

    fn judge(
        &self,
        replied: Result<Reply, UpstreamError>,
        model: Option<&str>,
    ) -> Result<Vec<u8>, UpstreamError> {
        let judged = replied.and_then(|Reply { status, body }| match Said::in_body(&body) {
            Some(said) => Err(said.into_error(status, model, self.has_token())),
            None if (200..300).contains(&status) => Ok(body),
            None => Err(Said::plain(&body).into_error(status, model, self.has_token())),
        });
        self.record.note(self.name(), &judged);
        judged
    }

    /// An unknown model with the names that would have been right, where they can be had.
    pub(super) fn unknown(&self, model: &str, cancel: &Cancel) -> UpstreamError {
        let list = self.recent_list(cancel, None, &mut || ());
        unknown_in(list.as_deref().ok(), model)
    }
}

/// An unknown model with the names that a list has.
pub(super) fn unknown_in(list: Option<&ModelList>, model: &str) -> UpstreamError {
    UpstreamError::ModelNotFound {
        model: model.to_owned(),
        near: list.map(|list| list.near(model)).unwrap_or_default(),
        available: list
            .map(|list| list.models.iter().map(|model| model.id.clone()).collect())
            .unwrap_or_default(),
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A list is read from memory; a server that takes longer is stuck, and a person waits.
const LIST_TIME_MAX: Duration = Duration::from_secs(30);

/// What a call may take for granted about the models: calls that follow each other quickly ask
/// once.
const RECENT: Duration = Duration::from_secs(2);
