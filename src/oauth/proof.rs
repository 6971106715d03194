//! Whether it is the owner who allows a login, and how often that may be tried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::login::Login;
use super::{Asked, Oauth, Proof};
use crate::auth::{Deed, Together, is_passphrase};
use crate::worker::lock;

/// What was tried so far.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// All addresses together, but for programs on this machine: what many do must not lock the
    /// owner out of the box itself.
    everywhere: Together,
    /// The same for addresses at home, so that strangers cannot lock the house out either.
    house: Together,
    /// Programs on this machine.
    here: Together,
    /// Codes that were said for strangers, and for addresses at home.
    said: Together,
    said_house: Together,
    /// Wrong codes by login, with when the login ends.
    tries: Mutex<HashMap<String, (u8, i64)>>,
    /// The passphrase's hash that the counts are about.
    about: Mutex<Option<Arc<str>>>,
}

impl Guard {
    /// With whom a client shares its attempts.
    fn together(&self, asked: &Asked<'_>) -> &Together {
        if asked.house { &self.house } else { &self.everywhere }
    }
}

/// What a proof was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// The owner's.
    Right,
    /// Somebody else's, or mistyped.
    Wrong,
    /// Not looked at; the seconds to wait.
    TooOften(u64),
    /// A code for this login is not taken any more.
    Over,
}

impl Oauth {
    /// Compares a proof. What is counted is counted before the work is done, so that attempts at
    /// the same time count too.
    pub(super) fn prove(&self, asked: &Asked<'_>, login: &Login, proof: &str) -> Checked {
        let now_s = self.now_s();
        let kept = self.ground.authenticator.passphrase();
        self.forget_other(kept.as_ref());
        let guard = &self.guard;
        let counted = if asked.here {
            guard.here.take(HERE.0, HERE.1, now_s)
        } else {
            // What is refused was not tried: one address must not use up everybody's.
            self.throttle.take(asked.client, Deed::Proof, now_s).and_then(|()| {
                let taken = guard.together(asked).take(EVERYWHERE.0, EVERYWHERE.1, now_s);
                taken.inspect_err(|_| self.throttle.give_back(asked.client, Deed::Proof))
            })
        };
        if let Err(wait_s) = counted {
            return Checked::TooOften(wait_s);
        }
        let checked = match self.settings.proof {
            Proof::Passphrase => match kept {
                Some(kept) if is_passphrase(proof.trim(), &kept) => Checked::Right,
                _ => Checked::Wrong,
            },
            Proof::Console => self.check_code(login, proof),
        };
        if checked == Checked::Right {
            if asked.here {
                guard.here.give_back();
            } else {
                guard.together(asked).give_back();
                self.throttle.give_back(asked.client, Deed::Proof);
            }
        }
        checked
    }

    /// Says the code of a login where the server runs. Errors: that was done too often; the seconds
    /// to wait.
    pub(super) fn say_code(&self, asked: &Asked<'_>, login: &Login) -> Result<(), u64> {
        if !asked.here {
            let now_s = self.now_s();
            self.throttle.take(asked.client, Deed::Code, now_s)?;
            let said = if asked.house { &self.guard.said_house } else { &self.guard.said };
            said.take(SAID.0, SAID.1, now_s)
                .inspect_err(|_| self.throttle.give_back(asked.client, Deed::Code))?;
        }
        let code = self.code(login);
        let (first, last) = code.split_at_checked(4).unwrap_or((&code, ""));
        (self.ground.say)(&format!(
            "  login {}  {:?} wants to come in, answer goes to {}; if that is you, the code is \
             {first} {last}\n",
            login.short(),
            login.name,
            login.redirect_shown()
        ));
        Ok(())
    }

    fn check_code(&self, login: &Login, proof: &str) -> Checked {
        let now_s = self.now_s();
        let mut tries = lock(&self.guard.tries);
        tries.retain(|_, (_, until_s)| *until_s > now_s);
        let (tried, _) = *tries.get(&login.nonce).unwrap_or(&(0, 0));
        if tried >= CODE_TRIES_MAX {
            return Checked::Over;
        }
        let typed: String = proof.chars().filter(char::is_ascii_digit).collect();
        // Digests, so that the time tells nothing of the code.
        if super::codes::digest(&typed) == super::codes::digest(&self.code(login)) {
            return Checked::Right;
        }
        // Bounded by how often anything may be tried.
        tries.insert(login.nonce.clone(), (tried + 1, login.until_s));
        Checked::Wrong
    }

    /// Follows from the login, so that it is kept nowhere.
    fn code(&self, login: &Login) -> String {
        let tag = self.ground.seal.tag("oauth-console-code", login.nonce.as_bytes());
        let mixed = super::codes::digest(&tag);
        let number = mixed.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        format!("{:08}", number % 100_000_000)
    }

    /// Counts are about one passphrase: with a new one the owner begins anew.
    fn forget_other(&self, kept: Option<&Arc<str>>) {
        let mut about = lock(&self.guard.about);
        if about.as_ref() != kept {
            if about.is_some() {
                self.guard.everywhere.forget();
                self.guard.house.forget();
                self.guard.here.forget();
                self.throttle.forget(Deed::Proof);
            }
            *about = kept.map(Arc::clone);
        }
    }
}

/// Wrong proofs of all addresses together, at home and elsewhere: how many in how many seconds.
const EVERYWHERE: (u32, i64) = (20, 900);
/// Those of programs on this machine.
const HERE: (u32, i64) = (5, 60);
/// Codes said for strangers, and at home.
const SAID: (u32, i64) = (10, 60);
const CODE_TRIES_MAX: u8 = 3;
