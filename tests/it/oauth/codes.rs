use super::bench::{
    Answer, Bench, CALLBACK, OTHER, PASSPHRASE, PUBLIC, Tokens, VERIFIER, challenge,
};
use serde_json::json;

/// A page and nothing else: no redirect, whatever was asked for.
fn is_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.field("location").is_none(), "{answer:?}");
    assert!(answer.body.contains("<h1>"), "{answer:?}");
}

#[test]
fn statement_01_a_redirect_uri_that_differs_is_a_page_and_no_redirect() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    for other in [
        "https://claude.ai.evil.example/api/mcp/auth_callback",
        "https://evil.example/api/mcp/auth_callback",
        "https://claude.ai/api/mcp/auth_callback2",
        "https://claude.ai/api/mcp/",
        "https://claude.ai/api/mcp/auth_callback?a=b",
        "https://CLAUDE.ai/api/mcp/auth_callback",
        "https://user@claude.ai/api/mcp/auth_callback",
        "https://claude.ai/api/mcp/auth_callback%00",
        "https://claude.ai/api/mcp/auth_callback ",
        "https://claude.ai:8443/api/mcp/auth_callback",
        "",
    ] {
        is_page(&bench.page(&client, CALLBACK, &[("redirect_uri", other)]), 400);
    }
    assert_eq!(bench.page(&client, CALLBACK, &[]).status, 200);
}

#[test]
fn statement_02_a_loopback_port_may_differ_and_no_host() {
    let bench = Bench::new();
    let client = bench.client("http://localhost:3335/oauth/callback");
    for port in ["http://localhost:3336/oauth/callback", "http://localhost/oauth/callback"] {
        assert_eq!(bench.page(&client, port, &[]).status, 200, "{port}");
    }
    for other in [
        "http://127.0.0.1:3335/oauth/callback",
        "http://localhost.evil.example:3335/oauth/callback",
        "http://[::1]:3335/oauth/callback",
        "https://localhost:3335/oauth/callback",
    ] {
        is_page(&bench.page(&client, other, &[]), 400);
    }
}

#[test]
fn statement_03_pkce_is_needed_with_s256_and_the_right_verifier() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    for change in [
        [("code_challenge", ""), ("code_challenge_method", "S256")],
        [("code_challenge", VERIFIER), ("code_challenge_method", "plain")],
        [("code_challenge", VERIFIER), ("code_challenge_method", "S256")],
        [("code_challenge", &challenge(VERIFIER)), ("code_challenge_method", "")],
    ] {
        is_page(&bench.page(&client, CALLBACK, &change), 400);
    }
    let (short, long) = ("a".repeat(42), "a".repeat(129));
    let (other, odd) = ("b".repeat(43), format!("{} ", "a".repeat(43)));
    for verifier in ["", &short, &long, &other, &odd] {
        // The challenge fits what is sent, but for `other`: its form alone is at fault.
        let fits = challenge(if verifier == other { VERIFIER } else { verifier });
        let code = bench.code(&client, CALLBACK, &[("code_challenge", &fits)]);
        let got = bench.exchange(&client, &code, &[("code_verifier", verifier)]);
        assert_eq!((got.status, got.error().as_str()), (400, "invalid_grant"), "{verifier}");
    }
    for good in ["a".repeat(43), "z".repeat(128)] {
        let code = bench.code(&client, CALLBACK, &[("code_challenge", &challenge(&good))]);
        Tokens::of(&bench.exchange(&client, &code, &[("code_verifier", &good)]));
    }
}

#[test]
fn statement_04_a_code_is_good_once_for_a_minute_and_for_one_client() {
    let bench = Bench::new();
    let (client, other) = (bench.client(CALLBACK), bench.client("https://other.example/cb"));
    let code = bench.code(&client, CALLBACK, &[]);
    let tokens = Tokens::of(&bench.exchange(&client, &code, &[]));
    assert_eq!(bench.call(&tokens.access).status, 200);
    assert_eq!(bench.exchange(&client, &code, &[]).error(), "invalid_grant");
    assert_eq!(bench.call(&tokens.access).status, 401, "what it gave is taken back");
    assert_eq!(bench.refresh(&client, &tokens.refresh).error(), "invalid_grant");
    for (changes, error) in [
        (&[("client_id", other.as_str())][..], "invalid_grant"),
        (&[("redirect_uri", "https://other.example/cb")], "invalid_grant"),
        (&[("resource", OTHER)], "invalid_target"),
    ] {
        let code = bench.code(&client, CALLBACK, &[]);
        assert_eq!(bench.exchange(&client, &code, changes).error(), error, "{changes:?}");
        assert_eq!(bench.exchange(&client, &code, &[]).error(), "invalid_grant", "it was used");
    }
    let narrow = bench.code(&client, CALLBACK, &[("resource", &format!("{PUBLIC}/mcp"))]);
    let wide = bench.exchange(&client, &narrow, &[("resource", &format!("{PUBLIC}/sse"))]);
    assert_eq!(wide.error(), "invalid_target");
    let code = bench.code(&client, CALLBACK, &[]);
    bench.later(61);
    assert_eq!(bench.exchange(&client, &code, &[]).error(), "invalid_grant");
    assert_eq!(bench.grants(), 0);
}

#[test]
fn statement_04_of_fifty_that_race_for_one_code_one_gets_it() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let code = bench.code(&client, CALLBACK, &[]);
    let got: Vec<u16> = std::thread::scope(|scope| {
        let race = || bench.exchange(&client, &code, &[]).status;
        let racers: Vec<_> = (0..50).map(|_| scope.spawn(race)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let (good, bad) = (200, 400);
    assert_eq!(got.iter().filter(|status| **status == good).count(), 1, "{got:?}");
    assert!(got.iter().all(|status| [good, bad].contains(status)), "{got:?}");
    assert_eq!(bench.grants(), 0, "a code that came twice gives nothing");
}

#[test]
fn statement_05_the_issuer_is_the_same_everywhere() {
    let bench = Bench::new();
    let server = bench.get("/.well-known/oauth-authorization-server").json();
    let resource = bench.get("/.well-known/oauth-protected-resource/mcp").json();
    assert_eq!(server["issuer"], PUBLIC);
    assert_eq!(resource["authorization_servers"], json!([PUBLIC]));
    assert_eq!(server["authorization_response_iss_parameter_supported"], true);
    let client = bench.client(CALLBACK);
    for decision in ["allow", "deny"] {
        let page = bench.page(&client, CALLBACK, &[]);
        let answer = bench.decide(&page, decision, PASSPHRASE);
        assert_eq!(answer.status, 303, "{answer:?}");
        assert_eq!(answer.sent("iss").as_deref(), Some(PUBLIC), "{decision}");
        assert_eq!(answer.sent("error").is_some(), decision == "deny");
        assert_eq!(answer.sent("code").is_some(), decision == "allow");
        assert!(answer.field("location").unwrap().starts_with(&format!("{CALLBACK}?")));
    }
}

#[test]
fn statement_06_the_state_comes_back_as_it_was_sent() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let target = super::bench::authorize(&client, CALLBACK, &[("state", "")]);
    for raw in ["abc", "a%20b+c", "%ff%fe%00", "%22%3Cscript%3E", "a=b%26c", "", "%E2%80%AE"] {
        let page = bench.get(&format!("{target}&state={raw}"));
        let answer = bench.decide(&page, "deny", "");
        let location = answer.field("location").unwrap();
        assert!(location.contains(&format!("&state={raw}&iss=")), "{raw}: {location}");
    }
    let without = bench.decide(&bench.get(&target), "deny", "");
    assert!(!without.field("location").unwrap().contains("state"));
}

#[test]
fn statement_07_a_token_in_a_url_or_a_body_is_none() {
    let bench = Bench::new();
    let tokens = bench.login(&bench.client(CALLBACK));
    let token = &tokens.access;
    for name in ["access_token", "token"] {
        let got = bench.send("POST", &format!("/mcp?{name}={token}"), "", "");
        assert_eq!(got.status, 401);
        let bearer = format!("Authorization: Bearer {token}\r\n");
        let both = bench.send("POST", &format!("/mcp?{name}={token}"), &bearer, "");
        assert_eq!(both.status, 400, "{both:?}");
    }
    let body = format!("access_token={token}");
    assert_eq!(bench.send("POST", "/mcp", super::bench::FORM, &body).status, 401);
    assert_eq!(bench.call(token).status, 200);
}

#[test]
fn statement_08_other_flows_are_not_offered() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    for kind in ["token", "id_token", "code token", ""] {
        let page = bench.page(&client, CALLBACK, &[("response_type", kind)]);
        is_page(&page, 400);
        assert!(page.body.contains("unsupported_response_type"));
    }
    for kind in ["password", "client_credentials", "implicit"] {
        let got = bench.post("/token", &[("grant_type", kind), ("client_id", &client)]);
        assert_eq!((got.status, got.error().as_str()), (400, "unsupported_grant_type"));
    }
}
