//! The client's side of TLS as scripts see it, and what its certificate says.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use filters::certificate;
use filters::stream::TlsInfo;
use mlua::{UserData, UserDataMethods};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::name::Name;

use crate::run::Run;

/// Attributes of a name.
const COMMON_NAME: &str = "2.5.4.3";
const ORGANIZATION_NAME: &str = "2.5.4.10";

/// `connection():ssl()` and `streamInfo():downstreamSslConnection()`.
pub(crate) struct Tls(pub(crate) Rc<Run>);

/// `parsedSubjectPeerCertificate()`.
struct ParsedName(Name);

impl Tls {
    fn tell<T: Default>(&self, tell: impl FnOnce(&TlsInfo) -> T) -> mlua::Result<T> {
        let stream = self.0.stream()?;
        let info = stream.info();
        Ok(info.tls.as_ref().map(tell).unwrap_or_default())
    }

    /// Says something of the client's certificate; nothing where there is none, or it cannot be read.
    fn peer<T: Default>(&self, tell: impl FnOnce(&Certificate) -> T) -> mlua::Result<T> {
        self.tell(|tls| {
            let peer = tls
                .peer
                .as_ref()
                .and_then(|der| Certificate::from_der(der).ok());
            peer.as_ref().map(tell).unwrap_or_default()
        })
    }

    /// Something of the client's certificate as it was sent.
    fn der<T: Default>(&self, tell: impl FnOnce(&[u8]) -> T) -> mlua::Result<T> {
        self.tell(|tls| tls.peer.as_deref().map(tell).unwrap_or_default())
    }
}

impl UserData for Tls {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("peerCertificatePresented", |_, this, ()| {
            this.tell(|tls| tls.peer.is_some())
        });
        methods.add_method("peerCertificateValidated", |_, this, ()| {
            this.tell(|tls| tls.mutual && tls.peer.is_some())
        });
        methods.add_method("tlsVersion", |_, this, ()| {
            this.tell(|tls| tls.version.clone())
        });
        methods.add_method("sha256PeerCertificateDigest", |_, this, ()| {
            this.der(certificate::digest)
        });
        for name in [
            "urlEncodedPemEncodedPeerCertificate",
            "urlEncodedPemEncodedPeerCertificateChain",
        ] {
            methods.add_method(name, |_, this, ()| this.der(url_encoded_pem));
        }
        methods.add_method("serialNumberPeerCertificate", |_, this, ()| {
            this.peer(|peer| {
                let number = peer.tbs_certificate.serial_number.as_bytes();
                hex(number.strip_prefix(&[0]).unwrap_or(number))
            })
        });
        methods.add_method("issuerPeerCertificate", |_, this, ()| {
            this.der(|der| certificate::issuer(der).unwrap_or_default())
        });
        methods.add_method("subjectPeerCertificate", |_, this, ()| {
            this.der(|der| certificate::subject(der).unwrap_or_default())
        });
        methods.add_method("parsedSubjectPeerCertificate", |_, this, ()| {
            this.peer(|peer| Some(ParsedName(peer.tbs_certificate.subject.clone())))
        });
        methods.add_method("uriSanPeerCertificate", |_, this, ()| {
            this.der(certificate::uri_names)
        });
        methods.add_method("dnsSansPeerCertificate", |_, this, ()| {
            this.der(certificate::dns_names)
        });
        methods.add_method("oidsPeerCertificate", |_, this, ()| {
            this.peer(|peer| {
                let extensions = peer.tbs_certificate.extensions.iter().flatten();
                let oids = extensions.map(|extension| extension.extn_id.to_string());
                oids.collect::<Vec<_>>()
            })
        });
        methods.add_method("validFromPeerCertificate", |_, this, ()| {
            this.peer(|peer| {
                let from = peer.tbs_certificate.validity.not_before;
                from.to_unix_duration().as_secs()
            })
        });
        methods.add_method("expirationPeerCertificate", |_, this, ()| {
            this.peer(|peer| {
                let until = peer.tbs_certificate.validity.not_after;
                until.to_unix_duration().as_secs()
            })
        });
        // What nobody told the filter: the proxy's own certificate, the session and the cipher.
        for name in [
            "uriSanLocalCertificate",
            "dnsSansLocalCertificate",
            "oidsLocalCertificate",
        ] {
            methods.add_method(name, |_, this, ()| this.tell(|_| Vec::<String>::new()));
        }
        for name in ["subjectLocalCertificate", "sessionId", "ciphersuiteString"] {
            methods.add_method(name, |_, this, ()| this.tell(|_| String::new()));
        }
        methods.add_method("ciphersuiteId", |_, this, ()| this.tell(|_| "0xffff"));
    }
}

impl ParsedName {
    /// The texts of an attribute.
    fn texts(&self, attribute: &str) -> Vec<String> {
        let pairs = self.0.0.iter().flat_map(|names| names.0.iter());
        let found = pairs.filter(|pair| pair.oid.to_string() == attribute);
        let text = |pair: &x509_cert::attr::AttributeTypeAndValue| match pair.value.tag() {
            Tag::Utf8String => pair
                .value
                .decode_as()
                .ok()
                .map(|text: Utf8StringRef<'_>| text.to_string()),
            Tag::PrintableString => pair
                .value
                .decode_as()
                .ok()
                .map(|text: PrintableStringRef<'_>| text.to_string()),
            Tag::Ia5String => pair
                .value
                .decode_as()
                .ok()
                .map(|text: Ia5StringRef<'_>| text.to_string()),
            Tag::TeletexString => pair
                .value
                .decode_as()
                .ok()
                .map(|text: TeletexStringRef<'_>| text.to_string()),
            _ => None,
        };
        found.filter_map(text).collect()
    }
}

impl UserData for ParsedName {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("commonName", |_, this, ()| {
            Ok(this
                .texts(COMMON_NAME)
                .into_iter()
                .next()
                .unwrap_or_default())
        });
        methods.add_method("organizationName", |_, this, ()| {
            Ok(this.texts(ORGANIZATION_NAME))
        });
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn url_encoded_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (place, letter) in text.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    let escapes = [
        (" ", "%20"),
        ("\n", "%0A"),
        ("+", "%2B"),
        ("/", "%2F"),
        ("=", "%3D"),
    ];
    let escape = |pem: String, (letter, escape): (&str, &str)| pem.replace(letter, escape);
    escapes.into_iter().fold(pem, escape)
}
