//! From flags and environment to one validated [`Config`].

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::source::{Environment, Given, Setting, Source};
use super::url::{Url, is_dns_name, is_host};
use super::{CertificateFiles, Config, Limits, Listener, Scheme, Secret, network, upstream};
use crate::auth::{is_globally_routable, is_home_peer, is_local_name};

/// Resolves every setting: flag over environment over default. Reads the one file whose content
/// is a setting (LM Studio's token), opens nothing else.
/// Errors: the first setting that cannot be followed.
pub fn resolve(flags: &Flags, environment: &Environment) -> Result<Config, ConfigError> {
    let mut source = Source::new(environment);
    let source = &mut source;
    let listeners = network::listeners(source, flags)?;
    let (host, host_is_default) = network::host(source, flags)?;
    let certificate = certificate(source, flags, &listeners)?;
    let extra_names = source.list(SAN, &flags.san, certificate_name)?;
    let state_folder = state_folder(source, flags)?;
    let upstream = upstream::upstream(source, flags)?;
    let token_file = source.optional(TOKEN_FILE, flags.token_file.as_deref(), path)?;
    let token = token(source);
    let home_open = home_open(source, flags)?;
    let public_url = source.optional(PUBLIC_URL, flags.public_url.as_deref(), url)?;
    let trusted_proxies = source.list(TRUSTED_PROXY, &flags.trusted_proxy, network::address)?;
    let mut allow_hosts = source.list(ALLOW_HOST, &flags.allow_host, host_name)?;
    allow_hosts.extend(public_url.as_ref().map(|url| url.host.clone()));
    let allow_origins = source.list(ALLOW_ORIGIN, &flags.allow_origin, origin)?;
    let (log_filter, log_file) = log(source, flags)?;
    Ok(Config {
        public: exposure(host, public_url.as_ref(), &trusted_proxies),
        listeners,
        host,
        host_is_default,
        certificate,
        extra_names,
        state_folder,
        upstream,
        token_file,
        token,
        home_open,
        public_url: public_url.map(|url| url.origin()),
        trusted_proxies,
        allow_hosts,
        allow_origins,
        log_filter,
        log_file,
        limits: Limits::default(),
        report: std::mem::take(&mut source.report),
    })
}

fn certificate(
    source: &mut Source<'_>,
    flags: &Flags,
    listeners: &[Listener],
) -> Result<Option<CertificateFiles>, ConfigError> {
    let has_https = listeners.iter().any(|listener| listener.scheme == Scheme::Https);
    if !has_https && (flags.cert.is_some() || flags.key.is_some()) {
        return Err(ConfigError::conflict(
            "--cert and --key are for https, which is not among the transports",
            "leave them out, or type --transport https",
        ));
    }
    let cert = source.optional(CERT, flags.cert.as_deref(), path)?;
    let key = source.optional(KEY, flags.key.as_deref(), path)?;
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(CertificateFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::conflict(
            "a certificate is given without its private key",
            "add --key FILE, as in --key privkey.pem",
        )),
        (None, Some(_)) => Err(ConfigError::conflict(
            "a private key is given without its certificate",
            "add --cert FILE, as in --cert fullchain.pem",
        )),
    }
}

/// One folder for all that must survive a restart: `certs` of the current folder where it exists
/// (a checkout has it, with a .gitignore for everything in it), else the user's state folder.
fn state_folder(source: &mut Source<'_>, flags: &Flags) -> Result<PathBuf, ConfigError> {
    let environment = source.environment;
    let chosen = source.given(STATE_DIR, flags.state_dir.as_deref());
    let (folder, origin) = match chosen {
        Some(given) => (path(&given)?, given.origin),
        None => (default_state_folder(environment)?, Origin::Default),
    };
    source.note(STATE_DIR, folder.display().to_string(), origin);
    Ok(folder)
}

fn default_state_folder(environment: &Environment) -> Result<PathBuf, ConfigError> {
    let beside = Path::new("certs");
    if beside.is_dir() {
        return Ok(beside.to_owned());
    }
    let absolute = |name| environment.value(name).map(PathBuf::from).filter(|it| it.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|folder| folder.join("local-llm-mcp"))
        .ok_or_else(|| {
            ConfigError::conflict(
                "there is no home folder to keep certificates and tokens in",
                "type --state-dir FOLDER, as in --state-dir /var/lib/local-llm-mcp",
            )
        })
}

fn token(source: &mut Source<'_>) -> Option<Secret> {
    let given = source.variable("MCP_TOKEN");
    let origin = given.as_ref().map_or(Origin::Default, |given| given.origin);
    source.note(TOKEN, if given.is_some() { "set" } else { "not set" }, origin);
    given.map(|given| Secret(given.text.trim().to_owned()))
}

fn home_open(source: &mut Source<'_>, flags: &Flags) -> Result<bool, ConfigError> {
    let flag = flags.home_open.then_some("yes");
    let show = |open: &bool| if *open { "yes" } else { "no" }.to_owned();
    let parse = |given: &Given| match given.text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(given.wrong("is neither yes nor no", "type yes or no")),
    };
    source.parsed(HOME_OPEN, flag, parse, || false, show)
}

fn log(source: &mut Source<'_>, flags: &Flags) -> Result<(String, Option<PathBuf>), ConfigError> {
    let default = || LOG_FILTER_DEFAULT.to_owned();
    let filter = source.parsed(LOG, flags.log.as_deref(), log_filter, default, String::clone)?;
    let file = source.optional(LOG_FILE, flags.log_file.as_deref(), path)?;
    Ok((filter, file))
}

/// env_logger takes an unknown word for a module and then logs nothing, which nobody means.
/// What RUST_LOG says is for other programs too and passes as it is.
fn log_filter(given: &Given) -> Result<String, ConfigError> {
    let is_level = |text: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text.trim()));
    let is_known = |part: Given| match part.text.split_once('=') {
        Some((module, level)) => !module.trim().is_empty() && is_level(level),
        None => is_level(&part.text),
    };
    if given.origin == Origin::Environment("RUST_LOG") || given.parts().all(is_known) {
        return Ok(given.text.clone());
    }
    let levels = LEVELS.join(", ");
    Err(given.wrong("is no log filter", format!("type one of {levels}, or MODULE=LEVEL")))
}

/// What makes the server public, if anything does.
fn exposure(host: IpAddr, url: Option<&Url>, trusted_proxies: &[IpAddr]) -> Option<String> {
    if let Some(url) = url.filter(|url| !is_at_home(url)) {
        return Some(format!("the public URL {}", url.origin()));
    }
    if let Some(proxy) = trusted_proxies.first() {
        return Some(format!("the trusted proxy {proxy}"));
    }
    is_globally_routable(host).then(|| format!("the address {host}"))
}

fn is_at_home(url: &Url) -> bool {
    let name = url.host.trim_end_matches('.');
    url.address().map_or_else(|| is_local_name(name), |address| is_home_peer(address, &[]))
}

fn path(given: &Given) -> Result<PathBuf, ConfigError> {
    if given.text.trim().is_empty() {
        return Err(given.wrong("is no path", "name a file or folder"));
    }
    Ok(PathBuf::from(&given.text))
}

fn url(given: &Given) -> Result<Url, ConfigError> {
    let url = Url::parse(given.text.trim());
    url.filter(|url| url.path.is_empty()).ok_or_else(|| {
        given.wrong("is not a server's URL", "type it as in https://mcp.example.org")
    })
}

fn origin(given: &Given) -> Result<String, ConfigError> {
    let url = Url::parse(&given.text).filter(|url| url.path.is_empty());
    url.map(|url| url.origin()).ok_or_else(|| {
        given.wrong("is not an origin", "type scheme, name and port, as in https://chat.lan:8080")
    })
}

fn host_name(given: &Given) -> Result<String, ConfigError> {
    if !is_host(&given.text) {
        let remedy = "type the name alone, as in mcp.example.org";
        return Err(given.wrong("is no host name", remedy));
    }
    Ok(given.text.to_ascii_lowercase())
}

fn certificate_name(given: &Given) -> Result<String, ConfigError> {
    let name = given.text.strip_prefix("*.").unwrap_or(&given.text);
    if given.text.parse::<IpAddr>().is_err() && !is_dns_name(name) {
        let remedy = "type one as in mcp.example.org or 192.168.1.100";
        return Err(given.wrong("is neither a host name nor an address", remedy));
    }
    Ok(given.text.to_ascii_lowercase())
}

const CERT: Setting = Setting { flag: "--cert", variables: &["HTTPS_CERT_PATH"] };
const KEY: Setting = Setting { flag: "--key", variables: &["HTTPS_KEY_PATH"] };
const SAN: Setting = Setting { flag: "--san", variables: &["CERT_SAN"] };
const STATE_DIR: Setting = Setting { flag: "--state-dir", variables: &["MCP_STATE_DIR"] };
const TOKEN_FILE: Setting = Setting { flag: "--token-file", variables: &["MCP_TOKEN_FILE"] };
/// No flag: the list of processes is no place for a secret.
const TOKEN: Setting = Setting { flag: "token", variables: &["MCP_TOKEN"] };
const HOME_OPEN: Setting = Setting { flag: "--home-open", variables: &["MCP_HOME_OPEN"] };
const PUBLIC_URL: Setting = Setting { flag: "--public-url", variables: &["MCP_PUBLIC_URL"] };
const TRUSTED_PROXY: Setting =
    Setting { flag: "--trusted-proxy", variables: &["MCP_TRUSTED_PROXY"] };
const ALLOW_HOST: Setting = Setting { flag: "--allow-host", variables: &["MCP_ALLOW_HOST"] };
const ALLOW_ORIGIN: Setting = Setting { flag: "--allow-origin", variables: &["MCP_ALLOW_ORIGIN"] };
const LOG: Setting = Setting { flag: "--log", variables: &["MCP_LOG", "RUST_LOG"] };
const LOG_FILE: Setting = Setting { flag: "--log-file", variables: &["MCP_LOG_FILE"] };
const LOG_FILTER_DEFAULT: &str = "warn,local_llm_mcp=info";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
