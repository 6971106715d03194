//! What every tool that generates has in common: the arguments, who answers, progress, the log,
//! counting, and the answer as data.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::mcp::{CallContext, Level};
use crate::tools::arguments::{Arguments, Unusable, wrong};
use crate::tools::outcome::Failure;
use crate::tools::pace::Pace;
use crate::tools::pick;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{ChatAnswer, ChatEvent, ChatRequest, Effort, Finish, Message, Role};

/// One call of a tool, perhaps several questions to a model.
pub(super) struct Engine<'a> {
    toolbox: &'a Toolbox,
    context: &'a CallContext<'a>,
    tool: &'static str,
    pace: Pace<'a>,
    begun: Instant,
}

impl<'a> Engine<'a> {
    /// Tells at once that the call is accepted.
    pub(super) fn new(
        toolbox: &'a Toolbox,
        context: &'a CallContext<'a>,
        tool: &'static str,
    ) -> Self {
        let begun = Instant::now();
        let mut pace = Pace::new(context.progress);
        pace.begin(begun);
        Self { toolbox, context, tool, pace, begun }
    }

    /// Lets a model answer. What was spent of the call's time by an earlier question is gone.
    pub(super) fn ask(&mut self, request: &ChatRequest) -> Result<ChatAnswer, Failure> {
        let mut request = request.clone();
        request.beat = self.pace.beat();
        request.deadline = request.deadline.map(|whole| self.left_of(whole));
        self.pace.aim(request.max_tokens);
        let (context, tool, pace) = (self.context, self.tool, &mut self.pace);
        let mut asked = request.model.clone();
        let mut on = |event: ChatEvent<'_>| {
            if let ChatEvent::Asking { model, .. } = event {
                context.log(Level::Info, tool, json!({ "event": "asking", "model": model }));
                asked = Some(model.to_owned());
            }
            pace.hear(event, Instant::now());
        };
        let outcome = self.toolbox.fleet().chat(&request, context.cancel, &mut on);
        self.toolbox.usage().note(asked.as_deref(), outcome.as_ref().ok());
        let answer = outcome.map_err(|failed| {
            let failure = Failure::from(failed);
            // The result says why; an upstream's words may repeat the prompt.
            let data = json!({ "event": "failed", "model": asked, "code": failure.code() });
            if !context.cancel.is_fired() {
                context.log(Level::Warning, tool, data);
            }
            failure
        })?;
        if !answer.warnings.is_empty() {
            let told = json!({
                "event": "warned", "model": answer.requested_model, "warnings": answer.warnings,
            });
            context.log(Level::Warning, tool, told);
        }
        Ok(answer)
    }

    /// Whether more than half of the call's time is left for another try.
    pub(super) fn has_time(&self, request: &ChatRequest) -> bool {
        let whole = request.deadline.unwrap_or(WHOLE);
        self.left_of(whole) > whole / 2
    }

    fn left_of(&self, whole: Duration) -> Duration {
        whole.saturating_sub(self.begun.elapsed())
    }
}

/// Reads the arguments that generating tools share. Errors: one cannot be used.
pub(super) fn shared(
    arguments: &Arguments<'_>,
    toolbox: &Toolbox,
    context: &CallContext<'_>,
) -> Result<ChatRequest, Unusable> {
    let defaults = toolbox.defaults();
    let upstream = arguments.text("upstream")?.map(str::to_owned);
    let efforts = [
        ("off", Effort::Off),
        ("low", Effort::Low),
        ("medium", Effort::Medium),
        ("high", Effort::High),
    ];
    Ok(ChatRequest {
        model: pick::model(arguments.text("model")?, upstream.is_some(), toolbox, context)?,
        upstream,
        max_tokens: arguments
            .integer("max_tokens", 1, TOKENS_MAX)?
            .and_then(|number| u32::try_from(number).ok())
            .or(defaults.max_tokens),
        temperature: arguments.number("temperature", 0.0, 2.0)?,
        top_p: arguments.number("top_p", 0.0, 1.0)?,
        frequency_penalty: arguments.number("frequency_penalty", -2.0, 2.0)?,
        presence_penalty: arguments.number("presence_penalty", -2.0, 2.0)?,
        stop: stop(arguments)?,
        seed: arguments.integer("seed", i64::MIN, i64::MAX)?,
        effort: arguments.word("reasoning_effort", &efforts)?,
        deadline: arguments
            .integer("timeout_s", 1, TIMEOUT_S_MAX)?
            .map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
            .or(defaults.timeout),
        ..ChatRequest::default()
    })
}

/// Whether the reasoning is wanted as well. Errors: the argument cannot be used.
pub(super) fn with_reasoning(
    arguments: &Arguments<'_>,
    toolbox: &Toolbox,
) -> Result<bool, Unusable> {
    let wanted = arguments.flag("include_reasoning")?;
    Ok(wanted.unwrap_or(toolbox.defaults().include_reasoning))
}

/// A request's messages: instructions, where there are any, and what is asked.
pub(super) fn messages(system: Option<&str>, user: String) -> Vec<Message> {
    let system = system.map(|text| Message { role: Role::System, content: text.to_owned() });
    system.into_iter().chain([Message { role: Role::User, content: user }]).collect()
}

/// One text or some of them, as OpenAI's clients write it.
fn stop(arguments: &Arguments<'_>) -> Result<Vec<String>, Unusable> {
    if let Ok(Some(text)) = arguments.text("stop") {
        return Ok(vec![text.to_owned()]);
    }
    let entries = arguments.list("stop")?.unwrap_or_default();
    if entries.len() > STOPS_MAX {
        let problem = format!("must have at most {STOPS_MAX} entries");
        return Err(Unusable::new(arguments.path_of("stop"), problem));
    }
    let text = |(entry, path): (&Value, String)| match entry {
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong(path, "a string", other)),
    };
    entries.into_iter().map(text).collect()
}

/// What there is to know of an answer beside its text.
pub(super) fn generation(answer: &ChatAnswer, include_reasoning: bool) -> Map<String, Value> {
    let usage = answer.usage;
    let mut timings = Map::new();
    let mut times = vec![("total_ms", Some(answer.total)), ("first_token_ms", answer.first_token)];
    times.extend([("queued_ms", Some(answer.queued)), ("load_ms", answer.load)]);
    for (name, time) in times {
        if let Some(time) = time {
            timings.insert(name.to_owned(), milliseconds(time));
        }
    }
    if let Some(rate) = answer.tokens_per_second() {
        timings.insert("tokens_per_second".to_owned(), tenths(rate));
    }
    let counts = [
        ("prompt_tokens", usage.prompt_tokens),
        ("completion_tokens", usage.completion_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
    ];
    let known = |(name, count): (&str, Option<u32>)| Some((name.to_owned(), count?.into()));
    let usage: Map<String, Value> = counts.into_iter().filter_map(known).collect();
    let mut generation = Map::new();
    for (name, value) in [
        ("model", answer.model.as_str().into()),
        ("requested_model", answer.requested_model.as_str().into()),
        ("upstream", answer.upstream.as_str().into()),
        ("finish_reason", answer.finish.as_str().into()),
        ("truncated", (answer.finish == Finish::Length || answer.partial).into()),
        ("partial", answer.partial.into()),
        ("usage", usage.into()),
        ("timings", timings.into()),
        ("warnings", answer.warnings.as_slice().into()),
    ] {
        generation.insert(name.to_owned(), value);
    }
    if include_reasoning {
        generation.insert("reasoning".to_owned(), answer.reasoning.as_str().into());
    }
    generation
}

/// The same as a value of its own.
pub(super) fn beside(answer: &ChatAnswer) -> Value {
    generation(answer, false).into()
}

/// With one digit behind the point.
pub(super) fn tenths(number: f64) -> Value {
    ((number * 10.0).round() / 10.0).into()
}

pub(super) fn milliseconds(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

/// More is a slip: no local model has a larger window.
const TOKENS_MAX: i64 = 131_072;
/// An hour; a client that waits longer has left.
const TIMEOUT_S_MAX: i64 = 3600;
/// As many as upstreams take.
const STOPS_MAX: usize = 4;
/// The time of a call that has no limit of its own, for deciding about another try.
const WHOLE: Duration = Duration::from_secs(900);
