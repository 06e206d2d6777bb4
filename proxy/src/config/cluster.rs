//! Clusters: the endpoints that requests and connections are sent to.

use std::time::Duration;

use filters::Metadata;

use super::any::{Extension, Read, any};
use super::http::Http2Options;
use super::listener::socket_address;
use super::reader::Reader;
use super::report::{Kind, Place};
use super::tls::{self, UpstreamTls};
use super::values::metadata;

/// Endpoints that do the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Where it stands.
    pub place: Place,
    /// The name.
    pub name: String,
    /// How its endpoints are found.
    pub discovery: Discovery,
    /// Which addresses of a name count.
    pub family: DnsFamily,
    /// How often names are looked up. 5 seconds.
    pub dns_refresh: Duration,
    /// How long a connection may take to come about. 5 seconds.
    pub connect_timeout: Duration,
    /// The endpoints, which are asked one after another.
    pub endpoints: Vec<Endpoint>,
    /// The version of HTTP that its endpoints speak.
    pub protocol: UpstreamProtocol,
    /// TLS, where its endpoints speak it.
    pub tls: Option<UpstreamTls>,
    /// Bytes of a connection that are held before its reading stops. 1 MiB.
    pub buffer_limit: u32,
    /// Values that filters can read, by the filters' names.
    pub metadata: Metadata,
}

/// How a cluster's endpoints are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discovery {
    /// They are addresses.
    #[default]
    Static,
    /// They are names, and every address of each is an endpoint.
    StrictDns,
    /// There is one name, and a new connection goes to its first address.
    LogicalDns,
}

/// Which addresses of a name count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsFamily {
    /// Those of IPv6, or of IPv4 where there are none.
    #[default]
    Auto,
    /// Those of IPv4.
    V4,
    /// Those of IPv6.
    V6,
    /// Those of IPv4, or of IPv6 where there are none.
    V4Preferred,
    /// All.
    All,
}

/// One endpoint of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// An address, or a name to look up.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name to ask it for, where a route says so; empty where it has none.
    pub hostname: String,
}

/// The version of HTTP that a cluster's endpoints speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2(Http2Options),
    /// Either, by ALPN.
    Alpn(Http2Options),
}

/// The key and type of a cluster's HTTP options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

const OPTIONS: &[Extension<UpstreamProtocol>] = &[Extension {
    names: &[],
    types: &[HTTP_OPTIONS],
    read: Read::By(http_options),
}];

impl Cluster {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let name = reader.need_text("name", "my_cluster");
        if !name.is_empty() && !reader.report().declare(Kind::Cluster, &name) {
            let message = format!("there is a cluster `{name}` already: choose another name");
            reader.problem_at("name", message);
        }
        for field in ["eds_cluster_config", "cluster_type"] {
            reader.refuse(field, "list the endpoints in `load_assignment`");
        }
        let kinds = [
            ("STATIC", Discovery::Static),
            ("STRICT_DNS", Discovery::StrictDns),
            ("LOGICAL_DNS", Discovery::LogicalDns),
        ];
        let discovery = reader.choice("type", &kinds).unwrap_or_default();
        let families = [
            ("AUTO", DnsFamily::Auto),
            ("V4_ONLY", DnsFamily::V4),
            ("V6_ONLY", DnsFamily::V6),
            ("V4_PREFERRED", DnsFamily::V4Preferred),
            ("ALL", DnsFamily::All),
        ];
        balancing(reader);
        let seconds = Duration::from_secs;
        let dns_refresh = reader.duration("dns_refresh_rate").unwrap_or(seconds(5));
        if dns_refresh < Duration::from_millis(1) {
            let place = reader.place_of("dns_refresh_rate");
            reader
                .report()
                .problem(place, "`dns_refresh_rate` is at least `0.001s`: raise it");
        }
        Self {
            place: reader.place(),
            name,
            discovery,
            family: reader
                .choice("dns_lookup_family", &families)
                .unwrap_or_default(),
            dns_refresh,
            connect_timeout: reader.duration("connect_timeout").unwrap_or(seconds(5)),
            endpoints: endpoints(reader, discovery),
            protocol: protocol(reader),
            tls: tls::upstream(reader),
            buffer_limit: reader
                .number_32("per_connection_buffer_limit_bytes", 1..=u32::MAX)
                .unwrap_or(1 << 20),
            metadata: metadata(reader),
        }
    }
}

/// Reads `lb_policy`: endpoints are taken in turn, which does for policies without a memory.
fn balancing(reader: &Reader<'_>) {
    let policies = [
        ("ROUND_ROBIN", true),
        ("LEAST_REQUEST", false),
        ("RANDOM", false),
    ];
    if reader.choice("lb_policy", &policies) == Some(false) {
        reader.note(
            "lb_policy",
            "the endpoints are taken in turn, as by `ROUND_ROBIN`",
        );
    }
}

/// Reads `load_assignment`, or `hosts` as Envoy had it before.
fn endpoints(reader: &Reader<'_>, discovery: Discovery) -> Vec<Endpoint> {
    if reader.one_of(&["load_assignment", "hosts"]).is_none() {
        return Vec::new();
    }
    let assigned = reader.message("load_assignment", |r| {
        r.text("cluster_name");
        r.refuse("policy", "remove it: the endpoints are taken in turn");
        let groups = r.messages("endpoints", |r| {
            r.refuse(
                "priority",
                "put the endpoints into one group without `priority`",
            );
            r.messages("lb_endpoints", |r| {
                r.refuse(
                    "load_balancing_weight",
                    "remove it: the endpoints are taken in turn",
                );
                r.require("endpoint", "{ address: ... }");
                r.message("endpoint", |r| endpoint(r, discovery)).flatten()
            })
        });
        groups.into_iter().flatten().flatten().collect::<Vec<_>>()
    });
    let hosts = reader.messages("hosts", |r| address(r, discovery, String::new()));
    let endpoints: Vec<_> = assigned
        .into_iter()
        .flatten()
        .chain(hosts.into_iter().flatten())
        .collect();
    if discovery == Discovery::LogicalDns && endpoints.len() > 1 {
        reader.problem("a cluster of type `LOGICAL_DNS` has one endpoint: use `STRICT_DNS`");
    }
    endpoints
}

fn endpoint(reader: &Reader<'_>, discovery: Discovery) -> Option<Endpoint> {
    let hostname = reader.text("hostname");
    reader.refuse(
        "health_check_config",
        "remove it: there are no health checks",
    );
    reader.require(
        "address",
        "{ socket_address: { address: ..., port_value: ... } }",
    );
    let endpoint = reader.message("address", |r| address(r, discovery, hostname));
    endpoint.flatten()
}

fn address(reader: &Reader<'_>, discovery: Discovery, hostname: String) -> Option<Endpoint> {
    let (place, host, port) = socket_address(reader)?;
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    if discovery == Discovery::Static && !is_address && !host.is_empty() {
        let message =
            format!("`{host}` is no IP address: write one, or give the cluster `type: STRICT_DNS`");
        reader.report().problem(place, message);
    }
    let hostname = if hostname.is_empty() && !is_address {
        host.clone()
    } else {
        hostname
    };
    Some(Endpoint {
        host,
        port,
        hostname,
    })
}

/// Reads the version of HTTP, as it is said today or was said before.
fn protocol(reader: &Reader<'_>) -> UpstreamProtocol {
    reader.at_most_one(&["typed_extension_protocol_options", "http2_protocol_options"]);
    let legacy = reader.message("http2_protocol_options", Http2Options::read);
    let mut typed = None;
    for (key, node) in reader.entries("typed_extension_protocol_options") {
        if key.name == HTTP_OPTIONS {
            typed = any(reader, HTTP_OPTIONS, node, OPTIONS);
        } else {
            let message = format!(
                "the proxy knows no `{}` here: use `{HTTP_OPTIONS}`",
                key.name
            );
            reader.report().problem(key.place, message);
        }
    }
    match (typed, legacy) {
        (Some(protocol), _) => protocol,
        (None, Some(options)) => UpstreamProtocol::Http2(options),
        (None, None) => UpstreamProtocol::Http1,
    }
}

fn http_options(reader: &Reader<'_>) -> UpstreamProtocol {
    reader.refuse(
        "use_downstream_protocol_config",
        "say the version in `explicit_http_config`",
    );
    let protocol = match reader.one_of(&["explicit_http_config", "auto_config"]) {
        Some("auto_config") => reader.message("auto_config", |r| {
            r.message("http_protocol_options", |_| ());
            let options = r.message("http2_protocol_options", Http2Options::read);
            UpstreamProtocol::Alpn(options.unwrap_or_default())
        }),
        _ => reader.message("explicit_http_config", |r| {
            r.refuse("http3_protocol_options", "use `http2_protocol_options`");
            let http1 = r.message("http_protocol_options", |_| ());
            let http2 = r.message("http2_protocol_options", Http2Options::read);
            r.one_of(&["http_protocol_options", "http2_protocol_options"]);
            match (http1, http2) {
                (None, Some(options)) => UpstreamProtocol::Http2(options),
                _ => UpstreamProtocol::Http1,
            }
        }),
    };
    protocol.unwrap_or(UpstreamProtocol::Http1)
}
