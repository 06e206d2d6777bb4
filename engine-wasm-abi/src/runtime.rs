//! What a WASM runtime offers to an ABI, and nothing of either: two runtimes and several ABIs meet here.
//!
//! A runtime crate implements [`Runtime`], [`RuntimeModule`] and [`Guest`], generic over `S`, the
//! state that an ABI keeps per instance. An ABI is a table of [`HostFunction`]s, a table of [`ExportSpec`]s and code that
//! drives instances through [`Guest`].

use std::fmt;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::limits::{Limit, Limits};
use engine_core::ticker::Ticker;

use crate::fuel::OutOfFuel;
use crate::inspect::{FuncSig, ValType};

/// A live instance as an ABI sees it, between calls and from inside a host function alike.
///
/// It holds nothing of the memory between two methods, so a host function may call the guest in turn.
pub trait Guest<S> {
    /// What the ABI keeps for this instance.
    fn state(&self) -> &S;

    /// The bytes of the exported memory, as large as it is now.
    fn memory(&self) -> &[u8];

    /// The bytes of the exported memory, to be written, and what the ABI keeps beside them.
    fn split(&mut self) -> (&mut [u8], &S);

    /// Gives the guest a new budget: for all that runs from now on, until it is armed again.
    fn arm(&mut self, budget: Budget);

    /// Units of fuel used since it was armed; `None` where the code is not metered or fuel was not limited.
    fn fuel_used(&mut self) -> Option<u64>;

    /// Whether the module has the export of this position in [`Blueprint::exports`].
    fn has(&self, export: usize) -> bool;

    /// Calls the export of this position in [`Blueprint::exports`]; one without a result answers 0.
    ///
    /// # Errors
    /// * What a host function returned, unchanged, however many guest frames lay between.
    /// * `deadline`, `fuel` and `stack`, each with the amount that was allowed.
    /// * `memory` or `table_elements` where the guest tried to grow beyond the package's limit, even if it went on: the
    ///   denial wins over whatever came behind it. Growth within the limit but beyond the module's own maximum is no
    ///   denial: the guest sees −1 and nothing else happens.
    /// * `trap` for all other traps, with the runtime's words.
    /// * `internal` where the module lacks the export or its number of parameters is another.
    fn call(&mut self, export: usize, args: &[i32]) -> Result<i32>;

    /// Calls the function of this position in [`Blueprint::functions`]: `values` are its arguments, and then its results.
    ///
    /// A number of 32 bits is in the lower half of its place, and a float is its bits.
    ///
    /// # Errors
    /// As [`Guest::call`]; `internal` where `values` has not as many places as there are parameters or results, whichever
    /// are more.
    fn call_numbers(&mut self, function: usize, values: &mut [u64]) -> Result<()>;
}

/// The most tables of a module, so that runtimes can hold places for them ready.
pub const MAX_TABLES: usize = 4;

/// A function that the host offers, by the shape of its type, so that a runtime wraps it statically.
///
/// An error ends the guest and comes out of [`Guest::call`] unchanged.
#[derive(Debug)]
pub enum HostCall<S: 'static> {
    /// `(i32)`
    N1(fn(&mut dyn Guest<S>, i32) -> Result<()>),
    /// `() -> i32`
    R0(fn(&mut dyn Guest<S>) -> Result<i32>),
    /// `(i32) -> i32`
    R1(fn(&mut dyn Guest<S>, i32) -> Result<i32>),
    /// `(i32, i32) -> i32`
    R2(fn(&mut dyn Guest<S>, i32, i32) -> Result<i32>),
    /// `(i32, i32, i32) -> i32`
    R3(fn(&mut dyn Guest<S>, i32, i32, i32) -> Result<i32>),
    /// `(i32, i32, i32, i32) -> i32`
    R4(fn(&mut dyn Guest<S>, i32, i32, i32, i32) -> Result<i32>),
    /// `(i32, i32, i32, i32, i32) -> i32`
    R5(Function5<S>),
    /// `(i32) -> i64`
    L1(fn(&mut dyn Guest<S>, i32) -> Result<i64>),
    /// `(i32, i64) -> i32`
    R2Long(fn(&mut dyn Guest<S>, i32, i64) -> Result<i32>),
    /// `(i32, i64, i32) -> i32`
    R3Long(fn(&mut dyn Guest<S>, i32, i64, i32) -> Result<i32>),
    /// `(i32, i64, i32, i32) -> i32`
    R4Long(fn(&mut dyn Guest<S>, i32, i64, i32, i32) -> Result<i32>),
    /// Whatever whole numbers, [`NumberFunction::MAX_VALUES`] at most, `-> i32`; calls cost more than those above.
    ///
    /// A number of 32 bits is in the lower half of its place.
    Many(&'static [ValType], FunctionMany<S>),
}

/// A function of any whole numbers.
pub type FunctionMany<S> = fn(&mut dyn Guest<S>, &[u64]) -> Result<i32>;

/// A function of five numbers.
pub type Function5<S> = fn(&mut dyn Guest<S>, i32, i32, i32, i32, i32) -> Result<i32>;

impl<S> Clone for HostCall<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for HostCall<S> {}

impl<S> HostCall<S> {
    /// The function's type.
    pub fn signature(&self) -> FuncSig {
        use ValType::{I32, I64};
        let params = match self {
            Self::R0(_) => vec![],
            Self::N1(_) | Self::R1(_) | Self::L1(_) => vec![I32],
            Self::R2(_) => vec![I32, I32],
            Self::R3(_) => vec![I32, I32, I32],
            Self::R4(_) => vec![I32, I32, I32, I32],
            Self::R5(_) => vec![I32, I32, I32, I32, I32],
            Self::R2Long(_) => vec![I32, I64],
            Self::R3Long(_) => vec![I32, I64, I32],
            Self::R4Long(_) => vec![I32, I64, I32, I32],
            Self::Many(params, _) => params.to_vec(),
        };
        let results = match self {
            Self::N1(_) => vec![],
            Self::L1(_) => vec![I64],
            _ => vec![I32],
        };
        FuncSig { params, results }
    }
}

/// A function that the host offers, with its two names.
#[derive(Debug)]
pub struct HostFunction<S: 'static> {
    /// The import module, such as `env`.
    pub module: &'static str,
    /// The name, such as `HostGetElem`.
    pub name: &'static str,
    /// What it does.
    pub call: HostCall<S>,
}

/// A function that an ABI expects of a module; parameters and result are `i32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSpec {
    /// The name, such as `WasmRun`.
    pub name: &'static str,
    /// How many parameters it has: [`ExportSpec::MAX_PARAMS`] at most.
    pub params: usize,
    /// Whether it has a result.
    pub result: bool,
    /// Whether a module may do without it.
    pub optional: bool,
}

impl ExportSpec {
    /// The most parameters that a runtime calls an export with.
    pub const MAX_PARAMS: usize = 5;

    /// What a toolchain's own start is called, where it has one.
    pub const INITIALIZE: Self = Self {
        optional: true,
        ..Self::procedure("_initialize", 0)
    };

    /// A function that a module must have, without a result.
    pub const fn procedure(name: &'static str, params: usize) -> Self {
        Self {
            name,
            params,
            result: false,
            optional: false,
        }
    }

    /// A function that a module must have, with a result.
    pub const fn function(name: &'static str, params: usize) -> Self {
        Self {
            result: true,
            ..Self::procedure(name, params)
        }
    }

    /// The function's type.
    pub fn signature(&self) -> FuncSig {
        FuncSig {
            params: vec![ValType::I32; self.params],
            results: vec![ValType::I32; usize::from(self.result)],
        }
    }
}

/// A function of numbers that an ABI found in a module, whatever its name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberFunction {
    /// The export's name.
    pub name: Box<str>,
    /// Its type: `i32`, `i64`, `f32` and `f64` only, and not more than [`NumberFunction::MAX_VALUES`] of either side.
    pub signature: FuncSig,
}

impl NumberFunction {
    /// The most parameters, and the most results.
    pub const MAX_VALUES: usize = 16;

    /// How many places a call of it needs.
    pub fn places(&self) -> usize {
        let FuncSig { params, results } = &self.signature;
        params.len().max(results.len())
    }

    /// The error of a module that lacks it in spite of the checks.
    pub fn missing(&self) -> Error {
        Error::new(ErrorKind::Internal, format!("no function `{}`", self.name))
    }

    /// The error of a call with other places than it needs.
    pub fn places_error(&self, places: usize) -> Error {
        let message = format!("`{}` called with {places} places", self.name);
        Error::new(ErrorKind::Internal, message)
    }
}

/// A module that passed an ABI's checks, ready to be compiled.
///
/// Its exports and imports fit the tables, its only memory, if it has one, is exported as `memory`, it has no start
/// function, and its memory and tables begin within the limits.
#[derive(Debug)]
pub struct Blueprint<'a, S: 'static> {
    /// The module.
    pub code: &'a [u8],
    /// Whether [`meter`](crate::fuel::meter) rewrote it, so that it exports
    /// [`FUEL_GLOBAL`](crate::fuel::FUEL_GLOBAL) and imports [`REFILL_NAME`](crate::fuel::REFILL_NAME).
    pub metered: bool,
    /// The functions that it imports, each once.
    pub imports: Vec<&'static HostFunction<S>>,
    /// The exports that the ABI calls.
    pub exports: &'static [ExportSpec],
    /// The functions of numbers that the ABI calls beside them.
    pub functions: &'a [NumberFunction],
    /// The package's limits, of which `memory`, `table_elements` and `stack` are the runtime's to keep.
    pub limits: &'a Limits,
}

/// What a guest may use until it is armed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The tick of [`Runtime::ticker`] at which the deadline is over.
    pub deadline: u64,
    /// The time that this is, for messages.
    pub deadline_ms: u32,
    /// Units of fuel, where they are limited.
    pub fuel: Option<u64>,
}

impl Budget {
    /// The error of a guest that ran beyond the deadline.
    pub fn deadline_error(&self) -> Error {
        Error::limit(Limit::Deadline, format_args!("{} ms", self.deadline_ms))
    }
}

/// The error of a guest that used up its fuel.
pub fn fuel_error(out: OutOfFuel) -> Error {
    Error::limit(Limit::Fuel, out.limit).with_source(out)
}

/// The error of a module whose segment of data or elements lies beyond its memory or table.
pub fn segment_error(of: &str, place: &str) -> Error {
    let message =
        format!("an instance cannot be made: a segment of {of} does not fit into its {place}");
    Error::new(ErrorKind::Trap, message)
}

/// A WASM runtime with the limits that are an engine's own.
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// Whether code is metered even where fuel is not limited, because deadlines rest on it.
    const ALWAYS_METERED: bool;

    /// A compiled module.
    type Module<S: 'static>: RuntimeModule<S>;

    /// The factory that makes engines of this runtime.
    fn factory(&self) -> &'static dyn ExtEngineFactory;

    /// The limits that this runtime was made for.
    fn limits(&self) -> &EngineLimits;

    /// The clock of deadlines.
    fn ticker(&self) -> &Ticker;

    /// Compiles a checked module.
    ///
    /// # Errors
    /// `package` where the runtime does not take it in spite of the checks.
    fn compile<S: 'static>(
        self: &Arc<Self>,
        blueprint: &Blueprint<'_, S>,
    ) -> Result<Self::Module<S>>;

    /// Whatever compiled code depends on beside the module and the runtime's version.
    fn settings<S: 'static>(&self, blueprint: &Blueprint<'_, S>) -> String;

    /// The module again from what [`RuntimeModule::compiled`] gave, unless the runtime does not take it.
    ///
    /// # Safety
    /// The bytes are just what [`RuntimeModule::compiled`] gave for a module of this runtime: machine code in them is run as
    /// it is.
    #[allow(unsafe_code, reason = "machine code cannot be checked")]
    unsafe fn revive<S: 'static>(
        self: &Arc<Self>,
        blueprint: &Blueprint<'_, S>,
        compiled: &[u8],
    ) -> Option<Self::Module<S>>;
}

/// A compiled module.
pub trait RuntimeModule<S>: fmt::Debug + Send + Sync + 'static {
    /// A live instance of it, which runs nothing before it is armed, and is thrown away after any error of
    /// [`Guest::call`].
    type Instance: Guest<S> + fmt::Debug + 'static;

    /// The compiled code, to be kept; nothing where the runtime cannot give it.
    fn compiled(&self) -> Option<Vec<u8>>;

    /// Makes an instance, on the thread that uses it, without running any of its code.
    ///
    /// # Errors
    /// `trap` where a segment does not fit, `busy` where the runtime has no room for one more instance.
    fn instantiate(&self, state: S) -> Result<Self::Instance>;
}
