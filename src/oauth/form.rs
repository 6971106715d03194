//! Queries and forms (`application/x-www-form-urlencoded`), read strictly: what came twice is
//! refused, since two readers may take different ones (RFC 6749, section 3.1).

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(Vec<(String, Text)>);

#[derive(Clone, Debug)]
struct Text {
    /// As it was sent.
    raw: String,
    /// Decoded; nothing where that is not text.
    value: Option<String>,
}

/// Something came twice, or is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Form {
    /// Errors: a parameter came twice, or a name is no text.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let mut pairs: Vec<(String, Text)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name).ok_or(Malformed)?;
            if pairs.iter().any(|(known, _)| *known == name) || pairs.len() >= PARAMETERS_MAX {
                return Err(Malformed);
            }
            pairs.push((name, Text { raw: raw.to_owned(), value: decoded(raw) }));
        }
        Ok(Self(pairs))
    }

    /// A parameter's text; an empty one counts as absent (RFC 6749, section 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name)?.1.value.as_deref();
        value.filter(|value| !value.is_empty())
    }

    /// A parameter as it was sent, still encoded, also where it is no text or empty.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, text)| text.raw.as_str())
    }
}

/// `%XX` and `+` decoded. `None`: that is not UTF-8, or a `%` has no two digits.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Everything but letters, digits and `-._~` as `%XX`.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
    out
}

const PARAMETERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_none_may_come_twice() {
        let form = Form::parse("a=1+2%26&b=&c&%64=%C3%A4&e=%ff").unwrap();
        assert_eq!((form.get("a"), form.get("d")), (Some("1 2&"), Some("ä")));
        assert_eq!((form.get("b"), form.get("c"), form.get("x")), (None, None, None));
        assert_eq!((form.get("e"), form.raw("e"), form.raw("b")), (None, Some("%ff"), Some("")));
        for twice in ["a=1&a=1", "a=1&%61=2", "%ff=1"] {
            assert_eq!(Form::parse(twice).unwrap_err(), Malformed, "{twice}");
        }
        assert_eq!(decoded("%4"), None);
        assert_eq!(encoded("https://a/b c"), "https%3A%2F%2Fa%2Fb%20c");
    }
}
