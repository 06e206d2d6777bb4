//! A live instance, seen from outside and from inside a host function.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::{Limit, Limits};
use engine_wasm_abi::fuel::FuelMeter;
use engine_wasm_abi::runtime::{Budget, ExportSpec, Guest, NumberFunction, Runtime, fuel_error};
use wasmtime::{
    AsContext, AsContextMut, Caller, Func, Global, Memory, ResourceLimiter, Store, TypedFunc, Val,
    ValRaw,
};

use crate::engine::WasmtimeRuntime;
use crate::error::{from_call, internal, through_guest};

/// The package's limits that the runtime keeps, and what counts against them beside the memory's own size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    memory: u64,
    table_elements: usize,
    stack: u32,
    /// Elements of all tables, now.
    elements: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            memory: limits.memory,
            table_elements: limits.table_elements as usize,
            stack: limits.stack,
            elements: 0,
        }
    }
}

/// What a store holds: the ABI's state, and what the runtime needs to call and to limit the guest.
pub struct Data<S> {
    runtime: Arc<WasmtimeRuntime>,
    state: S,
    memory: Option<Memory>,
    exports: Rc<[Option<Typed>]>,
    numbers: Rc<[Numbers]>,
    fuel: Option<Fuel>,
    pub(crate) bounds: Bounds,
    budget: Budget,
}

struct Fuel {
    global: Global,
    meter: FuelMeter,
}

impl<S> Data<S> {
    pub(crate) fn new(runtime: Arc<WasmtimeRuntime>, state: S, bounds: Bounds) -> Self {
        Self {
            runtime,
            state,
            memory: None,
            exports: Rc::new([]),
            numbers: Rc::new([]),
            fuel: None,
            bounds,
            budget: Budget {
                deadline: 0,
                deadline_ms: 0,
                fuel: None,
            },
        }
    }
}

impl<S> fmt::Debug for Data<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data")
            .field("bounds", &self.bounds)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// Growth beyond a limit is a trap, so that the guest does not go on without what it asked for.
///
/// Growth beyond what a module declares for itself fails as the specification says, without this limiter.
impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired as u64 > self.memory {
            let allowed = format_args!("{} bytes", self.memory);
            return Err(through_guest(Error::limit(Limit::Memory, allowed)));
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let others = self.elements.saturating_sub(current);
        let wanted = others.saturating_add(desired);
        if wanted > self.table_elements {
            let error = Error::limit(Limit::TableElements, self.table_elements);
            return Err(through_guest(error));
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.elements = wanted;
        }
        Ok(true)
    }
}

/// Defines [`Typed`]: a variant for each number of parameters, without and with a result.
macro_rules! typed {
    ($($none:ident $some:ident ($($arg:ident)*))*) => {
        /// An exported function by its static type.
        enum Typed {
            $($none(TypedFunc<($(typed!(@i32 $arg),)*), ()>), $some(TypedFunc<($(typed!(@i32 $arg),)*), i32>),)*
        }

        impl Typed {
            fn new(function: Func, spec: &ExportSpec, store: impl AsContext) -> wasmtime::Result<Self> {
                let mut params = 0;
                $(
                    if spec.params == params {
                        return Ok(if spec.result {
                            Self::$some(function.typed(store)?)
                        } else {
                            Self::$none(function.typed(store)?)
                        });
                    }
                    params += 1;
                )*
                Err(wasmtime::format_err!("a function of {params} parameters or more"))
            }

            fn call(&self, store: impl AsContextMut, args: &[i32]) -> wasmtime::Result<i32> {
                match (self, args) {
                    $(
                        (Self::$none(function), &[$($arg),*]) => function.call(store, ($($arg,)*)).map(|()| 0),
                        (Self::$some(function), &[$($arg),*]) => function.call(store, ($($arg,)*)),
                    )*
                    _ => Err(wasmtime::format_err!("called with {} arguments", args.len())),
                }
            }
        }
    };
    (@i32 $arg:ident) => { i32 };
}

typed! {
    N0 R0 ()
    N1 R1 (a)
    N2 R2 (a b)
    N3 R3 (a b c)
    N4 R4 (a b c d)
    N5 R5 (a b c d e)
}

/// An exported function of numbers, in the store that it was found in.
pub(crate) struct Numbers {
    spec: NumberFunction,
    places: usize,
    function: Func,
}

impl Numbers {
    /// A function that was found by the name in `spec`, and has its type: `WasmtimeModule::link` lets no other through.
    ///
    /// # Errors
    /// `internal` where it was not found.
    pub(crate) fn new(spec: NumberFunction, found: Option<Func>) -> Result<Self> {
        let Some(function) = found else {
            return Err(spec.missing());
        };
        Ok(Self {
            places: spec.places(),
            spec,
            function,
        })
    }
}

/// Calls a function of numbers, of which there are as many as parameters or results, whichever are more, and at most `N`.
#[inline]
fn call_raw<const N: usize>(
    function: Func,
    store: impl AsContextMut,
    values: &mut [u64],
) -> wasmtime::Result<()> {
    let mut raw = [ValRaw::u64(0); N];
    for (raw, value) in raw.iter_mut().zip(values.iter()) {
        *raw = ValRaw::u64(*value);
    }
    let places: *mut [ValRaw] = &mut raw[..values.len()];
    #[allow(unsafe_code, reason = "the types are known only once the module is")]
    // SAFETY: `WasmtimeModule::link` compared the function's own type with the one that it is called by, so there are as
    // many places as parameters or results, whichever are more, which `call_numbers` sees to, and all of them are numbers,
    // for which any bits will do; nothing here is asynchronous.
    unsafe {
        function.call_unchecked(store, places)?;
    }
    for (value, raw) in values.iter_mut().zip(&raw) {
        *value = raw.get_u64();
    }
    Ok(())
}

/// A live instance, reached through its store or through the caller that a host function gets.
pub struct Live<C>(C);

impl<S: 'static> Live<Store<Data<S>>> {
    pub(crate) fn outside(
        mut store: Store<Data<S>>,
        memory: Option<Memory>,
        fuel: Option<Global>,
        exports: Vec<(&ExportSpec, Option<Func>)>,
        numbers: Rc<[Numbers]>,
    ) -> wasmtime::Result<Self> {
        let typed = exports.into_iter().map(|(spec, function)| {
            let typed = function.map(|function| Typed::new(function, spec, &store));
            typed.transpose()
        });
        let exports = typed.collect::<wasmtime::Result<_>>()?;
        let data = store.data_mut();
        data.memory = memory;
        data.exports = exports;
        data.numbers = numbers;
        data.fuel = fuel.map(|global| Fuel {
            global,
            meter: FuelMeter::new(u64::MAX),
        });
        Ok(Self(store))
    }
}

impl<'a, S: 'static> Live<Caller<'a, Data<S>>> {
    pub(crate) fn inside(caller: Caller<'a, Data<S>>) -> Self {
        Self(caller)
    }
}

impl<C> fmt::Debug for Live<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl<S: 'static, C: AsContextMut<Data = Data<S>>> Guest<S> for Live<C> {
    #[inline]
    fn state(&self) -> &S {
        &self.0.as_context().data().state
    }

    #[inline]
    fn memory(&self) -> &[u8] {
        let context = self.0.as_context();
        match context.data().memory {
            Some(memory) => memory.data(context),
            None => &[],
        }
    }

    #[inline]
    fn split(&mut self) -> (&mut [u8], &S) {
        match self.0.as_context().data().memory {
            Some(memory) => {
                let (bytes, data) = memory.data_and_store_mut(&mut self.0);
                (bytes, &data.state)
            }
            None => (&mut [], self.state()),
        }
    }

    fn has(&self, export: usize) -> bool {
        let data = self.0.as_context();
        matches!(data.data().exports.get(export), Some(Some(_)))
    }

    fn call(&mut self, export: usize, args: &[i32]) -> Result<i32> {
        // The guest may call back into a host function that calls it in turn, so this is not borrowed from the store.
        let exports = Rc::clone(&self.0.as_context().data().exports);
        let Some(Some(function)) = exports.get(export) else {
            let message = format!("the guest has no export number {export}");
            return Err(Error::new(ErrorKind::Internal, message));
        };
        function.call(&mut self.0, args).map_err(|error| {
            let context = self.0.as_context();
            let data = context.data();
            from_call(error, &data.budget, data.bounds.stack)
        })
    }

    fn call_numbers(&mut self, function: usize, values: &mut [u64]) -> Result<()> {
        let numbers = &self.0.as_context().data().numbers;
        let Some(numbers) = numbers.get(function) else {
            let message = format!("the guest has no function number {function}");
            return Err(Error::new(ErrorKind::Internal, message));
        };
        if values.len() != numbers.places {
            return Err(numbers.spec.places_error(values.len()));
        }
        let function = numbers.function;
        let called = match values.len() {
            // Fewer places cost less to prepare.
            0..=4 => call_raw::<4>(function, &mut self.0, values),
            _ => call_raw::<{ NumberFunction::MAX_VALUES }>(function, &mut self.0, values),
        };
        called.map_err(|error| {
            let context = self.0.as_context();
            let data = context.data();
            from_call(error, &data.budget, data.bounds.stack)
        })
    }

    #[inline]
    fn arm(&mut self, budget: Budget) {
        let mut context = self.0.as_context_mut();
        let data = context.data();
        // Within one tick the deadline of the call before is this one's, too.
        if data.budget == budget && data.fuel.is_none() {
            return;
        }
        let now = context.data().runtime.ticker().now();
        context.set_epoch_deadline(budget.deadline.saturating_sub(now));
        let data = context.data_mut();
        data.budget = budget;
        if let Some(fuel) = &mut data.fuel {
            let (global, begin) = (fuel.global, fuel.meter.begin(budget.fuel));
            // The metered module defines the global as a mutable i64.
            let _ = global.set(&mut context, Val::I64(begin));
        }
    }

    #[inline]
    fn fuel_used(&mut self) -> Option<u64> {
        let mut context = self.0.as_context_mut();
        let data = context.data();
        data.budget.fuel?;
        let Fuel { global, meter } = data.fuel.as_ref()?;
        let (global, meter) = (*global, *meter);
        Some(meter.used(global.get(&mut context).i64()?))
    }
}

/// Grants the guest its next slice of fuel.
///
/// # Errors
/// `fuel` where there is none left.
pub(crate) fn refill<S>(mut caller: Caller<'_, Data<S>>) -> Result<()> {
    let Some(Fuel { global, .. }) = caller.data().fuel else {
        return Ok(());
    };
    let now = global.get(&mut caller).i64().unwrap_or(0);
    let Some(Fuel { meter, .. }) = &mut caller.data_mut().fuel else {
        return Ok(());
    };
    let granted = meter.refill(now).map_err(fuel_error)?;
    global
        .set(&mut caller, Val::I64(granted))
        .map_err(internal("refilling fuel"))
}
