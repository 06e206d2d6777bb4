//! SDK for extensions written in Rust.
//!
//! An extension is written once and runs in two ways: compiled to WebAssembly, where this crate brings the exports and
//! the memory of ABI 1.1 (of 1.0 with the feature `abi-1-0`), or linked into a program, where the engine `builtin` finds it. An extension reads rows of
//! the state and asks for writes, which happen after it has ended well, all of them or none.
//!
//! ```
//! use extengine_guest::testing::TestState;
//! use extengine_guest::{Error, Row, State, extension, key, row};
//!
//! /// Adds seats to an aircraft. Arguments: `tailnum: text, more: int`.
//! #[extension(command)]
//! fn add_seats(state: &mut State, args: &Row) -> Result<(), Error> {
//!     let aircraft = key("aircraft").text(args.text(0)?);
//!     let more = args.int(1)?;
//!     if more <= 0 {
//!         return Err(Error::rejected("seats to add must be above zero"));
//!     }
//!     let seats = state.must_exist(&aircraft)?.int(0)?;
//!     state.update_value(&aircraft, &row().int(seats + more));
//!     Ok(())
//! }
//!
//! let mut state = TestState::new();
//! state.insert(&key("aircraft").text("N14228"), &row().int(149));
//! state.run(add_seats, &row().text("N14228").int(4)).unwrap();
//! state.apply().unwrap();
//! let aircraft = state.get(&key("aircraft").text("N14228")).unwrap();
//! assert_eq!(aircraft.int(0), Ok(153));
//! ```
//!
//! # Rows and keys
//! Fields stand in the order of their schema and are read by position ([`Row::int`] and its like) or one after the
//! other ([`Row::fields`]). An `int` has 64 bits, and in the application's manifest a type with `?` is the `opt_`
//! method here. [`key`] and [`row`] build what is handed to the state, always in the one canonical encoding.
//!
//! # Building for WebAssembly
//! A crate of type `cdylib` that depends on this one and is built for `wasm32-unknown-unknown` is a package; build it
//! with `panic = "abort"`. What is read lies in the guest's memory and counts towards the package's `memory` limit: what
//! [`State::get`] gives until the invocation is over, while the rows of a [`State::read`], however many, come through one
//! buffer of 16 KiB, or of the largest row where that is larger. With the feature `abi-1-0` the host allocates each row of
//! a read through `WasmMalloc`, and all of them count until the invocation is over.
//!
//! # Panics
//! A panic ends the invocation as a `trap` and leaves no intent. In WebAssembly a trap carries no text, so the panic's
//! message goes to the host's log (through `fd_write`, the one WASI function that this crate imports), and lines that
//! were logged with [`State::log`] before it are lost.

mod accessors;
mod backend;
mod buffer;
mod builder;
mod error;
mod event;
mod key;
mod names;
mod registry;
mod row;
mod state;
pub mod testing;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use backend::{Backend, Op};
pub use builder::{KeyBuilder, RowBuilder, key, row};
pub use error::{Error, ErrorKind};
pub use event::{Context, Event};
/// Makes a function an extension: `#[extension(KIND)]` with one of the kinds `command`, `query`, `validator`,
/// `projector`, `function` and `job`.
///
/// The function takes the state and the arguments, and ends well or in an [`Error`]; one that writes nothing may take
/// the state as `&State`. Behind the kind may stand `name = "RecordFlight"`, by default the function's name in camel
/// case.
///
/// The attribute writes code that names this crate `extengine_guest`. Whoever has it under another name brings it into
/// scope under this one: `use extengine::guest as extengine_guest;`.
///
/// ```
/// use extengine_guest::{Error, Row, State, extension, key, row};
///
/// #[extension(query, name = "SeatsOf")]
/// fn seats(state: &mut State, args: &Row) -> Result<(), Error> {
///     let seats = state.must_exist(&key("aircraft").text(args.text(0)?))?.int(0)?;
///     state.result(&row().int(seats));
///     Ok(())
/// }
/// assert_eq!(extengine_guest::extensions().next().unwrap().name, "SeatsOf");
/// ```
pub use extengine_guest_macros::extension;
pub use key::{Key, KeyFields};
pub use registry::{Extension, ExtensionKind, Run, extensions};
pub use row::{Element, Fields, Row};
pub use state::State;

/// What the macros' code and the engine of native extensions need.
#[doc(hidden)]
pub mod __private {
    pub use crate::names::Names;
    pub use crate::registry::Package;
    pub use inventory;
}
