//! JSON written by hand where it is long.

use std::ops::Range;

use serde::Serialize;

/// JSON in the making.
pub(super) struct Writing(Vec<u8>);

impl Writing {
    /// With room for so many bytes and the little around them.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes + AROUND_BYTES))
    }

    /// Adds JSON as it stands.
    pub(super) fn put(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Adds a value that serde knows how to write.
    pub(super) fn value<T: Serialize>(&mut self, value: &T) {
        // Only a map with keys that are no text fails, and none comes here.
        serde_json::to_writer(&mut self.0, value).unwrap_or_default();
    }

    /// Adds once more what was written there.
    pub(super) fn again(&mut self, there: Range<usize>) {
        self.0.extend_from_within(there);
    }

    /// Adds a string (RFC 8259, section 7) and says where it stands. Byte by byte: JSON in a string has a quotation mark every
    /// few bytes, and runs between them are too short to be worth a copy each.
    pub(super) fn text(&mut self, text: &str) -> Range<usize> {
        let out = &mut self.0;
        let begins = out.len();
        out.reserve(text.len() + 2);
        out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b' '.. => out.push(byte),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x08 => out.extend_from_slice(b"\\b"),
                0x0c => out.extend_from_slice(b"\\f"),
                _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
        }
        out.push(b'"');
        begins..out.len()
    }

    /// What was written.
    pub(super) fn done(self) -> String {
        // All that came was text, and nothing was cut.
        String::from_utf8(self.0).unwrap_or_default()
    }
}

/// A string as JSON.
pub(super) fn quoted(text: &str) -> String {
    let mut out = Writing::new(text.len() + text.len() / 4);
    out.text(text);
    out.done()
}

/// Names, an id and metadata.
const AROUND_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_as_it_was() {
        let all: String = (0..=0x2ff).filter_map(char::from_u32).collect();
        for text in ["", "a", "\"", "\\", "\u{10ffff}\u{2028}", &all] {
            let mut out = Writing::new(0);
            out.text(text);
            let json = out.done();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "{json}");
            assert_eq!(json, serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn values_stand_between_what_is_put() {
        let mut out = Writing::new(0);
        out.put("[");
        out.value(&7);
        out.put(",");
        out.text("ä");
        let text = out.text("\n");
        out.again(text);
        out.put("]");
        assert_eq!(out.done(), "[7,\"ä\"\"\\n\"\"\\n\"]");
    }
}
