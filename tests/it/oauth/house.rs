use std::time::{Duration, Instant};

use local_llm_mcp::auth::{AuthError, Store};
use serde_json::json;

use super::bench::{
    CALLBACK, FORM, JSON, PASSPHRASE, PUBLIC, VERIFIER, authorize, form, hashed, set_passphrase,
    unescape,
};
use crate::scratch::{Scratch, eventually};
use crate::support::client::Client;
use crate::support::house::{House, Plan};
use crate::support::program::{Program, Url};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn plan() -> Plan {
    let plan = Plan::new().set("MCP_OAUTH", "passphrase").set("MCP_PUBLIC_URL", PUBLIC);
    set_passphrase(plan.scratch.path(), hashed());
    plan
}

/// A client by the public name.
fn public(house: &House) -> Client {
    house.client().with_field("Host", "mcp.example.org")
}

/// A whole login over sockets; what /token gave.
pub(super) fn login(client: &Client) -> serde_json::Value {
    let registration = json!({ "redirect_uris": [CALLBACK] }).to_string();
    let registered = client.ask("POST", "/register", JSON, &registration);
    let id = registered.json()["client_id"].as_str().unwrap().to_owned();
    let page = client.ask("GET", &authorize(&id, CALLBACK, &[]), "Accept: text/html\r\n", "");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let (_, rest) = page.text().split_once("name=\"transaction\" value=\"").unwrap();
    let transaction = rest.split('"').next().unwrap();
    let body = form(&[("transaction", transaction), ("decision", "allow"), ("proof", PASSPHRASE)]);
    let fields = format!("{FORM}Origin: {PUBLIC}\r\n");
    let allowed = client.ask("POST", "/authorize", &fields, &body);
    assert_eq!(allowed.status, 303, "{allowed:?}");
    let location = allowed.field("location").unwrap();
    let (_, rest) = location.split_once("code=").unwrap();
    let code = unescape(rest.split('&').next().unwrap());
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
        ("redirect_uri", CALLBACK),
        ("client_id", &id),
    ];
    let given = client.ask("POST", "/token", FORM, &form(&pairs));
    assert_eq!(given.status, 200, "{given:?}");
    let mut given = given.json();
    given["client_id"] = id.into();
    given["code"] = code.into();
    given
}

/// The real program with OAuth under [`PUBLIC`], what it says when it listens, and a client that is
/// nobody yet.
pub(super) fn start_program(scratch: Scratch, more: &[(&str, &str)]) -> (Program, String, Client) {
    let oauth =
        [("MCP_TRANSPORT", "http"), ("MCP_OAUTH", "passphrase"), ("MCP_PUBLIC_URL", PUBLIC)];
    let mut program = Program::start_in(scratch, &[&oauth, more].concat());
    let banner = program.until(|line| line.contains("/sse"));
    let url = Url::all(&banner).into_iter().find(|url| url.port > 0).unwrap();
    (program, banner, Client::plain(url.address()))
}

#[test]
fn statement_16_no_secret_is_in_the_log_and_a_line_stays_one_line() {
    let scratch = Scratch::new();
    set_passphrase(scratch.path(), hashed());
    let (mut program, banner, plain) = start_program(scratch, &[("MCP_LOG", "debug")]);
    assert!(banner.contains("listening"), "{banner}");
    let client = plain.with_field("Host", "mcp.example.org");
    let evil = "evil\nWARN forged line\u{1b}[31m";
    let registration = json!({ "redirect_uris": [CALLBACK], "client_name": evil }).to_string();
    assert_eq!(client.ask("POST", "/register", JSON, &registration).status, 201);
    let given = login(&client);
    let text = |name: &str| given[name].as_str().unwrap().to_owned();
    let (access, code, refresh) = (text("access_token"), text("code"), text("refresh_token"));
    assert_eq!(client.with_token(&access).get("/health").status, 200);
    program.signal(rustix::process::Signal::TERM);
    program.end();
    let said = program.all();
    assert!(said.contains("oauth=") && said.contains("tokens were given"), "{said}");
    for secret in [&access, &code, &refresh, &PASSPHRASE.to_owned(), &VERIFIER.to_owned()] {
        assert!(!said.contains(secret.as_str()), "{secret} is logged");
    }
    assert!(!said.lines().any(|line| line.starts_with("WARN forged")) && !said.contains('\u{1b}'));
}

#[test]
fn statement_20_a_session_belongs_to_its_grant() {
    let house = plan().start();
    let client = public(&house);
    let token = |given: &serde_json::Value| given["access_token"].as_str().unwrap().to_owned();
    let (one, two) = (token(&login(&client)), token(&login(&client)));
    let (one, two) = (client.with_token(&one), client.with_token(&two));
    let mut session = one.open();
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    let (_, id) = session.endpoint.split_once("sessionId=").unwrap();
    assert!(id.len() >= 21, "122 random bits or more: {id}");
    assert_eq!(two.post(&session.endpoint, PING).status, 404);
    assert_eq!(one.post(&session.endpoint, PING).status, 202);
}

#[test]
fn streams_of_a_revoked_grant_end_within_a_heartbeat_and_so_does_its_access() {
    let house = plan().limits(|limits| limits.heartbeat_ms = 1500).start();
    let client = public(&house);
    let given = login(&client);
    let owner = client.with_token(given["access_token"].as_str().unwrap());
    let laptop = client.with_token(&Store::new(house.scratch.path()).add("laptop", 0).unwrap());
    eventually("the token is known", || laptop.get("/health").json().get("upstream").is_some());
    let (mut granted, mut fixed) = (owner.open(), laptop.open());
    let store = Store::new(house.scratch.path());
    let grant = store.read().unwrap().grants[0].id.to_string();
    let revoked = Instant::now();
    store.update(|state| state.revoke_grant(&grant)).unwrap();
    eventually("the grant is refused", || owner.post("/messages", PING).status == 401);
    assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
    while granted.next().is_some() {}
    assert!(revoked.elapsed() < Duration::from_secs(4), "{:?}", revoked.elapsed());
    assert_eq!(fixed.ask("ping", &json!({}))["result"], json!({}), "others go on");
    store.revoke("laptop").unwrap();
    while fixed.next().is_some() {}
}

#[test]
fn statement_22_oauth_over_plain_http_is_refused_but_on_the_box_or_behind_its_proxy() {
    let refused = |plan: Plan| plan.try_config().unwrap_err();
    for (plan, words) in [
        (plan().set("HOST", "0.0.0.0"), "--trusted-proxy"),
        (plan().set("MCP_PUBLIC_URL", ""), "--public-url"),
        (plan().set("MCP_PUBLIC_URL", "http://mcp.example.org"), "https://mcp.example.org"),
        (plan().set("MCP_OAUTH", "yes"), "passphrase or console"),
        (plan().set("MCP_OAUTH_GRACE_S", "90000"), "86400"),
    ] {
        let said = refused(plan);
        assert!(said.contains(words), "{said}");
    }
    let behind = plan().set("HOST", "0.0.0.0").set("MCP_TRUSTED_PROXY", "127.0.0.1");
    assert!(behind.try_config().is_ok());
    // Without a passphrase nobody could ever come in.
    let without = Plan::new().set("MCP_OAUTH", "passphrase").set("MCP_PUBLIC_URL", PUBLIC);
    let said = without.try_start().map(drop).unwrap_err();
    assert!(said.is_configuration() && said.to_string().contains("auth passphrase"), "{said}");
    let console = Plan::new().set("MCP_OAUTH", "console").set("MCP_PUBLIC_URL", PUBLIC);
    drop(console.start());
}

#[test]
fn two_public_urls_that_one_host_stands_for_are_refused() {
    let with = |more: &str| plan().set("MCP_PUBLIC_URL", &format!("{PUBLIC},{more}")).try_config();
    for more in ["https://mcp.example.org/llm", "https://MCP.example.org:443/llm"] {
        let said = with(more).unwrap_err();
        let (one, other) = (format!("{PUBLIC} and"), "https://mcp.example.org/llm have");
        assert!(said.contains(&one) && said.contains(other), "{said}");
        assert!(said.contains("another name or port"), "{said}");
    }
    for more in [
        PUBLIC,
        "https://mcp.example.org:443/",
        "https://mcp.example.org:8443/llm",
        "https://other.example.net/llm",
    ] {
        assert!(with(more).is_ok(), "{more}");
    }
    // Without OAuth nothing is granted for one of them.
    let tokens = Plan::new().set("MCP_PUBLIC_URL", "https://a.example/one,https://a.example/two");
    assert!(tokens.try_config().is_ok());
}

#[test]
fn everyone_needs_a_login_but_home_where_it_was_kept() {
    let closed = plan().start();
    assert_eq!(closed.client().get("/sse").status, 401);
    assert_eq!(public(&closed).get("/sse").status, 401);
    let open = plan().set("MCP_HOME_OPEN", "yes").start();
    drop(open.client().open());
    let stranger = public(&open).with_field("X-Forwarded-For", "198.51.100.7");
    assert_eq!(stranger.get("/sse").status, 401);
    // Without OAuth its paths are not there.
    let tokens = Plan::new().set("MCP_TOKEN", "0123456789abcdef").start();
    for path in ["/authorize", "/token", "/register", "/.well-known/oauth-protected-resource"] {
        assert_eq!(tokens.client().get(path).status, 404, "{path}");
    }
    let challenge = tokens.client().get("/sse");
    assert_eq!(challenge.field("www-authenticate"), Some("Bearer realm=\"mcp\""));
}

#[test]
fn pages_of_any_origin_may_use_what_needs_no_proof() {
    let house = plan().start();
    let page = public(&house).with_field("Origin", "https://inspector.example");
    for path in ["/.well-known/oauth-authorization-server", "/token", "/register", "/revoke"] {
        let asked = page.ask("OPTIONS", path, "Access-Control-Request-Method: POST\r\n", "");
        assert_eq!(asked.status, 204, "{path}");
        assert_eq!(asked.field("access-control-allow-origin"), Some("*"), "{path}");
        assert!(asked.field("access-control-allow-credentials").is_none());
    }
    let read = page.get("/.well-known/oauth-protected-resource/mcp");
    assert_eq!((read.status, read.field("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(page.ask("POST", "/authorize", FORM, "").status, 403);
    assert_eq!(page.ask("POST", "/mcp", JSON, PING).status, 403);
}

#[test]
fn a_client_whose_token_has_ended_hears_so_whoever_else_tries_some() {
    let house = plan().start();
    let client = public(&house);
    let given = login(&client);
    let mut kept: serde_json::Value =
        serde_json::from_str(&house.scratch.read("tokens.json")).unwrap();
    kept["grants"][0]["access"][0]["until_s"] = 1.into();
    house.scratch.put("tokens.json", kept.to_string());
    let ended = client.with_token(given["access_token"].as_str().unwrap());
    eventually("it has ended", || ended.get("/health").status == 401);
    let wrong = client.with_token("mcpa_wrong");
    eventually("the limit is reached", || wrong.get("/health").status == 429);
    let told = ended.get("/health");
    assert_eq!(told.status, 401);
    assert!(told.field("www-authenticate").unwrap().contains("invalid_token"));
    // It goes on with what it has to refresh.
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", given["refresh_token"].as_str().unwrap()),
        ("client_id", given["client_id"].as_str().unwrap()),
    ];
    let fresh = client.ask("POST", "/token", FORM, &form(&pairs)).json();
    let fresh = client.with_token(fresh["access_token"].as_str().unwrap());
    assert_eq!(fresh.get("/health").status, 200);
}

#[test]
fn a_change_by_a_command_is_known_within_a_second() {
    let house = plan().start();
    let client = public(&house);
    let store = Store::new(house.scratch.path());
    let (id, _) = store.add_client("claude", vec![CALLBACK.to_owned()], 0).unwrap();
    let ask = || client.ask("GET", &authorize(&id, CALLBACK, &[]), "Accept: text/html\r\n", "");
    let made = Instant::now();
    // Asking more often would be too often.
    eventually("a second has passed", || made.elapsed() > Duration::from_millis(1100));
    assert_eq!(ask().status, 200);
    let page = ask();
    store
        .update(|state| {
            state.passphrase = None;
            Ok::<_, AuthError>(())
        })
        .unwrap();
    let gone = Instant::now();
    eventually("the passphrase is gone", || {
        let (_, rest) = page.text().split_once("name=\"transaction\" value=\"").unwrap();
        let pairs = [
            ("transaction", rest.split('"').next().unwrap()),
            ("decision", "allow"),
            ("proof", PASSPHRASE),
        ];
        let fields = format!("{FORM}Origin: {PUBLIC}\r\n");
        let got = client.ask("POST", "/authorize", &fields, &form(&pairs)).status;
        [403, 429, 400].contains(&got)
    });
    assert!(gone.elapsed() < Duration::from_secs(3));
}
