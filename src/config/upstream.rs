//! Where the model servers are, how to speak to them, and how long they may take.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::resolve::path;
use super::source::{Given, Setting, Source};
use super::whereabouts::{NAME_DEFAULT, decide, named, parse_url, single};

/// One model server.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// What people call it: `[A-Za-z0-9_.-]{1,32}`; no two are the same.
    pub name: String,
    /// `scheme://host[:port]`, with a path where one was given; no slash at the end.
    pub url: String,
    /// What it is, where that is not to be found out.
    pub kind: UpstreamKind,
    /// Sent to this server alone, as a bearer.
    pub token: Option<Secret>,
    /// A private CA that its certificate may come from, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Its model for calls that name none.
    pub default_model: Option<String>,
    /// Generations at once.
    pub concurrency: usize,
    /// Generations waiting.
    pub queue: usize,
    /// Until a connection stands, name resolution included.
    pub connect_timeout: Duration,
    /// Until the first token: a large model may have to be loaded first.
    pub prefill_timeout: Duration,
    /// Between two tokens.
    pub idle_timeout: Duration,
    /// One call as a whole.
    pub call_timeout: Duration,
}

/// What a model server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamKind {
    /// To be found out.
    #[default]
    Auto,
    /// LM Studio.
    LmStudio,
    /// Ollama.
    Ollama,
    /// llama.cpp's server.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// Anything else that speaks the OpenAI-compatible API.
    OpenAi,
}

impl UpstreamKind {
    const ALL: [(&'static str, Self); 6] = [
        ("auto", Self::Auto),
        ("lmstudio", Self::LmStudio),
        ("ollama", Self::Ollama),
        ("llamacpp", Self::LlamaCpp),
        ("vllm", Self::Vllm),
        ("openai", Self::OpenAi),
    ];
}

/// Resolves the model servers, at least one, and the model of calls that name none. Who is there
/// comes from one place: flags, else the environment, else the file; what the file says of a server
/// of the same name holds beside that.
/// Errors: a value that cannot be used, or two places that say who is there.
pub(super) fn upstreams(
    source: &mut Source<'_>,
    flags: &Flags,
    upstreams_max: usize,
) -> Result<(Vec<UpstreamConfig>, Option<String>), ConfigError> {
    let named = named(source, flags)?;
    let single = single(source, flags);
    let named = decide(source, named, single)?;
    let is_used = named.iter().any(|(name, ..)| name.text == NAME_DEFAULT);
    let token = token(source, flags, is_used)?;
    let model = source.optional(MODEL, flags.model.as_deref(), |given| Ok(given.text.clone()))?;
    let mut times = Vec::with_capacity(TIMES.len());
    for ((setting, default_s, _), flag) in TIMES.iter().zip([
        &flags.connect_timeout_s,
        &flags.prefill_timeout_s,
        &flags.idle_timeout_s,
        &flags.call_timeout_s,
    ]) {
        times.push(seconds(source, *setting, flag.as_deref(), *default_s)?);
    }
    if named.len() > upstreams_max {
        return Err(ConfigError::conflict(
            format!(
                "there are {} model servers, and upstreams_max is {upstreams_max}",
                named.len()
            ),
            "leave some out",
        ));
    }
    let mut upstreams: Vec<UpstreamConfig> = Vec::with_capacity(named.len());
    for (name, url, element) in named {
        if upstreams.iter().any(|other| other.name == name.text) {
            return Err(name.wrong("is the name of two model servers", "choose another"));
        }
        let token = token.clone().filter(|_| name.text == NAME_DEFAULT);
        upstreams.push(Own { source, name: &name.text, element }.upstream(&url, token, &times)?);
    }
    Ok((upstreams, model))
}

/// One server with what the file says of it.
struct Own<'s, 'a> {
    source: &'s mut Source<'a>,
    name: &'s str,
    element: Option<usize>,
}

impl Own<'_, '_> {
    fn upstream(
        mut self,
        url: &Given,
        token: Option<Secret>,
        times: &[Duration],
    ) -> Result<UpstreamConfig, ConfigError> {
        let shown = parse_url(url)?;
        if self.element.is_some() || self.name != NAME_DEFAULT {
            self.row("url", shown.clone(), url.origin);
        }
        let mut own_times = times.iter().zip(TIMES);
        let mut time = || match own_times.next() {
            Some((time, (_, _, key))) => self.value(key, seconds_of).map(|it| it.unwrap_or(*time)),
            None => Ok(Duration::ZERO),
        };
        let (connect, prefill, idle, call) = (time()?, time()?, time()?, time()?);
        Ok(UpstreamConfig {
            name: self.name.to_owned(),
            url: shown,
            kind: self.value("upstream.kind", kind)?.unwrap_or_default(),
            token: self.token()?.or(token),
            ca_file: self.value("upstream.ca_file", ca_file)?,
            default_model: self.value("upstream.default_model", |it| Ok(it.text.clone()))?,
            concurrency: self.value("upstream.concurrency", |it| number(it, 1))?.unwrap_or(1),
            queue: self.value("upstream.queue", |it| number(it, 0))?.unwrap_or(QUEUE_DEFAULT),
            connect_timeout: connect,
            prefill_timeout: prefill,
            idle_timeout: idle,
            call_timeout: call,
        })
    }

    fn row(&mut self, key: &str, value: impl Into<String>, origin: Origin) {
        self.source.row(format!("upstream.{}.{key}", self.name), value, origin);
    }

    /// What the file says for a key, noted down.
    fn value<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Given) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        let given = self.element.and_then(|at| self.source.file.given(key, Some(at)));
        let Some(given) = given else { return Ok(None) };
        let value = parse(&given)?;
        let name = key.rsplit('.').next().unwrap_or_default();
        self.row(name, given.text, given.origin);
        Ok(Some(value))
    }

    fn token(&mut self) -> Result<Option<Secret>, ConfigError> {
        let file = self.value("upstream.token_file", |given| {
            let secret = read_token(given)?;
            if is_header_text(secret.expose()) {
                return Ok(secret);
            }
            Err(given.wrong("holds no token, or one with spaces or line breaks", TOKEN_REMEDY))
        })?;
        let environment = self.source.environment;
        let variable = self.value("upstream.token_env", |given| {
            let token = environment.value(&given.text).map(str::trim).unwrap_or_default();
            if is_header_text(token) {
                return Ok(Secret(token.to_owned()));
            }
            let problem = "is a variable that holds no token, or one with spaces or line breaks";
            Err(given.wrong(problem, TOKEN_REMEDY))
        })?;
        if file.is_some() && variable.is_some() {
            return Err(ConfigError::conflict(
                format!("upstream {} has both token_file and token_env", self.name),
                "leave out token_env",
            ));
        }
        Ok(file.or(variable))
    }
}

fn kind(given: &Given) -> Result<UpstreamKind, ConfigError> {
    let known = UpstreamKind::ALL.iter().find(|(name, _)| given.text.eq_ignore_ascii_case(name));
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        let remedy = "write auto, lmstudio, ollama, llamacpp, vllm or openai";
        given.wrong("is no kind of model server", remedy)
    })
}

/// A PEM file that is there; what is in it is seen when it is used.
fn ca_file(given: &Given) -> Result<PathBuf, ConfigError> {
    let path = path(given)?;
    match fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(ConfigError::File(given.origin, path, error)),
    }
}

fn number(given: &Given, least: usize) -> Result<usize, ConfigError> {
    let number = given.text.parse().ok().filter(|number| (least..=PLACES_MAX).contains(number));
    number.ok_or_else(|| {
        given
            .wrong("is no number of places", format!("write a number from {least} to {PLACES_MAX}"))
    })
}

/// The token of the server called `default`; `is_used` where there is one.
fn token(
    source: &mut Source<'_>,
    flags: &Flags,
    is_used: bool,
) -> Result<Option<Secret>, ConfigError> {
    let file = source.given(TOKEN_FILE, flags.lm_studio_token_file.as_deref());
    let value = source.variable("LM_API_TOKEN");
    let (secret, origin) = match (file, value) {
        (Some(Given { origin: Origin::Environment(name), .. }), Some(_)) => {
            return Err(ConfigError::conflict(
                format!("LM_API_TOKEN and {name} are both set"),
                format!("type: unset {name}"),
            ));
        }
        (Some(file), _) => (Some(read_token(&file)?), file.origin),
        (None, Some(value)) => (Some(Secret(value.text.trim().to_owned())), value.origin),
        (None, None) => (None, Origin::Default),
    };
    let shown = match secret {
        Some(_) if is_used => "set",
        Some(_) => "set, not used",
        None => "not set",
    };
    source.note(TOKEN_FILE, shown, origin);
    if secret.as_ref().is_some_and(|secret| !is_header_text(secret.expose())) {
        return Err(ConfigError::conflict(
            format!("{} holds no token, or one with spaces or line breaks", origin.setting()),
            TOKEN_REMEDY,
        ));
    }
    Ok(secret)
}

fn read_token(file: &Given) -> Result<Secret, ConfigError> {
    let path = PathBuf::from(&file.text);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Secret(text.trim().to_owned())),
        Err(error) => Err(ConfigError::File(file.origin, path, error)),
    }
}

fn is_header_text(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A time in whole seconds.
pub(super) fn seconds_of(given: &Given) -> Result<Duration, ConfigError> {
    match given.text.trim().parse() {
        Ok(seconds @ 1..=TIMEOUT_S_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(given.wrong("is not a time", "type whole seconds from 1 to 86400")),
    }
}

fn seconds(
    source: &mut Source<'_>,
    setting: Setting,
    flag: Option<&str>,
    default_s: u64,
) -> Result<Duration, ConfigError> {
    let default = || Duration::from_secs(default_s);
    source.parsed(setting, flag, seconds_of, default, |time| time.as_secs().to_string())
}

const TOKEN_FILE: Setting = Setting {
    flag: "--lm-studio-token-file",
    key: "lm_studio_token_file",
    variables: &["LM_API_TOKEN_FILE"],
};
const MODEL: Setting = Setting { flag: "--model", key: "model", variables: &["DEFAULT_MODEL"] };
/// The times that each server can have its own of: the setting for all, its default in seconds, and
/// the key for one.
const TIMES: [(Setting, u64, &str); 4] = [
    (
        Setting {
            flag: "--connect-timeout-s",
            key: "connect_timeout_s",
            variables: &["MCP_CONNECT_TIMEOUT_S"],
        },
        5,
        "upstream.connect_timeout_s",
    ),
    (
        Setting {
            flag: "--prefill-timeout-s",
            key: "prefill_timeout_s",
            variables: &["MCP_PREFILL_TIMEOUT_S"],
        },
        600,
        "upstream.prefill_timeout_s",
    ),
    (
        Setting {
            flag: "--idle-timeout-s",
            key: "idle_timeout_s",
            variables: &["MCP_IDLE_TIMEOUT_S"],
        },
        120,
        "upstream.idle_timeout_s",
    ),
    (
        Setting {
            flag: "--call-timeout-s",
            key: "call_timeout_s",
            variables: &["MCP_CALL_TIMEOUT_S"],
        },
        900,
        "upstream.call_timeout_s",
    ),
];
/// As many as anybody waits for.
const QUEUE_DEFAULT: usize = 8;
/// More is a slip.
const PLACES_MAX: usize = 64;
const TOKEN_REMEDY: &str = "copy the token again from LM Studio's developer settings";
/// A day; more is a slip of the unit.
const TIMEOUT_S_MAX: u64 = 86_400;
