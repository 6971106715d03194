//! Every tool in one line each, in the order in which clients see them.

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::outcome::Failure;
use crate::tools::toolbox::Toolbox;
use crate::tools::{
    chat, code_analysis, complete_text, continue_conversation, download_model, embed, list_models,
    load_model, local_reasoning, model_info, private_analysis, secure_rewrite, server_status,
    set_default_model, template_completion,
};

pub(super) type Run = fn(&Toolbox, &ToolCall, &CallContext<'_>) -> Result<CallToolResult, Failure>;

/// A tool.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Its file in `spec/`.
    pub(super) spec: &'static str,
    pub(super) run: Run,
}

macro_rules! entry {
    ($name:literal, $run:expr) => {
        Entry { name: $name, spec: include_str!(concat!("spec/", $name, ".json")), run: $run }
    };
}

/// The tools.
pub(super) const ENTRIES: &[Entry] = &[
    entry!("list_models", list_models::run),
    entry!("get_model_info", model_info::run),
    entry!("chat", chat::run),
    entry!("local_reasoning", local_reasoning::run),
    entry!("private_analysis", private_analysis::run),
    entry!("secure_rewrite", secure_rewrite::run),
    entry!("code_analysis", code_analysis::run),
    entry!("template_completion", template_completion::run),
    entry!("set_default_model", set_default_model::run),
    entry!("embed", embed::run),
    entry!("load_model", load_model::run),
    entry!("unload_model", load_model::unload),
    entry!("server_status", server_status::run),
    entry!("complete", complete_text::run),
    entry!("continue_conversation", continue_conversation::run),
    entry!("download_model", download_model::run),
    entry!("download_status", download_model::status),
];

/// A tool under the name that another server gave it.
pub(super) struct Alias {
    pub(super) name: &'static str,
    /// Ours.
    pub(super) means: &'static str,
    /// Where it does more than ours would without arguments.
    pub(super) run: Option<Run>,
}

/// The names of LMStudio-MCP.
pub(super) const ALIASES: &[Alias] = &[
    Alias { name: "health_check", means: "server_status", run: None },
    Alias { name: "chat_completion", means: "chat", run: None },
    Alias { name: "text_completion", means: "complete", run: None },
    Alias { name: "generate_embeddings", means: "embed", run: None },
    Alias { name: "get_current_model", means: "get_model_info", run: Some(model_info::current) },
    Alias { name: "start_conversation", means: "chat", run: Some(chat::start) },
];
