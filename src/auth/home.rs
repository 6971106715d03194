//! The home rule as pure functions of addresses and names: who is at home, which Host is local.
//! Knows no socket and sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::order;

/// One address of this machine with the network it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The address.
    pub address: IpAddr,
    /// How many leading bits all addresses of its network share.
    pub prefix_bits: u8,
}

/// Whether a peer is at home: loopback, link-local, private (RFC 1918, RFC 4193) or 100.64/10
/// (RFC 6598), the machine itself under any of its addresses, and, for global IPv6 only, on-link
/// with one of its interfaces. `::ffff:a.b.c.d` is judged as `a.b.c.d`.
#[must_use]
pub fn is_home_peer(peer: IpAddr, interfaces: &[Interface]) -> bool {
    let peer = peer.to_canonical();
    if interfaces.iter().any(|own| own.address.to_canonical() == peer) {
        return true;
    }
    match peer {
        IpAddr::V4(peer) => is_home_v4(peer),
        IpAddr::V6(peer) => {
            is_home_v6(peer)
                || (is_global_v6(peer) && interfaces.iter().any(|own| own.is_on_link(peer)))
        }
    }
}

/// Whether the whole internet can route to an address, as far as the address tells; the
/// unspecified address cannot be told and counts as not.
#[must_use]
pub fn is_globally_routable(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !(is_home_v4(address) || is_special_v4(address)),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

/// Whether a DNS name, lower-case and without a trailing dot, can only be a home network's.
#[must_use]
pub fn is_local_name(name: &str) -> bool {
    name == "localhost" || LOCAL_SUFFIXES.iter().any(|suffix| has_label_before(name, suffix))
}

/// The names of this machine, besides the ones that are local everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// The machine's own name, as it stands and without its domain, and configured names.
    #[must_use]
    pub fn new(machine_name: &str, configured: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let machine = normal(machine_name);
        let short = machine.split('.').next().unwrap_or_default().to_owned();
        let mut names = vec![machine, short];
        names.extend(configured.into_iter().map(|name| normal(name.as_ref())));
        names.retain(|name| !name.is_empty());
        let mut names = order::rising(names);
        names.dedup();
        Self(names)
    }

    /// Whether a Host header names this machine as a home network does: an IP literal,
    /// `localhost`, `*.local`, `*.lan`, `*.home.arpa` (RFC 6762, RFC 8375), or one of these names.
    /// A web page cannot make a browser send any of them for a name that its owner controls (DNS
    /// rebinding).
    #[must_use]
    pub fn contains(&self, host_header: &str) -> bool {
        let Some(host) = host_without_port(host_header) else { return false };
        if let Some(literal) = host.strip_prefix('[') {
            return literal.strip_suffix(']').is_some_and(is_v6_literal);
        }
        if host.parse::<Ipv4Addr>().is_ok() {
            return true;
        }
        let host = normal(host);
        is_local_name(&host) || self.0.contains(&host)
    }
}

impl Interface {
    fn is_on_link(&self, peer: Ipv6Addr) -> bool {
        let IpAddr::V6(own) = self.address else { return false };
        // A prefix shorter than a provider's smallest customer network says nothing about home.
        let on_link_bits = ON_LINK_BITS_MIN..=128;
        on_link_bits.contains(&self.prefix_bits)
            && (own.to_bits() ^ peer.to_bits()).leading_zeros() >= u32::from(self.prefix_bits)
    }
}

fn is_home_v4(address: Ipv4Addr) -> bool {
    let [a, b, _, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    address.is_loopback() || address.is_link_local() || address.is_private() || shared
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // This network, protocol assignments, benchmarks, and the reserved end of the space.
    a == 0
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b & 0xfe) == 18)
        || a >= 240
        || address.is_documentation()
        || address.is_multicast()
}

fn is_home_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    // 2000::/3 is all that is handed out (RFC 4291), without the documentation prefix.
    let [a, b, ..] = address.segments();
    (a & 0xe000) == 0x2000 && !(a == 0x2001 && b == 0x0db8)
}

/// The host of a `host[:port]`, IPv6 literals still in brackets; nothing where the port is not a
/// number or the host is empty.
fn host_without_port(text: &str) -> Option<&str> {
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at_checked(end + 1)?,
        None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => digits.is_empty() || digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    (port_is_fine && !host.is_empty()).then_some(host)
}

fn is_v6_literal(literal: &str) -> bool {
    // A zone names an interface of the client and means nothing here (RFC 6874).
    literal.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn has_label_before(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|label| !label.is_empty() && !label.starts_with('.'))
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

const LOCAL_SUFFIXES: [&str; 4] = [".localhost", ".local", ".lan", ".home.arpa"];
/// Providers hand customers /48 to /64; a shorter prefix on an interface is a configuration
/// accident that would let strangers in.
const ON_LINK_BITS_MIN: u8 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> [Interface; 3] {
        [
            Interface { address: "192.168.1.100".parse().unwrap(), prefix_bits: 24 },
            Interface { address: "2a02:8070:1:2::5".parse().unwrap(), prefix_bits: 64 },
            Interface { address: "2a02:9999::5".parse().unwrap(), prefix_bits: 0 },
        ]
    }

    #[test]
    fn peers_are_judged_by_address() {
        let table = [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.77.1", true),
            ("192.169.0.1", false),
            ("169.254.1.1", true),
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.128.0.1", false),
            ("100.63.0.1", false),
            ("8.8.8.8", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("::1", true),
            ("::", false),
            ("fe80::1", true),
            ("fec0::1", false),
            ("fc00::1", true),
            ("fdff::1", true),
            ("fe00::1", false),
            ("::ffff:192.168.1.7", true),
            ("::ffff:8.8.8.8", false),
            // Deprecated IPv4-compatible and translated forms are not mapped ones.
            ("::192.168.1.7", false),
            ("64:ff9b::c0a8:107", false),
            ("2a02:8070:1:2::77", true),
            ("2a02:8070:1:3::77", false),
            ("2a02:9999::6", false),
            ("2001:db8::1", false),
            ("ff02::1", false),
        ];
        for (peer, home) in table {
            assert_eq!(is_home_peer(peer.parse().unwrap(), &interfaces()), home, "{peer}");
        }
    }

    #[test]
    fn the_machine_itself_is_at_home_under_each_of_its_addresses() {
        let own = Interface { address: "198.51.100.7".parse().unwrap(), prefix_bits: 24 };
        for (peer, home) in
            [("198.51.100.7", true), ("::ffff:198.51.100.7", true), ("198.51.100.8", false)]
        {
            assert_eq!(is_home_peer(peer.parse().unwrap(), &[own]), home, "{peer}");
        }
        assert!(!is_home_peer(own.address, &[]));
    }

    #[test]
    fn a_public_ipv4_neighbor_is_not_at_home_even_on_link() {
        let own = [Interface { address: "203.0.114.5".parse().unwrap(), prefix_bits: 24 }];
        assert!(!is_home_peer("203.0.114.6".parse().unwrap(), &own));
    }

    #[test]
    fn hosts_are_judged_by_name() {
        let names = HostNames::new("Desk.example.com", ["mcp.example.org", "Other."]);
        let table = [
            ("localhost", true),
            ("localhost:3010", true),
            ("LOCALHOST.", true),
            ("a.localhost", true),
            ("192.168.1.100:3010", true),
            ("8.8.8.8", true),
            ("[::1]:3010", true),
            ("[fe80::1%eth0]:3010", true),
            ("[fe80::1%25eth0]", true),
            ("[::1", false),
            ("[nonsense]", false),
            ("::1", false),
            ("raspberrypi.local", true),
            ("RaspberryPi.Local.:3010", true),
            (".local", false),
            ("local", false),
            ("nas.lan:80", true),
            ("box.home.arpa", true),
            ("evillocal", false),
            ("desk", true),
            ("desk.example.com:3010", true),
            ("other", true),
            ("mcp.example.org", true),
            ("example.org", false),
            ("mcp.example.org.evil.com", false),
            ("evil.com", false),
            ("127.0.0.1.evil.com", false),
            ("0x7f.1", false),
            ("localhost:99999", false),
            ("localhost:80:80", false),
            ("localhost@evil.com", false),
            ("", false),
            (":3010", false),
        ];
        for (host, local) in table {
            assert_eq!(names.contains(host), local, "{host}");
        }
    }

    #[test]
    fn an_unnamed_machine_adds_no_name() {
        assert!(!HostNames::new("", [""; 0]).contains(""));
        assert!(!HostNames::new("", [""; 0]).contains("."));
    }

    #[test]
    fn global_addresses_are_told_from_the_rest() {
        for (address, global) in [
            ("8.8.8.8", true),
            ("::ffff:8.8.8.8", true),
            ("2a02:8070::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("192.168.1.1", false),
            ("100.64.1.1", false),
            ("203.0.113.9", false),
            ("198.18.0.1", false),
            ("240.0.0.1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_globally_routable(address.parse().unwrap()), global, "{address}");
        }
    }
}
