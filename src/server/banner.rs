//! What the person who started the server needs at that moment: where it listens, for whom, and
//! the lines to paste on the laptop.

use std::net::IpAddr;

use crate::auth::is_home_peer;
use crate::config::{Config, Scheme};
use crate::mcp::{SERVER_NAME, SERVER_VERSION};
use crate::order;
use crate::upstream::{Probe, Upstream, UpstreamError};

use super::Server;
use super::network::{Bound, Network};

/// The banner, without the upstream's line, which nobody waits for.
pub(super) fn text(config: &Config, server: &Server) -> String {
    let Some(network) = &server.network else { return stdio_alone(server) };
    let mut text = network_text(config, network);
    if config.stdio {
        line(&mut text, "  stdio        serves the program that started this one too");
    }
    text
}

/// Short, since it lands in the log of the program that started us.
fn stdio_alone(server: &Server) -> String {
    let mut text = format!("{SERVER_NAME} {SERVER_VERSION} on stdin and stdout\n");
    if let Some(refused) = &server.refused {
        line(&mut text, &format!("  warning      {refused}"));
        line(&mut text, "               only the program that started this one is served");
    }
    line(&mut text, "  stop         close its input, or Ctrl-C");
    text
}

fn network_text(config: &Config, server: &Network) -> String {
    let mut text = format!("{SERVER_NAME} {SERVER_VERSION} listening\n");
    for bound in &server.bound {
        let urls = urls(*bound, server);
        let (first, rest) = urls.split_first().map_or(("", &[][..]), |(a, b)| (a.as_str(), b));
        let more =
            if rest.is_empty() { String::new() } else { format!("     (and {})", rest.join(", ")) };
        line(&mut text, &format!("  {first}{more}"));
    }
    if let Some(certificates) = &server.certificates {
        let summary = certificates.summary();
        let (path, names) = (summary.path.display(), summary.names.join(", "));
        line(
            &mut text,
            &format!("  certificate  {path}  until {}  for {names}", summary.not_after),
        );
        if let Some(authority) = &summary.authority {
            let (path, print) = (authority.path.display(), &authority.fingerprint);
            line(&mut text, &format!("               CA {path}  SHA-256 {print}"));
        }
    }
    line(&mut text, &format!("  access       {}", access(config, server)));
    if let Some(url) = config.public_url().filter(|_| config.oauth.is_some()) {
        line(&mut text, &format!("  connector    {url}/mcp  (the URL of a custom connector)"));
    }
    line(&mut text, "  stop         Ctrl-C");
    snippet(&mut text, config, server);
    text
}

/// The upstream's line.
pub(super) fn upstream(upstream: &Upstream, found: &Result<Probe, UpstreamError>) -> String {
    let url = upstream.base_url();
    match found {
        Ok(probe) => {
            let plural = if probe.models == 1 { "" } else { "s" };
            format!("  upstream     {url}  {}, {} model{plural}\n", probe.kind, probe.models)
        }
        Err(error) => {
            let next = error.next_step(upstream.known_kind());
            format!("  upstream     {url}  {error}\n               {next}\n")
        }
    }
}

fn access(config: &Config, server: &Network) -> String {
    let tokens = server.authenticator.tokens();
    if config.oauth.is_some() {
        let home = if config.home_open { "home network without a login, " } else { "" };
        let rest = if config.home_open { "everyone else " } else { "" };
        return format!("{home}{rest}with a login (OAuth) or a token ({tokens} valid)");
    }
    match (tokens, config.home_open) {
        (0, _) => {
            format!("home network only, no token (set one with: {SERVER_NAME} token add NAME)")
        }
        (n, false) => format!("with a token only ({n} valid)"),
        (n, true) => format!("home network without a token, everyone else with one ({n} valid)"),
    }
}

/// The URLs of a listener, the one for other machines first.
fn urls(bound: Bound, server: &Network) -> Vec<String> {
    let url = |host: &str| url_of(bound, host);
    let ip = bound.address.ip().to_canonical();
    if !ip.is_unspecified() {
        let mut urls = vec![url(&host_text(ip))];
        if ip.is_loopback() {
            urls.insert(0, url("localhost"));
        }
        return urls;
    }
    let addresses: Vec<IpAddr> = server
        .interfaces
        .addresses()
        .into_iter()
        .filter(|address| !address.is_loopback() && (bound.address.is_ipv6() || address.is_ipv4()))
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    let place = |address: &IpAddr| (address.is_ipv6(), !is_private(*address));
    let addresses = order::by(addresses, |one, other| place(one).cmp(&place(other)));
    // An address whose neighbors the home rule does not serve is no use to a laptop without a token.
    let everyone = server.authenticator.required();
    let (serving, other): (Vec<IpAddr>, Vec<IpAddr>) = addresses
        .into_iter()
        .partition(|address| everyone || address.is_ipv6() || is_home_peer(*address, &[]));
    let texts = |addresses: &[IpAddr]| -> Vec<String> {
        addresses.iter().map(|address| url(&host_text(*address))).collect()
    };
    [texts(&serving), vec![url("localhost")], texts(&other)].concat()
}

fn url_of(bound: Bound, host: &str) -> String {
    format!("{}://{host}:{}/sse", bound.scheme.as_str(), bound.address.port())
}

/// The URL to paste: the public one where there is one, else one that the certificate is for, since
/// clients hold its names against the URL.
fn pasted(bound: Bound, config: &Config, server: &Network) -> Option<String> {
    if let Some(public) = config.public_url() {
        return Some(format!("{public}/sse"));
    }
    let first = urls(bound, server).into_iter().next();
    let summary = server.certificates.as_ref().map(|certificates| certificates.summary());
    // Our own certificate has every address of this machine.
    let foreign = summary.filter(|it| bound.scheme == Scheme::Https && it.authority.is_none());
    let Some(summary) = foreign else { return first };
    let typed = summary.names.iter().filter(|name| !name.starts_with('*'));
    let best = typed.min_by_key(|name| {
        let address = name.parse::<IpAddr>();
        let here = *name == "localhost" || address.as_ref().is_ok_and(IpAddr::is_loopback);
        (here, address.is_ok())
    });
    let host = best.map(|name| name.parse().map_or_else(|_| name.clone(), host_text));
    host.map(|host| url_of(bound, &host)).or(first)
}

fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_private())
}

fn host_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// The entry for Claude Desktop that works as pasted, and the safer one.
fn snippet(text: &mut String, config: &Config, server: &Network) {
    let https = server.bound.iter().find(|bound| bound.scheme == Scheme::Https);
    let Some(bound) = https.or_else(|| server.bound.first()) else { return };
    let Some(url) = pasted(*bound, config, server) else { return };
    // With the home rule beside the tokens, a laptop at home needs none.
    let token = !server.authenticator.home_rule();
    line(text, "\nClaude Desktop, on the laptop: add this to claude_desktop_config.json");
    if url.starts_with("http://") {
        entry(text, &[url.as_str(), "--allow-http"], None, token);
    } else if shows_own_certificate(&url, config, server) {
        entry(text, &[url.as_str()], Some(("NODE_TLS_REJECT_UNAUTHORIZED", "0")), token);
        let ca_url = url.replace("/sse", "/ca.pem");
        line(text, "Safer, since it checks whom it talks to: fetch the CA once on the laptop,");
        line(text, &format!("  curl -k -o local-llm-ca.pem {ca_url}"));
        line(text, "  openssl x509 -in local-llm-ca.pem -noout -fingerprint -sha256");
        line(
            text,
            "compare the fingerprint with the one above, and put in place of the \"env\" line:",
        );
        let ca = Some(("NODE_EXTRA_CA_CERTS", "/full/path/to/local-llm-ca.pem"));
        line(text, &format!("  \"env\": {{ {} }}", variables(ca, token).join(", ")));
    } else {
        entry(text, &[url.as_str()], None, token);
    }
    line(text, "On Windows: \"command\": \"cmd\", \"args\": [\"/c\", \"npx\", \"-y\", …]\n");
}

/// Whether a client of this URL sees a certificate of our own CA. Behind a public URL that it does
/// not name there is a proxy with another.
fn shows_own_certificate(url: &str, config: &Config, server: &Network) -> bool {
    let Some(certificates) = &server.certificates else { return false };
    let summary = certificates.summary();
    let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
    let named = |name: &String| {
        let host = name.parse().map_or_else(|_| name.clone(), host_text);
        let rest = authority.and_then(|authority| authority.strip_prefix(&host));
        rest.is_some_and(|port| port.is_empty() || port.starts_with(':'))
    };
    summary.authority.is_some()
        && (config.public_urls.is_empty() || summary.names.iter().any(named))
}

fn entry(text: &mut String, arguments: &[&str], variable: Option<(&str, &str)>, token: bool) {
    let mut args = vec!["\"-y\"".to_owned(), "\"mcp-remote\"".to_owned()];
    args.extend(arguments.iter().map(|argument| format!("\"{argument}\"")));
    if token {
        // No space in the argument: some clients cut arguments at spaces.
        args.push("\"--header\"".to_owned());
        args.push("\"Authorization:${AUTH_HEADER}\"".to_owned());
    }
    let env = variables(variable, token);
    let comma = if env.is_empty() { "" } else { "," };
    line(text, "{");
    line(text, "  \"mcpServers\": {");
    line(text, "    \"local-llm\": {");
    line(text, "      \"command\": \"npx\",");
    line(text, &format!("      \"args\": [{}]{comma}", args.join(", ")));
    if !env.is_empty() {
        line(text, &format!("      \"env\": {{ {} }}", env.join(", ")));
    }
    line(text, "    }");
    line(text, "  }");
    line(text, "}");
}

/// The members of an entry's `env`.
fn variables(variable: Option<(&str, &str)>, token: bool) -> Vec<String> {
    let token = token.then_some(("AUTH_HEADER", "Bearer <token>"));
    variable.iter().chain(&token).map(|(name, value)| format!("\"{name}\": \"{value}\"")).collect()
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
