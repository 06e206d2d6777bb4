//! The whole of a configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use filters::NodeId;

use super::any::{Extension, Read, extension};
use super::cluster::Cluster;
use super::limits::Settings;
use super::listener::{Listener, bind_address};
use super::reader::Reader;
use super::wasm::WasmService;

/// What a proxy is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Who the proxy is, which filters can read.
    pub node: NodeId,
    /// Where the proxy answers about itself.
    pub admin: Option<SocketAddr>,
    /// Where connections come in.
    pub listeners: Vec<Listener>,
    /// The endpoints that they go to.
    pub clusters: Vec<Cluster>,
    /// The plugins without streams.
    pub services: Vec<WasmService>,
    /// The limits of plugins and scripts.
    pub settings: Settings,
}

const SERVICES: &[Extension<WasmService>] = &[Extension {
    names: &["envoy.bootstrap.wasm", "envoy.wasm"],
    types: &[
        "envoy.extensions.wasm.v3.WasmService",
        "envoy.config.wasm.v2alpha.WasmService",
        "envoy.config.wasm.v2.WasmService",
    ],
    read: Read::By(WasmService::read),
}];

impl Bootstrap {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        reader.refuse(
            "dynamic_resources",
            "write listeners and clusters in `static_resources`",
        );
        reader.note(
            "stats_config",
            "has no effect: metrics have their whole names, without tags",
        );
        if !reader.has("bootstrap_extensions") {
            reader.require("static_resources", "{ listeners: [...] }");
        }
        let resources = reader.message("static_resources", |r| {
            r.refuse(
                "secrets",
                "name the files of certificates where they are used",
            );
            let listeners = r.messages("listeners", |r| (r.place_of("address"), Listener::read(r)));
            let mut taken: BTreeMap<_, _> = BTreeMap::new();
            for (place, listener) in &listeners {
                let address = listener.address;
                if address.port() != 0
                    && let Some(first) = taken.insert(address, listener.place)
                {
                    let message = format!(
                        "the listener at {first} has `{address}` already: choose another port"
                    );
                    r.report().problem(*place, message);
                }
            }
            let listeners = listeners
                .into_iter()
                .map(|(_, listener)| listener)
                .collect();
            (listeners, r.messages("clusters", Cluster::read))
        });
        let (listeners, clusters) = resources.unwrap_or_default();
        let services = reader.messages("bootstrap_extensions", |r| extension(r, SERVICES));
        let admin = reader.message("admin", |r| {
            for field in ["access_log_path", "access_log", "profile_path"] {
                r.note(field, "has no effect: nothing of it is written");
            }
            r.require(
                "address",
                "{ socket_address: { address: 127.0.0.1, port_value: 9901 } }",
            );
            r.message("address", bind_address)
        });
        Self {
            node: reader.message("node", node).unwrap_or_default(),
            admin: admin.flatten(),
            listeners,
            clusters,
            services: services.into_iter().flatten().collect(),
            settings: reader
                .message("extengine", Settings::read)
                .unwrap_or_default(),
        }
    }
}

fn node(reader: &Reader<'_>) -> NodeId {
    reader.entries("metadata");
    NodeId {
        id: reader.text("id"),
        cluster: reader.text("cluster"),
        metadata: reader.json("metadata"),
    }
}
