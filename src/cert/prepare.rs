//! Decides at start, and for `cert`, what has to be made in the state folder: nothing, a leaf, or
//! a CA and a leaf. A CA that is there and files of others are only ever read, unless asked.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;

use super::error::CertError;
use super::folder::{Files, Folder, read, write};
use super::issue;
use super::load::{Facts, Loaded, chain, day, first_facts, load};
use super::names::Names;
use crate::files::{PRIVATE, PUBLIC, Problem};

/// Whether the owner's clients have something to do after certificates were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A leaf of the CA that was there: nothing to do.
    Leaf,
    /// A CA too, which every client has to trust.
    AuthorityAndLeaf,
}

/// Makes or renews CA and leaf because the owner asked: the leaf always, the CA when it is
/// missing or expires within 30 days. Keys that are there are used again, so that a renewed CA
/// still vouches for old leaves.
/// Errors: a leaf that is not ours, files that cannot be read or written.
pub fn make(
    folder: &Path,
    machine: &str,
    addresses: &[IpAddr],
    extras: &[String],
    now_s: i64,
) -> Result<Made, CertError> {
    let folder = &Folder::new(folder);
    let names = &Names::new(machine, addresses, extras)?;
    let leaf = folder.leaf();
    let _lock = folder.lock()?;
    if leaf.cert.exists() && !is_ours(folder)? {
        return Err(CertError::Foreign(leaf.cert));
    }
    let authority = folder.authority();
    let renewed = match stored(&authority) {
        Ok(Some(stored)) if stored.facts.not_after_s > now_s + RENEW_WITHIN_S => false,
        Ok(_) => make_authority(&authority, machine, now_s).map(|()| true)?,
        Err(error) => return Err(error),
    };
    issue_leaf(folder, names, now_s)?;
    Ok(if renewed { Made::AuthorityAndLeaf } else { Made::Leaf })
}

/// Sees to it at start that there is something to serve: makes a CA and a leaf in an empty
/// folder, issues our own leaf again when a name is missing or expiry is near.
/// Errors: what is there cannot be used, and is not ours to replace.
pub(super) fn prepare(
    folder: &Folder,
    machine: &str,
    names: &Names,
    now_s: i64,
) -> Result<Loaded, CertError> {
    let leaf = folder.leaf();
    let authority = folder.authority();
    match (leaf.cert.exists(), leaf.key.exists()) {
        (true, false) => return Err(CertError::Half { missing: leaf.key, present: leaf.cert }),
        (true, true) => return renewed_if_needed(folder, names, now_s),
        // A start that was cut off after the key leaves the CA behind as well; a key alone is
        // somebody else's.
        (false, true) if !authority.cert.exists() => {
            return Err(CertError::Half { missing: leaf.cert, present: leaf.key });
        }
        (false, _) => {}
    }
    let _lock = folder.lock()?;
    if leaf.cert.exists() {
        // Another start was faster.
        return load(&leaf, Some(&authority.cert));
    }
    if stored(&authority)?.is_none() {
        make_authority(&authority, machine, now_s)?;
        log::info!("a CA was made: {}", authority.cert.display());
    }
    issue_leaf(folder, names, now_s)?;
    load(&leaf, Some(&authority.cert))
}

fn renewed_if_needed(folder: &Folder, names: &Names, now_s: i64) -> Result<Loaded, CertError> {
    let (leaf, authority) = (folder.leaf(), folder.authority());
    let loaded = load(&leaf, Some(&authority.cert))?;
    let missing = names.missing_in(&loaded.facts.names).join(", ");
    let ends_soon = loaded.facts.not_after_s < now_s + RENEW_WITHIN_S;
    if loaded.authority.is_none() || (missing.is_empty() && !ends_soon) {
        return Ok(loaded);
    }
    let reason = if ends_soon {
        format!("the old one expires on {}", day(loaded.facts.not_after_s))
    } else {
        format!("the old one lacks {missing}")
    };
    match issue_leaf(folder, &names.and(&loaded.facts.names), now_s) {
        Ok(()) => {
            log::info!("the certificate was issued again, since {reason}");
            load(&leaf, Some(&authority.cert))
        }
        // An owner who keeps the CA's key elsewhere still has a certificate that serves.
        Err(error) if loaded.facts.not_after_s > now_s => {
            log::warn!("the certificate is to be issued again, since {reason}, but {error}");
            Ok(loaded)
        }
        Err(error) => Err(error),
    }
}

/// Whether the leaf of the folder was issued by the CA of the folder.
fn is_ours(folder: &Folder) -> Result<bool, CertError> {
    let (leaf, authority) = (folder.leaf().cert, folder.authority().cert);
    if !authority.exists() {
        return Ok(false);
    }
    let facts = |path: &Path| first_facts(&chain(path)?, path);
    Ok(facts(&leaf)?.is_issued_by(&facts(&authority)?))
}

struct Stored {
    der: CertificateDer<'static>,
    key: KeyPair,
    facts: Facts,
}

/// Our CA, where it is complete; nothing where only the key or neither file is there.
fn stored(authority: &Files) -> Result<Option<Stored>, CertError> {
    if !authority.cert.exists() {
        return Ok(None);
    }
    let missing =
        || CertError::Half { missing: authority.key.clone(), present: authority.cert.clone() };
    let unfit = || CertError::Authority(authority.cert.clone());
    if !authority.key.exists() {
        return Err(missing());
    }
    let key = stored_key(authority)?;
    let chain = chain(&authority.cert)?;
    let facts = first_facts(&chain, &authority.cert)?;
    // Whether it has expired is the caller's to judge.
    match load(authority, None) {
        Err(CertError::Mismatch { .. }) => return Err(unfit()),
        other => drop(other?),
    }
    let der = chain.into_iter().next().ok_or_else(unfit)?;
    Ok(Some(Stored { der, key, facts }))
}

fn stored_key(files: &Files) -> Result<KeyPair, CertError> {
    let text = String::from_utf8(read(&files.key)?).ok();
    let key = text.and_then(|text| KeyPair::from_pem(&text).ok());
    key.ok_or_else(|| CertError::KeyKind(files.key.clone()))
}

/// Key first: a start that is cut off between the two leaves a key that the next one uses.
fn make_authority(authority: &Files, machine: &str, now_s: i64) -> Result<(), CertError> {
    let key = key_of(authority)?;
    let machine = if machine.is_empty() { "this machine" } else { machine };
    write(&authority.cert, &issue::authority(&key, machine, now_s)?, PUBLIC)
}

/// The leaf keeps its key, so that renewing it is the change of one file, in one step.
fn issue_leaf(folder: &Folder, names: &Names, now_s: i64) -> Result<(), CertError> {
    let (leaf, authority) = (folder.leaf(), folder.authority());
    let missing =
        || CertError::Half { missing: authority.cert.clone(), present: authority.key.clone() };
    let stored = stored(&authority)?.ok_or_else(missing)?;
    let not_after_s = stored.facts.not_after_s;
    if not_after_s <= now_s {
        return Err(CertError::AuthorityExpired(authority.cert, day(not_after_s)));
    }
    let key = key_of(&leaf)?;
    let made = issue::leaf(&key, &stored.der, &stored.key, names, (now_s, not_after_s))?;
    let authority = fs::read_to_string(&authority.cert)
        .map_err(|error| CertError::File(Problem::Read(authority.cert.clone(), error)))?;
    // With the CA behind it, one can also pin or inspect what a server sends.
    write(&leaf.cert, &format!("{made}{authority}"), PUBLIC)
}

fn key_of(files: &Files) -> Result<KeyPair, CertError> {
    if files.key.exists() {
        return stored_key(files);
    }
    let key = issue::key()?;
    write(&files.key, &key.serialize_pem(), PRIVATE)?;
    Ok(key)
}

/// Of our own leaf and, when asked, of our CA.
const RENEW_WITHIN_S: i64 = 30 * 24 * 60 * 60;
