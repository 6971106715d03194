//! `GET /health`: 200 while this server serves, also when the upstream is down (said in the body).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::edge::{Exchange, Reply};
use crate::mcp::SERVER_VERSION;

/// The parts of the answer that other rooms know; `server` gathers them.
pub type HealthSource = Arc<dyn Fn() -> Value + Send + Sync>;

/// The endpoint.
#[derive(Clone)]
pub struct Health {
    /// When the server started.
    pub started: Instant,
    /// What principals see besides status and version.
    pub source: HealthSource,
}

impl Health {
    pub(super) fn answer(&self, exchange: Exchange) {
        let mut body = Map::new();
        body.insert("status".into(), "ok".into());
        body.insert("version".into(), SERVER_VERSION.into());
        if exchange.admitted.principal.is_some() {
            body.insert("uptime_s".into(), self.started.elapsed().as_secs().into());
            if let Value::Object(more) = (self.source)() {
                body.extend(more);
            }
        }
        let reply = Reply::json(200, Value::Object(body).to_string().into_bytes());
        exchange.respond(reply.with("Cache-Control", "no-store"));
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("started", &self.started).finish_non_exhaustive()
    }
}
