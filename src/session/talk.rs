//! What one conversation with a handshake carries along, whatever its transport.

use std::sync::{Mutex, OnceLock};

use crate::cancel::Cancel;
use crate::mcp::{Asked, Call, ClientFeatures, InFlight, Level, Reader};
use crate::worker::lock;

/// The state of one conversation.
#[derive(Debug)]
pub struct Talk {
    /// The client's requests that are being worked on.
    pub in_flight: InFlight,
    /// Our requests that the client has not answered.
    pub asked: Asked,
    /// The changes that it hears of, once something tells it.
    pub reader: OnceLock<Reader>,
    features: Mutex<ClientFeatures>,
    level: Mutex<Option<Level>>,
}

impl Talk {
    /// A conversation with a client that can be asked for this.
    #[must_use]
    pub fn new(features: ClientFeatures) -> Self {
        Self {
            in_flight: InFlight::default(),
            asked: Asked::default(),
            reader: OnceLock::new(),
            features: Mutex::new(features),
            level: Mutex::default(),
        }
    }

    /// Notes what `initialize` said.
    pub fn introduce(&self, features: ClientFeatures) {
        *lock(&self.features) = features;
    }

    /// What the client can be asked for.
    #[must_use]
    pub fn features(&self) -> ClientFeatures {
        *lock(&self.features)
    }

    /// Notes `logging/setLevel`.
    pub fn set_level(&self, level: Level) {
        *lock(&self.level) = Some(level);
    }

    /// From which level on the client wants log messages. One that never said so gets warnings:
    /// the server may choose (2025-11-25, logging).
    #[must_use]
    pub fn level(&self) -> Level {
        lock(&self.level).unwrap_or(Level::Warning)
    }

    /// Enters a request of this conversation and gives it what the conversation knows. `None`: one
    /// with its id is in flight already.
    #[must_use]
    pub fn begin(&self, call: &mut Call) -> Option<Cancel> {
        let cancel = self.in_flight.enter(&call.id)?;
        call.features = self.features();
        call.log_level = Some(self.level());
        Some(cancel)
    }

    /// Begins or stops to want a resource, once something tells it.
    /// Errors: too many are wanted already.
    pub fn want(&self, uri: &str, wanted: bool) -> Result<(), String> {
        self.reader.get().map_or(Ok(()), |reader| reader.want(uri, wanted))
    }

    /// Whether nothing would be lost with it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let subscribed = self.reader.get().is_some_and(Reader::wants_resources);
        !subscribed && self.in_flight.is_empty() && lock(&self.level).is_none()
    }
}
