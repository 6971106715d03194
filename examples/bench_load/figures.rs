//! The figures of all rounds as one table: medians, and ratios to the first column.

use std::fmt;
use std::time::Duration;

/// Named values of one server in one round, in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<(String, f64)>);

impl Figures {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }
}

/// Rounds of several servers. Displays itself as Markdown.
pub(crate) struct Table {
    names: Vec<String>,
    rounds: Vec<Vec<Figures>>,
}

impl Table {
    /// An empty table with a column for each server.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let rounds = names.iter().map(|_| Vec::new()).collect();
        Self { names, rounds }
    }

    /// Adds one round of the server in this column.
    pub(crate) fn add(&mut self, column: usize, figures: Figures) {
        if let Some(rounds) = self.rounds.get_mut(column) {
            rounds.push(figures);
        }
    }

    fn rows(&self) -> Vec<&str> {
        let mut rows = Vec::new();
        for (name, _) in self.rounds.iter().flatten().flat_map(|figures| &figures.0) {
            if !rows.contains(&name.as_str()) {
                rows.push(name.as_str());
            }
        }
        rows
    }

    fn median(&self, column: usize, row: &str) -> Option<f64> {
        let rounds = self.rounds.get(column)?;
        let values = rounds.iter().flat_map(|figures| &figures.0);
        median(values.filter(|(name, _)| name == row).map(|(_, value)| *value))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| |")?;
        for name in &self.names {
            write!(f, " {name} |")?;
        }
        for name in self.names.iter().skip(1) {
            write!(f, " {} / {name} |", self.names.first().map_or("", String::as_str))?;
        }
        let columns = 2 * self.names.len() - 1;
        writeln!(f, "\n|---|{}", "---:|".repeat(columns))?;
        for row in self.rows() {
            write!(f, "| {row} |")?;
            let medians: Vec<_> =
                (0..self.names.len()).map(|column| self.median(column, row)).collect();
            for median in &medians {
                match median {
                    Some(value) => write!(f, " {} |", Short(*value))?,
                    None => write!(f, " – |")?,
                }
            }
            let first = medians.first().copied().flatten();
            for other in medians.iter().skip(1) {
                match (first, other) {
                    (Some(first), Some(other)) if *other != 0.0 => {
                        write!(f, " {:.2} |", first / other)?;
                    }
                    _ => write!(f, " – |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The one in the middle; of an even number the upper one.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The time below which so many percent of these are.
pub(crate) fn percentile(times: impl Iterator<Item = Duration>, percent: usize) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A value with about three digits that say something.
pub(crate) struct Short(pub(crate) f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            size if size >= 100.0 => write!(f, "{:.0}", self.0),
            size if size >= 10.0 => write!(f, "{:.1}", self.0),
            _ => write!(f, "{:.2}", self.0),
        }
    }
}
