//! Listeners: where connections come in, and the filters that they pass.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use filters::{Metadata, TrafficDirection};

use super::access_log;
use super::any::{Extension, Read, extension};
use super::format::LogFormat;
use super::http::HttpConnectionManager;
use super::reader::Reader;
use super::report::{Kind, Place};
use super::tls::{self, DownstreamTls};
use super::values::metadata;
use super::wasm::{self, WasmPlugin};

/// Where connections come in.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Where it stands.
    pub place: Place,
    /// The name, which may be empty.
    pub name: String,
    /// The address; with port 0 the system chooses one.
    pub address: SocketAddr,
    /// What connections pass; of several, the one for the name that the client asks for.
    pub filter_chains: Vec<FilterChain>,
    /// Bytes of a connection that are held before its reading stops. 1 MiB.
    pub buffer_limit: u32,
    /// What filters read as the listener's direction.
    pub direction: TrafficDirection,
    /// Values that filters can read, by the filters' names.
    pub metadata: Metadata,
}

/// What a connection passes.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    /// Where it stands.
    pub place: Place,
    /// The name, which may be empty.
    pub name: String,
    /// The names that clients ask for, such as `example.com` or `*.example.com`; any where there are none.
    pub server_names: Vec<String>,
    /// TLS, where clients speak it.
    pub tls: Option<DownstreamTls>,
    /// The connection-level plugins, in the order in which data comes in.
    pub plugins: Vec<WasmPlugin>,
    /// What the connection ends at.
    pub end: ChainEnd,
}

/// What a connection ends at.
#[derive(Clone, Debug, PartialEq)]
pub enum ChainEnd {
    /// HTTP.
    Http(Box<HttpConnectionManager>),
    /// A cluster that the bytes go to.
    Tcp(TcpProxy),
}

/// One network filter.
enum NetworkFilter {
    Wasm(Box<WasmPlugin>),
    End(ChainEnd),
}

/// Sends the bytes of connections to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpProxy {
    /// The name in metrics.
    pub stat_prefix: String,
    /// The cluster's name.
    pub cluster: String,
    /// How long a connection may be without bytes; for ever where it is zero. 1 hour.
    pub idle_timeout: Duration,
    /// The lines that are written to standard output for each connection.
    pub access_logs: Vec<LogFormat>,
}

const FILTERS: &[Extension<NetworkFilter>] = &[
    Extension {
        names: &[
            "envoy.filters.network.http_connection_manager",
            "envoy.http_connection_manager",
        ],
        types: &[
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager",
        ],
        read: Read::By(|r| {
            let manager = HttpConnectionManager::read(r);
            NetworkFilter::End(ChainEnd::Http(Box::new(manager)))
        }),
    },
    Extension {
        names: &["envoy.filters.network.wasm"],
        types: &[
            "envoy.extensions.filters.network.wasm.v3.Wasm",
            "envoy.config.filter.network.wasm.v2.Wasm",
        ],
        read: Read::By(|r| NetworkFilter::Wasm(Box::new(wasm::filter(r)))),
    },
    Extension {
        names: &["envoy.filters.network.tcp_proxy", "envoy.tcp_proxy"],
        types: &[
            "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "envoy.config.filter.network.tcp_proxy.v2.TcpProxy",
        ],
        read: Read::By(|r| NetworkFilter::End(ChainEnd::Tcp(TcpProxy::read(r)))),
    },
    Extension {
        names: &["envoy.filters.network.golang"],
        types: &["envoy.extensions.filters.network.golang.v3alpha.Config"],
        read: Read::Refused(
            "it loads no shared objects: build the filter as proxy-wasm, as docs/moving-from-envoy.md says",
        ),
    },
];

/// What stands before the filters; the proxy sees by itself whether and for whom a client speaks TLS.
const LISTENER_FILTERS: &[Extension<()>] = &[Extension {
    names: &[
        "envoy.filters.listener.tls_inspector",
        "envoy.listener.tls_inspector",
    ],
    types: &[
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        "envoy.config.filter.listener.tls_inspector.v2.TlsInspector",
    ],
    read: Read::By(|r| {
        let message = "the TLS inspector has no effect: a client's server name is always seen";
        r.report().notice(r.place(), message);
    }),
}];

impl Listener {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let directions = [
            ("UNSPECIFIED", TrafficDirection::Unspecified),
            ("INBOUND", TrafficDirection::Inbound),
            ("OUTBOUND", TrafficDirection::Outbound),
        ];
        reader.require(
            "address",
            "{ socket_address: { address: 0.0.0.0, port_value: 18000 } }",
        );
        reader.require("filter_chains", "[...]");
        for field in ["enable_reuse_port", "reuse_port"] {
            reader.note(
                field,
                "has no effect: one listening socket serves all workers",
            );
        }
        reader.messages("listener_filters", |r| extension(r, LISTENER_FILTERS));
        let address = reader.message("address", bind_address);
        let chains = reader.messages("filter_chains", FilterChain::read);
        let filter_chains: Vec<_> = chains.into_iter().flatten().collect();
        check_chains(reader, &filter_chains);
        Self {
            place: reader.place(),
            name: reader.text("name"),
            address: address.unwrap_or(UNSPECIFIED),
            filter_chains,
            buffer_limit: reader
                .number_32("per_connection_buffer_limit_bytes", 1..=u32::MAX)
                .unwrap_or(1 << 20),
            direction: reader
                .choice("traffic_direction", &directions)
                .unwrap_or_default(),
            metadata: metadata(reader),
        }
    }
}

/// What stands for an address that is wrong.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Reports chains of which a connection could not choose one.
fn check_chains(reader: &Reader<'_>, chains: &[FilterChain]) {
    for (i, chain) in chains.iter().enumerate() {
        let report = reader.report();
        if chains.len() > 1 && chain.tls.is_none() {
            let message = "a chain beside another one is chosen by the TLS name that a client asks for: add a `transport_socket` with TLS, or use a listener of its own";
            report.problem(chain.place, message);
        }
        let names = &chain.server_names;
        let is_same = |other: &FilterChain| {
            let both_any = names.is_empty() && other.server_names.is_empty();
            both_any || names.iter().any(|name| other.server_names.contains(name))
        };
        if chains[..i].iter().any(is_same) {
            let message = "another chain is for the same names already: write others in `filter_chain_match` with `server_names`";
            report.problem(chain.place, message);
        }
    }
}

/// Reads the address of a listener.
pub(super) fn bind_address(reader: &Reader<'_>) -> SocketAddr {
    let Some((place, host, port)) = socket_address(reader) else {
        return UNSPECIFIED;
    };
    if let Ok(ip) = host.parse() {
        return SocketAddr::new(ip, port);
    }
    if !host.is_empty() {
        let message =
            format!("`{host}` is no IP address: write one, such as `0.0.0.0` or `127.0.0.1`");
        reader.report().problem(place, message);
    }
    UNSPECIFIED
}

/// Reads a host with its place and its port, the same for listeners and endpoints.
pub(super) fn socket_address(reader: &Reader<'_>) -> Option<(Place, String, u16)> {
    for field in ["pipe", "envoy_internal_address"] {
        reader.refuse(field, "use a `socket_address`");
    }
    reader.require("socket_address", "{ address: ..., port_value: ... }");
    reader.message("socket_address", |r| {
        r.choice("protocol", &[("TCP", ())]);
        r.refuse("named_port", "write the number as `port_value`");
        r.require("port_value", "18000");
        let host = r.need_text("address", "127.0.0.1");
        let port = r.number("port_value", 0..=65_535).unwrap_or(0);
        (
            r.place_of("address"),
            host,
            u16::try_from(port).unwrap_or(0),
        )
    })
}

impl FilterChain {
    fn read(reader: &Reader<'_>) -> Option<Self> {
        let names = reader.message("filter_chain_match", |r| {
            r.choice("transport_protocol", &[("tls", ())]);
            let names = r.texts("server_names").into_iter();
            names.map(|(_, name)| name.to_ascii_lowercase()).collect()
        });
        let filters = reader.messages("filters", |r| (r.place(), extension(r, FILTERS)));
        let tls = tls::downstream(reader);
        if names.is_some() && tls.is_none() {
            let message =
                "a client asks for a name with TLS alone: add a `transport_socket` with TLS";
            reader.problem_at("filter_chain_match", message);
        }
        let name = reader.text("name");
        let mut plugins = Vec::new();
        let mut end = None;
        let is_known = filters.iter().all(|(_, filter)| filter.is_some());
        for (place, filter) in filters {
            if end.is_some() {
                let message =
                    "no filter runs behind the connection manager or TCP proxy: put that last";
                reader.report().problem(place, message);
            }
            match filter {
                Some(NetworkFilter::Wasm(plugin)) => plugins.push(*plugin),
                Some(NetworkFilter::End(last)) => end = Some(last),
                None => {}
            }
        }
        if end.is_none() && is_known {
            let message = "`filters` must end with `envoy.filters.network.http_connection_manager` or `envoy.filters.network.tcp_proxy`: add one";
            reader.problem_at("filters", message);
        }
        Some(Self {
            place: reader.place(),
            name,
            server_names: names.unwrap_or_default(),
            tls,
            plugins,
            end: end?,
        })
    }
}

impl TcpProxy {
    fn read(reader: &Reader<'_>) -> Self {
        reader.refuse("weighted_clusters", "name one `cluster`");
        let cluster = reader.need_text("cluster", "my_cluster");
        if !cluster.is_empty() {
            reader
                .report()
                .refer(Kind::Cluster, reader.place_of("cluster"), &cluster);
        }
        Self {
            stat_prefix: reader.need_text("stat_prefix", "ingress_tcp"),
            cluster,
            idle_timeout: reader
                .duration("idle_timeout")
                .unwrap_or(Duration::from_secs(3600)),
            access_logs: access_log::read(reader),
        }
    }
}
