//! Session ids: unguessable, and never proof of who somebody is.

use std::fmt;

/// 128 random bits in the shape of a UUID. Made from random bytes only; a client's text is
/// compared with it, never turned into one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// An id from 128 bits of the system's random source.
    #[must_use]
    pub fn mint(random: [u8; 16]) -> Self {
        let mut text = String::with_capacity(36);
        for (at, byte) in random.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text)
    }

    /// The whole id: for the client that owns it and nobody else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that may stand in a log or a thread's name.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..6).unwrap_or_default()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", self.short())
    }
}

impl std::borrow::Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}
