//! Engine `wasmtime`: WebAssembly extensions on Wasmtime.
//!
//! This crate holds what is special to Wasmtime and nothing else: instances from a pool with copy-on-write memory,
//! deadlines by epochs, growth limits that trap. What a guest must look like is in `engine-wasm-abi/ABI.md`.
//!
//! ```
//! use engine_core::engine::Code;
//! use engine_core::factory::{EngineLimits, ExtEngineFactory};
//! use engine_core::limits::Limits;
//! use engine_wasm_wasmtime::WasmtimeFactory;
//!
//! let engine = WasmtimeFactory.create(&EngineLimits::from(&Limits::default())).unwrap();
//! let empty_module = Code::Bytes((*b"\0asm\x01\0\0\0").into());
//! let report = engine.inspect(&empty_module).unwrap();
//! assert!(report.problems[0].contains("no export `memory`"));
//! ```

mod engine;
mod error;
mod factory;
mod instance;
mod package;

pub use engine::WasmtimeRuntime;
pub use factory::WasmtimeFactory;
