//! Whom to ask: the upstream that has a model in memory, else has it, else the default; and who
//! takes over when one cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::order;
use crate::upstream::chat::ChatEvent;
use crate::upstream::client::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::fleet::{Failed, Fleet};
use crate::upstream::models::{Model, ModelList, ModelState};
use crate::upstream::queue::pause;

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

/// What is done at the chosen upstream.
pub(super) type Ask<'a, T> =
    &'a mut dyn FnMut(&Choice, &mut dyn FnMut(ChatEvent<'_>)) -> Result<T, UpstreamError>;

/// How a list is had.
type ListOf<'a> = &'a mut dyn FnMut(&Upstream) -> Result<Arc<ModelList>, UpstreamError>;

impl Fleet {
    /// Asks the best upstream, and the next one that has the model when nothing of the request
    /// could leave; when there is no other, the same one once more after a moment, because a
    /// server that is being started again comes back.
    pub(super) fn routed<T>(
        &self,
        wanted: &Wanted<'_>,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
        ask: Ask<'_, T>,
    ) -> Result<T, Failed> {
        let mut tried: Vec<String> = Vec::new();
        let mut failed: Option<Failed> = None;
        let mut is_second_round = false;
        loop {
            let mut list_of = |upstream: &Upstream| {
                upstream.recent_list(cancel, wanted.beat, &mut || on(ChatEvent::Waiting))
            };
            let choice = match self.choose(wanted, &tried, &mut list_of) {
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

    /// Where a chat without a model would go now that the upstreams have these lists: the name of
    /// the upstream, and the model as it is called there. `upstream` is the one that the chat would
    /// name, `chosen` the model that its caller was told to use. `None`: there is no model.
    #[must_use]
    pub fn default_model(
        &self,
        upstream: Option<&str>,
        chosen: Option<&str>,
        lists: &[(String, Arc<ModelList>)],
    ) -> Option<(String, String)> {
        let wanted = Wanted { upstream, model: chosen, need: Need::Chat, beat: None };
        let mut list_of = |upstream: &Upstream| {
            let mut lists = lists.iter();
            let list = lists.find(|(name, _)| name == upstream.name());
            list.map(|(_, list)| Arc::clone(list)).ok_or(UpstreamError::NoModel { embeds: false })
        };
        let choice = self.choose(&wanted, &[], &mut list_of).ok()?;
        Some((choice.upstream.name().to_owned(), choice.name))
    }

    /// Whom to ask for what. Errors: none can be asked, or none has a model for this.
    fn choose(
        &self,
        wanted: &Wanted<'_>,
        tried: &[String],
        list_of: ListOf<'_>,
    ) -> Result<Choice, Failed> {
        let mut pool: Vec<&Arc<Upstream>> = match wanted.upstream {
            Some(name) => vec![self.named(Some(name))?],
            None => self.upstreams().iter().collect(),
        };
        let default = pool.first().copied();
        pool.retain(|upstream| tried.iter().all(|name| name != upstream.name()));
        // Whoever was down a moment ago is asked last.
        let just_down = |upstream: &&Arc<Upstream>| upstream.record.was_just_down();
        let pool = order::by(pool, |one, other| just_down(one).cmp(&just_down(other)));
        let named = wanted.model.or_else(|| match wanted.need {
            Need::Chat => pool.iter().find_map(|upstream| upstream.default_model()),
            Need::Embedding => None,
        });
        let mut best: Option<Choice> = None;
        let mut fallback = None;
        let mut failed = None;
        for upstream in pool {
            let list = match list_of(upstream) {
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
            let Some(model) = wanted.need.find(&list, named) else {
                if default.is_some_and(|default| Arc::ptr_eq(default, upstream)) {
                    fallback = Some((upstream, list));
                }
                continue;
            };
            let is_loaded = model.state == ModelState::Loaded;
            if is_loaded || best.is_none() {
                best = Some(Choice::of(upstream, model, named, &list));
            }
            if is_loaded {
                break;
            }
        }
        match (best, named, fallback, failed) {
            (Some(best), ..) => Ok(best),
            // One that lets somebody else's model answer, or says that it has none.
            (_, Some(name), Some((upstream, list)), _) if tried.is_empty() => {
                Ok(Choice::unlisted(upstream, name, Some(list)))
            }
            // One that cannot list may answer all the same.
            (_, Some(name), None, Some((upstream, failure))) if may_answer(&failure.error) => {
                Ok(Choice::unlisted(upstream, name, None))
            }
            (.., Some((_, failure))) => Err(failure),
            (_, _, Some((upstream, _)), None) => Err(Failed::at(upstream, wanted.need.unmet())),
            (_, _, None, None) => Err(Failed::nowhere(wanted.need.unmet())),
        }
    }
}

impl Need {
    /// The failure where no model does this.
    fn unmet(self) -> UpstreamError {
        UpstreamError::NoModel { embeds: self == Self::Embedding }
    }

    fn find<'a>(self, list: &'a ModelList, named: Option<&str>) -> Option<&'a Model> {
        match (named, self) {
            (Some(name), _) => list.find(name),
            (None, Self::Chat) => list.preferred(),
            (None, Self::Embedding) => list.preferred_embedding(),
        }
    }
}

impl Choice {
    fn of(
        upstream: &Arc<Upstream>,
        model: &Model,
        named: Option<&str>,
        list: &Arc<ModelList>,
    ) -> Self {
        let name = named.map_or_else(|| model.ready_name(), |name| model.name_for(name));
        Self {
            upstream: Arc::clone(upstream),
            asked: named.unwrap_or(name).to_owned(),
            name: name.to_owned(),
            list: Some(Arc::clone(list)),
        }
    }

    fn unlisted(upstream: &Arc<Upstream>, name: &str, list: Option<Arc<ModelList>>) -> Self {
        Self { upstream: Arc::clone(upstream), asked: name.to_owned(), name: name.to_owned(), list }
    }
}

/// Whether an upstream that failed to list its models may still generate.
fn may_answer(error: &UpstreamError) -> bool {
    !error.is_unsent() && !matches!(error, UpstreamError::Auth { .. } | UpstreamError::Died { .. })
}

/// A server that is being started again listens after about so long.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
