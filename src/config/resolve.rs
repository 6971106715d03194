//! From flags and environment to one validated [`Config`].

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::source::{Environment, Given, Setting, Source};
use super::url::{PublicUrl, Url, is_dns_name, is_host};
use super::{CertificateFiles, Config, Limits, Listener, Scheme, Secret};
use super::{file, generation, network, oauth, prompts, tools, upstream};
use crate::auth::{is_globally_routable, is_home_peer, is_local_name};

/// Resolves every setting: flag over environment over configuration file over default. Reads that
/// file and those whose content is a setting (the model servers' tokens, the owner's prompts),
/// nothing else. Errors: the first setting that cannot be followed.
pub fn resolve(flags: &Flags, environment: &Environment) -> Result<Config, ConfigError> {
    let limits = Limits::default();
    let file = file::open(flags, environment, limits.config_file_bytes_max)?;
    resolve_with(flags, &mut Source::new(environment, &file), limits)
        .map_err(|error| error.named(file.path.as_deref()))
}

fn resolve_with(
    flags: &Flags,
    source: &mut Source<'_>,
    limits: Limits,
) -> Result<Config, ConfigError> {
    let read = source.file.path.as_ref().map(|path| path.display().to_string());
    let chosen = source.file.origin.unwrap_or(Origin::Default);
    source.note(file::CONFIG, read.unwrap_or_else(|| NONE.to_owned()), chosen);
    let (listeners, stdio) = network::listeners(source, flags)?;
    let (host, host_is_default) = network::host(source, flags)?;
    let certificate = certificate(source, flags, &listeners)?;
    let extra_names = source.list(SAN, &flags.san, certificate_name)?;
    let state_folder = state_folder(source, flags)?;
    let (upstreams, model) = upstream::upstreams(source, flags, limits.upstreams_max)?;
    let tools = tools::tools(source, flags)?;
    let prompts = prompts::prompts(source, flags, &limits)?;
    let token_file = source.optional(TOKEN_FILE, flags.token_file.as_deref(), path)?;
    let token = token(source);
    let home_open = home_open(source, flags)?;
    let oauth = oauth::oauth(source, flags)?;
    let (urls, public_urls): (Vec<_>, Vec<_>) =
        source.list(PUBLIC_URL, &flags.public_url, public_url)?.into_iter().unzip();
    let trusted_proxies = source.list(TRUSTED_PROXY, &flags.trusted_proxy, network::address)?;
    let mut allow_hosts = source.list(ALLOW_HOST, &flags.allow_host, host_name)?;
    allow_hosts.extend(urls.iter().map(|url| url.host.clone()));
    let mut allow_origins = source.list(ALLOW_ORIGIN, &flags.allow_origin, origin)?;
    // A proxy that ends TLS makes the server's own pages come from there.
    allow_origins.extend(urls.iter().map(Url::origin));
    if oauth.is_some() {
        let (urls, proxies) = (&urls[..], &trusted_proxies[..]);
        oauth::check(&oauth::Place { listeners: &listeners, host, urls, proxies })?;
    }
    let (log_filter, log_file) = log(source, flags)?;
    let generation = generation::generation(source)?;
    Ok(Config {
        // Without a listener nobody reaches it.
        public: exposure(host, &urls, &trusted_proxies).filter(|_| !listeners.is_empty()),
        listeners,
        stdio,
        host,
        host_is_default,
        certificate,
        extra_names,
        state_folder,
        upstreams,
        model,
        generation,
        tools,
        prompts,
        token_file,
        token,
        home_open,
        oauth,
        public_urls,
        trusted_proxies,
        allow_hosts,
        allow_origins,
        log_filter,
        log_file,
        limits,
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
    let (folder, origin) = match source.given(STATE_DIR, flags.state_dir.as_deref()) {
        Some(given) => (path(&given)?, given.origin),
        None => (default_state_folder(source.environment)?, Origin::Default),
    };
    source.note(STATE_DIR, folder.display().to_string(), origin);
    Ok(folder)
}

/// The same before the configuration file is read, which may be in it.
/// Errors: there is no home folder.
pub(super) fn state_folder_of(
    flags: &Flags,
    environment: &Environment,
) -> Result<PathBuf, ConfigError> {
    let mut variables = STATE_DIR.variables.iter();
    let variable = || variables.find_map(|name| environment.value(name));
    match flags.state_dir.as_deref().or_else(variable) {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => default_state_folder(environment),
    }
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
    source.parsed(HOME_OPEN, flag, yes_or_no, || false, show)
}

/// A switch as people write it.
pub(super) fn yes_or_no(given: &Given) -> Result<bool, ConfigError> {
    match given.text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(given.wrong("is neither yes nor no", "type yes or no")),
    }
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
fn exposure(host: IpAddr, urls: &[Url], trusted_proxies: &[IpAddr]) -> Option<String> {
    if let Some(url) = urls.iter().find(|url| !is_at_home(url)) {
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

/// A file or folder.
pub(super) fn path(given: &Given) -> Result<PathBuf, ConfigError> {
    if given.text.trim().is_empty() {
        return Err(given.wrong("is no path", "name a file or folder"));
    }
    Ok(PathBuf::from(&given.text))
}

fn public_url(given: &Given) -> Result<(Url, PublicUrl), ConfigError> {
    let url = Url::parse(given.text.trim()).ok_or_else(|| {
        let remedy = "type it as in https://mcp.example.org or https://home.example/llm";
        given.wrong("is not a server's URL without query and fragment", remedy)
    })?;
    let public = PublicUrl::new(&url).ok_or_else(|| {
        let remedy = "type letters, digits and -._~ between single slashes, as in \
                      https://home.example/llm";
        given.wrong("has a path that proxies may write in another way", remedy)
    })?;
    Ok((url, public))
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

const CERT: Setting = Setting { flag: "--cert", key: "cert", variables: &["HTTPS_CERT_PATH"] };
const KEY: Setting = Setting { flag: "--key", key: "key", variables: &["HTTPS_KEY_PATH"] };
const SAN: Setting = Setting { flag: "--san", key: "san", variables: &["CERT_SAN"] };
const STATE_DIR: Setting =
    Setting { flag: "--state-dir", key: "state_dir", variables: &["MCP_STATE_DIR"] };
const TOKEN_FILE: Setting =
    Setting { flag: "--token-file", key: "token_file", variables: &["MCP_TOKEN_FILE"] };
/// No flag: the list of processes is no place for a secret.
const TOKEN: Setting = Setting { flag: "token", key: "", variables: &["MCP_TOKEN"] };
const HOME_OPEN: Setting =
    Setting { flag: "--home-open", key: "home_open", variables: &["MCP_HOME_OPEN"] };
const PUBLIC_URL: Setting =
    Setting { flag: "--public-url", key: "public_url", variables: &["MCP_PUBLIC_URL"] };
const TRUSTED_PROXY: Setting =
    Setting { flag: "--trusted-proxy", key: "trusted_proxy", variables: &["MCP_TRUSTED_PROXY"] };
const ALLOW_HOST: Setting =
    Setting { flag: "--allow-host", key: "allow_host", variables: &["MCP_ALLOW_HOST"] };
const ALLOW_ORIGIN: Setting =
    Setting { flag: "--allow-origin", key: "allow_origin", variables: &["MCP_ALLOW_ORIGIN"] };
const LOG: Setting = Setting { flag: "--log", key: "log", variables: &["MCP_LOG", "RUST_LOG"] };
const LOG_FILE: Setting =
    Setting { flag: "--log-file", key: "log_file", variables: &["MCP_LOG_FILE"] };
/// As `--check` shows what nobody gave.
pub(super) const NONE: &str = "none";
const LOG_FILTER_DEFAULT: &str = "warn,local_llm_mcp=info";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Resolves a command line and an environment, given as `NAME=value`.
    fn resolved(arguments: &[&str], variables: &[&str]) -> Result<Config, ConfigError> {
        let arguments: Vec<String> = arguments.iter().map(|&it| it.to_owned()).collect();
        let variables = ["HOME=/home/pi"].iter().chain(variables);
        let pair = |text: &&str| {
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let flags = super::super::parse(&arguments)?.unwrap();
        resolve(&flags, &variables.map(pair).collect())
    }

    fn ports(arguments: &[&str], variables: &[&str]) -> Vec<(&'static str, u16)> {
        let config = resolved(arguments, variables).unwrap();
        config.listeners.iter().map(|it| (it.scheme.as_str(), it.port)).collect()
    }

    #[test]
    fn ports_follow_the_transports() {
        let both = "--transport=http,https";
        for (arguments, variables, expected) in [
            (&[][..], &[][..], &[("https", 3010)][..]),
            (&["--transport", "http"], &[], &[("http", 3000)]),
            (&[both], &[], &[("https", 3010), ("http", 3000)]),
            (&[both, "--http-port=0", "--https-port=0"], &[], &[("https", 0), ("http", 0)]),
            (&[], &["MCP_TRANSPORT=HTTP, https", "HTTP_PORT=8"], &[("https", 3010), ("http", 8)]),
            (&["--transport", "dual"], &["PORT=4"], &[("https", 4)]),
            (&["--transport", "stdio"], &["PORT=4", "HTTPS_PORT=5"], &[]),
            (&["--port", "1"], &["PORT=2", "HTTPS_PORT=3"], &[("https", 1)]),
            (&["--https-port", "1"], &["PORT=2"], &[("https", 1)]),
            (&[], &["PORT=2"], &[("https", 2)]),
            (&["--transport", "http"], &["PORT=2", "HTTPS_PORT=3"], &[("http", 2)]),
            (&["--port", "4", "--https-port", "4"], &[], &[("https", 4)]),
        ] {
            assert_eq!(ports(arguments, variables), expected, "{arguments:?} {variables:?}");
        }
        assert!(resolved(&[], &["PORT=1", "HTTPS_PORT=2"]).is_err());
        assert!(resolved(&[both], &["PORT=1"]).is_err());
    }

    #[test]
    fn hosts_are_taken_as_people_write_them() {
        for (text, host) in
            [("0.0.0.0", "0.0.0.0"), ("[::]", "::"), ("::1", "::1"), ("LocalHost", "127.0.0.1")]
        {
            let config = resolved(&["--host", text], &[]).unwrap();
            assert_eq!((config.host.to_string().as_str(), config.host_is_default), (host, false));
        }
        let config = resolved(&[], &["HOST="]).unwrap();
        assert!(config.host_is_default && config.host.is_unspecified() && config.host.is_ipv6());
    }

    #[test]
    fn lm_studio_is_found_by_url_or_by_the_older_pair() {
        for (arguments, variables, url) in [
            (&[][..], &[][..], "http://localhost:1234"),
            (&["--lm-studio-url", "http://a:1/v1/"], &["LM_STUDIO_URL=http://b:2"], "http://a:1"),
            (&[], &["LM_STUDIO_URL=http://B:2/", "LMSTUDIO_HOST=c"], "http://b:2"),
            (&[], &["LM_STUDIO_URL=https://b/lm"], "https://b/lm"),
            (&[], &["LMSTUDIO_HOST=10.0.0.7", "LMSTUDIO_PORT=99"], "http://10.0.0.7:99"),
            (&[], &["LMSTUDIO_HOST=10.0.0.7"], "http://10.0.0.7:1234"),
            (&[], &["LMSTUDIO_HOST=http://c:5"], "http://c:5"),
            (&[], &["LMSTUDIO_PORT=99"], "http://localhost:99"),
        ] {
            let config = resolved(arguments, variables).unwrap();
            assert_eq!(config.upstreams[0].url, url, "{arguments:?} {variables:?}");
        }
    }

    #[test]
    fn times_and_tokens_of_the_upstream_are_read() {
        let config = resolved(&["--call-timeout-s=60"], &["LM_API_TOKEN=abc "]).unwrap();
        assert_eq!(config.upstreams[0].call_timeout, Duration::from_secs(60));
        assert_eq!(config.upstreams[0].prefill_timeout, Duration::from_secs(600));
        assert_eq!(config.upstreams[0].token.as_ref().map(Secret::expose), Some("abc"));
        assert!(!format!("{config:?}").contains("abc"));
    }

    #[test]
    fn what_strangers_can_reach_is_told_from_what_they_cannot() {
        for (arguments, public) in [
            (&[][..], None),
            (&["--public-url", "https://pi.local:3010"], None),
            (&["--public-url", "https://[fd00::1]"], None),
            (&["--public-url", "https://192.168.1.4"], None),
            (&["--host", "192.168.1.4"], None),
            (&["--public-url", "https://Mcp.Example.org:443/"], Some("https://mcp.example.org")),
            (&["--public-url", "https://8.8.8.8"], Some("https://8.8.8.8")),
            (&["--public-url", "https://local"], Some("https://local")),
            (&["--trusted-proxy", "127.0.0.1"], Some("127.0.0.1")),
            (&["--host", "2a02:8070::1"], Some("2a02:8070::1")),
        ] {
            let config = resolved(arguments, &[]).unwrap();
            let said = config.public.as_deref().unwrap_or_default();
            assert!(said.ends_with(public.unwrap_or_default()), "{arguments:?} {said}");
            assert_eq!(config.public.is_some(), public.is_some(), "{arguments:?}");
            assert!(config.check_exposure(true).is_ok());
            assert_eq!(config.check_exposure(false).is_ok(), public.is_none());
        }
    }

    #[test]
    fn a_public_urls_name_may_be_used_as_host() {
        let arguments = ["--public-url", "https://mcp.example.org", "--allow-host", "A.lan,b.lan"];
        let config = resolved(&arguments, &[]).unwrap();
        assert_eq!(config.allow_hosts, ["a.lan", "b.lan", "mcp.example.org"]);
    }

    #[test]
    fn a_public_url_may_have_a_path_and_is_an_origin_of_pages() {
        let arguments = ["--public-url", "https://Home.example:443/llm/"];
        let config = resolved(&arguments, &[]).unwrap();
        let url = config.public_url().unwrap();
        assert_eq!(url.to_string(), "https://home.example/llm");
        assert_eq!((url.host(), url.path()), ("home.example", "/llm"));
        assert_eq!(config.allow_origins, ["https://home.example"]);
        for text in ["https://a/b?c", "https://a/b#c", "https://a/../b", "https://a/%62", "a/b"] {
            let error = resolved(&["--public-url", text], &[]).unwrap_err().to_string();
            assert!(error.contains("https://home.example/llm"), "{error}");
        }
    }

    #[test]
    fn log_filters_are_checked_but_for_those_of_other_programs() {
        for (arguments, variables, filter) in [
            (&[][..], &[][..], LOG_FILTER_DEFAULT),
            (&["--log=debug,rustls=off"], &["MCP_LOG=info"], "debug,rustls=off"),
            (&[], &["MCP_LOG=INFO", "RUST_LOG=x"], "INFO"),
            (&[], &["RUST_LOG=some_crate"], "some_crate"),
        ] {
            assert_eq!(resolved(arguments, variables).unwrap().log_filter, filter);
        }
        for filter in ["some_crate", "a=", "=info", "a=b=info"] {
            assert!(resolved(&["--log", filter], &[]).is_err(), "{filter}");
        }
    }
}
