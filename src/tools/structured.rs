//! Answers that have to be JSON of a given shape: asked for with a schema, read out of whatever a
//! model wrote around it, asked for once more when that fails. Nothing is invented.

use serde_json::{Map, Value, json};

use crate::tools::arguments::{Arguments, Unusable, wrong};
use crate::tools::generate::Engine;
use crate::tools::outcome::Failure;
use crate::upstream::{ChatAnswer, ChatRequest, Message, Role};

/// A JSON Schema among the arguments. Errors: it is no object, or too large.
pub(super) fn schema<'a>(
    arguments: &Arguments<'a>,
    name: &str,
) -> Result<Option<&'a Value>, Unusable> {
    match arguments.value(name) {
        None => Ok(None),
        Some(schema @ Value::Object(_)) if schema.to_string().len() <= SCHEMA_BYTES_MAX => {
            Ok(Some(schema))
        }
        Some(Value::Object(_)) => {
            let problem = format!("must be at most {SCHEMA_BYTES_MAX} bytes long");
            Err(Unusable::new(arguments.path_of(name), problem))
        }
        Some(other) => Err(wrong(arguments.path_of(name), "an object", other)),
    }
}

/// Lets a model answer by the schema that `request` has as text; asks once more where the answer
/// does not fit and time is left. Errors: as of the engine, and `SCHEMA_VIOLATION`.
pub(super) fn ask(
    engine: &mut Engine<'_>,
    request: &ChatRequest,
    schema: &Value,
) -> Result<(ChatAnswer, Value), Failure> {
    ask_until(engine, request, schema, strict)
}

/// Lets a model answer by a flat schema of ours, whose keys may be missing from the answer.
/// Errors: as of [`ask`].
pub(super) fn ask_fitted(
    engine: &mut Engine<'_>,
    request: &ChatRequest,
    schema: &Value,
) -> Result<(ChatAnswer, Value), Failure> {
    let mut request = request.clone();
    request.json_schema = Some(schema.to_string());
    let (answer, value) = ask_until(engine, &request, schema, loose)?;
    Ok((answer, fitted(Some(&value), schema)))
}

type Judge = fn(&Value, &Value) -> Result<(), String>;

fn ask_until(
    engine: &mut Engine<'_>,
    request: &ChatRequest,
    schema: &Value,
    judge: Judge,
) -> Result<(ChatAnswer, Value), Failure> {
    let answer = engine.ask(request)?;
    let why = match read(&answer.text, schema, judge) {
        Ok(value) => return Ok((answer, value)),
        Err(why) => why,
    };
    if answer.partial || !engine.has_time(request) {
        return Err(Failure::Shape { upstream: answer.upstream, why, raw: answer.text });
    }
    let mut again = request.clone();
    again.upstream = Some(answer.upstream);
    again.messages.push(Message { role: Role::Assistant, content: answer.text });
    let content =
        format!("That was not usable: {why}. Give only the JSON, by this schema: {schema}");
    again.messages.push(Message { role: Role::User, content });
    let answer = engine.ask(&again)?;
    match read(&answer.text, schema, judge) {
        Ok(value) => Ok((answer, value)),
        Err(why) => Err(Failure::Shape { upstream: answer.upstream, why, raw: answer.text }),
    }
}

/// The JSON in a text. Errors: says what is wrong.
fn read(text: &str, schema: &Value, judge: Judge) -> Result<Value, String> {
    let between = |open: char, close: char| {
        let (from, to) = (text.find(open)?, text.rfind(close)?);
        text.get(from..=to)
    };
    let candidates = [Some(text.trim()), between('{', '}'), between('[', ']')];
    let read = candidates.into_iter().flatten().find_map(|part| serde_json::from_str(part).ok());
    let value: Value = read.ok_or("it holds no whole JSON")?;
    judge(&value, schema).map(|()| value)
}

/// Whether the type is the wanted one, and everything required is there; the rest is the grammar's.
fn strict(value: &Value, schema: &Value) -> Result<(), String> {
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or(type_of(value));
    let is_integer = wanted == "integer" && (value.is_i64() || value.is_u64());
    if wanted != type_of(value) && !is_integer {
        return Err(format!("it is of the type {}, not {wanted}", type_of(value)));
    }
    let required = schema.get("required").and_then(Value::as_array);
    let mut names = required.into_iter().flatten().filter_map(Value::as_str);
    match names.find(|name| value.is_object() && value.get(name).is_none()) {
        Some(missing) => Err(format!("{missing:?} is missing")),
        None => Ok(()),
    }
}

/// Whether anything that was wanted is there.
fn loose(value: &Value, schema: &Value) -> Result<(), String> {
    let mut names = schema["properties"].as_object().into_iter().flat_map(Map::keys);
    if names.any(|name| value.get(name).is_some()) {
        return Ok(());
    }
    Err("none of its keys is there".to_owned())
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The value in the shape of a flat schema of ours: what is missing or of another type is neutral,
/// words are compared without their case.
pub(super) fn fitted(value: Option<&Value>, schema: &Value) -> Value {
    let wanted = schema["type"].as_str().unwrap_or_default();
    match (wanted, value) {
        ("object", value) => {
            let properties = schema["properties"].as_object();
            let Some(properties) = properties else {
                return value.filter(|value| value.is_object()).cloned().unwrap_or(json!({}));
            };
            let fit = |(name, of): (&String, &Value)| {
                let found = value.and_then(|value| value.get(name));
                // A line that is not known is left out, not 0.
                let required = schema["required"].as_array();
                let is_sure = required.is_none_or(|all| all.iter().any(|it| it == name));
                (is_sure || found.is_some_and(|it| !it.is_null()))
                    .then(|| (name.clone(), fitted(found, of)))
            };
            properties.iter().filter_map(fit).collect::<Map<_, _>>().into()
        }
        ("array", Some(Value::Array(entries))) => {
            let items = &schema["items"];
            // A word that is not among the known ones says nothing.
            let is_word = |word: &Value, entry: &Value| match (word, entry) {
                (Value::String(word), Value::String(entry)) => word.eq_ignore_ascii_case(entry),
                _ => false,
            };
            let words = items["enum"].as_array();
            let known = |entry: &&Value| {
                words.is_none_or(|words| words.iter().any(|word| is_word(word, entry)))
            };
            entries.iter().filter(known).map(|entry| fitted(Some(entry), items)).collect()
        }
        ("array", _) => json!([]),
        ("string", value) => {
            let text = match value {
                Some(Value::String(text)) => text.clone(),
                Some(number @ Value::Number(_)) => number.to_string(),
                _ => String::new(),
            };
            let Some(words) = schema["enum"].as_array() else { return text.into() };
            let same =
                |word: &&Value| word.as_str().is_some_and(|it| it.eq_ignore_ascii_case(&text));
            words.iter().find(same).or(words.first()).cloned().unwrap_or_default()
        }
        (_, Some(number @ Value::Number(_))) => number.clone(),
        (_, Some(Value::String(text))) => text.trim().parse::<f64>().map_or(json!(0), |n| json!(n)),
        _ => json!(0),
    }
}

/// A grammar of more does not fit beside a prompt.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_in_what_stands_around_it() {
        let schema = json!({"type": "object", "required": ["a"]});
        for text in ["{\"a\":1}", "```json\n{\"a\":1}\n```", "Sure! {\"a\":1} Anything else?"] {
            assert_eq!(read(text, &schema, strict), Ok(json!({"a": 1})), "{text}");
        }
        assert_eq!(read("{\"a\":", &schema, strict), Err("it holds no whole JSON".to_owned()));
        assert_eq!(read("{\"b\":1}", &schema, strict), Err("\"a\" is missing".to_owned()));
        let told = read("[1]", &schema, strict).unwrap_err();
        assert_eq!(told, "it is of the type array, not object");
        assert_eq!(read("Here: [1, 2]", &json!({"type": "array"}), strict), Ok(json!([1, 2])));
    }

    #[test]
    fn what_is_missing_is_neutral_and_never_invented() {
        let schema = json!({"type": "object", "properties": {
            "mood": {"type": "string", "enum": ["neutral", "positive"]},
            "sure": {"type": "number"},
            "why": {"type": "string"},
            "all": {"type": "array", "items": {"type": "string"}},
            "line": {"type": "integer"},
            "free": {"type": "object"}
        }, "required": ["mood", "sure", "why", "all", "free"]});
        assert_eq!(
            fitted(Some(&json!({"mood": "Positive", "sure": "0.5", "all": ["a", 2]})), &schema),
            json!({"mood": "positive", "sure": 0.5, "why": "", "all": ["a", "2"], "free": {}})
        );
        assert_eq!(
            fitted(Some(&json!({"mood": "glad", "line": 4})), &schema),
            json!({"mood": "neutral", "sure": 0, "why": "", "all": [], "line": 4, "free": {}})
        );
    }
}
