//! What was seen of the upstream the last time, and which resources are no longer the same.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::mcp::Change;
use crate::tools::address::{self, CAPABILITIES, MODELS, STATUS};
use crate::tools::model_view::loaded;
use crate::upstream::{Model, ModelList};
use crate::worker::lock;

/// One look at the upstream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sight {
    /// Its models, or the code of the failure in their place.
    pub(super) models: Result<ModelList, &'static str>,
    /// Whether it answered at all.
    pub(super) reachable: Option<bool>,
}

impl Sight {
    /// The resources whose contents differ, times and ages aside.
    fn changes_to(&self, now: &Self) -> Vec<Change> {
        let mut changed = Vec::new();
        if self.models != now.models {
            changed.extend([MODELS.to_owned(), CAPABILITIES.to_owned()]);
        }
        if self.shown_as_status() != now.shown_as_status() {
            changed.push(STATUS.to_owned());
        }
        let (before, after) = (self.by_id(), now.by_id());
        for (id, model) in &before {
            if after.get(id) != Some(model) {
                changed.push(address::of_model(id));
            }
        }
        let new = after.keys().filter(|id| !before.contains_key(*id));
        changed.extend(new.map(|id| address::of_model(id)));
        changed.into_iter().map(Change::Resource).collect()
    }

    fn by_id(&self) -> BTreeMap<&str, &Model> {
        let models = self.models.as_ref().map(|list| list.models.as_slice()).unwrap_or_default();
        models.iter().map(|model| (model.id.as_str(), model)).collect()
    }

    fn shown_as_status(&self) -> impl PartialEq + use<'_> {
        let list = self.models.as_ref();
        let told = list.map(|list| (list.kind, list.models.len(), loaded(list)));
        (self.reachable, told)
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
        Sight { models: Ok(ModelList { kind: Kind::LmStudio, models }), reachable: Some(true) }
    }

    fn down() -> Sight {
        Sight { models: Err("UPSTREAM_UNREACHABLE"), reachable: Some(false) }
    }

    fn look(seen: &Seen, now: Sight) -> Vec<String> {
        let changes = seen.look(now).into_iter();
        let uri = |change| match change {
            Change::Resource(uri) => uri,
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
            [MODELS, CAPABILITIES, STATUS, "local://models/b", "local://models/c/d"]
        );
        // The order of the list is part of it, but not of the status.
        assert_eq!(look(&seen, up(&[("c/d", NotLoaded), ("a", Loaded)])), [MODELS, CAPABILITIES]);
        assert_eq!(
            look(&seen, down()),
            [MODELS, CAPABILITIES, STATUS, "local://models/a", "local://models/c/d"]
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
