//! Session ids that say themselves what they are, so that a session outlives the server that
//! opened it.

use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::ended::EndedIds;
use crate::auth::Principal;
use crate::mcp::{ClientFeatures, Revision};
use crate::seal::Seal;

/// Issues and recognizes the ids of `Mcp-Session-Id` (2025-03-26 to 2025-11-25, Streamable HTTP,
/// "Session Management"). Nothing is kept of a session but that it was ended.
#[derive(Debug)]
pub struct LegacyTickets {
    seal: Arc<Seal>,
    ended: EndedIds,
}

/// What a session id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// What `initialize` settled on.
    pub revision: Revision,
    /// What the client said that it can be asked for.
    pub features: ClientFeatures,
    /// Tells sessions apart; never proof of anything.
    pub nonce: [u8; 16],
    /// When the session began, in seconds since 1970.
    pub issued_s: u64,
}

impl Ticket {
    /// The part that may stand in a log or a thread's name.
    #[must_use]
    pub fn short(&self) -> String {
        self.nonce.iter().take(3).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl LegacyTickets {
    /// Ids under this seal, but for those that were ended.
    #[must_use]
    pub fn new(seal: Arc<Seal>, ended: EndedIds) -> Self {
        Self { seal, ended }
    }

    /// A new session's id: about 90 characters of visible ASCII, good for 30 days and for this
    /// principal. `now_s` is in seconds since 1970. A revision without sessions gets an id that
    /// nobody recognizes.
    #[must_use]
    pub fn issue(
        &self,
        principal: &Principal,
        revision: Revision,
        features: ClientFeatures,
        now_s: u64,
        random: [u8; 16],
    ) -> String {
        // Where all sessions up to now were ended, a new one counts from behind them.
        let issued_s = now_s.max(self.ended.not_before_s());
        let place = REVISIONS.iter().position(|date| *date == revision.as_str());
        let place = place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX);
        let mut payload = vec![VERSION, place, to_bits(features)];
        payload.extend(issued_s.to_be_bytes());
        payload.extend(digest_of(principal));
        payload.extend(random);
        self.seal.sign(PURPOSE, &payload)
    }

    /// What an id says. `None`: it is forged, expired, of another principal, ended, or of a server
    /// whose clock is far ahead. The client cannot tell which, and begins anew.
    #[must_use]
    pub fn check(&self, id: &str, principal: &Principal, now_s: u64) -> Option<Ticket> {
        let payload = self.seal.verify(PURPOSE, id)?;
        let ([version, place, bits], rest) = payload.split_first_chunk()?;
        let (issued_s, rest) = rest.split_first_chunk()?;
        let (whose, rest) = rest.split_first_chunk::<8>()?;
        let nonce = rest.try_into().ok()?;
        let ticket = Ticket {
            revision: REVISIONS.get(usize::from(*place)).and_then(|date| Revision::known(date))?,
            features: from_bits(*bits)?,
            nonce,
            issued_s: u64::from_be_bytes(*issued_s),
        };
        let expired = ticket.issued_s.saturating_add(LIFE_S) <= now_s;
        let latest_s = now_s.max(self.ended.not_before_s()).saturating_add(AHEAD_S_MAX);
        let good = *version == VERSION
            && *whose == digest_of(principal)
            && !expired
            && ticket.issued_s <= latest_s
            && !self.ended.contains(nonce, ticket.issued_s, now_s);
        good.then_some(ticket)
    }

    /// Ends a session for good, as its client asked (HTTP DELETE). `now_s` is in seconds since
    /// 1970.
    pub fn end(&self, ticket: &Ticket, now_s: u64) {
        self.ended.end(ticket.nonce, ticket.issued_s, now_s);
    }
}

fn digest_of(principal: &Principal) -> [u8; 8] {
    let mut bytes = [0; 8];
    let identity = principal.identity();
    for (to, from) in bytes.iter_mut().zip(digest(&SHA256, identity.as_bytes()).as_ref()) {
        *to = *from;
    }
    bytes
}

fn to_bits(features: ClientFeatures) -> u8 {
    let ClientFeatures { sampling, elicitation, elicitation_url, roots } = features;
    [sampling, elicitation, elicitation_url, roots]
        .into_iter()
        .rev()
        .fold(0, |bits, feature| bits << 1 | u8::from(feature))
}

fn from_bits(bits: u8) -> Option<ClientFeatures> {
    let has = |bit: u8| bits & 1 << bit != 0;
    let features = ClientFeatures {
        sampling: has(0),
        elicitation: has(1),
        elicitation_url: has(2),
        roots: has(3),
    };
    (bits < 1 << 4).then_some(features)
}

/// How long an id is good: clients on a desktop stay open for days.
pub(super) const LIFE_S: u64 = 30 * 24 * 60 * 60;
/// A clock may have been set back by this much since.
const AHEAD_S_MAX: u64 = 300;
const PURPOSE: &str = "session";
/// Of the payload; another one has another form.
const VERSION: u8 = 1;
/// An id has the place of its revision: never change the order.
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::auth::{Authenticator, Store, TokenSources};

    const NOW: u64 = 1_800_000_000;
    const NONCE: [u8; 16] = *b"0123456789abcdef";

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ticket-{name}-{}", std::process::id()));
            drop(std::fs::remove_dir_all(&path));
            Self(path)
        }

        fn start(&self, now_s: u64) -> LegacyTickets {
            let seal = Seal::open(&self.0).unwrap();
            let ended = EndedIds::open(Some(self.0.join("ended-sessions")), 4, now_s);
            LegacyTickets::new(Arc::new(seal), ended)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn tickets() -> LegacyTickets {
        let seal = Arc::new(Seal::random().unwrap());
        LegacyTickets::new(seal, EndedIds::open(None, 4, NOW))
    }

    fn issue(tickets: &LegacyTickets) -> String {
        let features = ClientFeatures { elicitation: true, ..ClientFeatures::default() };
        tickets.issue(&Principal::Home, Revision::V2025_06_18, features, NOW, NONCE)
    }

    /// The holder of a new token, after it was read from the store.
    fn holder(folder: &Path, name: &str) -> Principal {
        let token = Store::new(folder).add(name, 0).unwrap();
        let sources = TokenSources { state_folder: folder.to_owned(), file: None, value: None };
        Authenticator::open(sources, false).unwrap().authenticate(Some(&token), true, None).unwrap()
    }

    #[test]
    fn an_id_says_what_its_session_is() {
        let tickets = tickets();
        for revision in Revision::LEGACY {
            for bits in 0..16 {
                let features = from_bits(bits).unwrap();
                assert_eq!(to_bits(features), bits);
                let id = tickets.issue(&Principal::Home, revision, features, NOW, NONCE);
                let ticket = tickets.check(&id, &Principal::Home, NOW + 1).unwrap();
                assert_eq!(ticket, Ticket { revision, features, nonce: NONCE, issued_s: NOW });
            }
        }
        let id = issue(&tickets);
        assert!(id.len() < 100 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        assert_eq!(tickets.check(&id, &Principal::Home, NOW).unwrap().short(), "303132");
    }

    #[test]
    fn an_id_of_which_any_character_is_changed_is_none() {
        let tickets = tickets();
        let id = issue(&tickets);
        for at in 0..id.len() {
            for other in ["A", "B", "_", "", "=", "é"] {
                let mut changed = id.clone();
                changed.replace_range(at..=at, other);
                let known = tickets.check(&changed, &Principal::Home, NOW).is_some();
                assert_eq!(known, changed == id, "{changed}");
            }
        }
        for foreign in ["", "x", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(tickets.check(foreign, &Principal::Home, NOW), None);
        }
    }

    #[test]
    fn sealed_text_of_another_form_or_purpose_is_no_id() {
        let tickets = tickets();
        let payload = tickets.seal.verify(PURPOSE, &issue(&tickets)).unwrap();
        let checked = |purpose, payload: &[u8]| {
            tickets.check(&tickets.seal.sign(purpose, payload), &Principal::Home, NOW).is_some()
        };
        assert!(checked(PURPOSE, &payload) && !checked("state", &payload));
        for (at, wrong) in [(0, 0), (0, 2), (1, 4), (1, u8::MAX), (2, 16), (2, u8::MAX)] {
            let mut changed = payload.clone();
            changed[at] = wrong;
            assert!(!checked(PURPOSE, &changed), "{at} {wrong}");
        }
        assert!((0..payload.len()).all(|length| !checked(PURPOSE, &payload[..length])));
        assert!(!checked(PURPOSE, &[&payload[..], &[0]].concat()));
    }

    #[test]
    fn an_id_is_good_for_thirty_days_and_not_before_its_time() {
        let tickets = tickets();
        let id = issue(&tickets);
        let good = |now_s| tickets.check(&id, &Principal::Home, now_s).is_some();
        assert!(good(NOW - 300) && !good(NOW - 301) && !good(0));
        assert!(good(NOW + LIFE_S - 1) && !good(NOW + LIFE_S) && !good(u64::MAX));
    }

    #[test]
    fn an_id_is_good_for_its_principal_alone_and_a_new_token_of_the_same_name_is_another() {
        let folder = Folder::new("principals");
        crate::files::make_private_folder(&folder.0).unwrap();
        let desk = holder(&folder.0, "desk");
        let home = holder(&folder.0, "home");
        Store::new(&folder.0).revoke("desk").unwrap();
        let desk_again = holder(&folder.0, "desk");
        let all = [Principal::Home, desk, home, desk_again];
        let tickets = folder.start(NOW);
        for (at, owner) in all.iter().enumerate() {
            let features = ClientFeatures::default();
            let id = tickets.issue(owner, Revision::V2025_11_25, features, NOW, NONCE);
            for (other, principal) in all.iter().enumerate() {
                assert_eq!(tickets.check(&id, principal, NOW).is_some(), at == other);
            }
        }
    }

    #[test]
    fn a_session_survives_a_restart_and_so_does_its_end() {
        let folder = Folder::new("restart");
        let first = folder.start(NOW);
        let (kept, ended) = (issue(&first), {
            let features = ClientFeatures::default();
            first.issue(&Principal::Home, Revision::V2025_03_26, features, NOW, [1; 16])
        });
        first.end(&first.check(&ended, &Principal::Home, NOW).unwrap(), NOW);
        assert_eq!(first.check(&ended, &Principal::Home, NOW), None);
        drop(first);
        let second = folder.start(NOW + 60);
        assert!(second.check(&kept, &Principal::Home, NOW + 60).is_some());
        assert_eq!(second.check(&ended, &Principal::Home, NOW + 60), None);
    }

    #[test]
    fn a_session_opened_after_all_others_had_to_end_lives() {
        let folder = Folder::new("full");
        let tickets = folder.start(NOW);
        let old = issue(&tickets);
        for number in 0..5 {
            tickets.ended.end([number; 16], NOW, NOW);
        }
        assert_eq!(tickets.check(&old, &Principal::Home, NOW), None);
        // Within the same second, and also for a clock that was an hour ahead meanwhile.
        assert!(tickets.check(&issue(&tickets), &Principal::Home, NOW).is_some());
        std::fs::write(folder.0.join("ended-sessions"), "broken").unwrap();
        let ahead = folder.start(NOW + 3600);
        assert!(ahead.check(&issue(&ahead), &Principal::Home, NOW).is_some());
        assert_eq!(ahead.check(&old, &Principal::Home, NOW), None);
    }
}
