//! A token's text and its digest. What is kept is only ever the digest.

use std::fmt;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::error::AuthError;

/// Tells tokens apart in logs and sessions: the first 8 bytes of the digest, which say nothing of
/// the token. The same after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 8]);

impl TokenId {
    /// One that belongs to no token. Errors: the system has no random bytes.
    pub(super) fn random() -> Result<Self, AuthError> {
        let mut bytes = [0; 8];
        // ring's error carries nothing.
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|ring::error::Unspecified| AuthError::Random)?;
        Ok(Self(bytes))
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        bytes_of_hex(&text).map(Self).ok_or_else(|| D::Error::custom("an id is not 16 digits"))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SHA-256 of a token. A slow hash would add nothing to 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// In a time that does not depend on where the two differ.
    pub(super) fn equals(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }

    pub(super) fn id(&self) -> TokenId {
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(self.0) {
            *to = from;
        }
        TokenId(id)
    }

    pub(super) fn to_hex(self) -> String {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |half: u8| char::from(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        bytes_of_hex(text).map(Self)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| D::Error::custom("a sha256 is not 64 digits"))
    }
}

/// Whether two are the same, in a time that does not depend on where they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    one.len() == other.len() && differing == 0
}

fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |character: u8| char::from(character).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}..)", self.id())
    }
}

/// A new secret: a beginning by which leak scanners and people know it, and 256 random bits.
/// Errors: the system has no random bytes.
pub fn new_secret(kind: &str) -> Result<String, AuthError> {
    let mut bytes = [0; 32];
    // ring's error carries nothing.
    SystemRandom::new().fill(&mut bytes).map_err(|ring::error::Unspecified| AuthError::Random)?;
    Ok(format!("{kind}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Whether a text can be sent as a bearer (RFC 6750, section 2.1: `b64token`) and is long enough
/// not to be guessed over a network.
pub(super) fn is_fit(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    token.len() >= TOKEN_BYTES_MIN
        && token.len() <= TOKEN_BYTES_MAX
        && !body.is_empty()
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// Shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Longer ones leave too little of a request head.
const TOKEN_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_has_the_known_form_and_is_new() {
        let (one, two) = (new_secret("mcps_").unwrap(), new_secret("mcps_").unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 48);
        assert!(one.starts_with("mcps_") && is_fit(&one));
    }

    #[test]
    fn a_digest_survives_its_text_and_no_other_text_is_one() {
        let digest = Digest::of("abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_hex(), hex);
        assert!(Digest::from_hex(hex).unwrap().equals(&digest));
        assert!(!Digest::of("abd").equals(&digest));
        assert_eq!(digest.id().to_string(), "ba7816bf8f01cfea");
        for wrong in ["", "ba78", &hex.replace('b', "g"), &format!("{hex}0"), &format!("{hex}00")] {
            assert!(Digest::from_hex(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn only_what_can_be_sent_is_fit() {
        assert!(is_fit("0123456789abcde="));
        for wrong in ["", "short", "================", "sixteen charact s", "zwölfundmehrzeichen"]
        {
            assert!(!is_fit(wrong), "{wrong}");
        }
    }
}
