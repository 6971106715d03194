//! Reads server-sent events (WHATWG HTML, 9.2.6) from bytes that may be cut anywhere. Pure.

/// One event that carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// The `event` field, empty when there was none.
    pub(super) name: &'a str,
    /// The `data` lines, joined by line feeds.
    pub(super) data: &'a str,
}

/// Who is given the events; says whether it wants more of them.
pub(super) type Take<'a> = &'a mut dyn FnMut(Event<'_>) -> bool;

/// An event is longer than the reader takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// The state between two pieces of a stream.
#[derive(Debug)]
pub(super) struct Reader {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
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
            data: String::new(),
            has_data: false,
            after_return: false,
            begun: false,
            event_bytes_max,
        }
    }

    /// Takes the next piece and gives every event that it completes to `take`, as long as that
    /// wants more; says whether it still does.
    pub(super) fn push(&mut self, mut piece: &[u8], take: Take<'_>) -> Result<bool, TooLong> {
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
            let Some((mark, rest)) = more.split_first() else { return Ok(true) };
            self.after_return = *mark == b'\r';
            piece = rest;
            if !self.end_line(take)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The stream is over: gives the event that lacks only its blank line, which some servers
    /// forget; says whether more was wanted.
    pub(super) fn finish(&mut self, take: Take<'_>) -> Result<bool, TooLong> {
        let goes_on = self.line.is_empty() || self.end_line(take)?;
        Ok(goes_on && self.dispatch(take))
    }

    fn end_line(&mut self, take: Take<'_>) -> Result<bool, TooLong> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let mut text = text.as_ref();
        if !std::mem::replace(&mut self.begun, true) {
            text = text.trim_start_matches('\u{feff}');
        }
        let goes_on = if text.is_empty() {
            self.dispatch(take)
        } else {
            self.field(text)?;
            true
        };
        self.line = line;
        self.line.clear();
        Ok(goes_on)
    }

    fn field(&mut self, line: &str) -> Result<(), TooLong> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                if self.data.len() + value.len() > self.event_bytes_max {
                    return Err(TooLong);
                }
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.name),
            // Comments (an empty field name), ids and retry times mean nothing here.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, take: Take<'_>) -> bool {
        let goes_on = !self.has_data || take(Event { name: &self.name, data: &self.data });
        self.name.clear();
        self.data.clear();
        self.has_data = false;
        // One long event must not hold its memory for the rest of the stream.
        self.data.shrink_to(KEPT_BYTES_MAX);
        goes_on
    }
}

/// The space that is kept from event to event.
const KEPT_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = Reader::new(1024);
        let mut events = Vec::new();
        let mut take = |event: Event<'_>| {
            events.push((event.name.to_owned(), event.data.to_owned()));
            true
        };
        for piece in pieces {
            assert_eq!(reader.push(piece, &mut take), Ok(true));
        }
        assert_eq!(reader.finish(&mut take), Ok(true));
        events
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
    fn nothing_is_given_after_the_last_that_was_wanted() {
        let mut reader = Reader::new(64);
        let mut taken = 0;
        let mut take = |_: Event<'_>| {
            taken += 1;
            false
        };
        assert_eq!(reader.push(b"data: 1\n\ndata: 2\n\n", &mut take), Ok(false));
        assert_eq!(taken, 1);
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

    /// Lines as servers write them, and bytes that are no text, with every kind of line end.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            "data: ?[a-z€😀]{0,6}".prop_map(String::into_bytes),
            "(event|id|retry|): ?[a-z]{0,4}".prop_map(String::into_bytes),
            Just(Vec::new()),
            proptest::collection::vec(any::<u8>(), 0..4),
        ];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
        proptest::collection::vec((line, end), 0..12).prop_map(|lines| {
            lines.into_iter().flat_map(|(line, end)| [line, end.into()].concat()).collect()
        })
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_events_are_the_same(
            bytes in stream(),
            sizes in proptest::collection::vec(1_usize..9, 1..8),
        ) {
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            prop_assert_eq!(read(&pieces), read(&[&bytes]));
        }
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_refused() {
        let mut reader = Reader::new(8);
        assert_eq!(reader.push(b"data: 123456789", &mut |_| true), Err(TooLong));
        let mut reader = Reader::new(8);
        let text = b"data:123\ndata:456\ndata:789\n";
        assert_eq!(reader.push(text, &mut |_| true), Err(TooLong));
    }
}
