//! What is listed, and what of the lists a request asks for.

use serde_json::{Map, Value};

use super::call::Work;
use super::dispatch::{Dispatcher, invalid, text, unusable};
use super::jsonrpc::RpcError;
use super::revision::Revision;
use super::service::{Completion, Lane, Reference, ToolCall, Unusable};
use super::shape;

pub(super) fn tools(house: &Dispatcher, revision: Revision) -> Vec<Value> {
    house.service.tools().iter().map(|tool| shape::tool(tool, revision)).collect()
}

pub(super) fn resources(house: &Dispatcher, revision: Revision) -> Vec<Value> {
    let resources = house.service.resources().iter();
    resources.map(|resource| shape::resource(resource, "uri", revision)).collect()
}

pub(super) fn templates(house: &Dispatcher, revision: Revision) -> Vec<Value> {
    let templates = house.service.templates().iter();
    templates.map(|template| shape::resource(template, "uriTemplate", revision)).collect()
}

pub(super) fn prompts(house: &Dispatcher, revision: Revision) -> Vec<Value> {
    house.service.prompts().iter().map(|prompt| shape::prompt(prompt, revision)).collect()
}

/// What `tools/call` asks for. Errors: -32602.
pub(super) fn tool_call(
    house: &Dispatcher,
    params: &mut Map<String, Value>,
) -> Result<(ToolCall, Lane), RpcError> {
    let name = text(params, "name")?.to_owned();
    let arguments = arguments(params)?;
    let Some(tool) = house.service.tools().iter().find(|tool| tool.name == name) else {
        // The same in every revision.
        return Err(unusable(&Unusable::Tool(name), Revision::NEWEST));
    };
    Ok((ToolCall { name, arguments }, tool.lane))
}

/// What `prompts/get` asks for. Errors: -32602 for an unknown prompt, a missing argument, or one
/// that is no string.
pub(super) fn prompt(
    house: &Dispatcher,
    params: &mut Map<String, Value>,
) -> Result<Work, RpcError> {
    let name = text(params, "name")?.to_owned();
    let mut arguments = arguments(params)?;
    let Some(prompt) = house.service.prompts().iter().find(|prompt| prompt.name == name) else {
        return Err(unusable(&Unusable::Prompt(name), Revision::NEWEST));
    };
    for argument in prompt.arguments.iter() {
        let name = argument.name.as_ref();
        let also = argument.also.filter(|_| !arguments.contains_key(name));
        if let Some(value) = also.and_then(|also| arguments.remove(also)) {
            arguments.insert(name.to_owned(), value);
        }
        match arguments.get(name) {
            Some(Value::String(_)) => {}
            None | Some(Value::Null) if !argument.required => {}
            None | Some(Value::Null) => {
                return Err(invalid(format!("the argument {name:?} is missing")));
            }
            Some(_) => return Err(invalid(format!("the argument {name:?} is not a string"))),
        }
    }
    Ok(Work::Prompt { name, arguments })
}

/// What `completion/complete` asks for. Errors: -32602.
pub(super) fn completion(params: &Map<String, Value>) -> Result<Completion, RpcError> {
    let member = |of: &str, name: &str| {
        let value = params.get(of).and_then(|of| of.get(name)).and_then(Value::as_str);
        value
            .map(str::to_owned)
            .ok_or_else(|| invalid(format!("params.{of}.{name} is not a string")))
    };
    let reference = match member("ref", "type")?.as_str() {
        "ref/prompt" => Reference::Prompt(member("ref", "name")?),
        "ref/resource" => Reference::Resource(member("ref", "uri")?),
        _ => {
            let what = "params.ref.type is neither \"ref/prompt\" nor \"ref/resource\"";
            return Err(invalid(what.to_owned()));
        }
    };
    let argument = member("argument", "name")?;
    Ok(Completion { reference, argument, value: member("argument", "value")? })
}

fn arguments(params: &mut Map<String, Value>) -> Result<Map<String, Value>, RpcError> {
    match params.remove("arguments") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(arguments)) => Ok(arguments),
        Some(_) => Err(invalid("params.arguments is not an object".to_owned())),
    }
}
