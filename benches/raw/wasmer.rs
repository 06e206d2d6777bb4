//! Raw wasmer: the same rewrite for metering as `engine-wasm-wasmer`, whose slices keep the deadline.

use std::fmt;

use engine_wasm_abi::fuel::{Costs, FUEL_GLOBAL, REFILL_MODULE, REFILL_NAME, meter};
use wasmer::sys::{Cranelift, EngineBuilder};
use wasmer::{
    Engine, Function, FunctionEnv, FunctionEnvMut, Global, Imports, Instance, Memory, Module,
    RuntimeError, Store, TypedFunction, Value,
};

use crate::Subject;
use crate::application::{BARE, extension};
use crate::world::World;

/// Units of fuel between two looks at the deadline.
const SLICE: i64 = 10_000;

/// The most bytes of a key.
const KEY: usize = 32;

/// The guest, compiled.
pub struct WasmerTemplate {
    engine: Engine,
    module: Module,
}

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
        let mut compiler = Cranelift::new();
        compiler.canonicalize_nans(true);
        let engine: Engine = EngineBuilder::new(compiler).engine().into();
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
    let view = memory.view(&store);
    let mut bytes = [0; KEY];
    let key_bytes = &mut bytes[..key_len as usize];
    if view.read(key.into(), key_bytes).is_err() {
        return -1;
    }
    match World::get().row(storage as usize, key_bytes) {
        Some(row) if view.write(value.into(), row).is_ok() => row.len() as i32,
        _ => -1,
    }
}

fn emit(mut caller: FunctionEnvMut<'_, Env>, at: u32, len: u32) -> Result<(), RuntimeError> {
    let (env, store) = caller.data_and_store_mut();
    if let Some(memory) = &env.memory {
        env.emitted.resize(len as usize, 0);
        let read = memory.view(&store).read(at.into(), &mut env.emitted);
        read.map_err(|error| RuntimeError::new(error.to_string()))?;
    }
    Ok(())
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
        let view = self.memory.view(&self.store);
        super::copy(prefix, |at, piece| {
            let at = u64::from(self.input) + at as u64;
            view.write(at, piece).expect("the buffer is there");
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
        let view = self.memory.view(&self.store);
        let written = view.write(self.input.into(), args);
        written.expect("the arguments fit");
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
