//! What this server offers: one file a tool. Knows no transport.

mod arguments;
mod chat;
mod list_models;
mod outcome;
mod pace;
mod pick;
mod toolbox;

pub use toolbox::{Defaults, Facts, Toolbox};
