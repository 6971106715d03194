//! Each room's own limits, cut out of the one list.

use crate::config::Limits;
use crate::edge::{EdgeLimits, WORKERS};
use crate::session::{KeptLimits, SessionLimits};
use crate::tools::ConversationLimits;
use crate::transport::{HouseSettings, LaneLimits};

pub(super) fn edge_limits(limits: &Limits) -> EdgeLimits {
    EdgeLimits {
        connections_max: limits.connections_max,
        connections_per_address_max: limits.connections_per_address_max,
        connections_per_loopback_max: limits.connections_per_loopback_max,
        handshake_ms_max: limits.handshake_ms_max,
        head_bytes_max: limits.head_bytes_max,
        head_ms_max: limits.head_ms_max,
        body_bytes_max: limits.body_bytes_max,
        body_ms_max: limits.body_ms_max,
        bodies_bytes_max: limits.bodies_bytes_max,
        reply_bytes_max: limits.reply_bytes_max,
        replies_bytes_max: limits.replies_bytes_max,
        write_ms_max: limits.write_ms_max,
        keep_alive_ms_max: limits.keep_alive_ms_max,
    }
}

pub(super) fn session_limits(limits: &Limits) -> SessionLimits {
    SessionLimits {
        streams_max: limits.streams_max,
        outbox_events_max: limits.outbox_events_max,
        outbox_bytes_max: limits.outbox_bytes_max,
    }
}

pub(super) fn kept_limits(limits: &Limits) -> KeptLimits {
    KeptLimits {
        kept_sessions_max: limits.kept_sessions_max,
        session_idle_s_max: limits.session_idle_s_max,
        outbox_events_max: limits.outbox_events_max,
        outbox_bytes_max: limits.outbox_bytes_max,
    }
}

pub(super) fn house_settings(limits: &Limits, random: fn() -> Option<[u8; 16]>) -> HouseSettings {
    HouseSettings {
        heartbeat_ms: limits.heartbeat_ms,
        body_values_max: limits.body_values_max,
        answer_s_max: limits.answer_s_max,
        listens_max: limits.listens_max,
        outbox_events_max: limits.outbox_events_max,
        outbox_bytes_max: limits.outbox_bytes_max,
        random,
    }
}

pub(super) fn conversation_limits(limits: &Limits) -> ConversationLimits {
    ConversationLimits {
        conversations_max: limits.conversations_max,
        conversation_bytes_max: limits.conversation_bytes_max,
        conversation_idle_s_max: limits.conversation_idle_s_max,
    }
}

/// `places` of the queues of all upstreams: each has one, so that their queues say who waits.
pub(super) fn lane_limits(limits: &Limits, places: usize) -> LaneLimits {
    LaneLimits {
        calls_running_max: (places + limits.calls_spare_max).max(1),
        calls_waiting_max: limits.calls_waiting_max,
        quick_calls_running_max: limits.quick_calls_running_max,
        quick_calls_waiting_max: limits.quick_calls_waiting_max,
        quick_calls_alone_max: limits.quick_calls_alone_max,
        // Two workers stay free for pings, cancels and /health, however slow the upstream is.
        quick_calls_on_workers_max: WORKERS.saturating_sub(2),
    }
}
