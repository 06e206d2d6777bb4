//! Certificates that tests make for themselves.

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::config::{Certificate, DataFrom, DataSource, Place};

/// An authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate in PEM.
    pub(super) certificate: DataSource,
}

impl Authority {
    /// A new one.
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key is made");
        let certificate = params.self_signed(&key).expect("an authority signs itself");
        Self {
            issuer: Issuer::new(params, key),
            certificate: pem("CERTIFICATE", certificate.der()),
        }
    }

    /// A certificate with this name, and its key.
    pub(super) fn sign(&self, name: &str) -> Certificate {
        let params = CertificateParams::new([name.to_owned()]).expect("the name is one");
        let key = KeyPair::generate().expect("a key is made");
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        Certificate {
            chain: pem("CERTIFICATE", certificate.der()),
            key: pem("PRIVATE KEY", key.serialized_der()),
        }
    }
}

/// Data that stands in a configuration's third line.
pub(super) fn inline(text: &str) -> DataSource {
    DataSource {
        place: Place { line: 3, column: 4 },
        from: DataFrom::Inline(text.into()),
    }
}

fn pem(label: &str, bytes: &[u8]) -> DataSource {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    inline(&format!(
        "-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"
    ))
}
