//! One piece of an answer as it stands on the wire: a chunk of `/v1/chat/completions` or
//! `/v1/completions`, an event of LM Studio's `/api/v1/chat`, or a whole answer of one of these.
//!
//! One shape for all of them, since their keys do not collide. Texts are borrowed from the line
//! they came in, and one odd field never loses the others.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::upstream::chat::Usage;

#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(super) model: Text<'a>,
    #[serde(borrow)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    pub(super) usage: Option<Counted>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    /// Beside `error`.
    #[serde(borrow, default)]
    pub(super) message: Text<'a>,
    /// llama.cpp's, in chunks before the first word.
    pub(super) prompt_progress: Option<PromptProgress>,

    /// The name of a native event.
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default)]
    pub(super) content: Text<'a>,
    #[serde(borrow, default)]
    pub(super) model_instance_id: Text<'a>,
    pub(super) progress: Option<f64>,
    pub(super) load_time_seconds: Option<f64>,
    /// Of `chat.end`: the whole answer.
    #[serde(borrow)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) output: Option<Vec<Item<'a>>>,
    pub(super) stats: Option<Stats>,
    #[serde(borrow, default)]
    pub(super) response_id: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<Delta<'a>>,
    /// Of a text completion.
    #[serde(borrow, default)]
    pub(super) text: Text<'a>,
    #[serde(borrow, default)]
    pub(super) finish_reason: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, default)]
    pub(super) content: Text<'a>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Text<'a>,
    #[serde(borrow, default)]
    pub(super) reasoning: Text<'a>,
    pub(super) tool_calls: Option<Vec<IgnoredAny>>,
}

/// A part of a whole native answer.
#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default)]
    pub(super) content: Text<'a>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct PromptProgress {
    total: Option<f64>,
    processed: Option<f64>,
}

impl PromptProgress {
    /// From 0 to 1.
    pub(super) fn share(self) -> Option<f64> {
        Some(self.processed? / self.total.filter(|total| *total > 0.0)?)
    }
}

#[derive(Deserialize)]
pub(super) struct Counted {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    completion_tokens_details: Option<CountedDetails>,
}

#[derive(Deserialize)]
struct CountedDetails {
    reasoning_tokens: Option<u32>,
}

impl From<Counted> for Usage {
    fn from(counted: Counted) -> Self {
        let details = counted.completion_tokens_details;
        Self {
            prompt_tokens: counted.prompt_tokens,
            completion_tokens: counted.completion_tokens,
            reasoning_tokens: details.and_then(|details| details.reasoning_tokens),
        }
    }
}

/// What a native answer counts. LM Studio 0.3 puts other keys into an object of this name.
#[derive(Deserialize)]
pub(super) struct Stats {
    input_tokens: Option<u32>,
    total_output_tokens: Option<u32>,
    reasoning_output_tokens: Option<u32>,
    pub(super) tokens_per_second: Option<f64>,
    pub(super) model_load_time_seconds: Option<f64>,
}

impl Stats {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.input_tokens,
            completion_tokens: self.total_output_tokens,
            reasoning_tokens: self.reasoning_output_tokens,
        }
    }
}

/// A text that is borrowed where it can be; anything that is no text is an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl Text<'_> {
    pub(super) fn get(&self) -> Option<&str> {
        Some(self.0.as_ref()).filter(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text<'de>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_are_borrowed_and_odd_ones_lose_nothing_else() {
        let line = r#"{"model":"m","choices":[{"delta":{"content":"Par","reasoning":null}}]}"#;
        let chunk: Chunk<'_> = serde_json::from_str(line).unwrap();
        let choices = chunk.choices.unwrap();
        let delta = choices[0].delta.as_ref().unwrap();
        assert!(matches!(delta.content.0, Cow::Borrowed("Par")));
        assert_eq!(delta.reasoning.get(), None);
        for odd in ["[1,{\"a\":[]}]", "{\"a\":{}}", "true", "1", "-1", "1.5", "null"] {
            let line = format!(r#"{{"type":{odd},"content":"a\nb","progress":0.5}}"#);
            let chunk: Chunk<'_> = serde_json::from_str(&line).unwrap();
            assert_eq!((chunk.kind.get(), chunk.content.get()), (None, Some("a\nb")), "{odd}");
        }
    }
}
