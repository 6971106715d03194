//! Who is let in: the decision as a table over (peer, interfaces, head). Nothing is sent anywhere.

use std::net::SocketAddr;
use std::sync::Arc;

use local_llm_mcp::auth::{Authenticator, HostNames, Interface, Principal, TokenSources};
use local_llm_mcp::edge::{Admission, Policy, Refusal, Site, admit_head, parse};

use super::support::{CORS, routes};
use crate::scratch::Scratch;

const TOKEN: &str = "a-token-of-the-test-that-is-long-enough-0123456789";

struct Gate {
    _scratch: Scratch,
    policy: Policy,
}

impl Gate {
    fn new(token: Option<&str>, home_open: bool) -> Self {
        let scratch = Scratch::new();
        let sources = TokenSources {
            state_folder: scratch.file("state"),
            file: None,
            value: token.map(str::to_owned),
        };
        let policy = Policy {
            routes: routes(false),
            authenticator: Arc::new(Authenticator::open(sources, home_open).unwrap()),
            hosts: HostNames::new("desk", &["mcp.example.org"]),
            origins: vec!["https://allowed.example".to_owned()],
            cors: CORS,
            sites: vec![site("https://mcp.example.org")],
            proxies: Vec::new(),
        };
        Self { _scratch: scratch, policy }
    }

    fn ask(&self, peer: &str, head: &str) -> Result<Admission, Refusal> {
        self.ask_over(peer, false, head)
    }

    fn ask_over(&self, peer: &str, tls: bool, head: &str) -> Result<Admission, Refusal> {
        let interfaces = [
            Interface { address: "192.168.1.100".parse().unwrap(), prefix_bits: 24 },
            Interface { address: "2a02:8070:1:2::100".parse().unwrap(), prefix_bits: 64 },
        ];
        let head = format!("{head}\r\n\r\n");
        let (head, _) = parse(head.as_bytes(), 4096).unwrap().unwrap();
        admit_head(
            &head,
            SocketAddr::new(peer.parse().unwrap(), 5000),
            tls,
            &interfaces,
            &self.policy,
        )
    }
}

fn site(url: &str) -> Arc<Site> {
    Arc::new(Site::new(url).unwrap())
}

const HOME: &str = "192.168.1.7";
const STRANGER: &str = "203.0.113.9";
const PRIVATE: &str = "POST /private HTTP/1.1\r\nHost: desk";

#[test]
fn the_home_rule_serves_peers_at_home_and_no_others() {
    let gate = Gate::new(None, false);
    for peer in [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        HOME,
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "169.254.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "::ffff:192.168.1.7",
        "fe80::1",
        "fd00::1",
        "2a02:8070:1:2::7",
    ] {
        let admitted = gate.ask(peer, PRIVATE).unwrap();
        assert_eq!(admitted.principal, Some(Principal::Home), "{peer}");
    }
    for peer in [
        STRANGER,
        "8.8.8.8",
        "172.32.0.1",
        "172.15.0.1",
        "100.128.0.1",
        "100.63.0.1",
        "192.169.1.7",
        "0.0.0.0",
        "255.255.255.255",
        "::ffff:8.8.8.8",
        "2a02:8070:1:3::7",
        "2001:db8::1",
        "::",
        "ff02::1",
    ] {
        assert_eq!(gate.ask(peer, PRIVATE), Err(Refusal::NotHome), "{peer}");
        // Nor do they learn what there is.
        assert_eq!(gate.ask(peer, "GET /none HTTP/1.1\r\nHost: desk"), Err(Refusal::NotHome));
        assert_eq!(gate.ask(peer, "OPTIONS * HTTP/1.1\r\nHost: desk"), Err(Refusal::NotHome));
    }
}

#[test]
fn the_home_rule_refuses_what_came_through_a_proxy_or_tunnel() {
    let gate = Gate::new(None, false);
    for name in [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "X-Real-IP",
        "Via",
        "CF-Connecting-IP",
        "cf-ray",
    ] {
        let refused = gate.ask("127.0.0.1", &format!("{PRIVATE}\r\n{name}: x"));
        assert_eq!(refused, Err(Refusal::Forwarded(name.to_ascii_lowercase())), "{name}");
    }
}

#[test]
fn a_host_must_be_a_name_of_this_home() {
    let gate = Gate::new(None, false);
    for host in [
        "localhost",
        "localhost:3010",
        "127.0.0.1:3010",
        "[::1]:3010",
        "192.168.1.100",
        "desk",
        "DESK:3010",
        "pi.local",
        "nas.lan",
        "pi.home.arpa",
        "mcp.example.org",
    ] {
        assert!(gate.ask(HOME, &format!("GET / HTTP/1.1\r\nHost: {host}")).is_ok(), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "local", "desk.evil.example", "", "a b"]
    {
        let refused = gate.ask(HOME, &format!("GET / HTTP/1.1\r\nHost: {host}"));
        assert_eq!(refused, Err(Refusal::HostRefused(host.to_owned())), "{host}");
    }
    let long = "x".repeat(500);
    let refused = gate.ask(HOME, &format!("GET / HTTP/1.1\r\nHost: {long}"));
    assert_eq!(refused, Err(Refusal::HostRefused("x".repeat(80))));
}

#[test]
fn an_origin_must_be_the_servers_own_or_configured() {
    for gate in [Gate::new(None, false), Gate::new(Some(TOKEN), false)] {
        let ask = |tls, origin: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: pi.local:3010\r\nOrigin: {origin}");
            gate.ask_over(HOME, tls, &head)
        };
        assert!(ask(false, "http://pi.local:3010").is_ok());
        assert!(ask(true, "https://PI.local:3010").is_ok());
        assert!(ask(true, "https://allowed.example").is_ok());
        for (tls, origin) in [
            (true, "http://pi.local:3010"),
            (false, "https://pi.local:3010"),
            (true, "https://pi.local"),
            (true, "https://evil.example"),
            (true, "https://allowed.example.evil.example"),
            (true, "null"),
            (true, ""),
        ] {
            assert_eq!(
                ask(tls, origin),
                Err(Refusal::OriginRefused(origin.to_owned())),
                "{origin}"
            );
        }
    }
}

#[test]
fn without_tokens_a_bearer_is_ignored() {
    let gate = Gate::new(None, false);
    let head = format!("{PRIVATE}\r\nAuthorization: Bearer of-another-server");
    assert_eq!(gate.ask(HOME, &head).unwrap().principal, Some(Principal::Home));
    assert_eq!(gate.ask(STRANGER, &head), Err(Refusal::NotHome));
}

#[test]
fn once_a_token_exists_everyone_needs_one() {
    let gate = Gate::new(Some(TOKEN), false);
    for peer in [HOME, "127.0.0.1", STRANGER] {
        assert_eq!(gate.ask(peer, PRIVATE), Err(Refusal::TokenMissing(None)), "{peer}");
        for wrong in ["x", &TOKEN[1..], &TOKEN.to_uppercase(), &format!("{TOKEN}x")] {
            let head = format!("{PRIVATE}\r\nAuthorization: Bearer {wrong}");
            assert_eq!(gate.ask(peer, &head), Err(Refusal::TokenInvalid(None)), "{peer} {wrong}");
        }
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let head = format!("{PRIVATE}\r\nAuthorization: {scheme} {TOKEN}");
            assert!(matches!(
                gate.ask(peer, &head).unwrap().principal,
                Some(Principal::Token { .. })
            ));
        }
        // Neither an empty one, nor in the query, nor under another scheme.
        let empty = format!("{PRIVATE}\r\nAuthorization: Bearer ");
        assert_eq!(gate.ask(peer, &empty), Err(Refusal::TokenMissing(None)));
        let query = format!("POST /private?access_token={TOKEN} HTTP/1.1\r\nHost: desk");
        assert_eq!(gate.ask(peer, &query), Err(Refusal::TokenMissing(None)));
        let basic = format!("{PRIVATE}\r\nAuthorization: Basic {TOKEN}");
        assert_eq!(gate.ask(peer, &basic), Err(Refusal::TokenMissing(None)));
    }
}

#[test]
fn an_open_route_tells_a_caller_without_a_token_who_it_is_not() {
    let gate = Gate::new(Some(TOKEN), false);
    assert_eq!(gate.ask(STRANGER, "GET / HTTP/1.1\r\nHost: desk").unwrap().principal, None);
    let wrong = "GET / HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer x";
    assert_eq!(gate.ask(HOME, wrong), Err(Refusal::TokenInvalid(None)));
}

#[test]
fn home_open_keeps_the_home_rule_beside_the_tokens() {
    let gate = Gate::new(Some(TOKEN), true);
    assert_eq!(gate.ask(HOME, PRIVATE).unwrap().principal, Some(Principal::Home));
    assert_eq!(gate.ask(STRANGER, PRIVATE), Err(Refusal::TokenMissing(None)));
    let forwarded = format!("{PRIVATE}\r\nVia: x");
    assert_eq!(gate.ask("127.0.0.1", &forwarded), Err(Refusal::TokenMissing(None)));
    let with_token = format!("{forwarded}\r\nAuthorization: Bearer {TOKEN}");
    assert!(gate.ask(STRANGER, &with_token).is_ok());
}

#[test]
fn a_proxy_that_tells_nothing_brings_nobody_home() {
    let mut gate = Gate::new(Some(TOKEN), true);
    gate.policy.proxies = vec!["127.0.0.1".parse().unwrap(), "192.168.1.2".parse().unwrap()];
    for proxy in ["127.0.0.1", "192.168.1.2", "::ffff:192.168.1.2"] {
        assert_eq!(gate.ask(proxy, PRIVATE), Err(Refusal::TokenMissing(None)), "{proxy}");
    }
    assert_eq!(gate.ask(HOME, PRIVATE).unwrap().principal, Some(Principal::Home));
}

#[test]
fn the_route_is_the_whole_path_and_says_what_it_takes() {
    let gate = Gate::new(None, false);
    for path in ["/none", "//", "/echo/", "/ECHO", "/echo/..", "/%65cho", "/echo;a=b"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: desk");
        assert_eq!(gate.ask(HOME, &head), Err(Refusal::NoRoute), "{path}");
    }
    assert_eq!(gate.ask(HOME, "POST /echo?a=b HTTP/1.1\r\nHost: desk").unwrap().route, 1);
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        let head = format!("{method} /echo HTTP/1.1\r\nHost: desk");
        assert_eq!(gate.ask(HOME, &head), Err(Refusal::Method("POST, OPTIONS")), "{method}");
    }
}

#[test]
fn every_route_is_served_below_the_public_prefix_too() {
    let mut gate = Gate::new(None, false);
    gate.policy.sites = vec![site("https://mcp.example.org/llm")];
    let ask = |path: &str, host: &str| {
        let head = format!("OPTIONS {path} HTTP/1.1\r\nHost: {host}");
        gate.ask(HOME, &head).map(|admission| (admission.route, !admission.base.is_empty()))
    };
    for (path, route) in [("/llm", 0), ("/llm/", 0), ("/llm/echo", 1), ("/llm/echo?a=b", 1)] {
        assert_eq!(ask(path, "desk"), Ok((route, true)), "{path}");
    }
    for path in ["/", "/echo"] {
        let route = usize::from(path == "/echo");
        assert_eq!(ask(path, "desk"), Ok((route, false)), "{path}");
        // A proxy that strips the prefix leaves the name.
        for host in ["mcp.example.org", "MCP.example.org:443", "mcp.example.org."] {
            assert_eq!(ask(path, host), Ok((route, true)), "{path} {host}");
        }
    }
    for path in ["/llm//", "/llmecho", "/llm/llm", "/LLM/echo", "/llm/echo/", "/llm/..", "/x/llm"] {
        assert_eq!(ask(path, "desk"), Err(Refusal::NoRoute), "{path}");
    }
}

#[test]
fn a_prefix_with_a_routes_name_leaves_the_route_where_it_is() {
    let mut gate = Gate::new(None, false);
    gate.policy.sites = vec![site("https://mcp.example.org/echo")];
    let ask = |path: &str| {
        let head = format!("OPTIONS {path} HTTP/1.1\r\nHost: desk");
        gate.ask(HOME, &head).map(|admission| (admission.route, !admission.base.is_empty()))
    };
    assert_eq!(ask("/echo"), Ok((1, false)));
    assert_eq!(ask("/echo/"), Ok((0, true)));
    assert_eq!(ask("/echo/echo"), Ok((1, true)));
}

#[test]
fn without_a_prefix_the_public_name_changes_no_path() {
    let gate = Gate::new(None, false);
    let admitted = gate.ask(HOME, "GET / HTTP/1.1\r\nHost: mcp.example.org").unwrap();
    assert_eq!(admitted.base, "");
    for path in ["", "echo"] {
        let refused = gate.ask(HOME, &format!("GET /{path}/ HTTP/1.1\r\nHost: desk"));
        assert_eq!(refused, Err(Refusal::NoRoute));
    }
}

#[test]
fn a_proxy_is_believed_only_where_it_was_named() {
    let mut gate = Gate::new(Some(TOKEN), false);
    gate.policy.proxies = vec!["192.168.1.2".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    let client = |peer: &str, fields: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: desk\r\n{fields}\r\n");
        let (head, _) = parse(head.as_bytes(), 4096).unwrap().unwrap();
        gate.policy.client(&head, peer.parse().unwrap()).to_string()
    };
    for (peer, fields, who) in [
        ("192.168.1.2", "X-Forwarded-For: 203.0.113.5\r\n", "203.0.113.5"),
        ("192.168.1.3", "X-Forwarded-For: 203.0.113.5\r\n", "192.168.1.3"),
        // What the client wrote itself stands before what the proxies wrote.
        ("192.168.1.2", "X-Forwarded-For: 1.1.1.1, 203.0.113.5\r\n", "203.0.113.5"),
        ("192.168.1.2", "X-Forwarded-For: 203.0.113.5, 10.0.0.1\r\n", "203.0.113.5"),
        (
            "192.168.1.2",
            "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: 10.0.0.1\r\n",
            "203.0.113.5",
        ),
        ("192.168.1.2", "X-Forwarded-For: nonsense\r\n", "192.168.1.2"),
        ("192.168.1.2", "X-Forwarded-For: 1.1.1.1, nonsense\r\n", "192.168.1.2"),
        ("192.168.1.2", "X-Real-IP: 203.0.113.5\r\n", "192.168.1.2"),
        ("192.168.1.2", "", "192.168.1.2"),
        ("::ffff:192.168.1.2", "X-Forwarded-For: 2001:db8::5\r\n", "2001:db8::5"),
    ] {
        assert_eq!(client(peer, fields), who, "{peer} {fields}");
    }
    // Whom it brings is not at home, wherever the proxy is.
    let head = format!("{PRIVATE}\r\nX-Forwarded-For: 192.168.1.7");
    assert_eq!(gate.ask("192.168.1.2", &head), Err(Refusal::TokenMissing(None)));
}

#[test]
fn a_wrong_token_is_told_before_a_wrong_method() {
    let gate = Gate::new(Some(TOKEN), false);
    let delete = "DELETE /private HTTP/1.1\r\nHost: desk";
    assert_eq!(gate.ask(HOME, delete), Err(Refusal::TokenMissing(None)));
    let known = format!("{delete}\r\nAuthorization: Bearer {TOKEN}");
    assert_eq!(gate.ask(HOME, &known), Err(Refusal::Method("POST, OPTIONS")));
}
