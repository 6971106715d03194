//! The tools that ask nobody.

use std::sync::Arc;
use std::time::Duration;

use local_llm_mcp::mcp::{
    CallContext, CallToolResult, Content, Level, ResourceBody, ResourceContents,
};
use local_llm_mcp::worker::Latch;
use serde_json::json;

use crate::media::{PNG, WAV};

/// The result of a tool that asks nobody; none when no such tool is known.
pub(crate) fn call(tool: &str, context: &CallContext<'_>) -> Option<CallToolResult> {
    let content = match tool {
        "test_simple_text" => vec![text("This is a simple text response for testing.")],
        "test_image_content" => vec![image()],
        "test_audio_content" => {
            vec![Content::Audio { data: WAV.to_owned(), mime_type: "audio/wav" }]
        }
        "test_embedded_resource" => vec![Content::Resource(document(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        ))],
        "test_multiple_content_types" => vec![
            text("Multiple content types test:"),
            image(),
            Content::Resource(document(
                "test://mixed-content-resource",
                "application/json",
                r#"{"test":"data","value":123}"#,
            )),
        ],
        "test_tool_with_logging" => vec![text(logs(context))],
        "test_tool_with_progress" => vec![text(progresses(context))],
        "test_error_handling" => {
            let said = "This tool intentionally returns an error for testing";
            let content = vec![text(said)];
            return Some(CallToolResult { content, is_error: true, ..CallToolResult::default() });
        }
        "test_reconnection" => {
            pause(context, 4 * PAUSE);
            vec![text("The call outlived its stream.")]
        }
        "test_logging_tool" => {
            context.log(Level::Info, "conformance", json!("The client wants to read this."));
            vec![text("Logged, where the client wants it.")]
        }
        "json_schema_2020_12_tool" | "test_x_mcp_header" => vec![text("The arguments fit.")],
        _ => return None,
    };
    Some(CallToolResult { content, ..CallToolResult::default() })
}

/// A block of text.
pub(crate) fn text(text: impl Into<String>) -> Content {
    Content::Text(text.into())
}

/// The picture.
pub(crate) fn image() -> Content {
    Content::Image { data: PNG.to_owned(), mime_type: "image/png" }
}

/// A resource whose contents are text.
pub(crate) fn document(
    uri: &str,
    mime_type: &'static str,
    text: impl Into<String>,
) -> ResourceContents {
    ResourceContents { uri: uri.to_owned(), mime_type, body: ResourceBody::Text(text.into()) }
}

fn logs(context: &CallContext<'_>) -> &'static str {
    for said in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        context.log(Level::Info, "conformance", json!(said));
        pause(context, PAUSE);
    }
    "Three messages were logged."
}

fn progresses(context: &CallContext<'_>) -> &'static str {
    for done in [0.0, 50.0, 100.0] {
        if let Some(progress) = context.progress {
            progress.report(done, Some(100.0), "Under way");
        }
        pause(context, PAUSE);
    }
    "Three steps were reported."
}

/// Waits, but not for a call that was stopped.
fn pause(context: &CallContext<'_>, time: Duration) {
    let latch = Arc::new(Latch::default());
    let stopped = Arc::clone(&latch);
    let _hook = context.cancel.hook(move || stopped.open());
    latch.wait(time);
}

/// Long enough for two messages to be told apart.
const PAUSE: Duration = Duration::from_millis(50);
