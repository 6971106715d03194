use serde_json::{Value, json};

use super::bench::{Answer, Bench, CALLBACK, FORM, JSON, PUBLIC, Tokens, VERIFIER, form};

/// The metadata of a challenge, as clients read it: with a simple pattern.
fn metadata_of(answer: &Answer) -> String {
    let challenge = answer.field("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.is_ascii());
    let (_, rest) = challenge.split_once("resource_metadata=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

fn path(url: &str) -> &str {
    url.strip_prefix(PUBLIC).unwrap()
}

/// Metadata of `PUBLIC` and a resource below it, found as a client finds it.
fn discover(bench: &Bench, resource: &str) -> Value {
    let methods: &[&str] =
        if resource == "/mcp" { &["POST", "GET", "DELETE", "PUT"] } else { &["GET", "POST"] };
    for method in methods {
        let refused = bench.send(method, resource, "", "");
        assert_eq!(refused.status, 401, "{method}: before any 405");
        let url = metadata_of(&refused);
        assert_eq!(url, format!("{PUBLIC}/.well-known/oauth-protected-resource{resource}"));
        let document = bench.get(path(&url)).json();
        assert_eq!(document["resource"], format!("{PUBLIC}{resource}"));
        assert_eq!(document["authorization_servers"], json!([PUBLIC]));
    }
    let server = bench.get("/.well-known/oauth-authorization-server");
    assert_eq!(server.field("cache-control"), Some("max-age=300"));
    let server = server.json();
    for (name, path) in [
        ("authorization_endpoint", "/authorize"),
        ("token_endpoint", "/token"),
        ("registration_endpoint", "/register"),
        ("revocation_endpoint", "/revoke"),
    ] {
        assert_eq!(server[name], format!("{PUBLIC}{path}"));
    }
    assert_eq!(server["code_challenge_methods_supported"], json!(["S256"]));
    server
}

/// Id and secret in a field of the request.
fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("Authorization: Basic {pair}\r\n")
}

#[test]
fn hosted_claude_logs_in_with_a_registration_of_its_own_and_goes_on() {
    let bench = Bench::new();
    for resource in ["/mcp", "/sse"] {
        let server = discover(&bench, resource);
        assert!(
            server["token_endpoint_auth_methods_supported"]
                .as_array()
                .unwrap()
                .contains(&json!("client_secret_post"))
        );
        // It registers anew for every connector, sometimes twice.
        let registration = json!({
            "client_name": "Claude", "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_post", "scope": "mcp",
        });
        let first = bench.register(&registration);
        let answer = bench.register(&registration);
        assert_eq!((first.status, answer.status), (201, 201));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        let registered = answer.json();
        assert!(!answer.body.contains("null"));
        assert!(registered["client_id_issued_at"].is_i64());
        assert_eq!(registered["client_secret_expires_at"], 0);
        assert_eq!(registered["redirect_uris"], json!([CALLBACK]));
        let id = registered["client_id"].as_str().unwrap();
        let secret = registered["client_secret"].as_str().unwrap();
        let typed = format!("{PUBLIC}{resource}");
        let code = bench.code(id, CALLBACK, &[("resource", &typed), ("scope", "mcp")]);
        assert_eq!(bench.exchange(id, &code, &[("resource", &typed)]).status, 401, "no secret");
        let code = bench.code(id, CALLBACK, &[("resource", &typed), ("scope", "mcp")]);
        let answer = bench.exchange(id, &code, &[("resource", &typed), ("client_secret", secret)]);
        let body = answer.json();
        assert_eq!(
            (body["token_type"].as_str(), body["scope"].as_str()),
            (Some("Bearer"), Some("mcp"))
        );
        assert!(body["expires_in"].as_i64().unwrap() >= 28_800, "a refresh is rare");
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        let tokens = Tokens::of(&answer);
        assert_eq!(bench.call(&tokens.access).status, 200);
        bench.later(28_810);
        let expired = bench.call(&tokens.access);
        assert_eq!(expired.status, 401);
        assert!(expired.field("www-authenticate").unwrap().contains("error=\"invalid_token\""));
        let refreshed = bench.post(
            "/token",
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", &tokens.refresh),
                ("client_id", id),
                ("client_secret", secret),
                ("resource", &typed),
            ],
        );
        assert_eq!(bench.call(&Tokens::of(&refreshed).access).status, 200);
    }
}

#[test]
fn claude_code_logs_in_by_its_document_on_any_port() {
    let bench = Bench::new();
    let server = discover(&bench, "/mcp");
    assert_eq!(server["client_id_metadata_document_supported"], true);
    assert!(
        server["token_endpoint_auth_methods_supported"]
            .as_array()
            .unwrap()
            .contains(&json!("none"))
    );
    let id = "https://claude.ai/oauth/claude-code-client-metadata";
    for redirect in ["http://localhost:54545/callback", "http://127.0.0.1:1/callback"] {
        let page = bench.page(id, redirect, &[("resource", &format!("{PUBLIC}/mcp"))]);
        assert!(page.body.contains("Claude Code") && page.body.contains("id=\"loopback\""));
        let code = bench.code(id, redirect, &[]);
        let answer = bench.exchange(id, &code, &[("redirect_uri", redirect)]);
        assert_eq!(bench.call(&Tokens::of(&answer).access).status, 200);
    }
    assert_eq!(bench.page(id, "http://localhost:54545/other", &[]).status, 400);
    let claude = "https://claude.ai/oauth/mcp-oauth-client-metadata";
    let code = bench.code(claude, CALLBACK, &[]);
    Tokens::of(&bench.exchange(claude, &code, &[]));
    assert_eq!(bench.net.touched(), (0, 0), "these documents are known");
}

#[test]
fn a_client_made_by_the_owner_shows_its_secret_in_either_way() {
    let bench = Bench::new();
    let store = local_llm_mcp::auth::Store::new(bench.scratch.path());
    let (id, secret) = store.add_client("claude", vec![CALLBACK.to_owned()], 0).unwrap();
    let basic = |secret: &str| format!("{FORM}{}", basic(&id, secret));
    let exchange = |fields: &str, code: &str| {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
        ];
        bench.send("POST", "/token", fields, &form(&pairs))
    };
    crate::scratch::eventually("the client is known", || bench.authenticator.client(&id).is_some());
    let code = bench.code(&id, CALLBACK, &[]);
    let wrong = exchange(&basic("mcpk_wrong"), &code);
    assert_eq!((wrong.status, wrong.field("www-authenticate")), (401, Some("Basic realm=\"mcp\"")));
    let tokens = Tokens::of(&exchange(&basic(&secret), &code));
    let code = bench.code(&id, CALLBACK, &[]);
    Tokens::of(&bench.exchange(&id, &code, &[("client_secret", &secret)]));
    bench.authenticator.change(|state| state.remove_client("claude")).unwrap();
    assert_eq!(bench.call(&tokens.access).status, 401);
    assert_eq!(bench.page(&id, CALLBACK, &[]).status, 400);
}

#[test]
fn statement_21_metadata_tells_of_public_urls_alone() {
    let bench = Bench::new();
    let ask = |path: &str, fields: &str| bench.send("GET", path, fields, "");
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"]
    {
        for suffix in ["", "/mcp", "/sse"] {
            assert_eq!(bench.get(&format!("{path}{suffix}")).status, 200);
        }
        let other = ask(path, "Host: other.example.net\r\nX-Forwarded-Host: evil.example\r\n");
        assert!(other.body.contains("https://other.example.net") && !other.body.contains("evil"));
        for host in ["MCP.Example.ORG", "mcp.example.org:443"] {
            let same = ask(path, &format!("Host: {host}\r\n"));
            assert!(same.status == 200 && same.body == bench.get(path).body, "{host}: {same:?}");
        }
        // A name of the box that is no public URL has none of it.
        for host in [
            "box",
            "192.168.1.4:3010",
            "mcp.example.org:3010",
            "mcp.example.org:80",
            "mcp.example.org.",
            "mcp.example.org.:443",
        ] {
            let local = ask(path, &format!("Host: {host}\r\n"));
            assert_eq!((local.status, local.error().as_str()), (404, "not_found"), "{host}");
        }
        for host in ["evil.example", "mcp.example.org:443:443", "mcp.example.org@evil.example"] {
            assert_eq!(ask(path, &format!("Host: {host}\r\n")).status, 421, "{host}");
        }
    }
    let local = bench.send("POST", "/mcp", "Host: box\r\n", "");
    assert_eq!(local.field("www-authenticate"), Some("Bearer realm=\"mcp\""));
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/",
    ] {
        let got = bench.get(path);
        assert_eq!((got.status, got.error().as_str()), (404, "not_found"), "{path}");
    }
    let evil = bench.send("POST", "/mcp", "Origin: https://evil.example\r\n", "");
    assert_eq!(evil.status, 403);
    // Documents and tokens are for web pages of any origin.
    assert_eq!(
        ask("/.well-known/oauth-protected-resource", "Origin: https://inspector.example\r\n")
            .status,
        200
    );
}

#[test]
fn statement_23_a_foreign_bearer_is_ignored_where_none_is_needed() {
    let bench = Bench::new();
    let foreign = "Authorization: Bearer of-another-server\r\n";
    assert_eq!(bench.send("GET", "/.well-known/oauth-protected-resource", foreign, "").status, 200);
    let registration = json!({ "redirect_uris": [CALLBACK] }).to_string();
    let registered = bench.send("POST", "/register", &format!("{JSON}{foreign}"), &registration);
    assert_eq!(registered.status, 201);
    let id = registered.json()["client_id"].as_str().unwrap().to_owned();
    assert_eq!(registered.json()["token_endpoint_auth_method"], "none");
    assert!(registered.json().get("client_secret").is_none());
    let code = bench.code(&id, CALLBACK, &[]);
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", CALLBACK),
        ("client_id", &id),
    ];
    Tokens::of(&bench.send("POST", "/token", &format!("{FORM}{foreign}"), &form(&pairs)));
}

/// Every requirement of the suite's `authorization-server-metadata-endpoint`; the document.
fn server_metadata(bench: &Bench, issuer: &str) -> Value {
    // The URI of the document without the well-known part is the issuer.
    let prefix = issuer.strip_prefix(PUBLIC).unwrap();
    let answer = bench.get(&format!("/.well-known/oauth-authorization-server{prefix}"));
    assert_eq!((answer.status, answer.content_type), (200, "application/json"));
    let document = answer.json();
    assert_eq!(document["issuer"], issuer);
    for endpoint in ["authorization_endpoint", "token_endpoint"] {
        let url = document[endpoint].as_str().unwrap();
        assert!(url.starts_with(&format!("{issuer}/")), "{endpoint}: {url}");
    }
    let lists = |name: &str, value: &str| {
        assert!(document[name].as_array().unwrap().contains(&json!(value)), "{name}: {document}");
    };
    lists("response_types_supported", "code");
    lists("code_challenge_methods_supported", "S256");
    assert_eq!(document["client_id_metadata_document_supported"], true);
    document
}

#[test]
fn statement_24_what_the_conformance_suite_asks_of_an_authorization_server() {
    // The suite itself runs in tests/conformance, against one issuer and a public client.
    let redirect = "http://127.0.0.1:3456/callback";
    let state = "uAFjV2ud9mOuLwH+v6yC/8VxzBAAkxW=";
    for issuer in [PUBLIC, "https://mcp.example.org/llm"] {
        let bench = Bench::with(local_llm_mcp::oauth::Proof::Passphrase, &[issuer]);
        let document = server_metadata(&bench, issuer);
        for method in document["token_endpoint_auth_methods_supported"].as_array().unwrap() {
            let registration =
                json!({ "redirect_uris": [redirect], "token_endpoint_auth_method": method });
            let registered = bench.register(&registration);
            assert_eq!((registered.status, registered.content_type), (201, "application/json"));
            let registered = registered.json();
            let id = registered["client_id"].as_str().unwrap();
            let secret = registered["client_secret"].as_str().unwrap_or_default();
            assert_eq!(secret.is_empty(), method == "none", "{method}");

            // Neither a resource nor a scope is sent.
            let asked = [("resource", ""), ("scope", ""), ("state", state)];
            let path = document["authorization_endpoint"].as_str().unwrap();
            assert_eq!(path.strip_prefix(issuer), Some("/authorize"));
            let page = bench.page(id, redirect, &asked);
            let allowed = bench.decide(&page, "allow", super::bench::PASSPHRASE);
            assert_eq!(allowed.status, 303);
            let location = allowed.field("location").unwrap();
            assert!(location.starts_with(&format!("{redirect}?")), "{location}");
            assert_eq!(allowed.sent_all("state"), [state]);
            assert_eq!(allowed.sent_all("iss"), [issuer]);
            assert!(allowed.sent_all("error").is_empty(), "{location}");
            let codes = allowed.sent_all("code");
            let [code] = &codes[..] else { panic!("one code: {location}") };
            assert!(!code.is_empty());

            let mut fields = FORM.to_owned();
            let mut pairs = vec![
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirect),
                ("code_verifier", VERIFIER),
            ];
            match method.as_str().unwrap() {
                "none" => pairs.push(("client_id", id)),
                "client_secret_post" => {
                    pairs.extend([("client_id", id), ("client_secret", secret)]);
                }
                "client_secret_basic" => fields.push_str(&basic(id, secret)),
                other => panic!("the suite knows no {other}"),
            }
            let given = bench.send("POST", "/token", &fields, &form(&pairs));
            assert_eq!((given.status, given.content_type), (200, "application/json"), "{given:?}");
            assert_eq!(given.field("cache-control"), Some("no-store"));
            assert_eq!(given.json()["token_type"], "Bearer");
            assert_eq!(bench.call(&Tokens::of(&given).access).status, 200, "{method}");
        }
    }
}

#[test]
fn a_registration_that_cannot_be_kept_is_refused_with_its_reason() {
    let bench = Bench::new();
    for (registration, error) in [
        (json!({}), "invalid_redirect_uri"),
        (json!({ "redirect_uris": [] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://evil.example/cb"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["javascript://x"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": vec![CALLBACK; 9] }), "invalid_redirect_uri"),
        (
            json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "tls" }),
            "invalid_client_metadata",
        ),
        (json!("text"), "invalid_client_metadata"),
        (json!({ "redirect_uris": 7 }), "invalid_client_metadata"),
    ] {
        let got = bench.register(&registration);
        assert_eq!((got.status, got.error().as_str()), (400, error), "{registration}");
    }
    let kept = bench.register(&json!({
        "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback"], "client_name": "Cursor",
        "application_type": "native", "software_id": "x", "token_endpoint_auth_method": "client_secret_basic",
    }));
    assert_eq!((kept.status, kept.json()["application_type"].as_str()), (201, Some("native")));
    assert_eq!(bench.send("POST", "/token", JSON, "{}").status, 415);
    assert_eq!(bench.post("/token", &[("client_id", "a"), ("client_id", "b")]).status, 400);
}
