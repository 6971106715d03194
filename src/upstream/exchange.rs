//! One HTTP request to an upstream and its answer, with what may be retried and what failed.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{HeaderValue, Request, Response, Uri, request};
use ureq::tls::Certificate;
use ureq::{Agent, AsSendBody, Body};

use crate::upstream::call::Call;
use crate::upstream::dial::Dial;
use crate::upstream::error::{UpstreamError, plain};
use crate::upstream::limits::Stop;
use crate::upstream::line::Agents;
use crate::upstream::settings::{Settings, SettingsError};

/// Sends requests to one upstream. A request's [`Call`] must be entered on the thread.
pub(super) struct Exchange {
    dial: Dial,
    agents: Agents,
    authorization: Option<HeaderValue>,
    url: String,
    reply_bytes_max: usize,
}

impl Exchange {
    /// For the upstream that the settings name. Errors: they cannot be used.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let url = &settings.base_url;
        let roots = match &settings.ca_file {
            _ if !url.is_https() => Vec::new(),
            Some(path) => {
                roots_in(path).map_err(|cause| SettingsError::CaFile(path.clone(), cause))?
            }
            None => trusted_roots()?,
        };
        Self::trusting(roots, settings)
    }

    /// With these as the certificates that vouch for an https upstream.
    fn trusting(
        roots: Vec<Certificate<'static>>,
        settings: &Settings,
    ) -> Result<Self, SettingsError> {
        let url = &settings.base_url;
        Ok(Self {
            dial: Dial::new(url.host(), url.port()),
            agents: Agents::new(roots),
            authorization: settings.authorization()?,
            url: url.as_str().to_owned(),
            reply_bytes_max: settings.reply_bytes_max,
        })
    }

    /// Whether requests carry a token.
    pub(super) fn sends_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// GETs a whole body, over a connection of the pool where there is one, and once more over a
    /// fresh one when the pooled one turns out to be dead.
    pub(super) fn get(
        &self,
        path: &str,
        call: &Call,
        beat: &mut dyn FnMut(),
    ) -> Result<Reply, UpstreamError> {
        let uri = self.uri(path)?;
        let mut ask = |agent: &Agent| {
            let request = self.head(Request::get(uri.clone()));
            let response = self.run(agent, request, (), call, beat)?;
            self.reply(response, call, beat)
        };
        match ask(&self.agents.pooled) {
            Err(_) if call.may_retry(true) => ask(&self.agents.fresh),
            asked => asked,
        }
    }

    /// POSTs JSON once, over a connection that no other request uses meanwhile. The answer's body is
    /// still to be read; `beat` is called as often as the call asks while the upstream is silent.
    pub(super) fn post(
        &self,
        path: &str,
        json: &[u8],
        call: &Call,
        beat: &mut dyn FnMut(),
    ) -> Result<Response<Body>, UpstreamError> {
        let request = self
            .head(Request::post(self.uri(path)?))
            .header(CONTENT_TYPE, JSON)
            .header(ACCEPT, EVENT_STREAM);
        call.has_body();
        self.run(&self.agents.recent, request, json, call, beat)
    }

    /// Reads the whole of an answer.
    pub(super) fn reply(
        &self,
        response: Response<Body>,
        call: &Call,
        beat: &mut dyn FnMut(),
    ) -> Result<Reply, UpstreamError> {
        let status = response.status().as_u16();
        Ok(Reply { status, body: self.whole(response, call, beat)? })
    }

    /// Reads a body to its end. Errors: it is longer than `reply_bytes_max`, or fails.
    fn whole(
        &self,
        response: Response<Body>,
        call: &Call,
        beat: &mut dyn FnMut(),
    ) -> Result<Vec<u8>, UpstreamError> {
        let body = response.into_body();
        let expected = body.content_length().and_then(|length| usize::try_from(length).ok());
        let mut whole = Vec::with_capacity(expected.unwrap_or(CHUNK_BYTES).min(EXPECTED_BYTES_MAX));
        let reader = body.into_reader();
        let mut limited = reader.take(self.reply_bytes_max as u64 + 1);
        loop {
            match limited.read_to_end(&mut whole) {
                Ok(_) if whole.len() > self.reply_bytes_max => {
                    return Err(UpstreamError::ReplyTooLarge { limit: self.reply_bytes_max });
                }
                Ok(_) => return Ok(whole),
                Err(error) if Stop::within(&error) == Some(Stop::Beat) => beat(),
                Err(error) => return Err(self.failed(error, call)),
            }
        }
    }

    /// What a failed read or write means for the request.
    pub(super) fn failed(&self, cause: io::Error, call: &Call) -> UpstreamError {
        let partial = String::new();
        match Stop::within(&cause) {
            Some(Stop::Cancelled) => UpstreamError::Cancelled,
            Some(Stop::Limit(limit)) => {
                UpstreamError::Timeout { limit, length: call.limits().length(limit), partial }
            }
            Some(Stop::Beat | Stop::Dial) | None if call.is_connecting() => {
                UpstreamError::Unreachable { url: self.url.clone(), cause }
            }
            Some(Stop::Beat | Stop::Dial) | None => {
                UpstreamError::Died { cause: plain(&cause), partial }
            }
        }
    }

    fn uri(&self, path: &str) -> Result<Uri, UpstreamError> {
        format!("{}{path}", self.url).parse().map_err(|error| self.refused(&error))
    }

    fn head(&self, request: request::Builder) -> request::Builder {
        match &self.authorization {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    /// Runs until the head of the answer is there. Each beat leaves ureq and sends the request
    /// again, which the transport turns into a continued wait; so does the need for a connection.
    /// A request begins with a beat, so that many short ones in a row are not one long silence.
    fn run<'a, B: AsSendBody + Copy>(
        &'a self,
        mut agent: &'a Agent,
        request: request::Builder,
        body: B,
        call: &Call,
        beat: &mut dyn FnMut(),
    ) -> Result<Response<Body>, UpstreamError> {
        let request = request.body(body).map_err(|error| self.refused(&error))?;
        beat();
        loop {
            match agent.run(request.clone()) {
                Ok(response) => {
                    call.head_done();
                    return Ok(response);
                }
                Err(ureq::Error::Io(error)) => match Stop::within(&error) {
                    Some(Stop::Beat) => {
                        // What was written goes on where it was written: a pool might have another
                        // connection by now, and the upstream would be asked twice.
                        agent = &self.agents.fresh;
                        beat();
                    }
                    Some(Stop::Dial) => {
                        let until = call.connecting();
                        let dialed = self.dial.connect(call, until, beat);
                        call.dialed(dialed.map_err(|error| self.failed(error, call))?);
                    }
                    _ => return Err(self.failed(error, call)),
                },
                Err(error) if call.is_connecting() => {
                    return Err(self.failed(io::Error::other(error), call));
                }
                Err(error) => return Err(self.refused(&error)),
            }
        }
    }

    /// Something that is no HTTP answer.
    fn refused(&self, error: &dyn fmt::Display) -> UpstreamError {
        let said = format!("{} does not speak HTTP as expected: {error}", self.url);
        UpstreamError::Answered { status: 200, said, partial: String::new() }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// The certificates in a PEM file. Errors: it cannot be read, or holds none.
fn roots_in(path: &Path) -> io::Result<Vec<Certificate<'static>>> {
    let content = std::fs::read(path)?;
    let mut roots = Vec::new();
    for found in CertificateDer::pem_slice_iter(&content) {
        roots.push(Certificate::from_der(&found.map_err(io::Error::other)?).to_owned());
    }
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate"));
    }
    Ok(roots)
}

/// The certificates that this system trusts. Errors: it has none.
fn trusted_roots() -> Result<Vec<Certificate<'static>>, SettingsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(SettingsError::Roots(io::Error::other(causes.join("; "))));
    }
    Ok(found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect())
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a stream of events calls itself.
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

const CHUNK_BYTES: usize = 8 * 1024;

/// A declared length is believed this far before its bytes are there.
const EXPECTED_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;
    use crate::cancel::{Cancel, Reason};
    use crate::upstream::settings::BaseUrl;
    use crate::worker::{Worker, start};

    /// A certificate for localhost and a server with it that takes `connections` in turn. It
    /// answers `{}` to `/now` and, to anything else, waits until the client leaves.
    fn secured(connections: usize) -> (u16, Certificate<'static>, Worker) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let worker = Worker::spawn("secured", 512 * 1024, move || {
            for stream in listener.incoming().take(connections) {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(session, stream.unwrap());
                let mut head = [0; 1024];
                while let Ok(read) = stream.read(&mut head)
                    && read > 0
                {
                    if head.starts_with(b"GET /now ") {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                        stream.write_all(answer).unwrap();
                    }
                }
            }
        });
        (port, Certificate::from_der(made.cert.der()).to_owned(), worker.unwrap())
    }

    fn ask(
        exchange: &Exchange,
        port: u16,
        path: &str,
        cancel: &Cancel,
    ) -> Result<Reply, UpstreamError> {
        let settings = settings(port);
        let call = Call::new(cancel, settings.limits, None);
        let _entered = call.enter();
        exchange.get(path, &call, &mut || ())
    }

    fn settings(port: u16) -> Settings {
        Settings::new(BaseUrl::parse(&format!("https://localhost:{port}")).unwrap())
    }

    #[test]
    fn an_https_upstream_is_asked_over_one_connection_and_can_be_cancelled() {
        let (port, root, _server) = secured(1);
        let exchange = Arc::new(Exchange::trusting(vec![root], &settings(port)).unwrap());
        for _ in 0..3 {
            let answer = ask(&exchange, port, "/now", &Cancel::new()).unwrap();
            assert_eq!(answer, Reply { status: 200, body: b"{}".to_vec() });
        }
        let cancel = Cancel::new();
        let (waits, its_cancel) = (Arc::clone(&exchange), cancel.clone());
        let call = start("call", 512 * 1024, move || ask(&waits, port, "/never", &its_cancel));
        cancel.fire(Reason::Requested);
        assert_eq!(call.unwrap().join().unwrap().unwrap_err().code(), "CANCELLED");
    }

    #[test]
    fn a_private_ca_s_file_takes_the_place_of_the_system_s_roots() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (port, root, _server) = secured(1);
        let path = std::env::temp_dir().join(format!("upstream-ca-{port}.pem"));
        let told = |content: &str| {
            std::fs::write(&path, content).unwrap();
            Exchange::new(&Settings { ca_file: Some(path.clone()), ..settings(port) })
        };
        for broken in ["", "no certificate\n"] {
            let error = told(broken).unwrap_err();
            assert!(matches!(error, SettingsError::CaFile(..)), "{error}");
        }
        // A stranger's is not enough, its own is.
        assert!(told(&made.cert.pem()).is_ok());
        let mut pem = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, root.der());
        pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        let answer = ask(&told(&pem).unwrap(), port, "/now", &Cancel::new()).unwrap();
        assert_eq!(answer.status, 200);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_stranger_s_certificate_is_refused() {
        let (port, _, _server) = secured(1);
        let (_, other, _) = secured(0);
        let exchange = Exchange::trusting(vec![other], &settings(port)).unwrap();
        let error = ask(&exchange, port, "/now", &Cancel::new()).unwrap_err();
        assert_eq!(error.code(), "UPSTREAM_UNREACHABLE");
        assert!(error.to_string().contains("certificate"), "{error}");
    }

    #[test]
    fn a_handshake_that_hangs_ends_with_the_connect_limit() {
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = mute.local_addr().unwrap().port();
        let mut settings = settings(port);
        settings.limits.connect = Duration::from_millis(50);
        let exchange = Exchange::trusting(Vec::new(), &settings).unwrap();
        let call = Call::new(&Cancel::new(), settings.limits, None);
        let _entered = call.enter();
        let error = exchange.get("/now", &call, &mut || ()).unwrap_err();
        assert_eq!(error.code(), "UPSTREAM_TIMEOUT");
        assert!(error.to_string().contains("(connect timeout)"), "{error}");
    }
}
