//! A compiled module, linked once, of which instances are made from the pool.

use std::fmt;
use std::sync::Arc;

use engine_core::error::Result;
use engine_wasm_abi::fuel::{FUEL_GLOBAL, REFILL_MODULE, REFILL_NAME};
use engine_wasm_abi::inspect::{FuncSig, ValType};
use engine_wasm_abi::runtime::{
    Blueprint, ExportSpec, HostCall, HostFunction, NumberFunction, RuntimeModule,
};
use wasmtime::{
    Caller, ExternType, FuncType, InstancePre, Linker, Module, ModuleExport, Store, Val,
};

use crate::engine::WasmtimeRuntime;
use crate::error::{from_compilation, from_instantiation, internal, through_guest};
use crate::instance::{Bounds, Data, Live, Numbers, refill};

/// Ticks within which an instance is made: without a deadline, code that wasmtime makes of initialisers and segments would
/// be interrupted at once. It has no loops and calls nothing of the guest's, so it needs no nearer end.
const FAR: u64 = 1 << 40;

/// A compiled module.
pub struct WasmtimeModule<S: 'static> {
    runtime: Arc<WasmtimeRuntime>,
    linked: InstancePre<Data<S>>,
    memory: Option<ModuleExport>,
    fuel: Option<ModuleExport>,
    exports: Vec<(ExportSpec, Option<ModuleExport>)>,
    functions: Vec<(NumberFunction, Option<ModuleExport>)>,
    bounds: Bounds,
}

impl<S: 'static> WasmtimeModule<S> {
    pub(crate) fn compile(
        runtime: &Arc<WasmtimeRuntime>,
        blueprint: &Blueprint<'_, S>,
    ) -> Result<Self> {
        let module = Module::new(&runtime.engine, blueprint.code).map_err(from_compilation)?;
        Self::link(runtime, blueprint, module)
    }

    pub(crate) fn link(
        runtime: &Arc<WasmtimeRuntime>,
        blueprint: &Blueprint<'_, S>,
        module: Module,
    ) -> Result<Self> {
        let engine = &runtime.engine;
        let mut linker = Linker::new(engine);
        for function in &blueprint.imports {
            define(&mut linker, function).map_err(internal("linking"))?;
        }
        if blueprint.metered {
            linker
                .func_wrap(REFILL_MODULE, REFILL_NAME, |caller: Caller<'_, Data<S>>| {
                    refill(caller).map_err(through_guest)
                })
                .map_err(internal("linking"))?;
        }
        // Calls of these are unchecked.
        let mut functions = blueprint.functions.iter();
        if let Some(other) = functions.find(|f| !fits(module.get_export(&f.name), &f.signature)) {
            return Err(other.missing());
        }
        let exports = blueprint.exports.iter();
        let functions = blueprint.functions.iter();
        Ok(Self {
            runtime: Arc::clone(runtime),
            linked: linker.instantiate_pre(&module).map_err(from_compilation)?,
            memory: module.get_export_index("memory"),
            fuel: module
                .get_export_index(FUEL_GLOBAL)
                .filter(|_| blueprint.metered),
            exports: exports
                .map(|spec| (*spec, module.get_export_index(spec.name)))
                .collect(),
            functions: functions
                .map(|function| (function.clone(), module.get_export_index(&function.name)))
                .collect(),
            bounds: Bounds::from(blueprint.limits),
        })
    }
}

/// Whether an export is a function of just these numbers, as many as [`NumberFunction`] may have.
fn fits(export: Option<ExternType>, signature: &FuncSig) -> bool {
    use wasmtime::ValType as Found;
    let Some(ExternType::Func(found)) = export else {
        return false;
    };
    let alike = |(found, said): (Found, &ValType)| {
        matches!(
            (found, said),
            (Found::I32, ValType::I32)
                | (Found::I64, ValType::I64)
                | (Found::F32, ValType::F32)
                | (Found::F64, ValType::F64)
        )
    };
    let FuncSig { params, results } = signature;
    found.params().len() == params.len()
        && found.results().len() == results.len()
        && params.len().max(results.len()) <= NumberFunction::MAX_VALUES
        && found.params().zip(params).all(alike)
        && found.results().zip(results).all(alike)
}

/// Links a function of the host's, wrapped by its static type.
fn define<S: 'static>(
    linker: &mut Linker<Data<S>>,
    function: &HostFunction<S>,
) -> wasmtime::Result<()> {
    type Inside<'a, S> = Caller<'a, Data<S>>;
    let HostFunction { module, name, call } = function;
    macro_rules! wrap {
        ($f:ident $(, $arg:ident: $ty:ty)*) => {
            linker.func_wrap(module, name, move |caller: Inside<'_, S> $(, $arg: $ty)*| {
                $f(&mut Live::inside(caller) $(, $arg)*).map_err(through_guest)
            })
        };
    }
    match *call {
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
                ValType::I64 => wasmtime::ValType::I64,
                _ => wasmtime::ValType::I32,
            });
            let ty = FuncType::new(linker.engine(), types, [wasmtime::ValType::I32]);
            let run = move |caller: Inside<'_, S>, args: &[Val], results: &mut [Val]| {
                let mut places = [0; NumberFunction::MAX_VALUES];
                for (place, arg) in places.iter_mut().zip(args) {
                    *place = match arg {
                        Val::I32(n) => n.cast_unsigned().into(),
                        Val::I64(n) => n.cast_unsigned(),
                        _ => 0,
                    };
                }
                let result = f(&mut Live::inside(caller), &places[..args.len()]);
                results[0] = Val::I32(result.map_err(through_guest)?);
                Ok(())
            };
            linker.func_new(module, name, ty, run)
        }
    }?;
    Ok(())
}

impl<S: 'static> fmt::Debug for WasmtimeModule<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmtimeModule")
            .field("runtime", &self.runtime)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

impl<S: 'static> RuntimeModule<S> for WasmtimeModule<S> {
    type Instance = Live<Store<Data<S>>>;

    fn compiled(&self) -> Option<Vec<u8>> {
        self.linked.module().serialize().ok()
    }

    fn instantiate(&self, state: S) -> Result<Self::Instance> {
        let data = Data::new(Arc::clone(&self.runtime), state, self.bounds);
        let mut store = Store::new(&self.runtime.engine, data);
        store.limiter(|data| &mut data.bounds);
        store.set_epoch_deadline(FAR);
        let instance = self
            .linked
            .instantiate(&mut store)
            .map_err(from_instantiation)?;
        let mut find = |export: &Option<ModuleExport>| {
            let export = export.as_ref()?;
            instance.get_module_export(&mut store, export)
        };
        let memory = find(&self.memory).and_then(|export| export.into_memory());
        let fuel = find(&self.fuel).and_then(|export| export.into_global());
        let exports: Vec<_> = self
            .exports
            .iter()
            .map(|(spec, export)| (spec, find(export).and_then(|export| export.into_func())))
            .collect();
        let numbers = self.functions.iter().map(|(function, export)| {
            let found = find(export).and_then(|export| export.into_func());
            Numbers::new(function.clone(), found)
        });
        let numbers = numbers.collect::<Result<_>>()?;
        Live::outside(store, memory, fuel, exports, numbers).map_err(internal("finding exports"))
    }
}
