//! What this server offers: one file a tool, and resources, prompts and completions beside them.
//! Knows no transport.

mod address;
mod arguments;
mod catalogue;
mod chat;
mod complete;
mod list_models;
mod model_view;
mod outcome;
mod pace;
mod pick;
mod profile;
mod prompts;
mod resources;
mod sight;
mod toolbox;

pub use profile::{Profile, Selection, UnknownTool};
pub use prompts::OwnPrompt;
pub use toolbox::{Defaults, Facts, Shown, Toolbox, check};
