//! What a filter in Lua is made of: its configuration, and its scripts compiled once for all threads.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use engine_core::limits as core;
use engine_core::ticker::Ticker;
use engine_lua::base;
use serde_json::{Map, Value};

use crate::machine::{Machine, Machines};
use crate::scan;

/// Configuration of a filter.
#[derive(Clone, Debug)]
pub struct LuaConfig {
    /// The filter's name, under which its lines are logged.
    pub name: String,
    /// Stands in the names of its metrics; `lua.errors` becomes `lua.PREFIX.errors`. Empty for none.
    pub stat_prefix: String,
    /// The script of streams whose route names no other one; Envoy's `inline_code` is the same.
    pub default_source_code: Option<String>,
    /// Scripts that routes name.
    pub source_codes: BTreeMap<String, String>,
    /// Whether a change of a request's headers has the proxy choose a route anew, without `clearRouteCache`; it does by
    /// default.
    pub clear_route_cache: bool,
    /// What scripts may use.
    pub limits: LuaLimits,
}

impl Default for LuaConfig {
    fn default() -> Self {
        Self {
            name: "envoy.filters.http.lua".to_owned(),
            stat_prefix: String::new(),
            default_source_code: None,
            source_codes: BTreeMap::new(),
            clear_route_cache: true,
            limits: LuaLimits::default(),
        }
    }
}

/// What a script may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LuaLimits {
    /// Bytes of a virtual machine, for all streams on it together; 64 MiB.
    pub memory: u64,
    /// Milliseconds that a coroutine may run until it ends or waits; 100. Loading a script may take a second.
    pub deadline_ms: u32,
    /// Bytes of stack, of which a call counts 128; 512 KiB.
    pub stack: u32,
}

impl Default for LuaLimits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            deadline_ms: 100,
            stack: 512 << 10,
        }
    }
}

/// What a route changes of a filter, and tells it.
#[derive(Clone, Debug, Default)]
pub struct LuaRouteConfig {
    /// No script runs.
    pub disabled: bool,
    /// The name of one of the filter's `source_codes`, in the default script's place.
    pub name: Option<String>,
    /// A script of the route's own, in the default script's place.
    pub source_code: Option<String>,
    /// What `handle:filterContext()` answers.
    pub filter_context: Map<String, Value>,
    /// What `handle:metadata()` answers: the route's metadata under the filter's name.
    pub metadata: Map<String, Value>,
    /// What `handle:virtualHost():metadata()` answers: that of the route's virtual host.
    pub virtual_host_metadata: Map<String, Value>,
}

/// Why a configuration is refused; the message names each script and line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A filter with its scripts compiled and tried out, shared by all threads.
pub struct LuaFilters {
    pub(crate) config: LuaConfig,
    default: Option<Arc<Script>>,
    named: BTreeMap<String, Arc<Script>>,
    pub(crate) ticker: Arc<Ticker>,
}

impl fmt::Debug for LuaFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaFilters")
            .field("name", &self.config.name)
            .field("default", &self.default)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// A compiled script.
pub(crate) struct Script {
    /// What error messages call it.
    pub(crate) name: String,
    /// Made by the process's own compiler from text, never by anyone else.
    pub(crate) bytecode: Vec<u8>,
    /// It has a word for the table of its globals, so that it may replace functions there.
    pub(crate) names_globals: bool,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("name", &self.name)
            .field("bytecode", &self.bytecode.len())
            .finish()
    }
}

/// A route's changes, compiled.
#[derive(Debug, Default)]
pub struct LuaRoute {
    pub(crate) disabled: bool,
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) filter_context: Map<String, Value>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) virtual_host_metadata: Map<String, Value>,
}

impl LuaFilters {
    /// Compiles the scripts of a configuration and runs each once, in a virtual machine that is thrown away.
    ///
    /// # Errors
    /// A script that is no Luau text, uses `require`, `ffi`, `goto` or the like, or does not run; the first such script by name.
    pub fn load(config: LuaConfig) -> Result<Arc<Self>, LoadError> {
        let ticker = ticker().map_err(|error| LoadError(format!("the ticker: {error}")))?;
        let mut filters = Self {
            config,
            default: None,
            named: BTreeMap::new(),
            ticker,
        };
        if let Some(source) = &filters.config.default_source_code {
            filters.default = Some(filters.compile("default_source_code", source)?);
        }
        for (name, source) in &filters.config.source_codes {
            let script = filters.compile(name, source)?;
            filters.named.insert(name.clone(), script);
        }
        Ok(Arc::new(filters))
    }

    /// Compiles what a route changes.
    ///
    /// # Errors
    /// A name that is none of the `source_codes`, a script beside a name, or a script that [does not load](Self::load).
    pub fn route(&self, config: LuaRouteConfig) -> Result<Arc<LuaRoute>, LoadError> {
        let script = match (&config.name, &config.source_code) {
            (Some(_), Some(_)) => {
                let text = "a route has either the name of a script or a script, not both";
                return Err(LoadError(text.to_owned()));
            }
            (Some(name), None) => {
                let refuse = || LoadError(format!("`{name}` is none of the filter's source_codes"));
                Some(Arc::clone(self.named.get(name).ok_or_else(refuse)?))
            }
            (None, Some(source)) => Some(self.compile("source_code", source)?),
            (None, None) => None,
        };
        Ok(Arc::new(LuaRoute {
            disabled: config.disabled,
            script,
            filter_context: config.filter_context,
            metadata: config.metadata,
            virtual_host_metadata: config.virtual_host_metadata,
        }))
    }

    /// What a thread needs to run the filter: its virtual machines, made when they are first needed.
    pub fn on_thread(self: &Arc<Self>) -> Rc<Machines> {
        Machines::new(Arc::clone(self))
    }

    /// The script of a route.
    pub(crate) fn script<'a>(&'a self, route: Option<&'a LuaRoute>) -> Option<&'a Arc<Script>> {
        match route {
            Some(route) if route.disabled => None,
            Some(route) => route.script.as_ref().or(self.default.as_ref()),
            None => self.default.as_ref(),
        }
    }

    /// The limits as the watch has them.
    pub(crate) fn limits(&self) -> core::Limits {
        let LuaLimits {
            memory,
            deadline_ms,
            stack,
        } = self.config.limits;
        core::Limits {
            memory,
            deadline_ms,
            stack,
            ..core::Limits::default()
        }
    }

    fn compile(&self, name: &str, source: &str) -> Result<Arc<Script>, LoadError> {
        // The compiler takes a NUL for the end.
        if source.contains('\0') {
            return Err(LoadError(format!(
                "{name}: a NUL byte; a script is Lua text"
            )));
        }
        let refused = scan::refused(name, source);
        if !refused.is_empty() {
            return Err(LoadError(refused.join("\n")));
        }
        let bytecode = base::compiler().compile(base::without_mark(source.as_bytes()));
        let script = Arc::new(Script {
            name: name.to_owned(),
            bytecode: bytecode.map_err(|error| LoadError(base::syntax(name, &error)))?,
            names_globals: source.contains("_G"),
        });
        let tried = Machine::new(self, &script, None);
        tried.map_err(|error| LoadError(format!("{name} does not load: {}", error.message())))?;
        Ok(script)
    }
}

/// The clock of all filters of the process, started where none has it.
fn ticker() -> io::Result<Arc<Ticker>> {
    static SHARED: Mutex<Weak<Ticker>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ticker) = shared.upgrade() {
        return Ok(ticker);
    }
    let ticker = Arc::new(base::ticker()?);
    *shared = Arc::downgrade(&ticker);
    Ok(ticker)
}
