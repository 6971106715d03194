//! Reads server-sent events (WHATWG HTML, 9.2.6) from bytes that may be cut anywhere. Pure.

/// One event that carries data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The `event` field, empty when there was none.
    pub(super) name: String,
    /// The `data` lines, joined by line feeds.
    pub(super) data: String,
}

/// An event is longer than the reader takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// The state between two pieces of a stream.
#[derive(Debug)]
pub(super) struct Reader {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    after_return: bool,
    begun: bool,
    event_bytes_max: usize,
}

impl Reader {
    /// At the beginning of a stream whose events have at most `event_bytes_max` bytes.
    pub(super) fn new(event_bytes_max: usize) -> Self {
        Self {
            line: Vec::new(),
            name: String::new(),
            data: None,
            after_return: false,
            begun: false,
            event_bytes_max,
        }
    }

    /// Takes the next piece and gives every event that it completes to `take`.
    pub(super) fn push(
        &mut self,
        mut piece: &[u8],
        mut take: impl FnMut(Event),
    ) -> Result<(), TooLong> {
        while let Some((&first, rest)) = piece.split_first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                piece = rest;
                continue;
            }
            let end = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, more) = piece.split_at(end.unwrap_or(piece.len()));
            if self.line.len() + part.len() > self.event_bytes_max {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some((mark, rest)) = more.split_first() else { return Ok(()) };
            self.after_return = *mark == b'\r';
            piece = rest;
            if let Some(event) = self.end_line()? {
                take(event);
            }
        }
        Ok(())
    }

    /// The stream is over: the event that lacks only its blank line, which some servers forget.
    pub(super) fn finish(mut self) -> Option<Event> {
        if !self.line.is_empty() {
            self.end_line().ok()?;
        }
        self.dispatch()
    }

    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let mut text = text.as_ref();
        if !std::mem::replace(&mut self.begun, true) {
            text = text.trim_start_matches('\u{feff}');
        }
        let event = if text.is_empty() { self.dispatch() } else { self.field(text)? };
        self.line = line;
        self.line.clear();
        Ok(event)
    }

    fn field(&mut self, line: &str) -> Result<Option<Event>, TooLong> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                let data = match self.data.as_mut() {
                    Some(data) => {
                        data.push('\n');
                        data
                    }
                    None => self.data.insert(String::new()),
                };
                if data.len() + value.len() > self.event_bytes_max {
                    return Err(TooLong);
                }
                data.push_str(value);
            }
            "event" => value.clone_into(&mut self.name),
            // Comments (an empty field name), ids and retry times mean nothing here.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        self.data.take().map(|data| Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = Reader::new(1024);
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(piece, |event| events.push(event)).unwrap();
        }
        events.extend(reader.finish());
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn of(events: &[(&str, &str)]) -> Vec<(String, String)> {
        events.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
    }

    #[test]
    fn lines_end_in_three_ways_and_comments_are_skipped() {
        let text =
            b"\xef\xbb\xbf: hello\r\ndata: a\r\ndata:b\r\rdata:  c\n\nevent: error\ndata\n\n";
        assert_eq!(read(&[text]), of(&[("", "a\nb"), ("", " c"), ("error", "")]));
    }

    #[test]
    fn an_event_without_its_blank_line_still_counts_at_the_end() {
        assert_eq!(read(&[b"data: [DONE]"]), of(&[("", "[DONE]")]));
        assert_eq!(read(&[b"data: x\n"]), of(&[("", "x")]));
        assert_eq!(read(&[b"event: ping\n\n: nothing"]), of(&[]));
    }

    #[test]
    fn every_cut_gives_the_same_events() {
        let text = "data: {\"a\":\"ä€😀\"}\r\n\r\n: c\r\revent: e\ndata: 1\ndata: 2\n\ndata: z";
        let whole = read(&[text.as_bytes()]);
        assert_eq!(whole.len(), 3);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(read(&pieces), whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_refused() {
        let mut reader = Reader::new(8);
        assert_eq!(reader.push(b"data: 123456789", |_| ()), Err(TooLong));
        let mut reader = Reader::new(8);
        assert_eq!(reader.push(b"data:123\ndata:456\ndata:789\n", |_| ()), Err(TooLong));
    }
}
