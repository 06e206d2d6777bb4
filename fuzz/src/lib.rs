//! What the targets share: bytes read as decisions, and guests that are scripts instead of code.

pub mod disk;
pub mod filters;
pub mod input;
pub mod module;
pub mod report;
pub mod runtime;
pub mod script;
