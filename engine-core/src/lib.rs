//! The contract between partitions, extensions and engines.
//!
//! A partition invokes an *extension* on an [`ExtensionInstance`](engine::ExtensionInstance), which an
//! [`ExtensionPackage`](engine::ExtensionPackage) made, which an [`ExtEngine`](engine::ExtEngine) loaded, which an
//! [`ExtEngineFactory`](factory::ExtEngineFactory) created. The extension reads through a [`Host`](host::Host) and
//! answers with [`Intents`](intent::Intents), the only way to write. This crate names no engine and knows no partition.
//!
//! ```
//! use engine_core::schema::Schema;
//! use engine_core::value::{encode, Value};
//!
//! let schema = Schema::parse("carrier: text, seats: int").unwrap();
//! let row = encode(&[Value::Text("UA".into()), Value::Int(160)]);
//! assert!(schema.check(&row).is_ok());
//! ```

pub mod cache;
pub mod call;
pub mod catalog;
pub mod engine;
pub mod error;
pub mod factory;
pub mod foreign;
pub mod host;
pub mod intent;
pub mod json;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod panics;
pub mod registry;
pub mod sandboxes;
pub mod schema;
pub mod stderr;
pub mod ticker;
pub mod value;
