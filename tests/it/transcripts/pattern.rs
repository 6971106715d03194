//! Holds JSON against a pattern: what the pattern names must be there, more may be.

use serde_json::Value;

/// What is wrong, and where; `None` when all of the pattern is there.
pub(super) fn mismatch(pattern: &Value, actual: &Value) -> Option<String> {
    at("", pattern, actual)
}

fn at(path: &str, pattern: &Value, actual: &Value) -> Option<String> {
    let wrong = || Some(format!("{path}: wanted {pattern}, got {actual}"));
    match pattern {
        Value::String(text) if text.starts_with('<') => {
            let fits = match text.as_str() {
                "<any>" => true,
                "<string>" => actual.is_string(),
                "<number>" => actual.is_number(),
                "<object>" => actual.is_object(),
                _ => {
                    let part = text.strip_prefix("<has> ").unwrap_or(text);
                    actual.as_str().is_some_and(|actual| actual.contains(part))
                }
            };
            if fits { None } else { wrong() }
        }
        Value::Object(members) => {
            if let Some(exactly) = members.get("<exactly>") {
                return if exactly == actual { None } else { wrong() };
            }
            if let Some(one) = members.get("<some>") {
                let all = actual.as_array().map_or(&[][..], Vec::as_slice);
                let found = all.iter().any(|element| mismatch(one, element).is_none());
                return if found { None } else { wrong() };
            }
            let Some(object) = actual.as_object() else { return wrong() };
            members.iter().find_map(|(name, pattern)| {
                let path = format!("{path}/{name}");
                match (pattern.as_str(), object.get(name)) {
                    (Some("<absent>"), None) => None,
                    (Some("<absent>"), Some(value)) => Some(format!("{path} is there: {value}")),
                    (_, Some(value)) => at(&path, pattern, value),
                    (_, None) => Some(format!("{path} is not there: {actual}")),
                }
            })
        }
        Value::Array(patterns) => {
            let Some(elements) = actual.as_array().filter(|it| it.len() == patterns.len()) else {
                return wrong();
            };
            let mut pairs = patterns.iter().zip(elements).enumerate();
            pairs.find_map(|(n, (pattern, element))| at(&format!("{path}/{n}"), pattern, element))
        }
        _ if pattern == actual => None,
        _ => wrong(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_finds_what_is_missing_wrong_or_too_much() {
        let actual = json!({ "id": 1, "list": [{ "a": "one" }, { "a": "two" }], "empty": {} });
        for pattern in [
            json!({}),
            json!({ "id": 1, "no": "<absent>" }),
            json!({ "id": "<number>", "list": "<any>", "empty": { "<exactly>": {} } }),
            json!({ "list": { "<some>": { "a": "<has> w" } } }),
            json!({ "list": [{ "a": "<string>" }, {}] }),
        ] {
            assert_eq!(mismatch(&pattern, &actual), None);
        }
        for pattern in [
            json!({ "id": "1" }),
            json!({ "id": 1.0 }),
            json!({ "id": "<absent>" }),
            json!({ "id": "<string>" }),
            json!({ "no": "<any>" }),
            json!({ "list": [{}] }),
            json!({ "list": { "<some>": { "a": "three" } } }),
            json!({ "empty": { "<exactly>": { "a": 1 } } }),
            json!({ "list": { "<exactly>": [] } }),
            json!([]),
        ] {
            assert!(mismatch(&pattern, &actual).is_some(), "{pattern}");
        }
    }
}
