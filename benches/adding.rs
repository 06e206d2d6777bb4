//! A function that adds two integers: a plain export through the manager of plugins, and the same on bare wasmtime.

use std::fmt;
use std::time::Duration;

use functions::{FunctionId, LocalExecutor, Manager, PluginConfig, Value};
use wasmtime::{Instance, Module, Store, StoreLimits, StoreLimitsBuilder, TypedFunc};

use crate::application::limits;
use crate::raw::{WasmtimeTemplate, Watch};

/// The module.
const ADD: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"#;

/// A manager with the function `add` on an engine, and one instance.
///
/// # Panics
/// Where the plugin does not load.
pub fn manager(engine: &str) -> Manager {
    let folder = tempfile::tempdir().expect("a folder");
    let module = wat::parse_str(ADD).expect("a module");
    std::fs::write(folder.path().join("add.wasm"), module).expect("a file");
    let toml = format!("name = 'sum'\nengine = '{engine}'\npath = 'add.wasm'\nfunctions = ['add']");
    let config = PluginConfig::from_toml(&toml, folder.path()).expect("a configuration");
    let manager = Manager::new();
    manager.add(config).expect("nothing is there yet");
    let ready = manager.wait_ready("sum", Duration::from_secs(60));
    ready.expect("the plugin loads");
    manager
}

/// A local executor that has looked `add` up.
#[derive(Debug)]
pub struct LocalAdd {
    executor: LocalExecutor,
    add: FunctionId,
}

impl LocalAdd {
    /// Makes the executor.
    ///
    /// # Panics
    /// Where the plugin does not load.
    pub fn new(engine: &str) -> Self {
        let mut executor = manager(engine).local();
        let add = executor.function("add").expect("the plugin offers it");
        Self { executor, add }
    }

    /// Adds.
    ///
    /// # Panics
    /// Where the call fails.
    pub fn add(&mut self, a: i32, b: i32) -> i32 {
        match self
            .executor
            .call(self.add, &[Value::I32(a), Value::I32(b)])
        {
            Ok(Value::I32(sum)) => sum,
            other => panic!("{other:?}"),
        }
    }
}

/// The module on bare wasmtime, with the same limits: a typed call.
pub struct RawAdd {
    store: Store<StoreLimits>,
    add: TypedFunc<(i32, i32), i32>,
}

impl fmt::Debug for RawAdd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawAdd").finish_non_exhaustive()
    }
}

impl Default for RawAdd {
    /// Makes the instance.
    ///
    /// # Panics
    /// Where wasmtime does not start.
    fn default() -> Self {
        let engine = WasmtimeTemplate::engine(Watch::Epoch);
        let module = Module::new(&engine, ADD_BYTES.as_slice()).expect("a module");
        let memory = StoreLimitsBuilder::new().memory_size(limits().memory as usize);
        let mut store = Store::new(&engine, memory.build());
        store.limiter(|limits| limits);
        store.set_epoch_deadline(1_000_000);
        let instance = Instance::new(&mut store, &module, &[]).expect("nothing is missing");
        let add = instance.get_typed_func(&mut store, "add");
        Self {
            add: add.expect("it is there"),
            store,
        }
    }
}

static ADD_BYTES: std::sync::LazyLock<Vec<u8>> =
    std::sync::LazyLock::new(|| wat::parse_str(ADD).expect("a module"));

impl RawAdd {
    /// Adds.
    ///
    /// # Panics
    /// Where the call fails.
    pub fn add(&mut self, a: i32, b: i32) -> i32 {
        // As for any other call, the deadline begins anew.
        self.store.set_epoch_deadline(1_000_000);
        self.add.call(&mut self.store, (a, b)).expect("it adds")
    }
}
