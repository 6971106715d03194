//! Random bytes against the strict parsers: request heads and chunked bodies.
//!
//! `HEAD_FUZZ_CASES=1000000 cargo test --release head_properties` runs longer.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail here")]

use local_llm_mcp::edge::{Decoder, FIELDS_MAX, Framing, Head, Refusal, parse};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;
use proptest::strategy::Just;
use proptest::{option, prop_oneof};

const HEAD_BYTES_MAX: usize = 1024;
const BODY_BYTES_MAX: usize = 64;

/// Pieces of heads, good and bad, that random bytes would not hit upon.
const PIECES: [&str; 48] = [
    "GET ",
    "POST ",
    "OPTIONS ",
    "HEAD ",
    "CONNECT ",
    "get ",
    "/",
    "*",
    "/sse",
    "/a?b=c",
    "/#",
    "http://localhost/",
    "http://evil/",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/2.0\r\n",
    " ",
    "\r\n",
    "\n",
    "\r",
    "\t",
    "\0",
    "\r\n\r\n",
    "\n\n",
    "\r\n ",
    "Host: localhost\r\n",
    "Host:\r\n",
    "Host : x\r\n",
    "host: LOCALHOST:1\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "content-length:\t7 \r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "transfer-encoding: CHUNKED\r\n",
    "Expect: 100-continue\r\n",
    "Expect: x\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, Close\r\n",
    "Authorization: Bearer t\r\n",
    "Origin: null\r\n",
    "X: y\r\n",
    "X:\r\n",
    ": y\r\n",
    "X: \x7f\r\n",
    "PRI * HTTP/2.0\r\n\r\n",
];

fn cases() -> ProptestConfig {
    let cases = std::env::var("HEAD_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(2000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Anything: pieces, noise, and pieces with a byte changed.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 1..1500_usize).prop_map(|(byte, times)| vec![byte; times]),
    ];
    let bytes = vec(piece, 0..16).prop_map(|pieces| pieces.concat());
    (bytes, option::weighted(0.2, (any::<usize>(), any::<u8>()))).prop_map(|(mut bytes, change)| {
        if let Some((at, byte)) = change
            && !bytes.is_empty()
        {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes
    })
}

/// Heads that are mostly in order, so that many are accepted.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let line = (
        select(&["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"][..]),
        select(
            &["/", "/sse", "/a?b=c", "/?", "//", "http://localhost/x?y", "HTTP://LOCALHOST"][..],
        ),
        select(&["1.1", "1.1", "1.0"][..]),
    );
    let framing = select(
        &["", "Content-Length: 0\r\n", "Content-Length: 007\r\n", "Transfer-Encoding: Chunked\r\n"]
            [..],
    );
    let field = ("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", "[ -~\t]{0,20}")
        .prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    let known = select(
        &[
            "Connection: close\r\n",
            "Expect: 100-continue\r\n",
            "connection: x\r\n",
            "Origin: null\r\n",
        ][..],
    );
    let fields = vec(prop_oneof![field, known.prop_map(str::to_owned)], 0..8);
    (line, framing, fields, select(&["", "\r\n"][..])).prop_map(
        |((method, target, version), framing, fields, before)| {
            let fields = fields.concat();
            format!("{before}{method} {target} HTTP/{version}\r\nHost: localhost\r\n{framing}{fields}\r\n")
                .into_bytes()
        },
    )
}

fn parsed(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
    parse(bytes, HEAD_BYTES_MAX)
}

/// What the parser accepted, written again.
fn written(head: &Head) -> Vec<u8> {
    let version = if head.http_1_0 { "1.0" } else { "1.1" };
    let query = head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut text = format!("{} {}{query} HTTP/{version}\r\n", head.method.as_str(), head.path);
    for (name, value) in &head.fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Whether an accepted head keeps every promise of the parser.
fn is_canonical(head: &Head) -> bool {
    let once = |name: &str| head.fields.iter().filter(|(n, _)| n == name).count() <= 1;
    let length = head.field("content-length").map(|digits| digits.parse::<u64>().unwrap());
    let chunked = head.field("transfer-encoding").is_some();
    let clean = |text: &str| text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    (head.path.starts_with('/') || head.path == "*")
        && head.path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
        && head.fields.len() <= FIELDS_MAX
        && head.fields.iter().all(|(name, value)| {
            !name.is_empty()
                && *name == name.to_ascii_lowercase()
                && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
                && clean(value)
                && value.trim_matches([' ', '\t']) == value
        })
        && head.field("host") == Some(&head.host)
        && ["host", "content-length", "transfer-encoding", "expect", "origin"].into_iter().all(once)
        && match head.framing {
            Framing::Chunked => chunked && length.is_none() && !head.http_1_0,
            Framing::Length(n) => !chunked && length.unwrap_or(0) == n,
        }
        && !(head.http_1_0 && (head.keep_alive || head.expects_continue))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_bytes_make_the_head_parser_panic_and_what_it_accepts_is_canonical(bytes in bytes()) {
        if let Ok(Some((head, length))) = parsed(&bytes) {
            prop_assert!(is_canonical(&head), "{:?}", head);
            prop_assert!(length <= bytes.len() && length <= HEAD_BYTES_MAX);
            prop_assert!(bytes[..length].ends_with(b"\r\n\r\n"));
        }
    }

    #[test]
    fn bytes_behind_a_head_change_nothing(
        bytes in prop_oneof![bytes(), heads()],
        behind in bytes(),
    ) {
        let alone = parsed(&bytes);
        if alone != Ok(None) {
            prop_assert_eq!(parsed(&[bytes, behind].concat()).ok(), alone.ok());
        }
    }

    #[test]
    fn a_beginning_of_a_head_is_unfinished_or_refused(
        bytes in prop_oneof![bytes(), heads()],
        cut in any::<usize>(),
    ) {
        let whole = parsed(&bytes);
        let length = whole.as_ref().ok().and_then(Option::as_ref).map_or(bytes.len(), |(_, n)| *n);
        let beginning = parsed(&bytes[..cut % (length + 1)]);
        match whole {
            // What is accepted whole was waited for all along.
            Ok(Some(_)) if cut % (length + 1) < length => prop_assert_eq!(beginning, Ok(None)),
            Ok(None) => prop_assert_eq!(beginning, Ok(None)),
            // What is refused whole was never accepted.
            Err(_) => prop_assert!(!matches!(beginning, Ok(Some((_, n))) if n == length)),
            Ok(Some(_)) => {}
        }
    }

    #[test]
    fn an_accepted_head_written_again_is_the_same_head(
        bytes in prop_oneof![1 => bytes(), 4 => heads()],
    ) {
        if let Ok(Some((head, _))) = parsed(&bytes) {
            let again = written(&head);
            let expected = Ok(Some((head, again.len())));
            prop_assert_eq!(parse(&again, 2 * HEAD_BYTES_MAX), expected);
        }
    }

    #[test]
    fn heads_in_order_are_accepted(bytes in heads()) {
        let whole = parsed(&bytes);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let twice = |name: &str| text.matches(&format!("\n{name}:")).count() > 1;
        let doubtful = text.contains("http/1.0\r\n") && text.contains("\ntransfer-encoding:")
            || ["host", "origin", "expect", "content-length", "transfer-encoding"].into_iter().any(twice);
        if !doubtful {
            prop_assert!(matches!(whole, Ok(Some((_, n))) if n == bytes.len()), "{:?}", whole);
        }
    }

    #[test]
    fn a_coded_body_is_decoded_however_it_is_cut(
        chunks in vec(vec(any::<u8>(), 1..20), 0..5),
        extension in option::of("[;][a-z=\"]{0,10}"),
        trailers in vec("[a-z]{1,5}: [a-z]{0,5}\r\n", 0..3),
        behind in vec(any::<u8>(), 0..10),
        cuts in vec(1..9_usize, 1..9),
    ) {
        let body = chunks.concat();
        let mut coded = Vec::new();
        for chunk in &chunks {
            let extension = extension.as_deref().unwrap_or_default();
            coded.extend(format!("{:x}{extension}\r\n", chunk.len()).into_bytes());
            coded.extend(chunk);
            coded.extend(b"\r\n");
        }
        coded.extend(b"0\r\n");
        coded.extend(trailers.concat().into_bytes());
        coded.extend(b"\r\n");
        let length = coded.len();
        coded.extend(behind);
        let (decoded, taken, done) = decode(&coded, &cuts);
        if body.len() > BODY_BYTES_MAX {
            prop_assert_eq!(decoded, Err(Refusal::BodyTooLarge(BODY_BYTES_MAX)));
        } else {
            prop_assert_eq!(decoded, Ok(body));
            prop_assert!(done);
            prop_assert_eq!(taken, length);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_or_pass_its_limit_and_every_cut_decides_alike(
        coded in vec(prop_oneof![
            6 => select(&b"0123456789abcdef\r\n; "[..]),
            3 => Just(b'\r'),
            3 => Just(b'\n'),
            3 => Just(b'0'),
            1 => any::<u8>(),
        ], 0..120),
        cuts in vec(1..9_usize, 1..9),
    ) {
        let whole = decode(&coded, &[usize::MAX]);
        prop_assert_eq!(&decode(&coded, &cuts), &whole);
        prop_assert!(whole.0.is_err() || whole.1 <= coded.len());
    }
}

/// Decodes in pieces of these sizes in turn: the body, how much was taken, whether it is done.
fn decode(coded: &[u8], cuts: &[usize]) -> (Result<Vec<u8>, Refusal>, usize, bool) {
    let mut decoder = Decoder::new();
    let mut body = Vec::new();
    let mut taken = 0;
    for cut in cuts.iter().cycle() {
        if decoder.is_done() || taken == coded.len() {
            break;
        }
        let end = taken.saturating_add(*cut).min(coded.len());
        match decoder.feed(&coded[taken..end], &mut body, BODY_BYTES_MAX) {
            Ok(length) => taken += length,
            // How far it got before it refused depends on the cut.
            Err(refusal) => return (Err(refusal), 0, false),
        }
        assert!(body.len() <= BODY_BYTES_MAX);
    }
    (Ok(body), taken, decoder.is_done())
}
