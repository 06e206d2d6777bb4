//! What a client's certificate says, read from its DER each time: few streams ask.
//!
//! What is no certificate says nothing.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// The SHA-256 of the certificate as it was sent, in hex.
pub fn digest(der: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(der) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Whose certificate it is, as RFC 2253 has it.
pub fn subject(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(written(&certificate.tbs_certificate.subject))
}

/// Who signed it, as RFC 2253 has it.
pub fn issuer(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(written(&certificate.tbs_certificate.issuer))
}

/// The URIs among the subject's alternative names.
pub fn uri_names(der: &[u8]) -> Vec<String> {
    names(der, |name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        _ => None,
    })
}

/// The DNS names among the subject's alternative names.
pub fn dns_names(der: &[u8]) -> Vec<String> {
    names(der, |name| match name {
        GeneralName::DnsName(dns) => Some(dns.to_string()),
        _ => None,
    })
}

fn names(der: &[u8], pick: impl Fn(&GeneralName) -> Option<String>) -> Vec<String> {
    let certificate = Certificate::from_der(der).ok();
    let names = certificate.and_then(|read| read.tbs_certificate.get::<SubjectAltName>().ok()?);
    let names = names.map(|(_, names)| names.0);
    names.iter().flatten().filter_map(pick).collect()
}

/// A name; what cannot be written of it is left out.
fn written(name: &Name) -> String {
    let mut text = String::new();
    let _ = write!(text, "{name}");
    text
}
