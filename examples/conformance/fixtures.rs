//! The house that the suite expects behind the protocol.

use std::sync::Arc;

use local_llm_mcp::mcp::{
    Bulletin, CallContext, CallToolResult, Change, Completion, Completions, Content, Offer,
    Outcome, Prompt, PromptMessage, PromptResult, Reference, Resource, ResourceBody,
    ResourceContents, Service, Tool, ToolCall, Unusable,
};
use serde_json::{Map, Value, json};

use crate::media::PNG;
use crate::plain::{document, image, text};
use crate::{asking, forms, listed, plain};

/// Tools, resources and prompts of the suite.
pub(crate) struct Fixtures {
    tools: Vec<Tool>,
    bulletin: Arc<Bulletin>,
}

impl Fixtures {
    pub(crate) fn new(bulletin: Arc<Bulletin>) -> Self {
        Self { tools: listed::tools(), bulletin }
    }

    /// The tools that say that something has changed.
    fn announce(&self, tool: &str) -> Option<CallToolResult> {
        let change = match tool {
            "test_trigger_tool_change" => Change::ToolsList,
            "test_trigger_prompt_change" => Change::PromptsList,
            _ => return None,
        };
        self.bulletin.announce(&change);
        let content = vec![text("The change was announced.")];
        Some(CallToolResult { content, ..CallToolResult::default() })
    }
}

impl Service for Fixtures {
    fn tools(&self) -> &[Tool] {
        &self.tools
    }

    fn call(
        &self,
        call: &ToolCall,
        context: &CallContext<'_>,
    ) -> Result<Outcome<CallToolResult>, Unusable> {
        plain::call(&call.name, context)
            .or_else(|| self.announce(&call.name))
            .map(Outcome::Done)
            .or_else(|| asking::call(call, context))
            .ok_or_else(|| Unusable::Tool(call.name.clone()))
    }

    fn offer(&self) -> Offer {
        Offer {
            resources: true,
            subscribe: true,
            prompts: true,
            completions: true,
            logging: true,
            list_changed: true,
            resources_changed: true,
        }
    }

    fn resources(&self) -> &[Resource] {
        &listed::RESOURCES
    }

    fn templates(&self) -> &[Resource] {
        &listed::TEMPLATES
    }

    fn read(
        &self,
        uri: &str,
        _context: &CallContext<'_>,
    ) -> Result<Outcome<Vec<ResourceContents>>, Unusable> {
        let contents = match uri {
            "test://static-text" => {
                document(uri, "text/plain", "This is the content of the static text resource.")
            }
            "test://static-binary" => ResourceContents {
                uri: uri.to_owned(),
                mime_type: "image/png",
                body: ResourceBody::Blob(PNG.to_owned()),
            },
            "test://watched-resource" => document(uri, "text/plain", "Watched resource content."),
            _ => {
                let id =
                    uri.strip_prefix("test://template/").and_then(|id| id.strip_suffix("/data"));
                let id = id.filter(|id| !id.is_empty() && !id.contains('/'));
                let id = id.ok_or_else(|| Unusable::Resource(uri.to_owned()))?;
                let data = json!({ "id": id, "data": format!("Data for ID: {id}") });
                document(uri, "application/json", data.to_string())
            }
        };
        Ok(Outcome::Done(vec![contents]))
    }

    fn prompts(&self) -> &[Prompt] {
        &listed::PROMPTS
    }

    fn prompt(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
        context: &CallContext<'_>,
    ) -> Result<Outcome<PromptResult>, Unusable> {
        let argument = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        let messages = match name {
            "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
            "test_prompt_with_arguments" => {
                let (first, second) = (argument("arg1"), argument("arg2"));
                vec![text(format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
            }
            "test_prompt_with_embedded_resource" => {
                let said = "Embedded resource content for testing.";
                let resource = document(argument("resourceUri"), "text/plain", said);
                vec![Content::Resource(resource), text("Please use the resource above.")]
            }
            "test_prompt_with_image" => vec![image(), text("Please look at the picture above.")],
            "test_input_required_result_prompt" => {
                match asking::filled_in(context.inputs, "user_context", "context") {
                    Some(said) => vec![text(format!("Prompt with context: {said}"))],
                    None => {
                        let message = "What context should the prompt use?";
                        let request = forms::one_field(message, "context", "string");
                        return Ok(asking::ask("user_context", request));
                    }
                }
            }
            _ => return Err(Unusable::Prompt(name.to_owned())),
        };
        let message = |content| PromptMessage { role: "user", content };
        let messages = messages.into_iter().map(message).collect();
        let description = "A prompt of the conformance suite".to_owned();
        Ok(Outcome::Done(PromptResult { description, messages }))
    }

    fn complete(&self, completion: &Completion, _context: &CallContext<'_>) -> Completions {
        let of_prompt = Reference::Prompt("test_prompt_with_arguments".to_owned());
        if completion.reference != of_prompt {
            return Completions::default();
        }
        let known = ["testing", "tested", "paris"].into_iter();
        let values = known.filter(|value| value.starts_with(&completion.value));
        Completions { values: values.map(str::to_owned).collect() }
    }
}
