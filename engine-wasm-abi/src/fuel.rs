//! Deterministic fuel: one rewrite of a module's code that makes it count its own work.
//!
//! [`meter`] adds to a module an exported mutable global, [`FUEL_GLOBAL`], and an imported
//! function, [`REFILL_MODULE`]`.`[`REFILL_NAME`]. At the start of every basic block the rewritten
//! code subtracts the block's cost from the global and calls the import when the global has become
//! negative. The host, through [`FuelMeter`], then grants the next slice by writing the global,
//! or traps. So what a call consumes is what was granted less what the global holds.
//!
//! The charges are part of the code, so every engine counts the same and stops at the same block,
//! whatever the size of the slices. A block is paid for as a whole before it runs: a trap in its
//! middle does not give the rest back.
//!
//! The runtimes' own counters disagree with each other. Of the crates that rewrite, `wasm-instrument`
//! rests on the abandoned `parity-wasm` and knows no bulk operations, and `walrus-meter` and
//! `finite-wasm` call an imported function at every block; hence this one.

mod blocks;
mod meter;
mod rewrite;

use std::num::NonZeroU32;

use wasmparser::Validator;

pub use meter::{FuelMeter, OutOfFuel};

use crate::inspect::FEATURES;

/// The name that a metered module exports its fuel under: a mutable global of type `i64`.
///
/// The host sets it before a call to what [`FuelMeter::begin`] answers.
pub const FUEL_GLOBAL: &str = "extengine.fuel";

/// The import module of the function that a metered module calls when its fuel is used up.
pub const REFILL_MODULE: &str = "extengine";

/// The name of the function, of no parameters and no results, that a metered module calls
/// when its fuel is used up.
///
/// The host writes what [`FuelMeter::refill`] answers to [`FUEL_GLOBAL`], or traps.
/// If it returned with the global still negative, the block would run unpaid.
pub const REFILL_NAME: &str = "refill";

/// What a metered module pays, in units of fuel.
///
/// Instructions that only shape the code, `block`, `loop`, `else`, `end`, `nop`, `drop`, `return`
/// and `unreachable`, cost nothing; but each entry of a function and each round of a loop costs at
/// least one unit, so that nothing runs forever for free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Costs {
    /// Any instruction that is not named below.
    pub instruction: u16,
    /// `call` and `call_indirect`, beside what the called function pays for itself.
    pub call: u16,
    /// How many bytes of a `memory.fill`, `memory.copy` or `memory.init` one unit pays for,
    /// beside `instruction`; a fraction of a unit is dropped.
    pub bytes_per_unit: NonZeroU32,
    /// Each element of a `table.fill`, `table.copy`, `table.init` or `table.grow`,
    /// beside `instruction`.
    pub element: u16,
    /// Each page of 64 KiB that `memory.grow` asks for, beside `instruction`,
    /// whether it is granted or not.
    pub page: u16,
}

impl Default for Costs {
    /// One unit an instruction, and for the rest what about as many instructions would take.
    fn default() -> Self {
        Self {
            instruction: 1,
            call: 4,
            bytes_per_unit: const { NonZeroU32::new(64).expect("not zero") },
            element: 1,
            page: 1024,
        }
    }
}

/// Why a module cannot be metered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FuelError {
    /// The module is not valid, or needs a proposal that is not in [`FEATURES`].
    #[error("the module is not valid: {0}")]
    Invalid(String),
    /// The module already uses a name that metering needs.
    #[error("`{0}` is reserved for fuel metering: rename it in the guest")]
    Reserved(&'static str),
}

/// Rewrites a module so that it counts its own work.
///
/// The result is valid, exports and imports all that the original did in the same order, and
/// computes the same. Of the custom sections only `name` is kept, since the others hold offsets
/// into code that has moved. A module at one of the format's own bounds, such as 50,000 locals
/// in one function, can step over it, and is then refused when it is compiled.
///
/// # Errors
/// [`FuelError::Invalid`] for anything but a module that [`inspect`](crate::inspect::inspect)
/// would pass, save that a start function is metered like any other;
/// [`FuelError::Reserved`] for a module that uses one of the added names itself.
pub fn meter(bytes: &[u8], costs: &Costs) -> Result<Vec<u8>, FuelError> {
    // Only a valid module cannot name what the rewrite adds: an index just past
    // the last global is an error in the original and the fuel in the result.
    let types = Validator::new_with_features(FEATURES)
        .validate_all(bytes)
        .map_err(|error| FuelError::Invalid(error.to_string()))?;
    rewrite::rewrite(bytes, types.as_ref(), costs)
}
