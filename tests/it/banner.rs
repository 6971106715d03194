//! What the person who starts the server reads, and pastes on the laptop.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail here")]

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::scratch::Scratch;
use crate::support::client::Client;
use crate::support::program::{Program, Url};
use crate::support::stand_in::{Script, StandIn};

const TOKEN: (&str, &str) = ("MCP_TOKEN", "0123456789abcdef");

#[test]
fn every_url_of_the_banner_answers_and_the_fingerprint_is_the_ca_s() {
    let mut program = Program::start(&[
        ("MCP_TRANSPORT", "https,http"),
        ("PORT", ""),
        ("HTTPS_PORT", "0"),
        ("HTTP_PORT", "0"),
    ]);
    let banner = program.until(|line| line.contains("On Windows"));
    let ca = program.scratch.read("ca.pem");
    let der = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
    let print: Vec<String> =
        digest(&SHA256, &der).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(banner.contains(&print.join(":")), "{banner}");

    let urls = Url::all(&banner);
    let count = |scheme: &str| urls.iter().filter(|url| url.scheme == scheme).count();
    assert!(count("https") >= 3 && count("http") >= 2, "{banner}");
    assert!(urls.iter().any(|url| url.host == "localhost"), "{banner}");
    for url in &urls {
        let client = match url.scheme.as_str() {
            "https" => Client::tls(url.address(), &url.host, &ca),
            _ => Client::plain(url.address()),
        };
        match url.path.as_str() {
            "/sse" => drop(client.open()),
            path => assert_eq!((path, client.get(path).text()), ("/ca.pem", ca.as_str())),
        }
    }
    let port = urls[0].port;
    let fetch = format!("curl -k -o local-llm-ca.pem https://localhost:{port}/ca.pem");
    assert!(banner.contains(&fetch), "{banner}");
}

#[test]
fn the_entry_works_as_pasted_with_a_certificate_of_our_own_ca() {
    let mut program = Program::start(&[]);
    let banner = program.until(|line| line.contains("On Windows"));
    let entry = pasted(&banner);
    let url = entry["args"][2].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://localhost:") && url.ends_with("/sse"), "{url}");
    let env = json!({ "NODE_TLS_REJECT_UNAUTHORIZED": "0" });
    assert_eq!(entry, json!({ "command": "npx", "args": ["-y", "mcp-remote", url], "env": env }));
    let ca = json!({ "NODE_EXTRA_CA_CERTS": "/full/path/to/local-llm-ca.pem" });
    assert_eq!(safer(&banner), ca);
    assert!(banner.contains("home network only, no token"), "{banner}");
    assert!(banner.contains("local-llm-mcp token add NAME"), "{banner}");
}

#[test]
fn with_tokens_the_entry_has_a_place_for_one() {
    let mut program = Program::start(&[TOKEN]);
    let banner = program.until(|line| line.contains("On Windows"));
    let entry = pasted(&banner);
    let url = &entry["args"][2];
    let args = json!(["-y", "mcp-remote", url, "--header", "Authorization:${AUTH_HEADER}"]);
    assert_eq!(entry["args"], args);
    let bearer = "Bearer <token>";
    let env = json!({ "NODE_TLS_REJECT_UNAUTHORIZED": "0", "AUTH_HEADER": bearer });
    assert_eq!(entry["env"], env);
    let safer_env = json!({
        "NODE_EXTRA_CA_CERTS": "/full/path/to/local-llm-ca.pem", "AUTH_HEADER": bearer,
    });
    assert_eq!(safer(&banner), safer_env);
    assert!(banner.contains("with a token only (1 valid)"), "{banner}");
    assert!(!banner.contains(TOKEN.1), "{banner}");
}

#[test]
fn where_home_stays_open_the_entry_needs_no_token() {
    let mut program = Program::start(&[TOKEN, ("MCP_HOME_OPEN", "yes"), ("MCP_TRANSPORT", "http")]);
    let banner = program.until(|line| line.contains("On Windows"));
    assert!(pasted(&banner).get("env").is_none(), "{banner}");
    assert!(banner.contains("home network without a token"), "{banner}");
}

#[test]
fn over_http_the_entry_says_that_http_is_wanted() {
    let mut program = Program::start(&[("MCP_TRANSPORT", "http")]);
    let banner = program.until(|line| line.contains("On Windows"));
    let entry = pasted(&banner);
    let url = &entry["args"][2];
    assert!(url.as_str().unwrap().starts_with("http://localhost:"), "{url}");
    let args = json!(["-y", "mcp-remote", url, "--allow-http"]);
    assert_eq!(entry, json!({ "command": "npx", "args": args }));
    assert!(!banner.contains("certificate") && !banner.contains("ca.pem"), "{banner}");
}

#[test]
fn with_a_certificate_of_the_owner_s_the_entry_has_a_name_that_it_is_for() {
    for (names, host) in [
        (&["*.example.org", "localhost", "10.1.2.3", "mcp.example.org"][..], "mcp.example.org"),
        (&["127.0.0.1", "fd00::1"], "[fd00::1]"),
        (&["*.example.org"], "localhost"),
    ] {
        let scratch = Scratch::new();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        scratch.put("full.pem", made.cert.pem());
        scratch.put("priv.pem", made.signing_key.serialize_pem());
        let files = [("HTTPS_CERT_PATH", "full.pem"), ("HTTPS_KEY_PATH", "priv.pem")];
        let mut program = Program::start_in(scratch, &files);
        let banner = program.until(|line| line.contains("On Windows"));
        let entry = pasted(&banner);
        let url = entry["args"][2].as_str().unwrap();
        assert!(url.starts_with(&format!("https://{host}:")), "{url}");
        // Its CA is not ours, so there is nothing to trust or to leave unchecked.
        assert_eq!(entry, json!({ "command": "npx", "args": ["-y", "mcp-remote", url] }));
        assert!(!banner.contains("ca.pem") && !banner.contains("NODE_"), "{banner}");
    }
}

#[test]
fn a_public_url_is_the_one_to_paste() {
    for (public, env) in [
        // A proxy is there, with a certificate that everybody trusts.
        ("https://mcp.example.org", json!({ "AUTH_HEADER": "Bearer <token>" })),
        (
            "https://localhost:443",
            json!({ "NODE_TLS_REJECT_UNAUTHORIZED": "0", "AUTH_HEADER": "Bearer <token>" }),
        ),
    ] {
        let mut program = Program::start(&[TOKEN, ("MCP_PUBLIC_URL", public)]);
        let banner = program.until(|line| line.contains("On Windows"));
        let entry = pasted(&banner);
        assert!(entry["args"][2].as_str().unwrap().starts_with("https://"), "{entry}");
        assert!(entry["args"][2].as_str().unwrap().ends_with("/sse"), "{entry}");
        let host = public.trim_end_matches(":443");
        assert!(entry["args"][2].as_str().unwrap().starts_with(host), "{entry}");
        assert_eq!(entry["env"], env, "{public}");
    }
}

#[test]
fn the_upstream_s_line_tells_its_models_or_what_to_type() {
    let stand_in = StandIn::start(Script::default());
    let url = stand_in.url();
    let mut program = Program::start(&[("MCP_TRANSPORT", "http"), ("LM_STUDIO_URL", &url)]);
    let line = program.until(|line| line.contains("  upstream  "));
    let line = line.lines().last().unwrap();
    assert!(line.contains(&url) && line.contains("LM Studio, 3 models"), "{line}");

    drop(stand_in);
    let mut program = Program::start(&[("MCP_TRANSPORT", "http"), ("LM_STUDIO_URL", &url)]);
    program.until(|line| line.contains("  upstream  ") && line.contains(&url));
    let said = program.until(|line| line.contains("LM_STUDIO_URL=http://<that machine>:1234"));
    assert!(said.lines().last().unwrap().contains("Serve on Local Network"), "{said}");

    let closed =
        StandIn::start(Script { token: Some("sk-lm-right".to_owned()), ..Script::default() });
    let url = closed.url();
    let mut program = Program::start(&[("MCP_TRANSPORT", "http"), ("LM_STUDIO_URL", &url)]);
    let said = program.until(|line| line.contains("LM_API_TOKEN"));
    assert!(said.contains("wants an API token") && !said.contains("lms server start"), "{said}");
}

/// The one server of the configuration to paste.
fn pasted(banner: &str) -> Value {
    let lines = banner.lines().skip_while(|line| *line != "{");
    let mut text: Vec<&str> = lines.take_while(|line| *line != "}").collect();
    text.push("}");
    let config: Value = serde_json::from_str(&text.join("\n")).unwrap();
    let servers = config["mcpServers"].as_object().unwrap();
    assert_eq!(servers.len(), 1, "{config}");
    servers.values().next().unwrap().clone()
}

/// The environment of the safer way.
fn safer(banner: &str) -> Value {
    let line =
        banner.lines().find(|line| line.trim().starts_with("\"env\": { \"NODE_EXTRA")).unwrap();
    let entry: Value = serde_json::from_str(&format!("{{{line}}}")).unwrap();
    entry["env"].clone()
}
