//! Several upstreams as one: which of them has a model, and who is asked when one is gone.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::cancel::Cancel;
use crate::upstream::chat::{ChatAnswer, ChatEvent, ChatRequest};
use crate::upstream::client::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::generate::Generation;
use crate::upstream::models::{Kind, ModelList};
use crate::upstream::route::{Need, Wanted};
use crate::upstream::settings::{Settings, SettingsError};
use crate::worker;

/// Every upstream of the house; the first is the default.
#[derive(Debug)]
pub struct Fleet {
    upstreams: Vec<Arc<Upstream>>,
    main: Arc<Upstream>,
}

/// A failure, and at whom.
#[derive(Debug)]
pub struct Failed {
    /// The name of the upstream; empty when none was asked.
    pub upstream: String,
    /// What that is, as far as it is known.
    pub kind: Option<Kind>,
    /// What failed.
    pub error: UpstreamError,
}

impl Failed {
    /// As of [`UpstreamError::code`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.error.code()
    }

    /// As of [`UpstreamError::next_step`].
    #[must_use]
    pub fn next_step(&self) -> Cow<'static, str> {
        self.error.next_step(self.kind)
    }

    /// The failure of one upstream.
    #[must_use]
    pub fn at(upstream: &Upstream, error: UpstreamError) -> Self {
        Self { upstream: upstream.name().to_owned(), kind: upstream.known_kind(), error }
    }

    /// A failure before any was asked.
    #[must_use]
    pub fn nowhere(error: UpstreamError) -> Self {
        Self { upstream: String::new(), kind: None, error }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// The models of one upstream, or why they are not known.
#[derive(Debug)]
pub struct Listed {
    /// Who was asked.
    pub upstream: Arc<Upstream>,
    /// What it has.
    pub models: Result<Arc<ModelList>, UpstreamError>,
}

impl Fleet {
    /// Sets the upstreams up without asking them anything. Errors: the settings cannot be used,
    /// name nobody, or give one name twice.
    pub fn new(settings: Vec<Settings>) -> Result<Self, SettingsError> {
        let mut upstreams: Vec<Arc<Upstream>> = Vec::with_capacity(settings.len());
        for one in settings {
            if upstreams.iter().any(|other| other.name() == one.name) {
                let said = format!("two model servers are called {:?}; rename one", one.name);
                return Err(SettingsError::Names(said));
            }
            upstreams.push(Arc::new(Upstream::new(one)?));
        }
        let Some(main) = upstreams.first().cloned() else {
            return Err(SettingsError::Names("no model server is named".to_owned()));
        };
        Ok(Self { upstreams, main })
    }

    /// All of them, the default first.
    #[must_use]
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// The default.
    #[must_use]
    pub fn main(&self) -> &Arc<Upstream> {
        &self.main
    }

    /// The one of this name, the default when no name is given. Errors: there is none.
    pub fn named(&self, name: Option<&str>) -> Result<&Arc<Upstream>, Failed> {
        let Some(name) = name else { return Ok(&self.main) };
        self.upstreams.iter().find(|upstream| upstream.name() == name).ok_or_else(|| {
            Failed::nowhere(UpstreamError::UnknownUpstream {
                name: name.to_owned(),
                known: self.upstreams.iter().map(|one| one.name().to_owned()).collect(),
            })
        })
    }

    /// Asks all of them for their models, at the same time; within 30 s.
    #[must_use]
    pub fn lists(&self, cancel: &Cancel) -> Vec<Listed> {
        let [_, others @ ..] = self.upstreams.as_slice() else { return Vec::new() };
        let asked: Vec<_> = others
            .iter()
            .map(|upstream| {
                let (upstream, cancel) = (Arc::clone(upstream), cancel.clone());
                worker::start("list", STACK_BYTES, move || upstream.list_models(&cancel))
            })
            .collect();
        let mut lists = vec![Listed {
            models: self.main.list_models(cancel),
            upstream: Arc::clone(&self.main),
        }];
        for (upstream, thread) in others.iter().zip(asked) {
            let models = match thread.map(std::thread::JoinHandle::join) {
                Ok(Ok(models)) => models,
                // Without a thread it is asked in its turn.
                Ok(Err(_)) | Err(_) => upstream.list_models(cancel),
            };
            lists.push(Listed { upstream: Arc::clone(upstream), models });
        }
        lists
    }

    /// Lets a model write. `on` hears of everything at once, and of silence as often as the
    /// request's `beat` says. Cut by the request's deadline, the answer is what has come until
    /// then. Errors: see [`UpstreamError`].
    pub fn chat(
        &self,
        request: &ChatRequest,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, Failed> {
        let begun = Instant::now();
        let wanted = Wanted {
            upstream: request.upstream.as_deref(),
            model: request.model.as_deref(),
            need: Need::Chat,
            beat: request.beat,
        };
        self.routed(&wanted, cancel, on, &mut |choice, on| {
            let upstream = &choice.upstream;
            let length = request.deadline.unwrap_or(upstream.settings.limits.call);
            let mut generation = Generation {
                upstream,
                request,
                asked: choice.asked.clone(),
                name: choice.name.clone(),
                list: choice.list.clone(),
                cancel,
                begun,
                length,
            };
            generation.run(on)
        })
    }
}

const STACK_BYTES: usize = 512 * 1024;
