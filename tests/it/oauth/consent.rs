use std::sync::Arc;
use std::time::{Duration, Instant};

use local_llm_mcp::oauth::Proof;
use serde_json::json;

use super::bench::{
    Answer, Bench, CALLBACK, FORM, OTHER, PASSPHRASE, PUBLIC, Tokens, VERIFIER, authorize, form,
};

const DOCUMENT: &str = "https://client.example/oauth/client.json";
const DOCUMENT_CALLBACK: &str = "https://client.example/cb";

fn document(id: &str) -> String {
    let body = json!({ "client_id": id, "client_name": "A <b>client</b>", "redirect_uris": [DOCUMENT_CALLBACK] });
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{body}")
}

#[test]
fn statement_09_a_client_that_is_not_ours_is_told_so_in_its_own_language() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let mut tampered = client.clone();
    let last = tampered.pop().unwrap();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    for id in [tampered.as_str(), "unknown", "dc1.", "pc1.unknown", &client[..client.len() - 1]] {
        let page = bench.page(id, CALLBACK, &[]);
        assert_eq!(page.status, 400);
        assert!(page.field("location").is_none() && page.body.contains("invalid_client"));
        let target = authorize(id, CALLBACK, &[]);
        let program = bench.send("GET", &target, "Accept: application/json\r\n", "");
        assert_eq!((program.status, program.error().as_str()), (400, "invalid_client"), "{id}");
        let token = bench.exchange(id, "mcpc_x", &[]);
        assert_eq!((token.status, token.error().as_str()), (401, "invalid_client"), "{id}");
        assert!(token.field("www-authenticate").is_none());
    }
    // The look of mcp-remote at its own registration changes nothing.
    let target = authorize(&client, CALLBACK, &[]);
    let look = bench.send("GET", &target, "Accept: application/json\r\n", "");
    assert_eq!((look.status, look.body.as_str()), (200, "{}"));
    // Whoever registers again goes on.
    bench.login(&bench.client(CALLBACK));
}

#[test]
fn statement_10_nobody_is_sent_anywhere_before_the_owner_has_proved_himself() {
    let bench = Bench::new();
    let client = bench.client("https://evil.example/cb");
    for change in [
        ("response_type", "token"),
        ("code_challenge_method", "plain"),
        ("resource", "https://evil.example"),
    ] {
        let page = bench.page(&client, "https://evil.example/cb", &[change]);
        assert_eq!(page.status, 400, "{change:?}");
        assert!(page.field("location").is_none(), "{change:?}");
    }
    // An unknown scope is no error and gives nothing more.
    let page = bench.page(&client, "https://evil.example/cb", &[("scope", "admin root")]);
    assert_eq!(page.status, 200);
    let wrong = bench.decide(&page, "allow", "not the passphrase");
    assert_eq!((wrong.status, wrong.field("location")), (403, None));
}

#[test]
fn statement_11_the_form_is_answered_once_in_time_and_from_its_own_page() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let page = bench.page(&client, CALLBACK, &[]);
    let post = |transaction: &str, origin: &str| {
        let pairs = [("transaction", transaction), ("decision", "allow"), ("proof", PASSPHRASE)];
        bench.send("POST", "/authorize", &format!("{FORM}Origin: {origin}\r\n"), &form(&pairs))
    };
    let sealed = page.transaction();
    assert_eq!(post("", PUBLIC).status, 400);
    assert_eq!(post(&sealed[..sealed.len() - 1], PUBLIC).status, 400);
    assert_eq!(post(client.strip_prefix("dc1.").unwrap(), PUBLIC).status, 400, "sealed for else");
    let other_house = Bench::new();
    let theirs = other_house.page(&other_house.client(CALLBACK), CALLBACK, &[]).transaction();
    assert_eq!(post(&theirs, PUBLIC).status, 400);
    // The last one's pages may use the server, but not answer for the owner.
    for origin in ["https://evil.example", "null", "https://mcp.example.org.evil.example", OTHER] {
        assert_eq!(post(&sealed, origin).status, 403, "{origin}");
    }
    let allowed = post(&sealed, PUBLIC);
    assert_eq!(allowed.status, 303, "not 307, which would carry the passphrase on");
    assert_eq!(post(&sealed, PUBLIC).status, 400, "answered before");
    let late = bench.page(&client, CALLBACK, &[]).transaction();
    bench.later(601);
    assert_eq!(post(&late, PUBLIC).status, 400, "too old");
    // Nobody puts the page into another one.
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    assert_eq!(page.field("x-frame-options"), Some("DENY"));
    assert_eq!(page.field("cache-control"), Some("no-store"));
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    // A form's Origin would be null with no-referrer.
    assert_eq!(page.field("referrer-policy"), Some("same-origin"));
}

#[test]
fn statement_12_a_clients_name_is_text_and_short() {
    let bench = Bench::new();
    for (name, shown) in [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a\u{202e}gnp.exe", "agnp.exe"),
        ("one\r\ntwo\u{0}three", "onetwothree"),
        ("\"><img src=x>", "&quot;&gt;&lt;img src=x&gt;"),
        (&"x".repeat(10_000), &"x".repeat(64)),
        ("", "a client without a name"),
    ] {
        let answer = bench.register(&json!({ "redirect_uris": [CALLBACK], "client_name": name }));
        let id = answer.json()["client_id"].as_str().unwrap().to_owned();
        let page = bench.page(&id, CALLBACK, &[]);
        assert!(
            page.body
                .contains(&format!("<strong id=\"client-name\" dir=\"auto\">{shown}</strong>")),
            "{page:?}"
        );
        for part in ["<script", "<img", "\u{202e}", "http://", "src="] {
            let found = page.body.replace("&lt;img src=x&gt;", "").contains(part);
            assert!(!found, "{part} in {}", page.body);
        }
    }
    assert_eq!(
        bench.register(&json!({ "redirect_uris": [CALLBACK], "x": "y".repeat(20_000) })).status,
        413
    );
}

#[test]
fn statement_19_a_document_is_read_after_the_proof_and_from_the_internet_alone() {
    let bench = Bench::new();
    bench.net.put("client.example", &["93.184.216.34"], &document(DOCUMENT));
    let page = bench.page(DOCUMENT, DOCUMENT_CALLBACK, &[]);
    assert_eq!(page.status, 200);
    assert_eq!(bench.decide(&page, "allow", "wrong proof").status, 403);
    let denied = bench.decide(&page, "deny", "");
    assert_eq!((denied.status, denied.field("location")), (200, None), "it was never verified");
    assert_eq!(bench.net.touched(), (0, 0), "nothing is fetched before the proof");
    // With the proof it is read once, and shown before anything is given.
    let page = bench.page(DOCUMENT, DOCUMENT_CALLBACK, &[]);
    let shown = bench.decide(&page, "allow", PASSPHRASE);
    assert_eq!((shown.status, bench.net.touched()), (200, (1, 1)));
    assert!(
        shown.body.contains("A &lt;b&gt;client&lt;/b&gt;") && !shown.body.contains("id=\"proof\"")
    );
    let allowed = bench.decide(&shown, "allow", "");
    let code = allowed.sent("code").unwrap();
    Tokens::of(&bench.exchange(DOCUMENT, &code, &[("redirect_uri", DOCUMENT_CALLBACK)]));

    // What was read is not kept any more.
    bench.later(3600);
    for (address, connects) in [
        ("127.0.0.1", 0),
        ("10.1.2.3", 0),
        ("100.64.1.1", 0),
        ("169.254.169.254", 0),
        ("::ffff:10.0.0.1", 0),
        ("fd00::1", 0),
        ("93.184.216.34", 1),
    ] {
        let before = bench.net.touched().1;
        bench.net.put(
            "client.example",
            &[address],
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",
        );
        let page = bench.page(DOCUMENT, DOCUMENT_CALLBACK, &[]);
        let refused = bench.decide(&page, "allow", PASSPHRASE);
        assert_eq!((refused.status, refused.field("location")), (400, None), "{address}");
        assert_eq!(bench.net.touched().1 - before, connects, "{address}");
    }
    bench.net.put("client.example", &["93.184.216.34", "10.0.0.1"], &document(DOCUMENT));
    let page = bench.page(DOCUMENT, DOCUMENT_CALLBACK, &[]);
    assert_eq!(bench.decide(&page, "allow", PASSPHRASE).status, 400, "one address leads home");
    let long =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}", "x".repeat(1 << 20));
    for answer in [
        long.as_str(),
        "slow",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{}",
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n{}",
        &document("https://client.example/oauth/other.json"),
        "nothing",
    ] {
        bench.net.put("client.example", &["93.184.216.34"], answer);
        let page = bench.page(DOCUMENT, DOCUMENT_CALLBACK, &[]);
        let refused = bench.decide(&page, "allow", PASSPHRASE);
        assert_eq!((refused.status, refused.field("location")), (400, None));
    }
    let before = bench.net.touched();
    for id in [
        "https://127.0.0.1/a",
        "https://localhost/a",
        "https://client.example:8443/a",
        "http://client.example/a",
    ] {
        assert_eq!(bench.page(id, DOCUMENT_CALLBACK, &[]).status, 400, "{id}");
    }
    assert_eq!(bench.net.touched(), before);
}

/// A page on which the owner has proved himself, and the one on which he did so.
fn proved(bench: &Bench) -> (Answer, Answer) {
    bench.net.put("client.example", &["93.184.216.34"], &document(DOCUMENT));
    let page = bench.page(DOCUMENT, DOCUMENT_CALLBACK, &[]);
    let shown = bench.decide(&page, "allow", PASSPHRASE);
    assert_eq!(shown.status, 200, "{shown:?}");
    (page, shown)
}

#[test]
fn a_proved_page_is_answered_once_whatever_strangers_do_and_not_after_a_restart() {
    let bench = Bench::new();
    let (page, shown) = proved(&bench);
    let (_, open) = proved(&bench);
    assert_eq!(bench.decide(&shown, "allow", "").status, 303);
    let client = bench.client(CALLBACK);
    let target = authorize(&client, CALLBACK, &[]);
    for number in 0..1100 {
        let from = format!("X-Forwarded-For: 198.18.{}.{}\r\n", number / 256, number % 256);
        let theirs = bench.send("GET", &target, &format!("Accept: text/html\r\n{from}"), "");
        assert_eq!(bench.decide(&theirs, "deny", "").status, 303);
    }
    for answer in ["allow", "deny"] {
        assert_eq!(bench.decide(&shown, answer, "").status, 400, "{answer}: answered before");
    }
    assert_eq!(bench.decide(&page, "allow", PASSPHRASE).status, 400, "of the same login");
    // A page that waits is pushed out by nobody, and is nothing to the process that comes next.
    let again = Bench::over(Arc::clone(&bench.scratch), Proof::Passphrase, &[PUBLIC]);
    for restarted in [&shown, &open] {
        assert_eq!(again.decide(restarted, "allow", "").status, 400);
    }
    assert_eq!(bench.decide(&open, "allow", "").status, 303);
    // A no on the page before is a no.
    let (page, shown) = proved(&bench);
    assert_eq!(bench.decide(&page, "deny", "").status, 200);
    assert_eq!(bench.decide(&shown, "allow", "").status, 400);
}

#[test]
fn a_document_is_kept_for_as_long_as_it_says_and_a_day_at_most() {
    let bench = Bench::new();
    let fetches = || bench.net.touched().1;
    let answer = |field: &str| {
        document(DOCUMENT).replacen("\r\n", &format!("\r\n{field}\r\nServer: x\r\n"), 1)
    };
    for (field, kept_s) in [
        ("Cache-Control: public, max-age=60", 60),
        ("cache-control: Max-Age=\"120\"", 120),
        ("Cache-Control: max-age=99999999", 86_400),
        ("Cache-Control: max-age=600, no-store", 0),
        ("Cache-Control: no-cache\r\nCache-Control: max-age=600", 0),
        ("Cache-Control: max-age=soon", 0),
        ("Cache-Control: max-age=-1", 0),
        ("Cache-Control: public", 3600),
        ("ETag: x", 3600),
    ] {
        // Whatever is kept of the one before is over.
        bench.later(86_400);
        bench.net.put("client.example", &["93.184.216.34"], &answer(field));
        let before = fetches();
        let login = || {
            let page = bench.page(DOCUMENT, DOCUMENT_CALLBACK, &[]);
            assert!(!page.body.contains("A &lt;b&gt;client"), "strangers learn nothing: {page:?}");
            let shown = bench.decide(&page, "allow", PASSPHRASE);
            assert!(shown.body.contains("A &lt;b&gt;client"), "{field}: {shown:?}");
            fetches() - before
        };
        assert_eq!(login(), 1, "{field}");
        assert_eq!(login(), if kept_s > 0 { 1 } else { 2 }, "{field}");
        bench.later((kept_s - 1).max(0));
        assert_eq!(login(), if kept_s > 0 { 1 } else { 3 }, "{field}");
        bench.later(1);
        assert_eq!(login(), if kept_s > 0 { 2 } else { 4 }, "{field}");
    }
    // An address that a kept one does not name, and one that is no document any more.
    let more = "https://client.example/more";
    let before = fetches();
    let ask = |redirect: &str| {
        let page = bench.page(DOCUMENT, redirect, &[]);
        bench.decide(&page, "allow", PASSPHRASE).status
    };
    bench.net.put(
        "client.example",
        &["93.184.216.34"],
        &document(DOCUMENT).replace("/cb\"", &format!("/cb\",\"{more}\"")),
    );
    assert_eq!((ask(more), ask(more), fetches() - before), (200, 200, 1));
    bench.net.put("client.example", &["93.184.216.34"], "HTTP/1.1 410 Gone\r\n\r\n");
    assert_eq!((ask("https://client.example/third"), fetches() - before), (400, 2));
    // Each has an address of its own, and only so many are kept.
    bench.later(86_400);
    let numbered = |number: usize| format!("https://client.example/{number}");
    let mut asked = |number: usize| {
        bench.net.put("client.example", &["93.184.216.34"], &document(&numbered(number)));
        let page = bench.page(&numbered(number), DOCUMENT_CALLBACK, &[]);
        assert_eq!(bench.decide(&page, "allow", PASSPHRASE).status, 200);
        bench.later(1);
        fetches()
    };
    let before = (0..65).map(&mut asked).last().unwrap();
    assert_eq!(asked(1) - before, 0, "kept");
    assert_eq!(asked(0) - before, 1, "pushed out by the sixty-fifth");
}

#[test]
fn a_code_on_the_console_lets_in_and_only_the_login_that_it_was_said_for() {
    let bench = Bench::with(Proof::Console, &[PUBLIC]);
    let client = bench.client(CALLBACK);
    let page = bench.page(&client, CALLBACK, &[]);
    let said = std::mem::take(&mut *bench.said.lock().unwrap());
    assert!(said.contains("Test") && said.contains("claude.ai"), "{said}");
    let code: String = said.split("the code is ").nth(1).unwrap().trim().to_owned();
    let other = bench.page(&client, CALLBACK, &[]);
    assert_eq!(bench.decide(&other, "allow", &code).status, 403);
    assert_eq!(bench.decide(&page, "allow", PASSPHRASE).status, 403);
    let allowed = bench.decide(&page, "allow", &code);
    assert_eq!(allowed.status, 303, "{allowed:?}");
    Tokens::of(&bench.exchange(
        &client,
        &allowed.sent("code").unwrap(),
        &[("code_verifier", VERIFIER)],
    ));
    // Three tries, then the login is over, whatever is typed.
    let page = bench.page(&client, CALLBACK, &[]);
    let said = std::mem::take(&mut *bench.said.lock().unwrap());
    let code: String = said.rsplit("the code is ").next().unwrap().trim().to_owned();
    let statuses: Vec<u16> =
        (0..3).map(|_| bench.decide(&page, "allow", "00000000").status).collect();
    assert_eq!(statuses, [403, 403, 403]);
    bench.later(0);
    let over = bench.decide(&page, "allow", &code);
    assert!([400, 429].contains(&over.status), "{over:?}");
    assert!(over.field("location").is_none());
}

#[test]
fn statement_18_a_sixth_guess_is_not_looked_at_and_others_are_served() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let page = bench.page(&client, CALLBACK, &[]);
    let mut hash = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(bench.decide(&page, "allow", "a wrong passphrase").status, 403);
        hash = hash.min(begun.elapsed());
    }
    let begun = Instant::now();
    let sixth = bench.decide(&page, "allow", PASSPHRASE);
    assert_eq!(sixth.status, 429);
    assert!(sixth.field("retry-after").unwrap().parse::<u64>().unwrap() > 800);
    assert!(begun.elapsed() < hash, "as long as a hash takes: {:?}", begun.elapsed());
    // From another address the owner comes in.
    let transaction = page.transaction();
    let pairs =
        [("transaction", transaction.as_str()), ("decision", "allow"), ("proof", PASSPHRASE)];
    let from = |other: &str| {
        let fields = format!("{FORM}Origin: {PUBLIC}\r\nX-Forwarded-For: {other}\r\n");
        bench.send("POST", "/authorize", &fields, &form(&pairs)).status
    };
    // One that happens to share the counts of the first is as little looked at.
    assert!(["203.0.113.77", "203.0.113.78"].into_iter().any(|other| from(other) == 303));
    bench.later(901);
    bench.login(&client);
    // A new passphrase begins anew at once.
    let page = bench.page(&client, CALLBACK, &[]);
    for _ in 0..5 {
        bench.decide(&page, "allow", "a wrong passphrase");
    }
    assert_eq!(bench.decide(&page, "allow", PASSPHRASE).status, 429);
    let new = local_llm_mcp::auth::hash_passphrase("another long passphrase").unwrap();
    let set = |state: &mut local_llm_mcp::auth::State| {
        state.passphrase = Some(new);
        Ok::<_, local_llm_mcp::auth::AuthError>(())
    };
    bench.authenticator.change(set).unwrap();
    assert_eq!(bench.decide(&page, "allow", "another long passphrase").status, 303);
}

#[test]
fn statement_18_strangers_who_guess_do_not_lock_the_house_out() {
    let bench = Bench::new();
    let client = bench.client(CALLBACK);
    let page = bench.page(&client, CALLBACK, &[]);
    let transaction = page.transaction();
    let guess = |from: &str, proof: &str| {
        let pairs =
            [("transaction", transaction.as_str()), ("decision", "allow"), ("proof", proof)];
        let fields = format!("{FORM}Origin: {PUBLIC}\r\nX-Forwarded-For: {from}\r\n");
        bench.send("POST", "/authorize", &fields, &form(&pairs)).status
    };
    // Five from each, but for two that happen to share their counts.
    let strangers = (1..=50).flat_map(|stranger| vec![format!("203.0.113.{stranger}"); 5]);
    let looked_at = strangers.filter(|from| guess(from, "a wrong passphrase") == 403).count();
    assert_eq!(looked_at, 20);
    assert_eq!(guess("203.0.113.77", PASSPHRASE), 429);
    assert_eq!(guess("192.168.1.9", PASSPHRASE), 303);
}
