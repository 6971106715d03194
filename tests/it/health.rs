//! The pages beside the protocol: `/health`, `/`, `/ca.pem`, and everything that is not there.

use serde_json::{Value, json};

use crate::support::client::SOON;
use crate::support::house::Plan;
use crate::support::stand_in::{Script, Stall};

#[test]
fn health_counts_sessions_and_calls() {
    let house = Plan::new().start();
    let first = house.health();
    assert_eq!(first["status"], "ok");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert!(first["uptime_s"].as_u64().unwrap() < 60, "{first}");
    assert_eq!(first["sessions"]["open"], 0);
    assert_eq!(first["calls"]["started"], 0);
    assert!(first["certificate"].is_null(), "{first}");

    let mut session = house.client().open();
    session.call("list_models", &json!({}));
    session.call("chat", &json!({ "message": "hi" }));
    let _other = house.client().open();
    let then = house.health();
    assert_eq!((&then["sessions"]["open"], &then["sessions"]["opened"]), (&json!(2), &json!(2)));
    assert_eq!((&then["calls"]["started"], &then["calls"]["refused"]), (&json!(2), &json!(0)));
    assert!(then["connections"]["open"].as_u64() >= Some(3), "{then}");
    let got = house.client().get("/health");
    assert_eq!(got.field("cache-control"), Some("no-store"));
}

#[test]
fn health_is_200_while_the_upstream_is_down_and_says_so() {
    let mut house = Plan::new().start();
    let url = house.stand_in().url();
    let unknown = house.health()["upstream"].clone();
    assert_eq!((&unknown["url"], &unknown["reachable"]), (&json!(url), &Value::Null));

    let mut session = house.client().open();
    session.call("list_models", &json!({}));
    let up = house.health()["upstream"].clone();
    assert_eq!((&up["reachable"], &up["last_error"]), (&json!(true), &Value::Null));
    assert!(up["last_success_age_s"].as_u64().unwrap() < 60, "{up}");
    assert!(up["kind"].as_str().unwrap().contains("LM Studio"), "{up}");

    drop(house.stand_in.take());
    assert_eq!(session.call("list_models", &json!({}))["isError"], true);
    let got = house.client().get("/health");
    assert_eq!(got.status, 200);
    let down = got.json();
    assert_eq!((&down["status"], &down["upstream"]["reachable"]), (&json!("ok"), &json!(false)));
    let error = &down["upstream"]["last_error"];
    assert!(error["age_s"].as_u64().unwrap() < 60, "{error}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
    assert!(error["code"].as_str().unwrap().starts_with("UPSTREAM"), "{error}");
}

#[test]
fn health_answers_while_the_upstream_stalls() {
    let script = Script { stall: Stall::BeforeHead, ..Script::default() };
    let house = Plan::new().script(script).start();
    let mut session = house.client().open();
    session.begin("tools/call", &json!({ "name": "list_models" }));
    session.begin_chat("hi");
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 2, SOON));
    assert_eq!(house.health()["status"], "ok");
    assert_eq!(house.client().ask("HEAD", "/health", "", "").status, 200);
}

#[test]
fn health_tells_when_the_certificate_expires() {
    let house = Plan::https().start();
    let client = house.tls_client();
    let told = client.get("/health").json()["certificate"].clone();
    let leaf = client.connect().certificate();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert_eq!(told["not_after_s"], leaf.validity().not_after.timestamp());
    let day = told["expires"].as_str().unwrap();
    assert!(day.len() == 10 && day.starts_with("20"), "{day}");
    assert!(told["names"].as_array().unwrap().contains(&json!("localhost")), "{told}");
}

#[test]
fn the_first_page_is_for_programs_and_for_people() {
    let house = Plan::https().start();
    let client = house.tls_client();
    let programs = client.get("/");
    assert_eq!(programs.json()["endpoints"]["sse"], "/sse");
    assert_eq!(programs.json()["name"], "local-llm-mcp");
    assert_eq!(programs.field("vary"), Some("Accept"));
    let browser = client.with_field("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let people = browser.with_field("Host", "pi.local:3010").get("/");
    assert_eq!(people.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(people.text().contains("npx -y mcp-remote https://pi.local:3010/sse"));
    assert!(people.field("content-security-policy").unwrap().contains("default-src 'none'"));
}

#[test]
fn the_ca_is_given_to_whoever_asks_where_it_is_ours() {
    let house = Plan::https().set("MCP_TOKEN", "0123456789abcdef").start();
    let got = house.tls_client().get("/ca.pem");
    assert_eq!((got.status, got.text()), (200, house.scratch.read("ca.pem").as_str()));
    assert!(!got.text().contains("PRIVATE"));
    assert_eq!(Plan::new().start().client().get("/ca.pem").status, 404);
}

#[test]
fn everything_else_is_a_404_in_json() {
    let house = Plan::new().start();
    for path in
        ["/nonsense", "/sse/", "/health/", "/SSE", "/mcp/", "/.well-known/oauth-protected-resource"]
    {
        let got = house.client().get(path);
        let body = got.json();
        assert_eq!((got.status, &body["error"]), (404, &json!("not_found")), "{path}");
        assert!(body["error_description"].is_string(), "{body}");
    }
    for (path, allow) in [("/health", "GET"), ("/", "GET"), ("/ca.pem", "GET")] {
        let got = house.client().post(path, "{}");
        assert_eq!(got.status, 405, "{path}");
        assert!(got.field("allow").unwrap().contains(allow));
    }
}
