//! Engine `builtin`: native Rust extensions that are linked into the program.
//!
//! A package is a crate whose functions carry the attribute `extension` of `extengine-guest`; [`Code::Native`] names
//! it. The engine catches panics and keeps every quota on what an extension asks its host for. Its code runs as the
//! program's own, without a sandbox: memory, stack, fuel and a deadline within the extension's own computation are not
//! kept, and a package loads only where its manifest waives them by name. Statics are the author's own responsibility
//! too, under `keep` and `fresh` alike.
//!
//! Panics must unwind: in a program built with `panic = "abort"` the factory makes no engine. Making the first one
//! wraps the process's panic hook, so that a caught panic becomes an error with its message and is not printed; all
//! other panics go to the hook that was there before.
//!
//! [`Code::Native`]: engine_core::engine::Code::Native
//!
//! ```
//! use engine_core::engine::Code;
//! use engine_core::factory::{EngineLimits, ExtEngineFactory};
//! use engine_core::limits::Limits;
//! use extengine_guest::{Error, Row, State, extension, key, row};
//!
//! extengine_guest::package!("fleet");
//!
//! #[extension(command)]
//! fn add_aircraft(state: &mut State, args: &Row) -> Result<(), Error> {
//!     state.new_value(&key("aircraft").text(args.text(0)?), &row().int(args.int(1)?));
//!     Ok(())
//! }
//!
//! # fn main() {
//! let engine = engine_builtin::BuiltinFactory
//!     .create(&EngineLimits::from(&Limits::default()))
//!     .unwrap();
//! let report = engine.inspect(&Code::Native("fleet".into())).unwrap();
//! assert_eq!(report.extensions, ["AddAircraft"]);
//! # }
//! ```

mod engine;
mod error;
mod factory;
mod host;
mod instance;
mod package;

pub use factory::BuiltinFactory;
