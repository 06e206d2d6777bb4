//! The WASM boundary, written once for every runtime

pub mod fuel;
pub mod inspect;
pub mod runtime;
