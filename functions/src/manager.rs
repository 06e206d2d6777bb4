//! The manager of plugins: added, changed, deleted and called from any thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use engine_core::engine::Code as Source;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::foreign::ForeignFunctions;
use engine_core::panics::caught;

use crate::config::PluginConfig;
use crate::load::{load, read};
use crate::local::LocalExecutor;
use crate::pool::{Pool, after};
use crate::signature::Function;
use crate::value::Value;
use crate::vm::{Code, LogLine, Logger, Vm};

/// Whether a plugin can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// Its code is being compiled for the first time.
    Loading,
    /// It can be called.
    Ready,
    /// It never loaded, and says why.
    Failed,
}

/// What there is to know of a plugin.
#[derive(Clone, Debug)]
pub struct PluginStatus {
    /// The configuration that is at work, or that is being loaded where none is.
    pub config: PluginConfig,
    /// Whether it can be called.
    pub state: PluginState,
    /// Whether a change of it is being loaded, while it goes on as it is.
    pub changing: bool,
    /// Why the last load or change failed, if it did.
    pub error: Option<Error>,
    /// What it offers, with the signatures that its code told.
    pub functions: Vec<Function>,
}

/// The plugins of a program, their instances, and the functions that they offer.
///
/// Everything can be called from many threads at once. A plugin that fails, hangs or is changed leaves all others alone.
/// A manager is a handle: clones share the plugins.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

pub(crate) struct Inner {
    plugins: DashMap<String, Arc<Plugin>>,
    /// Which plugin has claimed a name.
    functions: DashMap<Box<str>, Arc<Plugin>>,
    /// One addition, change or deletion at a time.
    admin: Mutex<()>,
    /// How often a plugin has come, changed or gone.
    generation: AtomicU64,
    logger: Arc<Logger>,
    foreign: ForeignFunctions,
}

/// A plugin, from its addition to its deletion.
pub(crate) struct Plugin {
    name: String,
    running: RwLock<Option<Arc<Running>>>,
    progress: Mutex<Progress>,
    settled: Condvar,
}

struct Progress {
    /// What is at work, or what was tried last where nothing is.
    config: PluginConfig,
    /// Whether something is being loaded.
    loading: bool,
    error: Option<Error>,
    deleted: bool,
}

/// One version of a plugin at work.
pub(crate) struct Running {
    config: PluginConfig,
    pub(crate) code: Arc<dyn Code>,
    numbers: HashMap<Box<str>, usize>,
    pool: Pool,
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.plugins.iter().map(|plugin| plugin.key().clone());
        f.debug_tuple("Manager")
            .field(&names.collect::<Vec<_>>())
            .finish()
    }
}

impl Manager {
    /// Makes a manager that drops what functions log.
    pub fn new() -> Self {
        Self::with_logger(|_| ())
    }

    /// Makes a manager that hands on what functions log.
    pub fn with_logger(logger: impl Fn(&LogLine<'_>) + Send + Sync + 'static) -> Self {
        Self::with(logger, foreign::builtin())
    }

    /// Makes a manager that hands on what functions log, and whose functions may call these foreign functions instead of
    /// the built-in ones, as far as their configuration names them.
    pub fn with(
        logger: impl Fn(&LogLine<'_>) + Send + Sync + 'static,
        foreign: ForeignFunctions,
    ) -> Self {
        Self(Arc::new(Inner {
            plugins: DashMap::new(),
            functions: DashMap::new(),
            admin: Mutex::new(()),
            generation: AtomicU64::new(0),
            logger: Arc::new(logger),
            foreign,
        }))
    }

    /// Adds a plugin and begins to load it; [`Manager::wait_ready`] tells how that ends.
    ///
    /// # Errors
    /// `manifest` as [`PluginConfig::validate`], `exists` where there is a plugin of this name, `manifest` naming every
    /// function that another plugin has claimed, `io` where its code cannot be read. Nothing is added then.
    pub fn add(&self, config: PluginConfig) -> Result<()> {
        config.validate()?;
        // A slow file keeps nobody else waiting.
        let source = read(&config)?;
        let _admin = self.0.admin();
        if self.0.plugins.contains_key(&config.name) {
            let message = "a plugin of this name is there already; change it, or delete it first";
            return Err(Error::new(ErrorKind::Exists, message).at(|| config.name));
        }
        self.0.check_claims(&config, &[])?;
        let plugin = Arc::new(Plugin::new(config.clone()));
        self.0.claim(&plugin, &config);
        let name = config.name.clone();
        self.0.plugins.insert(name.clone(), Arc::clone(&plugin));
        self.begin(plugin, config, source).inspect_err(|_| {
            self.0.remove(&name);
        })
    }

    /// Loads another configuration of a plugin and puts it in the place of the one at work; that one goes on until then, and
    /// finishes what it has begun. [`Manager::wait_ready`] tells how it ends; where it fails, nothing has changed.
    ///
    /// # Errors
    /// `unknown` where there is no such plugin, `busy` where it is being loaded or changed; else as [`Manager::add`].
    pub fn change(&self, config: PluginConfig) -> Result<()> {
        config.validate()?;
        let source = read(&config)?;
        let _admin = self.0.admin();
        let plugin = self.0.plugin(&config.name)?;
        self.0.check_claims(&config, &[])?;
        {
            let mut progress = plugin.progress();
            if progress.loading {
                let message = "it is being loaded or changed; wait until it is ready";
                return Err(Error::new(ErrorKind::Busy, message).at(|| config.name));
            }
            progress.loading = true;
            progress.error = None;
        }
        self.0.claim(&plugin, &config);
        self.begin(plugin, config, source)
    }

    /// Removes a plugin; calls that it has begun are finished.
    ///
    /// # Errors
    /// `unknown` where there is no such plugin.
    pub fn delete(&self, name: &str) -> Result<()> {
        let _admin = self.0.admin();
        if self.0.remove(name) {
            Ok(())
        } else {
            Err(no_plugin(name))
        }
    }

    /// Every plugin, by name.
    pub fn list(&self) -> Vec<PluginStatus> {
        let mut list: Vec<_> = self
            .0
            .plugins
            .iter()
            .map(|plugin| plugin.status())
            .collect();
        list.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        list
    }

    /// What there is to know of a plugin.
    ///
    /// # Errors
    /// `unknown` where there is no such plugin.
    pub fn status(&self, name: &str) -> Result<PluginStatus> {
        Ok(self.0.plugin(name)?.status())
    }

    /// The plugin that has claimed a function's name.
    ///
    /// # Errors
    /// `unknown` where none has.
    pub fn owner(&self, function: &str) -> Result<String> {
        let owner = self
            .0
            .functions
            .get(function)
            .map(|plugin| plugin.name.clone());
        owner.ok_or_else(|| no_function(function))
    }

    /// Waits until a plugin is loaded, or its change is over.
    ///
    /// # Errors
    /// Why it failed to load or to change; `busy` where that takes longer than `timeout`; `unknown` where there is no such
    /// plugin, or none any more.
    pub fn wait_ready(&self, name: &str, timeout: Duration) -> Result<()> {
        let plugin = self.0.plugin(name)?;
        let until = after(timeout);
        let mut progress = plugin.progress();
        while progress.loading && !progress.deleted {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = format!("not ready within {} ms", timeout.as_millis());
                return Err(Error::new(ErrorKind::Busy, message).at(|| name.to_owned()));
            }
            let waited = plugin.settled.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if progress.deleted {
            return Err(no_plugin(name));
        }
        progress.error.clone().map_or(Ok(()), Err)
    }

    /// Checks a configuration as a whole, its code included, as if it were added or changed, and changes nothing.
    ///
    /// # Errors
    /// Those of [`Manager::add`] and of loading, but for `exists`.
    pub fn check(&self, config: &PluginConfig) -> Result<()> {
        config.validate()?;
        self.0.check_claims(config, &[])?;
        self.check_code(config)
    }

    fn check_code(&self, config: &PluginConfig) -> Result<()> {
        load(config, read(config)?, &self.0.logger, &self.0.foreign)?.start()?;
        Ok(())
    }

    /// Everything that is wrong with the plugins that there are, and with `more` beside them and among one another; where
    /// `more` has a plugin's name, as a change of it.
    pub fn check_all(&self, more: &[PluginConfig]) -> Vec<Error> {
        let mut faults = Vec::new();
        for status in self.list() {
            faults.extend(status.error.or_else(|| read(&status.config).err()));
        }
        for (place, config) in more.iter().enumerate() {
            for other in &more[..place] {
                if other.name == config.name {
                    let message = "two plugins have this name";
                    faults.push(Error::new(ErrorKind::Exists, message).at(|| config.name.clone()));
                }
                let claimed = |name: &str| other.functions.iter().any(|f| *f.name == *name);
                faults.extend(
                    conflict(config, |name| claimed(name).then(|| other.name.clone())).err(),
                );
            }
            faults.extend(config.validate().err());
            faults.extend(self.0.check_claims(config, more).err());
            faults.extend(self.check_code(config).err());
        }
        faults
    }

    /// Calls a function by its name alone.
    ///
    /// # Errors
    /// `unknown` where no plugin offers it, `busy` where its plugin is still loading or no instance was free in time,
    /// `bad_args` where the arguments do not fit, and what the function fails with.
    pub fn execute(&self, function: &str, args: &[Value]) -> Result<Value> {
        let (running, number) = self.0.find(function)?;
        execute(&running, number, args)
    }

    /// Calls a function of a plugin.
    ///
    /// # Errors
    /// As [`Manager::execute`]; `unknown` also where the plugin does not offer the function.
    pub fn execute_on(&self, plugin: &str, function: &str, args: &[Value]) -> Result<Value> {
        let running = self.0.plugin(plugin)?.running()?;
        let number = running.number(function)?;
        execute(&running, number, args)
    }

    /// Calls a function for many rows of arguments, on one instance and in as few crossings as its code allows; each row has
    /// its own result, and one that fails leaves its neighbours' standing.
    ///
    /// # Errors
    /// As [`Manager::execute`], where not a single row could be tried.
    pub fn execute_batch(
        &self,
        function: &str,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Result<Value>>> {
        let (running, number) = self.0.find(function)?;
        running.pool.run(move |vm| call_batch(vm, number, &rows))
    }

    /// Runs `work` on an instance of the function's plugin.
    #[cfg(feature = "arrow")]
    pub(crate) fn on_instance<T: Send + 'static>(
        &self,
        function: &str,
        work: impl FnOnce(&mut dyn Vm, usize, &Function) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (running, number) = self.0.find(function)?;
        let declared = running.code.functions()[number].clone();
        running.pool.run(move |vm| work(vm, number, &declared))?
    }

    /// An executor for the thread that calls this, with instances of its own: calls without a change of threads.
    pub fn local(&self) -> LocalExecutor {
        LocalExecutor::new(self.clone())
    }

    pub(crate) fn generation(&self) -> &AtomicU64 {
        &self.0.generation
    }

    pub(crate) fn find(&self, function: &str) -> Result<(Arc<Running>, usize)> {
        self.0.find(function)
    }

    /// Loads on a thread of its own.
    fn begin(&self, plugin: Arc<Plugin>, config: PluginConfig, source: Source) -> Result<()> {
        let manager = self.clone();
        let thread = thread::Builder::new().name(format!("{}/load", config.name));
        let loading = Arc::clone(&plugin);
        let spawned = thread.spawn(move || {
            let start = || Running::start(&config, source, &manager.0);
            let started = caught(start);
            let panicked = || {
                Err(Error::new(
                    ErrorKind::Internal,
                    "the host panicked while it loaded this",
                ))
            };
            let _admin = manager.0.admin();
            manager
                .0
                .settle(&loading, config, started.unwrap_or_else(panicked));
        });
        if let Err(error) = spawned {
            let error = Error::new(ErrorKind::Internal, "no thread to load it").with_source(error);
            let kept = plugin.progress().config.clone();
            self.0.settle(&plugin, kept, Err(error.clone()));
            return Err(error);
        }
        Ok(())
    }
}

fn execute(running: &Running, function: usize, args: &[Value]) -> Result<Value> {
    let args = args.to_vec();
    running.pool.run(move |vm| vm.call(function, &args))?
}

/// Calls a function for many rows.
pub(crate) fn call_batch(
    vm: &mut dyn Vm,
    function: usize,
    rows: &[Vec<Value>],
) -> Vec<Result<Value>> {
    let mut results = Vec::with_capacity(rows.len());
    vm.call_batch(function, rows, &mut |result| results.push(result));
    results
}

fn no_plugin(name: &str) -> Error {
    Error::new(ErrorKind::Unknown, format!("there is no plugin `{name}`"))
}

fn no_function(name: &str) -> Error {
    Error::new(
        ErrorKind::Unknown,
        format!("no plugin offers a function `{name}`"),
    )
}

/// Refuses functions that others claim.
fn conflict(config: &PluginConfig, owner: impl Fn(&str) -> Option<String>) -> Result<()> {
    let claims = config.functions.iter().filter_map(|function| {
        let owner = owner(&function.name)?;
        Some(format!(
            "function `{}` is claimed by plugin `{owner}`",
            function.name
        ))
    });
    let claims: Vec<_> = claims.collect();
    if claims.is_empty() {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Manifest, claims.join("\n"));
    Err(error.at(|| config.name.clone()))
}

impl Inner {
    fn admin(&self) -> MutexGuard<'_, ()> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plugin(&self, name: &str) -> Result<Arc<Plugin>> {
        let plugin = self.plugins.get(name).map(|plugin| Arc::clone(&plugin));
        plugin.ok_or_else(|| no_plugin(name))
    }

    /// Refuses functions of others, but for plugins that `changes` are to replace.
    fn check_claims(&self, config: &PluginConfig, changes: &[PluginConfig]) -> Result<()> {
        conflict(config, |function| {
            let owner = self.functions.get(function)?;
            let replaced = changes.iter().any(|change| change.name == owner.name);
            (owner.name != config.name && !replaced).then(|| owner.name.clone())
        })
    }

    /// Removes a plugin and its claims, if there is one, for who holds `admin`.
    fn remove(&self, name: &str) -> bool {
        let Some((_, plugin)) = self.plugins.remove(name) else {
            return false;
        };
        plugin.progress().deleted = true;
        self.functions
            .retain(|_, owner| !Arc::ptr_eq(owner, &plugin));
        *plugin.running_mut() = None;
        self.generation.fetch_add(1, Ordering::AcqRel);
        plugin.settled.notify_all();
        true
    }

    fn claim(&self, plugin: &Arc<Plugin>, config: &PluginConfig) {
        for function in &config.functions {
            self.functions
                .insert(function.name.clone(), Arc::clone(plugin));
        }
    }

    /// Puts what was loaded to work, unless that failed or the plugin is gone, and gives up the names that it lost;
    /// for who holds `admin`.
    fn settle(&self, plugin: &Arc<Plugin>, config: PluginConfig, started: Result<Running>) {
        let mut progress = plugin.progress();
        progress.loading = false;
        if progress.deleted {
            return;
        }
        match started {
            Ok(running) => {
                *plugin.running_mut() = Some(Arc::new(running));
                progress.config = config;
            }
            Err(error) => {
                progress.error = Some(error);
                if plugin.running_now().is_none() {
                    progress.config = config;
                }
            }
        }
        let kept = &progress.config.functions;
        self.functions.retain(|name, owner| {
            !Arc::ptr_eq(owner, plugin) || kept.iter().any(|function| function.name == *name)
        });
        self.generation.fetch_add(1, Ordering::AcqRel);
        plugin.settled.notify_all();
    }

    fn find(&self, function: &str) -> Result<(Arc<Running>, usize)> {
        let Some(plugin) = self
            .functions
            .get(function)
            .map(|plugin| Arc::clone(&plugin))
        else {
            return Err(no_function(function));
        };
        let running = plugin.running()?;
        let number = running.number(function)?;
        Ok((running, number))
    }
}

impl Plugin {
    fn new(config: PluginConfig) -> Self {
        Self {
            name: config.name.clone(),
            running: RwLock::new(None),
            progress: Mutex::new(Progress {
                config,
                loading: true,
                error: None,
                deleted: false,
            }),
            settled: Condvar::new(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running_mut(&self) -> std::sync::RwLockWriteGuard<'_, Option<Arc<Running>>> {
        self.running.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn running_now(&self) -> Option<Arc<Running>> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.clone()
    }

    /// The version at work.
    fn running(&self) -> Result<Arc<Running>> {
        if let Some(running) = self.running_now() {
            return Ok(running);
        }
        let progress = self.progress();
        let error = match &progress.error {
            _ if progress.deleted => no_plugin(&self.name),
            Some(error) => error.clone(),
            None => Error::new(
                ErrorKind::Busy,
                "it is still loading; wait until it is ready",
            ),
        };
        Err(error.at(|| self.name.clone()))
    }

    fn status(&self) -> PluginStatus {
        let progress = self.progress();
        let running = self.running_now();
        let state = match &running {
            Some(_) => PluginState::Ready,
            None if progress.loading => PluginState::Loading,
            None => PluginState::Failed,
        };
        let functions = match &running {
            Some(running) => running.code.functions().to_vec(),
            None => progress.config.functions.clone(),
        };
        PluginStatus {
            config: progress.config.clone(),
            state,
            changing: running.is_some() && progress.loading,
            error: progress.error.clone(),
            functions,
        }
    }
}

impl Running {
    fn start(config: &PluginConfig, source: Source, manager: &Inner) -> Result<Self> {
        for notice in &config.notices {
            (manager.logger)(&LogLine {
                plugin: &config.name,
                function: "",
                level: "info",
                message: notice,
            });
        }
        let code = load(config, source, &manager.logger, &manager.foreign)?;
        let pool = Pool::start(
            &code,
            &config.name,
            config.instance_num,
            config.queue,
            config.timeout,
        );
        let names = code
            .functions()
            .iter()
            .map(|function| function.name.clone());
        Ok(Self {
            numbers: names.zip(0..).collect(),
            config: config.clone(),
            pool: pool.map_err(|error| error.at(|| config.name.clone()))?,
            code,
        })
    }

    fn number(&self, function: &str) -> Result<usize> {
        self.numbers.get(function).copied().ok_or_else(|| {
            let message = format!("it offers no function `{function}`");
            Error::new(ErrorKind::Unknown, message).at(|| self.config.name.clone())
        })
    }
}
