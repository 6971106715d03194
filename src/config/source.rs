//! Flag over environment over file over default, for one setting at a time, noting down where each value
//! came from. Knows no setting's meaning.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::error::ConfigError;
use super::file::File;
use super::report::{Origin, Report, Row};
use super::resolve::NONE;

/// The variables that may set something. Empty ones count as unset, since container files set
/// them like this.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// A variable's value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// A flag with its twins: the key of the configuration file, and the variables of the environment,
/// the first of which counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// Empty where only the file has it.
    pub(super) flag: &'static str,
    /// Empty where the file does not have it.
    pub(super) key: &'static str,
    pub(super) variables: &'static [&'static str],
}

impl Setting {
    /// As `--check` calls it.
    pub(super) fn name(&self) -> &'static str {
        if self.flag.is_empty() { self.key } else { self.flag.trim_start_matches('-') }
    }
}

/// A value that somebody gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Given {
    pub(super) fn wrong(&self, problem: &'static str, remedy: impl Into<String>) -> ConfigError {
        let (origin, value) = (self.origin, self.text.clone());
        ConfigError::Value { origin, value, problem, remedy: remedy.into() }
    }

    /// The parts of a comma separated list.
    pub(super) fn parts(&self) -> impl Iterator<Item = Self> + '_ {
        let origin = self.origin;
        let parts = self.text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(move |part| Self { text: part.to_owned(), origin })
    }
}

/// Finds given values and collects the report.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) environment: &'a Environment,
    pub(super) file: &'a File,
    pub(super) report: Report,
}

impl<'a> Source<'a> {
    pub(super) fn new(environment: &'a Environment, file: &'a File) -> Self {
        Self { environment, file, report: Report::default() }
    }

    /// What somebody gave for a setting, if anybody did.
    pub(super) fn given(&self, setting: Setting, flag: Option<&str>) -> Option<Given> {
        match flag {
            Some(text) => Some(Given { text: text.to_owned(), origin: Origin::Flag(setting.flag) }),
            None => {
                let variable = setting.variables.iter().find_map(|name| self.variable(name));
                variable.or_else(|| self.file.given(setting.key, None))
            }
        }
    }

    /// What a variable alone gives.
    pub(super) fn variable(&self, name: &'static str) -> Option<Given> {
        let text = self.environment.value(name)?.to_owned();
        Some(Given { text, origin: Origin::Environment(name) })
    }

    /// Notes down what a setting came to.
    pub(super) fn note(&mut self, setting: Setting, value: impl Into<String>, origin: Origin) {
        self.row(setting.name(), value, origin);
    }

    /// The same for what has no flag.
    pub(super) fn row(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
        origin: Origin,
    ) {
        self.report.0.push(Row { name: name.into(), value: value.into(), origin });
    }

    /// A setting with a default: parsed, and noted down as `show` shows it.
    pub(super) fn parsed<T>(
        &mut self,
        setting: Setting,
        flag: Option<&str>,
        parse: impl FnOnce(&Given) -> Result<T, ConfigError>,
        default: impl FnOnce() -> T,
        show: impl FnOnce(&T) -> String,
    ) -> Result<T, ConfigError> {
        let (value, origin) = match self.given(setting, flag) {
            Some(given) => (parse(&given)?, given.origin),
            None => (default(), Origin::Default),
        };
        self.note(setting, show(&value), origin);
        Ok(value)
    }

    /// A setting that may be absent: parsed, and noted down as given.
    pub(super) fn optional<T>(
        &mut self,
        setting: Setting,
        flag: Option<&str>,
        parse: impl FnOnce(&Given) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        let given = self.given(setting, flag);
        let value = given.as_ref().map(parse).transpose()?;
        let (text, origin) =
            given.map_or((NONE.to_owned(), Origin::Default), |given| (given.text, given.origin));
        self.note(setting, text, origin);
        Ok(value)
    }

    /// A list, each part parsed; empty where nobody gave one.
    pub(super) fn list<T>(
        &mut self,
        setting: Setting,
        flag: &[String],
        parse: impl Fn(&Given) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        let joined = (!flag.is_empty()).then(|| flag.join(","));
        let all = |given: &Given| given.parts().map(|part| parse(&part)).collect();
        Ok(self.optional(setting, joined.as_deref(), all)?.unwrap_or_default())
    }
}
