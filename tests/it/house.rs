//! Listeners of the whole house, and a certificate that is renewed under open streams.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use local_llm_mcp::config::Scheme;
use serde_json::json;

use crate::scratch::eventually;
use crate::support::client::Client;
use crate::support::house::Plan;

#[test]
fn both_transports_reach_the_same_sessions() {
    let plan = Plan::new().set("MCP_TRANSPORT", "https,http").set("PORT", "");
    let house = plan.set("HTTPS_PORT", "0").set("HTTP_PORT", "0").start();
    assert_eq!(house.server.bound().len(), 2);
    let mut session = house.tls_client().open();
    let ping = r#"{"jsonrpc":"2.0","id":"over http","method":"ping"}"#;
    assert_eq!(house.client().post(&session.endpoint, ping).status, 202);
    assert_eq!(session.message()["id"], "over http");
}

#[test]
fn a_proxy_may_have_as_many_connections_as_there_are() {
    const TOKEN: &str = "0123456789abcdef";
    let plan = || {
        let plan = Plan::new().set("MCP_TOKEN", TOKEN);
        plan.limits(|limits| limits.connections_per_loopback_max = 2)
    };
    for (plan, streams) in [(plan(), 2), (plan().set("MCP_TRUSTED_PROXY", "127.0.0.1"), 4)] {
        let house = plan.start();
        let client = house.client().with_token(TOKEN).with_field("X-Forwarded-For", "192.0.2.1");
        let open: Vec<_> = (0..streams).map(|_| client.stream("GET", "/sse", "", "")).collect();
        assert!(open.iter().all(|stream| stream.head.status == 200));
        // All of them are at work, so that none makes room.
        let mut more = client.connect();
        drop(more.try_send(&client.request("GET", "/health", "", "")));
        assert_eq!(more.try_head().is_some(), streams == 4);
    }
}

#[test]
fn a_renewed_certificate_is_served_without_dropping_a_stream() {
    let plan = Plan::https();
    let (old, new) = (pair(), pair());
    let cert = plan.scratch.put("cert.pem", &old.cert);
    let key = plan.scratch.put("key.pem", &old.key);
    let plan = plan.set("HTTPS_CERT_PATH", cert.to_str().unwrap());
    let house = plan.set("HTTPS_KEY_PATH", key.to_str().unwrap()).start();
    let roots = format!("{}{}", old.cert, new.cert);
    let client = Client::tls(house.address(Scheme::Https), "localhost", &roots);
    assert_eq!(client.connect().certificate(), old.der);
    let mut session = client.open();

    // Half written, as while certbot copies: the old pair goes on.
    house.scratch.put("cert.pem", &new.cert);
    house.scratch.put("key.pem", "-----BEGIN PRIVATE KEY-----\nnonsense\n");
    let looked = std::time::Instant::now();
    eventually("it was looked at", || {
        assert_eq!(client.connect().certificate(), old.der);
        looked.elapsed() > std::time::Duration::from_millis(2500)
    });
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));

    house.scratch.put("key.pem", &new.key);
    eventually("the new pair is served", || client.connect().certificate() == new.der);
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}), "the stream goes on");
    assert_eq!(client.open().ask("ping", &json!({}))["result"], json!({}));
    let names = &client.get("/health").json()["certificate"]["names"];
    assert_eq!(names, &json!(["localhost"]));
    assert_eq!(client.get("/ca.pem").status, 404, "the CA is not ours to give");
}

struct Pair {
    cert: String,
    key: String,
    der: Vec<u8>,
}

/// A self-signed pair for localhost.
fn pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Pair {
        cert: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        der: made.cert.der().to_vec(),
    }
}
