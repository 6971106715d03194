//! Where each value came from, for `--check`.

use std::borrow::Cow;
use std::fmt;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag, as it is typed.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// A key of the configuration file, and the line that it stands in.
    File {
        /// Its path, as in `tools.profile`.
        key: &'static str,
        /// From 1.
        line: u32,
    },
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// What to look for in one's command line, environment or configuration file.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Flag(name) | Self::Environment(name) | Self::File { key: name, .. } => name,
            Self::Default => "default",
        }
    }

    /// The line of the configuration file, for what stands there.
    pub(super) fn line(self) -> Option<u32> {
        match self {
            Self::File { line, .. } => Some(line),
            Self::Flag(_) | Self::Environment(_) | Self::Default => None,
        }
    }

    /// The larger wins.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Flag(_) => 3,
            Self::Environment(_) => 2,
            Self::File { .. } => 1,
            Self::Default => 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { line, .. } => write!(f, "file, line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One resolved setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The flag without its dashes, or the path of a key that has no flag.
    pub name: Cow<'static, str>,
    /// The value as it is used; a secret is only "set" or "not set".
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Every resolved setting, in the order of `--help`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub Vec<Row>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&Row) -> usize| self.0.iter().map(text).max().unwrap_or(0);
        let name = width(|row| row.name.chars().count());
        let value = width(|row| row.value.chars().count()).min(VALUE_COLUMN_MAX);
        for row in &self.0 {
            writeln!(f, "{:name$}  {:value$}  {}", row.name, row.value, row.origin)?;
        }
        Ok(())
    }
}

/// One long value must not push the origins of all others off the screen.
const VALUE_COLUMN_MAX: usize = 44;
