//! Engine builtin: native Rust extensions
