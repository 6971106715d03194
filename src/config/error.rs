//! Why the server cannot be configured as asked; every message is one line and ends with what to
//! type.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::report::Origin;

/// A setting that cannot be followed. The process ends with exit code 2.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line itself is not understood; the parser's own sentence.
    Usage(String),
    /// A value that its setting cannot have.
    Value {
        /// Where the value came from.
        origin: Origin,
        /// The value.
        value: String,
        /// What is wrong with it, as in `is not a port`.
        problem: &'static str,
        /// What to type instead.
        remedy: String,
    },
    /// Settings that contradict each other, or one that nothing can be done with.
    Conflict {
        /// What is wrong.
        what: String,
        /// What to type.
        remedy: String,
    },
    /// A file that a setting names cannot be read.
    File(Origin, PathBuf, io::Error),
    /// What is wrong stands in a file.
    InFile {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u32,
        /// What is wrong there.
        error: Box<Self>,
    },
    /// Strangers can reach the server (the setting that says so), and no token exists.
    Public(String),
}

impl ConfigError {
    pub(super) fn conflict(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { what: what.into(), remedy: remedy.into() }
    }

    /// A line of a file that cannot be followed.
    pub(super) fn at(
        path: &Path,
        line: u32,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let error = Box::new(Self::conflict(what, remedy));
        Self::InFile { path: path.to_owned(), line, error }
    }

    /// Names the configuration file and the line, where that is where the value came from.
    pub(super) fn named(self, file: Option<&Path>) -> Self {
        let line = match &self {
            Self::Value { origin, .. } | Self::File(origin, ..) => origin.line(),
            _ => None,
        };
        match (file, line) {
            (Some(path), Some(line)) => {
                Self::InFile { path: path.to_owned(), line, error: Box::new(self) }
            }
            _ => self,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) => {
                write!(f, "{sentence}; every flag is listed by: local-llm-mcp --help")
            }
            Self::Value { origin, value, problem, remedy } => {
                write!(f, "{}: {value:?} {problem}; {remedy}", origin.setting())
            }
            Self::Conflict { what, remedy } => write!(f, "{what}; {remedy}"),
            Self::File(origin, path, error) => {
                let (setting, path) = (origin.setting(), path.display());
                write!(f, "{setting}: cannot read {path} ({error}); type: ls -l {path}")
            }
            Self::InFile { path, line, error } => write!(f, "{}:{line}: {error}", path.display()),
            Self::Public(setting) => write!(
                f,
                "{setting} lets strangers reach this server, and no token exists; \
                 first type: local-llm-mcp token add NAME, or let clients in over OAuth with \
                 --oauth passphrase"
            ),
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(_, _, error) => Some(error),
            Self::InFile { error, .. } => error.source(),
            _ => None,
        }
    }
}
