//! The names and addresses that a certificate is for. Pure.

use std::net::IpAddr;

use super::error::CertError;

/// What clients may call the server, without duplicates: DNS names lower-case, addresses as they
/// are written. The most telling name stands first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// `localhost`, the machine's name as it is and as `name.local`, its addresses, the loopback
    /// ones, and `extras`. Link-local addresses are left out: an IPv6 one has no use without a
    /// zone, an IPv4 one changes at every start.
    /// Errors: an extra that a certificate cannot have.
    pub(super) fn new(
        machine: &str,
        addresses: &[IpAddr],
        extras: &[String],
    ) -> Result<Self, CertError> {
        let mut names = Self(Vec::new());
        names.add("localhost".to_owned());
        let machine = machine.trim_end_matches('.').to_ascii_lowercase();
        let short = machine.split('.').next().unwrap_or_default().to_owned();
        // A machine may have a name that DNS cannot express; then it has none here.
        for name in [machine, format!("{short}.local"), short.clone()] {
            if is_name(&name) && is_name(&short) {
                names.add(name);
            }
        }
        for address in addresses.iter().filter(|address| !is_link_local(**address)) {
            names.add(address.to_canonical().to_string());
        }
        names.add("127.0.0.1".to_owned());
        names.add("::1".to_owned());
        for extra in extras {
            let bare = extra.trim_start_matches('[').trim_end_matches(']');
            names.add(match bare.parse::<IpAddr>() {
                Ok(address) => address.to_string(),
                Err(_no_address) if is_name(extra) => extra.to_ascii_lowercase(),
                Err(_no_address) => return Err(CertError::Name(extra.clone())),
            });
        }
        names.0.truncate(NAMES_MAX);
        Ok(names)
    }

    /// The names as text.
    pub(super) fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The names that `present` lacks.
    pub(super) fn missing_in<'a>(&'a self, present: &[String]) -> Vec<&'a str> {
        self.0.iter().filter(|name| !present.contains(name)).map(String::as_str).collect()
    }

    /// These and then the ones of `present`: what somebody once asked for stays when a
    /// certificate is issued again.
    pub(super) fn and(&self, present: &[String]) -> Self {
        let mut all = self.clone();
        for name in present {
            all.add(name.clone());
        }
        all.0.truncate(NAMES_MAX);
        all
    }

    fn add(&mut self, name: String) {
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// RFC 1123, and a wildcard for the first label.
fn is_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A certificate travels in every handshake; a machine with more addresses than this is a router
/// of containers, whose addresses nobody types.
const NAMES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_every_name_once() {
        let addresses = ["192.168.1.100", "fe80::1", "169.254.3.4", "127.0.0.1", "fd00::5"];
        let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let extras =
            ["MCP.Example.org".to_owned(), "[fd00::5]".to_owned(), "*.home.arpa".to_owned()];
        let names = Names::new("Pi.lan", &addresses, &extras).unwrap();
        assert_eq!(
            names.as_slice(),
            [
                "localhost",
                "pi.lan",
                "pi.local",
                "pi",
                "192.168.1.100",
                "127.0.0.1",
                "fd00::5",
                "::1",
                "mcp.example.org",
                "*.home.arpa"
            ]
        );
    }

    #[test]
    fn a_machine_without_a_fit_name_has_none() {
        for machine in ["", ".", "my machine", "-x"] {
            let names = Names::new(machine, &[], &[]).unwrap();
            assert_eq!(names.as_slice(), ["localhost", "127.0.0.1", "::1"], "{machine}");
        }
    }

    #[test]
    fn an_unfit_extra_is_named() {
        let error = Names::new("pi", &[], &["a b".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("\"a b\""), "{error}");
    }
}
