//! Prompts: what a person picks from a menu, and the client's model then does with our tools.

use serde_json::{Map, Value, json};

use crate::mcp::{Content, Prompt, PromptArgument, PromptMessage, PromptResult, Unusable};
use crate::tools::chat;

/// One line a prompt.
struct Entry {
    prompt: Prompt,
    fill: fn(&Given<'_>) -> Result<String, Unusable>,
}

const ENTRIES: &[Entry] =
    &[Entry { prompt: SUMMARIZE, fill: summarize }, Entry { prompt: ASK, fill: ask }];

/// As `prompts/list` shows them.
pub(super) fn list() -> Vec<Prompt> {
    ENTRIES.iter().map(|entry| entry.prompt).collect()
}

/// Fills one in. Errors: there is no such prompt, or an argument has no usable value.
pub(super) fn fill(name: &str, arguments: &Map<String, Value>) -> Result<PromptResult, Unusable> {
    let entry = ENTRIES
        .iter()
        .find(|entry| entry.prompt.name == name)
        .ok_or_else(|| Unusable::Prompt(name.to_owned()))?;
    let text = (entry.fill)(&Given(arguments))?;
    Ok(PromptResult {
        description: entry.prompt.description.to_owned(),
        messages: vec![PromptMessage { role: "user", content: Content::Text(text) }],
    })
}

/// What a prompt's argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// The id of a model that can chat.
    ChatModel,
    /// One of these.
    Words(&'static [&'static str]),
}

/// What the argument of a prompt may be, where that is known.
pub(super) fn values(prompt: &str, argument: &str) -> Option<Values> {
    let entry = ENTRIES.iter().find(|entry| entry.prompt.name == prompt)?;
    entry.prompt.arguments.iter().find(|known| known.name == argument)?;
    match argument {
        "model" => Some(Values::ChatModel),
        "length" => Some(Values::Words(&LENGTHS)),
        _ => None,
    }
}

/// The arguments as they came; an empty one counts as absent.
struct Given<'a>(&'a Map<String, Value>);

impl<'a> Given<'a> {
    fn optional(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    /// Errors: it is not there.
    fn required(&self, name: &str) -> Result<&'a str, Unusable> {
        self.optional(name)
            .ok_or_else(|| Unusable::Params(format!("the argument {name:?} is missing or empty")))
    }
}

const SUMMARIZE: Prompt = Prompt {
    name: "summarize",
    title: "Summarize with a local model",
    description: "Has a model of this home network summarize a text.",
    arguments: &[
        PromptArgument { name: "text", description: "What to summarize.", required: true },
        PromptArgument {
            name: "length",
            description: "short, medium or long; medium when left out.",
            required: false,
        },
    ],
};

const LENGTHS: [&str; 3] = ["short", "medium", "long"];

fn summarize(given: &Given<'_>) -> Result<String, Unusable> {
    let text = given.required("text")?;
    let length = match given.optional("length").map(str::trim) {
        Some("short") => "in two or three sentences",
        None | Some("medium") => "in one paragraph",
        Some("long") => "in a few paragraphs, with the most important points as a list at the end",
        Some(other) => {
            let valid = LENGTHS.join(", ");
            let what = format!("the argument \"length\" must be one of {valid}, but is {other:?}");
            return Err(Unusable::Params(what));
        }
    };
    let tool = chat::NAME;
    Ok(format!(
        "Have a local model summarize the text below {length}. To do so, call the tool `{tool}` \
         and give it, as its message, this task together with the whole text. Then give me its \
         summary as it is, without adding to it.\n\nThe text:\n\n{text}"
    ))
}

const ASK: Prompt = Prompt {
    name: "ask-local-model",
    title: "Ask a local model",
    description: "Puts a question to a model of this home network.",
    arguments: &[
        PromptArgument { name: "question", description: "What to ask.", required: true },
        PromptArgument {
            name: "model",
            description: "The id of a model; without it the default one answers.",
            required: false,
        },
    ],
};

fn ask(given: &Given<'_>) -> Result<String, Unusable> {
    let mut arguments = json!({ "message": given.required("question")? });
    if let (Some(all), Some(model)) = (arguments.as_object_mut(), given.optional("model")) {
        all.insert("model".to_owned(), model.trim().into());
    }
    let tool = chat::NAME;
    Ok(format!(
        "Call the tool `{tool}` with exactly these arguments, give me its answer as it is, and \
         name the model that wrote it:\n\n{arguments:#}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(name: &str, arguments: &Value) -> Result<String, Unusable> {
        let mut messages = fill(name, arguments.as_object().unwrap())?.messages;
        let Content::Text(text) = messages.remove(0).content else { panic!("no text") };
        Ok(text)
    }

    #[test]
    fn a_prompt_tells_the_clients_model_to_use_the_chat_tool() {
        let text = filled("summarize", &json!({"text": "Once.", "length": "short"})).unwrap();
        assert!(text.contains("`chat`") && text.contains("two or three sentences"), "{text}");
        assert!(text.ends_with("Once."), "{text}");
        let asked = json!({"question": "Why \"so\"?", "model": " a/b "});
        let text = filled("ask-local-model", &asked).unwrap();
        let (_, arguments) = text.split_once("\n\n").unwrap();
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        assert_eq!(arguments, json!({"message": "Why \"so\"?", "model": "a/b"}));
    }

    #[test]
    fn what_a_prompt_cannot_use_is_refused_with_the_argument_s_name() {
        let long = filled("summarize", &json!({"text": "a", "length": "huge"})).unwrap_err();
        assert!(long.to_string().contains("\"length\" must be one of short, medium, long"));
        let empty = filled("summarize", &json!({"text": " "})).unwrap_err();
        assert!(empty.to_string().contains("\"text\""), "{empty}");
        assert_eq!(filled("nothing", &json!({})), Err(Unusable::Prompt("nothing".to_owned())));
    }

    #[test]
    fn only_a_prompts_own_arguments_have_known_values() {
        assert_eq!(values("summarize", "length"), Some(Values::Words(&LENGTHS)));
        assert_eq!(values("ask-local-model", "model"), Some(Values::ChatModel));
        assert_eq!(values("summarize", "model"), None);
        assert_eq!(values("summarize", "text"), None);
        assert_eq!(values("nothing", "length"), None);
    }
}
