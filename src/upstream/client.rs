//! Asks an upstream: lists its models and lets one of them answer.

use std::fmt;
use std::time::Duration;

use ureq::http::Uri;

use crate::cancel::Cancel;
use crate::upstream::call::Call;
use crate::upstream::chat::{ChatAnswer, ChatEvent, ChatRequest};
use crate::upstream::error::UpstreamError;
use crate::upstream::exchange::Exchange;
use crate::upstream::fault::Said;
use crate::upstream::generate::Generation;
use crate::upstream::models::{Kind, ModelList};
use crate::upstream::settings::{BaseUrl, Settings, SettingsError};
use crate::upstream::shapes::read_list;
use crate::upstream::state::{Record, UpstreamState};

/// A model server. Its calls block, on as many threads as like, until they have an answer, a
/// named timeout fires, or their [`Cancel`] does.
pub struct Upstream {
    settings: Settings,
    exchange: Exchange,
    lists: Vec<(Kind, Uri)>,
    completions: Uri,
    record: Record,
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
        let url = &settings.base_url;
        let mut lists = Vec::with_capacity(Kind::ALL.len());
        for kind in Kind::ALL {
            lists.push((kind, url.join(kind.list_path())?));
        }
        Ok(Self {
            exchange: Exchange::new(&settings)?,
            lists,
            completions: url.join("/v1/chat/completions")?,
            record: Record::default(),
            settings,
        })
    }

    /// Its address.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.settings.base_url
    }

    /// What is known about it without asking.
    #[must_use]
    pub fn state(&self) -> UpstreamState {
        self.record.snapshot()
    }

    /// Looks what it is and how many models it has. Errors: as of [`Upstream::list_models`].
    pub fn probe(&self, cancel: &Cancel) -> Result<Probe, UpstreamError> {
        let list = self.list_models(cancel)?;
        Ok(Probe { kind: list.kind, models: list.models.len() })
    }

    /// Every model it has. Once its kind is known this is one request, within 30 s.
    /// Errors: see [`UpstreamError`].
    pub fn list_models(&self, cancel: &Cancel) -> Result<ModelList, UpstreamError> {
        let outcome = self.list(cancel);
        self.record.note(&outcome);
        outcome
    }

    /// Lets a model answer. `on` hears of every piece and, as often as the request's `beat` says,
    /// of silence. Cut by the request's deadline, the answer is what has come until then.
    /// Errors: see [`UpstreamError`].
    pub fn chat(
        &self,
        request: &ChatRequest,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, UpstreamError> {
        let generation = Generation {
            exchange: &self.exchange,
            uri: &self.completions,
            limits: self.settings.limits,
            reply_bytes_max: self.settings.reply_bytes_max,
        };
        let outcome = generation.run(request, cancel, on);
        self.record.note(&outcome);
        match outcome {
            Err(UpstreamError::ModelNotFound { model, .. }) => Err(self.unknown(model, cancel)),
            outcome => outcome,
        }
    }

    /// An unknown model with the names that would have been right, where they can be had.
    fn unknown(&self, model: String, cancel: &Cancel) -> UpstreamError {
        let Ok(list) = self.list_models(cancel) else {
            return UpstreamError::ModelNotFound { model, near: Vec::new(), available: Vec::new() };
        };
        let near = list.near(&model);
        let available = list.models.into_iter().map(|model| model.id).collect();
        UpstreamError::ModelNotFound { model, near, available }
    }

    fn list(&self, cancel: &Cancel) -> Result<ModelList, UpstreamError> {
        let known = self.record.kind();
        if let Some((kind, uri)) = self.lists.iter().find(|(kind, _)| Some(*kind) == known) {
            match self.list_as(*kind, uri, cancel)? {
                Listed::Models(list) => return Ok(list),
                Listed::Failed(error) => return Err(error),
                // Another server than before answers here.
                Listed::OtherShape(_) => self.record.set_kind(None),
            }
        }
        let mut failure = UpstreamError::Cancelled;
        for (kind, uri) in &self.lists {
            failure = match self.list_as(*kind, uri, cancel)? {
                Listed::Models(list) => {
                    self.record.set_kind(Some(*kind));
                    return Ok(list);
                }
                // A token is wanted by the whole server, not by one of its paths.
                Listed::Failed(error @ UpstreamError::Auth { .. }) => return Err(error),
                Listed::Failed(error) | Listed::OtherShape(error) => error,
            };
        }
        Err(failure)
    }

    /// Asks in one shape. Errors: there was no answer at all.
    fn list_as(&self, kind: Kind, uri: &Uri, cancel: &Cancel) -> Result<Listed, UpstreamError> {
        let mut limits = self.settings.limits;
        limits.call = limits.call.min(LIST_TIME_MAX);
        let call = Call::new(cancel, limits, None);
        let _entered = call.enter();
        let (status, body) = self.exchange.get(uri, &call)?;
        if let Some(list) = read_list(kind, &body) {
            return Ok(Listed::Models(list));
        }
        let token_sent = self.exchange.sends_token();
        let Some(said) = Said::in_body(&body) else {
            let error = Said::plain(&body).into_error(status, None, token_sent);
            return Ok(match error {
                UpstreamError::Auth { .. } => Listed::Failed(error),
                _ if status >= 500 => Listed::Failed(error),
                _ => Listed::OtherShape(UpstreamError::Answered {
                    status,
                    said: "that is no list of models".to_owned(),
                    partial: String::new(),
                }),
            });
        };
        let unknown = matches!(status, 404 | 405) || said.is_unknown_endpoint();
        let error = said.into_error(status, None, token_sent);
        Ok(if unknown { Listed::OtherShape(error) } else { Listed::Failed(error) })
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What came back for a list.
enum Listed {
    Models(ModelList),
    /// The server has this list, but not now or not for us.
    Failed(UpstreamError),
    /// The server is of another kind.
    OtherShape(UpstreamError),
}

/// A list is read from memory; a server that takes longer is stuck, and a person waits.
const LIST_TIME_MAX: Duration = Duration::from_secs(30);
