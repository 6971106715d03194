//! Where LM Studio is, how to speak to it, and how long it may take.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::source::{Given, Setting, Source};
use super::url::Url;
use super::{Secret, Upstream};

/// Resolves everything about the model server. Errors: a value that cannot be used.
pub(super) fn upstream(source: &mut Source<'_>, flags: &Flags) -> Result<Upstream, ConfigError> {
    Ok(Upstream {
        url: server_url(source, flags)?,
        token: token(source, flags)?,
        model: source.optional(MODEL, flags.model.as_deref(), |given| Ok(given.text.clone()))?,
        connect_timeout: seconds(source, CONNECT, flags.connect_timeout_s.as_deref(), 5)?,
        prefill_timeout: seconds(source, PREFILL, flags.prefill_timeout_s.as_deref(), 600)?,
        idle_timeout: seconds(source, IDLE, flags.idle_timeout_s.as_deref(), 120)?,
        call_timeout: seconds(source, CALL, flags.call_timeout_s.as_deref(), 900)?,
    })
}

fn server_url(source: &mut Source<'_>, flags: &Flags) -> Result<String, ConfigError> {
    let given = source.given(URL, flags.lm_studio_url.as_deref()).or_else(|| host_and_port(source));
    let (url, origin) = match given {
        Some(given) => (parse_url(&given)?, given.origin),
        None => (URL_DEFAULT.to_owned(), Origin::Default),
    };
    source.note(URL, &url, origin);
    Ok(url)
}

/// The pair that older servers of this kind are configured with.
fn host_and_port(source: &Source<'_>) -> Option<Given> {
    let host = source.variable("LMSTUDIO_HOST");
    let port = source.variable("LMSTUDIO_PORT");
    let origin = host.as_ref().or(port.as_ref())?.origin;
    let host = host.map_or_else(|| "localhost".to_owned(), |host| host.text);
    let host = if host.contains("://") { host } else { format!("http://{host}") };
    let port = port.map_or_else(|| PORT_DEFAULT.to_owned(), |port| port.text);
    let has_port = Url::parse(&host).is_some_and(|url| url.port.is_some());
    let text = if has_port { host } else { format!("{host}:{port}") };
    Some(Given { text, origin })
}

fn parse_url(given: &Given) -> Result<String, ConfigError> {
    let remedy = "type it as in http://192.168.1.5:1234";
    let url = Url::parse(given.text.trim()).ok_or_else(|| given.wrong("is not a URL", remedy))?;
    // Other clients are configured with the OpenAI-compatible part's path, and people copy it.
    let path = url.path.strip_suffix("/v1").unwrap_or(&url.path);
    Ok(format!("{}{path}", url.origin()))
}

fn token(source: &mut Source<'_>, flags: &Flags) -> Result<Option<Secret>, ConfigError> {
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
    let shown = if secret.is_some() { "set" } else { "not set" };
    source.note(TOKEN_FILE, shown, origin);
    if secret.as_ref().is_some_and(|secret| !is_header_text(secret.expose())) {
        return Err(ConfigError::conflict(
            format!("{} holds no token, or one with spaces or line breaks", origin.setting()),
            "copy the token again from LM Studio's developer settings",
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

fn seconds(
    source: &mut Source<'_>,
    setting: Setting,
    flag: Option<&str>,
    default_s: u64,
) -> Result<Duration, ConfigError> {
    let parse = |given: &Given| match given.text.trim().parse() {
        Ok(seconds @ 1..=TIMEOUT_S_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(given.wrong("is not a time", "type whole seconds from 1 to 86400")),
    };
    let default = || Duration::from_secs(default_s);
    source.parsed(setting, flag, parse, default, |time| time.as_secs().to_string())
}

const URL: Setting = Setting { flag: "--lm-studio-url", variables: &["LM_STUDIO_URL"] };
const URL_DEFAULT: &str = "http://localhost:1234";
/// LM Studio's own.
const PORT_DEFAULT: &str = "1234";
const TOKEN_FILE: Setting =
    Setting { flag: "--lm-studio-token-file", variables: &["LM_API_TOKEN_FILE"] };
const MODEL: Setting = Setting { flag: "--model", variables: &["DEFAULT_MODEL"] };
const CONNECT: Setting =
    Setting { flag: "--connect-timeout-s", variables: &["MCP_CONNECT_TIMEOUT_S"] };
const PREFILL: Setting =
    Setting { flag: "--prefill-timeout-s", variables: &["MCP_PREFILL_TIMEOUT_S"] };
const IDLE: Setting = Setting { flag: "--idle-timeout-s", variables: &["MCP_IDLE_TIMEOUT_S"] };
const CALL: Setting = Setting { flag: "--call-timeout-s", variables: &["MCP_CALL_TIMEOUT_S"] };
/// A day; more is a slip of the unit.
const TIMEOUT_S_MAX: u64 = 86_400;
