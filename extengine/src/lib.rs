//! Extengine: user code in WebAssembly, Lua and Rust next to the data it works on.
//!
//! This is the one crate that an application depends on. It has no logic of its own: it re-exports the partition and
//! the contract, and its features choose the engines that are compiled in. An engine is found by its name.
//!
//! ```no_run
//! use extengine::{AppSpec, Application, Options};
//!
//! # fn main() -> extengine::Result<()> {
//! let spec = AppSpec::load("examples/flights".as_ref())?;
//! let options = Options { data: Some("data".into()), ..Options::default() };
//! let application = Application::open(spec, options)?;
//! let args = serde_json::json!({"carrier": "UA", "name": "United Air Lines Inc."});
//! let accepted = application.run("AddAirline", &args, Some("airline-UA"))?;
//! println!("partition {}, offset {}", accepted.partition, accepted.offset);
//! application.close()
//! # }
//! ```

/// What partitions, extensions and engines agree on.
pub use engine_core as contract;
pub use engine_core::error::{Error, ErrorKind, Result};
pub use engine_core::foreign::{ForeignFunctions, Purity};
/// The foreign functions that come built in.
pub use foreign;
pub use partition;
pub use partition::application::{Application, CommandId, Options};
pub use partition::manifest::AppSpec;
pub use partition::{Accepted, Answer, AnswerFuture, LogLine, QueryAnswer};

#[cfg(feature = "builtin")]
pub use engine_builtin as builtin;
#[cfg(feature = "lua")]
pub use engine_lua as lua;
#[cfg(feature = "wasmer")]
pub use engine_wasm_wasmer as wasmer;
#[cfg(feature = "wasmtime")]
pub use engine_wasm_wasmtime as wasmtime;
/// The SDK in which native extensions are written; bring it into scope as `extengine_guest`.
#[cfg(feature = "builtin")]
pub use extengine_guest as guest;
#[cfg(feature = "filters")]
pub use filter_test;
#[cfg(feature = "functions")]
pub use functions;
#[cfg(feature = "filters")]
pub use {filters, proxy, proxy_wasm};
