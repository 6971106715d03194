//! The model server behind us: LM Studio's HTTP API and its OpenAI-compatible kin.
//!
//! [`Fleet`] is the door: it knows which upstream has a model, lets it write, and tells everything
//! that happens meanwhile. Blocking calls that a [`Cancel`](crate::cancel::Cancel) ends at once. Knows nothing of MCP;
//! the only room that names ureq.

mod assembly;
mod body;
mod call;
mod chat;
mod chunk;
mod client;
mod dial;
mod download;
mod embed;
mod error;
mod exchange;
mod fault;
mod fleet;
mod follow;
mod generate;
mod json;
mod limits;
mod line;
mod load;
mod models;
mod ollama;
mod pulls;
mod queue;
mod route;
mod settings;
mod shapes;
mod socket;
mod sse;
mod state;
mod survey;
mod think;
mod window;
mod words;

pub use chat::{ChatAnswer, ChatEvent, ChatRequest, Effort, Finish, Message, Role, Usage};
pub use client::{Probe, Upstream};
pub use download::Download;
pub use embed::{EmbedRequest, Embeddings};
pub use error::{Stage, UpstreamError};
pub use fleet::{Failed, Fleet, Listed};
pub use limits::{Limit, Limits};
pub use load::{LoadRequest, Loaded};
pub use models::{Instance, Kind, Model, ModelList, ModelState, ModelType};
pub use queue::Load;
pub use settings::{BaseUrl, Settings, SettingsError};
pub use state::{PastError, UpstreamState};
