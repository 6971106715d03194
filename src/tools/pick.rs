//! Which model a call means that names none.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::mcp::CallContext;
use crate::tools::arguments::Unusable;
use crate::tools::survey::Survey;
use crate::tools::toolbox::Toolbox;
use crate::worker::lock;

/// The model that a call names, else the one that its session or the server was told to use;
/// without any the upstream decides at call time, because models come and go. A call that names
/// an upstream means that one's own model.
pub(super) fn model(
    named: Option<&str>,
    upstream_is_named: bool,
    toolbox: &Toolbox,
    context: &CallContext<'_>,
) -> Result<Option<String>, Unusable> {
    if let Some(named) = named.map(str::trim).filter(|named| !named.is_empty()) {
        return match named.strip_prefix("local://") {
            // Clients mistake a resource for a model.
            Some(_) => Err(Unusable::new(
                "$.model",
                "must be a model's id as list_models shows it, but is a resource's address",
            )),
            None => Ok(Some(named.to_owned())),
        };
    }
    Ok(if upstream_is_named { None } else { chosen(toolbox, Whose::of(context)) })
}

/// What was chosen for a caller, or for all.
fn chosen(toolbox: &Toolbox, whose: Whose<'_>) -> Option<String> {
    toolbox.choices().of(whose).or_else(|| toolbox.defaults().model.clone())
}

/// A model, and the upstream that it is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DefaultModel {
    pub(super) upstream: String,
    pub(super) name: String,
}

/// What a call without a model would be answered by, from what the upstreams have now; where the
/// survey is of one upstream, a call that names it.
pub(super) fn default_of(
    survey: &Survey,
    toolbox: &Toolbox,
    context: &CallContext<'_>,
) -> Option<DefaultModel> {
    let named = survey.named.as_deref();
    let chosen = if named.is_none() { chosen(toolbox, Whose::of(context)) } else { None };
    let found = toolbox.fleet().default_model(named, chosen.as_deref(), &survey.lists);
    found.map(|(upstream, name)| DefaultModel { upstream, name })
}

/// Whose default it is: of a session, else of a principal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    principal: &'a str,
    session: Option<&'a str>,
}

impl<'a> Whose<'a> {
    pub(super) fn of(context: &'a CallContext<'_>) -> Self {
        Self { principal: context.principal, session: context.session }
    }

    fn key(self) -> String {
        match self.session {
            Some(session) => format!("session {session}"),
            None => format!("principal {}", self.principal),
        }
    }
}

/// What callers chose.
#[derive(Debug)]
pub(super) struct Choices {
    /// How many of them are remembered.
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    server: Option<String>,
    /// With the number of the choice, for forgetting the oldest.
    own: HashMap<String, (u64, String)>,
    count: u64,
}

impl Choices {
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), state: Mutex::default() }
    }

    fn of(&self, whose: Whose<'_>) -> Option<String> {
        let state = lock(&self.state);
        let own = state.own.get(&whose.key()).map(|(_, model)| model.clone());
        own.or_else(|| state.server.clone())
    }

    /// For everybody who chose nothing.
    pub(super) fn choose_for_all(&self, model: String) {
        lock(&self.state).server = Some(model);
    }

    /// For one; past the limit the oldest choice is forgotten.
    pub(super) fn choose(&self, whose: Whose<'_>, model: String) {
        let mut state = lock(&self.state);
        state.count += 1;
        let number = state.count;
        state.own.insert(whose.key(), (number, model));
        if state.own.len() > self.max {
            let oldest = state.own.iter().min_by_key(|(_, (number, _))| *number);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                state.own.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_choice_is_forgotten_first_and_then_the_servers_holds() {
        let choices = Choices::new(2);
        let whose = |session| Whose { principal: "home", session };
        choices.choose_for_all("all".to_owned());
        choices.choose(whose(Some("a")), "one".to_owned());
        choices.choose(whose(Some("b")), "two".to_owned());
        choices.choose(whose(Some("a")), "again".to_owned());
        choices.choose(whose(None), "three".to_owned());
        let of = |session| choices.of(whose(session)).unwrap();
        assert_eq!(
            (of(Some("a")), of(Some("b")), of(None)),
            ("again".into(), "all".into(), "three".into())
        );
    }
}
