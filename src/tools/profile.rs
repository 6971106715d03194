//! Which tools clients see. A tool that no profile names is in `full` alone.

use std::fmt;

use crate::near::near;

/// What the owner wants shown.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What is shown unless single ones say otherwise.
    pub profile: Profile,
    /// Shown besides.
    pub enable: Vec<String>,
    /// Hidden all the same.
    pub disable: Vec<String>,
    /// Shown also under the names that LMStudio-MCP gave them.
    pub aliases: bool,
}

/// A set of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// As few as make sense.
    Minimal,
    /// What most people want.
    #[default]
    Standard,
    /// Everything.
    Full,
    /// The tools of the Node.js server that many come from, and nothing new.
    Classic,
}

impl Profile {
    fn shows(self, name: &str) -> bool {
        match self {
            Self::Minimal => MINIMAL.contains(&name),
            Self::Standard => CLASSIC.contains(&name) || STANDARD.contains(&name),
            Self::Full => true,
            Self::Classic => CLASSIC.contains(&name),
        }
    }
}

impl Selection {
    /// Whether a tool is shown.
    pub(super) fn shows(&self, name: &str) -> bool {
        let holds = |list: &[String]| list.iter().any(|known| known == name);
        !holds(&self.disable) && (holds(&self.enable) || self.profile.shows(name))
    }

    /// Whether a tool is shown under a name of another server's.
    pub(super) fn shows_alias(&self, name: &str) -> bool {
        let holds = |list: &[String]| list.iter().any(|known| known == name);
        !holds(&self.disable) && (holds(&self.enable) || self.aliases)
    }

    /// Errors: it names a tool that is not among `known`.
    pub(super) fn check(
        &self,
        known: impl Iterator<Item = &'static str> + Clone,
    ) -> Result<(), UnknownTool> {
        let named = || self.enable.iter().chain(&self.disable);
        let Some(name) = named().find(|name| !known.clone().any(|it| it == **name)) else {
            return Ok(());
        };
        let mut near = near(name, known.clone());
        if near.is_empty() {
            near = known.collect();
        }
        Err(UnknownTool { name: name.clone(), near: near.join(", ") })
    }
}

/// A tool is to be shown or hidden that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTool {
    /// What was named.
    pub name: String,
    /// The nearest, else all.
    pub near: String,
}

impl fmt::Display for UnknownTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no tool is named {:?}; there is {}", self.name, self.near)
    }
}

impl std::error::Error for UnknownTool {}

const MINIMAL: [&str; 2] = ["list_models", "chat"];
const CLASSIC: [&str; 8] = [
    "list_models",
    "get_model_info",
    "local_reasoning",
    "private_analysis",
    "secure_rewrite",
    "code_analysis",
    "template_completion",
    "set_default_model",
];
/// Beside those of `CLASSIC`.
const STANDARD: [&str; 5] = ["chat", "embed", "load_model", "unload_model", "server_status"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_hold_what_they_are_named_for() {
        for (name, shown) in [
            ("list_models", [true, true, true, true]),
            ("chat", [true, true, true, false]),
            ("secure_rewrite", [false, true, true, true]),
            ("load_model", [false, true, true, false]),
            ("download_model", [false, false, true, false]),
        ] {
            let all = [Profile::Minimal, Profile::Standard, Profile::Full, Profile::Classic];
            assert_eq!(all.map(|profile| profile.shows(name)), shown, "{name}");
        }
    }

    #[test]
    fn single_tools_are_shown_and_hidden_and_hiding_wins() {
        let names = |names: &[&str]| names.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let selection = Selection {
            profile: Profile::Minimal,
            enable: names(&["embed", "both"]),
            disable: names(&["chat", "both"]),
            aliases: false,
        };
        let shown = ["list_models", "chat", "embed", "both"].map(|name| selection.shows(name));
        assert_eq!(shown, [true, false, true, false]);
        let known = ["list_models", "chat", "embed", "both"];
        assert_eq!(selection.check(known.into_iter()), Ok(()));
        let told = selection.check(["list_models", "chat", "embedd"].into_iter()).unwrap_err();
        assert_eq!(told.to_string(), "no tool is named \"embed\"; there is embedd");
        let told = selection.check(["x", "y"].into_iter()).unwrap_err();
        assert_eq!(told.near, "x, y");
    }
}
