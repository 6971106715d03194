//! Every limit of the house in one list, each with its reason. Units stand last.

/// The limits. All are per process unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once. A connection takes up to four descriptors (its socket, both
    /// ends of the Unix connection, an upstream's), and 4,096 threads are what a small machine
    /// carries.
    pub connections_max: usize,
    /// Connections of one peer address, so that one machine cannot take all of them; a proxy of the
    /// owner's may.
    pub connections_per_address_max: usize,
    /// The same for loopback: a local tunnel or test speaks for many.
    pub connections_per_loopback_max: usize,
    /// A request head. Real ones are under 4 KiB; browsers with cookies need a little more.
    pub head_bytes_max: usize,
    /// From the first byte of a head to its last: slower ones are attacks or dead.
    pub head_ms_max: u64,
    /// A TLS handshake: two round trips and some arithmetic.
    pub handshake_ms_max: u64,
    /// A request body: a few images in base64.
    pub body_bytes_max: usize,
    /// JSON values in one body: read, each costs up to a hundred bytes, so that a body of nothing
    /// but commas would take gigabytes. A call has a few hundred.
    pub body_values_max: usize,
    /// From the first byte of a body to its last: 32 MiB over a slow Wi-Fi.
    pub body_ms_max: u64,
    /// All bodies being read together, so that a Raspberry Pi survives them; strangers find room in
    /// a quarter of it.
    pub bodies_bytes_max: usize,
    /// One reply: model lists and answers are far smaller, embeddings are the largest.
    pub reply_bytes_max: usize,
    /// All replies being written together, for the same reason.
    pub replies_bytes_max: usize,
    /// One write to a client that does not read: its buffers have been full as long.
    pub write_ms_max: u64,
    /// A kept-alive connection without a request: longer than clients pool theirs.
    pub keep_alive_ms_max: u64,
    /// Event streams at once; below the connections, so that requests still get through.
    pub streams_max: usize,
    /// Events waiting for one slow reader; then its session ends.
    pub outbox_events_max: usize,
    /// The bytes of those events together; one longer answer passes when nothing else waits.
    pub outbox_bytes_max: usize,
    /// `subscriptions/listen` streams at once, all clients together.
    pub listens_max: usize,
    /// Sessions on `/mcp` of which anything is kept: streams, subscriptions, a log level. The one
    /// idle longest is forgotten first; its id stays good.
    pub kept_sessions_max: usize,
    /// From its last use until what is kept of a session is forgotten: desktops sleep over night.
    pub session_idle_s_max: u64,
    /// Ids of ended sessions that are remembered, also over a restart; then older sessions end too.
    pub ended_sessions_max: usize,
    /// A client's answer to a request of ours: a person may have to fill in a form.
    pub answer_s_max: u64,
    /// Entries of a list in one answer; clients ask for the next page.
    pub page_entries_max: usize,
    /// Silence on an event stream until a comment line is sent: proxies and clients give up
    /// after 30 to 60 s.
    pub heartbeat_ms: u64,
    /// Places for calls that generate, load or download, beyond those of the model servers'
    /// own queues (`concurrency` and `queue` of each): for loads and downloads, which take none,
    /// and for those who are told that a queue is full.
    pub calls_spare_max: usize,
    /// Such calls waiting for a place: more than a burst is a storm.
    pub calls_waiting_max: usize,
    /// All other calls, which wait on the upstream only shortly, on the threads of the clients
    /// that make them: more at once would only wait on each other there.
    pub quick_calls_alone_max: usize,
    /// Threads for those beyond it, and for those of clients that have no thread of their own.
    pub quick_calls_running_max: usize,
    /// Such calls waiting.
    pub quick_calls_waiting_max: usize,
    /// Conversations that are kept; the one that was not used for longest goes first.
    pub conversations_max: usize,
    /// The texts of one of them: no local model reads more at once.
    pub conversation_bytes_max: usize,
    /// From its last turn until a conversation is forgotten: a day's work.
    pub conversation_idle_s_max: u64,
    /// Sessions whose own default model is remembered; the oldest choice goes first.
    pub session_models_max: usize,
    /// The configuration file: far more than every key with a page of comments.
    pub config_file_bytes_max: usize,
    /// Model servers: a home has a few, and each is asked again and again whether it is there.
    pub upstreams_max: usize,
    /// Prompts of the owner's: a menu of more is no menu.
    pub prompts_max: usize,
    /// The file of one prompt.
    pub prompt_file_bytes_max: usize,
    /// One prompt with its arguments filled in, since a text may name an argument many times.
    pub prompt_bytes_max: usize,
    /// From the first signal until what still runs is cut: container runtimes kill after 10 s.
    pub drain_ms_max: u64,
}

impl Limits {
    /// The limits of a process that may open `descriptors_max` files.
    #[must_use]
    pub fn new(descriptors_max: u64) -> Self {
        let connections = descriptors_max.saturating_sub(DESCRIPTORS_KEPT) / 4;
        let connections_max = usize::try_from(connections)
            .unwrap_or(usize::MAX)
            .clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        Self {
            connections_max,
            connections_per_address_max: 512,
            connections_per_loopback_max: 1024,
            head_bytes_max: 16 * KIB,
            head_ms_max: 10_000,
            handshake_ms_max: 10_000,
            body_bytes_max: 32 * MIB,
            body_values_max: 256 * KIB,
            body_ms_max: 60_000,
            bodies_bytes_max: 128 * MIB,
            reply_bytes_max: 64 * MIB,
            replies_bytes_max: 128 * MIB,
            write_ms_max: 30_000,
            keep_alive_ms_max: 120_000,
            streams_max: (connections_max - connections_max / 8).max(1),
            outbox_events_max: 64,
            outbox_bytes_max: 16 * MIB,
            listens_max: (connections_max / 4).max(1),
            kept_sessions_max: (connections_max - connections_max / 8).max(1),
            session_idle_s_max: 12 * 3600,
            ended_sessions_max: 4096,
            answer_s_max: 600,
            page_entries_max: 100,
            heartbeat_ms: 15_000,
            calls_spare_max: 8,
            calls_waiting_max: 16,
            quick_calls_alone_max: 32,
            quick_calls_running_max: 4,
            quick_calls_waiting_max: 64,
            conversations_max: 64,
            conversation_bytes_max: MIB,
            conversation_idle_s_max: 24 * 3600,
            session_models_max: 1024,
            config_file_bytes_max: 64 * KIB,
            upstreams_max: 16,
            prompts_max: 64,
            prompt_file_bytes_max: 64 * KIB,
            prompt_bytes_max: 32 * MIB,
            drain_ms_max: 5_000,
        }
    }
}

impl Default for Limits {
    /// For 1,024 descriptors, the least that systems give.
    fn default() -> Self {
        Self::new(1024)
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// For listeners, logs, files, the upstream's pool, and the second that an accept needs.
const DESCRIPTORS_KEPT: u64 = 128;
const CONNECTIONS_MAX: usize = 4096;
/// A client takes two or three; with fewer, a stream would keep out its own requests.
const CONNECTIONS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_the_descriptors() {
        for (descriptors, connections, streams) in [
            (0, 8, 7),
            (256, 32, 28),
            (1024, 224, 196),
            (1 << 20, 4096, 3584),
            (u64::MAX, 4096, 3584),
        ] {
            let limits = Limits::new(descriptors);
            assert_eq!((limits.connections_max, limits.streams_max), (connections, streams));
        }
    }
}
