//! The way to the internet that the program really goes, on loopback: only where a name leads is the
//! test's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use local_llm_mcp::edge::server_config;
use local_llm_mcp::oauth::{Net, WideNet};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::bench::{Answer, Bench, PASSPHRASE};
use crate::scratch::Scratch;

const DOCUMENT: &str = "https://client.example/oauth/client.json";
const CALLBACK: &str = "https://client.example/cb";
const LIMIT: Duration = Duration::from_millis(300);

#[test]
fn a_server_that_drips_below_tls_holds_nobody_past_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        // A record of TLS that says that 16 KiB follow, and a byte of it now and then.
        scope.spawn(|| {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(&[0x16, 3, 3, 0x40, 0]).unwrap();
            while socket.write_all(&[0]).is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        let net = WideNet::default();
        let mut channel = net.connect(address, "client.example", begun + LIMIT).unwrap();
        let error = channel.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert_eq!(channel.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        let took = begun.elapsed();
        assert!(took >= LIMIT && took < LIMIT + Duration::from_secs(5), "{took:?}");
    });
}

/// Where the system's certificate authorities are; read by the program as every other does.
const AUTHORITIES: &str = "SSL_CERT_FILE";

/// A certificate for a name, and what a server needs to show it.
fn certificate(name: &str) -> (String, Arc<ServerConfig>) {
    let provider = rustls::crypto::ring::default_provider();
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into()).unwrap();
    let certified = CertifiedKey::new(vec![made.cert.der().clone()], key);
    (made.cert.pem(), server_config(Arc::new(SingleCertAndKey::from(certified))).unwrap())
}

/// What a server does once it has read a request.
type Act = fn(StreamOwned<ServerConnection, TcpStream>);

fn tell(mut tls: StreamOwned<ServerConnection, TcpStream>, answer: &str) {
    tls.write_all(answer.as_bytes()).unwrap();
    tls.flush().unwrap();
}

fn answer() -> String {
    let body = format!(
        r#"{{"client_id":"{DOCUMENT}","client_name":"Far away","redirect_uris":["{CALLBACK}"]}}"#
    );
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}")
}

/// The same answer in chunks of so many bytes.
fn in_chunks(answer: &str, bytes: usize) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let chunks = body
        .as_bytes()
        .chunks(bytes)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    let chunks: String = chunks.collect();
    format!("{head}\r\nTransfer-Encoding: {CODING}\r\n\r\n{chunks}0\r\n\r\n")
}

const CODING: &str = "chunked";

/// A document of 5 KiB and one byte.
fn long() -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    format!("{head}{}", " ".repeat(5 * 1024 + 1))
}

/// What the owner sees after his proof, with a server of one connection at the other end.
fn shown(config: &Arc<ServerConfig>, act: Act) -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bench = Bench::new();
    bench.net.put("client.example", &["93.184.216.34"], "");
    let wide: (WideNet, SocketAddr) = (WideNet::default(), listener.local_addr().unwrap());
    assert!(bench.net.wide.set(wide).is_ok());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (socket, _) = listener.accept().unwrap();
            let server = ServerConnection::new(Arc::clone(config)).unwrap();
            let mut tls = StreamOwned::new(server, socket);
            let (mut head, mut piece) = (Vec::new(), [0; 512]);
            while !head.ends_with(b"\r\n\r\n") {
                match tls.read(&mut piece) {
                    Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
                    // It does not trust the certificate.
                    _ => return,
                }
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.starts_with("GET /oauth/client.json HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nHost: client.example\r\n"), "{head}");
            assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
            act(tls);
        });
        let page = bench.page(DOCUMENT, CALLBACK, &[]);
        bench.decide(&page, "allow", PASSPHRASE)
    })
}

/// Runs in a process of its own, where the certificate of `client.example` is an authority.
#[test]
fn a_document_is_fetched_over_real_sockets_with_the_systems_authorities() {
    const NAME: &str =
        "oauth::wide::a_document_is_fetched_over_real_sockets_with_the_systems_authorities";
    if std::env::var_os("LLM_IT_WIDE").is_none() {
        let scratch = Scratch::new();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env("LLM_IT_WIDE", "1")
            .env(AUTHORITIES, scratch.file("authorities.pem"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
        return;
    }
    let (trusted, config) = certificate("client.example");
    std::fs::write(std::env::var_os(AUTHORITIES).unwrap(), trusted).unwrap();

    let farewell = shown(&config, |mut tls| {
        tls.write_all(answer().as_bytes()).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    });
    assert!(farewell.status == 200 && farewell.body.contains("Far away"), "{farewell:?}");
    let without = shown(&config, |tls| tell(tls, &answer()));
    assert!(without.status == 200 && without.body.contains("Far away"), "{without:?}");
    let chunked = shown(&config, |tls| tell(tls, &in_chunks(&answer(), 7)));
    assert!(chunked.status == 200 && chunked.body.contains("Far away"), "{chunked:?}");

    for (page, words) in [
        (shown(&config, |tls| tell(tls, &answer()[..90])), "not valid"),
        (shown(&config, |tls| tell(tls, "HTTP/1.1 200 OK\r\n")), "not HTTP"),
        (shown(&config, drop), "not HTTP"),
        (shown(&config, |tls| tell(tls, in_chunks(&answer(), 9).trim_end())), "not HTTP"),
        (shown(&config, |tls| tell(tls, &in_chunks(&long(), 1000))), "too long"),
        (shown(&config, |tls| tell(tls, &in_chunks(&answer(), 9).replace(CODING, "gzip"))), "HTTP"),
        // It is hung up on meanwhile.
        (shown(&config, |mut tls| drop(tls.write_all(&[b'x'; 1 << 20]))), "too long"),
        (shown(&certificate("client.example").1, drop), "certificate"),
        (shown(&certificate("other.example").1, drop), "certificate"),
    ] {
        assert!(page.status == 400 && page.body.contains(words), "{words}: {page:?}");
    }

    // A byte in a record of its own, again and again.
    let begun = Instant::now();
    let drips = shown(&config, |mut tls| {
        while tls.write_all(b"H").and_then(|()| tls.flush()).is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    assert!(drips.status == 400 && drips.body.contains("longer than 5 s"), "{drips:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
