//! Gate and authorization server in this process, with a clock and an internet of the test's own.
//! Nothing is sent anywhere.

use std::collections::HashMap;
use std::io::{self, Cursor, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local_llm_mcp::auth::{
    AuthError, Authenticator, Door, HostNames, Lifetimes, Store, TokenSources, hash_passphrase,
    is_home_peer,
};
use local_llm_mcp::edge::{Access, Cors, Policy, Reply, Route, Site, admit_head, parse};
use local_llm_mcp::oauth::{
    Asked, Channel, Net, Oauth, OauthGround, OauthSettings, Proof, WideNet, oauth_routes,
};
use local_llm_mcp::seal::Seal;
use serde_json::{Value, json};

use crate::scratch::Scratch;

pub(super) const PUBLIC: &str = "https://mcp.example.org";
pub(super) const OTHER: &str = "https://other.example.net";
pub(super) const PASSPHRASE: &str = "correct horse battery staple";
pub(super) const CALLBACK: &str = "https://claude.ai/api/mcp/auth_callback";
pub(super) const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier-42";
const NOON: i64 = 1_800_000_000;

/// The house's door, without sockets.
pub(super) struct Bench {
    pub(super) oauth: Arc<Oauth>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) policy: Arc<Policy>,
    pub(super) clock: Arc<AtomicI64>,
    pub(super) said: Arc<Mutex<String>>,
    pub(super) net: Arc<TestNet>,
    pub(super) scratch: Arc<Scratch>,
}

/// A reply, taken apart.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    fields: Vec<(String, String)>,
}

impl Answer {
    fn new(reply: &Reply) -> Self {
        let fields = reply.fields.iter();
        Self {
            status: reply.status,
            content_type: reply.content_type,
            body: String::from_utf8(reply.body.clone()).unwrap(),
            fields: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().to_owned()))
                .collect(),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// A parameter of where it redirects to, decoded.
    pub(super) fn sent(&self, name: &str) -> Option<String> {
        self.sent_all(name).pop()
    }

    /// The same, as often as it is there.
    pub(super) fn sent_all(&self, name: &str) -> Vec<String> {
        let query = self.field("location").and_then(|location| location.split_once('?'));
        let pairs = query.map(|(_, query)| query.split('&')).into_iter().flatten();
        let named =
            pairs.filter_map(|pair| pair.split_once('=').filter(|(known, _)| *known == name));
        named.map(|(_, value)| unescape(value)).collect()
    }

    /// What the page's form carries.
    pub(super) fn transaction(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"transaction\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next().unwrap(), rest.next().unwrap()];
            let pair = std::str::from_utf8(&pair).unwrap().to_owned();
            bytes.push(u8::from_str_radix(&pair, 16).unwrap());
        } else {
            bytes.push(if byte == b'+' { b' ' } else { byte });
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A request's parameters, encoded.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    pairs.join("&")
}

pub(super) fn challenge(verifier: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// The hash is made once: it takes its time on purpose.
pub(super) fn hashed() -> &'static str {
    static HASHED: OnceLock<String> = OnceLock::new();
    HASHED.get_or_init(|| hash_passphrase(PASSPHRASE).unwrap())
}

pub(super) fn set_passphrase(folder: &std::path::Path, hash: &str) {
    let set = |state: &mut local_llm_mcp::auth::State| {
        state.passphrase = Some(hash.to_owned());
        Ok::<_, AuthError>(())
    };
    Store::new(folder).update(set).unwrap();
}

/// Tokens that a login gave.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
}

impl Tokens {
    pub(super) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Proof::Passphrase, &[PUBLIC, OTHER])
    }

    pub(super) fn with(proof: Proof, urls: &[&str]) -> Self {
        let scratch = Arc::new(Scratch::new());
        set_passphrase(scratch.path(), hashed());
        Self::over(scratch, proof, urls)
    }

    /// As after a restart.
    pub(super) fn over(scratch: Arc<Scratch>, proof: Proof, urls: &[&str]) -> Self {
        let clock = Arc::new(AtomicI64::new(NOON));
        let (tell, said) = (Arc::clone(&clock), Arc::<Mutex<String>>::default());
        let tell: local_llm_mcp::auth::Clock = Arc::new(move || tell.load(Ordering::Relaxed));
        let sources =
            TokenSources { state_folder: scratch.path().to_owned(), ..Default::default() };
        let door = Door { home_open: false, oauth: true, clock: Arc::clone(&tell) };
        let authenticator = Arc::new(Authenticator::open_with(sources, door).unwrap());
        let sites: Vec<_> = urls.iter().map(|url| Arc::new(Site::new(url).unwrap())).collect();
        let net = Arc::<TestNet>::default();
        let (say, wide) = (Arc::clone(&said), Arc::clone(&net));
        let mcp = |path, allow, resource| Route {
            path,
            allow,
            access: Access::Principals,
            streams: true,
            alone: true,
            resource,
        };
        let own = [
            mcp("/mcp", "GET, POST, DELETE, OPTIONS", "/mcp"),
            mcp("/sse", "GET, OPTIONS", "/sse"),
            mcp("/messages", "POST, OPTIONS", "/sse"),
        ];
        let lifetimes = Lifetimes { access_s: 28_800, grace_s: 600 };
        let settings = OauthSettings { proof, lifetimes, first_route: own.len() };
        let ground = OauthGround {
            authenticator: Arc::clone(&authenticator),
            seal: Arc::new(Seal::open(scratch.path()).unwrap()),
            sites: sites.clone(),
            net: wide,
            interfaces: Arc::default(),
            say: Arc::new(move |text| say.lock().unwrap().push_str(text)),
            clock: tell,
        };
        let hosts = ["mcp.example.org", "other.example.net"];
        let policy = Policy {
            routes: own.into_iter().chain(oauth_routes()).collect(),
            authenticator: Arc::clone(&authenticator),
            hosts: HostNames::new("box", hosts),
            origins: urls.iter().map(|&url| url.to_owned()).collect(),
            cors: Cors { allow_headers: "", allow_header_prefix: "mcp-param-", expose_headers: "" },
            sites,
            proxies: vec!["127.0.0.1".parse().unwrap()],
        };
        let (oauth, policy) = (Arc::new(Oauth::new(settings, ground)), Arc::new(policy));
        Self { oauth, authenticator, policy, clock, said, net, scratch }
    }

    pub(super) fn later(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A request by way of the TLS proxy on the box, from a client somewhere.
    pub(super) fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> Answer {
        let from = if fields.to_ascii_lowercase().contains("x-forwarded-for") {
            ""
        } else {
            "X-Forwarded-For: 198.51.100.7\r\n"
        };
        let host = if fields.contains("Host: ") { "" } else { "Host: mcp.example.org\r\n" };
        let text = format!("{method} {target} HTTP/1.1\r\n{host}{from}{fields}\r\n");
        let (head, _) = parse(text.as_bytes(), 64 * 1024)
            .unwrap_or_else(|refusal| panic!("{refusal}: {text}"))
            .unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 5000));
        let admission = match admit_head(&head, peer, true, &[], &self.policy) {
            Ok(admission) => admission,
            Err(refusal) => return Answer::new(&Reply::from(&refusal)),
        };
        let client = self.policy.client(&head, peer.ip());
        let reply = match (admission.route.checked_sub(3), &admission.site) {
            (Some(route), Some(site)) => {
                let body = body.as_bytes();
                let house = is_home_peer(client, &[]) && !client.is_loopback();
                let asked = Asked { head: &head, body, site, client, here: false, house };
                self.oauth.answer(route, &asked)
            }
            _ => Reply::text(200, &admission.principal.unwrap().to_string()),
        };
        Answer::new(&reply)
    }

    pub(super) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, "Accept: text/html\r\n", "")
    }

    pub(super) fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.send("POST", path, FORM, &form(pairs))
    }

    pub(super) fn register(&self, registration: &Value) -> Answer {
        self.send("POST", "/register", JSON, &registration.to_string())
    }

    /// A public client that is sent to `redirect_uri`.
    pub(super) fn client(&self, redirect_uri: &str) -> String {
        let answer =
            self.register(&json!({ "redirect_uris": [redirect_uri], "client_name": "Test" }));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["client_id"].as_str().unwrap().to_owned()
    }

    /// The page of a login; `changes` replace or add parameters, empty ones leave them out.
    pub(super) fn page(&self, client_id: &str, redirect: &str, changes: &[(&str, &str)]) -> Answer {
        self.get(&authorize(client_id, redirect, changes))
    }

    /// What the owner answers.
    pub(super) fn decide(&self, page: &Answer, decision: &str, proof: &str) -> Answer {
        let transaction = page.transaction();
        let pairs =
            [("transaction", transaction.as_str()), ("decision", decision), ("proof", proof)];
        self.send("POST", "/authorize", &format!("{FORM}Origin: {PUBLIC}\r\n"), &form(&pairs))
    }

    /// A code, by the owner's consent.
    pub(super) fn code(&self, client_id: &str, redirect: &str, changes: &[(&str, &str)]) -> String {
        let page = self.page(client_id, redirect, changes);
        assert_eq!(page.status, 200, "{page:?}");
        let allowed = self.decide(&page, "allow", PASSPHRASE);
        assert_eq!(allowed.status, 303, "{allowed:?}");
        allowed.sent("code").unwrap()
    }

    /// The exchange of a code; `changes` as for [`Self::page`].
    pub(super) fn exchange(&self, client_id: &str, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
            ("client_id", client_id),
        ];
        change(&mut pairs, changes);
        self.post("/token", &pairs)
    }

    pub(super) fn refresh(&self, client_id: &str, token: &str) -> Answer {
        self.post(
            "/token",
            &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", client_id)],
        )
    }

    /// A whole login of a client that is sent to [`CALLBACK`].
    pub(super) fn login(&self, client_id: &str) -> Tokens {
        let code = self.code(client_id, CALLBACK, &[]);
        Tokens::of(&self.exchange(client_id, &code, &[]))
    }

    /// What a call with this bearer gets.
    pub(super) fn call(&self, token: &str) -> Answer {
        self.send("POST", "/mcp", &format!("Authorization: Bearer {token}\r\n"), "")
    }

    pub(super) fn grants(&self) -> usize {
        self.authenticator.state().unwrap().grants.len()
    }
}

/// The target of a GET by which a login begins.
pub(super) fn authorize(client_id: &str, redirect: &str, changes: &[(&str, &str)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", redirect),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "s t&te"),
        ("scope", "openid email mcp"),
    ];
    change(&mut pairs, changes);
    format!("/authorize?{}", form(&pairs))
}

fn change<'a>(pairs: &mut Vec<(&'a str, &'a str)>, changes: &[(&'a str, &'a str)]) {
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
}

pub(super) const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
pub(super) const JSON: &str = "Content-Type: application/json\r\n";

/// An internet of names and answers.
#[derive(Default)]
pub(super) struct TestNet {
    names: Mutex<HashMap<String, Vec<IpAddr>>>,
    answers: Mutex<HashMap<String, Vec<u8>>>,
    pub(super) resolved: AtomicUsize,
    pub(super) connected: AtomicUsize,
    /// Where every name really leads, by the way that the program goes.
    pub(super) wide: OnceLock<(WideNet, SocketAddr)>,
}

impl TestNet {
    pub(super) fn put(&self, host: &str, addresses: &[&str], answer: &str) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.names.lock().unwrap().insert(host.to_owned(), addresses);
        self.answers.lock().unwrap().insert(host.to_owned(), answer.as_bytes().to_vec());
    }

    pub(super) fn touched(&self) -> (usize, usize) {
        (self.resolved.load(Ordering::Relaxed), self.connected.load(Ordering::Relaxed))
    }
}

impl Net for TestNet {
    fn resolve(&self, host: &str, until: Instant) -> io::Result<Vec<IpAddr>> {
        assert!(until <= Instant::now() + Duration::from_secs(5), "5 s in all");
        self.resolved.fetch_add(1, Ordering::Relaxed);
        let found = self.names.lock().unwrap().get(host).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn connect(
        &self,
        address: SocketAddr,
        host: &str,
        until: Instant,
    ) -> io::Result<Box<dyn Channel>> {
        assert!(until <= Instant::now() + Duration::from_secs(5), "5 s in all");
        self.connected.fetch_add(1, Ordering::Relaxed);
        assert_eq!(address.port(), 443);
        if let Some((wide, real)) = self.wide.get() {
            return wide.connect(*real, host, until);
        }
        let answer = self.answers.lock().unwrap().get(host).cloned().unwrap();
        if answer == b"slow" {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Box::new(Played { asked: Vec::new(), answer: Cursor::new(answer) }))
    }
}

struct Played {
    asked: Vec<u8>,
    answer: Cursor<Vec<u8>>,
}

impl Read for Played {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        assert!(self.asked.ends_with(b"\r\n\r\n"), "the request is whole before the answer");
        self.answer.read(out)
    }
}

impl Write for Played {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
