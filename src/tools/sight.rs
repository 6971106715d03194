//! What was seen of the upstream the last time, and which resources are no longer the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::mcp::Change;
use crate::tools::address::{self, CAPABILITIES, MODELS, STATUS};
use crate::tools::model_view::loaded;
use crate::upstream::{Listed, Model, ModelList, UpstreamError};
use crate::worker::lock;

/// One look at the upstreams.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sight(Vec<One>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
struct One {
    name: String,
    /// Its models, or the code of the failure in their place.
    models: Result<Arc<ModelList>, &'static str>,
    /// Whether it answered at all.
    reachable: Option<bool>,
}

impl Sight {
    /// What was just found.
    pub(super) fn of(lists: &[Listed]) -> Self {
        let one = |listed: &Listed| One {
            name: listed.upstream.name().to_owned(),
            models: listed.models.as_ref().map(Arc::clone).map_err(UpstreamError::code),
            reachable: listed.upstream.state().reachable,
        };
        Self(lists.iter().map(one).collect())
    }

    /// The resources whose contents differ, times and ages aside, and whether the set of models does.
    fn changes_to(&self, now: &Self) -> Vec<Change> {
        let mut changed = Vec::new();
        let models =
            |sight: &Self| sight.0.iter().map(|one| one.models.clone()).collect::<Vec<_>>();
        if models(self) != models(now) {
            changed.extend([MODELS.to_owned(), CAPABILITIES.to_owned()]);
        }
        if self.shown_as_status() != now.shown_as_status() {
            changed.push(STATUS.to_owned());
        }
        let (before, after) = (self.by_id(), now.by_id());
        for (id, models) in &before {
            if after.get(id) != Some(models) {
                changed.push(address::of_model(id));
            }
        }
        let new = after.keys().filter(|id| !before.contains_key(*id));
        changed.extend(new.map(|id| address::of_model(id)));
        let set_differs = !before.keys().eq(after.keys());
        let changes = changed.into_iter().map(Change::Resource);
        changes.chain(set_differs.then_some(Change::ResourcesList)).collect()
    }

    fn by_id(&self) -> BTreeMap<&str, Vec<(&str, &Model)>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for one in &self.0 {
            for model in one.models.iter().flat_map(|list| &list.models) {
                all.entry(model.id.as_str()).or_default().push((one.name.as_str(), model));
            }
        }
        all
    }

    fn shown_as_status(&self) -> impl PartialEq + use<'_> {
        let told = |one: &'_ One| {
            let list = one.models.as_ref();
            let shown = list.map(|list| {
                let ids = loaded(list).map(|ids| ids.into_iter().map(str::to_owned).collect());
                (list.kind, list.models.len(), ids as Option<Vec<String>>)
            });
            (one.reachable, shown.map_err(|code| *code))
        };
        self.0.iter().map(told).collect::<Vec<_>>()
    }
}

/// The newest look.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<Sight>>);

impl Seen {
    /// Somebody was shown this: what differs from it later is news, even in the first look.
    pub(super) fn begin(&self, now: impl FnOnce() -> Sight) {
        let mut seen = lock(&self.0);
        if seen.is_none() {
            *seen = Some(now());
        }
    }

    /// Takes a new look and tells what has changed since the one before.
    pub(super) fn look(&self, now: Sight) -> Vec<Change> {
        let mut seen = lock(&self.0);
        let changes = seen.as_ref().map(|before| before.changes_to(&now)).unwrap_or_default();
        *seen = Some(now);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Kind, ModelState, ModelType};

    fn up(models: &[(&str, ModelState)]) -> Sight {
        let model = |(id, state): &(&str, ModelState)| {
            Model::named((*id).to_owned(), ModelType::Llm, *state)
        };
        let models = models.iter().map(model).collect();
        let list = ModelList { kind: Kind::LmStudio, models };
        one(Ok(Arc::new(list)), true)
    }

    fn down() -> Sight {
        one(Err("UPSTREAM_UNREACHABLE"), false)
    }

    fn one(models: Result<Arc<ModelList>, &'static str>, reachable: bool) -> Sight {
        Sight(vec![One { name: "desk".to_owned(), models, reachable: Some(reachable) }])
    }

    fn look(seen: &Seen, now: Sight) -> Vec<String> {
        let changes = seen.look(now).into_iter();
        let uri = |change| match change {
            Change::Resource(uri) => uri,
            Change::ResourcesList => "list".to_owned(),
            other => panic!("{other:?}"),
        };
        changes.map(uri).collect()
    }

    #[test]
    fn only_what_differs_from_the_last_look_is_news() {
        use ModelState::{Loaded, NotLoaded};
        let seen = Seen::default();
        assert!(look(&seen, up(&[("a", Loaded), ("b", NotLoaded)])).is_empty());
        assert!(look(&seen, up(&[("a", Loaded), ("b", NotLoaded)])).is_empty());
        assert_eq!(
            look(&seen, up(&[("a", Loaded), ("b", Loaded)])),
            [MODELS, CAPABILITIES, STATUS, "local://models/b"]
        );
        assert_eq!(
            look(&seen, up(&[("a", Loaded), ("c/d", NotLoaded)])),
            [MODELS, CAPABILITIES, STATUS, "local://models/b", "local://models/c/d", "list"]
        );
        // The order of the list is part of it, but not of the status.
        assert_eq!(look(&seen, up(&[("c/d", NotLoaded), ("a", Loaded)])), [MODELS, CAPABILITIES]);
        assert_eq!(
            look(&seen, down()),
            [MODELS, CAPABILITIES, STATUS, "local://models/a", "local://models/c/d", "list"]
        );
        assert!(look(&seen, down()).is_empty());
        assert_eq!(look(&seen, up(&[])), [MODELS, CAPABILITIES, STATUS]);
    }

    #[test]
    fn what_somebody_has_read_is_the_first_look() {
        let seen = Seen::default();
        seen.begin(down);
        seen.begin(|| up(&[]));
        assert!(look(&seen, down()).is_empty());
        assert_eq!(look(&seen, up(&[])), [MODELS, CAPABILITIES, STATUS]);
    }
}
