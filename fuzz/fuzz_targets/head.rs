//! Any bytes as a request head and, from there on, as a chunked body. The promises are those of
//! `tests/it/head_properties.rs`; here a fuzzer that sees the branches looks for what breaks them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use local_llm_mcp::edge::{Decoder, Framing, parse};

const HEAD_BYTES_MAX: usize = 16 * 1024;
const BODY_BYTES_MAX: usize = 64 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes, HEAD_BYTES_MAX);
    let Ok(Some((head, length))) = whole else {
        return;
    };
    // What stands behind a head changes nothing, and nothing less than all of it is one.
    assert_eq!(parse(&bytes[..length], HEAD_BYTES_MAX), Ok(Some((head.clone(), length))));
    assert_eq!(parse(&bytes[..length - 1], HEAD_BYTES_MAX), Ok(None));
    assert!(head.field("content-length").is_none() || head.field("transfer-encoding").is_none());
    if head.framing == Framing::Chunked {
        let mut body = Vec::new();
        let taken = Decoder::new().feed(&bytes[length..], &mut body, BODY_BYTES_MAX);
        assert!(body.len() <= BODY_BYTES_MAX);
        assert!(taken.is_err() || taken.is_ok_and(|taken| taken <= bytes.len() - length));
    }
});
