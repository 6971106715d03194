//! Whether clients can be let in over OAuth, and what that needs.

use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::source::{Given, Setting, Source};
use super::url::Url;
use super::{Listener, Scheme};
use std::net::IpAddr;

/// How clients are let in over OAuth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oauth {
    /// How the owner proves that it is he who allows a login.
    pub proof: Proof,
    /// Seconds that an access token lives.
    pub access_s: u32,
    /// Seconds that a refresh token works again after its use.
    pub grace_s: u32,
}

/// How the owner proves himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// With the passphrase of `auth passphrase`.
    Passphrase,
    /// With a code that the server prints for every login.
    Console,
}

/// Resolves the settings. Errors: one that OAuth cannot have.
pub(super) fn oauth(source: &mut Source<'_>, flags: &Flags) -> Result<Option<Oauth>, ConfigError> {
    let proof = source.optional(OAUTH, flags.oauth.as_deref(), proof)?;
    let access = flags.oauth_access_s.as_deref();
    let access_s = seconds(source, ACCESS, access, (30, 30 * 86_400), 28_800)?;
    let grace = flags.oauth_grace_s.as_deref();
    let grace_s = seconds(source, GRACE, grace, (0, 86_400), 600)?;
    Ok(proof.map(|proof| Oauth { proof, access_s, grace_s }))
}

/// Where OAuth would be offered.
pub(super) struct Place<'a> {
    pub(super) listeners: &'a [Listener],
    pub(super) host: IpAddr,
    pub(super) urls: &'a [Url],
    pub(super) proxies: &'a [IpAddr],
}

/// Errors: clients could not use it there, or others could read along.
pub(super) fn check(place: &Place<'_>) -> Result<(), ConfigError> {
    if place.urls.is_empty() {
        return Err(ConfigError::conflict(
            "OAuth has to know the address that clients use",
            "add --public-url URL, as in --public-url https://mcp.example.org",
        ));
    }
    let on_box = |url: &Url| {
        url.host == "localhost" || url.address().is_some_and(|address| address.is_loopback())
    };
    if let Some(url) = place.urls.iter().find(|url| url.scheme == Scheme::Http && !on_box(url)) {
        let url = url.origin();
        return Err(ConfigError::conflict(
            format!("OAuth needs https, and the public URL is {url}"),
            format!("type --public-url {}", url.replacen("http", "https", 1)),
        ));
    }
    if let Some((one, other)) = at_one_host(place.urls) {
        return Err(ConfigError::conflict(
            format!(
                "OAuth tells public URLs apart by their Host, and {}{} and {}{} have the same",
                one.origin(),
                one.path,
                other.origin(),
                other.path
            ),
            "leave one of them out, or give it another name or port",
        ));
    }
    let plain = place.listeners.iter().any(|listener| listener.scheme == Scheme::Http);
    if plain && !place.host.is_loopback() && place.proxies.is_empty() {
        return Err(ConfigError::conflict(
            "OAuth over plain http can be read on the way",
            "leave http out of --transport, add --host 127.0.0.1, or name the proxy that ends \
             TLS with --trusted-proxy ADDRESS",
        ));
    }
    Ok(())
}

/// Two public URLs that a request cannot be told to be for one of: a proxy may strip their paths.
fn at_one_host(urls: &[Url]) -> Option<(&Url, &Url)> {
    fn host(url: &Url) -> (&str, Option<u16>) {
        let own = if url.scheme == Scheme::Https { 443 } else { 80 };
        (&url.host, url.port.filter(|port| *port != own))
    }
    urls.iter().enumerate().find_map(|(place, one)| {
        let differ = |other: &&Url| (one.scheme, &one.path) != (other.scheme, &other.path);
        let mut others = urls.iter().skip(place + 1);
        others.find(|other| host(other) == host(one) && differ(other)).map(|other| (one, other))
    })
}

fn proof(given: &Given) -> Result<Proof, ConfigError> {
    match given.text.trim().to_ascii_lowercase().as_str() {
        "passphrase" => Ok(Proof::Passphrase),
        "console" => Ok(Proof::Console),
        _ => Err(given.wrong("is no proof of the owner", "type passphrase or console")),
    }
}

fn seconds(
    source: &mut Source<'_>,
    setting: Setting,
    flag: Option<&str>,
    (min, max): (u32, u32),
    default: u32,
) -> Result<u32, ConfigError> {
    let parse = |given: &Given| {
        let number = given.text.trim().parse().ok().filter(|it| (min..=max).contains(it));
        number.ok_or_else(|| {
            given.wrong("cannot be", format!("type a number of seconds from {min} to {max}"))
        })
    };
    let (value, origin) = match source.given(setting, flag) {
        Some(given) => (parse(&given)?, given.origin),
        None => (default, Origin::Default),
    };
    source.note(setting, value.to_string(), origin);
    Ok(value)
}

const OAUTH: Setting = Setting { flag: "--oauth", key: "oauth", variables: &["MCP_OAUTH"] };
const ACCESS: Setting =
    Setting { flag: "--oauth-access-s", key: "oauth_access_s", variables: &["MCP_OAUTH_ACCESS_S"] };
const GRACE: Setting =
    Setting { flag: "--oauth-grace-s", key: "oauth_grace_s", variables: &["MCP_OAUTH_GRACE_S"] };
