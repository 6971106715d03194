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
    /// A name that a token cannot have.
    Name(String),
    /// A token of this name exists.
    NameTaken(String),
    /// No token has this name; the names there are.
    NameUnknown(String, Vec<String>),
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
                write!(f, "\"{name}\" cannot name a token; use 1 to 64 of A-Z a-z 0-9 . _ -, ")?;
                f.write_str("as in: local-llm-mcp token add laptop")
            }
            Self::NameTaken(name) => {
                write!(f, "there is a token named {name}; choose another name, or first type: ")?;
                write!(f, "local-llm-mcp token revoke {name}")
            }
            Self::NameUnknown(name, known) if known.is_empty() => {
                write!(f, "no token is named \"{name}\", for there is none; ")?;
                f.write_str("make one with: local-llm-mcp token add NAME")
            }
            Self::NameUnknown(name, known) => {
                write!(f, "no token is named \"{name}\"; there is {}", known.join(", "))
            }
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
