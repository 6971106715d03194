//! What this server offers: one file a tool, and resources, prompts and completions beside them.
//! Knows no transport.

mod address;
mod analysis;
mod arguments;
mod catalogue;
mod chat;
mod code_analysis;
mod complete;
mod complete_text;
mod continue_conversation;
mod conversations;
mod download_model;
mod embed;
mod entries;
mod fold;
mod generate;
mod images;
mod list_models;
mod load_model;
mod local_reasoning;
mod mask;
mod model_info;
mod model_view;
mod outcome;
mod pace;
mod pick;
mod private_analysis;
mod profile;
mod prompts;
mod resources;
mod scan;
mod secure_rewrite;
mod server_status;
mod set_default_model;
mod sight;
mod spec;
mod structured;
mod survey;
mod template_completion;
mod toolbox;
mod usage;

pub use conversations::ConversationLimits;
pub use profile::{Profile, Selection, UnknownTool};
pub use prompts::OwnPrompt;
pub use toolbox::{Defaults, Facts, Shown, Toolbox, check};
