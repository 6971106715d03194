use std::sync::Arc;

use local_llm_mcp::auth::{AuthError, Store};
use local_llm_mcp::oauth::Proof;

use super::bench::{Bench, CALLBACK, OTHER, PUBLIC, Tokens};

#[test]
fn statement_13_refresh_tokens_rotate_with_a_grace_and_a_stolen_one_ends_all() {
    let bench = Bench::new();
    let (client, other) = (bench.client(CALLBACK), bench.client("https://other.example/cb"));
    let first = bench.login(&client);
    assert_eq!(bench.refresh(&other, &first.refresh).error(), "invalid_grant");
    let second = Tokens::of(&bench.refresh(&client, &first.refresh));
    // A second process with the same token: both go on.
    bench.later(599);
    let third = Tokens::of(&bench.refresh(&client, &first.refresh));
    for tokens in [&first, &second, &third] {
        assert_eq!(bench.call(&tokens.access).status, 200);
    }
    let next = Tokens::of(&bench.refresh(&client, &second.refresh));
    Tokens::of(&bench.refresh(&client, &third.refresh));
    bench.later(2);
    assert_eq!(bench.refresh(&client, &first.refresh).error(), "invalid_grant", "after the grace");
    for tokens in [&first, &second, &third, &next] {
        assert_eq!(bench.call(&tokens.access).status, 401, "the whole grant is gone");
        assert_eq!(bench.refresh(&client, &tokens.refresh).error(), "invalid_grant");
    }
    // Revoked by its client.
    let tokens = bench.login(&client);
    let revoke = |client: &str, token: &str| {
        bench.post("/revoke", &[("token", token), ("client_id", client)])
    };
    assert_eq!(revoke(&other, &tokens.refresh).status, 200);
    assert_eq!(bench.call(&tokens.access).status, 200, "of another client nothing is revoked");
    assert_eq!(revoke(&client, "mcpr_unknown").status, 200);
    assert_eq!(revoke(&client, &tokens.access).status, 200);
    assert_eq!(bench.call(&tokens.access).status, 401);
    let again = Tokens::of(&bench.refresh(&client, &tokens.refresh));
    assert_eq!(revoke(&client, &again.refresh).status, 200);
    assert_eq!(bench.call(&again.access).status, 401);
    assert_eq!(bench.refresh(&client, &again.refresh).error(), "invalid_grant");
}

#[test]
fn statement_13_a_ninth_leaf_evicts_the_oldest_and_parallel_refreshes_all_work() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let root = bench.login(&client);
    let leaves: Vec<Tokens> =
        (0..9).map(|_| Tokens::of(&bench.refresh(&client, &root.refresh))).collect();
    let state = bench.authenticator.state().unwrap();
    assert_eq!(state.grants[0].leaves(), 8);
    assert_eq!(bench.refresh(&client, &leaves[0].refresh).error(), "invalid_grant");
    for leaf in &leaves[1..] {
        Tokens::of(&bench.refresh(&client, &leaf.refresh));
    }
    let fresh = bench.login(&client);
    let got: Vec<Tokens> = std::thread::scope(|scope| {
        let refresh = || Tokens::of(&bench.refresh(&client, &fresh.refresh));
        let racers: Vec<_> = (0..4).map(|_| scope.spawn(refresh)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    for tokens in got {
        assert_eq!(bench.call(&tokens.access).status, 200);
    }
}

#[test]
fn statement_14_what_was_given_holds_over_a_restart() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let (kept, revoked) = (bench.login(&client), bench.login(&client));
    bench.post("/revoke", &[("token", &revoked.refresh), ("client_id", &client)]);
    let again = Bench::over(Arc::clone(&bench.scratch), Proof::Passphrase, &[PUBLIC]);
    assert_eq!(again.call(&kept.access).status, 200);
    assert_eq!(again.call(&revoked.access).status, 401);
    Tokens::of(&again.refresh(&client, &kept.refresh));
    // The registration is not forgotten either.
    again.login(&client);
}

#[test]
fn statement_15_a_token_is_for_one_public_url() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    for resource in [
        format!("{PUBLIC}/"),
        PUBLIC.to_owned(),
        "HTTPS://MCP.Example.ORG".to_owned(),
        "https://mcp.example.org:443/mcp".to_owned(),
        format!("{PUBLIC}/sse/"),
        format!("{PUBLIC}/messages"),
    ] {
        let resource = resource.as_str();
        let code = bench.code(&client, CALLBACK, &[("resource", resource)]);
        let tokens = Tokens::of(&bench.exchange(&client, &code, &[("resource", resource)]));
        assert_eq!(bench.call(&tokens.access).status, 200, "{resource}");
        let bearer =
            format!("Authorization: Bearer {}\r\nHost: other.example.net\r\n", tokens.access);
        let elsewhere = bench.send("POST", "/mcp", &bearer, "");
        assert_eq!((elsewhere.status, elsewhere.error().as_str()), (401, "invalid_token"));
        let local = bench.send("POST", "/mcp", &bearer.replace("other.example.net", "box"), "");
        assert_eq!(local.status, 401);
    }
    for evil in [
        "https://evil.example",
        "https://mcp.example.org.evil",
        "https://mcp.example.org/other",
        "x",
    ] {
        let page = bench.page(&client, CALLBACK, &[("resource", evil)]);
        assert_eq!(page.status, 400);
        assert!(page.body.contains("invalid_target") && page.field("location").is_none());
        let code = bench.code(&client, CALLBACK, &[]);
        assert_eq!(bench.exchange(&client, &code, &[("resource", evil)]).error(), "invalid_target");
    }
    // Without its public URL a grant is nothing.
    let tokens = bench.login(&client);
    let moved = Bench::over(Arc::clone(&bench.scratch), Proof::Passphrase, &[OTHER]);
    let bearer = format!("Authorization: Bearer {}\r\n", tokens.access);
    assert_eq!(moved.send("POST", "/mcp", &bearer, "").status, 401);
}

#[test]
fn statement_16_no_secret_is_kept_in_clear() {
    let bench = Bench::new();
    let store = Store::new(bench.scratch.path());
    let (id, secret) = store.add_client("claude", vec![CALLBACK.to_owned()], 0).unwrap();
    let fixed = store.add("laptop", 0).unwrap();
    let client = bench.client(CALLBACK);
    let code = bench.code(&client, CALLBACK, &[]);
    let first = Tokens::of(&bench.exchange(&client, &code, &[]));
    let second = Tokens::of(&bench.refresh(&client, &first.refresh));
    let kept = bench.scratch.read("tokens.json");
    assert!(kept.contains(&id) && kept.contains("sha256"));
    for given in [
        &secret,
        &fixed,
        &code,
        &first.access,
        &first.refresh,
        &second.access,
        &second.refresh,
        &super::bench::PASSPHRASE.to_owned(),
        &client,
    ] {
        // Without its kind; other underscores are part of it.
        let body = match given.split_once('_') {
            Some((kind, body)) if kind.len() <= "mcps".len() => body,
            _ => given.as_str(),
        };
        assert!(!kept.contains(body), "{given} is kept");
        assert!(!format!("{:?}{:?}", bench.authenticator, bench.oauth).contains(body));
    }
    assert_eq!(crate::scratch::mode(&bench.scratch.file("tokens.json")), 0o600);
}

#[test]
fn statement_17_a_token_of_one_kind_is_none_of_another() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let fixed = Store::new(bench.scratch.path()).add("laptop", 0).unwrap();
    let tokens = bench.login(&client);
    // The login's own change has read the file again.
    assert_eq!(bench.call(&fixed).body, "token:laptop");
    for wrong in [&fixed, &tokens.access, &"mcpr_x".to_owned(), &"".to_owned()] {
        let got = bench.refresh(&client, wrong);
        assert_eq!(got.status, 400, "{wrong}");
    }
    for wrong in [tokens.refresh.as_str(), &fixed[..fixed.len() - 1], &format!("{fixed}x"), &client]
    {
        assert_eq!(bench.call(wrong).status, 401);
    }
    assert_eq!(bench.exchange(&client, &tokens.access, &[]).error(), "invalid_grant");
}

#[test]
fn tokens_and_grants_end_in_time() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let store = Store::new(bench.scratch.path());
    let now = bench.clock.load(std::sync::atomic::Ordering::Relaxed);
    let fixed = store.add_until("guest", now, Some(now + 100)).unwrap();
    let tokens = bench.login(&client);
    assert_eq!(bench.call(&fixed).status, 200);
    bench.later(100);
    assert_eq!(bench.call(&fixed).status, 401);
    // Longer than its client was told, so that one which looks at its own clock is not refused.
    bench.later(28_700 + 9);
    assert_eq!(bench.call(&tokens.access).status, 200);
    bench.later(1);
    assert_eq!(bench.call(&tokens.access).status, 401);
    let tokens = Tokens::of(&bench.refresh(&client, &tokens.refresh));
    assert_eq!(bench.call(&tokens.access).status, 200);
    bench.later(61 * 86_400);
    assert_eq!(bench.refresh(&client, &tokens.refresh).error(), "invalid_grant", "idle");
}

#[test]
fn a_grant_for_too_little_is_told_what_is_missing() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let tokens = bench.login(&client);
    let narrow = |state: &mut local_llm_mcp::auth::State| {
        "other".clone_into(&mut state.grants[0].scope);
        Ok::<_, AuthError>(())
    };
    bench.authenticator.change(narrow).unwrap();
    let got = bench.call(&tokens.access);
    assert_eq!(got.status, 403);
    let challenge = got.field("www-authenticate").unwrap();
    assert_eq!(
        challenge,
        "Bearer resource_metadata=\"https://mcp.example.org/.well-known/oauth-protected-resource/mcp\", \
         scope=\"mcp\", error=\"insufficient_scope\""
    );
}
