//! How many values stand in JSON, told before it is read: each costs far more memory read than
//! written, a million of them hundreds of megabytes.

/// Whether JSON may hold more than `max` values, counted by what begins or parts them outside of
/// strings. Where it says no, it does not hold more; of what is no JSON it may say anything.
pub(super) fn exceeds(json: &[u8], max: usize) -> bool {
    // Every value has at least one byte of its own.
    if json.len() <= max {
        return false;
    }
    let mut values = 1;
    let (mut quoted, mut escaped) = (false, false);
    for byte in json {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b',' | b'[' | b'{') => values += 1,
            _ => {}
        }
    }
    values > max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (json, values) in [
            ("[1,2,3]", 4),
            (r#"{"a":[{"c":1},{"b":null}]}"#, 6),
            (r#"["a,[{\"",",\\"]"#, 3),
            (r#"  "a,b,c,d"  "#, 1),
        ] {
            assert!(!exceeds(json.as_bytes(), values), "{json}");
            assert!(exceeds(json.as_bytes(), values - 1), "{json}");
        }
    }
}
