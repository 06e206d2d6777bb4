//! TLS: what a listener shows and a cluster trusts.

use super::any::{Extension, Read, extension};
use super::reader::Reader;
use super::report::Place;
use super::values::DataSource;

const SDS: &str = "name the files in `tls_certificates` and `validation_context`";

/// What both sides of TLS have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsContext {
    /// Where it stands.
    pub place: Place,
    /// Our own certificates; the first one whose key a peer can use is shown.
    pub certificates: Vec<Certificate>,
    /// The authorities in PEM that a peer's certificate must come from; without them, none is verified.
    pub trusted_ca: Option<DataSource>,
    /// Names of which a peer's certificate must have one; any will do where there are none.
    pub subject_alt_names: Vec<String>,
    /// The protocols to offer, most wanted first.
    pub alpn: Vec<String>,
    /// The oldest version to speak.
    pub minimum: TlsVersion,
    /// The newest version to speak.
    pub maximum: TlsVersion,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and those that it comes from.
    pub chain: DataSource,
    /// The private key.
    pub key: DataSource,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}

/// TLS with those who connect to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamTls {
    /// Certificates, trust and protocols.
    pub common: TlsContext,
    /// Whether a client must show a certificate.
    pub require_client_certificate: bool,
}

/// TLS with a cluster's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Certificates, trust and protocols.
    pub common: TlsContext,
    /// The server's name to ask for; none is sent where it is empty.
    pub sni: String,
}

const TLS: &[&str] = &["envoy.transport_sockets.tls", "tls"];

/// The transport of a filter chain, `None` where it is plain.
pub(super) fn downstream(reader: &Reader<'_>) -> Option<DownstreamTls> {
    let known = [
        Extension {
            names: TLS,
            types: &[
                "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "envoy.api.v2.auth.DownstreamTlsContext",
            ],
            read: Read::By(|r| Some(DownstreamTls::read(r))),
        },
        raw(),
    ];
    transport(reader, &known, DownstreamTls::read)
}

/// The transport of a cluster, `None` where it is plain.
pub(super) fn upstream(reader: &Reader<'_>) -> Option<UpstreamTls> {
    let known = [
        Extension {
            names: TLS,
            types: &[
                "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "envoy.api.v2.auth.UpstreamTlsContext",
            ],
            read: Read::By(|r| Some(UpstreamTls::read(r))),
        },
        raw(),
    ];
    transport(reader, &known, UpstreamTls::read)
}

/// The transport that is plain.
fn raw<T>() -> Extension<Option<T>> {
    Extension {
        names: &["envoy.transport_sockets.raw_buffer", "raw_buffer"],
        types: &[
            "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
            "envoy.config.transport_socket.raw_buffer.v2.RawBuffer",
        ],
        read: Read::By(|_| None),
    }
}

/// Reads `transport_socket`, or `tls_context` as Envoy had it before.
fn transport<T>(
    reader: &Reader<'_>,
    known: &[Extension<Option<T>>],
    legacy: fn(&Reader<'_>) -> T,
) -> Option<T> {
    reader.at_most_one(&["transport_socket", "tls_context"]);
    let socket = reader.message("transport_socket", |r| extension(r, known));
    let context = reader.message("tls_context", legacy);
    socket.flatten().flatten().or(context)
}

impl DownstreamTls {
    fn read(reader: &Reader<'_>) -> Self {
        let common = TlsContext::read(reader);
        let require = reader.flag("require_client_certificate").unwrap_or(false);
        reader.refuse("session_ticket_keys_sds_secret_config", "remove it");
        if common.certificates.is_empty() {
            reader.problem(
                "TLS needs a certificate: add `common_tls_context` with `tls_certificates`",
            );
        }
        if require && common.trusted_ca.is_none() {
            let message = "client certificates need somebody to come from: add `validation_context` with `trusted_ca`";
            reader.problem_at("require_client_certificate", message);
        }
        Self {
            common,
            require_client_certificate: require,
        }
    }
}

impl UpstreamTls {
    fn read(reader: &Reader<'_>) -> Self {
        let common = TlsContext::read(reader);
        let sni = reader.text("sni");
        if common.trusted_ca.is_none() {
            let message = "the certificates of this cluster are not verified, as in Envoy: add `validation_context` with `trusted_ca`";
            reader.report().notice(reader.place(), message);
        }
        Self { common, sni }
    }
}

impl TlsContext {
    fn read(reader: &Reader<'_>) -> Self {
        let context = reader.message("common_tls_context", Self::read_common);
        context.unwrap_or_else(|| reader.absent("common_tls_context", Self::read_common))
    }

    fn read_common(reader: &Reader<'_>) -> Self {
        reader.refuse("tls_certificate_sds_secret_configs", SDS);
        reader.refuse("validation_context_sds_secret_config", SDS);
        reader.refuse("combined_validation_context", SDS);
        let validation = reader.message("validation_context", validation);
        let (trusted_ca, subject_alt_names) = validation.unwrap_or_default();
        let versions = reader.message("tls_params", versions);
        let (minimum, maximum) = versions.unwrap_or((TlsVersion::V1_2, TlsVersion::V1_3));
        Self {
            place: reader.place(),
            certificates: reader
                .messages("tls_certificates", Certificate::read)
                .into_iter()
                .flatten()
                .collect(),
            trusted_ca,
            subject_alt_names,
            alpn: alpn(reader),
            minimum,
            maximum,
        }
    }
}

impl Certificate {
    fn read(reader: &Reader<'_>) -> Option<Self> {
        reader.refuse("password", "use a key without one");
        reader.require("certificate_chain", "{ filename: ... }");
        reader.require("private_key", "{ filename: ... }");
        let chain = reader.message("certificate_chain", DataSource::read);
        let key = reader.message("private_key", DataSource::read);
        Some(Self {
            chain: chain?,
            key: key?,
        })
    }
}

/// Reads the protocols to offer; several may stand in one text, as Envoy has it.
fn alpn(reader: &Reader<'_>) -> Vec<String> {
    let texts = reader.texts("alpn_protocols");
    let names = texts.iter().flat_map(|(_, text)| text.split(','));
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Reads whom to trust, and the names to look for.
fn validation(reader: &Reader<'_>) -> (Option<DataSource>, Vec<String>) {
    let trusted_ca = reader.message("trusted_ca", DataSource::read);
    let mut names: Vec<_> = reader
        .texts("verify_subject_alt_name")
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    names.extend(reader.messages("match_subject_alt_names", exact));
    names.extend(reader.messages("match_typed_subject_alt_names", |r| {
        r.choice("san_type", &[("DNS", ()), ("URI", ()), ("IP_ADDRESS", ())]);
        r.require("matcher", "{ exact: ... }");
        r.message("matcher", exact).unwrap_or_default()
    }));
    if !names.is_empty() && trusted_ca.is_none() {
        reader.problem("names are looked for in verified certificates only: add `trusted_ca`");
    }
    (trusted_ca, names)
}

fn exact(reader: &Reader<'_>) -> String {
    for field in ["prefix", "suffix", "contains", "safe_regex"] {
        reader.refuse(field, "write the names whole, each with `exact`");
    }
    reader.need_text("exact", "example.com")
}

fn versions(reader: &Reader<'_>) -> (TlsVersion, TlsVersion) {
    let known = [("TLSv1_2", TlsVersion::V1_2), ("TLSv1_3", TlsVersion::V1_3)];
    let minimum =
        version(reader, "tls_minimum_protocol_version", &known).unwrap_or(TlsVersion::V1_2);
    let maximum =
        version(reader, "tls_maximum_protocol_version", &known).unwrap_or(TlsVersion::V1_3);
    if minimum > maximum {
        reader.problem("the oldest version of TLS is newer than the newest one: swap them");
    }
    reader.refuse(
        "cipher_suites",
        "remove it; only suites that are held to be safe are offered",
    );
    reader.refuse(
        "ecdh_curves",
        "remove it; only curves that are held to be safe are offered",
    );
    (minimum, maximum)
}

fn version(
    reader: &Reader<'_>,
    field: &'static str,
    known: &[(&str, TlsVersion); 2],
) -> Option<TlsVersion> {
    let known = known.map(|(name, version)| (name, Some(version)));
    let [v1_2, v1_3] = known;
    reader
        .choice(field, &[v1_2, v1_3, ("TLS_AUTO", None)])
        .flatten()
}
