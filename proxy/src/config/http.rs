//! The HTTP connection manager and its filters.

use std::collections::BTreeMap;
use std::time::Duration;

use super::access_log;
use super::any::{Extension, Read, any, extension};
use super::format::LogFormat;
use super::lua::{LuaFilter, LuaPerRoute, LuaRouteCode};
use super::native::{NATIVE, NativeFilter};
use super::reader::{Reader, instead};
use super::report::Place;
use super::route::RouteConfig;
use super::wasm::{self, WasmPlugin};

const GOLANG: &str = "it loads no shared objects: build the filter as proxy-wasm or natively, as docs/moving-from-envoy.md says";

/// What serves the HTTP of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConnectionManager {
    /// The name in metrics.
    pub stat_prefix: String,
    /// Which versions of HTTP are spoken.
    pub codec: Codec,
    /// The lines that are written to standard output for each stream.
    pub access_logs: Vec<LogFormat>,
    /// Where requests go.
    pub routes: RouteConfig,
    /// The filters, in the order of requests, without the router that ends them.
    pub filters: Vec<HttpFilter>,
    /// How long a stream may be without bytes; for ever where it is zero. 5 minutes.
    pub stream_idle_timeout: Duration,
    /// How long a request may take to arrive whole; for ever where it is zero, as it is by default.
    pub request_timeout: Duration,
    /// How long a connection may be without streams; for ever where it is zero. 1 hour.
    pub idle_timeout: Duration,
    /// How long a connection of HTTP/1 without requests goes on after it was told to end, and one of HTTP/2 whose client
    /// does not answer. 5 seconds.
    pub drain_timeout: Duration,
    /// How long a client of HTTP/1 is still read whose request was answered before he had sent it all; not at all where it
    /// is zero. 1 second.
    pub delayed_close_timeout: Duration,
    /// The most KiB that the names and values of a request's headers have. 60.
    pub max_request_headers_kb: u32,
    /// Settings of HTTP/2.
    pub http2: Http2Options,
}

/// Which versions of HTTP a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// What the client speaks: by ALPN with TLS, else by its first bytes.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Settings of HTTP/2; what is absent is the HTTP stack's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Options {
    /// Streams that a connection may have at once.
    pub max_concurrent_streams: Option<u32>,
    /// Bytes of a stream that may be under way.
    pub initial_stream_window_size: Option<u32>,
    /// Bytes of a connection that may be under way.
    pub initial_connection_window_size: Option<u32>,
}

/// One HTTP filter.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFilter {
    /// Where it stands.
    pub place: Place,
    /// The name, by which routes know it.
    pub name: String,
    /// Whether it runs only where a route enables it.
    pub is_disabled: bool,
    /// What it is.
    pub kind: HttpFilterKind,
}

/// What an HTTP filter is.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpFilterKind {
    /// A proxy-wasm plugin.
    Wasm(WasmPlugin),
    /// Lua.
    Lua(LuaFilter),
    /// Native.
    Native(NativeFilter),
}

/// What a route or virtual host makes of a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterOverride {
    /// The filter does not run.
    Disabled,
    /// The filter runs, also where it is disabled by itself.
    Enabled,
    /// Of a Lua filter.
    Lua(LuaPerRoute),
    /// Of a native filter: a configuration to be merged into its own.
    Native(serde_json::Value),
}

/// Overrides by the names of filters.
pub type FilterOverrides = BTreeMap<String, FilterOverride>;

/// A filter, or `None` for the router.
const FILTERS: &[Extension<Option<HttpFilterKind>>] = &[
    Extension {
        names: &["envoy.filters.http.wasm", "envoy.wasm"],
        types: &[
            "envoy.extensions.filters.http.wasm.v3.Wasm",
            "envoy.config.filter.http.wasm.v2.Wasm",
        ],
        read: Read::By(|r| Some(HttpFilterKind::Wasm(wasm::filter(r)))),
    },
    Extension {
        names: &["envoy.filters.http.lua", "envoy.lua"],
        types: &[
            "envoy.extensions.filters.http.lua.v3.Lua",
            "envoy.config.filter.http.lua.v2.Lua",
        ],
        read: Read::By(|r| Some(HttpFilterKind::Lua(LuaFilter::read(r)))),
    },
    Extension {
        names: &["extengine.filters.http.native"],
        types: &[NATIVE],
        read: Read::By(|r| Some(HttpFilterKind::Native(NativeFilter::read(r)))),
    },
    Extension {
        names: &["envoy.filters.http.router", "envoy.router"],
        types: &[
            "envoy.extensions.filters.http.router.v3.Router",
            "envoy.config.filter.http.router.v2.Router",
        ],
        read: Read::By(|r| {
            r.note("dynamic_stats", "has no effect: metrics are always kept");
            r.note(
                "suppress_envoy_headers",
                "has no effect: the router adds no headers",
            );
            None
        }),
    },
    Extension {
        names: &["envoy.filters.http.golang"],
        types: &["envoy.extensions.filters.http.golang.v3alpha.Config"],
        read: Read::Refused(GOLANG),
    },
];

const OVERRIDES: &[Extension<FilterOverride>] = &[
    Extension {
        names: &[],
        types: &["envoy.extensions.filters.http.lua.v3.LuaPerRoute"],
        read: Read::By(|r| FilterOverride::Lua(LuaPerRoute::read(r))),
    },
    Extension {
        names: &[],
        types: &[NATIVE],
        read: Read::By(|r| FilterOverride::Native(NativeFilter::read_route(r))),
    },
    Extension {
        names: &[],
        types: &["envoy.config.route.v3.FilterConfig"],
        read: Read::By(filter_config),
    },
    Extension {
        names: &[],
        types: &["envoy.extensions.filters.http.golang.v3alpha.ConfigsPerRoute"],
        read: Read::Refused(GOLANG),
    },
];

fn filter_config(reader: &Reader<'_>) -> FilterOverride {
    let is_disabled = reader.flag("disabled").unwrap_or(false);
    reader.flag("is_optional");
    match reader.field("config") {
        Some((_, node)) if !is_disabled => {
            any(reader, "config", node, OVERRIDES).unwrap_or(FilterOverride::Enabled)
        }
        Some((key, _)) => {
            let message = "`config` excludes `disabled`: leave one";
            reader.report().problem(key.place, message);
            FilterOverride::Disabled
        }
        None if is_disabled => FilterOverride::Disabled,
        None => FilterOverride::Enabled,
    }
}

/// Overrides as they are read: with the places of the names, which only the whole chain can judge.
pub(super) type PlacedOverrides = Vec<(Place, String, FilterOverride)>;

/// Reads `typed_per_filter_config`, and keeps for later what the chain must judge.
pub(super) fn overrides(reader: &Reader<'_>, all: &mut PlacedOverrides) -> FilterOverrides {
    let advice = "write it as `typed_per_filter_config`, each message with its `@type`";
    reader.refuse("per_filter_config", advice);
    let mut overrides = FilterOverrides::new();
    for (key, node) in reader.entries("typed_per_filter_config") {
        let Some(found) = any(reader, &key.name, node, OVERRIDES) else {
            continue;
        };
        all.push((key.place, key.name.clone(), found.clone()));
        overrides.insert(key.name.clone(), found);
    }
    overrides
}

impl HttpConnectionManager {
    /// The most bytes that the names and values of a request's headers have.
    pub(crate) fn headers_limit(&self) -> usize {
        self.max_request_headers_kb as usize * 1024
    }

    pub(super) fn read(reader: &Reader<'_>) -> Self {
        reader.refuse("rds", "write the routes here, as `route_config`");
        reader.refuse("scoped_routes", "write the routes here, as `route_config`");
        let codecs = [
            ("AUTO", Codec::Auto),
            ("HTTP1", Codec::Http1),
            ("HTTP2", Codec::Http2),
        ];
        let filters = chain(reader);
        let mut overrides = PlacedOverrides::new();
        reader.require("route_config", "{ virtual_hosts: [...] }");
        let routes = reader.message("route_config", |r| RouteConfig::read(r, &mut overrides));
        for (place, name, found) in &overrides {
            check_override(reader, &filters, *place, name, found);
        }
        let idle = reader.message("common_http_protocol_options", |r| {
            r.duration("idle_timeout")
        });
        let seconds = Duration::from_secs;
        Self {
            stat_prefix: reader.need_text("stat_prefix", "ingress_http"),
            codec: reader.choice("codec_type", &codecs).unwrap_or_default(),
            access_logs: access_log::read(reader),
            routes: routes.unwrap_or_default(),
            filters,
            stream_idle_timeout: reader
                .duration("stream_idle_timeout")
                .unwrap_or(seconds(300)),
            request_timeout: reader.duration("request_timeout").unwrap_or_default(),
            idle_timeout: idle.flatten().unwrap_or(seconds(3600)),
            drain_timeout: reader.duration("drain_timeout").unwrap_or(seconds(5)),
            delayed_close_timeout: reader
                .duration("delayed_close_timeout")
                .unwrap_or(seconds(1)),
            max_request_headers_kb: reader
                .number_32("max_request_headers_kb", 1..=8192)
                .unwrap_or(60),
            http2: reader
                .message("http2_protocol_options", Http2Options::read)
                .unwrap_or_default(),
        }
    }
}

impl Http2Options {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let most = i32::MAX.unsigned_abs();
        Self {
            max_concurrent_streams: reader.number_32("max_concurrent_streams", 1..=most),
            initial_stream_window_size: reader
                .number_32("initial_stream_window_size", 65_535..=most),
            initial_connection_window_size: reader
                .number_32("initial_connection_window_size", 65_535..=most),
        }
    }
}

/// Reads `http_filters`, which must end with the router.
fn chain(reader: &Reader<'_>) -> Vec<HttpFilter> {
    let elements = reader.messages("http_filters", |r| {
        r.refuse(
            "config_discovery",
            "write the filter here, as `typed_config`",
        );
        if r.flag("is_optional") == Some(true) {
            r.refuse(
                "is_optional",
                "what the configuration names is there or refused: remove it",
            );
        }
        let is_disabled = r.flag("disabled").unwrap_or(false);
        let kind = extension(r, FILTERS);
        (r.place(), r.text("name"), is_disabled, kind)
    });
    let is_router = |kind: &Option<Option<HttpFilterKind>>| matches!(kind, Some(None));
    let end = elements.iter().position(|(.., kind)| is_router(kind));
    if let (Some(end), Some((place, ..))) = (end, elements.last())
        && end + 1 < elements.len()
    {
        let message = "no filter runs behind the router: put the router last";
        reader.report().problem(*place, message);
    }
    if end.is_none() && elements.iter().all(|(.., kind)| kind.is_some()) {
        let message =
            "`http_filters` must end with the router: add `name: envoy.filters.http.router`";
        reader.problem_at("http_filters", message);
    }
    let filters = elements
        .into_iter()
        .filter_map(|(place, name, is_disabled, kind)| {
            Some(HttpFilter {
                place,
                name,
                is_disabled,
                kind: kind.flatten()?,
            })
        });
    filters.collect()
}

/// Reports an override of no filter, or of a filter of another kind.
fn check_override(
    reader: &Reader<'_>,
    filters: &[HttpFilter],
    place: Place,
    name: &str,
    found: &FilterOverride,
) {
    let named: Vec<_> = filters
        .iter()
        .filter(|filter| filter.name == name)
        .collect();
    let report = reader.report();
    if named.is_empty() {
        let known = instead(name, filters.iter().map(|filter| filter.name.as_str()));
        let message = format!("`{name}` is the name of no filter in `http_filters`: {known}");
        report.problem(place, message);
    }
    for filter in named {
        match (found, &filter.kind) {
            (FilterOverride::Disabled | FilterOverride::Enabled, _)
            | (FilterOverride::Native(_), HttpFilterKind::Native(_)) => {}
            (FilterOverride::Lua(route), HttpFilterKind::Lua(lua)) => {
                if let LuaRouteCode::Named(place, code) = &route.code
                    && !lua.sources.contains_key(code)
                {
                    let known = instead(code, lua.sources.keys().map(String::as_str));
                    let message =
                        format!("`{code}` is none of the filter's `source_codes`: {known}");
                    report.problem(*place, message);
                }
            }
            _ => {
                let message = format!(
                    "`{name}` is a filter of another kind than this message is for: change one"
                );
                report.problem(place, message);
            }
        }
    }
}
