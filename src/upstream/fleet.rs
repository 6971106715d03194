//! Several upstreams as one: which of them has a model, and who is asked when one is gone.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::upstream::chat::{ChatAnswer, ChatEvent, ChatRequest};
use crate::upstream::client::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::generate::Generation;
use crate::upstream::models::{ModelList, ModelState};
use crate::upstream::queue::pause;
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
    /// What failed.
    pub error: UpstreamError,
}

impl Failed {
    /// As of [`UpstreamError::code`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.error.code()
    }

    pub(super) fn at(upstream: &Upstream, error: UpstreamError) -> Self {
        Self { upstream: upstream.name().to_owned(), error }
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

/// An upstream with what it is to be asked for.
pub(super) struct Choice {
    pub(super) upstream: Arc<Upstream>,
    /// What the model was called by whoever asked, or the chosen one.
    pub(super) asked: String,
    /// What the upstream is to be told.
    pub(super) name: String,
    pub(super) list: Option<Arc<ModelList>>,
}

/// What a model is needed for, when none was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Chat,
    Embedding,
}

/// What is asked for, before it is known whom to ask.
pub(super) struct Wanted<'a> {
    pub(super) upstream: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) need: Need,
    pub(super) beat: Option<Duration>,
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
        self.upstreams.iter().find(|upstream| upstream.name() == name).ok_or_else(|| Failed {
            upstream: String::new(),
            error: UpstreamError::UnknownUpstream {
                name: name.to_owned(),
                known: self.upstreams.iter().map(|one| one.name().to_owned()).collect(),
            },
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

    /// Asks the best upstream, and the next one that has the model when nothing of the request
    /// could leave; when there is no other, the same one once more after a moment, because a
    /// server that is being started again comes back.
    pub(super) fn routed<T>(
        &self,
        wanted: &Wanted<'_>,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
        ask: &mut dyn FnMut(&Choice, &mut dyn FnMut(ChatEvent<'_>)) -> Result<T, UpstreamError>,
    ) -> Result<T, Failed> {
        let mut tried: Vec<String> = Vec::new();
        let mut failed: Option<Failed> = None;
        let mut is_second_round = false;
        loop {
            let choice = match self.choose(wanted, &tried, cancel, on) {
                Ok(choice) => choice,
                Err(error) => {
                    // The failure of the one that was asked first says more.
                    let error = failed.take().unwrap_or(error);
                    let may_come = matches!(error.error, UpstreamError::Unreachable { .. });
                    if is_second_round || !may_come {
                        return Err(error);
                    }
                    if !pause(cancel, AGAIN_AFTER) {
                        return Err(Failed { error: UpstreamError::Cancelled, ..error });
                    }
                    on(ChatEvent::Waiting);
                    is_second_round = true;
                    tried.clear();
                    failed = Some(error);
                    continue;
                }
            };
            match ask(&choice, on) {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_unsent() => {
                    on(ChatEvent::Waiting);
                    tried.push(choice.upstream.name().to_owned());
                    failed.get_or_insert_with(|| Failed::at(&choice.upstream, error));
                }
                Err(error) => return Err(Failed::at(&choice.upstream, error)),
            }
        }
    }

    /// Whom to ask for what: the upstream that has the model in memory, else the first that has
    /// it, else the default, which will say that it has not. Errors: none can be asked, or none
    /// has a model for this.
    pub(super) fn choose(
        &self,
        wanted: &Wanted<'_>,
        tried: &[String],
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<Choice, Failed> {
        let mut pool: Vec<&Arc<Upstream>> = match wanted.upstream {
            Some(name) => vec![self.named(Some(name))?],
            None => self.upstreams.iter().collect(),
        };
        let default = pool.first().copied();
        pool.retain(|upstream| tried.iter().all(|name| name != upstream.name()));
        // Whoever was down a moment ago is asked last.
        pool.sort_by_key(|upstream| upstream.record.was_just_down());
        let named = wanted.model.or_else(|| match wanted.need {
            Need::Chat => pool.iter().find_map(|upstream| upstream.default_model()),
            Need::Embedding => None,
        });
        let mut best: Option<Choice> = None;
        let mut fallback = None;
        let mut failed = None;
        for upstream in pool {
            let mut beat = || on(ChatEvent::Waiting);
            let list = match upstream.recent_list(cancel, wanted.beat, &mut beat) {
                Ok(list) => list,
                Err(error) => {
                    let end = matches!(error, UpstreamError::Cancelled);
                    let failure = Failed::at(upstream, error);
                    if end {
                        return Err(failure);
                    }
                    failed.get_or_insert((upstream, failure));
                    continue;
                }
            };
            let found = match (named, wanted.need) {
                (Some(name), _) => list.find(name),
                (None, Need::Chat) => list.preferred(),
                (None, Need::Embedding) => list.preferred_embedding(),
            };
            let Some(model) = found else {
                if default.is_some_and(|default| Arc::ptr_eq(default, upstream)) {
                    fallback = Some((upstream, list));
                }
                continue;
            };
            let is_loaded = model.state == ModelState::Loaded;
            if is_loaded || best.is_none() {
                let name = named.map_or_else(|| model.ready_name(), |name| model.name_for(name));
                let name = name.to_owned();
                best = Some(Choice {
                    upstream: Arc::clone(upstream),
                    asked: named.map_or_else(|| name.clone(), str::to_owned),
                    name,
                    list: Some(list),
                });
            }
            if is_loaded {
                break;
            }
        }
        if let Some(best) = best {
            return Ok(best);
        }
        let unlisted = |upstream: &Arc<Upstream>, name: &str, list| Choice {
            upstream: Arc::clone(upstream),
            asked: name.to_owned(),
            name: name.to_owned(),
            list,
        };
        match (named, fallback, failed) {
            // One that lets somebody else's model answer, or says that it has none.
            (Some(name), Some((upstream, list)), _) if tried.is_empty() => {
                Ok(unlisted(upstream, name, Some(list)))
            }
            // One that cannot list may answer all the same.
            (Some(name), None, Some((upstream, failure))) if may_answer(&failure.error) => {
                Ok(unlisted(upstream, name, None))
            }
            (_, _, Some((_, failure))) => Err(failure),
            (_, Some((upstream, _)), None) => Err(Failed::at(upstream, UpstreamError::NoModel)),
            (_, None, None) => {
                Err(Failed { upstream: String::new(), error: UpstreamError::NoModel })
            }
        }
    }
}

/// Whether an upstream that failed to list its models may still generate.
fn may_answer(error: &UpstreamError) -> bool {
    !error.is_unsent() && !matches!(error, UpstreamError::Auth { .. } | UpstreamError::Died { .. })
}

/// A server that is being started again listens after about so long.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

const STACK_BYTES: usize = 512 * 1024;
