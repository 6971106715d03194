//! Reads a call's arguments: unknown keys are ignored, wrong ones are told with their JSON path.

use std::fmt;

use serde_json::{Map, Value};

/// An argument that cannot be used.
#[derive(Debug, PartialEq)]
pub(super) struct Unusable {
    path: String,
    problem: String,
}

impl Unusable {
    /// `path` as in `$.messages[0].role`; `problem` continues the sentence "`path` …".
    pub(super) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.problem)
    }
}

impl std::error::Error for Unusable {}

/// An object of arguments and its JSON path. An argument that is `null` counts as absent, since
/// clients send what a form left empty.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Arguments<'a> {
    /// The arguments of a call.
    pub(super) fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, path: "$".to_owned() }
    }

    /// An object inside of the arguments. Errors: it is none.
    pub(super) fn object(value: &'a Value, path: String) -> Result<Self, Unusable> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            other => Err(wrong(path, "an object", other)),
        }
    }

    fn find(&self, name: &str) -> Option<(&'a Value, String)> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some((value, self.path_of(name)))
    }

    /// The JSON path of one of the arguments.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A text. Errors: another type.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Unusable> {
        match self.find(name) {
            None => Ok(None),
            Some((Value::String(text), _)) => Ok(Some(text)),
            Some((other, path)) => Err(wrong(path, "a string", other)),
        }
    }

    /// A text that must be there and must not be blank. Errors: another type, or none.
    pub(super) fn needed(&self, name: &str) -> Result<&'a str, Unusable> {
        let text = self.text(name)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| self.missing(name))
    }

    /// The refusal of a call without an argument.
    pub(super) fn missing(&self, name: &str) -> Unusable {
        Unusable::new(self.path_of(name), "is missing")
    }

    /// An object inside of the arguments. Errors: another type.
    pub(super) fn inner(&self, name: &str) -> Result<Option<Self>, Unusable> {
        self.find(name).map(|(value, path)| Self::object(value, path)).transpose()
    }

    /// Any value.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.find(name).map(|(value, _)| value)
    }

    /// A truth value. Errors: another type.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Unusable> {
        match self.find(name) {
            None => Ok(None),
            Some((Value::Bool(flag), _)) => Ok(Some(*flag)),
            Some((other, path)) => Err(wrong(path, "true or false", other)),
        }
    }

    /// A whole number, also written as `5.0`. Errors: another type, or outside of the range.
    pub(super) fn integer(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>, Unusable> {
        let Some((value, path)) = self.find(name) else { return Ok(None) };
        let whole = value.as_i64().or_else(|| {
            let text = value.as_f64().filter(|number| number.fract() == 0.0)?.to_string();
            text.parse().ok()
        });
        match whole {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            Some(number) => {
                Err(Unusable::new(path, format!("must be {min} to {max}, but is {number}")))
            }
            None => Err(wrong(path, "a whole number", value)),
        }
    }

    /// A number. Errors: another type, or outside of the range.
    pub(super) fn number(&self, name: &str, min: f64, max: f64) -> Result<Option<f64>, Unusable> {
        let Some((value, path)) = self.find(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            Some(number) => {
                Err(Unusable::new(path, format!("must be {min} to {max}, but is {number}")))
            }
            None => Err(wrong(path, "a number", value)),
        }
    }

    /// A list with the JSON path of each entry. Errors: another type.
    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<(&'a Value, String)>>, Unusable> {
        match self.find(name) {
            None => Ok(None),
            Some((Value::Array(entries), path)) => Ok(Some(
                entries
                    .iter()
                    .enumerate()
                    .map(|(n, entry)| (entry, format!("{path}[{n}]")))
                    .collect(),
            )),
            Some((other, path)) => Err(wrong(path, "an array", other)),
        }
    }

    /// One of the given words. Errors: another type or word.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Unusable> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let valid: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                let problem = format!("must be one of {}, but is {text:?}", valid.join(", "));
                Err(Unusable::new(self.path_of(name), problem))
            }
        }
    }
}

/// The sentence for a wrong type.
pub(super) fn wrong(path: String, expected: &str, found: &Value) -> Unusable {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Unusable::new(path, format!("must be {expected}, but is {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_arguments_are_told_with_their_path() {
        let value = json!({"n": "5", "t": 9, "far": 7, "list": [1], "word": "x", "none": null});
        let map = value.as_object().unwrap();
        let arguments = Arguments::new(map);
        let told = |outcome: Result<(), Unusable>| outcome.unwrap_err().to_string();
        assert_eq!(
            told(arguments.integer("n", 1, 9).map(|_| ())),
            "$.n must be a whole number, but is a string"
        );
        assert_eq!(told(arguments.text("t").map(|_| ())), "$.t must be a string, but is a number");
        assert_eq!(
            told(arguments.number("far", 0.0, 2.0).map(|_| ())),
            "$.far must be 0 to 2, but is 7"
        );
        assert_eq!(
            told(arguments.word("word", &[("a", 1), ("b", 2)]).map(|_| ())),
            "$.word must be one of \"a\", \"b\", but is \"x\""
        );
        let (entry, path) = arguments.list("list").unwrap().unwrap().remove(0);
        assert_eq!(
            Arguments::object(entry, path).unwrap_err().to_string(),
            "$.list[0] must be an object, but is a number"
        );
        assert_eq!(arguments.text("none"), Ok(None));
        assert_eq!(arguments.text("absent"), Ok(None));
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let value = json!({"a": 5.0, "b": 5.5, "c": 1e300});
        let arguments = Arguments::new(value.as_object().unwrap());
        assert_eq!(arguments.integer("a", 1, 9), Ok(Some(5)));
        assert!(arguments.integer("b", 1, 9).is_err());
        assert!(arguments.integer("c", 1, 9).is_err());
    }
}
