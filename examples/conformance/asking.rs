//! The tools that ask the client before they have a result. Each looks at what was answered so far,
//! and asks for what is missing; so a wrong or missing answer is asked for again.

use local_llm_mcp::mcp::{
    CallContext, CallToolResult, InputNeeded, InputRequest, Inputs, Outcome, ToolCall,
};
use serde_json::{Value, json};

use crate::forms;
use crate::plain::text;

/// The result or the questions of a tool that asks; none when no such tool is known.
pub(crate) fn call(call: &ToolCall, context: &CallContext<'_>) -> Option<Outcome<CallToolResult>> {
    let inputs = context.inputs;
    let argument = |name: &str| call.arguments.get(name).and_then(Value::as_str).unwrap_or("?");
    let outcome = match call.name.as_str() {
        "test_sampling" => match sampled(inputs, "answer") {
            Some(answer) => done(format!("LLM response: {answer}")),
            None => ask("answer", forms::sampling(argument("prompt"), 100)),
        },
        "test_elicitation" => {
            let request = || forms::one_field(argument("message"), "response", "string");
            any_answer(inputs, "User response", request)
        }
        "test_elicitation_sep1034_defaults" => {
            any_answer(inputs, "Elicitation completed", forms::defaults)
        }
        "test_elicitation_sep1330_enums" => {
            any_answer(inputs, "Elicitation completed", forms::choices)
        }
        "test_streaming_elicitation" => {
            let request = || forms::one_field("Please confirm", "ok", "boolean");
            any_answer(inputs, "Confirmed", request)
        }
        "test_missing_capability" => match sampled(inputs, "answer") {
            Some(answer) => done(answer),
            None => ask("answer", forms::sampling("Say yes", 100)),
        },
        "test_input_required_result_elicitation" => match filled_in(inputs, "user_name", "name") {
            Some(name) => done(format!("Hello, {name}!")),
            None => ask("user_name", name_form()),
        },
        "test_input_required_result_sampling" => match sampled(inputs, "capital_question") {
            Some(answer) => done(answer),
            None => ask("capital_question", forms::sampling("What is the capital of France?", 100)),
        },
        "test_input_required_result_list_roots" => match roots(inputs) {
            Some(count) => done(format!("{count} root(s)")),
            None => ask("client_roots", InputRequest::Roots),
        },
        "test_input_required_result_request_state" => confirmed(inputs, "state-ok"),
        "test_input_required_result_tampered_state" => confirmed(inputs, "integrity-ok"),
        "test_input_required_result_multiple_inputs" => three_at_once(inputs),
        "test_input_required_result_multi_round" => two_rounds(inputs),
        "test_input_required_result_capabilities" => what_it_can(context),
        _ => return None,
    };
    Some(outcome)
}

/// What the person typed into a field of a form; nothing when it was declined or is no text.
pub(crate) fn filled_in<'a>(inputs: &'a Inputs, form: &str, field: &str) -> Option<&'a str> {
    inputs.form(form)?.get(field)?.as_str()
}

/// A single question.
pub(crate) fn ask<T>(name: &'static str, request: InputRequest) -> Outcome<T> {
    Outcome::Needs(InputNeeded { requests: vec![(name, request)], state: None })
}

/// Content with the client's answer in it, whether the person accepted or not.
fn any_answer(
    inputs: &Inputs,
    title: &str,
    request: impl Fn() -> InputRequest,
) -> Outcome<CallToolResult> {
    let answer = inputs.responses.get("answer");
    match answer.and_then(|answer| Some((answer.get("action")?.as_str()?, answer.get("content")))) {
        Some((action, content)) => {
            let content = content.cloned().unwrap_or_else(|| json!({}));
            done(format!("{title}: action={action}, content={content}"))
        }
        None => ask("answer", request()),
    }
}

/// A question with a state, which comes back only as it was sent.
fn confirmed(inputs: &Inputs, said: &str) -> Outcome<CallToolResult> {
    let known = inputs.state.as_ref() == Some(&json!(said));
    if known && inputs.form("confirm").is_some() {
        return done(said);
    }
    let request = forms::one_field("Please confirm", "ok", "boolean");
    Outcome::Needs(InputNeeded { requests: vec![("confirm", request)], state: Some(json!(said)) })
}

fn three_at_once(inputs: &Inputs) -> Outcome<CallToolResult> {
    let name = filled_in(inputs, "user_name", "name");
    let answers = (name, sampled(inputs, "greeting"), roots(inputs));
    if let (Some(name), Some(greeting), Some(count)) = answers {
        return done(format!("{greeting} {name} has {count} root(s)."));
    }
    let requests = vec![
        ("user_name", name_form()),
        ("greeting", forms::sampling("Generate a greeting", 50)),
        ("client_roots", InputRequest::Roots),
    ];
    Outcome::Needs(InputNeeded { requests, state: Some(json!("three at once")) })
}

fn two_rounds(inputs: &Inputs) -> Outcome<CallToolResult> {
    // After the first round the name is kept in the state, since each round brings its own
    // answers only.
    let kept = inputs.state.as_ref().and_then(|state| state.get("name")?.as_str());
    let Some(name) = kept.or_else(|| filled_in(inputs, "step1", "name")) else {
        let request = forms::one_field("Step 1: What is your name?", "name", "string");
        let state = Some(json!({ "round": 1 }));
        return Outcome::Needs(InputNeeded { requests: vec![("step1", request)], state });
    };
    match filled_in(inputs, "step2", "color") {
        Some(color) => done(format!("{name} likes {color}.")),
        None => {
            let message = "Step 2: What is your favorite color?";
            let request = forms::one_field(message, "color", "string");
            let state = Some(json!({ "round": 2, "name": name }));
            Outcome::Needs(InputNeeded { requests: vec![("step2", request)], state })
        }
    }
}

/// Asks only for what the client said it can answer.
fn what_it_can(context: &CallContext<'_>) -> Outcome<CallToolResult> {
    if !context.inputs.responses.is_empty() {
        return done("The client answered.");
    }
    let mut requests = Vec::new();
    if context.client.elicitation {
        requests.push(("elicited", name_form()));
    }
    if context.client.sampling {
        requests.push(("sampled", forms::sampling("Say yes", 50)));
    }
    if requests.is_empty() {
        return done("The client cannot be asked.");
    }
    Outcome::Needs(InputNeeded { requests, state: None })
}

fn name_form() -> InputRequest {
    forms::one_field("What is your name?", "name", "string")
}

fn sampled<'a>(inputs: &'a Inputs, name: &str) -> Option<&'a str> {
    inputs.responses.get(name)?.get("content")?.get("text")?.as_str()
}

fn roots(inputs: &Inputs) -> Option<usize> {
    Some(inputs.responses.get("client_roots")?.get("roots")?.as_array()?.len())
}

fn done(said: impl Into<String>) -> Outcome<CallToolResult> {
    Outcome::Done(CallToolResult { content: vec![text(said)], ..CallToolResult::default() })
}
