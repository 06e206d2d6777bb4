//! A configuration prepared for all threads: modules compiled, certificates and bodies read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::Limits;
use filters::Level;
use filters::metrics::Metrics;
use filters::native::NativeConfig;
use proxy_wasm::{Backoff, FailurePolicy, Plugin, PluginConfig, ProxyWasm, VmConfig};
use tokio_rustls::rustls::ServerConfig;

use super::LogSink;
use crate::config::{
    Action, Bootstrap, ChainEnd, DataSource, FilterChain, FilterOverride, HttpConnectionManager,
    HttpFilter, HttpFilterKind, NativeFilter, Place, Settings, WasmPlugin,
};
use crate::tls;
use crate::upstream;

/// What a proxy is told beside its configuration.
#[derive(Clone)]
pub struct Options {
    /// The engine that runs WASM filters, such as `wasmtime`.
    pub engine: String,
    /// How many workers serve connections.
    pub concurrency: usize,
    /// The least level that is logged.
    pub level: Level,
    /// Where the log goes.
    pub log: LogSink,
    /// What WASM filters call by name and what their machines share, across generations.
    pub wasm: Arc<ProxyWasm>,
    /// The metrics, across generations.
    pub metrics: Arc<Metrics>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("engine", &self.engine)
            .field("concurrency", &self.concurrency)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// A configuration with everything that can be prepared for all threads.
#[derive(Debug)]
pub struct Generation {
    pub(crate) bootstrap: Bootstrap,
    pub(crate) options: Options,
    /// WASM plugins by their places in the configuration.
    pub(crate) plugins: BTreeMap<Place, Arc<Plugin>>,
    /// Bodies of direct responses by their places.
    pub(crate) bodies: BTreeMap<Place, bytes::Bytes>,
    /// TLS of filter chains by their places.
    pub(crate) tls: BTreeMap<Place, Arc<ServerConfig>>,
    pub(crate) upstreams: Arc<[upstream::Blueprint]>,
    /// Native filters by their places.
    pub(crate) natives: BTreeMap<Place, NativeConfig>,
    /// The same as a route has them, by their places and the route's.
    pub(crate) routed: BTreeMap<(Place, Place), NativeConfig>,
    /// Where native filters' tasks run.
    pub(crate) tasks: tokio::runtime::Handle,
}

impl Generation {
    /// Prepares a configuration.
    ///
    /// # Errors
    /// `manifest` with everything that cannot be prepared, each with its place.
    pub fn prepare(
        bootstrap: Bootstrap,
        options: &Options,
        tasks: &tokio::runtime::Handle,
    ) -> Result<Arc<Self>> {
        let mut problems = Vec::new();
        let upstreams = upstream::prepare(&bootstrap.clusters);
        let upstreams = upstreams
            .map_err(|error| problems.push(error.to_string()))
            .ok();
        let mut preparing = Preparing {
            options,
            settings: &bootstrap.settings,
            problems,
            plugins: BTreeMap::new(),
            bodies: BTreeMap::new(),
            tls: BTreeMap::new(),
            natives: BTreeMap::new(),
            routed: BTreeMap::new(),
        };
        for listener in &bootstrap.listeners {
            for chain in &listener.filter_chains {
                preparing.chain(chain);
            }
        }
        for service in &bootstrap.services {
            preparing.plugin(&service.plugin);
        }
        let Preparing {
            problems,
            plugins,
            bodies,
            tls,
            natives,
            routed,
            ..
        } = preparing;
        match upstreams {
            Some(upstreams) if problems.is_empty() => Ok(Arc::new(Self {
                bootstrap,
                options: options.clone(),
                plugins,
                bodies,
                tls,
                upstreams,
                natives,
                routed,
                tasks: tasks.clone(),
            })),
            _ => Err(Error::new(ErrorKind::Manifest, problems.join("\n"))),
        }
    }
}

struct Preparing<'a> {
    options: &'a Options,
    settings: &'a Settings,
    problems: Vec<String>,
    plugins: BTreeMap<Place, Arc<Plugin>>,
    bodies: BTreeMap<Place, bytes::Bytes>,
    tls: BTreeMap<Place, Arc<ServerConfig>>,
    natives: BTreeMap<Place, NativeConfig>,
    routed: BTreeMap<(Place, Place), NativeConfig>,
}

impl Preparing<'_> {
    fn chain(&mut self, chain: &FilterChain) {
        if let Some(context) = &chain.tls {
            match tls::server(context) {
                Ok(config) => {
                    self.tls.insert(chain.place, config);
                }
                Err(error) => self.problems.push(error.to_string()),
            }
        }
        for plugin in &chain.plugins {
            self.plugin(plugin);
        }
        if let ChainEnd::Http(manager) = &chain.end {
            self.http(manager);
        }
    }

    fn http(&mut self, manager: &HttpConnectionManager) {
        for filter in &manager.filters {
            match &filter.kind {
                HttpFilterKind::Wasm(plugin) => self.plugin(plugin),
                HttpFilterKind::Native(native) => self.native(manager, filter, native),
                HttpFilterKind::Lua(_) => {}
            }
        }
        for route in manager
            .routes
            .virtual_hosts
            .iter()
            .flat_map(|host| &host.routes)
        {
            if let Action::Direct(direct) = &route.action
                && let Some(body) = &direct.body
                && let Some(bytes) = self.bytes(body)
            {
                self.bodies.insert(route.place, bytes.into());
            }
        }
    }

    /// A native filter, and what routes make of it.
    fn native(
        &mut self,
        manager: &HttpConnectionManager,
        filter: &HttpFilter,
        native: &NativeFilter,
    ) {
        let config = match NativeConfig::parse(&native.name, &native.config) {
            Ok(config) => config,
            Err(error) => {
                return self.problems.push(format!("{}: {error}", native.place));
            }
        };
        for host in &manager.routes.virtual_hosts {
            for route in &host.routes {
                let over = route.overrides.get(&filter.name);
                let Some(FilterOverride::Native(over)) = over.or(host.overrides.get(&filter.name))
                else {
                    continue;
                };
                let merged =
                    NativeConfig::parse(&native.name, over).and_then(|over| config.merge(&over));
                match merged {
                    Ok(merged) => {
                        self.routed.insert((filter.place, route.place), merged);
                    }
                    Err(error) => self.problems.push(format!("{}: {error}", route.place)),
                }
            }
        }
        self.natives.insert(filter.place, config);
    }

    fn bytes(&mut self, source: &DataSource) -> Option<Vec<u8>> {
        match source.bytes() {
            Ok(bytes) => Some(bytes.into_owned()),
            Err(error) => {
                self.problems.push(error.to_string());
                None
            }
        }
    }

    fn plugin(&mut self, plugin: &WasmPlugin) {
        let Some(code) = self.bytes(&plugin.vm.code.0) else {
            return;
        };
        let limits = self.settings.plugin(&plugin.name);
        let mut environment = plugin.vm.environment.values.clone();
        for key in &plugin.vm.environment.host_keys {
            if let Ok(value) = std::env::var(key) {
                environment.insert(key.clone(), value);
            }
        }
        let capabilities = &plugin.allowed_capabilities;
        let config = PluginConfig {
            name: plugin.name.clone(),
            root_id: plugin.root_id.clone(),
            vm: VmConfig {
                vm_id: plugin.vm.vm_id.clone(),
                code: code.into(),
                configuration: plugin.vm.configuration.clone(),
                environment,
                engine: self.options.engine.clone(),
                limits: Limits {
                    memory: limits.memory,
                    deadline_ms: limits.deadline.as_millis().try_into().unwrap_or(u32::MAX),
                    ..Limits::default()
                },
                capabilities: (!capabilities.is_empty()).then(|| capabilities.clone()),
            },
            configuration: plugin.configuration.clone(),
            policy: match plugin.failure_policy {
                crate::config::FailurePolicy::Open => FailurePolicy::Open,
                _ => FailurePolicy::Closed,
            },
            backoff: Backoff {
                base: plugin.backoff.base,
                max: plugin.backoff.max,
            },
            body_before_headers: plugin.allow_on_headers_stop_iteration.unwrap_or(false),
        };
        match self.options.wasm.load(config) {
            Ok(loaded) => {
                self.plugins.insert(plugin.place, loaded);
            }
            Err(error) => self.problems.push(format!("{}: {error}", plugin.place)),
        }
    }
}
