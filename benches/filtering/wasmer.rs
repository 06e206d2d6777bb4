//! A filter on bare wasmer, with the rewrite for metering that keeps the deadline.

use std::fmt;

use engine_wasm_abi::fuel::{Costs, FUEL_GLOBAL, REFILL_MODULE, REFILL_NAME, meter};
use filters::Headers;
use wasmer::{
    Function, FunctionEnv, FunctionEnvMut, Global, Imports, Instance, Memory, Module, RuntimeError,
    Store, TypedFunction, Value,
};

use super::{Filtering, Work};
use crate::raw::{SLICE, WasmerTemplate, bytes, range};

/// A filter's instance, with its callbacks looked up.
pub struct RawWasmerFilter {
    store: Store,
    env: FunctionEnv<Env>,
    fuel: Global,
    create: TypedFunction<(u32, u32), ()>,
    headers: TypedFunction<(u32, u32, u32), u32>,
    done: TypedFunction<u32, u32>,
    delete: TypedFunction<u32, ()>,
    /// The last stream's context.
    context: u32,
}

#[derive(Default)]
struct Env {
    memory: Option<Memory>,
    malloc: Option<TypedFunction<u32, u32>>,
    fuel: Option<Global>,
    headers: Headers,
}

impl fmt::Debug for RawWasmerFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawWasmerFilter").finish_non_exhaustive()
    }
}

impl RawWasmerFilter {
    /// Makes the instance.
    ///
    /// # Panics
    /// Where wasmer does not start.
    pub fn new(work: Work) -> Self {
        let engine = WasmerTemplate::engine();
        let code = meter(&work.module(), &Costs::default()).expect("the filter can be metered");
        let module = Module::new(&engine, code).expect("the filter compiles");
        let mut store = Store::new(engine);
        let env = FunctionEnv::new(&mut store, Env::default());
        let mut imports = Imports::new();
        let get = Function::new_typed_with_env(&mut store, &env, get);
        imports.define("env", "proxy_get_header_map_value", get);
        let add = Function::new_typed_with_env(&mut store, &env, add);
        imports.define("env", "proxy_add_header_map_value", add);
        let refill = Function::new_typed_with_env(&mut store, &env, refill);
        imports.define(REFILL_MODULE, REFILL_NAME, refill);
        let instance = Instance::new(&mut store, &module, &imports);
        let exports = instance.expect("the filter starts").exports;
        let find = "the filter has all functions";
        let fuel = exports.get_global(FUEL_GLOBAL).expect(find).clone();
        *env.as_mut(&mut store) = Env {
            memory: exports.get_memory("memory").ok().cloned(),
            malloc: exports.get_typed_function(&store, "malloc").ok(),
            fuel: Some(fuel.clone()),
            headers: Headers::default(),
        };
        let mut raw = Self {
            create: exports
                .get_typed_function(&store, "proxy_on_context_create")
                .expect(find),
            headers: exports
                .get_typed_function(&store, "proxy_on_request_headers")
                .expect(find),
            done: exports
                .get_typed_function(&store, "proxy_on_done")
                .expect(find),
            delete: exports
                .get_typed_function(&store, "proxy_on_delete")
                .expect(find),
            context: 1,
            env,
            fuel,
            store,
        };
        raw.arm();
        raw.create
            .call(&mut raw.store, 1, 0)
            .expect("the call returns");
        raw
    }

    fn arm(&mut self) {
        let set = self.fuel.set(&mut self.store, Value::I64(SLICE));
        set.expect("fuel is a mutable i64");
    }

    fn call(&mut self, headers: Headers) -> Result<Headers, RuntimeError> {
        let count = headers.len() as u32;
        let place = &mut self.env.as_mut(&mut self.store).headers;
        let before = std::mem::replace(place, headers);
        self.arm();
        let verdict = self.headers.call(&mut self.store, self.context, count, 1)?;
        assert_eq!(verdict, 0);
        let place = &mut self.env.as_mut(&mut self.store).headers;
        Ok(std::mem::replace(place, before))
    }

    fn whole(&mut self, headers: Headers) -> Result<Headers, RuntimeError> {
        self.context += 1;
        self.arm();
        self.create.call(&mut self.store, self.context, 1)?;
        let headers = self.call(headers)?;
        self.arm();
        assert_eq!(self.done.call(&mut self.store, self.context)?, 1);
        self.arm();
        self.delete.call(&mut self.store, self.context)?;
        Ok(headers)
    }
}

impl Filtering for RawWasmerFilter {
    fn callback(&mut self, headers: Headers) -> Headers {
        self.call(headers).expect("the call returns")
    }

    fn stream(&mut self, headers: Headers) -> Headers {
        self.whole(headers).expect("the calls return")
    }
}

fn get(
    mut caller: FunctionEnvMut<'_, Env>,
    _map: u32,
    key: u32,
    key_len: u32,
    at: u32,
    len: u32,
) -> Result<u32, RuntimeError> {
    let (env, mut store) = caller.data_and_store_mut();
    let (Some(memory), Some(malloc)) = (&env.memory, &env.malloc) else {
        return Ok(1);
    };
    let value = {
        let mut view = memory.view(&store);
        let value = env.headers.get(&bytes(&mut view)[range(key, key_len)]);
        value.map(<[u8]>::to_vec)
    };
    let Some(value) = value else { return Ok(1) };
    let size = value.len() as u32;
    let block = malloc.call(&mut store, size)?;
    let mut view = memory.view(&store);
    let bytes = bytes(&mut view);
    bytes[range(block, size)].copy_from_slice(&value);
    bytes[range(at, 4)].copy_from_slice(&block.to_le_bytes());
    bytes[range(len, 4)].copy_from_slice(&size.to_le_bytes());
    Ok(0)
}

fn add(
    mut caller: FunctionEnvMut<'_, Env>,
    _map: u32,
    key: u32,
    key_len: u32,
    at: u32,
    len: u32,
) -> u32 {
    let (env, store) = caller.data_and_store_mut();
    let Some(memory) = &env.memory else { return 1 };
    let mut view = memory.view(&store);
    let bytes = bytes(&mut view);
    let (key, value) = (&bytes[range(key, key_len)], &bytes[range(at, len)]);
    env.headers.add(key, value);
    0
}

fn refill(mut caller: FunctionEnvMut<'_, Env>) -> Result<(), RuntimeError> {
    let (env, mut store) = caller.data_and_store_mut();
    match &env.fuel {
        Some(fuel) => fuel.set(&mut store, Value::I64(SLICE)),
        None => Ok(()),
    }
}
