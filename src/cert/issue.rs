//! Makes the local CA and its leaf in memory. Takes the time as an argument; writes nothing.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::error::CertError;
use super::names::Names;

/// A new ECDSA P-256 key in PEM (PKCS#8): small handshakes, and every client knows it.
pub(super) fn key() -> Result<KeyPair, CertError> {
    KeyPair::generate().map_err(CertError::Make)
}

/// A CA certificate in PEM for `key`, valid for ten years, that can sign leaves only. Its name
/// says whose machine it is, since it stands in lists of trusted CAs.
pub(super) fn authority(key: &KeyPair, machine: &str, now_s: i64) -> Result<String, CertError> {
    let mut params = params(&format!("local-llm-mcp CA on {machine}"), now_s, AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.self_signed(key).map(|made| made.pem()).map_err(CertError::Make)
}

/// A leaf in PEM for `key`, signed by the CA, for the given names, that does not outlive the CA.
pub(super) fn leaf(
    key: &KeyPair,
    authority: &CertificateDer<'_>,
    authority_key: &KeyPair,
    names: &Names,
    (now_s, authority_not_after_s): (i64, i64),
) -> Result<String, CertError> {
    let issuer = Issuer::from_ca_cert_der(authority, authority_key).map_err(CertError::Make)?;
    let mut params = params("local-llm-mcp", now_s, LEAF_DAYS)?;
    params.not_after = params.not_after.min(moment(authority_not_after_s)?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names =
        names.as_slice().iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
    params.signed_by(key, &issuer).map(|made| made.pem()).map_err(CertError::Make)
}

fn params(name: &str, now_s: i64, days: i64) -> Result<CertificateParams, CertError> {
    let now = moment(now_s)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - CLOCK_SLACK;
    params.not_after = now + Duration::days(days);
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// Random (RFC 5280, section 4.1.2.2: unique, positive, up to 20 bytes): a leaf that is issued
/// again for the same key must not have the same one, or browsers refuse it.
fn serial() -> Result<SerialNumber, CertError> {
    let mut bytes = [0; 16];
    // ring's error carries nothing.
    SystemRandom::new().fill(&mut bytes).map_err(|ring::error::Unspecified| CertError::Random)?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn alternative_name(name: &str) -> Result<SanType, CertError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_no_address) => name.try_into().map(SanType::DnsName).map_err(CertError::Make),
    }
}

fn moment(seconds: i64) -> Result<OffsetDateTime, CertError> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_out_of_range: time::error::ComponentRange| CertError::Make(rcgen::Error::Time))
}

/// Clients refuse leaves that live longer than 825 days; the slack below counts too.
const LEAF_DAYS: i64 = 820;
/// Trusting a CA is work on every client, so it is asked for once a decade.
const AUTHORITY_DAYS: i64 = 3652;
/// Clocks at home disagree, a Raspberry Pi's most.
const CLOCK_SLACK: Duration = Duration::days(1);
