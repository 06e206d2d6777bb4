//! Raw wasmtime: a pool, images of memory, epochs and a limiter of memory, configured as by `engine-wasm-wasmtime`.

use std::fmt;

use engine_wasm_abi::inspect::FEATURES;
use wasmtime::{
    Caller, Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Memory, Module,
    PoolingAllocationConfig, Store, StoreLimits, StoreLimitsBuilder, TypedFunc, WasmFeatures,
};

use crate::Subject;
use crate::application::{BARE, extension, limits};
use crate::raw::{BUFFER, range};
use crate::world::World;

/// Ticks that no call lasts; nothing moves the epoch here, but the guest looks at it all the same.
pub(crate) const DEADLINE: u64 = 1_000_000;

/// How many instances there is room for.
const INSTANCES: u32 = 1_024;

/// What watches over the guest's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing.
    None,
    /// The epoch.
    Epoch,
    /// The epoch and wasmtime's own fuel.
    Fuel,
}

/// The guest, compiled and linked.
pub struct WasmtimeTemplate {
    engine: Engine,
    linked: InstancePre<Data>,
    watch: Watch,
}

/// The guest's machine code.
pub struct WasmtimeCode(Vec<u8>);

struct Data {
    limits: StoreLimits,
    memory: Option<Memory>,
    emitted: Vec<u8>,
}

impl WasmtimeTemplate {
    /// Starts the runtime and compiles the guest.
    ///
    /// # Panics
    /// Where that fails.
    pub fn new(watch: Watch) -> Self {
        Self::compile(&Self::engine(watch), watch)
    }

    /// Starts the runtime.
    ///
    /// # Panics
    /// Where that fails.
    pub fn engine(watch: Watch) -> Engine {
        // Where there are no addresses for a pool, as under callgrind, instances are mapped one by one.
        Engine::new(config(watch).allocation_strategy(pool()))
            .or_else(|_| Engine::new(&config(watch)))
            .expect("wasmtime starts")
    }

    /// Compiles the guest.
    ///
    /// # Panics
    /// Where that fails.
    pub fn compile(engine: &Engine, watch: Watch) -> Self {
        let module = Module::new(engine, BARE).expect("the bare guest compiles");
        Self::link(engine, &module, watch)
    }

    /// Compiles the guest to code that can be kept.
    ///
    /// # Panics
    /// Where that fails.
    pub fn compiled(engine: &Engine) -> WasmtimeCode {
        let module = Module::new(engine, BARE).expect("the bare guest compiles");
        WasmtimeCode(module.serialize().expect("wasmtime gives its code"))
    }

    /// Links the guest that was compiled before.
    ///
    /// # Panics
    /// Where that fails.
    pub fn revive(engine: &Engine, code: &WasmtimeCode, watch: Watch) -> Self {
        #[allow(unsafe_code, reason = "machine code cannot be checked")]
        // SAFETY: the bytes are what `serialize` gave, as nothing else makes a `WasmtimeCode`.
        let module = unsafe { Module::deserialize(engine, &code.0) };
        Self::link(engine, &module.expect("wasmtime takes its own code"), watch)
    }

    fn link(engine: &Engine, module: &Module, watch: Watch) -> Self {
        let mut linker = Linker::new(engine);
        link(&mut linker, module).expect("the bare guest is linked");
        Self {
            engine: engine.clone(),
            linked: linker.instantiate_pre(module).expect("nothing is missing"),
            watch,
        }
    }

    /// Makes an instance.
    ///
    /// # Panics
    /// Where that fails.
    pub fn instantiate(&self) -> RawWasmtime {
        self.start().expect("the bare guest starts")
    }

    fn start(&self) -> wasmtime::Result<RawWasmtime> {
        let memory = StoreLimitsBuilder::new().memory_size(limits().memory as usize);
        let data = Data {
            limits: memory.build(),
            memory: None,
            emitted: Vec::new(),
        };
        let mut store = Store::new(&self.engine, data);
        store.limiter(|data| &mut data.limits);
        arm(&mut store, self.watch);
        let instance = self.linked.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        store.data_mut().memory = memory;
        let input: TypedFunc<(), u32> = instance.get_typed_func(&mut store, "input")?;
        Ok(RawWasmtime {
            empty: instance.get_typed_func(&mut store, "empty")?,
            invoke: instance.get_typed_func(&mut store, "invoke")?,
            input: input.call(&mut store, ())?,
            memory: memory.ok_or_else(|| wasmtime::format_err!("no memory"))?,
            nothing: extension("Empty"),
            watch: self.watch,
            store,
        })
    }
}

fn config(watch: Watch) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(watch != Watch::None)
        .consume_fuel(watch == Watch::Fuel)
        .max_wasm_stack(limits().stack as usize)
        .memory_reservation(1 << 32)
        .memory_init_cow(true);
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES)
        .max_memory_size(limits().memory as usize)
        .table_elements(limits().table_elements as usize)
        .max_core_instance_size(16 << 20);
    InstanceAllocationStrategy::Pooling(pool)
}

fn link(linker: &mut Linker<Data>, module: &Module) -> wasmtime::Result<()> {
    linker.func_wrap("bare", "get", get)?;
    linker.func_wrap("bare", "emit", emit)?;
    // The imports of the SDK's own ABI, which nobody calls here.
    linker.define_unknown_imports_as_traps(module)
}

fn get(
    mut caller: Caller<'_, Data>,
    storage: u32,
    key: u32,
    key_len: u32,
    value: u32,
    _capacity: u32,
) -> i32 {
    let Some(memory) = caller.data().memory else {
        return -1;
    };
    let bytes = memory.data_mut(&mut caller);
    match World::get().row(storage as usize, &bytes[range(key, key_len)]) {
        Some(row) => {
            bytes[range(value, row.len() as u32)].copy_from_slice(row);
            row.len() as i32
        }
        None => -1,
    }
}

fn emit(mut caller: Caller<'_, Data>, at: u32, len: u32) {
    if let Some(memory) = caller.data().memory {
        let (bytes, data) = memory.data_and_store_mut(&mut caller);
        data.emitted.clear();
        data.emitted.extend_from_slice(&bytes[range(at, len)]);
    }
}

fn arm(store: &mut Store<Data>, watch: Watch) {
    if watch != Watch::None {
        store.set_epoch_deadline(DEADLINE);
    }
    if watch == Watch::Fuel {
        store.set_fuel(u64::MAX).expect("fuel is on");
    }
}

/// An instance.
pub struct RawWasmtime {
    store: Store<Data>,
    memory: Memory,
    empty: TypedFunc<(), ()>,
    invoke: TypedFunc<(u32, u32), u32>,
    input: u32,
    nothing: usize,
    watch: Watch,
}

impl RawWasmtime {
    /// Copies the blobs of a group into the guest, row by row, through a buffer.
    ///
    /// # Panics
    /// Never: the buffer is there.
    pub fn copy(&mut self, prefix: &[u8]) {
        let buffer = &mut self.memory.data_mut(&mut self.store)[range(self.input, BUFFER as u32)];
        super::copy(prefix, |at, piece| {
            buffer[at..at + piece.len()].copy_from_slice(piece);
        });
    }
}

impl Subject for RawWasmtime {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        arm(&mut self.store, self.watch);
        if extension == self.nothing {
            let called = self.empty.call(&mut self.store, ());
            return called.expect("nothing goes wrong");
        }
        let input = range(self.input, args.len() as u32);
        self.memory.data_mut(&mut self.store)[input].copy_from_slice(args);
        let call = (extension as u32, args.len() as u32);
        let status = self.invoke.call(&mut self.store, call);
        assert_eq!(status.expect("the call returns"), 0);
    }
}

/// A new instance for each call.
impl Subject for &WasmtimeTemplate {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        self.instantiate().ask(extension, args);
    }
}

impl fmt::Debug for WasmtimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmtimeCode").finish_non_exhaustive()
    }
}

impl fmt::Debug for WasmtimeTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmtimeTemplate").finish_non_exhaustive()
    }
}

impl fmt::Debug for RawWasmtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawWasmtime").finish_non_exhaustive()
    }
}
