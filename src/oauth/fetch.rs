//! Fetches a client's document, after the owner has proved himself: once, from a public address that
//! was resolved here, without following anything.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::document::may_reach;
use super::uri::Uri;

/// An encrypted connection.
pub trait Channel: Read + Write {}
impl<T: Read + Write> Channel for T {}

/// The internet.
pub trait Net: Send + Sync {
    /// The addresses of a name. Errors: there are none.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// Connects to this very address and checks that it has a certificate for `host`.
    /// Errors: it cannot be reached, or is somebody else.
    fn connect(&self, address: SocketAddr, host: &str) -> io::Result<Box<dyn Channel>>;
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
            Self::Failed(error) => write!(f, "{error}"),
            Self::Answer(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Unreachable {}

/// The document at an address that [`super::document::is_address`].
/// Errors: [`Unreachable`].
pub(super) fn fetch(net: &dyn Net, url: &str) -> Result<Vec<u8>, Unreachable> {
    let uri = Uri::parse(url).ok_or(Unreachable::Answer("its address is none"))?;
    let addresses = net.resolve(uri.host).map_err(Unreachable::Failed)?;
    // One private address among public ones is how a name is made to lead home later.
    let all_public = addresses.iter().all(|address| may_reach(*address));
    let first = addresses.first().filter(|_| all_public).ok_or(Unreachable::NotPublic)?;
    let deadline = Instant::now() + FETCH_LIMIT;
    let mut channel =
        net.connect(SocketAddr::new(*first, 443), uri.host).map_err(Unreachable::Failed)?;
    // HTTP/1.0: the answer ends where the connection does, and is not cut into chunks.
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nAccept: application/json\r\n\
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
        if answer.len() > HEAD_BYTES_MAX + DOCUMENT_BYTES_MAX {
            return Err(Unreachable::Answer("its document is too long"));
        }
        if Instant::now() > deadline {
            return Err(Unreachable::Answer("its document took too long"));
        }
    }
    document(&answer)
}

/// The body of an answer that is a document.
fn document(answer: &[u8]) -> Result<Vec<u8>, Unreachable> {
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
    let body = answer.get(length..).unwrap_or_default();
    if body.len() > DOCUMENT_BYTES_MAX {
        return Err(Unreachable::Answer("its document is too long"));
    }
    Ok(body.to_vec())
}

/// The real internet, with the certificate authorities of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct WideNet;

impl Net for WideNet {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 443).to_socket_addrs()?.map(|address| address.ip()).collect())
    }

    fn connect(&self, address: SocketAddr, host: &str) -> io::Result<Box<dyn Channel>> {
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
        let socket = TcpStream::connect_timeout(&address, WAIT)?;
        socket.set_read_timeout(Some(WAIT))?;
        socket.set_write_timeout(Some(WAIT))?;
        Ok(Box::new(StreamOwned::new(tls, socket)))
    }
}

/// The whole fetch, but for one last wait.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// One connect, read or write.
const WAIT: Duration = Duration::from_secs(3);
/// Real documents have about one.
const DOCUMENT_BYTES_MAX: usize = 5 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;
