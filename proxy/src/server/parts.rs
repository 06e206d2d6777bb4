//! What can be prepared of a configuration for all threads: modules and scripts compiled, certificates and bodies read.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::limits::Limits;
#[cfg(feature = "lua")]
use filter_lua::{LuaConfig, LuaFilters, LuaLimits, LuaRoute, LuaRouteConfig};
use filters::native::NativeConfig;
use proxy_wasm::{Plugin, PluginConfig, VmConfig};
use tokio_rustls::rustls::ServerConfig;

use super::generation::Options;
use crate::config::{
    Action, Bootstrap, ChainEnd, DataSource, FilterChain, FilterOverride, HttpConnectionManager,
    HttpFilter, HttpFilterKind, LuaFilter, NativeFilter, Place, Route, Settings, VirtualHost,
    WasmPlugin,
};
#[cfg(feature = "lua")]
use crate::config::{LuaRouteCode, Metadata};
use crate::tls;

/// What is prepared, by its place in the configuration.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) plugins: BTreeMap<Place, Arc<Plugin>>,
    /// Bodies of direct responses, by their routes.
    pub(crate) bodies: BTreeMap<Place, bytes::Bytes>,
    /// TLS of filter chains.
    pub(crate) tls: BTreeMap<Place, Arc<ServerConfig>>,
    pub(crate) natives: BTreeMap<Place, NativeConfig>,
    /// Native filters as a route has them, by both.
    pub(crate) native_routes: BTreeMap<(Place, Place), NativeConfig>,
    #[cfg(feature = "lua")]
    pub(crate) luas: BTreeMap<Place, Arc<LuaFilters>>,
    /// What a route makes of a Lua filter, by both.
    #[cfg(feature = "lua")]
    pub(crate) lua_routes: BTreeMap<(Place, Place), Arc<LuaRoute>>,
}

impl Parts {
    /// Prepares what a configuration names; whatever cannot be goes to `problems`.
    pub(crate) fn prepare(
        bootstrap: &Bootstrap,
        options: &Options,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut preparing = Preparing {
            options,
            settings: &bootstrap.settings,
            problems,
            parts: Self::default(),
        };
        for listener in &bootstrap.listeners {
            for chain in &listener.filter_chains {
                preparing.chain(chain);
            }
        }
        for service in &bootstrap.services {
            preparing.plugin(&service.plugin);
        }
        preparing.parts
    }
}

/// The routes of a connection manager, with their virtual hosts.
fn routes(manager: &HttpConnectionManager) -> impl Iterator<Item = (&VirtualHost, &Route)> {
    let hosts = manager.routes.virtual_hosts.iter();
    hosts.flat_map(|host| host.routes.iter().map(move |route| (host, route)))
}

/// What a route, or its virtual host, makes of a filter.
pub(crate) fn over<'a>(
    host: &'a VirtualHost,
    route: &'a Route,
    filter: &HttpFilter,
) -> Option<&'a FilterOverride> {
    let over = route.overrides.get(&filter.name);
    over.or(host.overrides.get(&filter.name))
}

struct Preparing<'a> {
    options: &'a Options,
    settings: &'a Settings,
    problems: &'a mut Vec<String>,
    parts: Parts,
}

impl Preparing<'_> {
    fn chain(&mut self, chain: &FilterChain) {
        if let Some(context) = &chain.tls {
            match tls::server(context) {
                Ok(config) => {
                    self.parts.tls.insert(chain.place, config);
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
                HttpFilterKind::Lua(lua) => self.lua(manager, filter, lua),
            }
        }
        for (_, route) in routes(manager) {
            if let Action::Direct(direct) = &route.action
                && let Some(body) = &direct.body
                && let Some(bytes) = self.bytes(body)
            {
                self.parts.bodies.insert(route.place, bytes.into());
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
        for (host, route) in routes(manager) {
            let Some(FilterOverride::Native(over)) = over(host, route, filter) else {
                continue;
            };
            let over = NativeConfig::parse(&native.name, over);
            match over.and_then(|over| config.merge(&over)) {
                Ok(merged) => {
                    let place = (filter.place, route.place);
                    self.parts.native_routes.insert(place, merged);
                }
                Err(error) => self.problems.push(format!("{}: {error}", route.place)),
            }
        }
        self.parts.natives.insert(filter.place, config);
    }

    /// A Lua filter, and what routes make of it.
    #[cfg(feature = "lua")]
    fn lua(&mut self, manager: &HttpConnectionManager, filter: &HttpFilter, lua: &LuaFilter) {
        let limits = self.settings.lua;
        let code = lua.code.as_ref().and_then(|code| self.text(code));
        let sources = lua.sources.iter();
        let sources = sources.filter_map(|(name, code)| Some((name.clone(), self.text(code)?)));
        let config = LuaConfig {
            name: filter.name.clone(),
            default_source_code: code,
            source_codes: sources.collect(),
            stat_prefix: lua.stat_prefix.clone(),
            clear_route_cache: lua.clear_route_cache,
            limits: LuaLimits {
                memory: limits.memory,
                deadline_ms: limits.deadline.as_millis().try_into().unwrap_or(u32::MAX),
                ..LuaLimits::default()
            },
        };
        let loaded = match LuaFilters::load(config) {
            Ok(loaded) => loaded,
            Err(error) => return self.problems.push(format!("{}: {error}", filter.place)),
        };
        for (host, route) in routes(manager) {
            let metadata = |of: &Metadata| match of.get(&filter.name) {
                Some(serde_json::Value::Object(values)) => values.clone(),
                _ => serde_json::Map::new(),
            };
            let mut config = LuaRouteConfig {
                metadata: metadata(&route.metadata),
                virtual_host_metadata: metadata(&host.metadata),
                ..LuaRouteConfig::default()
            };
            if let Some(FilterOverride::Lua(over)) = over(host, route, filter) {
                match &over.code {
                    LuaRouteCode::Default => {}
                    LuaRouteCode::Disabled => config.disabled = true,
                    LuaRouteCode::Named(_, name) => config.name = Some(name.clone()),
                    LuaRouteCode::Source(code) => config.source_code = self.text(code),
                }
                if let serde_json::Value::Object(context) = &over.filter_context {
                    config.filter_context = context.clone();
                }
            }
            match loaded.route(config) {
                Ok(routed) => {
                    let place = (filter.place, route.place);
                    self.parts.lua_routes.insert(place, routed);
                }
                Err(error) => self.problems.push(format!("{}: {error}", route.place)),
            }
        }
        self.parts.luas.insert(filter.place, loaded);
    }

    #[cfg(not(feature = "lua"))]
    fn lua(&mut self, _: &HttpConnectionManager, filter: &HttpFilter, _: &LuaFilter) {
        let message = "this program has no Lua filters: build it with the feature `lua`";
        self.problems.push(format!("{}: {message}", filter.place));
    }

    #[cfg(feature = "lua")]
    fn text(&mut self, source: &DataSource) -> Option<String> {
        let bytes = self.bytes(source)?;
        let text = String::from_utf8(bytes);
        text.map_err(|_| {
            self.problems
                .push(format!("{}: this is no UTF-8", source.place))
        })
        .ok()
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
            policy: plugin.failure_policy,
            backoff: plugin.backoff,
            body_before_headers: plugin.allow_on_headers_stop_iteration.unwrap_or(false),
        };
        match self.options.wasm.load(config) {
            Ok(loaded) => {
                self.parts.plugins.insert(plugin.place, loaded);
            }
            Err(error) => self.problems.push(format!("{}: {error}", plugin.place)),
        }
    }
}
