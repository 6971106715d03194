//! What `/health` tells whoever may see it, gathered from the rooms.

use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Value, json};

use crate::cert::Certificates;
use crate::edge::Edge;
use crate::session::{KeptSessions, Registry};
use crate::transport::{Lanes, Streamable};
use crate::upstream::{Fleet, Upstream};

/// What `/health` tells beside status and version.
pub(super) struct Status {
    pub(super) edge: Arc<OnceLock<Weak<Edge>>>,
    pub(super) registry: Arc<Registry>,
    pub(super) kept: Arc<KeptSessions>,
    pub(super) streamable: Arc<Streamable>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) certificates: Option<Arc<Certificates>>,
}

impl Status {
    pub(super) fn json(&self) -> Value {
        let edge = self.edge.get().and_then(Weak::upgrade);
        let edge = edge.map(|edge| edge.counts()).unwrap_or_default();
        let sessions = self.registry.counts();
        let (kept, forgotten) = self.kept.counts();
        let (calls, refused) = self.lanes.counts();
        let upstreams: Vec<Value> = self.fleet.upstreams().iter().map(|it| told(it)).collect();
        let certificate = self.certificates.as_ref().map(|certificates| {
            let summary = certificates.summary();
            json!({
                "expires": summary.not_after, "not_after_s": summary.not_after_s,
                "names": summary.names,
            })
        });
        json!({
            "sessions": {
                "open": sessions.open, "opened": sessions.opened,
                "ended_slow": sessions.slow, "ended_evicted": sessions.evicted,
            },
            "mcp": {
                "kept_sessions": kept, "forgotten_sessions": forgotten,
                "listeners": self.streamable.listeners(),
            },
            "calls": { "started": calls, "refused": refused },
            "connections": {
                "open": edge.connections, "accepted": edge.accepted, "evicted": edge.evicted,
                "requests": edge.exchanges, "refused": edge.refused,
            },
            "upstream": upstreams.first(),
            "upstreams": upstreams,
            "certificate": certificate,
        })
    }
}

/// One upstream, as it is known without asking it.
fn told(upstream: &Upstream) -> Value {
    let state = upstream.state();
    let error = state.last_error.map(
        |error| json!({ "code": error.code, "message": error.text, "age_s": error.age.as_secs() }),
    );
    json!({
        "name": upstream.name(),
        "url": upstream.base_url().as_str(),
        "kind": state.kind.map(|kind| kind.to_string()),
        "reachable": state.reachable,
        "running": state.load.running,
        "waiting": state.load.waiting,
        "last_success_age_s": state.last_success_age.map(|age| age.as_secs()),
        "last_error": error,
    })
}
