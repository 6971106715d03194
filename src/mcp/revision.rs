//! The protocol revisions, and what each of them has.

use std::fmt;

/// A revision, in the order of their dates. All but the last open with `initialize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// 2024-11-05.
    V2024_11_05,
    /// 2025-03-26: batches, tool annotations, `message` in progress.
    V2025_03_26,
    /// 2025-06-18: titles, structured results.
    V2025_06_18,
    /// 2025-11-25: icons, URL elicitation, streams that begin with an event id.
    V2025_11_25,
    /// 2026-07-28: no handshake, everything with each request.
    V2026_07_28,
}

impl Revision {
    /// Those that open with `initialize`, oldest first.
    pub const LEGACY: [Self; 4] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];

    /// The newest that opens with `initialize`.
    pub const NEWEST: Self = Self::V2025_11_25;
    /// The one without a handshake.
    pub const MODERN: Self = Self::V2026_07_28;

    /// The revision with this date, if it opens with `initialize`.
    #[must_use]
    pub fn known(version: &str) -> Option<Self> {
        Self::LEGACY.into_iter().find(|revision| revision.as_str() == version)
    }

    /// The revision for a client that asks for `version`: that one if it is known, else the newest
    /// that opens with a handshake (2025-11-25, lifecycle, "Version Negotiation").
    #[must_use]
    pub fn negotiate(version: &str) -> Self {
        Self::known(version).unwrap_or(Self::NEWEST)
    }

    /// As it stands in `protocolVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether a body may hold a batch (2025-03-26 and there only).
    #[must_use]
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// Whether tools have `annotations` and progress has a `message`.
    #[must_use]
    pub fn has_annotations(self) -> bool {
        self >= Self::V2025_03_26
    }

    /// Whether requests stand alone: no handshake, no session (2026-07-28, versioning).
    #[must_use]
    pub fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }

    /// Whether a client's parser takes an event with an id and no data, so that a stream can be
    /// resumed from its very beginning (2025-11-25, transports, "Sending Messages to the Server").
    #[must_use]
    pub fn primes_streams(self) -> bool {
        self == Self::V2025_11_25
    }

    /// Whether there are `title`, `outputSchema` and `structuredContent`.
    #[must_use]
    pub fn has_structured_results(self) -> bool {
        self >= Self::V2025_06_18
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_revision_is_kept_and_any_other_gets_the_newest() {
        for revision in Revision::LEGACY {
            assert_eq!(Revision::negotiate(revision.as_str()), revision);
        }
        for other in ["2024-10-07", "2026-07-28", "9999-01-01", ""] {
            assert_eq!(Revision::negotiate(other), Revision::V2025_11_25);
        }
    }
}
