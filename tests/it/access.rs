//! Who is let in: the home rule, tokens, and both.

use local_llm_mcp::auth::Store;
use local_llm_mcp::config::ConfigError;
use local_llm_mcp::server::StartError;
use serde_json::json;

use crate::scratch::eventually;
use crate::support::client::Client;
use crate::support::house::Plan;

const TOKEN: &str = "0123456789abcdef-one";
const OTHER: &str = "0123456789abcdef-two";
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[test]
fn without_tokens_everybody_at_home_is_let_in() {
    let house = Plan::new().start();
    let client = house.client();
    let mut session = client.open();
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    // Clients that are configured for another server send a bearer all the same.
    drop(client.with_token("whatever").open());
    assert!(client.get("/health").json().get("upstream").is_some());
    for (name, value, status) in [
        // A tunnel or proxy on this machine looks like loopback.
        ("X-Forwarded-For", "8.8.8.8", 403),
        ("CF-Connecting-IP", "8.8.8.8", 403),
        ("Origin", "https://evil.example", 403),
        ("Origin", "null", 403),
        // A page whose name its owner points here.
        ("Host", "evil.example", 421),
        ("Host", "raspberrypi.local:3010", 200),
        ("Host", "192.168.1.100:3010", 200),
    ] {
        let got = client.with_field(name, value).get("/health");
        assert_eq!(got.status, status, "{name}: {value}");
    }
}

#[test]
fn with_a_token_only_its_bearers_are_let_in() {
    let house = Plan::new().set("MCP_TOKEN", TOKEN).start();
    let client = house.client();
    let owner = client.with_token(TOKEN);
    let mut session = owner.open();
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    let endpoint = session.endpoint.clone();
    let wrong = [OTHER, TOKEN.strip_prefix('0').unwrap(), &format!("{TOKEN}x"), ""]
        .map(|token| client.with_token(token));
    for (method, path) in [("GET", "/sse"), ("POST", endpoint.as_str()), ("POST", "/messages")] {
        let missing = client.ask(method, path, "Content-Type: application/json\r\n", PING);
        assert_eq!(missing.status, 401, "{method} {path}");
        let challenge = missing.field("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer ") && !challenge.contains("error"), "{challenge}");
        for wrong in &wrong {
            let got = wrong.ask(method, path, "Content-Type: application/json\r\n", PING);
            assert_eq!(got.status, 401, "{method} {path}");
            let challenge = got.field("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer "), "{challenge}");
        }
    }
    // Another scheme, and places where a token must not be.
    let basic = client.with_field("Authorization", &format!("Basic {TOKEN}"));
    assert_eq!(basic.get("/sse").status, 401);
    assert_eq!(client.get(&format!("/sse?access_token={TOKEN}&token={TOKEN}")).status, 401);
    assert_eq!(owner.post(&endpoint, PING).status, 202);
}

#[test]
fn strangers_read_status_and_version_once_tokens_exist() {
    let house = Plan::new().set("MCP_TOKEN", TOKEN).start();
    let client = house.client();
    let little = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
    assert_eq!(client.get("/health").json(), little);
    assert_eq!(client.get("/").json(), little);
    assert_eq!(client.with_field("Accept", "text/html").get("/").json(), little);
    let owner = client.with_token(TOKEN);
    assert!(owner.get("/health").json().get("upstream").is_some());
    assert!(owner.get("/").json().get("endpoints").is_some());
    for path in ["/health", "/"] {
        let got = client.with_token(OTHER).get(path);
        assert_eq!(got.status, 401, "{path}");
        let challenge = got.field("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
}

#[test]
fn tokens_are_taken_up_and_given_up_while_running() {
    let house = Plan::new().start();
    let client = house.client();
    let store = Store::new(house.scratch.path());
    let status = |client: &Client| client.post("/messages?sessionId=none", PING).status;
    assert_eq!(status(&client), 404);
    let one = store.add("one", 0).unwrap();
    eventually("a token is needed", || status(&client) == 401);
    let one = client.with_token(&one);
    assert_eq!(status(&one), 404);
    let two = client.with_token(&store.add("two", 0).unwrap());
    eventually("the second token is known", || status(&two) == 404);
    store.revoke("one").unwrap();
    eventually("the first token is revoked", || status(&one) == 401);
    assert_eq!((status(&two), status(&client)), (404, 401));
    // The last one's end must not open the house.
    store.revoke("two").unwrap();
    eventually("the second token is revoked", || status(&two) == 401);
    assert_eq!(status(&client), 401);
}

#[test]
fn tokens_of_every_source_count_and_each_has_its_own_sessions() {
    let plan = Plan::new();
    let file = plan.scratch.put("tokens.txt", format!("# of the phone\n\n{OTHER}\n"));
    let stored = Store::new(plan.scratch.path()).add("laptop", 0).unwrap();
    let house = plan.set("MCP_TOKEN", TOKEN).set("MCP_TOKEN_FILE", file.to_str().unwrap()).start();
    let clients = [TOKEN, OTHER, &stored].map(|token| house.client().with_token(token));
    let mut sessions: Vec<_> = clients.iter().map(Client::open).collect();
    for (n, session) in sessions.iter_mut().enumerate() {
        for (m, client) in clients.iter().enumerate() {
            let got = client.post(&session.endpoint, PING);
            assert_eq!(got.status, if n == m { 202 } else { 404 }, "{n} {m}");
        }
        // Its owner's ping, and nobody else's.
        assert_eq!(session.message()["id"], 1);
        let tools = session.ask("tools/list", &json!({}));
        assert!(tools["result"].is_object(), "{tools}");
    }
}

#[test]
fn what_one_token_negotiated_is_not_assumed_of_another() {
    let plan = Plan::new().set("MCP_TOKEN", TOKEN);
    let other = Store::new(plan.scratch.path()).add("other", 0).unwrap();
    let house = plan.start();
    let (one, other) = (house.client().with_token(TOKEN), house.client().with_token(&other));
    one.open().initialize("2024-11-05");
    let annotated = |client: &Client| {
        let reply = client.open().ask("tools/list", &json!({}));
        reply["result"]["tools"][0].get("annotations").is_some()
    };
    assert!(!annotated(&one));
    assert!(annotated(&other));
}

#[test]
fn home_open_keeps_the_home_rule_beside_the_tokens() {
    let house = Plan::new().set("MCP_TOKEN", TOKEN).set("MCP_HOME_OPEN", "yes").start();
    let client = house.client();
    let mut home = client.open();
    let mut owner = client.with_token(TOKEN).open();
    for session in [&mut home, &mut owner] {
        assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    }
    assert_eq!(client.with_token(OTHER).get("/sse").status, 401);
    assert_eq!(client.post(&owner.endpoint, PING).status, 404);
    // Through a proxy nobody is at home, but a token is a token.
    let proxied = client.with_field("X-Forwarded-For", "8.8.8.8");
    assert_eq!(proxied.get("/sse").status, 401);
    drop(proxied.with_token(TOKEN).open());
}

#[test]
fn settings_that_let_strangers_in_need_a_token_to_start() {
    let public = |plan: Plan| plan.set("MCP_PUBLIC_URL", "https://mcp.example.org");
    let refused = public(Plan::new()).try_start().map(drop).unwrap_err();
    assert!(matches!(refused, StartError::Config(ConfigError::Public(_))), "{refused}");
    assert!(refused.is_configuration());
    assert!(refused.to_string().contains("token add"), "{refused}");
    let house = public(Plan::new()).set("MCP_TOKEN", TOKEN).start();
    let named = house.client().with_field("Host", "mcp.example.org");
    assert_eq!(named.get("/sse").status, 401);
    drop(named.with_token(TOKEN).open());
}
