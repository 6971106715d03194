//! Where each value came from, for `--check`.

use std::fmt;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag, as it is typed.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// What to look for in one's command line or environment.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Flag(name) | Self::Environment(name) => name,
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One resolved setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The flag without its dashes.
    pub name: &'static str,
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
