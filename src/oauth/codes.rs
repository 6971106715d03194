//! Authorization codes: in memory only, good for a minute and once. A code that comes twice is in
//! other hands, so what it gave is taken back.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::auth::TokenId;
use crate::worker::lock;

/// What a code stands for.
#[derive(Clone, Debug)]
pub(super) struct Approved {
    pub(super) client_id: String,
    pub(super) client_name: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    /// The public URL.
    pub(super) audience: String,
    /// What the client named, in canonical form; the public URL itself where it named nothing.
    pub(super) resource: String,
    pub(super) scope: String,
    /// By which the steps of one login are found in the log.
    pub(super) login: String,
}

/// Codes by their SHA-256.
#[derive(Debug, Default)]
pub(super) struct Codes(Mutex<HashMap<[u8; 32], Kept>>);

#[derive(Debug)]
struct Kept {
    until_s: i64,
    state: Stage,
}

#[derive(Debug)]
enum Stage {
    Fresh(Approved),
    /// Taken, and perhaps already turned into this grant.
    Used(Option<TokenId>),
    /// Came again before it was turned into a grant.
    Burnt,
}

/// What a code was when it came.
#[derive(Debug)]
pub(super) enum Taken {
    /// Good; nobody else gets it.
    Good(Approved),
    /// Used before; the grant that came of it, if it has by now.
    Again(Option<TokenId>),
    /// Unknown or too old.
    Unknown,
}

impl Codes {
    /// Keeps a new code.
    pub(super) fn put(&self, code: &str, approved: Approved, now_s: i64) {
        let mut codes = lock(&self.0);
        codes.retain(|_, kept| kept.until_s > now_s);
        // Only the owner makes codes.
        if codes.len() < CODES_MAX {
            let kept = Kept { until_s: now_s + CODE_S_MAX, state: Stage::Fresh(approved) };
            codes.insert(digest(code), kept);
        }
    }

    /// Takes a code, whatever becomes of it; `fits` may leave a fresh one as it is.
    pub(super) fn take(&self, code: &str, now_s: i64) -> Taken {
        let mut codes = lock(&self.0);
        codes.retain(|_, kept| kept.until_s > now_s);
        let Some(kept) = codes.get_mut(&digest(code)) else { return Taken::Unknown };
        match std::mem::replace(&mut kept.state, Stage::Burnt) {
            Stage::Fresh(approved) => {
                *kept = Kept { until_s: now_s + USED_S_KEPT, state: Stage::Used(None) };
                Taken::Good(approved)
            }
            Stage::Used(grant) => {
                // Without a grant yet, whoever makes it finds this out.
                if grant.is_some() {
                    kept.state = Stage::Used(grant);
                }
                Taken::Again(grant)
            }
            Stage::Burnt => Taken::Again(None),
        }
    }

    /// Notes what a code was turned into; `false` when it came again meanwhile.
    pub(super) fn turned_into(&self, code: &str, grant: TokenId) -> bool {
        let mut codes = lock(&self.0);
        let Some(kept) = codes.get_mut(&digest(code)) else { return true };
        if matches!(kept.state, Stage::Burnt) {
            return false;
        }
        kept.state = Stage::Used(Some(grant));
        true
    }
}

/// A code, as it is kept.
pub(super) fn digest(code: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    let digest = ring::digest::digest(&ring::digest::SHA256, code.as_bytes());
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// OAuth 2.1 wants ten minutes at most; clients take a second.
const CODE_S_MAX: i64 = 60;
/// How long a used code is recognized.
const USED_S_KEPT: i64 = 600;
const CODES_MAX: usize = 64;
