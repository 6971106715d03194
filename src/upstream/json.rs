//! Writes the bodies of requests. Values that are already JSON go in as they stand, and no tree
//! is built: a body may carry images of many megabytes.

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Object(Vec<u8>);

impl Object {
    pub(super) fn new() -> Self {
        Self(b"{".to_vec())
    }

    /// Opens an object for JSON that an outer one takes with [`Object::raw`].
    pub(super) fn with(name: &str, text: &str) -> Self {
        let mut object = Self::new();
        object.text(name, text);
        object
    }

    fn key(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        quote(&mut self.0, name);
        self.0.push(b':');
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        quote(&mut self.0, text);
    }

    pub(super) fn integer(&mut self, name: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.raw(name, number.to_string().as_bytes());
        }
    }

    /// Numbers that are none are left out, as JSON has no word for them.
    pub(super) fn number(&mut self, name: &str, number: Option<f64>) {
        if let Some(number) = number.filter(|number| number.is_finite()) {
            self.raw(name, number.to_string().as_bytes());
        }
    }

    pub(super) fn flag(&mut self, name: &str, flag: bool) {
        self.raw(name, if flag { b"true" } else { b"false" });
    }

    pub(super) fn texts(&mut self, name: &str, texts: &[String]) {
        let mut list = List::new();
        for text in texts {
            quote(list.next(), text);
        }
        self.raw(name, &list.end());
    }

    /// A value that is JSON.
    pub(super) fn raw(&mut self, name: &str, json: &[u8]) {
        self.key(name);
        self.0.extend_from_slice(json);
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// A list that is being written.
#[derive(Debug)]
pub(super) struct List(Vec<u8>);

impl List {
    pub(super) fn new() -> Self {
        Self(b"[".to_vec())
    }

    /// Where the next entry is to be written.
    pub(super) fn next(&mut self) -> &mut Vec<u8> {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        &mut self.0
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push(b']');
        self.0
    }
}

/// Writes a text as JSON.
pub(super) fn quote(to: &mut Vec<u8>, text: &str) {
    // Writing a text into memory cannot fail.
    drop(serde_json::to_writer(to, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_a_reader_of_json_reads() {
        let mut object = Object::with("a", "ä\"\n");
        object.integer("b", Some(-3));
        object.integer("none", None);
        object.number("c", Some(0.5));
        object.number("d", Some(1.0));
        object.number("nan", Some(f64::NAN));
        object.flag("e", true);
        object.texts("f", &["x".to_owned(), "y".to_owned()]);
        object.raw("g", &List::new().end());
        let read: serde_json::Value = serde_json::from_slice(&object.end()).unwrap();
        let expected = serde_json::json!({
            "a": "ä\"\n", "b": -3, "c": 0.5, "d": 1, "e": true, "f": ["x", "y"], "g": []
        });
        assert_eq!(read, expected);
    }
}
