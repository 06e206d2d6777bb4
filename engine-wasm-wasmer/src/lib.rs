//! Engine `wasmer`: WebAssembly extensions on Wasmer.
//!
//! This crate holds what is special to Wasmer and nothing else: deadlines by slices of fuel, growth limits compiled into
//! the code, one stack size for the process. What a guest must look like is in `engine-wasm-abi/ABI.md`.
//!
//! A deadline does not interrupt a single bulk operation, such as `memory.fill` of all memory. The process has room for
//! about 16,000 instances, of which each reserves 8 GiB of addresses.
//!
//! ```
//! use engine_core::engine::Code;
//! use engine_core::factory::{EngineLimits, ExtEngineFactory};
//! use engine_core::limits::Limits;
//! use engine_wasm_wasmer::WasmerFactory;
//!
//! let engine = WasmerFactory.create(&EngineLimits::from(&Limits::default())).unwrap();
//! let empty_module = Code::Bytes((*b"\0asm\x01\0\0\0").into());
//! let report = engine.inspect(&empty_module).unwrap();
//! assert!(report.problems[0].contains("no export `memory`"));
//! ```

mod engine;
mod error;
mod factory;
mod growth;
mod instance;
mod package;
mod stack;

pub use engine::WasmerRuntime;
pub use factory::WasmerFactory;
