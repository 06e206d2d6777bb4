//! Functions of values for stream engines, from plugins that are managed while everything runs.
//!
//! A [`Manager`] holds plugins: WebAssembly, Lua or native Rust with the functions that they offer. A plugin's code follows
//! our own contract (extensions of kind `function`), the bindgen wire format, or nothing but WebAssembly itself: plain
//! exports of numbers. [`Manager::execute`] calls a function by its name from any thread; a thread that calls often has a
//! [`LocalExecutor`]. Which engines there are is up to what the program links.
//!
//! ```
//! use functions::{Manager, PluginConfig, Value};
//! # fn main() -> functions::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let wat = r#"(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"#;
//! # std::fs::write(folder.path().join("sum.wasm"), wat::parse_str(wat).unwrap()).unwrap();
//! let manager = Manager::new();
//! let json = r#"{"name": "sum", "path": "sum.wasm", "functions": ["add"]}"#;
//! manager.add(PluginConfig::from_json(json, folder.path())?)?;
//! manager.wait_ready("sum", std::time::Duration::from_secs(60))?;
//! assert_eq!(manager.execute("add", &[Value::I32(1), Value::I32(2)])?, Value::I32(3));
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "arrow")]
mod arrow;
#[cfg(feature = "wasm")]
mod bindgen;
mod config;
mod contract;
mod host;
mod load;
mod local;
mod manager;
#[cfg(feature = "wasm")]
mod plain;
mod pool;
#[cfg(all(feature = "arrow", feature = "wasm"))]
mod rows;
mod signature;
mod types;
mod value;
mod vm;
#[cfg(feature = "wasm")]
mod wasm;

pub use config::{Abi, PluginConfig};
pub use engine_core::error::{Error, ErrorKind, Result};
pub use local::{FunctionId, LocalExecutor};
pub use manager::{Manager, PluginState, PluginStatus};
pub use signature::{Function, Param, Signature};
pub use types::{Int, Type};
pub use value::Value;
pub use vm::{LogLine, Logger};
#[cfg(feature = "wasm")]
#[doc(hidden)]
pub use wasm::call_on;
