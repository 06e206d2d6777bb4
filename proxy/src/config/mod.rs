//! A proxy's configuration: the part of Envoy's static bootstrap, version 3, that the proxy knows, checked whole.
//!
//! Every problem is reported at once, each with its line and column and what to do; what is not known is refused, never
//! passed over. What the proxy accepts and does in its own way is a [`Notice`].
//!
//! ```
//! use proxy::config::Config;
//!
//! let text = r#"
//! static_resources:
//!   listeners:
//!   - address:
//!       socket_address: { address: 0.0.0.0, port_value: 18000 }
//!     filter_chains:
//!     - filters:
//!       - name: envoy.filters.network.tcp_proxy
//!         typed_config:
//!           "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
//!           stat_prfix: ingress
//!           cluster: backend
//! "#;
//! let error = Config::parse(text, "envoy.yaml").unwrap_err();
//! let lines: Vec<_> = error.message().lines().collect();
//! assert_eq!(lines.len(), 3, "{lines:?}");
//! assert!(lines[0].starts_with("envoy.yaml:10:11: `envoy.filters.network.tcp_proxy` needs `stat_prefix: "));
//! assert!(lines[1].starts_with("envoy.yaml:11:11: the proxy knows no `stat_prfix`"));
//! assert!(lines[2].starts_with("envoy.yaml:12:20: there is no cluster `backend`"));
//! ```
//!
//! # What is the proxy's own
//! Envoy has no limits for one plugin. The proxy reads them from a mapping that Envoy does not know, beside
//! `static_resources`; what stands in it is optional, as it is itself:
//!
//! ```yaml
//! extengine:
//!   wasm: { memory: 64MiB, deadline: 100ms, plugins: { my_plugin: { memory: 128MiB } } }
//!   lua: { memory: 64MiB, deadline: 100ms }
//! ```
//!
//! `memory` is that of a virtual machine on one thread, `deadline` the time of one callback.
//!
//! A native filter has the type `type.googleapis.com/extengine.filters.http.native.v1.Native`, with the `name` under which
//! it is compiled in and any `config`; on a route, with the `config` that is merged into the filter's.
//!
//! # YAML
//! Plain words and numbers mean what they mean to Envoy. Fields have their names of `.proto` files or of JSON
//! (`statPrefix`), and words of enumerations are in either case. Anchors are known, and `!ignore` drops a field that is
//! there to set one. Relative file names start from the working directory.

mod access_log;
mod any;
mod bootstrap;
mod cluster;
mod format;
mod http;
mod limits;
mod listener;
mod lua;
mod native;
mod node;
mod reader;
mod report;
mod route;
mod tls;
mod values;
mod wasm;

use std::path::Path;

use engine_core::error::{Error, ErrorKind, Result};

pub use filters::{Metadata, NodeId, TrafficDirection};

pub use bootstrap::Bootstrap;
pub use cluster::{Cluster, Discovery, DnsFamily, Endpoint, UpstreamProtocol};
pub use format::{LogFormat, LogHeaders, LogPiece, LogValue};
pub use http::{
    Codec, FilterOverride, FilterOverrides, Http2Options, HttpConnectionManager, HttpFilter,
    HttpFilterKind,
};
pub use limits::{PluginLimits, Settings};
pub use listener::{ChainEnd, FilterChain, Listener, TcpProxy};
pub use lua::{LuaFilter, LuaPerRoute, LuaRouteCode};
pub use native::NativeFilter;
pub use report::{Notice, Place};
pub(crate) use route::RoutePlace;
pub use route::{
    Action, ClusterAction, DirectResponse, Domain, HostRewrite, PathMatch, Redirect, Route,
    RouteConfig, VirtualHost,
};
pub use tls::{Certificate, DownstreamTls, TlsContext, TlsVersion, UpstreamTls};
pub use values::{DataFrom, DataSource};
pub use wasm::{Backoff, Environment, FailurePolicy, WasmCode, WasmPlugin, WasmService, WasmVm};

use reader::Reader;
use report::Report;

/// A configuration that has no mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What it says.
    pub bootstrap: Bootstrap,
    /// What the proxy does in its own way, in the order of the text.
    pub notices: Vec<Notice>,
}

impl Config {
    /// Reads a configuration from a file.
    ///
    /// # Errors
    /// `io` where the file cannot be read, `manifest` where it is no UTF-8 or as in [`Config::parse`].
    pub fn load(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            let message = format!("cannot read the configuration `{file}`: {error}");
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
            let message = format!("{file}:{line}:1: this is no UTF-8: save the file as UTF-8");
            Error::new(ErrorKind::Manifest, message)
        })?;
        Self::parse(&text, &file)
    }

    /// Reads a configuration, in YAML or JSON, that problems call `file`.
    ///
    /// The files that the configuration names are not looked at.
    ///
    /// # Errors
    /// `manifest` with every problem on a line of its own, such as `envoy.yaml:14:8: ...`, in the order of the text.
    /// A text that is no YAML is reported for that alone.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let report = Report::default();
        let root = node::parse(text, &report);
        let bootstrap = root
            .and_then(|root| Reader::read("the configuration", &root, &report, Bootstrap::read));
        let notices = report.finish(file)?;
        bootstrap
            .map(|bootstrap| Self { bootstrap, notices })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    "a configuration was refused without a reason",
                )
            })
    }
}
