//! How often an address may do what strangers may do. A fixed table: a flood from many addresses
//! costs no memory; two that fall into one place share its counts, which only makes them stricter.
//! Addresses at home have places of their own, or a flood from many would fill those too.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Mutex;

use super::home::is_home_peer;
use crate::worker::lock;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A wrong bearer was presented.
    WrongBearer,
    /// A client was registered.
    Register,
    /// The consent page was asked for.
    Authorize,
    /// Tokens were asked for, or revoked.
    Token,
    /// The owner's proof was tried.
    Proof,
    /// A code was said on the console.
    Code,
}

impl Deed {
    /// How often in how many seconds.
    #[must_use]
    pub fn limit(self) -> (u32, i64) {
        match self {
            Self::WrongBearer | Self::Authorize => (60, 60),
            Self::Register => (30, 60),
            Self::Token => (120, 60),
            Self::Proof => (5, 900),
            Self::Code => (3, 60),
        }
    }
}

/// Counts deeds by address.
pub struct Throttle {
    hasher: RandomState,
    slots: Mutex<Vec<[Count; DEEDS]>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Seconds since 1970; 32 bits are good until 2106.
    since_s: u32,
    count: u32,
}

impl Count {
    /// Counts one more; else the seconds until it may be tried again.
    fn take(&mut self, (max, window_s): (u32, i64), now_s: i64) -> Result<(), u64> {
        let passed = now_s.saturating_sub(self.since_s.into());
        // A clock that was set back begins anew.
        if passed >= window_s || passed < 0 {
            *self = Self { since_s: u32::try_from(now_s).unwrap_or(u32::MAX), count: 0 };
        }
        if self.count >= max {
            let wait = window_s - now_s.saturating_sub(self.since_s.into());
            return Err(u64::try_from(wait).unwrap_or(1).max(1));
        }
        self.count += 1;
        Ok(())
    }
}

impl Throttle {
    /// Nobody has done anything yet.
    #[must_use]
    pub fn new() -> Self {
        let slots = Mutex::new(vec![[Count::default(); DEEDS]; HOME + WIDE]);
        Self { hasher: RandomState::new(), slots }
    }

    /// Counts a deed of an address. Errors: it did so too often; the seconds to wait.
    pub fn take(&self, who: IpAddr, deed: Deed, now_s: i64) -> Result<(), u64> {
        self.with(who, deed, |count| count.take(deed.limit(), now_s)).unwrap_or(Ok(()))
    }

    /// Takes one back: what was done was right after all.
    pub fn give_back(&self, who: IpAddr, deed: Deed) {
        self.with(who, deed, |count| count.count = count.count.saturating_sub(1));
    }

    /// Forgets every count of a deed.
    pub fn forget(&self, deed: Deed) {
        for slot in lock(&self.slots).iter_mut() {
            if let Some(count) = slot.get_mut(deed as usize) {
                *count = Count::default();
            }
        }
    }

    fn with<T>(&self, who: IpAddr, deed: Deed, what: impl FnOnce(&mut Count) -> T) -> Option<T> {
        let who = network(who);
        let (first, count) = if is_home_peer(who, &[]) { (0, HOME) } else { (HOME, WIDE) };
        let place = usize::try_from(self.hasher.hash_one(who) % count as u64);
        let mut slots = lock(&self.slots);
        let slot = place.ok().and_then(|place| slots.get_mut(first + place));
        slot.and_then(|slot| slot.get_mut(deed as usize)).map(what)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Throttle")
    }
}

/// One deed of everybody together.
#[derive(Debug, Default)]
pub struct Together(Mutex<Count>);

impl Together {
    /// Counts one of at most `max` in `window_s` seconds. Errors: the seconds to wait.
    pub fn take(&self, max: u32, window_s: i64, now_s: i64) -> Result<(), u64> {
        lock(&self.0).take((max, window_s), now_s)
    }

    /// Takes one back.
    pub fn give_back(&self) {
        let mut count = lock(&self.0);
        count.count = count.count.saturating_sub(1);
    }

    /// Forgets the count.
    pub fn forget(&self) {
        *lock(&self.0) = Count::default();
    }
}

/// Who counts as one: whoever has one address of an IPv6 network has 2^64 of them. At home each has
/// its own, since they share one network.
#[must_use]
pub fn network(who: IpAddr) -> IpAddr {
    match who.to_canonical() {
        IpAddr::V6(v6) if !is_home_peer(IpAddr::V6(v6), &[]) => {
            IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into())
        }
        other => other,
    }
}

const DEEDS: usize = Deed::Code as usize + 1;
/// 30 KiB in all; a household and its attackers have fewer addresses at a time.
const HOME: usize = 128;
const WIDE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_count_until_the_window_is_over() {
        let throttle = Throttle::new();
        let (one, two): (IpAddr, IpAddr) =
            ("203.0.113.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        for _ in 0..5 {
            assert_eq!(throttle.take(one, Deed::Proof, 1000), Ok(()));
        }
        assert_eq!(throttle.take(one, Deed::Proof, 1100), Err(800));
        assert_eq!(throttle.take(one, Deed::Token, 1100), Ok(()));
        throttle.give_back(one, Deed::Proof);
        assert_eq!(throttle.take(one, Deed::Proof, 1100), Ok(()));
        assert_eq!(throttle.take(one, Deed::Proof, 1899), Err(1));
        assert_eq!(throttle.take(one, Deed::Proof, 1900), Ok(()));
        for _ in 0..5 {
            assert_eq!(throttle.take(two, Deed::Proof, 1000), Ok(()));
        }
        let neighbor = "2001:db8::2".parse().unwrap();
        assert!(throttle.take(neighbor, Deed::Proof, 1000).is_err(), "of the same network");
        throttle.forget(Deed::Proof);
        assert_eq!(throttle.take(neighbor, Deed::Proof, 1000), Ok(()));
    }
    #[test]
    fn strangers_from_everywhere_fill_no_place_of_the_house() {
        let throttle = Throttle::new();
        let stranger =
            |number: u32| IpAddr::from((u128::from(0x2a02_0000 + number) << 96).to_be_bytes());
        for number in 0..200_000 {
            throttle.take(stranger(number), Deed::Register, 1000).unwrap_or_default();
        }
        assert!(throttle.take(stranger(200_000), Deed::Register, 1000).is_err());
        for home in ["127.0.0.1", "::1", "192.168.1.9", "100.64.1.1", "fd00::9", "fe80::9"] {
            assert_eq!(
                throttle.take(home.parse().unwrap(), Deed::Register, 1000),
                Ok(()),
                "{home}"
            );
        }
    }
}
