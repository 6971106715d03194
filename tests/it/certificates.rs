//! Certificates: made, renewed, loaded, refused and taken up anew.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::fs;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use local_llm_mcp::cert::{self, CertError, Certificates, Made};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::scratch::{Scratch, eventually, mode, set_mode};

const DAY_S: i64 = 24 * 60 * 60;

#[test]
fn the_first_start_makes_a_ca_and_a_leaf_that_clients_accept() {
    let scratch = Scratch::new();
    let certificates = open(&scratch, &["mcp.example.org"]);
    assert_eq!(scratch.names(), ["ca.key", "ca.pem", "cert.pem", "key.pem"]);
    for key in ["ca.key", "key.pem"] {
        assert_eq!(mode(&scratch.file(key)), 0o600);
    }
    let summary = certificates.summary();
    let names = ["localhost", "pi", "pi.local", "192.168.1.100", "127.0.0.1", "::1"];
    for name in names.into_iter().chain(["mcp.example.org"]) {
        assert!(summary.names.contains(&name.to_owned()), "{:?}", summary.names);
        handshake(&certificates, &ca(&scratch), name).unwrap();
    }
    handshake(&certificates, &ca(&scratch), "other.example.org").unwrap_err();
    let days = (summary.not_after_s - now_s()) / DAY_S;
    assert!((800..824).contains(&days), "{days}");
    assert_eq!(certificates.ca_pem().unwrap(), fs::read(scratch.file("ca.pem")).unwrap());
    assert_eq!(summary.authority.as_ref().unwrap().fingerprint.len(), 32 * 3 - 1);
}

#[test]
fn openssl_agrees_about_what_was_made() {
    let scratch = Scratch::new();
    let certificates = open(&scratch, &[]);
    let (ca, cert) = (scratch.file("ca.pem"), scratch.file("cert.pem"));
    let (ca, cert) = (ca.to_str().unwrap(), cert.to_str().unwrap());
    let Some(verified) =
        openssl(&["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, cert])
    else {
        return;
    };
    assert!(verified.contains("OK"), "{verified}");
    let text = openssl(&["x509", "-noout", "-text", "-in", cert]).unwrap();
    for part in [
        "CA:FALSE",
        "TLS Web Server Authentication",
        "Authority Key Id",
        "IP Address:192.168.1.100",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = openssl(&["x509", "-noout", "-text", "-in", ca]).unwrap();
    for part in ["CA:TRUE", "local-llm-mcp CA on pi", "Certificate Sign"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let print = openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in", ca]).unwrap();
    let summary = certificates.summary();
    assert!(print.contains(&summary.authority.as_ref().unwrap().fingerprint), "{print}");
}

#[test]
fn a_second_start_touches_nothing() {
    let scratch = Scratch::new();
    open(&scratch, &[]);
    let before = inodes(&scratch);
    open(&scratch, &[]);
    assert_eq!(inodes(&scratch), before);
}

#[test]
fn a_new_address_gets_a_new_leaf_of_the_same_ca_and_key() {
    let scratch = Scratch::new();
    open(&scratch, &["mcp.example.org"]);
    let before = inodes(&scratch);
    let (ca, before_serial) = (ca(&scratch), serial(&scratch));
    let folder = scratch.path();
    let addresses = [address("192.168.7.7"), address("fe80::7")];
    let certificates = Certificates::open_own(folder, "pi", &addresses, &[]).unwrap();
    let names = &certificates.summary().names;
    assert!(names.contains(&"192.168.7.7".to_owned()) && !names.contains(&"fe80::7".to_owned()));
    // What was asked for once stays.
    handshake(&certificates, &ca, "mcp.example.org").unwrap();
    handshake(&certificates, &ca, "192.168.7.7").unwrap();
    let after = inodes(&scratch);
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert_eq!(changed.len(), 1, "{before:?} {after:?}");
    // Browsers refuse a second certificate of one CA with the same number.
    assert_ne!(serial(&scratch), before_serial);
}

#[test]
fn a_leaf_is_issued_again_before_and_after_it_expires() {
    for (age_days, again) in [(780, false), (800, true), (900, true)] {
        let scratch = Scratch::new();
        made(&scratch, now_s() - age_days * DAY_S).unwrap();
        let old = leaf(&scratch);
        let certificates = open(&scratch, &[]);
        assert_eq!(leaf(&scratch) != old, again, "{age_days}");
        handshake(&certificates, &ca(&scratch), "localhost").unwrap();
    }
}

#[test]
fn an_expired_ca_is_renewed_only_when_asked() {
    let scratch = Scratch::new();
    let past = now_s() - 3660 * DAY_S;
    assert_eq!(made(&scratch, past).unwrap(), Made::AuthorityAndLeaf);
    let old = ca(&scratch);
    let error = try_open(&scratch).unwrap_err().to_string();
    assert!(error.contains("expired on 20") && error.ends_with("local-llm-mcp cert"), "{error}");
    assert_eq!(ca(&scratch), old);
    assert_eq!(made(&scratch, now_s()).unwrap(), Made::AuthorityAndLeaf);
    assert_eq!(made(&scratch, now_s()).unwrap(), Made::Leaf);
    handshake(&open(&scratch, &[]), &ca(&scratch), "localhost").unwrap();
}

#[test]
fn without_the_cas_key_the_leaf_serves_as_long_as_it_can() {
    let scratch = Scratch::new();
    made(&scratch, now_s() - 800 * DAY_S).unwrap();
    fs::remove_file(scratch.file("ca.key")).unwrap();
    let old = leaf(&scratch);
    handshake(&open(&scratch, &["new.lan"]), &ca(&scratch), "localhost").unwrap();
    assert_eq!(leaf(&scratch), old);
    let error = made(&scratch, now_s()).unwrap_err().to_string();
    assert!(error.contains("ca.key is not; put it back"), "{error}");
}

#[test]
fn a_start_that_was_cut_off_is_completed_by_the_next() {
    for left in [&["ca.key"][..], &["ca.key", "ca.pem"], &["ca.key", "ca.pem", "key.pem"]] {
        let scratch = Scratch::new();
        open(&scratch, &[]);
        let keys: Vec<String> = left.iter().map(|name| scratch.read(name)).collect();
        for name in scratch.names().iter().filter(|name| !left.contains(&name.as_str())) {
            fs::remove_file(scratch.file(name)).unwrap();
        }
        handshake(&open(&scratch, &[]), &ca(&scratch), "localhost").unwrap();
        assert_eq!(keys, left.iter().map(|name| scratch.read(name)).collect::<Vec<_>>());
    }
}

#[test]
fn starts_at_the_same_time_agree_on_one_ca() {
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&scratch, &[]))).collect();
        let authorities: Vec<_> =
            starts.into_iter().map(|start| start.join().unwrap().ca_pem().unwrap()).collect();
        assert!(authorities.iter().all(|ca| *ca == authorities[0]));
    });
    assert_eq!(scratch.names().len(), 4);
}

#[test]
fn files_of_others_in_the_folder_are_served_and_never_touched() {
    let scratch = Scratch::new();
    let (cert, key) = foreign("home.example.org");
    scratch.put("cert.pem", &cert);
    scratch.put("key.pem", &key);
    let before = inodes(&scratch);
    let certificates = open(&scratch, &["new.lan"]);
    handshake(&certificates, &cert, "home.example.org").unwrap();
    assert_eq!((certificates.ca_pem(), inodes(&scratch)), (None, before));
    let error = made(&scratch, now_s()).unwrap_err().to_string();
    assert!(error.contains("was not made by our CA"), "{error}");
    assert_eq!((scratch.read("cert.pem"), scratch.read("key.pem")), (cert, key));
}

#[test]
fn a_leaf_of_another_ca_of_the_same_name_is_not_ours() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    open(&scratch, &[]);
    open(&other, &[]);
    scratch.put("cert.pem", other.read("cert.pem"));
    scratch.put("key.pem", other.read("key.pem"));
    let certificates = open(&scratch, &["new.lan"]);
    assert_eq!(certificates.ca_pem(), None);
    assert_eq!(scratch.read("cert.pem"), other.read("cert.pem"));
    made(&scratch, now_s()).unwrap_err();
}

#[test]
fn chains_and_every_form_of_key_load() {
    let scratch = Scratch::new();
    open(&scratch, &[]);
    let pkcs8 = scratch.read("key.pem");
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from_pem_slice(pkcs8.as_bytes()).unwrap();
    // The SEC1 key is what stands in the octet string of a P-256 key in PKCS#8.
    let sec1 = pem("EC PRIVATE KEY", &der.secret_pkcs8_der()[29..]);
    let prose = format!("Bag Attributes: mine\n{pkcs8}");
    for key in [&sec1, &prose] {
        let key = scratch.put("other.key", key);
        let certificates = Certificates::open_foreign(&scratch.file("cert.pem"), &key).unwrap();
        assert_eq!(certificates.current().cert.len(), 2);
        handshake(&certificates, &ca(&scratch), "localhost").unwrap();
    }
    let cert = scratch.file("rsa.pem");
    let key = scratch.file("rsa.key");
    let (cert_name, key_name) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa"];
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let names = ["-addext", "subjectAltName=DNS:rsa.lan", "-out", cert_name, "-keyout", key_name];
    if openssl(&[&request[..], &leaf, &names].concat()).is_some() {
        openssl(&["rsa", "-traditional", "-in", key_name, "-out", key_name]).unwrap();
        assert!(scratch.read("rsa.key").contains("BEGIN RSA PRIVATE KEY"));
        let certificates = Certificates::open_foreign(&cert, &key).unwrap();
        handshake(&certificates, &scratch.read("rsa.pem"), "rsa.lan").unwrap();
    }
}

#[test]
fn files_that_cannot_be_served_say_why_and_what_to_type() {
    let scratch = Scratch::new();
    let (cert, key) = foreign("a.example.org");
    let (_, other_key) = foreign("b.example.org");
    let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let damaged = pem("CERTIFICATE", &der[..der.len() / 2]);
    let encrypted = pem("ENCRYPTED PRIVATE KEY", b"anything");
    let expired = foreign_until("a.example.org", now_s() - 2 * DAY_S);
    for (cert, key, what, remedy) in [
        (cert.as_bytes(), other_key.as_bytes(), "is not the key of", "made together"),
        (b"", key.as_bytes(), "no PEM certificate but nothing", "BEGIN CERTIFICATE"),
        (key.as_bytes(), cert.as_bytes(), "but a private key", "BEGIN CERTIFICATE"),
        (&der, key.as_bytes(), "but DER", "BEGIN CERTIFICATE"),
        (b"hello", key.as_bytes(), "but something else", "BEGIN CERTIFICATE"),
        (damaged.as_bytes(), key.as_bytes(), "is damaged", "openssl x509 -in"),
        (cert.as_bytes(), cert.as_bytes(), "no PEM private key but a certificate", "PRIVATE KEY"),
        (cert.as_bytes(), encrypted.as_bytes(), "is encrypted", "openssl pkey -in"),
        (cert.as_bytes(), pem("PRIVATE KEY", b"x").as_bytes(), "unknown kind", "ECDSA P-256"),
        (expired.0.as_bytes(), expired.1.as_bytes(), "expired on 20", "certbot renew"),
    ] {
        let (cert, key) = (scratch.put("c.pem", cert), scratch.put("k.pem", key));
        let error = Certificates::open_foreign(&cert, &key).unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains('\n'), "{what}: {error}");
        assert!(error.split_once("; ").unwrap().1.contains(remedy), "{remedy}: {error}");
    }
    for (present, missing) in [("cert.pem", "key.pem"), ("key.pem", "cert.pem")] {
        let scratch = Scratch::new();
        scratch.put(present, if present == "cert.pem" { &cert } else { &key });
        let error = try_open(&scratch).unwrap_err().to_string();
        assert!(error.contains(&format!("{missing} is not; put it back")), "{error}");
        assert_eq!(scratch.names(), [present]);
    }
    let error = Certificates::open_foreign(Path::new("/none"), Path::new("/none")).unwrap_err();
    assert!(matches!(error, CertError::Missing(_)));
}

#[test]
fn a_ca_whose_key_is_another_is_named() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    open(&scratch, &[]);
    open(&other, &[]);
    scratch.put("ca.key", other.read("ca.key"));
    fs::remove_file(scratch.file("cert.pem")).unwrap();
    let error = try_open(&scratch).unwrap_err().to_string();
    assert!(error.contains("ca.pem and the key beside it do not fit"), "{error}");
}

#[test]
fn a_key_that_only_another_user_may_read_says_whose_it_is() {
    let scratch = Scratch::new();
    let (cert, key) = foreign("a.example.org");
    fs::create_dir(scratch.file("live")).unwrap();
    scratch.put("cert.pem", cert);
    set_mode(&scratch.file("cert.pem"), 0o644);
    scratch.put("live/key.pem", key);
    std::os::unix::fs::symlink("live/key.pem", scratch.file("key.pem")).unwrap();
    set_mode(scratch.path(), 0o755);

    // Where the tests run as root, the binary runs as somebody else; else the owner locks out
    // itself.
    let root = rustix::process::geteuid().is_root();
    set_mode(&scratch.file("live/key.pem"), if root { 0o600 } else { 0 });
    set_mode(&scratch.file("live"), 0o755);
    let error = as_nobody(&scratch, root);
    assert!(error.contains("live/key.pem, which belongs to "), "{error}");
    assert!(error.contains("; type: sudo setfacl -R -m u:"), "{error}");

    set_mode(&scratch.file("live"), if root { 0o700 } else { 0 });
    let error = as_nobody(&scratch, root);
    set_mode(&scratch.file("live"), 0o700);
    assert!(error.contains("live, which belongs to "), "{error}");
    assert!(error.trim_end().ends_with(":rX live"), "{error}");
}

#[test]
fn changed_files_are_taken_up_and_a_broken_pair_is_not() {
    let scratch = Scratch::new();
    let put = |(cert, key): &(String, String)| {
        scratch.put("k.new", key);
        scratch.put("c.new", cert);
        fs::rename(scratch.file("k.new"), scratch.file("k.pem")).unwrap();
        fs::rename(scratch.file("c.new"), scratch.file("c.pem")).unwrap();
    };
    let (one, two, three) = (foreign("a.lan"), foreign("a.lan"), foreign("c.lan"));
    put(&one);
    let (cert, key) = (scratch.file("c.pem"), scratch.file("k.pem"));
    let certificates = Certificates::open_foreign(&cert, &key).unwrap();
    let before = certificates.current();
    let serves = |pair: &(String, String), name| handshake(&certificates, &pair.0, name).is_ok();
    assert!(serves(&one, "a.lan"));

    put(&two);
    eventually("the second pair is served", || serves(&two, "a.lan"));
    assert!(!serves(&one, "a.lan"));

    // The new pair of two that do not fit: the second one stays, also after it was looked at.
    put(&(three.0.clone(), one.1.clone()));
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(2500);
    while std::time::Instant::now() < deadline {
        assert!(serves(&two, "a.lan"));
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    put(&three);
    eventually("the third pair is served", || serves(&three, "c.lan"));
    assert_eq!(certificates.summary().names, ["c.lan"]);
    // Whoever shook hands before keeps what it has.
    assert!(before.end_entity_cert().is_ok());
}

fn try_open(scratch: &Scratch) -> Result<Certificates, CertError> {
    Certificates::open_own(scratch.path(), "pi", &[address("192.168.1.100")], &[])
}

fn open(scratch: &Scratch, extras: &[&str]) -> Certificates {
    let extras: Vec<String> = extras.iter().map(|&extra| extra.to_owned()).collect();
    let addresses = [address("192.168.1.100"), address("fe80::1")];
    Certificates::open_own(scratch.path(), "pi", &addresses, &extras).unwrap()
}

fn made(scratch: &Scratch, now_s: i64) -> Result<Made, CertError> {
    cert::make(scratch.path(), "pi", &[address("192.168.1.100")], &[], now_s)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ca(scratch: &Scratch) -> String {
    scratch.read("ca.pem")
}

fn leaf(scratch: &Scratch) -> Vec<u8> {
    CertificateDer::from_pem_file(scratch.file("cert.pem")).unwrap().to_vec()
}

fn serial(scratch: &Scratch) -> String {
    let leaf = leaf(scratch);
    x509_parser::parse_x509_certificate(&leaf).unwrap().1.raw_serial_as_string()
}

/// A file that was written again has another.
fn inodes(scratch: &Scratch) -> Vec<(String, u64)> {
    let inode = |name: &String| fs::metadata(scratch.file(name)).unwrap().ino();
    scratch.names().into_iter().map(|name| (name.clone(), inode(&name))).collect()
}

/// A self-signed pair as somebody else makes it.
fn foreign(name: &str) -> (String, String) {
    foreign_until(name, now_s() + 90 * DAY_S)
}

fn foreign_until(name: &str, not_after_s: i64) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(not_after_s).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A TLS handshake in memory with a client that trusts `roots` and wants `name`.
fn handshake(certificates: &Certificates, roots: &str, name: &str) -> Result<(), rustls::Error> {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let served = certificates.current();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(served)));
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_slice(roots.as_bytes()).unwrap())?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server);
        server.process_new_packets()?;
        carry(&mut server, &mut client);
        client.process_new_packets()?;
    }
    Ok(())
}

fn carry<A, B>(from: &mut rustls::ConnectionCommon<A>, to: &mut rustls::ConnectionCommon<B>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
    }
}

/// What the binary says, run by a user who is not the owner.
fn as_nobody(scratch: &Scratch, root: bool) -> String {
    // The build's folder may be closed to others.
    let binary = scratch.file("server");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_local-llm-mcp"), &binary).unwrap();
        set_mode(&binary, 0o755);
    }
    let mut command = Command::new(binary);
    command.current_dir(scratch.path()).env_clear().env("HOME", "/nonexistent");
    command.args(["--check", "--cert", "cert.pem", "--key", "key.pem"]);
    if root {
        command.uid(65534);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

/// What openssl prints; nothing where there is no openssl.
fn openssl(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("openssl");
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    std::io::stdout().flush().unwrap();
    assert!(child.wait().unwrap().success(), "{arguments:?}: {text}");
    Some(text)
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}
