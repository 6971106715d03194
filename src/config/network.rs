//! Which listeners there are, on which address and ports.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::source::{Given, Setting, Source};
use super::{Listener, Scheme};

/// Resolves transports and ports: the listeners, and whether stdin and stdout are served too.
/// Errors: unknown or contradictory.
pub(super) fn listeners(
    source: &mut Source<'_>,
    flags: &Flags,
) -> Result<(Vec<Listener>, bool), ConfigError> {
    let default = || Transports { schemes: vec![Scheme::Https], stdio: false };
    let Transports { schemes, stdio } = source.parsed(
        TRANSPORT,
        flags.transport.as_deref(),
        transports,
        default,
        |transports| {
            let names = transports.schemes.iter().map(|scheme| scheme.as_str());
            names.chain(transports.stdio.then_some("stdio")).collect::<Vec<_>>().join(",")
        },
    )?;
    let port = source.given(PORT, flags.port.as_deref());
    if let (Some(port), [_, _, ..]) = (&port, schemes.as_slice()) {
        return Err(ConfigError::conflict(
            format!("{} does not say which of two listeners it means", port.origin.setting()),
            "give --https-port PORT and --http-port PORT instead",
        ));
    }
    let mut listeners = Vec::with_capacity(schemes.len());
    for (scheme, setting, flag, default) in [
        (Scheme::Https, HTTPS_PORT, &flags.https_port, HTTPS_PORT_DEFAULT),
        (Scheme::Http, HTTP_PORT, &flags.http_port, HTTP_PORT_DEFAULT),
    ] {
        let own = source.given(setting, flag.as_deref());
        if schemes.contains(&scheme) {
            let (number, origin) = match more_specific(own, port.clone())? {
                Some(given) => (port_number(&given)?, given.origin),
                None => (default, Origin::Default),
            };
            source.note(setting, number.to_string(), origin);
            listeners.push(Listener { scheme, port: number });
        } else if flag.is_some() {
            let (flag, scheme) = (setting.flag, scheme.as_str());
            return Err(ConfigError::conflict(
                format!("{flag} is given, but nothing listens for {scheme}"),
                format!("leave it out, or add --transport {scheme}"),
            ));
        }
    }
    different_ports(&listeners)?;
    Ok((listeners, stdio))
}

/// Resolves the address to listen on, and says whether nobody chose it.
pub(super) fn host(source: &mut Source<'_>, flags: &Flags) -> Result<(IpAddr, bool), ConfigError> {
    let is_default = source.given(HOST, flags.host.as_deref()).is_none();
    let default = || IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let show = |host: &IpAddr| match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    };
    let host = source.parsed(HOST, flags.host.as_deref(), address, default, show)?;
    Ok((host, is_default))
}

/// An address as people write it: bare, in brackets, or `localhost`.
pub(super) fn address(given: &Given) -> Result<IpAddr, ConfigError> {
    let text = given.text.trim();
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text).parse().map_err(|_unhelpful: std::net::AddrParseError| {
        given.wrong(
            "is not an IP address",
            "type one as in 192.168.1.100 or [fd00::1], or localhost; [::] stands for all of this machine",
        )
    })
}

/// What was asked for, each once.
struct Transports {
    schemes: Vec<Scheme>,
    stdio: bool,
}

fn transports(given: &Given) -> Result<Transports, ConfigError> {
    let mut transports = Transports { schemes: Vec::new(), stdio: false };
    for part in given.parts() {
        let (scheme, stdio) = match part.text.to_ascii_lowercase().as_str() {
            "https" => (Some(Scheme::Https), false),
            "http" => (Some(Scheme::Http), false),
            "stdio" => (None, true),
            "dual" => (Some(Scheme::Https), true),
            _ => return Err(given.wrong("is no transport", TRANSPORTS)),
        };
        transports.stdio |= stdio;
        let known = |scheme: &Scheme| transports.schemes.contains(scheme);
        if let Some(scheme) = scheme.filter(|scheme| !known(scheme)) {
            transports.schemes.push(scheme);
        }
    }
    if transports.schemes.is_empty() && !transports.stdio {
        return Err(given.wrong("is no transport", TRANSPORTS));
    }
    Ok(transports)
}

/// Of `--https-port` and `--port`, either of which may come from any place: a flag wins over the
/// environment, that over the file, and where both come from the same place they must agree.
fn more_specific(own: Option<Given>, port: Option<Given>) -> Result<Option<Given>, ConfigError> {
    let (own, port) = match (own, port) {
        (Some(own), Some(port)) => (own, port),
        (own, port) => return Ok(own.or(port)),
    };
    match own.origin.rank().cmp(&port.origin.rank()) {
        Ordering::Greater => Ok(Some(own)),
        Ordering::Less => Ok(Some(port)),
        Ordering::Equal if own.text == port.text => Ok(Some(own)),
        Ordering::Equal => Err(ConfigError::conflict(
            format!(
                "{} is {}, but {} is {}",
                own.origin.setting(),
                own.text,
                port.origin.setting(),
                port.text
            ),
            format!("leave out {}", port.origin.setting()),
        )),
    }
}

fn port_number(given: &Given) -> Result<u16, ConfigError> {
    given.text.trim().parse().map_err(|_unhelpful: std::num::ParseIntError| {
        given.wrong("is not a port", "type a number up to 65535, or 0 for any free port")
    })
}

fn different_ports(listeners: &[Listener]) -> Result<(), ConfigError> {
    match listeners {
        [one, other] if one.port == other.port && one.port != 0 => Err(ConfigError::conflict(
            format!("https and http cannot both have port {}", one.port),
            format!("give one of them another, as in --http-port {HTTP_PORT_DEFAULT}"),
        )),
        _ => Ok(()),
    }
}

const TRANSPORTS: &str =
    "type https, http, stdio, or several as in https,http; dual is https,stdio";
const TRANSPORT: Setting =
    Setting { flag: "--transport", key: "transport", variables: &["MCP_TRANSPORT"] };
const HOST: Setting = Setting { flag: "--host", key: "host", variables: &["HOST"] };
const PORT: Setting = Setting { flag: "--port", key: "port", variables: &["PORT"] };
const HTTPS_PORT: Setting =
    Setting { flag: "--https-port", key: "https_port", variables: &["HTTPS_PORT"] };
const HTTP_PORT: Setting =
    Setting { flag: "--http-port", key: "http_port", variables: &["HTTP_PORT"] };
/// The port for https where none is chosen.
pub const HTTPS_PORT_DEFAULT: u16 = 3010;
const HTTP_PORT_DEFAULT: u16 = 3000;
