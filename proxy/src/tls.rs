//! TLS as the configuration asks for it, by rustls: for those who connect to a listener, and with a cluster's endpoints.

use std::fmt;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use tokio_rustls::rustls;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use crate::config::{
    Certificate, DataFrom, DataSource, DownstreamTls, Place, TlsContext, TlsVersion, UpstreamTls,
};

/// TLS with those who connect.
///
/// # Errors
/// `io` where a file cannot be read and `manifest` where there is something else in it, with its place.
pub(crate) fn server(tls: &DownstreamTls) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let versions = versions(&tls.common);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| refused(tls.common.place, "TLS", error))?;
    let builder = match &tls.common.trusted_ca {
        None => builder.with_no_client_auth(),
        Some(source) => {
            let roots = Arc::new(roots(source)?);
            let mut chain = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
            if !tls.require_client_certificate {
                chain = chain.allow_unauthenticated();
            }
            let chain = chain
                .build()
                .map_err(|error| refused(source.place, "`trusted_ca`", error))?;
            let names = tls.common.subject_alt_names.clone();
            builder.with_client_cert_verifier(Arc::new(Clients { chain, names }))
        }
    };
    let keys: Result<_> = tls
        .common
        .certificates
        .iter()
        .map(|c| key(c, &provider))
        .collect();
    let mut config = builder.with_cert_resolver(Arc::new(Keys(keys?)));
    config.alpn_protocols = tls.common.alpn.iter().map(|p| p.clone().into()).collect();
    Ok(Arc::new(config))
}

/// TLS with a cluster's endpoints, which are offered these protocols where the configuration says none.
///
/// # Errors
/// `io` where a file cannot be read and `manifest` where there is something else in it, with its place.
pub(crate) fn client(tls: &UpstreamTls, alpn: &[&str]) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let roots = tls.common.trusted_ca.as_ref().map(roots).transpose()?;
    let verifier = Servers {
        roots,
        names: tls.common.subject_alt_names.clone(),
        provider: provider.clone(),
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(&tls.common))
        .map_err(|error| refused(tls.common.place, "TLS", error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match tls.common.certificates.first() {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let key = key(certificate, &provider)?;
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        }
    };
    config.enable_sni = !tls.sni.is_empty();
    config.alpn_protocols = if tls.common.alpn.is_empty() {
        alpn.iter()
            .map(|protocol| protocol.as_bytes().into())
            .collect()
    } else {
        tls.common.alpn.iter().map(|p| p.clone().into()).collect()
    };
    Ok(Arc::new(config))
}

/// The versions to speak.
fn versions(tls: &TlsContext) -> Vec<&'static SupportedProtocolVersion> {
    let known = [
        (TlsVersion::V1_3, &rustls::version::TLS13),
        (TlsVersion::V1_2, &rustls::version::TLS12),
    ];
    let wanted = known
        .into_iter()
        .filter(|(version, _)| (tls.minimum..=tls.maximum).contains(version));
    wanted.map(|(_, version)| version).collect()
}

/// Reads the authorities to trust.
fn roots(source: &DataSource) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(source)? {
        roots
            .add(certificate)
            .map_err(|error| refused(source.place, "a certificate", error))?;
    }
    Ok(roots)
}

/// Reads certificates, of which there is at least one.
fn certificates(source: &DataSource) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = source.bytes()?;
    let certificates: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates =
        certificates.map_err(|error| refused(source.place, "certificates in PEM", error))?;
    if certificates.is_empty() {
        return Err(refused(
            source.place,
            "certificates in PEM",
            "there is none",
        ));
    }
    Ok(certificates)
}

/// Reads a certificate and its key.
fn key(certificate: &Certificate, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>> {
    let place = certificate.key.place;
    let chain = certificates(&certificate.chain)?;
    let key = PrivateKeyDer::from_pem_slice(&certificate.key.bytes()?)
        .map_err(|error| refused(place, "a private key in PEM", error))?;
    chain
        .first()
        .map_or(Ok(()), |first| check(&certificate.chain, first))?;
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(|error| refused(place, "the certificate's private key", error))
}

/// Looks at a certificate that is to be shown, and says which one cannot be.
fn check(source: &DataSource, certificate: &CertificateDer<'_>) -> Result<()> {
    let Err(error) = webpki::EndEntityCert::try_from(certificate) else {
        return Ok(());
    };
    let what = match &source.from {
        DataFrom::File(path) => format!("the certificate in `{}`", path.display()),
        _ => "the certificate".to_owned(),
    };
    Err(match error {
        webpki::Error::UnsupportedCertVersion => refused(source.place, &what, OLD),
        error => refused(source.place, &what, error),
    })
}

/// What is said of a certificate without extensions.
const OLD: &str = "it is X.509 of version 1, and only version 3 is taken: sign it with extensions, \
    as `openssl x509 -req … -extfile FILE` does where FILE has `subjectAltName=DNS:example.com`";

fn refused(place: Place, what: &str, error: impl fmt::Display) -> Error {
    let message = format!("cannot take {what}: {error}");
    Error::new(ErrorKind::Manifest, message).at(|| place.to_string())
}

/// The certificates of a listener.
#[derive(Debug)]
struct Keys(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        self.0.iter().find(usable).cloned()
    }
}

/// Verifies clients: their authorities, and their names where some are asked for.
#[derive(Debug)]
struct Clients {
    chain: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .chain
            .verify_client_cert(certificate, intermediates, now)?;
        verify_names(certificate, &self.names)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Verifies endpoints as Envoy does: not at all without authorities, and by names only where some are asked for.
#[derive(Debug)]
struct Servers {
    roots: Option<RootCertStore>,
    names: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(certificate)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
            verify_names(certificate, &self.names)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Whether a certificate has one of these names, where there are any: of a host, an address or a URI.
fn verify_names(
    certificate: &CertificateDer<'_>,
    names: &[String],
) -> std::result::Result<(), rustls::Error> {
    if names.is_empty() {
        return Ok(());
    }
    let parsed = ParsedCertificate::try_from(certificate)?;
    let is_host = |name: &String| {
        ServerName::try_from(name.as_str())
            .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    };
    let whole = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let has_uri = |name: &String| whole.valid_uri_names().any(|uri| uri == name);
    if names.iter().any(|name| is_host(name) || has_uri(name)) {
        return Ok(());
    }
    Err(CertificateError::NotValidForName.into())
}
