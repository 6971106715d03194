//! What the person who started the server needs at that moment: where it listens, for whom, and
//! the lines to paste on the laptop.

use std::net::IpAddr;

use crate::config::{Config, Scheme};
use crate::mcp::{SERVER_NAME, SERVER_VERSION};
use crate::upstream::{Probe, Upstream, UpstreamError};

use super::{Bound, Server};

/// The banner, without the upstream's line, which nobody waits for.
pub(super) fn text(config: &Config, server: &Server) -> String {
    let mut text = format!("{SERVER_NAME} {SERVER_VERSION} listening\n");
    for bound in server.bound() {
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
    line(&mut text, "  stop         Ctrl-C");
    snippet(&mut text, server);
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
        Err(error) => format!(
            "  upstream     {url}  {error}\n               where LM Studio runs on another machine: \
             LM_STUDIO_URL=http://<that machine>:1234, and \"Serve on Local Network\" switched on \
             there\n"
        ),
    }
}

fn access(config: &Config, server: &Server) -> String {
    let tokens = server.authenticator.tokens();
    match (tokens, config.home_open) {
        (0, _) => {
            format!("home network only, no token (set one with: {SERVER_NAME} token add NAME)")
        }
        (n, false) => format!("with a token only ({n} valid)"),
        (n, true) => format!("home network without a token, everyone else with one ({n} valid)"),
    }
}

/// The URLs of a listener, the one for other machines first.
fn urls(bound: Bound, server: &Server) -> Vec<String> {
    let url =
        |host: &str| format!("{}://{host}:{}/sse", bound.scheme.as_str(), bound.address.port());
    let ip = bound.address.ip().to_canonical();
    if !ip.is_unspecified() {
        let mut urls = vec![url(&host_text(ip))];
        if ip.is_loopback() {
            urls.insert(0, url("localhost"));
        }
        return urls;
    }
    let mut addresses: Vec<IpAddr> = server
        .interfaces
        .addresses()
        .into_iter()
        .filter(|address| !address.is_loopback() && (bound.address.is_ipv6() || address.is_ipv4()))
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    addresses.sort_by_key(|address| (address.is_ipv6(), !is_private(*address)));
    let mut urls: Vec<String> = addresses.iter().map(|address| url(&host_text(*address))).collect();
    urls.push(url("localhost"));
    urls
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
fn snippet(text: &mut String, server: &Server) {
    let https = server.bound().iter().find(|bound| bound.scheme == Scheme::Https);
    let Some(bound) = https.or_else(|| server.bound().first()) else { return };
    let urls = urls(*bound, server);
    let Some(url) = urls.first() else { return };
    let token = server.authenticator.required();
    let own_ca = server.certificates.as_ref().is_some_and(|c| c.summary().authority.is_some());
    line(text, "\nClaude Desktop, on the laptop: add this to claude_desktop_config.json");
    if bound.scheme == Scheme::Http {
        entry(text, &[url.as_str(), "--allow-http"], None, token);
    } else if own_ca {
        entry(text, &[url.as_str()], Some(("NODE_TLS_REJECT_UNAUTHORIZED", "0")), token);
        let ca_url = url.replace("/sse", "/ca.pem");
        line(text, "Safer, since it checks whom it talks to: fetch the CA once on the laptop,");
        line(text, &format!("  curl -k -o local-llm-ca.pem {ca_url}"));
        line(text, "  openssl x509 -in local-llm-ca.pem -noout -fingerprint -sha256");
        line(
            text,
            "compare the fingerprint with the one above, and put in place of the \"env\" line:",
        );
        line(text, "  \"env\": { \"NODE_EXTRA_CA_CERTS\": \"/full/path/to/local-llm-ca.pem\" }");
    } else {
        entry(text, &[url.as_str()], None, token);
    }
    line(text, "On Windows: \"command\": \"cmd\", \"args\": [\"/c\", \"npx\", \"-y\", …]\n");
}

fn entry(text: &mut String, arguments: &[&str], variable: Option<(&str, &str)>, token: bool) {
    let mut args = vec!["\"-y\"".to_owned(), "\"mcp-remote\"".to_owned()];
    args.extend(arguments.iter().map(|argument| format!("\"{argument}\"")));
    let mut env: Vec<String> =
        variable.iter().map(|(name, value)| format!("\"{name}\": \"{value}\"")).collect();
    if token {
        // No space in the argument: some clients cut arguments at spaces.
        args.push("\"--header\"".to_owned());
        args.push("\"Authorization:${AUTH_HEADER}\"".to_owned());
        env.push("\"AUTH_HEADER\": \"Bearer <token>\"".to_owned());
    }
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

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
