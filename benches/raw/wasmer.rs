//! Raw wasmer: the same rewrite for metering as `engine-wasm-wasmer`, whose slices keep the deadline.

use std::fmt;

use engine_wasm_abi::fuel::{Costs, FUEL_GLOBAL, REFILL_MODULE, REFILL_NAME, meter};
use wasmer::sys::{Cranelift, EngineBuilder};
use wasmer::{
    Engine, Function, FunctionEnv, FunctionEnvMut, Global, Imports, Instance, Memory, MemoryView,
    Module, RuntimeError, Store, TypedFunction, Value,
};

use crate::Subject;
use crate::application::{BARE, extension};
use crate::raw::{BUFFER, range};
use crate::world::World;

/// Units of fuel between two looks at the deadline.
pub(crate) const SLICE: i64 = 10_000;

/// The guest, compiled.
pub struct WasmerTemplate {
    engine: Engine,
    module: Module,
}

/// The guest's machine code.
pub struct WasmerCode(Vec<u8>);

/// What the host functions need.
#[derive(Default)]
struct Env {
    memory: Option<Memory>,
    fuel: Option<Global>,
    emitted: Vec<u8>,
}

impl WasmerTemplate {
    /// Starts the runtime and compiles the guest, with the code that counts its fuel or without.
    ///
    /// # Panics
    /// Where that fails.
    pub fn new(metered: bool) -> Self {
        let engine = Self::engine();
        let code = if metered {
            meter(BARE, &Costs::default()).expect("the bare guest can be metered")
        } else {
            BARE.to_vec()
        };
        Self {
            module: Module::new(&engine, code).expect("the bare guest compiles"),
            engine,
        }
    }

    /// The guest's machine code, to be kept.
    ///
    /// # Panics
    /// Where wasmer does not give it.
    pub fn compiled(&self) -> WasmerCode {
        let code = self.module.serialize().expect("wasmer gives its code");
        WasmerCode(code.to_vec())
    }

    /// Starts the runtime with the guest that was compiled before.
    ///
    /// # Panics
    /// Where that fails.
    pub fn revive(code: &WasmerCode) -> Self {
        let engine = Self::engine();
        #[allow(unsafe_code, reason = "machine code cannot be checked")]
        // SAFETY: the bytes are what `serialize` gave, as nothing else makes a `WasmerCode`.
        let module = unsafe { Module::deserialize(&engine, code.0.as_slice()) };
        Self {
            module: module.expect("wasmer takes its own code"),
            engine,
        }
    }

    /// Starts the runtime.
    pub fn engine() -> Engine {
        let mut compiler = Cranelift::new();
        compiler.canonicalize_nans(true);
        EngineBuilder::new(compiler).engine().into()
    }

    /// Makes an instance.
    ///
    /// # Panics
    /// Where that fails.
    pub fn instantiate(&self) -> RawWasmer {
        let mut store = Store::new(self.engine.clone());
        let env = FunctionEnv::new(&mut store, Env::default());
        let mut imports = Imports::new();
        // The imports of the SDK's own ABI, which nobody calls here.
        for import in self.module.imports().functions() {
            let nobody = |_: &[Value]| Err(RuntimeError::new("nobody calls this"));
            let function = Function::new(&mut store, import.ty(), nobody);
            imports.define(import.module(), import.name(), function);
        }
        let get = Function::new_typed_with_env(&mut store, &env, get);
        imports.define("bare", "get", get);
        let emit = Function::new_typed_with_env(&mut store, &env, emit);
        imports.define("bare", "emit", emit);
        let refill = Function::new_typed_with_env(&mut store, &env, refill);
        imports.define(REFILL_MODULE, REFILL_NAME, refill);
        let instance = Instance::new(&mut store, &self.module, &imports);
        let exports = instance.expect("the bare guest starts").exports;
        let memory = exports.get_memory("memory").expect("a memory").clone();
        let fuel = exports.get_global(FUEL_GLOBAL).ok().cloned();
        env.as_mut(&mut store).memory = Some(memory.clone());
        env.as_mut(&mut store).fuel = fuel.clone();
        let find = "the bare guest has all functions";
        let empty = exports.get_typed_function(&store, "empty").expect(find);
        let invoke = exports.get_typed_function(&store, "invoke").expect(find);
        let input: TypedFunction<(), u32> =
            exports.get_typed_function(&store, "input").expect(find);
        let mut raw = RawWasmer {
            store,
            memory,
            fuel,
            empty,
            invoke,
            input: 0,
            nothing: extension("Empty"),
        };
        raw.arm();
        raw.input = input.call(&mut raw.store).expect("the call returns");
        raw
    }
}

fn get(
    mut caller: FunctionEnvMut<'_, Env>,
    storage: u32,
    key: u32,
    key_len: u32,
    value: u32,
    _capacity: u32,
) -> i32 {
    let (env, store) = caller.data_and_store_mut();
    let Some(memory) = &env.memory else { return -1 };
    let mut view = memory.view(&store);
    let bytes = bytes(&mut view);
    match World::get().row(storage as usize, &bytes[range(key, key_len)]) {
        Some(row) => {
            bytes[range(value, row.len() as u32)].copy_from_slice(row);
            row.len() as i32
        }
        None => -1,
    }
}

fn emit(mut caller: FunctionEnvMut<'_, Env>, at: u32, len: u32) {
    let (env, store) = caller.data_and_store_mut();
    if let Some(memory) = &env.memory {
        let mut view = memory.view(&store);
        env.emitted.clear();
        env.emitted
            .extend_from_slice(&bytes(&mut view)[range(at, len)]);
    }
}

/// The guest's memory: wasmer's own reads and writes copy eight bytes at a time.
pub(crate) fn bytes<'a>(view: &'a mut MemoryView<'_>) -> &'a mut [u8] {
    #[allow(unsafe_code, reason = "wasmer lends memory by its address only")]
    // SAFETY: the view borrows the store, so the guest neither runs nor grows its memory meanwhile, and nobody makes
    // another view of the same memory while these bytes are used.
    unsafe {
        view.data_unchecked_mut()
    }
}

fn refill(mut caller: FunctionEnvMut<'_, Env>) -> Result<(), RuntimeError> {
    let (env, mut store) = caller.data_and_store_mut();
    match &env.fuel {
        Some(fuel) => fuel.set(&mut store, Value::I64(SLICE)),
        None => Ok(()),
    }
}

/// An instance.
pub struct RawWasmer {
    store: Store,
    memory: Memory,
    fuel: Option<Global>,
    empty: TypedFunction<(), ()>,
    invoke: TypedFunction<(u32, u32), u32>,
    input: u32,
    nothing: usize,
}

impl RawWasmer {
    /// Copies the blobs of a group into the guest, row by row, through a buffer.
    ///
    /// # Panics
    /// Never: the buffer is there.
    pub fn copy(&mut self, prefix: &[u8]) {
        let mut view = self.memory.view(&self.store);
        let buffer = &mut bytes(&mut view)[range(self.input, BUFFER as u32)];
        super::copy(prefix, |at, piece| {
            buffer[at..at + piece.len()].copy_from_slice(piece);
        });
    }

    fn arm(&mut self) {
        if let Some(fuel) = &self.fuel {
            let set = fuel.set(&mut self.store, Value::I64(SLICE));
            set.expect("fuel is a mutable i64");
        }
    }
}

impl Subject for RawWasmer {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        self.arm();
        if extension == self.nothing {
            let called = self.empty.call(&mut self.store);
            return called.expect("nothing goes wrong");
        }
        let mut view = self.memory.view(&self.store);
        bytes(&mut view)[range(self.input, args.len() as u32)].copy_from_slice(args);
        let (extension, len) = (extension as u32, args.len() as u32);
        let status = self.invoke.call(&mut self.store, extension, len);
        assert_eq!(status.expect("the call returns"), 0);
    }
}

/// A new instance for each call.
impl Subject for &WasmerTemplate {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        self.instantiate().ask(extension, args);
    }
}

impl fmt::Debug for WasmerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmerCode").finish_non_exhaustive()
    }
}

impl fmt::Debug for WasmerTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmerTemplate").finish_non_exhaustive()
    }
}

impl fmt::Debug for RawWasmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawWasmer").finish_non_exhaustive()
    }
}
