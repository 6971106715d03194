//! Completion of arguments while somebody types them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::mcp::{Completion, Completions, Reference};
use crate::tools::address;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Listed, ModelType};
use crate::worker::lock;

/// The values that continue what was typed; none for what is not known.
pub(super) fn complete(toolbox: &Toolbox, what: &Completion, cancel: &Cancel) -> Completions {
    let values = match &what.reference {
        Reference::Prompt(name) if toolbox.all_prompts().wants_model(name, &what.argument) => {
            toolbox.names(true, cancel)
        }
        Reference::Prompt(_) => Vec::new(),
        Reference::Resource(uri) if uri == address::MODEL && what.argument == "id" => {
            toolbox.names(false, cancel)
        }
        Reference::Resource(_) => Vec::new(),
    };
    Completions { values: matching(values, &what.value) }
}

/// First those that begin with what was typed, then those that hold it, in their order.
fn matching(values: Vec<String>, typed: &str) -> Vec<String> {
    let typed = typed.trim().to_lowercase();
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for value in values {
        let lower = value.to_lowercase();
        if lower.starts_with(&typed) {
            first.push(value);
        } else if lower.contains(&typed) {
            then.push(value);
        }
    }
    first.append(&mut then);
    first
}

/// The names of the models, kept for a few seconds: every key that somebody presses asks for them,
/// and an upstream that is down must not make each of them wait.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Option<(Instant, Vec<Name>)>>);

#[derive(Clone, Debug)]
struct Name {
    id: String,
    chats: bool,
}

impl Names {
    /// Every id, or those of models that chat. `None`: it is not known, or no longer.
    pub(super) fn known(&self, chats_only: bool, now: Instant) -> Option<Vec<String>> {
        let kept = lock(&self.0);
        let (at, names) = kept.as_ref()?;
        let names = names.iter().filter(|name| name.chats || !chats_only);
        (now.saturating_duration_since(*at) < KEPT)
            .then(|| names.map(|name| name.id.clone()).collect())
    }

    /// Keeps the names of the lists that could be had, each once.
    pub(super) fn keep(&self, lists: &[Listed], now: Instant) {
        let mut names: Vec<Name> = Vec::new();
        for model in lists.iter().filter_map(|it| it.models.as_ref().ok()).flat_map(|it| &it.models)
        {
            if !names.iter().any(|name| name.id == model.id) {
                let chats = model.model_type == ModelType::Llm;
                names.push(Name { id: model.id.clone(), chats });
            }
        }
        *lock(&self.0) = Some((now, names));
    }
}

/// As long as somebody types at one word.
const KEPT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_as_typed_comes_before_what_only_holds_it() {
        let values = || ["qwen/qwen3", "openai/gpt-oss", "GPT-2"].map(str::to_owned).to_vec();
        assert_eq!(matching(values(), "gpt"), ["GPT-2", "openai/gpt-oss"]);
        assert_eq!(matching(values(), ""), values());
        assert!(matching(values(), "claude").is_empty());
    }

    #[test]
    fn names_are_kept_for_one_word_and_a_failure_as_well() {
        let names = Names::default();
        let now = Instant::now();
        assert_eq!(names.known(false, now), None);
        names.keep(&[], now);
        assert_eq!(names.known(false, now), Some(Vec::new()));
        assert_eq!(names.known(false, now + KEPT), None);
    }
}
