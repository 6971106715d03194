//! Whether a prompt fits into a model's window, before it is sent.
//!
//! Model servers find out only after minutes of reading, answer with nothing, or cut the prompt
//! without a word (Ollama).

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::upstream::call::Call;
use crate::upstream::chat::ChatRequest;
use crate::upstream::client::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::json::Object;
use crate::upstream::models::Kind;

/// Holds a request against the window of `window` tokens; a warning where it is close. Errors: it
/// does not fit.
pub(super) fn check(
    upstream: &Upstream,
    kind: Option<Kind>,
    request: &ChatRequest,
    window: Option<u64>,
    call: &Call,
    on_beat: &mut dyn FnMut(),
) -> Result<Option<String>, UpstreamError> {
    let Some(window) = window.filter(|window| *window > 0) else { return Ok(None) };
    let mut tokens: u64 = request.texts().map(estimate).sum();
    let mut exact = false;
    if kind == Some(Kind::LlamaCpp) && tokens > window / 2 && tokens < window * 4 {
        match count(upstream, request, call, on_beat) {
            Ok(Some(counted)) => (tokens, exact) = (counted, true),
            Err(UpstreamError::Cancelled) => return Err(UpstreamError::Cancelled),
            // It will say itself what is wrong.
            Ok(None) | Err(_) => {}
        }
    }
    judge(tokens, exact, window, request.max_tokens)
}

fn judge(
    tokens: u64,
    exact: bool,
    window: u64,
    max_tokens: Option<u32>,
) -> Result<Option<String>, UpstreamError> {
    let about = if exact { "" } else { "about " };
    // An estimate may be a tenth off.
    let certain = if exact { window } else { window + window / 10 };
    if tokens > certain {
        return Err(UpstreamError::PromptTooLong { tokens, exact, window });
    }
    let left = window.saturating_sub(tokens);
    if tokens > window - window / 10 || max_tokens.is_some_and(|most| u64::from(most) > left) {
        return Ok(Some(format!(
            "the prompt has {about}{tokens} tokens of a window of {window}, which leaves {left} \
             for the answer"
        )));
    }
    Ok(None)
}

/// As the server itself counts. Errors: it does not.
fn count(
    upstream: &Upstream,
    request: &ChatRequest,
    call: &Call,
    on_beat: &mut dyn FnMut(),
) -> Result<Option<u64>, UpstreamError> {
    #[derive(Deserialize)]
    struct Counted {
        tokens: Vec<IgnoredAny>,
    }
    let text: String = request.texts().collect::<Vec<_>>().join("\n");
    let body = Object::with("content", &text).end();
    let answer = upstream.ask("/tokenize", &body, None, call, on_beat)?;
    let counted = serde_json::from_slice::<Counted>(&answer).ok();
    Ok(counted.map(|counted| counted.tokens.len() as u64))
}

/// How many tokens a text has, about: four bytes of plain English each, one and a half characters
/// of Chinese, Japanese or Korean, two of anything else.
fn estimate(text: &str) -> u64 {
    let (mut plain, mut other, mut dense) = (0_u64, 0_u64, 0_u64);
    for letter in text.chars() {
        match letter {
            '\0'..='\x7f' => plain += 1,
            '\u{2e80}'.. => dense += 1,
            _ => other += 1,
        }
    }
    plain / 4 + other / 2 + dense * 2 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_estimated_by_the_script() {
        assert_eq!(estimate(&"word ".repeat(100)), 125);
        assert_eq!(estimate(&"漢".repeat(300)), 200);
        assert_eq!(estimate(&"ж".repeat(100)), 50);
        assert_eq!(estimate(""), 0);
    }

    #[test]
    fn only_what_cannot_fit_is_refused_and_both_numbers_are_told() {
        assert_eq!(judge(100, false, 4096, None).unwrap(), None);
        let near = judge(4000, false, 4096, None).unwrap().unwrap();
        assert!(near.contains("about 4000") && near.contains("4096"), "{near}");
        assert!(judge(4200, false, 4096, None).unwrap().is_some());
        assert!(judge(1000, false, 4096, Some(3500)).unwrap().unwrap().contains("leaves 3096"));
        for (tokens, exact) in [(4600, false), (4097, true)] {
            let error = judge(tokens, exact, 4096, None).unwrap_err();
            assert_eq!(error.code(), "CONTEXT_OVERFLOW");
            let said = error.to_string();
            assert!(said.contains(&tokens.to_string()) && said.contains("4096"), "{said}");
        }
    }
}
