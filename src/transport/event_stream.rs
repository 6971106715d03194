//! Event framing (HTML, "Server-sent events"): pure text, one event a message.

/// The fields of every event stream: nothing on the way may buffer, cache or rewrite it.
pub(super) const EVENT_STREAM_FIELDS: &[(&str, &str)] =
    &[("Cache-Control", "no-cache, no-transform"), ("X-Accel-Buffering", "no")];

/// Appends one event. `data` must be one line, as JSON from this program is.
pub(super) fn event(name: &str, data: &str, out: &mut Vec<u8>) {
    out.reserve(name.len() + data.len() + 16);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(data.as_bytes());
    out.extend_from_slice(b"\n\n");
}
