//! Puts an answer together from its pieces. Pure: knows no socket, no clock.

use std::time::Duration;

use crate::upstream::chat::{ChatAnswer, ChatEvent, Finish, Usage};
use crate::upstream::chunk::{Choice, Chunk, Stats};
use crate::upstream::error::UpstreamError;
use crate::upstream::fault::Said;
use crate::upstream::think::{Parter, Piece, part_unopened, without_tail};

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Assembly {
    model: String,
    token_sent: bool,
    reply_bytes_max: usize,
    answered_by: String,
    text: String,
    reasoning: String,
    parter: Parter,
    /// The upstream parts the reasoning itself, so the text is the answer as it stands.
    parted: bool,
    finish: Option<Finish>,
    tool_calls: bool,
    usage: Usage,
    rate: Option<f64>,
    load: Option<f64>,
    conversation: Option<String>,
    max_tokens: Option<u32>,
    unreadable: u32,
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read on.
    More,
    /// The upstream said that it is done.
    Done,
}

impl Assembly {
    /// For an answer to a question for `model`, of at most `reply_bytes_max` bytes.
    pub(super) fn new(model: &str, token_sent: bool, reply_bytes_max: usize) -> Self {
        Self {
            rate: None,
            load: None,
            conversation: None,
            max_tokens: None,
            model: model.to_owned(),
            token_sent,
            reply_bytes_max,
            answered_by: String::new(),
            text: String::new(),
            reasoning: String::new(),
            parter: Parter::default(),
            parted: false,
            finish: None,
            tool_calls: false,
            usage: Usage::default(),
            unreadable: 0,
        }
    }

    /// The same for an answer of at most so many tokens.
    pub(super) fn at_most(mut self, max_tokens: Option<u32>) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Takes the data of one event. Errors: the upstream reports a failure, or the answer is
    /// too long.
    pub(super) fn take(
        &mut self,
        data: &str,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<Next, UpstreamError> {
        if data.trim() == "[DONE]" {
            return Ok(Next::Done);
        }
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else {
            self.unreadable += 1;
            return Ok(Next::More);
        };
        if let Some(error) = chunk.error
            && let Some(said) = Said::in_raw(error.get(), chunk.message.get())
        {
            return Err(said.into_error(200, Some(&self.model), self.token_sent));
        }
        self.chunk(chunk, on)
    }

    /// Takes a body that is a whole answer, from an upstream that does not stream.
    pub(super) fn take_whole(
        &mut self,
        body: &[u8],
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<(), UpstreamError> {
        let chunk = serde_json::from_slice::<Chunk<'_>>(body).ok();
        let is_answer = |chunk: &Chunk<'_>| {
            chunk.choices.as_ref().is_some_and(|all| !all.is_empty()) || chunk.output.is_some()
        };
        match chunk.filter(is_answer) {
            Some(chunk) => {
                self.chunk(chunk, on)?;
                self.finish.get_or_insert_default();
                Ok(())
            }
            None => Err(Said::plain(body).into_error(200, Some(&self.model), self.token_sent)),
        }
    }

    fn chunk(
        &mut self,
        mut chunk: Chunk<'_>,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<Next, UpstreamError> {
        let mut next = Next::More;
        if let Some(model) = chunk.model.get().or(chunk.model_instance_id.get())
            && self.answered_by != model
        {
            model.clone_into(&mut self.answered_by);
        }
        if let Some(usage) = chunk.usage.take() {
            self.usage = usage.into();
        }
        if let Some(share) = chunk.prompt_progress.and_then(|progress| progress.share()) {
            on(ChatEvent::Reading(percent(share)));
        }
        for choice in chunk.choices.take().unwrap_or_default() {
            self.choice(choice, on);
        }
        match chunk.kind.get() {
            Some("message.delta") => self.write(&chunk.content.0, on),
            Some("reasoning.delta") => {
                self.parted = true;
                self.think(&chunk.content.0, on);
            }
            Some("model_load.start") => on(ChatEvent::Loading(0)),
            Some("model_load.progress") => {
                on(ChatEvent::Loading(percent(chunk.progress.unwrap_or_default())));
            }
            Some("model_load.end") => {
                self.load = chunk.load_time_seconds;
                on(ChatEvent::Loading(100));
            }
            Some("prompt_processing.start") => on(ChatEvent::Reading(0)),
            Some("prompt_processing.progress") => {
                on(ChatEvent::Reading(percent(chunk.progress.unwrap_or_default())));
            }
            Some("chat.end") => {
                next = Next::Done;
                self.finish.get_or_insert_default();
                let result = chunk.result.map(|raw| serde_json::from_str::<Chunk<'_>>(raw.get()));
                if let Some(Ok(result)) = result {
                    self.native_end(&result, on);
                }
            }
            _ => {}
        }
        if chunk.output.is_some() {
            self.native_end(&chunk, on);
        }
        if self.text.len() + self.reasoning.len() > self.reply_bytes_max {
            return Err(UpstreamError::ReplyTooLarge { limit: self.reply_bytes_max });
        }
        Ok(next)
    }

    fn choice(&mut self, choice: Choice<'_>, on: &mut dyn FnMut(ChatEvent<'_>)) {
        if let Some(reason) = choice.finish_reason.get() {
            self.finish = Some(Finish::read(reason));
        }
        if let Some(text) = choice.text.get() {
            self.write(text, on);
        }
        let Some(delta) = choice.delta.or(choice.message) else { return };
        self.tool_calls |= delta.tool_calls.is_some_and(|calls| !calls.is_empty());
        if let Some(thought) = delta.reasoning_content.get().or(delta.reasoning.get()) {
            self.parted = true;
            self.think(thought, on);
        }
        if let Some(text) = delta.content.get() {
            self.write(text, on);
        }
    }

    /// The whole of a native answer: its counts, and its texts when they did not come before.
    fn native_end(&mut self, whole: &Chunk<'_>, on: &mut dyn FnMut(ChatEvent<'_>)) {
        if let Some(stats) = &whole.stats {
            self.count(stats);
        }
        self.conversation = whole.response_id.get().map(str::to_owned);
        if !self.text.is_empty() || !self.reasoning.is_empty() {
            return;
        }
        for item in whole.output.iter().flatten() {
            match item.kind.get() {
                Some("message") => self.write(&item.content.0, on),
                Some("reasoning") => {
                    self.parted = true;
                    self.think(&item.content.0, on);
                }
                _ => {}
            }
        }
    }

    /// A native answer does not say that it was cut, but how long it is.
    fn count(&mut self, stats: &Stats) {
        self.usage = stats.usage();
        self.rate = stats.tokens_per_second;
        self.load = stats.model_load_time_seconds.or(self.load);
        let full = self.usage.completion_tokens.zip(self.max_tokens);
        if full.is_some_and(|(came, most)| came >= most) {
            self.finish = Some(Finish::Length);
        }
    }

    fn think(&mut self, thought: &str, on: &mut dyn FnMut(ChatEvent<'_>)) {
        self.reasoning.push_str(thought);
        on(ChatEvent::Thinking(thought));
    }

    fn write(&mut self, piece: &str, on: &mut dyn FnMut(ChatEvent<'_>)) {
        let (text, reasoning) = (&mut self.text, &mut self.reasoning);
        self.parter.push(piece, |piece| place(piece, text, reasoning, on));
    }

    /// The failure that an event named `error` reports.
    pub(super) fn fault(&self, data: &str) -> UpstreamError {
        Said::in_body(data.as_bytes()).unwrap_or_else(|| Said::plain(data.as_bytes())).into_error(
            200,
            Some(&self.model),
            self.token_sent,
        )
    }

    /// Whether the upstream said why it ended, or counted the tokens, which comes last: after
    /// that a lost connection loses nothing.
    pub(super) fn is_complete(&self) -> bool {
        self.finish.is_some() || self.usage != Usage::default()
    }

    /// The text and the reasoning as far as they have come.
    pub(super) fn into_partial(self) -> ChatAnswer {
        self.settle()
    }

    /// The whole answer. Errors: there is none.
    pub(super) fn finish(self) -> Result<ChatAnswer, UpstreamError> {
        let tool_calls = self.tool_calls;
        let answer = self.settle();
        if answer.text.trim().is_empty() && !tool_calls {
            let thought_only = !answer.reasoning.trim().is_empty();
            let prompt_tokens = answer.usage.prompt_tokens;
            return Err(UpstreamError::EmptyOutput { thought_only, prompt_tokens });
        }
        Ok(answer)
    }

    fn settle(self) -> ChatAnswer {
        let Self { mut text, mut reasoning, .. } = self;
        self.parter.finish(|piece| place(piece, &mut text, &mut reasoning, &mut |_| ()));
        if !self.parted
            && reasoning.is_empty()
            && let Some((thought, answer)) = part_unopened(&text)
        {
            reasoning = thought.to_owned();
            text = answer.to_owned();
        }
        without_tail(&mut text);
        let mut warnings = Vec::new();
        if !self.answered_by.is_empty() && !is_same_model(&self.model, &self.answered_by) {
            warnings.push(format!(
                "answered by {:?}, although {:?} was asked for",
                self.answered_by, self.model
            ));
        }
        if self.unreadable > 0 {
            warnings.push(format!("{} events of the answer were unreadable", self.unreadable));
        }
        if self.tool_calls {
            warnings.push("the model tried to call a tool, which is not passed on".to_owned());
        }
        ChatAnswer {
            text,
            reasoning: reasoning.trim().to_owned(),
            model: if self.answered_by.is_empty() { self.model } else { self.answered_by },
            finish: self.finish.unwrap_or_default(),
            usage: self.usage,
            conversation: self.conversation,
            measured_rate: self.rate,
            load: self.load.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            warnings,
            ..ChatAnswer::default()
        }
    }
}

fn place(
    piece: Piece<'_>,
    text: &mut String,
    reasoning: &mut String,
    on: &mut dyn FnMut(ChatEvent<'_>),
) {
    match piece {
        Piece::Thinking(piece) => {
            reasoning.push_str(piece);
            on(ChatEvent::Thinking(piece));
        }
        Piece::Answer(piece) => {
            text.push_str(piece);
            on(ChatEvent::Writing(piece));
        }
    }
}

/// A share from 0 to 1 as percent.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is from 0 to 100, and a part of a percent is nothing"
)]
fn percent(share: f64) -> u8 {
    (share.clamp(0.0, 1.0) * 100.0) as u8
}

/// Whether two names mean the same model: upstreams leave out the publisher, or add the instance
/// (`:2`) or the variant (`@q4_k_m`).
fn is_same_model(asked: &str, answered: &str) -> bool {
    fn core(name: &str) -> String {
        let name = name.rsplit('/').next().unwrap_or(name);
        let name = name.split(['@', ':']).next().unwrap_or(name);
        name.trim_end_matches(".gguf").to_lowercase()
    }
    core(asked) == core(answered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::sse::{Event, Reader};

    /// Reads a stream in pieces.
    fn read(pieces: &[&[u8]]) -> Result<ChatAnswer, UpstreamError> {
        let mut reader = Reader::new(4096);
        let mut assembly = Assembly::new("m", false, 4096).at_most(Some(14));
        let mut events = Vec::new();
        let mut take = |event: Event<'_>| {
            events.push(event.data.to_owned());
            true
        };
        for piece in pieces {
            assert_eq!(reader.push(piece, &mut take), Ok(true));
        }
        assert_eq!(reader.finish(&mut take), Ok(true));
        for data in events {
            if assembly.take(&data, &mut |_| ())? == Next::Done {
                break;
            }
        }
        assembly.finish()
    }

    fn stream(deltas: &[&str]) -> String {
        deltas.iter().map(|delta| format!("data: {delta}\r\n\r\n")).collect()
    }

    #[test]
    fn every_cut_of_a_stream_gives_the_same_answer() {
        let text = stream(&[
            r#"{"model":"m:2","choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"choices":[{"delta":{"content":"<thi"}}]}"#,
            r#"{"choices":[{"delta":{"content":"nk>hm ä</thi"}}]}"#,
            r#"{"choices":[{"delta":{"content":"nk>\n\nParis €"}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":29,"completion_tokens":14,
                "completion_tokens_details":{"reasoning_tokens":9}}}"#,
            "[DONE]",
        ])
        .replace("\n                ", "");
        let whole = read(&[text.as_bytes()]).unwrap();
        assert_eq!((whole.text.as_str(), whole.reasoning.as_str()), ("Paris €", "hm ä"));
        assert_eq!(whole.finish, Finish::Length);
        assert_eq!(whole.usage.reasoning_tokens, Some(9));
        assert!(whole.warnings.is_empty(), "{:?}", whole.warnings);
        for cut in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            assert_eq!(read(&[first, second]).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_heard_on_the_way_is_the_same_text() {
        let mut assembly = Assembly::new("m", false, 4096);
        let (mut thought, mut written) = (String::new(), String::new());
        for piece in ["<th", "ink>hm</", "think>", "\n", "Par", "is"] {
            let delta = format!("{{\"choices\":[{{\"delta\":{{\"content\":{piece:?}}}}}]}}");
            let mut on = |event: ChatEvent<'_>| match event {
                ChatEvent::Thinking(piece) => thought.push_str(piece),
                ChatEvent::Writing(piece) => written.push_str(piece),
                other => panic!("{other:?}"),
            };
            assembly.take(&delta, &mut on).unwrap();
        }
        let answer = assembly.finish().unwrap();
        assert_eq!((answer.reasoning, answer.text), (thought, written.clone()));
        assert_eq!(written, "Paris");
    }

    #[test]
    fn reasoning_fields_stay_out_of_the_answer() {
        for field in ["reasoning_content", "reasoning"] {
            let text = stream(&[
                &format!(r#"{{"choices":[{{"delta":{{"{field}":"hm "}}}}]}}"#),
                &format!(r#"{{"choices":[{{"delta":{{"{field}":"hm","content":""}}}}]}}"#),
                r#"{"choices":[{"delta":{"content":"Yes\n</think>"},"finish_reason":"stop"}]}"#,
            ]);
            let answer = read(&[text.as_bytes()]).unwrap();
            assert_eq!(
                (answer.text.as_str(), answer.reasoning.as_str()),
                ("Yes\n</think>", "hm hm")
            );
        }
    }

    #[test]
    fn a_thinking_that_lost_its_opening_mark_is_parted_at_the_end() {
        let text = stream(&[r#"{"choices":[{"delta":{"content":"hm\n</think>\n\nYes"}}]}"#]);
        let answer = read(&[text.as_bytes()]).unwrap();
        assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("Yes", "hm"));
    }

    #[test]
    fn an_answer_without_text_is_an_error_that_knows_whether_the_model_thought() {
        let thought = stream(&[r#"{"choices":[{"delta":{"content":"<think>hm"}}]}"#, "[DONE]"]);
        let nothing = stream(&[r#"{"choices":[],"usage":{"prompt_tokens":4096}}"#, "[DONE]"]);
        for (text, expected) in [(thought, true), (nothing, false)] {
            match read(&[text.as_bytes()]) {
                Err(UpstreamError::EmptyOutput { thought_only, prompt_tokens }) => {
                    assert_eq!(thought_only, expected, "{text}");
                    assert_eq!(prompt_tokens, (!expected).then_some(4096));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn native_events_are_read_with_their_progress_and_their_counts() {
        let end = r#"{"type":"chat.end","result":{"model_instance_id":"m","output":[
            {"type":"message","content":"Paris"}],"stats":{"input_tokens":29,
            "total_output_tokens":14,"reasoning_output_tokens":9,"tokens_per_second":43.7,
            "model_load_time_seconds":12.5},"response_id":"resp_1"}}"#
            .replace('\n', "");
        let mut heard = Vec::new();
        let mut assembly = Assembly::new("m", false, 4096).at_most(Some(14));
        for data in [
            r#"{"type":"chat.start","model_instance_id":"m"}"#,
            r#"{"type":"model_load.start","model_instance_id":"m"}"#,
            r#"{"type":"model_load.progress","model_instance_id":"m","progress":0.65}"#,
            r#"{"type":"model_load.end","model_instance_id":"m","load_time_seconds":12.3}"#,
            r#"{"type":"prompt_processing.start"}"#,
            r#"{"type":"prompt_processing.progress","progress":0.5}"#,
            r#"{"type":"reasoning.delta","content":"hm"}"#,
            r#"{"type":"message.delta","content":"Paris"}"#,
        ] {
            let mut on = |event: ChatEvent<'_>| heard.push(format!("{event:?}"));
            assert_eq!(assembly.take(data, &mut on).unwrap(), Next::More, "{data}");
        }
        assert_eq!(assembly.take(&end, &mut |_| panic!("nothing new")).unwrap(), Next::Done);
        assert_eq!(
            heard[..5],
            ["Loading(0)", "Loading(65)", "Loading(100)", "Reading(0)", "Reading(50)"]
        );
        let answer = assembly.finish().unwrap();
        assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("Paris", "hm"));
        assert_eq!(
            (answer.finish, answer.conversation.as_deref()),
            (Finish::Length, Some("resp_1"))
        );
        assert_eq!(
            (answer.load, answer.measured_rate),
            (Some(Duration::from_millis(12_500)), Some(43.7))
        );
        // Some builds send the texts only at the end.
        assert_eq!(read(&[stream(&[&end]).as_bytes()]).unwrap().text, "Paris");
    }

    #[test]
    fn an_error_inside_the_stream_ends_it() {
        let text = stream(&[
            r#"{"choices":[{"delta":{"content":"Par"}}]}"#,
            r#"{"error":{"message":"Context size has been exceeded."},"message":"x"}"#,
        ]);
        assert_eq!(read(&[text.as_bytes()]).unwrap_err().code(), "CONTEXT_OVERFLOW");
    }

    #[test]
    fn another_model_is_told_but_an_instance_of_the_same_is_not() {
        assert!(is_same_model("openai/gpt-oss-20b", "gpt-oss-20b:2"));
        assert!(is_same_model("nomic", "Nomic@q4_k_m"));
        assert!(!is_same_model("gpt-4", "openai/gpt-oss-20b"));
        let text = stream(&[r#"{"model":"other","choices":[{"delta":{"content":"Yes"}}]}"#]);
        assert_eq!(read(&[text.as_bytes()]).unwrap().warnings.len(), 1);
    }

    #[test]
    fn an_answer_over_the_limit_is_refused_with_the_limit() {
        let long = "x".repeat(3000);
        let delta = format!(r#"{{"choices":[{{"delta":{{"content":"{long}"}}}}]}}"#);
        match read(&[stream(&[&delta, &delta]).as_bytes()]) {
            Err(UpstreamError::ReplyTooLarge { limit }) => assert_eq!(limit, 4096),
            other => panic!("{other:?}"),
        }
    }
}
