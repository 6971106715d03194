//! Why tokens cannot be used or kept; every message ends with what to type.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::files::Problem;

/// What went wrong with tokens on disk or in the environment.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthError {
    /// A file with tokens cannot be read or written, or is open to other users of the machine.
    File(Problem),
    /// The token store is not what `token add` writes.
    Broken(PathBuf, serde_json::Error),
    /// The token store was written by a newer version (its number).
    Newer(PathBuf, u32),
    /// The token file holds no token.
    Empty(PathBuf),
    /// A token from the environment or the token file is no token; says where it stands.
    Unfit(String),
    /// A name that a token or client cannot have.
    Name(String),
    /// One of this kind and name exists.
    Taken(&'static str, String),
    /// None of this kind has this name; the names there are.
    Unknown(&'static str, String, Vec<String>),
    /// There are as many of this kind as there may be.
    Full(&'static str, usize),
    /// A passphrase with fewer characters than this.
    Short(usize),
    /// OAuth is to ask for the owner's passphrase, and there is none.
    NoPassphrase,
    /// The system has no random bytes.
    Random,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(problem) => problem.fmt(f),
            Self::Broken(path, error) => {
                let path = path.display();
                write!(f, "{path} is not a token store ({error}); restore it, or start anew: ")?;
                write!(f, "mv {path} {path}.broken")
            }
            Self::Newer(path, version) => {
                let path = path.display();
                write!(f, "{path} has version {version}, which a newer local-llm-mcp wrote; ")?;
                f.write_str("use that one, or another --state-dir")
            }
            Self::Empty(path) => {
                let path = path.display();
                write!(f, "{path} holds no token; put one on each line, or make one with ")?;
                f.write_str("local-llm-mcp token add NAME")
            }
            Self::Unfit(place) => {
                write!(
                    f,
                    "{place} is not a usable token: 16 or more of A-Z a-z 0-9 - . _ ~ + /; "
                )?;
                f.write_str("make one with: openssl rand -hex 32")
            }
            Self::Name(name) => {
                write!(
                    f,
                    "\"{name}\" cannot name a token or a client; use 1 to 64 of A-Z a-z 0-9 . _ -, "
                )?;
                f.write_str("as in: local-llm-mcp token add laptop")
            }
            Self::Taken(kind, name) => {
                let undo = if *kind == "token" { "revoke" } else { "remove" };
                write!(f, "there is a {kind} named {name}; choose another name, or first type: ")?;
                write!(f, "local-llm-mcp {kind} {undo} {name}")
            }
            Self::Unknown("grant", id, known) if known.is_empty() => {
                write!(f, "no grant is called \"{id}\", for there is none; ")?;
                f.write_str("one comes of a login: see local-llm-mcp --help for --oauth")
            }
            Self::Unknown(kind, name, known) if known.is_empty() => {
                write!(f, "no {kind} is named \"{name}\", for there is none; ")?;
                write!(f, "make one with: local-llm-mcp {kind} add NAME")
            }
            Self::Unknown("grant", id, known) => {
                write!(f, "no one grant is called \"{id}\"; there is {}", known.join(", "))
            }
            Self::Unknown(kind, name, known) => {
                write!(f, "no {kind} is named \"{name}\"; there is {}", known.join(", "))
            }
            Self::Full(kind, max) => {
                write!(f, "there are {max} {kind}, and more are not kept; take one away first")
            }
            Self::Short(min) => {
                write!(f, "a passphrase needs {min} characters or more; one is made by: ")?;
                f.write_str("local-llm-mcp auth passphrase")
            }
            Self::NoPassphrase => f.write_str(
                "--oauth passphrase needs the owner's passphrase, and there is none; first type: \
                 local-llm-mcp auth passphrase (or start with --oauth console)",
            ),
            Self::Random => f.write_str("the system gives no random bytes; try again"),
        }
    }
}

impl Error for AuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(problem) => problem.source(),
            Self::Broken(_, error) => Some(error),
            _ => None,
        }
    }
}
