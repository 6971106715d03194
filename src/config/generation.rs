//! How models are asked where a call does not say; keys of the configuration file alone, `conversations` included.

use std::time::Duration;

use super::error::ConfigError;
use super::resolve::yes_or_no;
use super::source::{Given, Setting, Source};
use super::upstream::seconds_of;

/// How models are asked where a call does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// The most tokens of an answer; without it the model server decides.
    pub default_max_tokens: Option<u32>,
    /// How long a call may take that does not say so itself (`timeout_s`), as long as clients wait
    /// for one; without it as long as its upstream's `call_timeout`.
    pub default_timeout: Option<Duration>,
    /// How long before either of these two an answer ends with what there is, so that it still
    /// arrives. A call's own `timeout_s` is meant for the answer and kept as it is.
    pub deadline_margin: Duration,
    /// Whether an answer comes with the reasoning before it.
    pub include_reasoning: bool,
    /// Whether conversations are kept between calls.
    pub conversations: bool,
}

/// Resolves `[generation]` and `conversations`. Errors: a value that cannot be used.
pub(super) fn generation(source: &mut Source<'_>) -> Result<Generation, ConfigError> {
    let show = |yes: &bool| yes.to_string();
    Ok(Generation {
        default_max_tokens: source.optional(MAX_TOKENS, None, tokens)?,
        default_timeout: source.optional(TIMEOUT, None, seconds_of)?,
        deadline_margin: source.parsed(
            MARGIN,
            None,
            margin,
            || Duration::ZERO,
            |time| time.as_secs().to_string(),
        )?,
        include_reasoning: source.parsed(REASONING, None, yes_or_no, || false, show)?,
        conversations: source.parsed(CONVERSATIONS, None, yes_or_no, || false, on_or_off)?,
    })
}

fn tokens(given: &Given) -> Result<u32, ConfigError> {
    let number = given.text.parse().ok().filter(|number| (1..=TOKENS_MAX).contains(number));
    number.ok_or_else(|| given.wrong("is no number of tokens", "write 1 to 131072"))
}

fn margin(given: &Given) -> Result<Duration, ConfigError> {
    if given.text == "0" { Ok(Duration::ZERO) } else { seconds_of(given) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what Source::parsed shows values with")]
fn on_or_off(on: &bool) -> String {
    if *on { "on" } else { "off" }.to_owned()
}

const fn key(key: &'static str) -> Setting {
    Setting { flag: "", key, variables: &[] }
}

const MAX_TOKENS: Setting = key("generation.default_max_tokens");
const TIMEOUT: Setting = key("generation.default_timeout_s");
const MARGIN: Setting = key("generation.deadline_margin_s");
const REASONING: Setting = key("generation.include_reasoning");
const CONVERSATIONS: Setting = key("conversations");
/// The longest window of any model that people have at home.
const TOKENS_MAX: u32 = 131_072;
