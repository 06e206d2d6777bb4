//! A live instance, seen from outside and from inside a host function.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::slice;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::{Limit, Limits};
use engine_wasm_abi::fuel::{FUEL_GLOBAL, FuelMeter};
use engine_wasm_abi::inspect::{FuncSig, ValType};
use engine_wasm_abi::runtime::{Budget, ExportSpec, Guest, NumberFunction, Runtime, fuel_error};
use send_wrapper::SendWrapper;
use wasmer::{
    AsStoreMut, ExportError, Exports, Function, FunctionEnv, FunctionEnvMut, Global, Instance,
    Memory, MemoryView, RuntimeError, Store, StoreMut, TypedFunction, Value,
};

use crate::engine::WasmerRuntime;
use crate::error::{from_call, internal};
use crate::growth::{GROWTH_GLOBAL, denied};

/// How many units of fuel a guest uses between two looks at the clock.
///
/// A unit of plain computation takes 0.2 to 0.6 ns, so a guest looks every few µs, which cannot be measured in its speed.
/// At worst each few units touch a page of memory for the first time, which takes 2 µs: then it looks every few ms. One bulk
/// operation is not interrupted. What a host function takes is not in its fuel, so each call of one looks too.
const SLICE: u64 = 10_000;

/// How many calls of the guest may be open inside one another, through host functions.
///
/// Each has a stack of its own from wasmer, and the host functions between them share the thread's, which nobody watches:
/// a level takes some KiB of it. Range reads inside one another, with an allocation in the innermost, take six levels.
const MAX_DEPTH: u32 = 16;

/// What belongs to an instance beside its store: the ABI's state, and what is needed to call and to limit the guest.
pub(crate) struct Data<S> {
    runtime: Arc<WasmerRuntime>,
    limits: Limits,
    state: S,
    memory: Option<Memory>,
    exports: Vec<Option<Typed>>,
    numbers: Vec<Numbers>,
    functions: Arc<[NumberFunction]>,
    fuel: Global,
    meter: Cell<FuelMeter>,
    growth: Global,
    denied: Cell<Option<Limit>>,
    budget: Cell<Budget>,
    /// How many calls of the guest are open inside one another.
    depth: Cell<u32>,
}

impl<S> Data<S> {
    pub(crate) fn new(
        runtime: Arc<WasmerRuntime>,
        limits: &Limits,
        state: S,
        specs: &[ExportSpec],
        numbers: Arc<[NumberFunction]>,
        instance: &Instance,
        store: &mut Store,
    ) -> Result<Self, ExportError> {
        let exports = &instance.exports;
        let functions = specs.iter().map(|spec| {
            let function = exports.contains(spec.name);
            let function =
                function.then(|| Typed::new(exports, spec.name, spec.params, spec.result, store));
            function.transpose()
        });
        Ok(Self {
            runtime,
            limits: limits.clone(),
            state,
            exports: functions.collect::<Result<_, _>>()?,
            numbers: numbers
                .iter()
                .map(|function| Numbers::new(exports, function, store))
                .collect::<Result<_, _>>()?,
            functions: numbers,
            memory: exports.get_memory("memory").cloned().ok(),
            fuel: exports.get_global(FUEL_GLOBAL)?.clone(),
            meter: Cell::new(FuelMeter::new(SLICE)),
            growth: exports.get_global(GROWTH_GLOBAL)?.clone(),
            denied: Cell::new(None),
            budget: Cell::new(Budget {
                deadline: 0,
                deadline_ms: 0,
                fuel: None,
            }),
            depth: Cell::new(0),
        })
    }
}

/// What host functions find in the store, before any guest code runs.
///
/// Wasmer wants it `Send`, which an ABI's state is not. A store never leaves its thread, so the wrapper never panics.
pub(crate) type Env<S> = SendWrapper<Option<Rc<Data<S>>>>;

/// Defines [`Typed`]: a variant for each number of parameters, without and with a result.
macro_rules! typed {
    ($($none:ident $some:ident ($($arg:ident)*): $params:ty,)*) => {
        /// An exported function by its static type.
        enum Typed {
            $($none(TypedFunction<$params, ()>), $some(TypedFunction<$params, i32>),)*
        }

        impl Typed {
            fn new(
                exports: &Exports,
                name: &str,
                params: usize,
                result: bool,
                store: &Store,
            ) -> Result<Self, ExportError> {
                let mut known = 0;
                $(
                    if params == known {
                        return Ok(if result {
                            Self::$some(exports.get_typed_function(store, name)?)
                        } else {
                            Self::$none(exports.get_typed_function(store, name)?)
                        });
                    }
                    known += 1;
                )*
                Err(ExportError::Missing(format!("{name} of {known} parameters or more")))
            }

            fn call(&self, store: &mut impl AsStoreMut, args: &[i32]) -> Result<i32, RuntimeError> {
                match (self, args) {
                    $(
                        (Self::$none(function), &[$($arg),*]) => function.call(store, $($arg),*).map(|()| 0),
                        (Self::$some(function), &[$($arg),*]) => function.call(store, $($arg),*),
                    )*
                    _ => Err(RuntimeError::new(format!("called with {} arguments", args.len()))),
                }
            }
        }
    };
}

typed! {
    N0 R0 (): (),
    N1 R1 (a): i32,
    N2 R2 (a b): (i32, i32),
    N3 R3 (a b c): (i32, i32, i32),
    N4 R4 (a b c d): (i32, i32, i32, i32),
    N5 R5 (a b c d e): (i32, i32, i32, i32, i32),
}

/// An exported function of numbers: with a static type where it has one of [`Typed`]'s, which is several times cheaper.
enum Numbers {
    Typed(Typed),
    Any(Function),
}

impl Numbers {
    fn new(exports: &Exports, spec: &NumberFunction, store: &Store) -> Result<Self, ExportError> {
        let FuncSig { params, results } = &spec.signature;
        let plain = params.iter().chain(results).all(|ty| *ty == ValType::I32);
        if plain && params.len() <= ExportSpec::MAX_PARAMS && results.len() <= 1 {
            let result = !results.is_empty();
            let typed = Typed::new(exports, &spec.name, params.len(), result, store)?;
            return Ok(Self::Typed(typed));
        }
        Ok(Self::Any(exports.get_function(&spec.name)?.clone()))
    }

    /// Calls it with places that are as many as `spec` needs.
    fn call(
        &self,
        spec: &FuncSig,
        store: &mut impl AsStoreMut,
        values: &mut [u64],
    ) -> Result<(), RuntimeError> {
        match self {
            Self::Typed(function) => {
                let mut args = [0; ExportSpec::MAX_PARAMS];
                for (arg, value) in args.iter_mut().zip(&*values) {
                    *arg = *value as i32;
                }
                let result = function.call(store, &args[..spec.params.len()])?;
                if let ([_], Some(place)) = (&spec.results[..], values.first_mut()) {
                    *place = u64::from(result.cast_unsigned());
                }
            }
            Self::Any(function) => {
                let args: Vec<_> = spec.params.iter().zip(&*values).map(to_value).collect();
                let results = function.call(store, &args)?;
                for (place, result) in values.iter_mut().zip(&results) {
                    *place = from_value(result);
                }
            }
        }
        Ok(())
    }
}

/// A live instance, reached through its store or through the one that a host function gets.
pub struct Live<C, S> {
    store: C,
    data: Rc<Data<S>>,
}

impl<S: 'static> Live<Store, S> {
    pub(crate) fn outside(mut store: Store, env: &FunctionEnv<Env<S>>, data: Data<S>) -> Self {
        let data = Rc::new(data);
        **env.as_mut(&mut store) = Some(Rc::clone(&data));
        Self { store, data }
    }
}

impl<'a, S: 'static> Live<StoreMut<'a>, S> {
    fn inside(caller: &'a mut FunctionEnvMut<'_, Env<S>>) -> Result<Self> {
        let (data, store) = caller.data_and_store_mut();
        let Some(data) = data.as_ref().map(Rc::clone) else {
            let message = "the guest ran before its instance was whole";
            return Err(Error::new(ErrorKind::Internal, message));
        };
        Ok(Self { store, data })
    }

    /// The instance inside of a host function, unless its time is over.
    ///
    /// # Errors
    /// `deadline`.
    pub(crate) fn in_time(caller: &'a mut FunctionEnvMut<'_, Env<S>>) -> Result<Self> {
        let live = Self::inside(caller)?;
        let budget = live.data.budget.get();
        if live.data.runtime.ticker().now() >= budget.deadline {
            return Err(budget.deadline_error());
        }
        Ok(live)
    }

    /// Grants the guest its next slice of fuel.
    ///
    /// # Errors
    /// `fuel` where there is none left.
    pub(crate) fn refill(&mut self) -> Result<()> {
        let mut meter = self.data.meter.get();
        let now = self.data.fuel.get(&mut self.store).i64().unwrap_or(0);
        let granted = meter.refill(now).map_err(fuel_error)?;
        self.data.meter.set(meter);
        let set = self.data.fuel.set(&mut self.store, Value::I64(granted));
        set.map_err(internal("refilling fuel"))
    }
}

impl<C, S> fmt::Debug for Live<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl<S, C: AsStoreMut> Guest<S> for Live<C, S> {
    fn state(&self) -> &S {
        &self.data.state
    }

    fn memory(&self) -> &[u8] {
        let Some(memory) = &self.data.memory else {
            return &[];
        };
        let view = memory.view(&self.store);
        #[allow(unsafe_code, reason = "wasmer lends memory by its address only")]
        // SAFETY: the view says where the memory is and how long. What moves or changes it, a call of the guest or
        // `split`, takes `&mut self` and so comes after this borrow. A store is on one thread.
        unsafe {
            slice::from_raw_parts(view.data_ptr(), len(&view))
        }
    }

    fn split(&mut self) -> (&mut [u8], &S) {
        let Some(memory) = &self.data.memory else {
            return (&mut [], &self.data.state);
        };
        let view = memory.view(&self.store);
        #[allow(unsafe_code, reason = "wasmer lends memory by its address only")]
        // SAFETY: as in `memory`; and while this borrow lasts, `&mut self` is the only way to the store, because
        // whoever called a host function lent it the whole store. The ABI's state does not lie in the memory.
        let bytes = unsafe { slice::from_raw_parts_mut(view.data_ptr(), len(&view)) };
        (bytes, &self.data.state)
    }

    fn has(&self, export: usize) -> bool {
        matches!(self.data.exports.get(export), Some(Some(_)))
    }

    fn call(&mut self, export: usize, args: &[i32]) -> Result<i32> {
        let Some(Some(function)) = self.data.exports.get(export) else {
            let message = format!("the guest has no export number {export}");
            return Err(Error::new(ErrorKind::Internal, message));
        };
        Self::within(&self.data, &mut self.store, |store| {
            function.call(store, args)
        })
    }

    fn call_numbers(&mut self, function: usize, values: &mut [u64]) -> Result<()> {
        let data = &*self.data;
        let (Some(spec), Some(found)) = (data.functions.get(function), data.numbers.get(function))
        else {
            let message = format!("the guest has no function number {function}");
            return Err(Error::new(ErrorKind::Internal, message));
        };
        if values.len() != spec.places() {
            return Err(spec.places_error(values.len()));
        }
        Self::within(data, &mut self.store, |store| {
            found.call(&spec.signature, store, values)
        })
    }

    fn arm(&mut self, budget: Budget) {
        self.data.budget.set(budget);
        let mut meter = self.data.meter.get();
        let begin = meter.begin(budget.fuel);
        self.data.meter.set(meter);
        // The metered module defines the global as a mutable i64.
        let _ = self.data.fuel.set(&mut self.store, Value::I64(begin));
    }

    fn fuel_used(&mut self) -> Option<u64> {
        self.data.budget.get().fuel?;
        let now = self.data.fuel.get(&mut self.store).i64()?;
        Some(self.data.meter.get().used(now))
    }
}

impl<C: AsStoreMut, S> Live<C, S> {
    /// Calls the guest, one call deeper than the one that this is inside of.
    fn within<T>(
        data: &Data<S>,
        store: &mut C,
        call: impl FnOnce(&mut C) -> Result<T, RuntimeError>,
    ) -> Result<T> {
        let depth = data.depth.get();
        if depth == MAX_DEPTH {
            let allowed = format_args!("{MAX_DEPTH} calls inside one another");
            return Err(Error::limit(Limit::Stack, allowed));
        }
        data.depth.set(depth + 1);
        let called = call(store);
        data.depth.set(depth);
        if called.is_err() {
            let growth = data.growth.get(store).i64();
            data.denied.set(growth.and_then(denied));
        }
        match data.denied.get() {
            Some(Limit::Memory) => {
                let allowed = format_args!("{} bytes", data.limits.memory);
                Err(Error::limit(Limit::Memory, allowed))
            }
            Some(limit) => Err(Error::limit(limit, data.limits.table_elements)),
            None => called.map_err(|error| from_call(error, data.limits.stack)),
        }
    }
}

fn to_value((ty, bits): (&ValType, &u64)) -> Value {
    match ty {
        ValType::I64 => Value::I64(bits.cast_signed()),
        ValType::F32 => Value::F32(f32::from_bits(*bits as u32)),
        ValType::F64 => Value::F64(f64::from_bits(*bits)),
        _ => Value::I32(*bits as i32),
    }
}

fn from_value(value: &Value) -> u64 {
    match value {
        Value::I32(number) => u64::from(number.cast_unsigned()),
        Value::I64(number) => number.cast_unsigned(),
        Value::F32(number) => u64::from(number.to_bits()),
        Value::F64(number) => number.to_bits(),
        _ => 0,
    }
}

fn len(view: &MemoryView<'_>) -> usize {
    usize::try_from(view.data_size()).unwrap_or(0)
}
