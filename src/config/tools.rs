//! Which tools clients see. Knows no tool; their names are checked where they are known.

use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::source::{Given, Setting, Source};

/// Which tools clients see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolsConfig {
    /// What is shown unless single ones say otherwise.
    pub profile: Profile,
    /// Shown besides.
    pub enable: Vec<String>,
    /// Hidden all the same.
    pub disable: Vec<String>,
    /// Sets of other servers' names under which our tools are shown too.
    pub aliases: Vec<String>,
}

/// A set of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// As few as make sense: they cost the client's model attention.
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
    const ALL: [(&'static str, Self); 4] = [
        ("minimal", Self::Minimal),
        ("standard", Self::Standard),
        ("full", Self::Full),
        ("classic", Self::Classic),
    ];
}

/// Resolves profile, single tools and aliases. Errors: a value that cannot be used.
pub(super) fn tools(source: &mut Source<'_>, flags: &Flags) -> Result<ToolsConfig, ConfigError> {
    let show = |profile: &Profile| {
        let named = Profile::ALL.iter().find(|(_, it)| it == profile);
        named.map_or("", |(name, _)| name).to_owned()
    };
    let profile =
        source.parsed(PROFILE, flags.profile.as_deref(), profile, Profile::default, show)?;
    let joined = (!flags.tools.is_empty()).then(|| flags.tools.join(","));
    let mut config = ToolsConfig { profile, ..ToolsConfig::default() };
    match source.given(TOOLS, joined.as_deref()) {
        Some(given) => {
            for part in given.parts() {
                match part.text.split_at_checked(1) {
                    Some(("+", name)) => config.enable.push(name.to_owned()),
                    Some(("-", name)) => config.disable.push(name.to_owned()),
                    _ => return Err(part.wrong("says neither + nor -", "type +NAME or -NAME")),
                }
            }
            source.note(TOOLS, given.text, given.origin);
        }
        None => {
            let mut shown = Vec::new();
            let mut origin = Origin::Default;
            for (key, sign, names) in [
                ("tools.enable", '+', &mut config.enable),
                ("tools.disable", '-', &mut config.disable),
            ] {
                let Some(given) = source.file.given(key, None) else { continue };
                origin = given.origin;
                names.extend(given.parts().map(|part| part.text));
                shown.extend(names.iter().map(|name| format!("{sign}{name}")));
            }
            let shown = if shown.is_empty() { "none".to_owned() } else { shown.join(",") };
            source.note(TOOLS, shown, origin);
        }
    }
    config.aliases = source.list(ALIASES, &[], alias)?;
    Ok(config)
}

fn alias(given: &Given) -> Result<String, ConfigError> {
    if given.text == ALIAS_SET {
        return Ok(given.text.clone());
    }
    Err(given.wrong("is no set of aliases", format!("write {ALIAS_SET}")))
}

fn profile(given: &Given) -> Result<Profile, ConfigError> {
    let known = Profile::ALL.iter().find(|(name, _)| given.text.eq_ignore_ascii_case(name));
    known
        .map(|(_, profile)| *profile)
        .ok_or_else(|| given.wrong("is no profile", "type minimal, standard, full or classic"))
}

/// The names of LMStudio-MCP.
const ALIAS_SET: &str = "lmstudio-mcp";
const PROFILE: Setting =
    Setting { flag: "--profile", key: "tools.profile", variables: &["MCP_PROFILE"] };
const TOOLS: Setting = Setting { flag: "--tools", key: "", variables: &["MCP_TOOLS"] };
const ALIASES: Setting = Setting { flag: "", key: "tools.aliases", variables: &[] };
