//! TOML as a flat list of `path = value`, each with its line. What these files have no use for
//! (inline tables, lists in lists) is refused. Knows no key's meaning.

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

/// One key with its value, or the head of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The whole path, as in `tools.profile`.
    pub(super) path: String,
    /// Which one of the `[[…]]` of the file it stands in, counted from 0 over all of them.
    pub(super) element: Option<usize>,
    /// From 1.
    pub(super) line: u32,
    pub(super) value: Value,
}

/// What stands behind a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(String),
    Flag(bool),
    List(Vec<String>),
    /// `[path]`.
    Table,
    /// `[[path]]`.
    Element,
    /// What no key takes, by its name.
    Other(&'static str),
}

impl Value {
    /// As a person calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table | Self::Element => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Why a file cannot be read, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: u32,
    pub(super) what: String,
}

/// Reads a whole file. Errors: the first place that is no TOML, or TOML that is not taken.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Wrong> {
    let source = Source::new(text);
    let tokens: Vec<_> = source.lex().collect();
    let mut reader = Reader::new(source);
    let mut fault = None;
    parse_document(&tokens, &mut reader, &mut fault);
    let fault = fault.map(|fault: ParseError| {
        let at = fault.unexpected().or(fault.context()).map_or(0, |span| span.start());
        (at, fault.description().to_owned())
    });
    match first(fault, reader.fault) {
        Some((at, what)) => Err(Wrong { line: line(text, at), what }),
        None => Ok(reader.entries),
    }
}

type Fault = Option<(usize, String)>;

/// The one that stands first in the file.
fn first(one: Fault, other: Fault) -> Fault {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}

fn line(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}

struct Reader<'a> {
    source: Source<'a>,
    entries: Vec<Entry>,
    /// The path of the table that is open, and which element it belongs to.
    table: String,
    element: Option<usize>,
    elements: usize,
    /// The path that is being read, and where it began.
    path: String,
    at: usize,
    list: Option<Vec<String>>,
    fault: Fault,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            entries: Vec::new(),
            table: String::new(),
            element: None,
            elements: 0,
            path: String::new(),
            at: 0,
            list: None,
            fault: None,
        }
    }

    fn wrong(&mut self, at: usize, what: String) {
        self.fault = first(self.fault.take(), Some((at, what)));
    }

    fn push(&mut self, value: Value) {
        let mut path = std::mem::take(&mut self.path);
        if !matches!(value, Value::Table | Value::Element) && !self.table.is_empty() {
            path = format!("{}.{path}", self.table);
        }
        let known = |entry: &Entry| entry.path == path && entry.element == self.element;
        if self.entries.iter().any(known) {
            self.wrong(self.at, format!("{path:?} is there twice"));
        }
        let line = line(self.source.input(), self.at);
        self.entries.push(Entry { path, element: self.element, line, value });
    }
}

impl EventReceiver for Reader<'_> {
    fn std_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.path.clear();
        self.element = None;
    }

    fn std_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.table.clone_from(&self.path);
        self.push(Value::Table);
    }

    fn array_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.path.clear();
        self.element = Some(self.elements);
        self.elements += 1;
    }

    fn array_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.table.clone_from(&self.path);
        self.push(Value::Element);
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.wrong(span.start(), "a table in { } is not taken here, write [NAME] on a line".into());
        false
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        if self.list.replace(Vec::new()).is_some() {
            self.wrong(span.start(), "a list in a list is not taken here".into());
            return false;
        }
        true
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        if let Some(list) = self.list.take() {
            self.push(Value::List(list));
        }
    }

    fn simple_key(&mut self, span: Span, kind: Option<Encoding>, error: &mut dyn ErrorSink) {
        if self.path.is_empty() {
            self.at = span.start();
        } else {
            self.path.push('.');
        }
        let mut key = String::new();
        if let Some(raw) = self.source.get(span) {
            let raw = toml_parser::Raw::new_unchecked(raw.as_str(), kind, span);
            raw.decode_key(&mut key, error);
        }
        self.path.push_str(&key);
    }

    fn scalar(&mut self, span: Span, kind: Option<Encoding>, error: &mut dyn ErrorSink) {
        let Some(raw) = self.source.get(span) else { return };
        let raw = toml_parser::Raw::new_unchecked(raw.as_str(), kind, span);
        let mut text = String::new();
        let value = match raw.decode_scalar(&mut text, error) {
            ScalarKind::String => Value::Text(text),
            ScalarKind::Boolean(flag) => Value::Flag(flag),
            ScalarKind::Integer(radix) if radix.value() == 10 => Value::Integer(text),
            ScalarKind::Integer(_) => Value::Other("a number that is not decimal"),
            ScalarKind::Float => Value::Other("a number with a point"),
            ScalarKind::DateTime => Value::Other("a date or time"),
        };
        match (&mut self.list, value) {
            (None, value) => self.push(value),
            (Some(list), Value::Text(text)) => list.push(text),
            (Some(_), other) => {
                self.wrong(span.start(), format!("a list holds text, not {}", other.kind()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_flat_list_with_lines() {
        let text = "a = \"x\\ty\" # comment\nb.c = 1_000\n\n[t]\nd = true\n'e f' = [\n  'g',\n  \
                    \"h\", # one\n]\n[[l]]\nm = '''\nn'''\n[[l]]\nm = 1.5\n[[k]]\n";
        let told: Vec<_> = read(text)
            .unwrap()
            .into_iter()
            .map(|it| (it.path, it.element, it.line, it.value))
            .collect();
        let text = |text: &str| Value::Text(text.to_owned());
        let expected = [
            ("a", None, 1, text("x\ty")),
            ("b.c", None, 2, Value::Integer("1000".into())),
            ("t", None, 4, Value::Table),
            ("t.d", None, 5, Value::Flag(true)),
            ("t.e f", None, 6, Value::List(vec!["g".into(), "h".into()])),
            ("l", Some(0), 10, Value::Element),
            ("l.m", Some(0), 11, text("n")),
            ("l", Some(1), 13, Value::Element),
            ("l.m", Some(1), 14, Value::Other("a number with a point")),
            ("k", Some(2), 15, Value::Element),
        ]
        .map(|(path, element, line, value)| (path.to_owned(), element, line, value));
        assert_eq!(told, expected);
    }

    #[test]
    fn the_first_fault_is_told_with_its_line() {
        for (text, line, what) in [
            ("a = 1\nb = tru\n", 2, "boolean"),
            ("a = 1\n[b\nc = 2", 2, "unclosed table"),
            ("a = \"x\n", 1, "string"),
            ("a\n", 1, ""),
            ("a = 1\n\na = 2\n", 3, "\"a\" is there twice"),
            ("[a]\n[a]\n", 2, "twice"),
            ("a = { b = 1 }", 1, "write [NAME]"),
            ("a = [[1]]", 1, "a list in a list"),
            ("a = [\n'b',\n3]", 3, "a list holds text, not a number"),
            ("a = [\n'b',\n", 2, "unclosed array"),
            ("[[[[[[[[[[[[", 1, ""),
        ] {
            let wrong = read(text).unwrap_err();
            assert_eq!(wrong.line, line, "{text}: {wrong:?}");
            assert!(wrong.what.contains(what), "{text}: {wrong:?}");
        }
        // As deep as a file may be long, without a deep stack.
        assert!(read(&format!("a = {}", "[".repeat(60_000))).is_err());
    }
}
