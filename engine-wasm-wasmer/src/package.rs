//! A compiled module, of which instances are made.

use std::fmt;
use std::sync::Arc;

use engine_core::error::Result;
use engine_core::limits::Limits;
use engine_wasm_abi::fuel::{REFILL_MODULE, REFILL_NAME};
use engine_wasm_abi::inspect::ValType;
use engine_wasm_abi::runtime::{
    Blueprint, ExportSpec, HostCall, HostFunction, NumberFunction, RuntimeModule,
};
use send_wrapper::SendWrapper;
use wasmer::{
    Engine, Function, FunctionEnv, FunctionEnvMut, FunctionType, Imports, Instance, Module, Store,
    Type, Value,
};

use crate::engine::{WasmerRuntime, engine};
use crate::error::{from_compilation, from_instantiation, internal, through_guest};
use crate::instance::{Data, Env, Live};

/// A compiled module.
pub struct WasmerModule<S: 'static> {
    runtime: Arc<WasmerRuntime>,
    engine: Engine,
    module: Module,
    imports: Vec<&'static HostFunction<S>>,
    exports: &'static [ExportSpec],
    functions: Arc<[NumberFunction]>,
    limits: Limits,
}

impl<S: 'static> WasmerModule<S> {
    pub(crate) fn compile(
        runtime: &Arc<WasmerRuntime>,
        blueprint: &Blueprint<'_, S>,
    ) -> Result<Self> {
        let engine = engine(blueprint.limits);
        let module = Module::new(&engine, blueprint.code).map_err(from_compilation)?;
        Ok(Self::of(runtime, blueprint, engine, module))
    }

    pub(crate) fn of(
        runtime: &Arc<WasmerRuntime>,
        blueprint: &Blueprint<'_, S>,
        engine: Engine,
        module: Module,
    ) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            engine,
            module,
            imports: blueprint.imports.clone(),
            exports: blueprint.exports,
            functions: blueprint.functions.into(),
            limits: blueprint.limits.clone(),
        }
    }
}

/// Makes a function of the host's, wrapped by its static type.
fn define<S: 'static>(
    store: &mut Store,
    env: &FunctionEnv<Env<S>>,
    function: &HostFunction<S>,
) -> Function {
    type From<'a, S> = FunctionEnvMut<'a, Env<S>>;
    macro_rules! wrap {
        ($f:ident $(, $arg:ident: $ty:ty)*) => {
            Function::new_typed_with_env(store, env, move |mut caller: From<'_, S> $(, $arg: $ty)*| {
                Live::in_time(&mut caller)
                    .and_then(|mut live| $f(&mut live $(, $arg)*))
                    .map_err(through_guest)
            })
        };
    }
    match function.call {
        HostCall::N1(f) => wrap!(f, a: i32),
        HostCall::R0(f) => wrap!(f),
        HostCall::R1(f) => wrap!(f, a: i32),
        HostCall::R2(f) => wrap!(f, a: i32, b: i32),
        HostCall::R3(f) => wrap!(f, a: i32, b: i32, c: i32),
        HostCall::R4(f) => wrap!(f, a: i32, b: i32, c: i32, d: i32),
        HostCall::R5(f) => wrap!(f, a: i32, b: i32, c: i32, d: i32, e: i32),
        HostCall::L1(f) => wrap!(f, a: i32),
        HostCall::R2Long(f) => wrap!(f, a: i32, b: i64),
        HostCall::R3Long(f) => wrap!(f, a: i32, b: i64, c: i32),
        HostCall::R4Long(f) => wrap!(f, a: i32, b: i64, c: i32, d: i32),
        HostCall::Many(params, f) => {
            let types = params.iter().map(|param| match param {
                ValType::I64 => Type::I64,
                _ => Type::I32,
            });
            let ty = FunctionType::new(types.collect::<Vec<_>>(), [Type::I32]);
            let run = move |mut caller: From<'_, S>, args: &[Value]| {
                let mut places = [0; NumberFunction::MAX_VALUES];
                for (place, arg) in places.iter_mut().zip(args) {
                    *place = match arg {
                        Value::I32(n) => n.cast_unsigned().into(),
                        Value::I64(n) => n.cast_unsigned(),
                        _ => 0,
                    };
                }
                Live::in_time(&mut caller)
                    .and_then(|mut live| f(&mut live, &places[..args.len()]))
                    .map(|result| vec![Value::I32(result)])
                    .map_err(through_guest)
            };
            Function::new_with_env(store, env, ty, run)
        }
    }
}

impl<S: 'static> fmt::Debug for WasmerModule<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmerModule")
            .field("runtime", &self.runtime)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<S: 'static> RuntimeModule<S> for WasmerModule<S> {
    type Instance = Live<Store, S>;

    fn compiled(&self) -> Option<Vec<u8>> {
        Some(self.module.serialize().ok()?.to_vec())
    }

    fn instantiate(&self, state: S) -> Result<Self::Instance> {
        let mut store = Store::new(self.engine.clone());
        let env = FunctionEnv::new(&mut store, SendWrapper::new(None));
        let mut imports = Imports::new();
        for function in &self.imports {
            let wrapped = define(&mut store, &env, function);
            imports.define(function.module, function.name, wrapped);
        }
        let refill = |mut caller: FunctionEnvMut<'_, Env<S>>| {
            Live::in_time(&mut caller)
                .and_then(|mut live| live.refill())
                .map_err(through_guest)
        };
        let refill = Function::new_typed_with_env(&mut store, &env, refill);
        imports.define(REFILL_MODULE, REFILL_NAME, refill);
        let instance =
            Instance::new(&mut store, &self.module, &imports).map_err(from_instantiation)?;
        let Self {
            limits, exports, ..
        } = self;
        let runtime = Arc::clone(&self.runtime);
        let functions = Arc::clone(&self.functions);
        let data = Data::new(
            runtime, limits, state, exports, functions, &instance, &mut store,
        )
        .map_err(internal("finding exports"))?;
        Ok(Live::outside(store, &env, data))
    }
}
