//! The URIs of the resources.

pub(super) const MODELS: &str = "local://models";
pub(super) const STATUS: &str = "local://status";
pub(super) const CONFIG: &str = "local://config";
pub(super) const CAPABILITIES: &str = "local://capabilities";
pub(super) const USAGE: &str = "local://usage";
/// One conversation that is kept.
pub(super) const CONVERSATION: &str = "local://conversations/{id}";
pub(super) const CONVERSATION_BEFORE_ID: &str = "local://conversations/";
/// One model; `+` because ids hold slashes (RFC 6570, section 3.2.3).
pub(super) const MODEL: &str = "local://models/{+id}";
const MODEL_BEFORE_ID: &str = "local://models/";

/// The URI of a model's resource.
pub(super) fn of_model(id: &str) -> String {
    let mut uri = MODEL_BEFORE_ID.to_owned();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// The model that a URI means: as it stands there, and with its escapes resolved.
pub(super) fn model_in(uri: &str) -> Option<(&str, String)> {
    let id = uri.strip_prefix(MODEL_BEFORE_ID).filter(|id| !id.is_empty())?;
    Some((id, unescaped(id)))
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = match (first, more) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = more.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// What may stand unescaped in place of `{+id}` besides letters and digits.
const PLAIN: &[u8] = b"-._~:/?#[]@!$&'()*+,;=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_id_survives_its_address() {
        for id in ["openai/gpt-oss-20b", "llama3:8b", "a b", "größe@q4_k_m", "100%", "%zz", "a%2"]
        {
            let uri = of_model(id);
            assert!(uri.is_ascii(), "{uri}");
            assert_eq!(model_in(&uri).unwrap().1, id, "{uri}");
        }
        assert_eq!(of_model("openai/gpt-oss-20b"), "local://models/openai/gpt-oss-20b");
        assert_eq!(of_model("a b"), "local://models/a%20b");
    }

    #[test]
    fn what_names_no_model_is_no_address_of_one() {
        for uri in ["local://models", "local://models/", "local://status", "file:///models/a"] {
            assert_eq!(model_in(uri), None, "{uri}");
        }
    }
}
