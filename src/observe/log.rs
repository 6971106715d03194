//! Logging: where lines go and what each level promises. Knows nothing of what is logged.
//!
//! - error: the operator must act.
//! - warn: something was refused or works worse than it should.
//! - info: start, stop, one access line an exchange.
//! - debug: decisions and expected ends of connections; no contents.
//! - trace: left out of release builds, since libraries write contents there.
//!
//! Tokens and keys at no level.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use env_logger::{Builder, Logger, Target, fmt::Formatter};
use log::{LevelFilter, Log, Metadata, Record};
use time::OffsetDateTime;

/// Logs to stderr and, where `file` is given, to its end too, so that a service's journal and a
/// file of one's own can be had together. `filter` is env_logger's: `level` and `module=level`,
/// comma separated. To be called once.
/// Errors: the file cannot be opened, or a logger is set already.
pub fn start(filter: &str, file: Option<&Path>) -> Result<(), LogError> {
    let terminal = builder(filter, Target::Stderr).build();
    let file = file.map(|path| open(path, filter)).transpose()?;
    let level = file.as_ref().map_or(LevelFilter::Off, Logger::filter).max(terminal.filter());
    log::set_boxed_logger(Box::new(Both { terminal, file }))
        .map_err(|_already: log::SetLoggerError| LogError::Twice)?;
    log::set_max_level(level);
    Ok(())
}

/// Text that somebody else chose, fit for one line: control characters and those that reorder or
/// break lines are escaped, and what is longer than 256 characters is cut.
#[must_use]
pub fn escaped(text: &str) -> impl fmt::Display + '_ {
    Escaped { text, chars_max: ESCAPED_CHARS_MAX }
}

/// Why logging cannot begin.
#[derive(Debug)]
pub enum LogError {
    /// The log file cannot be opened.
    File(PathBuf, io::Error),
    /// The process has a logger already.
    Twice,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(
                f,
                "cannot write the log file {} ({error}); choose another with --log-file FILE",
                path.display()
            ),
            Self::Twice => f.write_str("logging was started twice; please report it"),
        }
    }
}

impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(_, error) => Some(error),
            Self::Twice => None,
        }
    }
}

struct Both {
    terminal: Logger,
    file: Option<Logger>,
}

impl Log for Both {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.terminal.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.terminal.log(record);
        if let Some(file) = &self.file {
            file.log(record);
        }
    }

    fn flush(&self) {}
}

fn open(path: &Path, filter: &str) -> Result<Logger, LogError> {
    // Others on the machine need not know who asks for what.
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    let file = file.map_err(|error| LogError::File(path.to_owned(), error))?;
    Ok(builder(filter, Target::Pipe(Box::new(file))).build())
}

fn builder(filter: &str, target: Target) -> Builder {
    let mut builder = Builder::new();
    builder.parse_filters(filter).target(target).format(line);
    builder
}

/// Escapes the whole message once more: a line of the log is one line, whoever forgot what.
fn line(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let (time, level, target) = (Timestamp::now(), record.level(), record.target());
    let style = out.default_level_style(level);
    let message = record.args().to_string();
    let message = Escaped { text: &message, chars_max: usize::MAX };
    writeln!(out, "{time} {style}{level:<5}{style:#} {target}: {message}")
}

/// A moment as RFC 3339 in UTC, to the second.
struct Timestamp(OffsetDateTime);

impl Timestamp {
    fn now() -> Self {
        Self(OffsetDateTime::now_utc())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, (hour, minute, second)) = (self.0.date(), self.0.to_hms());
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        write!(f, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

struct Escaped<'a> {
    text: &'a str,
    chars_max: usize,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Almost all text is plain and goes out in one piece.
        let plain = self.text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if plain && self.text.len() <= self.chars_max {
            return f.write_str(self.text);
        }
        for (count, character) in self.text.chars().enumerate() {
            if count == self.chars_max {
                return f.write_str("...");
            }
            if character.is_control() || is_reordering(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Line separators, and marks that let text read differently from what it is.
fn is_reordering(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Enough to recognize a path or a client's name; more would let a client fill the disk.
const ESCAPED_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line() {
        for (text, safe) in [
            ("plain äöü", "plain äöü"),
            ("a\r\nb\tc\u{1b}[31m\u{7f}", "a\\r\\nb\\tc\\u{1b}[31m\\u{7f}"),
            ("a\u{202e}b\u{2028}", "a\\u{202e}b\\u{2028}"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ] {
            assert_eq!(escaped(text).to_string(), safe);
        }
    }

    #[test]
    fn foreign_text_is_cut() {
        assert_eq!(escaped(&"ä".repeat(256)).to_string(), "ä".repeat(256));
        assert_eq!(escaped(&"ä".repeat(257)).to_string(), format!("{}...", "ä".repeat(256)));
    }
}
