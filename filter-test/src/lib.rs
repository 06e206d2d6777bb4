//! Runs declarative cases for filters, without a network: what arrives and what must come of it, step by step.
//!
//! [`Cases`] is a file of cases, whose form the crate's README describes; [`run`] plays it for a [`Plugin`] as one or more
//! [variants](Plugin::name) have it, such as a module on each runtime. Variants must answer alike.
//! Time and randomness are the case's, so a case gives the same each time.
//!
//! ```
//! use filter_test::{Cases, Native, run};
//! use filters::{Direction, Filter, StreamRef, Verdict};
//!
//! struct Greet;
//!
//! impl Filter for Greet {
//!     fn on_headers(&mut self, stream: &StreamRef, direction: Direction, _end: bool) -> Verdict {
//!         if let Some(mut headers) = stream.headers(direction) {
//!             headers.add("x-greeting", "hello");
//!         }
//!         Verdict::Continue
//!     }
//! }
//!
//! # fn main() -> engine_core::error::Result<()> {
//! let cases = Cases::parse(
//!     r#"
//!     [[case]]
//!     name = "a request is greeted"
//!     [[case.step]]
//!     request = { headers = { ":path" = "/" } }
//!     expect.request_headers = { x-greeting = "hello" }
//!     "#,
//! )?;
//! let greet = Native("greet", || Box::new(Greet) as Box<dyn Filter>);
//! let report = run(&cases, &[&greet]);
//! assert!(report.is_ok(), "{report}");
//! # Ok(())
//! # }
//! ```

mod case;
#[cfg(feature = "lua")]
mod lua;
mod play;
mod plugin;
mod report;
mod seen;
mod wants;
mod wasm;
mod world;

pub use case::{Cases, Foreign, Setup};
#[cfg(feature = "lua")]
pub use lua::Lua;
pub use play::run;
pub use plugin::{Native, Plugin, Subject};
pub use report::{CaseReport, Failure, Report};
pub use wants::Blob;
pub use wasm::{Wasm, engines};
pub use world::World;
