//! Engine `lua`: extensions in Luau, the typed and sandboxed Lua, run by `mlua`.
//!
//! ```
//! use engine_core::engine::Code;
//! use engine_core::factory::{EngineLimits, factory};
//! use engine_core::limits::Limits;
//! use engine_lua as _; // Links the engine in.
//!
//! let limits = EngineLimits::from(&Limits::default());
//! let engine = factory("lua").unwrap().create(&limits).unwrap();
//! let chunk = "function Double(args) return { n = args.n * 2 } end";
//! let report = engine.inspect(&Code::Bytes(chunk.as_bytes().into())).unwrap();
//! assert_eq!(report.extensions, ["Double"]);
//! ```
//!
//! # For authors of extensions
//! A package is one chunk of Luau text. It defines one global function for each extension, under its declared name:
//!
//! ```lua
//! function RecordFlight(args)
//!     local airline = host.must_exist("airline", { carrier = args.carrier })
//!     if args.seats > airline.max_seats then
//!         host.reject("too many seats")
//!     end
//!     host.new_value("flight", { carrier = args.carrier, number = args.number }, { seats = args.seats })
//!     return { seats = args.seats }
//! end
//! ```
//!
//! The chunk itself runs once for each sandbox, before the first invocation and without a host: the functions below are
//! for extensions only. Arguments, keys, values and results are tables by field name.
//!
//! | function | what it does |
//! |---|---|
//! | `host.get(storage, key)` | the value of a row, or nil where there is none |
//! | `host.must_exist(storage, key)` | the value of a row; raises `not_found` where there is none |
//! | `host.read(storage, prefix, function(key, value) ... end)` | calls the function for each row whose key begins with the given fields, in key order; the fields given are the first ones, `{}` or nil reads all |
//! | `host.new_value(storage, key, value)` | asks for a new row, whose key must be absent |
//! | `host.update_value(storage, key, value)` | asks to replace a row, whose key must be present |
//! | `host.put_value(storage, key, value)` | asks to write a row, present or not |
//! | `host.delete(storage, key)` | asks to remove a row, present or not |
//! | `host.result(row)` | gives a result; what the function returns is one more; of a result with a single field, a value that is no table is that field |
//! | `host.call(name, argument)` | what a foreign function answers, one of the embedding application's, or nil and its words; bytes and bytes, or a table and a table where it is typed |
//! | `host.reject(message)` | ends the invocation as refused, with a message for the user |
//! | `host.log([level,] message)`, `print(...)` | writes a line to the host's log, at level `info` if none is given |
//! | `host.null` | an optional field that is null; in a table the same as leaving it out, in the key of `host.read` the field's value |
//!
//! `host.get("sys.context")` has the time, the command's id, the partition and the offset;
//! `host.get("sys.random", { index = 0 }).bytes` has random bytes; a validator or projector finds its command in
//! `host.get("sys.event")`, with the fields `command`, `args` and `result` (a list).
//!
//! ## Types
//! | schema | in Lua | accepted from Lua |
//! |---|---|---|
//! | `bool` | boolean | boolean |
//! | `int` | a number within ±(2^53−1), else Luau's `integer` | a whole number within ±(2^53−1), or an `integer` |
//! | `float` | number | number, or an `integer` that a number can hold |
//! | `text` | string | a string of UTF-8 |
//! | `bytes` | string | string or buffer |
//! | list | table from 1 | table with the elements 1 to its length and nothing else |
//! | record | table by field name | the same, without unknown fields |
//! | `?` | nil | nil or `host.null` |
//!
//! Luau's `integer` is another type than its numbers: it has no operators, but the functions of the library `integer`
//! (`integer.create`, `integer.add`, `integer.lt`, ...). Nothing is rounded and no text is taken for a number. Metatables
//! add no fields.
//!
//! ## Errors
//! What a host function raises can be caught with `pcall`: a table that cannot be changed, with `kind` (`rejected`,
//! `not_found`, `bad_key`, `io`, or the reason why an intent was refused) and `message`. Uncaught, it ends the
//! invocation with that kind; any other uncaught error is a `trap` with its line. An intent that was refused stands: an
//! invocation that catches its error ends with it all the same, unless it ends with an error of its own. An undeclared
//! read or call, an exceeded limit and the deadline cannot be caught: the next step of the code ends again.
//!
//! ## The sandbox
//! Luau's libraries are there, with these differences:
//! - `os.time`, `os.clock` and `os.date` tell the time of the invocation, in UTC, and it stands still while it runs;
//!   `math.random` starts from the invocation's random bytes. Both are the same when a command is replayed.
//! - There is no `require`, `loadstring`, `getfenv`, `setfenv`, `newproxy`, `collectgarbage`, `gcinfo`, `debug.info`,
//!   `table.foreach` or `table.foreachi`. Libraries cannot be changed.
//! - `tostring`, `print` and `string.format` show tables and functions without an address.
//! - One search refuses texts and patterns whose lengths multiply to more than 2^28, or to more than 2^24 where the
//!   pattern has a class in brackets, `table.move` more than 2^20 elements and positions that are no whole numbers within
//!   2^31, `string.pack` and its like and `os.date` formats beyond 4 KiB.
//!
//! Two things are the author's care, if a command is to give the same answer again: the order in which `pairs` walks a
//! table whose *keys* are tables or functions, and when the entries of a weak table go.
//!
//! # Limits
//! - `memory` counts what the chunk and its data take beyond an empty sandbox, with the functions that are made for the
//!   package's schemas (see below). It is checked at every loop, call and return, after a collection; in between an
//!   allocator's cap stands a quarter above it (256 KiB at least).
//! - `deadline` is checked at the same places, and in pattern matching. A single library function that does not call
//!   back runs to its end, which is bounded by `memory` or by the limits above: tens of milliseconds at 64 MiB. A chunk
//!   that is run to load a package or to make an instance has a second at least.
//! - `stack` counts 128 bytes for each Lua call; what larger calls take is memory. Luau itself allows 20,000 calls, and
//!   200 that pass through its C code, and these end as `stack` too.
//! - `fuel` counts the same places. Its unit is Lua's own: a host function takes two or three, and one for each field of
//!   the key and value that it is given.
//! - `functions`, `function_bytes` and `table_elements` limit nothing here: a chunk has one size, `code_bytes`.
//!
//! # Speed
//! For the storages and extensions of a package, Luau text is made that takes tables apart and puts them together, so that
//! a row crosses in one call. It knows records of 16 fields at most, whose names are plain names in Luau too, and 64
//! storages; the rest is converted field by field, several times slower, with the same result.
//!
//! Luau's own assertions are compiled in unless `LUAU_CXXFLAGS=-DNDEBUG` is in the environment of the build, as the
//! `.cargo/config.toml` of this repository has it; they are about a quarter of all instructions.
//!
//! # Isolation
//! A sandbox is a virtual machine of its own, used by one instance of one package. Under the policy `fresh` every
//! invocation gets a new one, and so does the next invocation after a failure that is not an orderly end.

mod api;
mod countdown;
mod engine;
mod error;
mod factory;
mod glue;
mod instance;
mod library;
mod marshal;
mod package;
mod random;
mod sandbox;
mod watch;

/// The sandbox without packages, for crates that run Luau for something else.
pub mod base {
    pub use crate::countdown::{Turn, ticker};
    pub use crate::engine::{compiler, without_mark};
    pub use crate::error::{Cause, raise, syntax};
    pub use crate::library::{compile_once, install, load};
    pub use crate::watch::{Deadline, Watch};
}

pub use factory::LuaFactory;
