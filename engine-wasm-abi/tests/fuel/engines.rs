//! Runs a module's `run` on both runtimes, with fuel granted in slices.

use engine_wasm_abi::fuel::{FUEL_GLOBAL, FuelMeter, OutOfFuel, REFILL_MODULE, REFILL_NAME};

/// How a run ended, and all that a caller could see of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) used: u64,
    /// The bytes of the exported memory, if there is one.
    pub(crate) memory: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    Returned(i64),
    Trapped,
    OutOfFuel,
}

/// A module compiled for one runtime.
pub(crate) trait Runner {
    /// Calls `run(argument)` in a new instance. What is not metered uses nothing.
    fn run(&self, argument: i32, limit: Option<u64>, slice: u64) -> Outcome;
}

/// What a guest may import: `env.next` answers the number after its own.
fn next(number: i32) -> i32 {
    number.wrapping_add(1)
}

pub(crate) struct Wasmtime(wasmtime::Module);

impl Wasmtime {
    pub(crate) fn compile(wasm: &[u8]) -> Self {
        let engine = wasmtime::Engine::default();
        Self(wasmtime::Module::new(&engine, wasm).unwrap())
    }
}

/// What wasmtime's own counter says that `run(argument)` uses, in a module without imports.
///
/// It counts one for each instruction, byte of a bulk operation and entry of a function.
pub(crate) fn counted_by_wasmtime(wasm: &[u8], argument: i32) -> u64 {
    let mut config = wasmtime::Config::new();
    config.consume_fuel(true);
    let engine = wasmtime::Engine::new(&config).unwrap();
    let module = wasmtime::Module::new(&engine, wasm).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    store.set_fuel(u64::MAX / 2).unwrap();
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
    let before = store.get_fuel().unwrap();
    let run = instance.get_typed_func::<i32, i64>(&mut store, "run");
    run.unwrap().call(&mut store, argument).unwrap();
    before - store.get_fuel().unwrap()
}

impl Runner for Wasmtime {
    fn run(&self, argument: i32, limit: Option<u64>, slice: u64) -> Outcome {
        use wasmtime::{Caller, Extern, Linker, Store, Val};

        let mut linker = Linker::<FuelMeter>::new(self.0.engine());
        linker.func_wrap("env", "next", next).unwrap();
        linker
            .func_wrap(
                REFILL_MODULE,
                REFILL_NAME,
                |mut caller: Caller<'_, FuelMeter>| -> wasmtime::Result<()> {
                    let global = caller.get_export(FUEL_GLOBAL).and_then(Extern::into_global);
                    let global = global.unwrap();
                    let now = global.get(&mut caller).unwrap_i64();
                    let refilled = caller.data_mut().refill(now)?;
                    global.set(&mut caller, Val::I64(refilled))
                },
            )
            .unwrap();
        let mut store = Store::new(self.0.engine(), FuelMeter::new(slice));
        let instance = linker.instantiate(&mut store, &self.0).unwrap();
        let global = instance.get_global(&mut store, FUEL_GLOBAL);
        let begin = store.data_mut().begin(limit);
        if let Some(global) = global {
            global.set(&mut store, Val::I64(begin)).unwrap();
        }
        let run = instance.get_typed_func::<i32, i64>(&mut store, "run");
        let end = match run.unwrap().call(&mut store, argument) {
            Ok(result) => End::Returned(result),
            Err(error) if error.is::<OutOfFuel>() => End::OutOfFuel,
            Err(_) => End::Trapped,
        };
        let left = global.map_or(begin, |global| global.get(&mut store).unwrap_i64());
        let memory = instance.get_memory(&mut store, "memory");
        Outcome {
            end,
            used: store.data().used(left),
            memory: memory.map_or(Vec::new(), |memory| memory.data(&store).to_vec()),
        }
    }
}

pub(crate) struct Wasmer(wasmer::Engine, wasmer::Module);

impl Wasmer {
    pub(crate) fn compile(wasm: &[u8]) -> Self {
        let engine = wasmer::Engine::default();
        let module = wasmer::Module::new(&engine, wasm).unwrap();
        Self(engine, module)
    }
}

struct Env {
    meter: FuelMeter,
    global: Option<wasmer::Global>,
}

impl Runner for Wasmer {
    fn run(&self, argument: i32, limit: Option<u64>, slice: u64) -> Outcome {
        use wasmer::{Function, FunctionEnv, FunctionEnvMut, Instance, RuntimeError, Value};

        let mut store = wasmer::Store::new(self.0.clone());
        let env = Env {
            meter: FuelMeter::new(slice),
            global: None,
        };
        let env = FunctionEnv::new(&mut store, env);
        let refill = |mut env: FunctionEnvMut<'_, Env>| -> Result<(), RuntimeError> {
            let (env, mut store) = env.data_and_store_mut();
            let global = env.global.as_ref().unwrap();
            let now = global.get(&mut store).unwrap_i64();
            let refilled = env.meter.refill(now);
            let refilled = refilled.map_err(|out| RuntimeError::user(Box::new(out)))?;
            global.set(&mut store, Value::I64(refilled))
        };
        let imports = wasmer::imports! {
            "env" => { "next" => Function::new_typed(&mut store, next) },
            REFILL_MODULE => {
                REFILL_NAME => Function::new_typed_with_env(&mut store, &env, refill)
            },
        };
        let instance = Instance::new(&mut store, &self.1, &imports).unwrap();
        let global = instance.exports.get_global(FUEL_GLOBAL).ok().cloned();
        let begin = env.as_mut(&mut store).meter.begin(limit);
        if let Some(global) = &global {
            global.set(&mut store, Value::I64(begin)).unwrap();
        }
        env.as_mut(&mut store).global = global.clone();
        let run = instance
            .exports
            .get_typed_function::<i32, i64>(&store, "run");
        let end = match run.unwrap().call(&mut store, argument) {
            Ok(result) => End::Returned(result),
            Err(error) if error.downcast_ref::<OutOfFuel>().is_some() => End::OutOfFuel,
            Err(_) => End::Trapped,
        };
        let left = global.map_or(begin, |global| global.get(&mut store).unwrap_i64());
        let memory = instance.exports.get_memory("memory").ok();
        Outcome {
            end,
            used: env.as_ref(&store).meter.used(left),
            memory: memory.map_or(Vec::new(), |memory| {
                memory.view(&store).copy_to_vec().unwrap()
            }),
        }
    }
}
