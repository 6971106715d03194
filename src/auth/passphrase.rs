//! The owner's passphrase: made, hashed with argon2id, compared. The hash is kept in the usual text
//! form (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`).

use std::sync::Mutex;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::error::AuthError;
use super::token::same;
use crate::worker::lock;

/// A new passphrase: 25 letters and digits in groups of five, 125 bits.
/// Errors: the system has no random bytes.
pub fn new_passphrase() -> Result<String, AuthError> {
    let mut text = String::with_capacity(29);
    for (place, byte) in random::<25>()?.into_iter().enumerate() {
        if place > 0 && place % 5 == 0 {
            text.push('-');
        }
        // Without the letters and digits that look alike.
        let letter = ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'x');
        text.push(char::from(letter));
    }
    Ok(text)
}

/// The argon2id string of a passphrase; takes a tenth of a second and 34 MiB of memory.
/// Errors: it is too short to resist guessing, or the system has no random bytes.
pub fn hash_passphrase(passphrase: &str) -> Result<String, AuthError> {
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(AuthError::Short(PASSPHRASE_CHARS_MIN));
    }
    let salt = random::<16>()?;
    let cost = Cost { kib: COST_KIB, passes: COST_PASSES };
    let hash = derive(passphrase, &salt, cost).ok_or(AuthError::Random)?;
    Ok(format!(
        "$argon2id$v=19$m={COST_KIB},t={COST_PASSES},p=1${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    ))
}

/// Whether a passphrase is the one of an argon2id string. An unreadable string fits nothing.
#[must_use]
pub fn is_passphrase(passphrase: &str, kept: &str) -> bool {
    let Some((cost, salt, hash)) = parse(kept) else { return false };
    // Longer than anybody types: work must not follow from what a stranger sends.
    if passphrase.len() > PASSPHRASE_BYTES_MAX {
        return false;
    }
    derive(passphrase, &salt, cost).is_some_and(|derived| same(&derived, &hash))
}

#[derive(Clone, Copy)]
struct Cost {
    kib: u32,
    passes: u32,
}

fn parse(kept: &str) -> Option<(Cost, Vec<u8>, Vec<u8>)> {
    let rest = kept.strip_prefix("$argon2id$v=19$m=")?;
    let (kib, rest) = rest.split_once(",t=")?;
    let (passes, rest) = rest.split_once(",p=1$")?;
    let (salt, hash) = rest.split_once('$')?;
    let cost = Cost { kib: kib.parse().ok()?, passes: passes.parse().ok()? };
    Some((cost, STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?))
}

fn derive(passphrase: &str, salt: &[u8], cost: Cost) -> Option<[u8; 32]> {
    // One at a time: the memory of many would be what an attacker asks for.
    let _alone = lock(&ALONE);
    let params = Params::new(cost.kib, cost.passes, 1, Some(32)).ok()?;
    let mut blocks = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; 32];
    argon2
        .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut hash, &mut blocks)
        .ok()?;
    Some(hash)
}

fn random<const N: usize>() -> Result<[u8; N], AuthError> {
    let mut bytes = [0; N];
    // ring's error carries nothing.
    SystemRandom::new().fill(&mut bytes).map_err(|ring::error::Unspecified| AuthError::Random)?;
    Ok(bytes)
}

static ALONE: Mutex<()> = Mutex::new(());
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// Above 32 MiB, where allocators map a buffer of its own and give it back at once.
const COST_KIB: u32 = 34 * 1024;
const COST_PASSES: u32 = 2;
/// Shorter ones can be guessed by those who get hold of the file.
const PASSPHRASE_CHARS_MIN: usize = 12;
const PASSPHRASE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_passphrase_is_new_fits_its_hash_and_no_other_does() {
        let (one, two) = (new_passphrase().unwrap(), new_passphrase().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 29, "{one}");
        let kept = hash_passphrase(&one).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=34816,t=2,p=1$") && !kept.contains(&one));
        assert!(is_passphrase(&one, &kept));
        assert_ne!(kept, hash_passphrase(&one).unwrap(), "the salt is new");
        for wrong in
            [two.as_str(), "", one.get(1..).unwrap(), &format!("{one} "), &"a".repeat(5000)]
        {
            assert!(!is_passphrase(wrong, &kept), "{wrong}");
        }
        assert!(!is_passphrase(&one, "") && !is_passphrase(&one, kept.get(1..).unwrap()));
        assert!(matches!(hash_passphrase("elevenchars"), Err(AuthError::Short(12))));
    }

    #[test]
    fn the_hash_is_argon2id_as_others_compute_it() {
        // From the reference program: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32
        let kept = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(is_passphrase("password", kept));
        assert!(!is_passphrase("Password", kept));
    }
}
