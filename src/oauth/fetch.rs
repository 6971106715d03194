//! Fetches a client's document, after the owner has proved himself: once, from a public address that
//! was resolved here, without following anything.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::document::may_reach;
use super::uri::Uri;
use crate::auth::Interface;
use crate::edge::Decoder;
use crate::worker::{self, Latch, lock};

/// An encrypted connection.
pub trait Channel: Read + Write {}
impl<T: Read + Write> Channel for T {}

/// The internet.
pub trait Net: Send + Sync {
    /// The addresses of a name. Errors: there are none, or none were found until then.
    fn resolve(&self, host: &str, until: Instant) -> io::Result<Vec<IpAddr>>;

    /// Connects to this very address and checks that it has a certificate for `host`. Nothing that
    /// is read or written there lasts longer than until then.
    /// Errors: it cannot be reached, or is somebody else.
    fn connect(
        &self,
        address: SocketAddr,
        host: &str,
        until: Instant,
    ) -> io::Result<Box<dyn Channel>>;
}

/// Why a document was not read; said to the owner.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// The name leads to an address at home, or to none that everybody reaches.
    NotPublic,
    /// The connection failed.
    Failed(io::Error),
    /// The answer is no document: this is what it was instead.
    Answer(&'static str),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPublic => f.write_str("its name does not lead to a public address"),
            Self::Failed(error) if error.kind() == io::ErrorKind::TimedOut => {
                write!(f, "it took longer than {} s", FETCH_LIMIT.as_secs())
            }
            Self::Failed(error) => write!(f, "{error}"),
            Self::Answer(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Unreachable {}

/// A document.
pub(super) struct Fetched {
    pub(super) body: Vec<u8>,
    /// How long it may be kept, in seconds; 0: not at all.
    pub(super) keep_s: i64,
}

/// The document at an address that [`super::document::is_address`].
/// Errors: [`Unreachable`].
pub(super) fn fetch(
    net: &dyn Net,
    interfaces: &[Interface],
    url: &str,
) -> Result<Fetched, Unreachable> {
    let uri = Uri::parse(url).ok_or(Unreachable::Answer("its address is none"))?;
    let until = Instant::now() + FETCH_LIMIT;
    let addresses = net.resolve(uri.host, until).map_err(Unreachable::Failed)?;
    // One private address among public ones is how a name is made to lead home later.
    let all_public = addresses.iter().all(|address| may_reach(*address, interfaces));
    let first = addresses.first().filter(|_| all_public).ok_or(Unreachable::NotPublic)?;
    let address = SocketAddr::new(*first, 443);
    let mut channel = net.connect(address, uri.host, until).map_err(Unreachable::Failed)?;
    // The answer ends where the connection does. Not HTTP/1.0, which some proxies refuse (426).
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n\
         User-Agent: local-llm-mcp\r\nConnection: close\r\n\r\n",
        uri.rest, uri.host
    );
    channel.write_all(request.as_bytes()).map_err(Unreachable::Failed)?;
    channel.flush().map_err(Unreachable::Failed)?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match channel.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(piece.get(..read).unwrap_or_default()),
            // Servers that close without a farewell have said all they wanted: it is JSON or not.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(Unreachable::Failed(error)),
        }
        if answer.len() > HEAD_BYTES_MAX + 2 * DOCUMENT_BYTES_MAX {
            return Err(Unreachable::Answer("its document is too long"));
        }
    }
    document(&answer)
}

/// The body of an answer that is a document.
fn document(answer: &[u8]) -> Result<Fetched, Unreachable> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(answer) else {
        return Err(Unreachable::Answer("its answer is not HTTP"));
    };
    if response.code != Some(200) {
        return Err(Unreachable::Answer("it did not answer with its document (status 200)"));
    }
    let is_json = response.headers.iter().any(|field| {
        let media = field.value.split(|byte| *byte == b';').next().unwrap_or_default();
        field.name.eq_ignore_ascii_case("content-type")
            && media.trim_ascii().eq_ignore_ascii_case(b"application/json")
    });
    if !is_json {
        return Err(Unreachable::Answer("its answer is not JSON"));
    }
    let mut body = answer.get(length..).unwrap_or_default().to_vec();
    let coding = "transfer-encoding";
    if let Some(coding) = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case(coding)) {
        let (chunks, mut decoder) = (std::mem::take(&mut body), Decoder::new());
        let decoded = decoder.feed(&chunks, &mut body, DOCUMENT_BYTES_MAX);
        if !coding.value.eq_ignore_ascii_case(b"chunked") || decoded.is_err() || !decoder.is_done()
        {
            return Err(Unreachable::Answer("its answer is not HTTP, or too long"));
        }
    }
    if body.len() > DOCUMENT_BYTES_MAX {
        return Err(Unreachable::Answer("its document is too long"));
    }
    Ok(Fetched { body, keep_s: keep_s(response.headers) })
}

/// What an answer says about how long it may be kept (RFC 9111, section 5.2.2), a day at most.
fn keep_s(fields: &[httparse::Header<'_>]) -> i64 {
    let said = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("cache-control"));
    let words = said.flat_map(|field| field.value.split(|byte| *byte == b','));
    let mut keep_s = None;
    for word in words.map(|word| String::from_utf8_lossy(word.trim_ascii()).to_ascii_lowercase()) {
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        let said = match name {
            "no-store" | "no-cache" => 0,
            "max-age" => value.trim_matches('"').parse().unwrap_or(0),
            _ => continue,
        };
        keep_s = Some(keep_s.unwrap_or(KEEP_S_MAX).min(said));
    }
    keep_s.unwrap_or(KEEP_S)
}

/// The real internet, with the certificate authorities of the system.
#[derive(Clone, Debug, Default)]
pub struct WideNet {
    /// Every look-up that runs holds it too.
    running: Arc<()>,
}

impl WideNet {
    /// The system's look-up cannot be stopped and may outlast the limit, so it has a thread of its
    /// own, which nobody joins for the same reason: it ends by itself.
    fn look_up(&self, look: impl Look, until: Instant) -> io::Result<Vec<IpAddr>> {
        let running = Arc::clone(&self.running);
        if Arc::strong_count(&running) > 1 + LOOK_UPS_MAX {
            return Err(io::Error::other("names are found too slowly just now; try again later"));
        }
        let answer = Arc::<(Mutex<Option<io::Result<Vec<IpAddr>>>>, Latch)>::default();
        let told = Arc::clone(&answer);
        // Joined by nobody, as said above.
        drop(worker::start("resolve", STACK_BYTES, move || {
            *lock(&told.0) = Some(look());
            drop(running);
            told.1.open();
        })?);
        answer.1.wait(until.saturating_duration_since(Instant::now()));
        lock(&answer.0).take().unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A look-up under way.
trait Look: FnOnce() -> io::Result<Vec<IpAddr>> + Send + 'static {}
impl<T: FnOnce() -> io::Result<Vec<IpAddr>> + Send + 'static> Look for T {}

impl Net for WideNet {
    fn resolve(&self, host: &str, until: Instant) -> io::Result<Vec<IpAddr>> {
        let host = host.to_owned();
        let look = move || {
            Ok((host.as_str(), 443).to_socket_addrs()?.map(|address| address.ip()).collect())
        };
        self.look_up(look, until)
    }

    fn connect(
        &self,
        address: SocketAddr,
        host: &str,
        until: Instant,
    ) -> io::Result<Box<dyn Channel>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let socket = TcpStream::connect_timeout(&address, left(until)?)?;
        Ok(Box::new(StreamOwned::new(tls, Timed { socket, until })))
    }
}

/// A socket below TLS that is good until then, however slowly the other end drips: TLS asks for
/// whole records, and would wait anew for every byte of one.
struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Read for Timed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.until)?))?;
        self.socket.read(out).map_err(late)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.until)?))?;
        self.socket.write(bytes).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Errors: nothing is left.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// What a socket's timeout is called differs by system.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// The whole fetch, from the look-up of the name to the last byte.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// Look-ups that may outlast their limit at a time.
const LOOK_UPS_MAX: usize = 4;
/// Name service plug-ins of the system run on this stack.
const STACK_BYTES: usize = 256 * 1024;
/// Where nothing is said.
const KEEP_S: i64 = 3600;
/// A client that changes where its codes go is known by the new address a day later at the latest.
const KEEP_S_MAX: i64 = 86_400;
/// Real documents have about one.
const DOCUMENT_BYTES_MAX: usize = 5 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn a_look_up_that_hangs_is_left_alone_and_few_may_hang() {
        let net = WideNet::default();
        let soon = || Instant::now() + Duration::from_millis(50);
        let (gate, wait) = bounded::<()>(0);
        for _ in 0..LOOK_UPS_MAX {
            let wait = wait.clone();
            let hangs = move || {
                assert!(wait.recv().is_err());
                Ok(Vec::new())
            };
            let begun = Instant::now();
            assert_eq!(net.look_up(hangs, soon()).unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        let refused = net.look_up(|| Ok(Vec::new()), soon()).unwrap_err();
        assert!(refused.to_string().contains("try again later"), "{refused}");
        drop(gate);
        let until = Instant::now() + Duration::from_secs(10);
        while net.look_up(|| Ok(Vec::new()), until).is_err() {
            assert!(Instant::now() < until, "the places come back");
        }
        let found = net.resolve("localhost", until).unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    /// Every name leads to this address, which nobody may reach.
    struct Leads(IpAddr);

    impl Net for Leads {
        fn resolve(&self, _: &str, _: Instant) -> io::Result<Vec<IpAddr>> {
            Ok(vec![self.0])
        }

        fn connect(&self, _: SocketAddr, _: &str, _: Instant) -> io::Result<Box<dyn Channel>> {
            panic!("{} is at home", self.0);
        }
    }

    #[test]
    fn a_name_that_leads_home_is_not_followed() {
        let interface = |address: &str, prefix_bits| Interface {
            address: address.parse().unwrap(),
            prefix_bits,
        };
        let interfaces = [interface("2a02:8070:1:2::5", 64), interface("8.8.8.8", 32)];
        for home in ["192.168.1.1", "8.8.8.8", "2a02:8070:1:2::77"] {
            let net = Leads(home.parse().unwrap());
            let fetched = fetch(&net, &interfaces, "https://client.example/a");
            assert!(matches!(fetched, Err(Unreachable::NotPublic)), "{home}");
        }
    }
}
