//! The model server behind us: LM Studio's HTTP API and its OpenAI-compatible kin.
//!
//! Blocking calls that a [`Cancel`](crate::cancel::Cancel) ends at once. Knows nothing of MCP;
//! the only room that names ureq.

mod assembly;
mod call;
mod chat;
mod client;
mod dial;
mod error;
mod exchange;
mod fault;
mod generate;
mod limits;
mod line;
mod models;
mod settings;
mod shapes;
mod socket;
mod sse;
mod state;
mod think;

pub use chat::{ChatAnswer, ChatEvent, ChatRequest, Finish, Message, Role, Usage};
pub use client::{Probe, Upstream};
pub use error::UpstreamError;
pub use limits::{Limit, Limits};
pub use models::{Instance, Kind, Model, ModelList, ModelState, ModelType};
pub use settings::{BaseUrl, Settings, SettingsError};
pub use state::{PastError, UpstreamState};
