//! Why there is no usable certificate; every message is one line and ends with what to type.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::files::Problem;

/// What is wrong with a certificate or a key.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertError {
    /// A file is not there.
    Missing(PathBuf),
    /// A file belongs to somebody else and cannot be read.
    NotAllowed {
        /// The file, or the folder around it that is closed.
        path: PathBuf,
        /// Whose it is, as in `, which belongs to root (mode 0600)`; empty where not even that can
        /// be seen.
        owner: String,
        /// The user that this process runs as.
        user: String,
    },
    /// A file cannot be read or written.
    File(Problem),
    /// A file holds no certificate in PEM; what it seems to hold instead.
    NoCertificate(PathBuf, &'static str),
    /// A file holds no private key in PEM; what it seems to hold instead.
    NoKey(PathBuf, &'static str),
    /// A certificate that cannot be understood.
    Unreadable(PathBuf),
    /// A key of a kind that TLS here does not know.
    KeyKind(PathBuf),
    /// The key is not the one of the leaf.
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The leaf has expired (on this day).
    Expired(PathBuf, String),
    /// A certificate without its key, or a key without its certificate: the file that is missing
    /// and the one that is there.
    Half {
        /// The file that is missing.
        missing: PathBuf,
        /// The file that is there.
        present: PathBuf,
    },
    /// Our CA's key does not belong to our CA's certificate, or either cannot be used.
    Authority(PathBuf),
    /// Our CA has expired (on this day).
    AuthorityExpired(PathBuf, String),
    /// The certificate in the folder was made by somebody else and is not ours to replace.
    Foreign(PathBuf),
    /// A name that a certificate cannot have.
    Name(String),
    /// Making a certificate failed.
    Make(rcgen::Error),
    /// The system has no random bytes.
    Random,
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                let path = path.display();
                write!(f, "{path} is not there; give its path with --cert and --key, or leave ")?;
                f.write_str("both out and a certificate is made")
            }
            Self::NotAllowed { path, owner, user } => {
                let path = path.display();
                write!(f, "user {user} may not read {path}{owner}; type: ")?;
                write!(f, "sudo setfacl -R -m u:{user}:rX {path}")
            }
            Self::File(problem) => problem.fmt(f),
            Self::NoCertificate(path, instead) => {
                write!(f, "{} holds no PEM certificate but {instead}; ", path.display())?;
                f.write_str("give the file that begins with -----BEGIN CERTIFICATE-----")
            }
            Self::NoKey(path, "an encrypted key") => {
                let path = path.display();
                write!(f, "{path} is encrypted; type: openssl pkey -in {path} -out plain-key.pem")
            }
            Self::NoKey(path, instead) => {
                write!(f, "{} holds no PEM private key but {instead}; ", path.display())?;
                f.write_str("give the file that has a line with -----BEGIN ... PRIVATE KEY-----")
            }
            Self::Unreadable(path) => {
                let path = path.display();
                write!(f, "{path} is damaged; see what: openssl x509 -in {path} -noout -text")
            }
            Self::KeyKind(path) => {
                write!(f, "the key {} is damaged or of an unknown kind; ", path.display())?;
                f.write_str("use RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519")
            }
            Self::Mismatch { cert, key } => {
                write!(f, "{} is not the key of the first certificate in ", key.display())?;
                write!(f, "{}; give the two files that were made together", cert.display())
            }
            Self::Expired(path, day) => {
                let path = path.display();
                write!(f, "the certificate {path} expired on {day}; renew it, as in: ")?;
                f.write_str("sudo certbot renew")
            }
            Self::Half { missing, present } => {
                let (missing, present) = (missing.display(), present.display());
                write!(f, "{present} is there, but {missing} is not; put it back, or start ")?;
                write!(f, "anew: mv {present} {present}.old")
            }
            Self::Authority(path) => {
                write!(f, "the CA {} and the key beside it do not fit; ", path.display())?;
                f.write_str("put the right ones back, or move both away and a new CA is made")
            }
            Self::AuthorityExpired(path, day) => {
                write!(f, "the CA {} expired on {day}; ", path.display())?;
                f.write_str("make a new one and trust it on every client: local-llm-mcp cert")
            }
            Self::Foreign(path) => {
                let path = path.display();
                write!(f, "{path} was not made by our CA and is left alone; to replace it, ")?;
                write!(f, "first type: mv {path} {path}.old")
            }
            Self::Name(name) => {
                write!(f, "{name:?} cannot stand in a certificate; use a host name or an address")
            }
            Self::Make(error) => write!(f, "cannot make a certificate ({error}); please report it"),
            Self::Random => f.write_str("the system gives no random bytes; try again"),
        }
    }
}

impl Error for CertError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(problem) => problem.source(),
            Self::Make(error) => Some(error),
            _ => None,
        }
    }
}
