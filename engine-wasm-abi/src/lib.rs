//! The WASM boundary, written once for every runtime.
//!
//! [`WasmEngine`](engine::WasmEngine) is the whole contract of [`engine_core`] for ABI 1.0 and 1.1, generic over a
//! [`Runtime`](runtime::Runtime). A runtime's crate implements that trait and nothing of the ABI; another ABI is another
//! driver of the same trait. `ABI.md` beside this crate's sources is the specification of both.
//!
//! ```
//! let module = wat::parse_str(r#"(module (func (export "WasmInit")))"#).unwrap();
//! let inspection = engine_wasm_abi::inspect::inspect(&module);
//! assert!(inspection.problems.is_empty());
//! assert!(inspection.info.export("WasmInit").is_some());
//! ```

pub mod engine;
pub mod fuel;
pub mod inspect;
pub mod load;
pub mod memory;
pub mod runtime;
pub mod start;
pub mod wasi;

mod check;
mod ending;
mod exports;
mod instance;
mod offers;
mod package;
mod sandbox;
mod state;
mod v1_0;
mod v1_1;
