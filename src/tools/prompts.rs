//! Prompts: what a person picks from a menu and fills in, ours and the owner's.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::mcp::{Content, Prompt, PromptArgument, PromptMessage, PromptResult, Unusable};
use crate::tools::catalogue::{BUILT_IN, BuiltIn};

/// A prompt of the owner's. In `text`, `{{name}}` stands for an argument; a line whose arguments
/// all turn out empty is left out.
#[derive(Clone, Debug, Default)]
pub struct OwnPrompt {
    /// `[A-Za-z0-9_.-]{1,64}`.
    pub name: String,
    /// For people.
    pub description: String,
    /// Name, description, and the default of those that may be left out.
    pub arguments: Vec<(String, String, Option<String>)>,
    /// What the client's model is to read.
    pub text: String,
}

/// Every prompt, and what is needed to fill it in.
#[derive(Debug, Default)]
pub(super) struct Prompts {
    /// As `prompts/list` shows them.
    listed: Vec<Prompt>,
    /// In the same order.
    bodies: Vec<Body>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Body {
    /// In the order of the prompt's arguments.
    defaults: Vec<Cow<'static, str>>,
    text: Cow<'static, str>,
}

impl Prompts {
    /// The owner's, then ours; of two with one name the owner's. `bytes_max` limits a filled one.
    pub(super) fn new(own: Vec<OwnPrompt>, bytes_max: usize) -> Self {
        let mut prompts = Self { listed: Vec::new(), bodies: Vec::new(), bytes_max };
        for own in own {
            prompts.add_own(own);
        }
        let count = prompts.listed.len();
        for built_in in BUILT_IN {
            let taken = prompts.listed.iter().take(count).any(|own| own.name == built_in.name);
            if !taken {
                prompts.add(built_in);
            }
        }
        prompts
    }

    fn add(&mut self, built_in: &'static BuiltIn) {
        let arguments = built_in.arguments.iter().map(|argument| PromptArgument {
            name: Cow::Borrowed(argument.name),
            description: Cow::Borrowed(argument.description),
            required: argument.default.is_none(),
            also: argument.also,
        });
        self.listed.push(Prompt {
            name: Cow::Borrowed(built_in.name),
            title: Cow::Borrowed(built_in.title),
            description: Cow::Borrowed(built_in.description),
            arguments: arguments.collect(),
        });
        let defaults = built_in.arguments.iter();
        self.bodies.push(Body {
            defaults: defaults.map(|it| Cow::Borrowed(it.default.unwrap_or_default())).collect(),
            text: Cow::Borrowed(built_in.text),
        });
    }

    fn add_own(&mut self, own: OwnPrompt) {
        let mut arguments = Vec::with_capacity(own.arguments.len());
        let mut defaults = Vec::with_capacity(own.arguments.len());
        for (name, description, default) in own.arguments {
            arguments.push(PromptArgument {
                name: Cow::Owned(name),
                description: Cow::Owned(description),
                required: default.is_none(),
                also: None,
            });
            defaults.push(Cow::Owned(default.unwrap_or_default()));
        }
        self.listed.push(Prompt {
            title: Cow::Owned(own.name.clone()),
            name: Cow::Owned(own.name),
            description: Cow::Owned(own.description),
            arguments: Cow::Owned(arguments),
        });
        self.bodies.push(Body { defaults, text: Cow::Owned(own.text) });
    }

    /// As `prompts/list` shows them.
    pub(super) fn listed(&self) -> &[Prompt] {
        &self.listed
    }

    /// Whether a prompt's argument is the id of a model that can chat.
    pub(super) fn wants_model(&self, prompt: &str, argument: &str) -> bool {
        let mut prompts = self.listed.iter();
        let prompt = prompts.find(|known| known.name == prompt);
        argument == "model"
            && prompt.is_some_and(|it| it.arguments.iter().any(|known| known.name == argument))
    }

    /// Fills one in. Errors: there is no such prompt, an argument is missing or empty, or the
    /// text gets too long.
    pub(super) fn fill(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
    ) -> Result<PromptResult, Unusable> {
        let mut prompts = self.listed.iter().zip(&self.bodies);
        let (prompt, body) = prompts
            .find(|(prompt, _)| prompt.name == name)
            .ok_or_else(|| Unusable::Prompt(name.to_owned()))?;
        let mut values = Vec::with_capacity(body.defaults.len());
        for (argument, default) in prompt.arguments.iter().zip(&body.defaults) {
            let given = arguments.get(argument.name.as_ref()).and_then(Value::as_str);
            let value = match given.filter(|text| !text.trim().is_empty()) {
                Some(given) => given,
                None if argument.required => {
                    let name = &argument.name;
                    let what = format!("the argument {name:?} is missing or empty");
                    return Err(Unusable::Params(what));
                }
                None => default,
            };
            values.push((argument.name.as_ref(), value));
        }
        let text = fill(&body.text, &values, self.bytes_max).ok_or_else(|| {
            let max = self.bytes_max;
            Unusable::Params(format!("the filled prompt is longer than prompt_bytes_max ({max})"))
        })?;
        Ok(PromptResult {
            description: prompt.description.clone().into_owned(),
            messages: vec![PromptMessage { role: "user", content: Content::Text(text) }],
        })
    }
}

/// Puts the values in, line by line; `None` when it gets longer than `bytes_max`.
fn fill(text: &str, values: &[(&str, &str)], bytes_max: usize) -> Option<String> {
    let mut filled = String::new();
    for line in text.split_inclusive('\n') {
        let begun = filled.len();
        let (mut holds, mut says) = (false, false);
        let mut rest = line;
        while let Some((before, name, after)) = placeholder(rest) {
            let value = values.iter().find(|(known, _)| *known == name).map_or("", |(_, it)| it);
            (holds, says) = (true, says || !value.is_empty());
            if filled.len() + before.len() + value.len() > bytes_max {
                return None;
            }
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        if holds && !says {
            filled.truncate(begun);
        }
    }
    Some(filled).filter(|filled| filled.len() <= bytes_max)
}

/// What stands before the first `{{name}}`, the name, and what stands behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name.trim(), after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(prompts: &Prompts, name: &str, arguments: &Value) -> Result<String, Unusable> {
        let mut messages = prompts.fill(name, arguments.as_object().unwrap())?.messages;
        let Content::Text(text) = messages.remove(0).content else { panic!("no text") };
        Ok(text)
    }

    #[test]
    fn every_placeholder_of_ours_is_an_argument_and_every_argument_is_used() {
        assert_eq!(BUILT_IN.len(), 12);
        for prompt in BUILT_IN {
            let mut rest = prompt.text;
            let mut used = Vec::new();
            while let Some((_, name, after)) = placeholder(rest) {
                used.push(name);
                rest = after;
            }
            used.sort_unstable();
            let mut named: Vec<_> = prompt.arguments.iter().map(|it| it.name).collect();
            named.sort_unstable();
            assert_eq!(used, named, "{}", prompt.name);
        }
    }

    #[test]
    fn a_line_whose_arguments_are_empty_is_left_out() {
        let text = "A {{a}}\nB: {{b}}\nC: {{ b }}{{a}}\nplain {{\n\nend";
        let values = [("a", "x\ny {{b}}"), ("b", "")];
        let expected = "A x\ny {{b}}\nC: x\ny {{b}}\nplain {{\n\nend";
        assert_eq!(fill(text, &values, 99).as_deref(), Some(expected));
        assert_eq!(fill(text, &values, expected.len()).as_deref(), Some(expected));
        assert_eq!(fill(text, &values, expected.len() - 1), None);
    }

    #[test]
    fn defaults_stand_in_and_what_is_missing_is_named() {
        let prompts = Prompts::new(Vec::new(), 1 << 20);
        let asked = json!({"content": "Call 555.", "regulation": " "});
        let text = filled(&prompts, "privacy-analysis", &asked).unwrap();
        assert!(
            text.contains("Call 555.") && text.contains("general privacy principles"),
            "{text}"
        );
        let missing = filled(&prompts, "privacy-analysis", &json!({"content": " "})).unwrap_err();
        assert!(missing.to_string().contains("\"content\""), "{missing}");
        assert_eq!(filled(&prompts, "no", &json!({})), Err(Unusable::Prompt("no".to_owned())));
    }

    #[test]
    fn the_owners_prompt_comes_first_in_place_of_one_of_ours() {
        let own = OwnPrompt {
            name: "risk-assessment".to_owned(),
            description: "Mine.".to_owned(),
            arguments: vec![
                ("model".to_owned(), String::new(), None),
                ("how".to_owned(), String::new(), Some("well".to_owned())),
            ],
            text: "{{model}} {{how}}".to_owned(),
        };
        let prompts = Prompts::new(vec![own], 8);
        assert_eq!(prompts.listed().len(), 12);
        assert_eq!(prompts.listed()[0].description, "Mine.");
        assert!(prompts.wants_model("risk-assessment", "model"));
        assert!(!prompts.wants_model("risk-assessment", "how"));
        assert!(!prompts.wants_model("email-draft", "model"));
        let text = filled(&prompts, "risk-assessment", &json!({"model": "m"}));
        assert_eq!(text.as_deref(), Ok("m well"));
        let long = filled(&prompts, "risk-assessment", &json!({"model": "mmmmm"})).unwrap_err();
        assert!(long.to_string().contains("prompt_bytes_max"), "{long}");
    }
}
