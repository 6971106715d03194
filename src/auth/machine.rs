//! What this machine is called and which addresses it has, asked of the system and kept a while.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::worker::lock;

use super::home::Interface;

/// The machine's interfaces, asked of the system at most once a minute.
#[derive(Debug)]
pub struct Interfaces(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    at: Instant,
    interfaces: Arc<[Interface]>,
}

impl Interfaces {
    /// Asks the system once. A system that does not tell counts as one without interfaces, which
    /// makes the home rule stricter.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new(Seen { at: Instant::now(), interfaces: list(&[]) }))
    }

    /// The interfaces as they are, or were up to a minute ago.
    #[must_use]
    pub fn current(&self) -> Arc<[Interface]> {
        let known = {
            let mut seen = lock(&self.0);
            if seen.at.elapsed() < REFRESH_AFTER {
                return Arc::clone(&seen.interfaces);
            }
            // Claimed before asking, so that one thread asks while the others go on.
            seen.at = Instant::now();
            Arc::clone(&seen.interfaces)
        };
        let fresh = list(&known);
        lock(&self.0).interfaces = Arc::clone(&fresh);
        fresh
    }

    /// The addresses of [`Self::current`].
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.current().iter().map(|interface| interface.address).collect()
    }
}

impl Default for Interfaces {
    fn default() -> Self {
        Self::new()
    }
}

/// What the machine calls itself; empty when it has no name.
#[must_use]
pub fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn list(before: &[Interface]) -> Arc<[Interface]> {
    match if_addrs::get_if_addrs() {
        Ok(found) => found.iter().map(interface).collect(),
        Err(error) => {
            log::warn!("the system does not list its network interfaces: {error}");
            before.into()
        }
    }
}

fn interface(found: &if_addrs::Interface) -> Interface {
    match &found.addr {
        if_addrs::IfAddr::V4(own) => {
            Interface { address: IpAddr::V4(own.ip), prefix_bits: own.prefixlen }
        }
        if_addrs::IfAddr::V6(own) => {
            Interface { address: IpAddr::V6(own.ip), prefix_bits: own.prefixlen }
        }
    }
}

/// An address that the router just gave counts after a minute; asking costs some 100 µs.
const REFRESH_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_loopback_address() {
        assert!(Interfaces::new().addresses().iter().any(IpAddr::is_loopback));
    }
}
