//! Texts as vectors: `/v1/embeddings`, and Ollama's `/api/embed`.

use std::time::Duration;

use serde::Deserialize;

use crate::cancel::Cancel;
use crate::order;
use crate::upstream::call::Call;
use crate::upstream::chat::ChatEvent;
use crate::upstream::error::UpstreamError;
use crate::upstream::fleet::{Failed, Fleet};
use crate::upstream::json::Object;
use crate::upstream::models::Kind;
use crate::upstream::route::{Choice, Need, Wanted};

/// Texts to be turned into vectors.
#[derive(Clone, Debug, Default)]
pub struct EmbedRequest {
    /// The name of the upstream; chosen by its models when absent.
    pub upstream: Option<String>,
    /// The asked model; when absent a loaded embedding model.
    pub model: Option<String>,
    /// The texts.
    pub input: Vec<String>,
    /// Shorter vectors, where the model can.
    pub dimensions: Option<u32>,
    /// How often to be woken with [`ChatEvent::Waiting`] while nothing comes.
    pub beat: Option<Duration>,
}

/// The vectors of some texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// The name of the upstream.
    pub upstream: String,
    /// The model, as the upstream calls it.
    pub model: String,
    /// One a text, in their order, all of one length.
    pub vectors: Vec<Vec<f32>>,
    /// What the upstream counted; several always say 0.
    pub prompt_tokens: Option<u32>,
}

/// Both shapes: their keys do not collide.
#[derive(Deserialize)]
struct Answer {
    model: Option<String>,
    data: Option<Vec<Entry>>,
    usage: Option<Usage>,
    /// Ollama's.
    embeddings: Option<Vec<Vec<f32>>>,
    prompt_eval_count: Option<u32>,
}

#[derive(Deserialize)]
struct Entry {
    embedding: Vec<f32>,
    #[serde(default)]
    index: usize,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u32>,
}

impl Fleet {
    /// Turns texts into vectors, some at a time, at one upstream. `on` hears of silence and of how
    /// many are done. Errors: see [`UpstreamError`].
    pub fn embed(
        &self,
        request: &EmbedRequest,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<Embeddings, Failed> {
        let wanted = Wanted {
            upstream: request.upstream.as_deref(),
            model: request.model.as_deref(),
            need: Need::Embedding,
            beat: request.beat,
        };
        self.routed(&wanted, cancel, on, &mut |choice, on| {
            let mut all = Embeddings::default();
            for part in request.input.chunks(PART) {
                let mut some = embed(choice, (part, request), cancel, on)?;
                all.vectors.append(&mut some.vectors);
                let counted = all.prompt_tokens.unwrap_or(0);
                let tokens = some.prompt_tokens.map(|count| counted.saturating_add(count));
                all.prompt_tokens = tokens.or(all.prompt_tokens);
                all.model = some.model;
                on(ChatEvent::Embedded(all.vectors.len()));
            }
            same_length(&all.vectors)?;
            choice.upstream.name().clone_into(&mut all.upstream);
            Ok(all)
        })
    }
}

fn embed(
    choice: &Choice,
    (texts, request): (&[String], &EmbedRequest),
    cancel: &Cancel,
    on: &mut dyn FnMut(ChatEvent<'_>),
) -> Result<Embeddings, UpstreamError> {
    let upstream = &choice.upstream;
    let kind = choice.list.as_ref().map(|list| list.kind);
    let path = if kind == Some(Kind::Ollama) { "/api/embed" } else { "/v1/embeddings" };
    let mut body = Object::with("model", &choice.name);
    body.texts("input", texts);
    body.integer("dimensions", request.dimensions.map(i64::from));
    let call = Call::new(cancel, upstream.settings.limits, request.beat);
    let _entered = call.enter();
    let beat = &mut || on(ChatEvent::Waiting);
    let answer = upstream.ask(path, &body.end(), Some(&choice.asked), &call, beat);
    let answer = answer.map_err(|error| match error {
        UpstreamError::ModelNotFound { .. } => upstream.unknown(&choice.asked, cancel),
        UpstreamError::NotSupported { said, .. } => {
            UpstreamError::NotSupported { what: "embeddings", said }
        }
        error => error,
    })?;
    let mut embeddings = read(&answer, texts.len())?;
    if embeddings.model.is_empty() {
        embeddings.model.clone_from(&choice.name);
    }
    Ok(embeddings)
}

/// Reads the answer for so many texts. Errors: it is none, or has other vectors than asked for.
fn read(answer: &[u8], texts: usize) -> Result<Embeddings, UpstreamError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_unreadable| bad(NO_LIST))?;
    let vectors = match (answer.embeddings, answer.data) {
        (Some(vectors), _) => vectors,
        (None, Some(data)) => {
            let data = order::by(data, |one, other| one.index.cmp(&other.index));
            data.into_iter().map(|entry| entry.embedding).collect()
        }
        (None, None) => return Err(bad(NO_LIST)),
    };
    if vectors.len() != texts {
        return Err(bad(NOT_EACH));
    }
    same_length(&vectors)?;
    let counted = answer.usage.and_then(|usage| usage.prompt_tokens);
    Ok(Embeddings {
        upstream: String::new(),
        model: answer.model.unwrap_or_default(),
        vectors,
        prompt_tokens: counted.or(answer.prompt_eval_count),
    })
}

/// Errors: vectors are empty, or as those of several models.
fn same_length(vectors: &[Vec<f32>]) -> Result<(), UpstreamError> {
    let length = vectors.first().map(Vec::len).unwrap_or_default();
    let same = length > 0 && vectors.iter().all(|one| one.len() == length);
    if same { Ok(()) } else { Err(bad(NOT_EACH)) }
}

fn bad(said: &str) -> UpstreamError {
    UpstreamError::Answered { status: 200, said: said.to_owned(), partial: String::new() }
}

/// A slow machine does as many well within a progress beat.
const PART: usize = 32;
const NOT_EACH: &str = "it did not give one vector for each text";
const NO_LIST: &str = "that is no list of embeddings";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read_in_the_order_of_the_texts() {
        let openai = br#"{"object":"list","model":"nomic@q4","usage":{"prompt_tokens":0},
            "data":[{"embedding":[3,4],"index":1},{"embedding":[1.0,2.5],"index":0}]}"#;
        let read_openai = read(openai, 2).unwrap();
        assert_eq!(read_openai.vectors, [[1.0, 2.5], [3.0, 4.0]]);
        assert_eq!((read_openai.model.as_str(), read_openai.prompt_tokens), ("nomic@q4", Some(0)));
        let ollama = br#"{"model":"nomic","embeddings":[[0.5]],"prompt_eval_count":7}"#;
        let read_ollama = read(ollama, 1).unwrap();
        assert_eq!((read_ollama.vectors[0][0], read_ollama.prompt_tokens), (0.5, Some(7)));
        for odd in [&b"<html>"[..], b"{}", br#"{"data":[]}"#, br#"{"embeddings":[[1],[1,2]]}"#] {
            assert_eq!(read(odd, 2).unwrap_err().code(), "UPSTREAM_ERROR");
        }
    }
}
